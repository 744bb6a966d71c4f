//! Keys that are trusted to have signed packages.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SubpacketData};
use pgp::types::{KeyDetails as _, Timestamp, VerifyingKey};

use crate::key::KeyError;

/// The largest public key that is read.
const MAX_KEY: u64 = 1 << 20;
/// Keys that a directory may hold.
const MAX_KEYS: usize = 1000;

/// A trusted key.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// Of the primary key, in upper-case hexadecimal digits.
    pub fingerprint: String,
    /// `Name <address>`, the first of them.
    pub user: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it expires, in seconds since 1970.
    pub expires: Option<u64>,
    /// Whether it counts no more.
    pub revoked: bool,
    /// Where it is.
    pub file: PathBuf,
    key: SignedPublicKey,
}

/// All trusted keys.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    /// In the order of their fingerprints.
    pub keys: Vec<PublicKey>,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// There is none.
    #[error("it is not signed")]
    Unsigned,
    /// It cannot be read, or is of a kind that proves nothing.
    #[error("its signature is none: {0}")]
    Malformed(&'static str),
    /// Its key is unknown.
    #[error("it is signed by the key {0}, which is not trusted")]
    Unknown(String),
    /// Its key is revoked.
    #[error("it is signed by the key {0}, which is revoked")]
    Revoked(String),
    /// Its key has expired.
    #[error("it is signed by the key {0}, which has expired")]
    Expired(String),
    /// It is of something else.
    #[error("its signature by the key {0} does not hold: it was changed")]
    Bad(String),
}

impl Keyring {
    /// Reads the keys of a directory (`*.asc`), and which of them are revoked (one fingerprint per line). A directory or a
    /// file that is not there is empty.
    ///
    /// # Errors
    /// A file cannot be read, or holds no key.
    pub fn load(directory: &Path, revoked: &Path) -> Result<Self, KeyError> {
        let revoked = revoked_fingerprints(revoked)?;
        let mut files = Vec::new();
        match fs::read_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(KeyError::new(format!("{}: {error}", directory.display()))),
            Ok(entries) => {
                let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
                files.extend(
                    paths
                        .filter(|path| path.extension().is_some_and(|extension| extension == "asc"))
                        .take(MAX_KEYS),
                );
            }
        }
        files.sort_unstable();
        let mut keys = files.iter().map(|file| PublicKey::read(file)).collect::<Result<Vec<_>, _>>()?;
        for key in &mut keys {
            key.revoked |= revoked.contains(&key.fingerprint);
        }
        keys.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        keys.dedup_by(|a, b| a.fingerprint == b.fingerprint);
        Ok(Self { keys })
    }

    /// The key that a detached signature of `data` is by, if it is trusted; `now` in seconds since 1970.
    ///
    /// # Errors
    /// It does not count.
    pub fn verify(
        &self,
        signature: Option<&[u8]>,
        data: impl Read,
        now: u64,
    ) -> Result<&PublicKey, Distrust> {
        let bytes = signature.ok_or(Distrust::Unsigned)?;
        let parsed = if bytes.starts_with(b"-----") {
            DetachedSignature::from_armor_single(bytes).map(|(signature, _)| signature)
        } else {
            DetachedSignature::from_bytes(bytes)
        };
        let signature = parsed.map_err(|_| Distrust::Malformed("it cannot be read"))?.signature;
        if !matches!(
            signature.hash_alg(),
            Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)
        ) {
            return Err(Distrust::Malformed("its hash algorithm is weak"));
        }
        let issuer = signature.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:X}"));
        let issuer =
            issuer.or_else(|| signature.issuer_key_id().first().map(|id| id.to_string().to_uppercase()));
        let issuer = issuer.ok_or(Distrust::Malformed("it names no key"))?;
        let Some(key) = self.keys.iter().find(|key| key.has(&issuer)) else {
            return Err(Distrust::Unknown(issuer));
        };
        if key.revoked {
            return Err(Distrust::Revoked(key.fingerprint.clone()));
        }
        key.check(&issuer, &signature, data).map_err(|()| Distrust::Bad(key.fingerprint.clone()))?;
        // A key that has expired since may still have signed in its time; a signature from later is no such one.
        let made = signature.created().map_or(u64::MAX, |time| u64::from(time.as_secs()));
        if key.expires.is_some_and(|expires| made >= expires || now >= expires) {
            return Err(Distrust::Expired(key.fingerprint.clone()));
        }
        Ok(key)
    }
}

