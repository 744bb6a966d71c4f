//! Keys that packages are signed with: OpenPGP, from a file or gpg-agent.
//!
//! What a key file holds is never part of a message, not even if it proves to be no key: it may be another secret.

use std::fs;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgp::composed::{
    ArmorOptions, Deserializable as _, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Password};
use zeroize::Zeroizing;

/// The largest key file that is read.
const MAX_KEY: u64 = 1 << 20;
/// What a specification of a key in gpg-agent begins with.
pub const AGENT: &str = "gpg:";

/// Why a key is not there, or does not sign.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct KeyError {
    /// A sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl KeyError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Where passphrases come from.
pub struct Unlock<'a> {
    /// A file with the passphrase in its first line.
    pub passphrase_file: Option<PathBuf>,
    /// The passphrase.
    pub passphrase: Option<Zeroizing<String>>,
    /// A file with the identity (age, or an SSH key) that an age-encrypted key is for.
    pub age_identity: Option<PathBuf>,
    /// Asks a person.
    pub ask: &'a mut dyn FnMut(&str) -> io::Result<Zeroizing<String>>,
}

impl Unlock<'_> {
    fn passphrase(&mut self, path: &Path) -> Result<Zeroizing<String>, KeyError> {
        if let Some(passphrase) = &self.passphrase {
            return Ok(passphrase.clone());
        }
        if let Some(file) = &self.passphrase_file {
            let text = fs::read_to_string(file).map(Zeroizing::new);
            let text = text.map_err(|error| KeyError::new(format!("{}: {error}", file.display())))?;
            return Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()));
        }
        (self.ask)(&format!("passphrase of {}: ", path.display())).map_err(|error| {
            KeyError::new(format!(
                "the key {} needs a passphrase, and nobody can be asked: {error}",
                path.display()
            ))
            .hint("name a file with it in DEBARK_BUILD_KEY_PASSPHRASE_FILE")
        })
    }
}

/// A key that signs.
pub enum BuildKey {
    /// From a file.
    Software(Box<SoftwareKey>),
    /// In gpg-agent, or on a card behind it.
    Agent {
        /// Fingerprint of the primary key.
        fingerprint: String,
    },
}

/// A key from a file.
pub struct SoftwareKey {
    key: SignedSecretKey,
    password: Password,
}

impl std::fmt::Debug for BuildKey {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "BuildKey({})", self.fingerprint())
    }
}

impl BuildKey {
    /// The key that `spec` names: a file, or `gpg:` and what gpg(1) knows it by.
    ///
    /// # Errors
    /// It is not there, is none, or stays locked.
    pub fn open(spec: &str, unlock: &mut Unlock<'_>) -> Result<Self, KeyError> {
        if let Some(id) = spec.strip_prefix(AGENT) {
            return Ok(Self::Agent { fingerprint: agent_fingerprint(id)? });
        }
        if spec.contains("-----BEGIN") || spec.contains('\n') {
            return Err(KeyError::new("the build key is given as text, and has to be named as a file")
                .hint("write it to a file that only you can read, and name that"));
        }
        let path = Path::new(spec);
        let bytes = read(path)?;
        let bytes = if is_age(&bytes) { open_age(path, &bytes, unlock)? } else { bytes };
        // What the parser says could hold a part of what it read.
        let none = || {
            KeyError::new(format!("{} is no OpenPGP secret key", path.display()))
                .hint("`debark keys new` makes one; an SSH key signs orders (`--key`), and no packages")
        };
        let parsed = if bytes.starts_with(b"-----") {
            SignedSecretKey::from_armor_single(&bytes[..]).map(|(key, _)| key)
        } else {
            SignedSecretKey::from_bytes(&bytes[..])
        };
        let key = parsed.map_err(|_| none())?;
        key.verify_bindings().map_err(|_| none())?;
        let mut found = SoftwareKey { key, password: Password::empty() };
        if found.opens().is_err() {
            let passphrase = unlock.passphrase(path)?;
            found.password = Password::from(passphrase.as_str());
            found
                .opens()
                .map_err(|_| KeyError::new(format!("the passphrase does not open {}", path.display())))?;
        }
        Ok(Self::Software(Box::new(found)))
    }

