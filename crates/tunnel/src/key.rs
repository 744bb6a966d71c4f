//! Keys: 32 bytes, in base64 as wg(8) writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boringtun::x25519::{PublicKey, StaticSecret};
use rand::RngCore as _;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// A private or preshared key; wiped when dropped. It stays where it is on the heap: whatever is moved on the stack leaves a copy there.
#[derive(Clone)]
pub struct SecretKey(Box<Zeroizing<[u8; 32]>>);

impl ZeroizeOnDrop for SecretKey {}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl SecretKey {
    /// A new key from the system's random numbers.
    pub fn generate() -> Self {
        let mut bytes = Box::new(Zeroizing::new([0; 32]));
        rand::rngs::OsRng.fill_bytes(bytes.as_mut_slice());
        Self(bytes)
    }

    /// From base64; `None`: it is not 32 bytes in base64.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        let mut key = Box::new(Zeroizing::new([0; 32]));
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(&bytes);
        Some(Self(key))
    }

    /// In base64.
    pub fn encoded(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> Public {
        Public(*PublicKey::from(&self.secret()).as_bytes())
    }

    pub(crate) fn secret(&self) -> StaticSecret {
        StaticSecret::from(**self.0)
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        **self.0
    }
}

/// A peer's public key: not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Public(pub(crate) [u8; 32]);

impl Public {
    /// From base64; `None`: it is not 32 bytes in base64.
    pub fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of RFC 7748, 6.1.
    #[test]
    fn the_public_key_is_that_of_the_rfc() {
        let key = SecretKey::parse("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=").unwrap();
        assert_eq!(key.public().to_string(), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
        assert!(!format!("{key:?}").contains("dwdt"));
        assert!(SecretKey::parse("dwdt").is_none() && Public::parse("no").is_none());
        assert_ne!(*SecretKey::generate().encoded(), *SecretKey::generate().encoded());
    }
}
