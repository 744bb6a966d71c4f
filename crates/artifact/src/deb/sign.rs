//! Adding a signature to a package: the member `_gpgorigin` of debsig-verify(1).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::read::SIGNATURE;
use super::{Deb, DebError, ar, build};
use crate::key::{BuildKey, KeyError};

/// Signs a package in place; a signature that it has is replaced.
///
/// # Errors
/// It cannot be read or written, or the key does not sign.
pub fn sign(deb: &Deb, key: &BuildKey, epoch: u64) -> Result<(), SignError> {
    let signature = key.sign(&mut deb.payload().map_err(|error| DebError::at(&deb.path, error))?)?;
    write(deb, &signature, epoch).map_err(|error| DebError::at(&deb.path, error).into())
}

/// Why a package is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The package.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

fn write(deb: &Deb, signature: &[u8], epoch: u64) -> io::Result<()> {
    let beside: &Path =
        deb.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut out = tempfile::Builder::new().prefix(".debark-").tempfile_in(beside)?;
    let mut from = File::open(&deb.path)?;
    out.write_all(ar::MAGIC)?;
    for member in &deb.members {
        from.seek(SeekFrom::Start(member.offset))?;
        ar::header(&mut out, &member.name, member.size, epoch)?;
        if io::copy(&mut (&from).take(member.size), &mut out)? != member.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        ar::pad(&mut out, member.size)?;
    }
    ar::header(&mut out, SIGNATURE, signature.len() as u64, epoch)?;
    out.write_all(signature)?;
    ar::pad(&mut out, signature.len() as u64)?;
    out.as_file().sync_all()?;
    build::place(out, &deb.path)
}