    /// Makes a key for packages: Ed25519, version 4, which every Debian's gpgv reads; it signs and does nothing else.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate(user: &str, passphrase: Option<&Zeroizing<String>>) -> Result<Self, KeyError> {
        let failed = |_| KeyError::new("a key cannot be made");
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_certify(true)
            .primary_user_id(user.to_owned())
            .preferred_hash_algorithms([HashAlgorithm::Sha512, HashAlgorithm::Sha256].into_iter().collect());
        let parameters = parameters.build().map_err(|_| KeyError::new("a key cannot be made"))?;
        let mut key = parameters.generate(rand::thread_rng()).map_err(failed)?;
        let mut password = Password::empty();
        if let Some(passphrase) = passphrase {
            password = Password::from(passphrase.as_str());
            key.primary_key.set_password(rand::thread_rng(), &password).map_err(failed)?;
        }
        Ok(Self::Software(Box::new(SoftwareKey { key, password })))
    }

    /// Fingerprint of the primary key, in upper-case hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Software(key) => format!("{:X}", key.key.fingerprint()),
            Self::Agent { fingerprint } => fingerprint.clone(),
        }
    }

    /// A detached binary signature of all that `data` yields.
    ///
    /// # Errors
    /// `data` cannot be read, or the key does not sign.
    pub fn sign(&self, data: &mut dyn Read) -> Result<Vec<u8>, KeyError> {
        match self {
            Self::Software(key) => key.sign(data),
            Self::Agent { fingerprint } => {
                agent(&["--detach-sign", "--digest-algo", "SHA512"], fingerprint, data)
            }
        }
    }

    /// A text with its signature (RFC 9580, 7), as `InRelease` files are.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn sign_clear(&self, text: &str) -> Result<String, KeyError> {
        let failed = || KeyError::new(format!("the key {} does not sign", self.fingerprint()));
        match self {
            Self::Software(key) => {
                let (signed, password) = (&key.key, &key.password);
                let message = match key.subkey() {
                    Some(subkey) => pgp::composed::CleartextSignedMessage::sign(
                        rand::thread_rng(),
                        text,
                        &subkey.key,
                        password,
                    ),
                    None => pgp::composed::CleartextSignedMessage::sign(
                        rand::thread_rng(),
                        text,
                        &signed.primary_key,
                        password,
                    ),
                };
                let message = message.map_err(|_| failed())?;
                message.to_armored_string(ArmorOptions::default()).map_err(|_| failed())
            }
            Self::Agent { fingerprint } => {
                let signed =
                    agent(&["--clear-sign", "--digest-algo", "SHA512"], fingerprint, &mut text.as_bytes())?;
                String::from_utf8(signed).map_err(|_| failed())
            }
        }
    }

    /// The public half, armored.
    ///
    /// # Errors
    /// gpg does not give it.
    pub fn public(&self) -> Result<String, KeyError> {
        let failed = || KeyError::new(format!("the public half of {} cannot be written", self.fingerprint()));
        match self {
            Self::Software(key) => {
                key.key.to_public_key().to_armored_string(ArmorOptions::default()).map_err(|_| failed())
            }
            Self::Agent { fingerprint } => {
                let mut command = gpg();
                command.args([
                    "--armor",
                    "--export-options",
                    "export-minimal",
                    "--export",
                    "--",
                    fingerprint,
                ]);
                let output = command.output().map_err(|error| no_gpg(&error))?;
                let text = String::from_utf8(output.stdout).map_err(|_| failed())?;
                if output.status.success() && !text.is_empty() { Ok(text) } else { Err(failed()) }
            }
        }
    }

    /// The secret half, armored, locked as it is.
    ///
    /// # Errors
    /// It is in gpg-agent.
    pub fn secret(&self) -> Result<Zeroizing<String>, KeyError> {
        match self {
            Self::Software(key) => key
                .key
                .to_armored_string(ArmorOptions::default())
                .map(Zeroizing::new)
                .map_err(|_| KeyError::new("the key cannot be written")),
            Self::Agent { fingerprint } => {
                Err(KeyError::new(format!("the secret half of {fingerprint} is gpg-agent's")))
            }
        }
    }
}

impl SoftwareKey {
    /// The subkey that signs, if the primary key does not.
    fn subkey(&self) -> Option<&pgp::composed::SignedSecretSubKey> {
        let primary = self.key.details.users.iter().flat_map(|user| &user.signatures);
        let primary =
            primary.chain(&self.key.details.direct_signatures).any(|signature| signature.key_flags().sign());
        if primary {
            return None;
        }
        let signs = |subkey: &&pgp::composed::SignedSecretSubKey| {
            subkey.signatures.iter().any(|signature| signature.key_flags().sign())
        };
        self.key.secret_subkeys.iter().rfind(signs)
    }

    /// Whether the password opens what signs.
    fn opens(&self) -> Result<(), ()> {
        let opened = match self.subkey() {
            Some(subkey) => subkey.key.unlock(&self.password, |_, _| Ok(())),
            None => self.key.primary_key.unlock(&self.password, |_, _| Ok(())),
        };
        opened.map_err(|_| ())?.map_err(|_| ())
    }

