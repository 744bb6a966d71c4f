//! The language: YAML to compiled plays, inventory, variables and their precedence, vault.
