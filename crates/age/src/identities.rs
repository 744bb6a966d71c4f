//! What opens sealed texts: age identities, with or without a passphrase, and SSH keys.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use age::secrecy::SecretString;
use age::{DecryptError, Decryptor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use debark_value::wiping;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Ask, Closed, LIMIT};

/// No key file is larger, in bytes.
const KEY_LIMIT: u64 = 1 << 20;
/// Plaintexts up to this size are kept, as files are read more than once in a run.
const KEPT: usize = 1 << 20;
/// The work that a passphrase may cost: 2^20 rounds of scrypt, which take a gigabyte. age(1) itself writes 18.
const MAX_WORK: u8 = 20;

const HINT: &str = "give --age-identity FILE or DEBARK_AGE_IDENTITY: age identities, or an SSH key";

/// Identities of a run; clones share what was read, unlocked and opened.
#[derive(Clone)]
pub struct Identities(Arc<Inner>);

struct Inner {
    /// Files that the user named; they have to be there.
    given: Vec<PathBuf>,
    ask: Ask,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Vec<Key>>,
    /// By the digest of the sealed text.
    opened: HashMap<[u8; 32], Zeroizing<Vec<u8>>>,
    /// Files that are of no use, and why.
    useless: Vec<String>,
}

struct Key {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    X25519(Box<age::x25519::Identity>),
    Ssh(Box<age::ssh::Identity>),
    /// An SSH key with a passphrase, and its tag in headers.
    LockedSsh(Box<age::ssh::Identity>, String),
    /// A file of identities under a passphrase.
    LockedFile(Vec<u8>),
    /// It was asked for in vain: not again.
    Refused,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identities").field(&self.0.given).finish()
    }
}

impl Default for Identities {
    fn default() -> Self {
        Self::new(Vec::new(), Arc::new(|_: &str| Err(io::Error::other("there is nobody to ask"))))
    }
}

impl Identities {
    /// Identities in these files, or else in those that `DEBARK_AGE_IDENTITY` names (several with `:` between them), or else in
    /// `~/.config/age/keys.txt`, `~/.ssh/id_ed25519` and `~/.ssh/id_rsa`. Nothing is read yet.
    pub fn new(given: Vec<PathBuf>, ask: Ask) -> Self {
        Self(Arc::new(Inner { given, ask, state: Mutex::default() }))
    }

    /// The same way of asking, with another file alone.
    #[must_use]
    pub fn only(&self, file: &Path) -> Self {
        Self::new(vec![file.to_owned()], self.0.ask.clone())
    }

