//! The cipher of `$ANSIBLE_VAULT;...;AES256`: AES-256 in counter mode under a key derived from the password by
//! PBKDF2-HMAC-SHA256, authenticated by HMAC-SHA256 over the ciphertext (encrypt-then-MAC).

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use debark_value::wiping;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const ITERATIONS: u32 = 10_000;
const BLOCK: usize = 16;

/// Length of the salt in bytes.
pub const SALT: usize = 32;

/// What a password and a salt give: AES key, HMAC key and counter start, one after the other.
struct Keys(Zeroizing<[u8; 80]>);

impl Keys {
    fn derive(password: &[u8], salt: &[u8]) -> Self {
        let mut keys = Zeroizing::new([0; 80]);
        // The mode refuses nothing: an HMAC key may have any length.
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, ITERATIONS, keys.as_mut_slice());
        // Its temporaries.
        wiping::stack();
        Self(keys)
    }

    fn mac(&self) -> Option<Hmac<Sha256>> {
        <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.get(32..64)?).ok()
    }

    fn apply(&self, data: &mut [u8]) -> Option<()> {
        let mut stream = Ctr128BE::<Aes256>::new_from_slices(self.0.get(..32)?, self.0.get(64..)?).ok()?;
        stream.try_apply_keystream(data).ok()
    }
}

/// The plaintext, or nothing if the password (or a single bit of the rest) is wrong.
pub fn open(password: &[u8], salt: &[u8], mac: &[u8], ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let keys = Keys::derive(password, salt);
    let mut check = keys.mac()?;
    check.update(ciphertext);
    check.verify_slice(mac).ok()?;
    let mut data = Zeroizing::new(ciphertext.to_vec());
    keys.apply(&mut data)?;
    let padding = usize::from(*data.last()?);
    let filled = (1..=BLOCK).contains(&padding) && data.len() >= padding;
    let tail = data.len().checked_sub(padding)?;
    if !filled || data.get(tail..)?.iter().any(|byte| usize::from(*byte) != padding) {
        return None;
    }
    data.truncate(tail);
    Some(data)
}

/// The HMAC and the ciphertext.
pub fn seal(password: &[u8], salt: &[u8], plaintext: &[u8]) -> Option<([u8; 32], Vec<u8>)> {
    let keys = Keys::derive(password, salt);
    let padding = BLOCK - plaintext.len() % BLOCK;
    // Of the right size at once, so that no copy of the plaintext is left behind; it is encrypted in place.
    let mut data = Vec::with_capacity(plaintext.len() + padding);
    data.extend_from_slice(plaintext);
    data.resize(plaintext.len() + padding, padding as u8);
    keys.apply(&mut data)?;
    let mut mac = keys.mac()?;
    mac.update(&data);
    Some((mac.finalize().into_bytes().into(), data))
}