    fn sign(&self, data: &mut dyn Read) -> Result<Vec<u8>, KeyError> {
        let key = self.subkey().map_or_else(|| self.key.algorithm(), |subkey| subkey.key.algorithm());
        // As strong as the digest by which the whole package is known; and gpgv computes it several times as fast as SHA-512
        // where the processor has instructions for it. Others want a digest that is as long as they are (RFC 9580, 5.2.3).
        let short = matches!(
            key,
            PublicKeyAlgorithm::RSA | PublicKeyAlgorithm::EdDSALegacy | PublicKeyAlgorithm::Ed25519
        );
        let hash = if short { HashAlgorithm::Sha256 } else { HashAlgorithm::Sha512 };
        let rng = rand::thread_rng();
        let signature = match self.subkey() {
            Some(subkey) => DetachedSignature::sign_binary_data(rng, &subkey.key, &self.password, hash, data),
            None => {
                DetachedSignature::sign_binary_data(rng, &self.key.primary_key, &self.password, hash, data)
            }
        };
        let failed = |_| KeyError::new(format!("the key {:X} does not sign", self.key.fingerprint()));
        signature.map_err(failed)?.to_bytes().map_err(failed)
    }
}

/// Writes a secret that only its owner can read; nothing that is there is replaced.
///
/// # Errors
/// As for writing.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = fs::File::open(path).and_then(|file| file.take(MAX_KEY + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        KeyError::new(format!("{}: {error}", path.display()))
            .hint(format!("name a file with a secret key, or `{AGENT}KEYID` for one in gpg-agent"))
    })?;
    if bytes.len() as u64 > MAX_KEY {
        return Err(KeyError::new(format!("{} is too large for a key", path.display())));
    }
    Ok(bytes)
}

fn is_age(bytes: &[u8]) -> bool {
    bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
}

/// A key that was encrypted by age(1): with a passphrase, or for an identity.
fn open_age(path: &Path, bytes: &[u8], unlock: &mut Unlock<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let bad = || KeyError::new(format!("{} cannot be decrypted", path.display()));
    let decryptor = age::Decryptor::new_buffered(age::armor::ArmoredReader::new(bytes)).map_err(|_| bad())?;
    let mut out = Zeroizing::new(Vec::new());
    let reader = if decryptor.is_scrypt() {
        let passphrase = unlock.passphrase(path)?;
        let identity =
            age::scrypt::Identity::new(age::secrecy::SecretString::from(passphrase.as_str().to_owned()));
        decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
    } else {
        let Some(file) = &unlock.age_identity else {
            return Err(KeyError::new(format!("{} is encrypted for an age identity", path.display()))
                .hint("name the identity's file in DEBARK_AGE_IDENTITY"));
        };
        let none = || {
            KeyError::new(format!(
                "{} is no age identity and no SSH key without a passphrase",
                file.display()
            ))
        };
        let text = read(file)?;
        if text.starts_with(b"-----BEGIN") {
            let identity = age::ssh::Identity::from_buffer(&text[..], None).map_err(|_| none())?;
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
        } else {
            let found = age::IdentityFile::from_buffer(&text[..])
                .and_then(|file| file.into_identities().map_err(|_| io::Error::other("no identity")));
            let found = found.map_err(|_| none())?;
            decryptor.decrypt(found.iter().map(|identity| &**identity as &dyn age::Identity))
        }
    };
    reader.map_err(|_| bad())?.take(MAX_KEY).read_to_end(&mut out).map_err(|_| bad())?;
    Ok(out)
}

fn gpg() -> Command {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--no-tty", "--quiet"]).env("LC_ALL", "C").stdin(Stdio::null());
    command
}

fn no_gpg(error: &io::Error) -> KeyError {
    KeyError::new(format!("cannot run gpg: {error}")).hint("install gnupg, or name a key file")
}

/// The fingerprint of the key that gpg knows by `id`.
fn agent_fingerprint(id: &str) -> Result<String, KeyError> {
    let none = || {
        KeyError::new(format!("gpg has no secret key {id:?}"))
            .hint("`gpg --list-secret-keys` shows which there are")
    };
    let output = gpg()
        .args(["--with-colons", "--list-secret-keys", "--", id])
        .output()
        .map_err(|error| no_gpg(&error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("fpr:")).filter(|_| output.status.success());
    line.and_then(|line| line.split(':').nth(9)).map(str::to_owned).ok_or_else(none)
}

/// Gives `data` to gpg, and what it prints.
fn agent(options: &[&str], fingerprint: &str, data: &mut dyn Read) -> Result<Vec<u8>, KeyError> {
    let mut command = gpg();
    command.args(["--local-user", fingerprint]).args(options).args(["--output", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| no_gpg(&error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it ends early, its exit code tells.
        let _ = io::copy(data, &mut stdin);
    }
    let output = child.wait_with_output().map_err(|error| no_gpg(&error))?;
    if output.status.success() && !output.stdout.is_empty() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last =
        said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("gpg gives no reason").trim().to_owned();
    Err(KeyError::new(format!("the key {fingerprint} does not sign: {last}")))
}

#[cfg(test)]
mod tests;
