//! What can go wrong with a store.

/// What kind of mistake it is; what a caller does about it depends on that and on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Arguments, settings or credentials are wrong.
    BadInput,
    /// The store, or the machine that it is on, does not answer.
    Unreachable,
    /// It has no such thing.
    Missing,
    /// A rule forbids it: the version is there with other content, a key is not trusted.
    Refused,
    /// What the store has is not what it should be.
    Damaged,
    /// Anything else: the disk is full, permission is denied.
    Failed,
}

/// What went wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What kind it is.
    pub kind: ErrorKind,
    /// One sentence that names object and store.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What comes of it.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn damaged(object: &str, store: &str, why: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Damaged, format!("{object} in the store {store} is damaged: {why}"))
    }
}
