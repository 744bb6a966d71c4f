//! Files that [age](https://age-encryption.org/v1) sealed, binary or armored.
//!
//! Identities are read when the first sealed text is met, and passphrases are asked for only if nothing that is open already
//! fits: of an SSH key with a passphrase the header tells whether it is meant (its tag is a hash of the public key).

mod identities;
mod recipients;

use std::sync::Arc;

use zeroize::Zeroizing;

pub use identities::Identities;
pub use recipients::Recipients;

/// No sealed text is opened beyond this size, in bytes.
pub const LIMIT: u64 = 64 << 20;

/// What armored text begins with.
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// Asks for a passphrase: gets the prompt.
pub type Ask = Arc<dyn Fn(&str) -> std::io::Result<Zeroizing<String>> + Send + Sync>;

/// Why a text stays closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// One lower-case sentence that begins with what it is about, which the caller names: `... is sealed for others`.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Closed {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Whether a text is one that age sealed.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(ARMOR)
}

/// Whether a sealed text is in armor: letters that a YAML file can hold.
pub fn is_armored(bytes: &[u8]) -> bool {
    bytes.starts_with(ARMOR)
}

#[cfg(test)]
mod tests;
