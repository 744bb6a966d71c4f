//! Ansible's vault: text files and values that are encrypted under a password; and what age sealed in the same places.
//!
//! The format is that of `ansible-vault` 1.1 and 1.2: PBKDF2-HMAC-SHA256 (10,000 rounds) gives an AES-256-CTR key, an
//! HMAC-SHA256 key and the counter's start. A vault id in the header only says which password to try first.

mod cipher;
mod envelope;
mod passwords;

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use crate::{Decrypt, DecryptError, Diagnostic};
pub use debark_age::Identities;
pub use passwords::{Prompt, Sources};

/// A password as bytes; wiped when it is dropped.
pub type Password = Zeroizing<Vec<u8>>;

/// The passwords of a run, in the order in which they are tried.
#[derive(Clone, Default)]
pub struct Vault {
    passwords: Vec<(String, Password)>,
    match_id: bool,
    /// What opens texts that age sealed.
    age: Identities,
    /// What was decrypted: shared by all clones, as it must be kept out of all output.
    opened: Arc<Mutex<Vec<String>>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// Whether a text is encrypted in a way that is opened here: by ansible-vault or by age.
pub fn is_vault(text: &[u8]) -> bool {
    envelope::is_vault(text) || debark_age::is_sealed(text)
}

/// What opened a vault text, to close it again alike.
#[derive(Clone)]
pub struct Key {
    /// The label in the text's header; `default` if it has none.
    pub label: String,
    password: Password,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.label).finish()
    }
}

impl Vault {
    /// Adds a password under a vault id (`default` where the user gave none).
    pub fn add(&mut self, id: &str, password: Password) {
        self.passwords.push((id.to_owned(), password));
    }

    /// The vault ids that passwords are known for.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.passwords.iter().map(|(id, _)| id.as_str())
    }

    /// All texts that were decrypted so far; none of them may be shown.
    pub fn secrets(&self) -> Vec<String> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// With what opens texts that age sealed.
    #[must_use]
    pub fn with_identities(self, age: Identities) -> Self {
        Self { age, ..self }
    }

    /// What opens texts that age sealed.
    pub fn identities(&self) -> &Identities {
        &self.age
    }

    /// Whether no password is known.
    pub fn is_empty(&self) -> bool {
        self.passwords.is_empty()
    }

    /// The plaintext of a text that ansible-vault or age encrypted; it counts as secret from then on. `name` says in errors
    /// what it is: a file, or a variable and its place.
    ///
    /// # Errors
    /// The text is damaged, no password or identity is known, or none fits.
    pub fn decrypt(&self, text: &[u8], name: &str) -> Result<Zeroizing<Vec<u8>>, Diagnostic> {
        let plain = self.open_quietly(text, name)?;
        if let Ok(text) = std::str::from_utf8(&plain) {
            self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
        }
        Ok(plain)
    }

    /// As [`Vault::decrypt`], for one who shows nothing of it to anybody: it is not added to what is scrubbed.
    ///
    /// # Errors
    /// As [`Vault::decrypt`].
    pub fn open_quietly(&self, text: &[u8], name: &str) -> Result<Zeroizing<Vec<u8>>, Diagnostic> {
        if debark_age::is_sealed(text) {
            let closed = |closed: debark_age::Closed| {
                Diagnostic::error(format!("{name} {}", closed.message)).maybe_hint(closed.hint)
            };
            return self.age.open(text, name).map_err(closed);
        }
        self.open_by_password(text, name).map(|(plain, _)| plain)
    }

    /// The plaintext of a vault text, and what opened it.
    ///
    /// # Errors
    /// As [`Vault::decrypt`].
    pub fn open_by_password(&self, text: &[u8], name: &str) -> Result<(Zeroizing<Vec<u8>>, Key), Diagnostic> {
        let sealed = envelope::Envelope::parse(text)
            .map_err(|why| Diagnostic::error(format!("{name} is a damaged vault: {why}")))?;
        let id = sealed.id.as_deref().unwrap_or("default");
        if self.is_empty() {
            return Err(Diagnostic::error(format!(
                "{name} is encrypted with vault id `{id}`, and no vault password is known"
            ))
            .hint("give --vault-password-file FILE, --vault-id LABEL@SOURCE or --ask-vault-pass"));
        }
        let own = self.passwords.iter().filter(|(known, _)| known == id);
        let others = self.passwords.iter().filter(|(known, _)| known != id && !self.match_id);
        for (_, password) in own.chain(others) {
            if let Some(plain) = cipher::open(password, &sealed.salt, &sealed.mac, &sealed.ciphertext) {
                return Ok((plain, Key { label: id.to_owned(), password: password.clone() }));
            }
        }
        let known: Vec<_> = self.ids().collect();
        let hint = if known.contains(&id) {
            "the password has changed, or the file was damaged".to_owned()
        } else {
            format!("the known passwords are for {}; give --vault-id {id}@SOURCE", known.join(", "))
        };
        Err(Diagnostic::error(format!("wrong vault password for {name}: no known one opens vault id `{id}`"))
            .hint(hint))
    }

    /// The plaintext as text.
    ///
    /// # Errors
    /// As [`Vault::decrypt`]; also when the plaintext is not UTF-8.
    pub fn decrypt_text(&self, text: &[u8], name: &str) -> Result<Zeroizing<String>, Diagnostic> {
        let plain = self.decrypt(text, name)?;
        match std::str::from_utf8(&plain) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(Diagnostic::error(format!("{name} does not hold UTF-8 text"))),
        }
    }

    /// The password of that id, or else the first one.
    pub fn key(&self, id: Option<&str>) -> Option<Key> {
        let mut all = self.passwords.iter();
        let (label, password) = all.find(|(known, _)| id.is_none_or(|id| known == id))?;
        Some(Key { label: label.clone(), password: password.clone() })
    }

    /// A vault text of the plaintext, under the password of that id or else the first one.
    ///
    /// # Errors
    /// There is no such password, or the system gives no random bytes.
    pub fn encrypt(&self, plaintext: &[u8], id: Option<&str>) -> Result<String, Diagnostic> {
        let Some(key) = self.key(id) else {
            return Err(Diagnostic::error(match id {
                Some(id) => format!("no vault password is known for vault id `{id}`"),
                None => "no vault password is known".to_owned(),
            })
            .hint("give --vault-password-file FILE, --vault-id LABEL@SOURCE or --ask-vault-pass"));
        };
        key.encrypt(plaintext)
    }
}

