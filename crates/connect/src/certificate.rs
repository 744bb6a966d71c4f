//! OpenSSH certificates, read (PROTOCOL.certkeys of OpenSSH).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hostkey;

/// Beyond this a file is surely no certificate.
const LIMIT: u64 = 256 << 10;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A person or program that logs in.
    User,
    /// A host.
    Host,
}

/// A certificate, without its keys and signature: ssh checks those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// `ssh-ed25519-cert-v01@openssh.com`.
    pub kind: String,
    /// Of a user, or of a host.
    pub holder: Holder,
    /// Its number, as its CA counts them.
    pub serial: u64,
    /// Whose it is.
    pub id: String,
    /// Names of users, or of hosts; none: for all.
    pub principals: Vec<String>,
    /// Seconds since 1970 from which it holds.
    pub valid_after: u64,
    /// Seconds since 1970 from which it holds no more; `u64::MAX`: for ever.
    pub valid_before: u64,
    /// Names and values: `force-command`, `source-address`.
    pub critical: Vec<(String, String)>,
    /// `permit-pty`, ...
    pub extensions: Vec<String>,
    /// `SHA256:...` of the CA's key.
    pub ca: String,
}

impl Certificate {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// It cannot be read, or is no certificate: a sentence that names it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut text = String::new();
        File::open(path).map_err(failed)?.take(LIMIT).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text).ok_or_else(|| format!("{} is no OpenSSH certificate", path.display()))
    }

    /// Reads `TYPE BASE64 COMMENT`; `None`: it is no certificate.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (kind, encoded) = (words.next()?, words.next()?);
        if encoded.len() as u64 > LIMIT {
            return None;
        }
        let bytes = STANDARD.decode(encoded).ok()?;
        let mut reader = Reader(&bytes);
        if reader.text()? != kind {
            return None;
        }
        reader.string()?;
        // Parts of the public key, by its type.
        let parts = match kind.strip_suffix("-cert-v01@openssh.com")? {
            "ssh-ed25519" => 1,
            "ssh-rsa" | "sk-ssh-ed25519" => 2,
            "sk-ecdsa-sha2-nistp256" => 3,
            "ssh-dss" => 4,
            kind if kind.starts_with("ecdsa-sha2-") => 2,
            _ => return None,
        };
        for _ in 0..parts {
            reader.string()?;
        }
        let serial = reader.long()?;
        let holder = match reader.int()? {
            1 => Holder::User,
            2 => Holder::Host,
            _ => return None,
        };
        let id = reader.text()?;
        let mut principals = Vec::new();
        let mut list = Reader(reader.string()?);
        while !list.0.is_empty() {
            principals.push(list.text()?);
        }
        let (valid_after, valid_before) = (reader.long()?, reader.long()?);
        let critical = reader.options()?;
        let extensions = reader.options()?.into_iter().map(|(name, _)| name).collect();
        reader.string()?;
        let ca = hostkey::fingerprint(&STANDARD.encode(reader.string()?))?;
        Some(Self {
            kind: kind.to_owned(),
            holder,
            serial,
            id,
            principals,
            valid_after,
            valid_before,
            critical,
            extensions,
            ca,
        })
    }
}

/// A moment as `2026-01-31 12:00:00 UTC`; beyond the year 9999, or for ever: `forever`.
pub fn time(seconds: u64) -> String {
    let days = seconds / 86_400;
    if days > 2_932_896 {
        return "forever".into();
    }
    // Civil from days (Howard Hinnant's algorithm), for days since 1970.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Reads SSH's data types (RFC 4251, section 5).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    fn int(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.int()?).ok()?;
        self.take(length)
    }

    /// What may be shown on a terminal.
    fn text(&mut self) -> Option<String> {
        let text = String::from_utf8_lossy(self.string()?);
        Some(text.chars().filter(|letter| !letter.is_control()).collect())
    }

    fn options(&mut self) -> Option<Vec<(String, String)>> {
        let mut list = Reader(self.string()?);
        let mut found = Vec::new();
        while !list.0.is_empty() {
            let name = list.text()?;
            let value = list.string()?;
            found.push((name, Reader(value).text().unwrap_or_default()));
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn keygen(args: &[&str], directory: &Path) {
        let output = Command::new("ssh-keygen").args(args).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn what_ssh_keygen_signs_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f", "ca"], dir);
        for (kind, bits) in [("ed25519", "256"), ("ecdsa", "521"), ("rsa", "2048")] {
            keygen(&["-q", "-t", kind, "-b", bits, "-N", "", "-f", kind], dir);
            let public = format!("{kind}.pub");
            let command = "force-command=/bin/true";
            let args =
                ["-q", "-s", "ca", "-I", "alice@example.org", "-n", "deploy,root", "-z", "77", "-O", command];
            keygen(&[&args[..], &["-V", "20250101000000Z:20250102000000Z", &public]].concat(), dir);
            let certificate = Certificate::read(&dir.join(format!("{kind}-cert.pub"))).unwrap();
            assert_eq!((certificate.holder, certificate.serial), (Holder::User, 77));
            assert_eq!(certificate.id, "alice@example.org");
            assert_eq!(certificate.principals, ["deploy", "root"]);
            assert_eq!(time(certificate.valid_after), "2025-01-01 00:00:00 UTC");
            assert_eq!(time(certificate.valid_before), "2025-01-02 00:00:00 UTC");
            assert_eq!(certificate.critical, [("force-command".to_owned(), "/bin/true".to_owned())]);
            assert!(certificate.extensions.contains(&"permit-pty".to_owned()));
            let ca = std::fs::read_to_string(dir.join("ca.pub")).unwrap();
            assert_eq!(certificate.ca, hostkey::fingerprint(ca.split_whitespace().nth(1).unwrap()).unwrap());
        }
        assert!(Certificate::read(&dir.join("ca.pub")).is_err());
    }

    #[test]
    fn cut_short_it_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        keygen(&["-q", "-t", "ed25519", "-N", "", "-f", "ca"], dir);
        keygen(&["-q", "-s", "ca", "-h", "-I", "h1", "ca.pub"], dir);
        let text = std::fs::read_to_string(dir.join("ca-cert.pub")).unwrap();
        let certificate = Certificate::parse(&text).unwrap();
        assert_eq!((certificate.holder, certificate.valid_before), (Holder::Host, u64::MAX));
        let (kind, rest) = text.split_once(' ').unwrap();
        let bytes = STANDARD.decode(rest.split_whitespace().next().unwrap()).unwrap();
        for length in 0..bytes.len() - 100 {
            assert_eq!(Certificate::parse(&format!("{kind} {}", STANDARD.encode(&bytes[..length]))), None);
        }
    }

    #[test]
    fn moments() {
        assert_eq!(time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(time(u64::MAX), "forever");
    }
}
