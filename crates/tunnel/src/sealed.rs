//! wg-quick files on disk: in plain text, or sealed with age or ansible-vault. What is opened stays in memory.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::Config;
use crate::failure::{Failure, Stage};

/// No configuration is larger, in bytes.
const LIMIT: u64 = 1 << 20;

/// Opens ansible-vault text: gets it and its file's name.
pub type OpenVault<'a> = &'a dyn Fn(&[u8], &str) -> Result<Zeroizing<Vec<u8>>, (String, Option<String>)>;

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Failure {
    Failure::new(Stage::Config, message, hint)
}

impl Config {
    /// Reads a file; `identity` opens what age sealed, else `DEBARK_AGE_IDENTITY` and the usual places are tried.
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
        let plain = if bytes.starts_with(b"$ANSIBLE_VAULT;") {
            vault(&bytes, &name.to_string())
                .map_err(|(message, hint)| wrong(message, hint.unwrap_or_default()))?
        } else if bytes.starts_with(b"age-encryption.org/")
            || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
        {
            open_age(&bytes, path, identity)?
        } else {
            if mode & 0o077 != 0 {
                warnings.push(format!(
                    "{name} holds a private key and others may read it: chmod 600, or seal it with age"
                ));
            }
            bytes
        };
        let text = std::str::from_utf8(&plain).map_err(|_| wrong(format!("{name} is no text"), ""))?;
        let mut config = Self::parse(text).map_err(|error| {
            let line = if error.line > 0 { format!(":{}", error.line) } else { String::new() };
            wrong(format!("{name}{line}: {}", error.message), error.hint.unwrap_or_default())
        })?;
        let own = config.warnings.drain(..).map(|warning| format!("{name}: {warning}"));
        warnings.extend(own);
        config.warnings = warnings;
        Ok(config)
    }
}

/// Where identities are looked for.
fn identities(given: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = given {
        return vec![path.to_owned()];
    }
    if let Some(path) = std::env::var_os("DEBARK_AGE_IDENTITY").filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return Vec::new() };
    [".config/age/keys.txt", ".ssh/id_ed25519", ".ssh/id_rsa"].iter().map(|path| home.join(path)).collect()
}

fn open_age(bytes: &[u8], path: &Path, given: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let name = path.display();
    let (places, mut keys, mut locked) = (identities(given), Vec::new(), Vec::new());
    for place in &places {
        match read_identity(place) {
            Ok(more) => keys.extend(more),
            Err(Some(why)) => locked.push(why),
            Err(None) if given.is_none() && std::env::var_os("DEBARK_AGE_IDENTITY").is_none() => {}
            Err(None) => return Err(wrong(format!("cannot read the age identity {}", place.display()), "")),
        }
    }
    let mut hint = "name the file that holds your age identity or SSH key: DEBARK_AGE_IDENTITY=FILE, or `identity` beside \
                    `config`; "
        .to_owned();
    hint += &match locked.as_slice() {
        [] => format!(
            "tried: {}",
            places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
        ),
        some => some.join("; "),
    };
    let failed =
        |error: &dyn std::fmt::Display| wrong(format!("{name} cannot be opened: {error}"), hint.clone());
    let armored = age::armor::ArmoredReader::new(bytes);
    let decryptor = age::Decryptor::new(armored).map_err(|error| failed(&error))?;
    let opened = decryptor.decrypt(keys.iter().map(|key| &**key)).map_err(|error| failed(&error))?;
    let mut plain = Zeroizing::new(Vec::with_capacity(4096));
    opened.take(LIMIT).read_to_end(&mut plain).map_err(|error| failed(&error))?;
    Ok(plain)
}

type Keys = Vec<Box<dyn age::Identity>>;

/// `Err(None)`: there is no such file. `Err(Some)`: why it is of no use.
fn read_identity(path: &Path) -> Result<Keys, Option<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .map_err(|_| None)?
        .take(LIMIT)
        .read_to_string(&mut text)
        .map_err(|error| Some(format!("{}: {error}", path.display())))?;
    let useless = |why: &str| Some(format!("{}: {why}", path.display()));
    if text.starts_with("-----BEGIN") {
        let name = Some(path.display().to_string());
        let key = age::ssh::Identity::from_buffer(BufReader::new(text.as_bytes()), name)
            .map_err(|_| useless("is no SSH key that age can use"))?;
        return match key {
            age::ssh::Identity::Unencrypted(_) => Ok(vec![Box::new(key)]),
            age::ssh::Identity::Encrypted(_) => {
                Err(useless("has a passphrase, which age cannot ask the ssh agent for"))
            }
            age::ssh::Identity::Unsupported(_) => Err(useless("is a kind of SSH key that age cannot use")),
        };
    }
    let mut keys: Keys = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let key: age::x25519::Identity =
            line.parse().map_err(|_| useless("holds a line that is no age identity"))?;
        keys.push(Box::new(key));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const PLAIN: &str = "[Interface]\nPrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\nAddress = 10.9.0.2/24\n\
                         [Peer]\nPublicKey = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\nAllowedIPs = 10.9.0.0/24\n";

    fn no_vault(_: &[u8], name: &str) -> Result<Zeroizing<Vec<u8>>, (String, Option<String>)> {
        Err((format!("{name} is a vault"), None))
    }

    fn seal(recipient: &dyn age::Recipient) -> Vec<u8> {
        let mut sealed = Vec::new();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient)).unwrap();
        let mut writer = encryptor.wrap_output(&mut sealed).unwrap();
        writer.write_all(PLAIN.as_bytes()).unwrap();
        writer.finish().unwrap();
        sealed
    }

    #[test]
    fn age_and_ssh_keys_open_what_they_sealed() {
        use age::secrecy::ExposeSecret as _;
        let directory = tempfile::tempdir().unwrap();
        let (path, own) = (directory.path().join("vpn.age"), directory.path().join("keys.txt"));
        let key = age::x25519::Identity::generate();
        std::fs::write(&own, format!("# mine\n{}\n", key.to_string().expose_secret())).unwrap();
        std::fs::write(&path, seal(&key.to_public())).unwrap();
        assert_eq!(Config::load(&path, Some(&own), &no_vault).unwrap().peers.len(), 1);
        let other = directory.path().join("other.txt");
        std::fs::write(&other, age::x25519::Identity::generate().to_string().expose_secret()).unwrap();
        let error = Config::load(&path, Some(&other), &no_vault).unwrap_err();
        assert!(error.stage == Stage::Config && error.hint.contains("DEBARK_AGE_IDENTITY"), "{error:?}");

        let ssh = directory.path().join("id");
        let mut made = std::process::Command::new("ssh-keygen");
        made.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&ssh);
        assert!(made.status().unwrap().success());
        let public = std::fs::read_to_string(ssh.with_extension("pub")).unwrap();
        let recipient: age::ssh::Recipient = public.trim().parse().unwrap();
        std::fs::write(&path, seal(&recipient)).unwrap();
        assert_eq!(Config::load(&path, Some(&ssh), &no_vault).unwrap().peers.len(), 1);
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
