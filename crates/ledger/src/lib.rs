//! The ledger: every release on record, in git.
