//! Packages from the artifact store.

use std::path::PathBuf;

use debark_order::{Digest, PackageName, PackageVersion};
use debark_project::Environment;

use super::context::Problem;
use super::desk::Desk;

/// A package that the store has.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its version.
    pub version: PackageVersion,
    /// Of the .deb.
    pub digest: Digest,
    /// Of the .deb, in bytes.
    pub size: u64,
    /// The git commit.
    pub commit: Option<String>,
    /// What its provenance says of tests.
    pub tests_passed: Option<bool>,
}

/// Looks a version up, or the newest one.
///
/// # Errors
/// The store cannot be reached, or has no such version.
pub fn find(
    _desk: &Desk,
    _environment: &Environment,
    _package: &PackageName,
    _version: Option<&PackageVersion>,
) -> Result<Found, Problem> {
    Err(Problem::input("not there yet"))
}

/// The file of a package.
///
/// # Errors
/// The store cannot be reached, or has another package under that name; one sentence.
pub fn package(
    _desk: &Desk,
    _environment: &Environment,
    _package: &PackageName,
    _version: &PackageVersion,
    _digest: Digest,
) -> Result<PathBuf, String> {
    Err("not there yet".into())
}
