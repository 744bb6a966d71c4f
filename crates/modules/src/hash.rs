//! Digests of content, in hex.

use std::io::{Read, Write};
use std::path::Path;

use sha1::Digest;

use crate::plan::Failure;

/// A digest's algorithm, by the names Ansible's `checksum_algorithm` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// The algorithm of that name, in any case.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "md5" => Self::Md5,
            "sha1" | "sha" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    /// The algorithm whose digest has that many hex digits.
    pub fn of_length(digits: usize) -> Option<Self> {
        Some(match digits {
            32 => Self::Md5,
            40 => Self::Sha1,
            56 => Self::Sha224,
            64 => Self::Sha256,
            96 => Self::Sha384,
            128 => Self::Sha512,
            _ => return None,
        })
    }

    /// A running digest.
    pub fn hasher(self) -> Hasher {
        Hasher(match self {
            Self::Md5 => Box::new(md5::Md5::new()),
            Self::Sha1 => Box::new(sha1::Sha1::new()),
            Self::Sha224 => Box::new(sha2::Sha224::new()),
            Self::Sha256 => Box::new(sha2::Sha256::new()),
            Self::Sha384 => Box::new(sha2::Sha384::new()),
            Self::Sha512 => Box::new(sha2::Sha512::new()),
        })
    }

    /// The digest of these bytes, in lower-case hex.
    pub fn hex(self, bytes: &[u8]) -> String {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

trait Running {
    fn add(&mut self, bytes: &[u8]);
    fn end(self: Box<Self>) -> Vec<u8>;
}

impl<D: Digest> Running for D {
    fn add(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
    fn end(self: Box<Self>) -> Vec<u8> {
        self.finalize().to_vec()
    }
}

/// A running digest; bytes may also be written to it.
pub struct Hasher(Box<dyn Running>);

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.add(bytes);
    }

    /// The digest in lower-case hex.
    pub fn finish(self) -> String {
        hex(&self.0.end())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Several digests of one reader in a single pass, in the order of `algorithms`.
///
/// # Errors
/// Reading fails.
pub fn read(reader: &mut dyn Read, algorithms: &[Algorithm]) -> std::io::Result<Vec<String>> {
    let mut hashers: Vec<Hasher> = algorithms.iter().map(|algorithm| algorithm.hasher()).collect();
    let mut chunk = vec![0u8; 64 << 10];
    loop {
        let count = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for hasher in &mut hashers {
            hasher.update(chunk.get(..count).unwrap_or_default());
        }
    }
    Ok(hashers.into_iter().map(Hasher::finish).collect())
}

/// Several digests of a file in a single pass, in the order of `algorithms`.
///
/// # Errors
/// It cannot be opened or read.
pub fn file(path: &Path, algorithms: &[Algorithm]) -> Result<Vec<String>, Failure> {
    let mut file = std::fs::File::open(path).map_err(|e| Failure::io("cannot read", path, e))?;
    read(&mut file, algorithms).map_err(|e| Failure::io("cannot read", path, e))
}

/// SHA-1 of a file, as results report it in `checksum`.
///
/// # Errors
/// It cannot be opened or read.
pub fn sha1_of(path: &Path) -> Result<String, Failure> {
    Ok(file(path, &[Algorithm::Sha1])?.pop().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(Algorithm::Md5.hex(b""), "d41d8cd98f00b204e9800998ecf8427e");
        let both = read(&mut &b"abc"[..], &[Algorithm::Sha1, Algorithm::Sha256]).unwrap();
        assert_eq!(both[0], "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(both[1], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for name in ["md5", "sha1", "SHA224", "sha256", "sha384", "sha512"] {
            let algorithm = Algorithm::of(name).unwrap();
            assert_eq!(Algorithm::of_length(algorithm.hex(b"x").len()), Some(algorithm));
        }
    }
}