    /// Where keys are looked for, and whether they have to be there.
    fn places(&self) -> (Vec<PathBuf>, bool) {
        if !self.0.given.is_empty() {
            return (self.0.given.clone(), true);
        }
        if let Some(paths) = std::env::var_os("DEBARK_AGE_IDENTITY").filter(|paths| !paths.is_empty()) {
            return (std::env::split_paths(&paths).collect(), true);
        }
        let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return (Vec::new(), false) };
        let usual = [".config/age/keys.txt", ".ssh/id_ed25519", ".ssh/id_rsa"];
        (usual.iter().map(|path| home.join(path)).collect(), false)
    }

    /// The plaintext of a sealed text. `name` is told to whoever is asked for a passphrase.
    ///
    /// # Errors
    /// No identity fits, it was changed, or there is nobody to ask.
    pub fn open(&self, sealed: &[u8], name: &str) -> Result<Zeroizing<Vec<u8>>, Closed> {
        // One at a time: two threads must not ask for the same passphrase.
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let digest: [u8; 32] = Sha256::digest(sealed).into();
        if let Some(plain) = state.opened.get(&digest) {
            return Ok(plain.clone());
        }
        let header = Header::read(sealed)?;
        let plain = if header.passphrase {
            let passphrase = self.ask(&format!("Passphrase of {name}: "))?;
            read_out(sealed, std::iter::once(&scrypt(passphrase) as &dyn age::Identity))
                .map_err(|error| told(&error))?
        } else {
            let plain = self.open_by_key(&mut state, sealed, &header);
            wiping::stack();
            plain?
        };
        if plain.len() <= KEPT {
            state.opened.insert(digest, plain.clone());
        }
        Ok(plain)
    }

    fn open_by_key(
        &self,
        state: &mut State,
        sealed: &[u8],
        header: &Header,
    ) -> Result<Zeroizing<Vec<u8>>, Closed> {
        if state.keys.is_none() {
            let (places, strict) = self.places();
            state.keys = Some(read_all(&places, strict, &mut state.useless)?);
        }
        let State { keys, useless, .. } = state;
        let keys = keys.get_or_insert_default();
        let mut refused = None;
        loop {
            match read_out(sealed, keys.iter().filter_map(|key| key.kind.open())) {
                Ok(plain) => return Ok(plain),
                Err(DecryptError::NoMatchingKeys) => {}
                Err(error) => return Err(told(&error)),
            }
            // SSH keys that are meant first, then files, as only the passphrase tells what is in them.
            let meant = |kind: &Kind| matches!(kind, Kind::LockedSsh(_, tag) if header.tags.contains(tag));
            let locked = |kind: &Kind| matches!(kind, Kind::LockedFile(_));
            let next = keys
                .iter()
                .position(|key| meant(&key.kind))
                .or_else(|| header.age.then(|| keys.iter().position(|key| locked(&key.kind))).flatten());
            let Some(next) = next else { break };
            match self.unlock(keys.swap_remove(next)) {
                Ok(more) => keys.extend(more),
                Err((key, why)) => {
                    keys.push(key);
                    refused.get_or_insert(why);
                }
            }
        }
        if let Some(why) = refused {
            return Err(why);
        }
        let hint = match useless.as_slice() {
            [] if keys.is_empty() => format!("no identity is known: {HINT}"),
            [] => HINT.to_owned(),
            some => format!("{HINT}; {}", some.join("; ")),
        };
        Err(Closed::new("is sealed by age, and no known identity opens it").hint(hint))
    }

    /// Asks for the passphrase of a key.
    fn unlock(&self, key: Key) -> Result<Vec<Key>, (Key, Closed)> {
        let name = key.path.display().to_string();
        let refused = |closed: Closed| (Key { path: key.path.clone(), kind: Kind::Refused }, closed);
        let wrong = || Closed::new(format!("stays sealed: that is not the passphrase of {name}"));
        let passphrase = self.ask(&format!("Passphrase of {name}: ")).map_err(refused)?;
        let kind = |kind| Key { path: key.path.clone(), kind };
        match &key.kind {
            Kind::LockedSsh(ssh, _) => {
                let age::ssh::Identity::Encrypted(locked) = &**ssh else { return Ok(Vec::new()) };
                let open = locked.decrypt(passphrase).map_err(|_| refused(wrong()))?;
                Ok(vec![kind(Kind::Ssh(Box::new(open.into())))])
            }
            Kind::LockedFile(bytes) => {
                let text = read_out(bytes, std::iter::once(&scrypt(passphrase) as &dyn age::Identity))
                    .map_err(|_| refused(wrong()))?;
                let lines = identity_lines(&text)
                    .map_err(|why| refused(Closed::new(format!("stays sealed: {name} {why}"))))?;
                Ok(lines.into_iter().map(kind).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn ask(&self, prompt: &str) -> Result<SecretString, Closed> {
        let typed = (self.0.ask)(prompt).map_err(|error| {
            let what = prompt.trim_end_matches([':', ' ']);
            Closed::new(format!(
                "stays sealed: cannot ask for the p{}: {error}",
                what.trim_start_matches('P')
            ))
        })?;
        Ok(SecretString::from(typed.as_str().to_owned()))
    }
}

impl Kind {
    fn open(&self) -> Option<&dyn age::Identity> {
        match self {
            Self::X25519(key) => Some(&**key),
            Self::Ssh(key) => Some(&**key),
            _ => None,
        }
    }
}

fn scrypt(passphrase: SecretString) -> age::scrypt::Identity {
    let mut identity = age::scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(MAX_WORK);
    identity
}

fn read_out<'a>(
    sealed: &[u8],
    keys: impl Iterator<Item = &'a dyn age::Identity>,
) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    let reader = Decryptor::new_buffered(age::armor::ArmoredReader::new(sealed))?.decrypt(keys)?;
    // Never grown, so that no copy is left behind unwiped: the plaintext is shorter than what it was sealed to.
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len().min(LIMIT as usize)));
    reader.take(LIMIT + 1).read_to_end(&mut plain)?;
    if plain.len() as u64 > LIMIT {
        return Err(DecryptError::Io(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(plain)
}

fn told(error: &DecryptError) -> Closed {
    match error {
        DecryptError::NoMatchingKeys | DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            Closed::new("stays sealed: the passphrase is wrong, or it was changed")
        }
        DecryptError::InvalidMac => Closed::new("was changed after age had sealed it"),
        DecryptError::ExcessiveWork { .. } => {
            Closed::new("wants more work for its passphrase than is done for anyone")
        }
        DecryptError::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Closed::new(format!("holds more than {} MiB", LIMIT >> 20))
        }
        DecryptError::UnknownFormat => Closed::new("is of a version of age that is not known here"),
        _ => Closed::new("is damaged: age cannot read it"),
    }
}

