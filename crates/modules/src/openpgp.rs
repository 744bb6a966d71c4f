//! As much of OpenPGP (RFC 4880) as it takes to keep keys apart: armor, packets, fingerprints.
//!
//! Hosts need not have gpg. apt reads binary keyrings, which are keys one after the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// A public key with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Fingerprints in upper-case hex: the key's own first, then those of its subkeys.
    pub fingerprints: Vec<String>,
    /// Its packets.
    pub bytes: Vec<u8>,
}

impl Key {
    /// Whether that is its id: the end of a fingerprint, at least 8 digits.
    pub fn has_id(&self, id: &str) -> bool {
        self.fingerprints.iter().any(|fingerprint| fingerprint.ends_with(id))
    }
}

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// The keys in a file, armored or binary.
///
/// # Errors
/// It holds no readable key: why, in one phrase.
pub fn keys(content: &[u8]) -> Result<Vec<Key>, String> {
    let text = String::from_utf8_lossy(content);
    if !text.contains(BEGIN) {
        return split(content);
    }
    let mut all = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let (block, _) = block.split_once(END).ok_or("its armor has no end")?;
        all.extend(split(&dearmor(block)?)?);
    }
    Ok(all)
}

/// The bytes between the lines of an armor (RFC 4880, section 6).
fn dearmor(block: &str) -> Result<Vec<u8>, String> {
    let mut body = String::new();
    let mut sum = None;
    // Headers (`Version: x`) end with an empty line; none of them can be base64.
    for line in block.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(':')) {
        match line.strip_prefix('=') {
            Some(check) => sum = Some(check.to_owned()),
            None => body.push_str(line),
        }
    }
    let bytes = STANDARD.decode(&body).map_err(|_| "its armor is no base64")?;
    if let Some(sum) = sum {
        let sum = STANDARD.decode(sum).map_err(|_| "its checksum is no base64")?;
        if sum != crc24(&bytes).to_be_bytes().get(1..).unwrap_or_default() {
            return Err("its checksum is wrong".to_owned());
        }
    }
    Ok(bytes)
}

fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 16, |crc, _| {
            let crc = crc << 1;
            if crc & 0x0100_0000 == 0 { crc } else { crc ^ 0x0186_4cfb }
        }) & 0x00ff_ffff
    })
}

/// Splits packets into keys: each starts with a public-key packet (tag 6).
fn split(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let mut keys: Vec<Key> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (tag, body, whole) = packet(rest).ok_or("it holds no OpenPGP packets")?;
        if tag == 6 {
            keys.push(Key { fingerprints: Vec::new(), bytes: Vec::new() });
        }
        let key = keys.last_mut().ok_or("it does not start with a public key")?;
        if tag == 6 || tag == 14 {
            key.fingerprints.push(fingerprint(body).ok_or("it has a key of a version other than 4")?);
        }
        key.bytes.extend_from_slice(rest.get(..whole).unwrap_or_default());
        rest = rest.get(whole..).unwrap_or_default();
    }
    if keys.is_empty() { Err("it is empty".to_owned()) } else { Ok(keys) }
}

/// Tag, body and whole length of the first packet (RFC 4880, section 4.2).
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let byte = |at: usize| bytes.get(at).map(|byte| usize::from(*byte));
    let first = *bytes.first()?;
    let number = |from: usize, count: usize| {
        (from..from + count).try_fold(0usize, |sum, at| Some(sum << 8 | byte(at)?))
    };
    let (tag, header, length) = match first {
        0xc0.. => {
            let (header, length) = match byte(1)? {
                short @ 0..192 => (2, short),
                long @ 192..224 => (3, ((long - 192) << 8) + byte(2)? + 192),
                255 => (6, number(2, 4)?),
                // Partial lengths are for data, not for keys.
                _ => return None,
            };
            (first & 0x3f, header, length)
        }
        0x80..0xc0 => {
            let size = match first & 3 {
                0 => 1,
                1 => 2,
                2 => 4,
                _ => return None,
            };
            (first >> 2 & 0x0f, 1 + size, number(1, size)?)
        }
        _ => return None,
    };
    let whole = header.checked_add(length)?;
    Some((tag, bytes.get(header..whole)?, whole))
}

/// SHA-1 over the packet as an old-format one (RFC 4880, section 12.2).
fn fingerprint(body: &[u8]) -> Option<String> {
    if body.first() != Some(&4) {
        return None;
    }
    let length = u16::try_from(body.len()).ok()?;
    let mut hash = Sha1::new();
    hash.update([0x99]);
    hash.update(length.to_be_bytes());
    hash.update(body);
    Some(hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_debians_own_key() {
        // The package debian-archive-keyring is part of every Debian system that verifies what it installs.
        let keyring = std::fs::read("/usr/share/keyrings/debian-archive-keyring.gpg").unwrap();
        let keys = keys(&keyring).unwrap();
        let bookworm = keys.iter().find(|key| key.has_id("B7C5D7D6350947F8")).unwrap();
        assert_eq!(bookworm.fingerprints[0], "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8");
        assert_eq!(keys.iter().flat_map(|key| key.bytes.clone()).collect::<Vec<_>>(), keyring);
        let sum = STANDARD.encode(&crc24(&bookworm.bytes).to_be_bytes()[1..]);
        let armor = format!("{BEGIN}\nVersion: x\n\n{}\n={sum}\n{END}\n", STANDARD.encode(&bookworm.bytes));
        assert_eq!(super::keys(armor.as_bytes()).unwrap(), std::slice::from_ref(bookworm));
        let wrong = armor.replace(&format!("={sum}"), "=AAAA");
        assert_eq!(super::keys(wrong.as_bytes()).unwrap_err(), "its checksum is wrong");
    }

    #[test]
    fn rubbish_is_refused() {
        for bytes in [&b""[..], b"hello", b"\xc6\xff", b"\x99\xff\xff\x04", b"\xb4\x01x", BEGIN.as_bytes()] {
            assert!(keys(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(crc24(b""), 0x00b7_04ce);
        assert_eq!(crc24(b"123456789"), 0x0021_cf02);
    }
}
