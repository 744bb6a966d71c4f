//! Jinja2 expressions and templates as Ansible configures them.
