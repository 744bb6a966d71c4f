//! Whom the host trusts: who may order, and whose packages may be installed.

use std::fs;
use std::path::{Path, PathBuf};

use debark_order::gate::FailureKind;
use debark_order::{Digest, Environment, Identity};
use serde::{Deserialize, Serialize};

use crate::failure::{Failing as _, Result, fail, file};
use crate::{openpgp, place};

/// No file of trust is longer, in bytes.
const LIMIT: u64 = 1 << 20;

/// `/etc/debark/gate.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The environment that this host belongs to.
    pub environment: Environment,
    /// Who may order in it.
    pub allow: Vec<Identity>,
    /// Seconds by which an order may be from the future.
    #[serde(default = "clock_skew")]
    pub clock_skew: u64,
    /// Seconds to wait for others to be done with apt and dpkg.
    #[serde(default = "lock_timeout")]
    pub lock_timeout: u64,
}

const fn clock_skew() -> u64 {
    60
}

const fn lock_timeout() -> u64 {
    120
}

/// Reads the settings; `None` if the host is not enrolled.
///
/// # Errors
/// [`FailureKind::UnsafePath`], or the file is no such thing.
pub fn settings() -> Result<Option<Settings>> {
    let etc = Path::new(place::ETC);
    if fs::symlink_metadata(etc).is_err() {
        return Ok(None);
    }
    place::directory(etc)?;
    let path = etc.join("gate.json");
    let Some(bytes) = place::read(&path, LIMIT)? else { return Ok(None) };
    let settings = serde_json::from_slice(&bytes).map_err(|error| {
        fail(FailureKind::NotEnrolled, format!("{}: {error}", path.display()))
            .hint("run `debark enroll` again")
    })?;
    Ok(Some(settings))
}

/// The settings of an enrolled host.
///
/// # Errors
/// As for [`settings`], and [`FailureKind::NotEnrolled`].
pub fn enrolled() -> Result<Settings> {
    settings()?.ok_or_else(|| {
        fail(FailureKind::NotEnrolled, "this host is not enrolled: it has no /etc/debark/gate.json")
            .hint("run `debark enroll` for it")
    })
}

/// The path of the file of allowed signers, once it is known to be root's alone.
///
/// # Errors
/// [`FailureKind::UnsafePath`], [`FailureKind::NotEnrolled`].
pub fn signers() -> Result<PathBuf> {
    let path = Path::new(place::ETC).join("signers");
    match place::read(&path, LIMIT)? {
        Some(_) => Ok(path),
        None => Err(fail(FailureKind::NotEnrolled, format!("there is no {}", path.display()))
            .hint("run `debark enroll` again")),
    }
}

/// The keys that packages may be signed with.
#[derive(Debug, Clone)]
pub struct Keyring {
    /// Trusted and not revoked, as one binary keyring; empty if there are none.
    pub bytes: Vec<u8>,
    /// Fingerprints that are revoked.
    pub revoked: Vec<String>,
    /// Changes with every change of trust.
    pub digest: Digest,
}

/// Reads the keys.
///
/// # Errors
/// [`FailureKind::UnsafePath`], or a file that is no key: a key that silently did not count would be worse.
pub fn keyring() -> Result<Keyring> {
    let etc = Path::new(place::ETC);
    let path = etc.join("revoked");
    let text = place::read(&path, LIMIT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut revoked = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let fingerprint = openpgp::normal(line).ok_or_else(|| {
            fail(FailureKind::Internal, format!("{}: {line:?} is no fingerprint", path.display()))
        })?;
        revoked.push(fingerprint);
    }
    let directory = etc.join("build-keys");
    let mut bytes = Vec::new();
    for path in key_files(&directory)? {
        let file = place::read(&path, LIMIT)?.unwrap_or_default();
        let found = openpgp::certificates(&file)
            .map_err(|why| fail(FailureKind::Internal, format!("{}: {why}", path.display())))?;
        for certificate in found {
            // A revoked subkey revokes its certificate: which of its keys was lost is nobody's guess.
            if !certificate.fingerprints.iter().any(|one| revoked.contains(one)) {
                bytes.extend_from_slice(&certificate.bytes);
            }
        }
    }
    let digest = Digest::of(&[text.as_bytes(), &bytes].concat());
    Ok(Keyring { bytes, revoked, digest })
}

fn key_files(directory: &Path) -> Result<Vec<PathBuf>> {
    if fs::symlink_metadata(directory).is_err() {
        return Ok(Vec::new());
    }
    place::directory(directory)?;
    let entries = fs::read_dir(directory).map_err(|error| file(directory, &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| file(directory, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "asc" || extension == "gpg") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