impl PublicKey {
    /// Reads a public key; a secret one is refused.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(file: &Path) -> Result<Self, KeyError> {
        let mut bytes = Vec::new();
        let read = fs::File::open(file).and_then(|file| file.take(MAX_KEY).read_to_end(&mut bytes));
        read.map_err(|error| KeyError::new(format!("{}: {error}", file.display())))?;
        Self::parse(&bytes, file)
    }

    /// As [`Self::read`], of bytes.
    ///
    /// # Errors
    /// They are no public key.
    pub fn parse(bytes: &[u8], file: &Path) -> Result<Self, KeyError> {
        let none = || {
            KeyError::new(format!("{} is no OpenPGP public key", file.display()))
                .hint("`gpg --armor --export KEYID` writes one; `debark keys new` makes a new key")
        };
        let parsed = if bytes.starts_with(b"-----") {
            SignedPublicKey::from_armor_single(bytes).map(|(key, _)| key)
        } else {
            SignedPublicKey::from_bytes(bytes)
        };
        let key = parsed.map_err(|_| none())?;
        key.verify_bindings().map_err(|_| none())?;
        let created = u64::from(key.primary_key.created_at().as_secs());
        let signatures =
            key.details.users.iter().flat_map(|user| &user.signatures).chain(&key.details.direct_signatures);
        // The newest self-signature counts (RFC 9580, 5.2.3.10).
        let newest = signatures.max_by_key(|signature| signature.created().map_or(0, Timestamp::as_secs));
        let lasts = newest.and_then(Signature::key_expiration_time).map(|time| u64::from(time.as_secs()));
        Ok(Self {
            fingerprint: format!("{:X}", key.fingerprint()),
            user: key
                .details
                .users
                .first()
                .map(|user| String::from_utf8_lossy(user.id.id()).into_owned())
                .unwrap_or_default(),
            created,
            expires: lasts.filter(|seconds| *seconds > 0).map(|seconds| created + seconds),
            revoked: !key.details.revocation_signatures.is_empty(),
            file: file.to_owned(),
            key,
        })
    }

    /// As gpgv and apt take it: packets, not armored; those of several keys may stand one behind the other.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn packets(&self) -> Result<Vec<u8>, KeyError> {
        use pgp::ser::Serialize as _;
        self.key
            .to_bytes()
            .map_err(|error| KeyError::new(format!("{} cannot be written: {error}", self.file.display())))
    }

    /// Whether a detached signature by this key, in packets, has nothing but what [`Keyring::verify`] looks at: what stands beside the signed
    /// subpackets (RFC 9580, 5.2.3) names this key and no more, and nothing is written in another way than usual.
    pub fn is_bare(&self, signature: &[u8]) -> bool {
        use pgp::ser::Serialize as _;
        let Ok(parsed) = DetachedSignature::from_bytes(signature) else { return false };
        let config = parsed.signature.config();
        let beside = config.into_iter().flat_map(|config| &config.unhashed_subpackets);
        let names_us = beside.into_iter().all(|subpacket| {
            !subpacket.is_critical
                && match &subpacket.data {
                    SubpacketData::IssuerKeyId(id) => self.has(&id.to_string().to_uppercase()),
                    SubpacketData::IssuerFingerprint(fingerprint) => self.has(&format!("{fingerprint:X}")),
                    _ => false,
                }
        });
        names_us && parsed.to_bytes().is_ok_and(|usual| usual == signature)
    }

    /// Whether the primary key or a subkey has this fingerprint, or a key id that is its end.
    pub(crate) fn has(&self, issuer: &str) -> bool {
        let subkeys = self.key.public_subkeys.iter().map(|subkey| format!("{:X}", subkey.key.fingerprint()));
        issuer.len() >= 16
            && std::iter::once(self.fingerprint.clone()).chain(subkeys).any(|own| own.ends_with(issuer))
    }

    fn check(&self, issuer: &str, signature: &Signature, data: impl Read) -> Result<(), ()> {
        if self.fingerprint.ends_with(issuer) {
            return verify(&self.key.primary_key, signature, data);
        }
        for subkey in &self.key.public_subkeys {
            if format!("{:X}", subkey.key.fingerprint()).ends_with(issuer) {
                let signs = subkey.signatures.iter().any(|signature| signature.key_flags().sign());
                return if signs { verify(&subkey.key, signature, data) } else { Err(()) };
            }
        }
        Err(())
    }
}

fn verify(key: &impl VerifyingKey, signature: &Signature, data: impl Read) -> Result<(), ()> {
    signature.verify(key, data).map_err(|_| ())
}

/// The fingerprints of a file of revoked keys: one per line, `#` begins a remark.
///
/// # Errors
/// It cannot be read, or a line is none.
pub fn revoked_fingerprints(file: &Path) -> Result<Vec<String>, KeyError> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| KeyError::new(format!("{}: {error}", file.display())))?,
    };
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        // SHA256:... are keys of people; they are the ledger's matter.
        if line.starts_with("SHA256:") {
            continue;
        }
        if line.len() < 40 || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyError::new(format!("{}:{}: this is no fingerprint", file.display(), number + 1))
                .hint("write 40 hexadecimal digits, without spaces"));
        }
        found.push(line.to_uppercase());
    }
    Ok(found)
}

/// The fingerprint of an SSH public key in base64, as `ssh-keygen -l` shows it: `SHA256:...`.
pub fn ssh_fingerprint(base64: &str) -> Option<String> {
    use base64::Engine as _;
    use sha2::Digest as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).ok()?;
    let digest = sha2::Sha256::digest(bytes);
    Some(format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest)))
}
