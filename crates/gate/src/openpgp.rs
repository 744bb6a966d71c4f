//! As much of OpenPGP (RFC 9580) as it takes to make a keyring of some certificates and leave out others: armor,
//! packets' borders, fingerprints. Signatures are gpgv's or sqv's business.

use base64::Engine as _;
use sha1::Digest as _;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Of the primary key, then of its subkeys: upper-case hexadecimal digits.
    pub fingerprints: Vec<String>,
    /// Its packets.
    pub bytes: Vec<u8>,
}

/// The certificates of a file, armored or not.
///
/// # Errors
/// It holds something else: a few words.
pub fn certificates(file: &[u8]) -> Result<Vec<Certificate>, &'static str> {
    let mut found: Vec<Certificate> = Vec::new();
    let binary = match file.first() {
        Some(byte) if byte & 0x80 != 0 => vec![file.to_vec()],
        _ => dearmor(file)?,
    };
    for bytes in binary {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (tag, body, length) = packet(rest).ok_or("a packet that has no end")?;
            let whole = rest.get(..length).ok_or("a packet that has no end")?;
            match tag {
                6 => found.push(Certificate { fingerprints: vec![fingerprint(body)?], bytes: Vec::new() }),
                14 => found.last_mut().ok_or("no public key")?.fingerprints.push(fingerprint(body)?),
                5 | 7 => return Err("it holds a secret key"),
                _ => {}
            }
            found.last_mut().ok_or("no public key")?.bytes.extend_from_slice(whole);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    if found.is_empty() { Err("no public key") } else { Ok(found) }
}

/// A packet's tag, body and whole length.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let first = *bytes.first()?;
    let at = |index: usize| bytes.get(index).map(|byte| usize::from(*byte));
    let (tag, header, length) = if first & 0x40 != 0 {
        let (header, length) = match at(1)? {
            length @ 0..192 => (2, length),
            high @ 192..224 => (3, ((high - 192) << 8) + at(2)? + 192),
            255 => (6, at(2)? << 24 | at(3)? << 16 | at(4)? << 8 | at(5)?),
            _ => return None, // partial lengths are for data alone
        };
        (first & 0x3f, header, length)
    } else {
        let (header, length) = match first & 3 {
            0 => (2, at(1)?),
            1 => (3, at(1)? << 8 | at(2)?),
            2 => (5, at(1)? << 24 | at(2)? << 16 | at(3)? << 8 | at(4)?),
            _ => return None,
        };
        ((first >> 2) & 0xf, header, length)
    };
    (first & 0x80 != 0).then_some(())?;
    let end = length.checked_add(header)?;
    Some((tag, bytes.get(header..end)?, end))
}

/// RFC 9580, 5.5.4.
fn fingerprint(body: &[u8]) -> Result<String, &'static str> {
    let bytes = match body.first() {
        Some(4) => {
            let length = u16::try_from(body.len()).map_err(|_| "a key that is too long")?;
            let hash = sha1::Sha1::new().chain_update([0x99]).chain_update(length.to_be_bytes());
            hash.chain_update(body).finalize().to_vec()
        }
        Some(6) => {
            let length = u32::try_from(body.len()).map_err(|_| "a key that is too long")?;
            let hash = sha2::Sha256::new().chain_update([0x9b]).chain_update(length.to_be_bytes());
            hash.chain_update(body).finalize().to_vec()
        }
        _ => return Err("a key of a version that is not known"),
    };
    Ok(bytes.iter().map(|byte| format!("{byte:02X}")).collect())
}

/// The blocks of an armored file. Checksums are optional (RFC 9580, 6.1) and guard against nothing that matters here.
fn dearmor(file: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let text = std::str::from_utf8(file).map_err(|_| "neither text nor a public key")?;
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while lines.any(|line| line == BEGIN) {
        let mut base64 = String::new();
        let mut headers = true;
        loop {
            let line = lines.next().ok_or("an armor that has no end")?;
            match line {
                END => break,
                "" => headers = false,
                _ if headers && line.contains(": ") => {}
                _ if line.starts_with('=') && line.len() == 5 => {}
                _ => {
                    headers = false;
                    base64.push_str(line.trim());
                }
            }
        }
        blocks.push(base64::engine::general_purpose::STANDARD.decode(base64).map_err(|_| "broken base64")?);
    }
    if blocks.is_empty() { Err("no armored public key") } else { Ok(blocks) }
}

/// A fingerprint as people write it, without blanks; `None` if it is none.
pub fn normal(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    let text = text.strip_prefix("0x").unwrap_or(&text).to_uppercase();
    let fits = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_gpgs_and_rubbish_is_told() {
        let home = tempfile::tempdir().unwrap();
        let gpg = |args: &[&str]| {
            let mut command = std::process::Command::new("gpg");
            command.arg("--homedir").arg(home.path()).args(["--batch", "--quiet", "--passphrase", ""]);
            command.args(args).output().unwrap()
        };
        assert!(gpg(&["--quick-gen-key", "t <t@example.org>", "ed25519", "sign", "never"]).status.success());
        let listed = String::from_utf8(gpg(&["--with-colons", "--list-keys"]).stdout).unwrap();
        let wanted = listed.lines().find(|line| line.starts_with("fpr:")).unwrap().split(':').nth(9).unwrap();
        for arguments in [&["--armor", "--export"][..], &["--export"]] {
            let bytes = gpg(arguments).stdout;
            let found = certificates(&bytes).unwrap();
            assert_eq!(found[0].fingerprints, [wanted]);
            for length in 0..bytes.len() {
                let _ = certificates(&bytes[..length]);
            }
        }
        assert_eq!(
            certificates(&gpg(&["--armor", "--export-secret-keys"]).stdout),
            Err("no armored public key")
        );
        assert!(certificates(b"").is_err() && certificates(&[0xff; 20]).is_err());
        assert_eq!(normal("0xab cd"), None);
        assert_eq!(normal(&wanted.to_lowercase()).as_deref(), Some(wanted));
        let _ = std::process::Command::new("gpgconf")
            .arg("--homedir")
            .arg(home.path())
            .args(["--kill", "all"])
            .status();
    }
}
