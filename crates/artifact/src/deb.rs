//! Debian packages: written reproducibly, read without trust.

mod ahead;
pub mod ar;
pub mod build;
pub mod compress;
pub mod control;
pub mod gzip;
pub mod read;
pub mod scripts;
pub mod sign;
pub mod source;
mod sums;
pub mod tar;
pub mod tree;

pub use read::{Deb, PackedFile};
pub use tree::Tree;

/// Why a package is not written or not read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DebError(pub String);

impl DebError {
    /// A sentence about a file.
    pub(crate) fn at(path: &std::path::Path, what: impl std::fmt::Display) -> Self {
        Self(format!("{}: {what}", path.display()))
    }
}