impl Key {
    /// A vault text of the plaintext.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn encrypt(&self, plaintext: &[u8]) -> Result<String, Diagnostic> {
        let mut salt = vec![0; cipher::SALT];
        random(&mut salt)
            .map_err(|error| Diagnostic::error(format!("the system gives no random bytes: {error}")))?;
        let (mac, ciphertext) = cipher::seal(&self.password, &salt, plaintext)
            .ok_or_else(|| Diagnostic::error("the text is too long to encrypt"))?;
        let id = Some(self.label.clone());
        Ok(envelope::Envelope { id, salt, mac: mac.to_vec(), ciphertext }.format())
    }
}

/// Files and inline values of YAML. The place is known to the caller.
impl Decrypt for Vault {
    fn decrypt(&self, vault: &[u8]) -> Result<Vec<u8>, DecryptError> {
        self.decrypt_named(vault, "this text")
    }

    fn decrypt_named(&self, vault: &[u8], name: &str) -> Result<Vec<u8>, DecryptError> {
        match Self::decrypt(self, vault, name) {
            Ok(plain) => Ok(plain.to_vec()),
            Err(error) => Err(DecryptError { message: error.message, hint: error.hint.map(String::from) }),
        }
    }

    fn closed(&self, vault: &[u8]) -> Option<String> {
        let error = if debark_age::is_sealed(vault) {
            // A header does not tell whose it is.
            Self::decrypt(self, vault, "this value").err()?
        } else {
            self.closed_by_password(vault)?
        };
        Some(match error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message,
        })
    }
}

impl Vault {
    fn closed_by_password(&self, vault: &[u8]) -> Option<Diagnostic> {
        let sealed = envelope::Envelope::parse(vault).ok()?;
        let id = sealed.id.as_deref().unwrap_or("default");
        let other = sealed.id.is_some() && !self.ids().any(|known| known == id);
        (self.is_empty() || other).then(|| Self::decrypt(self, vault, "this value").err())?
    }
}

fn random(mut bytes: &mut [u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty())?;
        bytes = bytes.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
