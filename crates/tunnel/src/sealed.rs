//! wg-quick files on disk: in plain text, or sealed with age or ansible-vault. What is opened stays in memory.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use debark_value::wiping;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::failure::{Failure, Stage};

/// No configuration is larger, in bytes.
const LIMIT: u64 = 1 << 20;

/// Opens text that ansible-vault or age encrypted: gets it, its file's name, and the file of the age identity if one is
/// declared.
pub type OpenVault<'a> =
    &'a dyn Fn(&[u8], &str, Option<&Path>) -> Result<Zeroizing<Vec<u8>>, (String, Option<String>)>;

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::new(Stage::Config, message, hint)
}

impl Config {
    /// Reads a file; `vault` opens it if it is encrypted, with `identity` if one is declared.
    ///
    /// # Errors
    /// It cannot be read, opened or understood: with file and line, without keys.
    pub fn load(path: &Path, identity: Option<&Path>, vault: OpenVault<'_>) -> Result<Self, Failure> {
        let name = path.display();
        let read = |path: &Path| -> std::io::Result<(Zeroizing<Vec<u8>>, u32)> {
            let file = File::open(path)?;
            let mode = file.metadata()?.mode();
            let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
            file.take(LIMIT).read_to_end(&mut bytes)?;
            Ok((bytes, mode))
        };
        let (bytes, mode) = read(path)
            .map_err(|error| wrong(format!("cannot read the VPN's configuration {name}: {error}"), ""))?;
        let mut warnings = Vec::new();
        let sealed: [&[u8]; 3] =
            [b"$ANSIBLE_VAULT;", b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----"];
        let plain = if sealed.iter().any(|start| bytes.starts_with(start)) {
            vault(&bytes, &name.to_string(), identity)
                .map_err(|(message, hint)| wrong(message, hint.unwrap_or_default()))?
        } else {
            if mode & 0o077 != 0 {
                warnings.push(format!(
                    "{name} holds a private key and others may read it: chmod 600, or seal it with age"
                ));
            }
            bytes
        };
        let text = std::str::from_utf8(&plain).map_err(|_| wrong(format!("{name} is no text"), ""))?;
        let parsed = Self::parse(text);
        wiping::stack();
        let mut config = parsed.map_err(|error| {
            let line = if error.line > 0 { format!(":{}", error.line) } else { String::new() };
            wrong(format!("{name}{line}: {}", error.message), error.hint.unwrap_or_default())
        })?;
        let own = config.warnings.drain(..).map(|warning| format!("{name}: {warning}"));
        warnings.extend(own);
        config.warnings = warnings;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "[Interface]\nPrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\nAddress = 10.9.0.2/24\n\
                         [Peer]\nPublicKey = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\nAllowedIPs = 10.9.0.0/24\n";

    fn no_vault(
        _: &[u8],
        name: &str,
        identity: Option<&Path>,
    ) -> Result<Zeroizing<Vec<u8>>, (String, Option<String>)> {
        match identity {
            Some(file) => Ok(Zeroizing::new(std::fs::read(file).unwrap())),
            None => Err((format!("{name} is a vault"), None)),
        }
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_caller() {
        let directory = tempfile::tempdir().unwrap();
        let (path, inside) = (directory.path().join("vpn.age"), directory.path().join("inside"));
        std::fs::write(&inside, PLAIN).unwrap();
        for sealed in
            ["age-encryption.org/v1\n", "-----BEGIN AGE ENCRYPTED FILE-----\n", "$ANSIBLE_VAULT;1.1;AES256\n"]
        {
            std::fs::write(&path, sealed).unwrap();
            assert_eq!(Config::load(&path, Some(&inside), &no_vault).unwrap().peers.len(), 1);
        }
    }

    #[test]
    fn errors_name_file_and_line_and_no_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vpn.conf");
        std::fs::write(&path, PLAIN.replace("Address = ", "Adress = ")).unwrap();
        let error = Config::load(&path, None, &no_vault).unwrap_err();
        assert_eq!(
            error.message,
            format!("{}:3: [Interface] has no such setting as `adress`", path.display())
        );
        std::fs::write(&path, "$ANSIBLE_VAULT;1.1;AES256\n").unwrap();
        let error = Config::load(&path, None, &no_vault).unwrap_err();
        assert!(error.message.ends_with("is a vault"), "{error:?}");
        std::fs::write(&path, PLAIN).unwrap();
        assert_eq!(Config::load(&path, None, &no_vault).unwrap().warnings.len(), 1, "others may read it");
    }
}
