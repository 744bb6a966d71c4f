//! What can be done to a Debian host: one file per module.
