//! Failures, with what to do about them.

use std::io;
use std::path::Path;

use debark_order::gate::{Failure, FailureKind};

pub type Result<T> = std::result::Result<T, Failure>;

/// A failure: one sentence.
pub fn fail(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), hint: None, log: Vec::new() }
}

/// What is added to a failure.
pub trait Failing {
    /// What to do.
    fn hint(self, hint: impl Into<String>) -> Self;
    /// The last lines of what a program said.
    fn log(self, lines: Vec<String>) -> Self;
}

impl Failing for Failure {
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn log(mut self, lines: Vec<String>) -> Self {
        self.log = lines;
        self
    }
}

/// An error about a file, with its path: a full disk is a kind of its own.
pub fn file(path: &Path, error: &io::Error) -> Failure {
    let full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    );
    let failure = fail(
        if full { FailureKind::Disk } else { FailureKind::Internal },
        format!("{}: {error}", path.display()),
    );
    if full { failure.hint("make room on the host, then try again") } else { failure }
}

/// An error of a system call about a file.
pub fn call(path: &Path, error: rustix::io::Errno) -> Failure {
    file(path, &io::Error::from(error))
}