/// What the header says of who opens it (age-encryption.org/v1, "Recipient stanza").
#[derive(Default)]
struct Header {
    passphrase: bool,
    /// For an age key.
    age: bool,
    /// Of SSH keys.
    tags: Vec<String>,
}

impl Header {
    fn read(sealed: &[u8]) -> Result<Self, Closed> {
        // The format bounds no header; nobody has so many recipients.
        let mut bytes = Vec::new();
        let read = age::armor::ArmoredReader::new(sealed).take(1 << 20).read_to_end(&mut bytes);
        if read.is_err() && bytes.is_empty() {
            return Err(Closed::new("is damaged: age cannot read it"));
        }
        let mut header = Self::default();
        for line in bytes.split(|byte| *byte == b'\n').take_while(|line| !line.starts_with(b"---")) {
            let Some(line) = line.strip_prefix(b"-> ").and_then(|line| std::str::from_utf8(line).ok()) else {
                continue;
            };
            let mut words = line.split(' ');
            match words.next() {
                Some("scrypt") => header.passphrase = true,
                Some("X25519") => header.age = true,
                Some("ssh-ed25519" | "ssh-rsa") => header.tags.extend(words.next().map(str::to_owned)),
                _ => {}
            }
        }
        Ok(header)
    }
}

fn read_all(places: &[PathBuf], strict: bool, useless: &mut Vec<String>) -> Result<Vec<Key>, Closed> {
    let mut keys = Vec::new();
    for path in places {
        let name = path.display();
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) if strict => {
                return Err(Closed::new(format!(
                    "stays sealed: cannot read the age identity {name}: {error}"
                )));
            }
            Err(_) => continue,
        };
        match kinds(&bytes) {
            Ok(kinds) => keys.extend(kinds.into_iter().map(|kind| Key { path: path.clone(), kind })),
            Err(why) if strict => {
                return Err(Closed::new(format!("stays sealed: the age identity {name} {why}")));
            }
            Err(why) => useless.push(format!("{name} {why}")),
        }
    }
    Ok(keys)
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.min(KEY_LIMIT) as usize + 1));
    file.take(KEY_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a file holds; or why it is of no use, as the rest of a sentence that begins with its name. Never quotes it.
fn kinds(bytes: &[u8]) -> Result<Vec<Kind>, &'static str> {
    if crate::is_sealed(bytes) {
        let header = Header::read(bytes).map_err(|_| "is damaged")?;
        return match header.passphrase {
            true => Ok(vec![Kind::LockedFile(bytes.to_vec())]),
            false => Err("is itself sealed for another identity"),
        };
    }
    if bytes.starts_with(b"-----BEGIN") {
        let key =
            age::ssh::Identity::from_buffer(bytes, None).map_err(|_| "is no SSH key that age can use")?;
        return match &key {
            age::ssh::Identity::Unencrypted(_) => Ok(vec![Kind::Ssh(Box::new(key))]),
            age::ssh::Identity::Encrypted(_) => {
                let tag = tag(&key).ok_or("is a kind of SSH key that age cannot use")?;
                Ok(vec![Kind::LockedSsh(Box::new(key), tag)])
            }
            age::ssh::Identity::Unsupported(_) => {
                Err("is a kind of SSH key that age cannot use: ed25519 and rsa it can")
            }
        };
    }
    identity_lines(bytes)
}

fn identity_lines(bytes: &[u8]) -> Result<Vec<Kind>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no text")?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| match line.parse::<age::x25519::Identity>() {
        Ok(key) => Ok(Kind::X25519(Box::new(key))),
        Err(_) if line.starts_with("AGE-PLUGIN-") => {
            Err("is an identity of a plugin, which is not called here")
        }
        Err(_) => Err("holds a line that is no age identity"),
    };
    let kinds = lines.map(parse).collect::<Result<Vec<_>, _>>()?;
    if kinds.is_empty() { Err("holds no identity") } else { Ok(kinds) }
}

/// The first four bytes of the SHA-256 of the public key, in base64.
fn tag(key: &age::ssh::Identity) -> Option<String> {
    let public = age::ssh::Recipient::try_from(key.clone()).ok()?;
    let (age::ssh::Recipient::SshRsa(blob, _) | age::ssh::Recipient::SshEd25519(blob, _)) = &public;
    Some(STANDARD_NO_PAD.encode(Sha256::digest(blob).get(..4)?))
}
