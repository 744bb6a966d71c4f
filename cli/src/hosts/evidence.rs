//! What somebody else says of a host's keys: SSHFP records, or what a cloud shows of its first boot.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use debark_connect::{Shown, fingerprint};

/// Beyond this it is surely no console's output.
const LIMIT: u64 = 16 << 20;

/// Keys that a file vouches for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// `SHA256:...` of keys that the file holds or names, of whichever host it is about.
    prints: Vec<String>,
    /// Name and SHA-256 in hex, of SSHFP records.
    records: Vec<(String, String)>,
}

impl Evidence {
    /// Reads SSHFP records (RFC 4255, as `ssh-keygen -r` prints them), public keys (`-----BEGIN SSH HOST KEY KEYS-----` of
    /// cloud-init) and fingerprints (`256 SHA256:...`), between whatever else the file has.
    ///
    /// # Errors
    /// It cannot be read, or has none of these.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut bytes = Vec::new();
        File::open(path).map_err(failed)?.take(LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        let found = Self::parse(&String::from_utf8_lossy(&bytes));
        if found == Self::default() {
            return Err(format!(
                "{} has neither host keys nor fingerprints (SHA256) nor SSHFP records (SHA-256)",
                path.display()
            ));
        }
        Ok(found)
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let words: Vec<&str> =
                line.split_whitespace().take_while(|word| !word.starts_with(';')).collect();
            if let Some(at) = words.iter().position(|word| word.eq_ignore_ascii_case("SSHFP")) {
                found.record(&words, at);
                continue;
            }
            for (index, word) in words.iter().enumerate() {
                let print = word.trim_matches([',', '(', ')', '"']);
                if print.strip_prefix("SHA256:").is_some_and(|rest| rest.len() == 43) {
                    found.prints.push(print.to_owned());
                }
                let kind = word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-");
                let key = words.get(index + 1).filter(|key| kind && key.len() > 40);
                found.prints.extend(key.and_then(|key| fingerprint(key)));
            }
        }
        found
    }

    /// `NAME [TTL] [IN] SSHFP ALGORITHM KIND HEX...`; kind 2 is SHA-256 (RFC 6594). SHA-1 proves too little.
    fn record(&mut self, words: &[&str], at: usize) {
        if words.get(at + 2) != Some(&"2") {
            return;
        }
        let digest: String = words.iter().skip(at + 3).flat_map(|word| word.chars()).collect();
        let digest = digest.trim_matches(['(', ')']).to_ascii_lowercase();
        let name = words.first().filter(|_| at > 0).map_or("@", |name| name.trim_end_matches('.'));
        if digest.len() == 64 {
            self.records.push((name.to_ascii_lowercase(), digest));
        }
    }

    /// Whether it says of which host it speaks.
    pub fn is_named(&self) -> bool {
        self.prints.is_empty() && self.records.iter().all(|(name, _)| name != "@")
    }

    /// Whether it vouches for a key of a host that goes by one of these names.
    pub fn confirms(&self, names: &[&str], key: &Shown) -> bool {
        let Some(print) = fingerprint(&key.key) else { return false };
        if self.prints.contains(&print) {
            return true;
        }
        let Some(digest) = hex(&print) else { return false };
        let named = |name: &str| name == "@" || names.iter().any(|own| own.eq_ignore_ascii_case(name));
        self.records.iter().any(|(name, record)| named(name) && *record == digest)
    }
}

/// `SHA256:BASE64` as hex.
fn hex(print: &str) -> Option<String> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0u32;
    let mut held = 0;
    let mut text = String::new();
    for letter in print.strip_prefix("SHA256:")?.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        held += 6;
        while held >= 4 {
            held -= 4;
            text.push(char::from_digit((bits >> held) & 15, 16)?);
        }
    }
    text.truncate(64);
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_clouds_and_zones_say() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status()
            .unwrap();
        assert!(made.success());
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let mut words = public.split_whitespace();
        let (kind, text) = (words.next().unwrap(), words.next().unwrap());
        let shown = Shown { name: "h1".into(), kind: kind.into(), key: text.into() };
        let records =
            Command::new("ssh-keygen").args(["-r", "web1.example.org.", "-f"]).arg(&key).output().unwrap();
        let records = Evidence::parse(&String::from_utf8(records.stdout).unwrap());
        assert!(records.confirms(&["h1", "web1.example.org"], &shown), "{records:?}");
        assert!(!records.confirms(&["h1"], &shown) && records.is_named());
        let console = format!(
            "[   12.3] cloud-init[1]: done\nec2: -----BEGIN SSH HOST KEY KEYS-----\nec2: {kind} {text} root@ip\nec2: -----END\n"
        );
        let console = Evidence::parse(&console);
        assert!(console.confirms(&["h1"], &shown) && !console.is_named());
        let print = fingerprint(text).unwrap();
        assert!(Evidence::parse(&format!("ec2: 256 {print} root@ip (ED25519)")).confirms(&[], &shown));
        let other =
            Shown { key: text.replace("AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAC3NzaC1lZDI1NTE5AAAAJ"), ..shown };
        assert!(!console.confirms(&["h1"], &other));
        assert_eq!(Evidence::parse("login: \nSSHFP 4 1 aa"), Evidence::default());
    }
}
