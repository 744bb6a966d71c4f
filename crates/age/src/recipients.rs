//! Whom texts are sealed for.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The file of a project that names its recipients.
pub const PROJECT: &str = ".debark/recipients";

enum Recipient {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// A set of recipients.
#[derive(Default)]
pub struct Recipients(Vec<Recipient>);

impl std::fmt::Debug for Recipients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recipients({})", self.0.len())
    }
}

impl Recipients {
    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds `age1...`, or an SSH public key as in `authorized_keys`.
    ///
    /// # Errors
    /// The rest of a sentence that begins with what it is.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let text = text.trim();
        let recipient = if text.starts_with("ssh-") {
            use age::ssh::ParseRecipientKeyError as Wrong;
            Recipient::Ssh(text.parse().map_err(|error| match error {
                Wrong::RsaModulusTooSmall => "is an RSA key of less than 2048 bits".to_owned(),
                Wrong::RsaModulusTooLarge => "is too large an RSA key".to_owned(),
                Wrong::Unsupported(kind) => {
                    format!("is an SSH key of type {kind}: ed25519 and rsa can be recipients")
                }
                _ => "is no SSH public key".to_owned(),
            })?)
        } else if text.starts_with("AGE-SECRET-KEY-") {
            return Err("is a secret key and no recipient; `age-keygen -y` tells its recipient".into());
        } else {
            Recipient::X25519(
                text.parse().map_err(|_| "is no recipient: age1... or an SSH public key is one")?,
            )
        };
        self.0.push(recipient);
        Ok(())
    }

    /// Adds those of a file, one per line, `#` before comments. The error names file and line.
    ///
    /// # Errors
    /// It cannot be read, holds nobody, or a line is no recipient.
    pub fn add_file(&mut self, path: &Path) -> Result<(), String> {
        let name = path.display();
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(1 << 20).read_to_string(&mut text))
            .map_err(|error| format!("cannot read the recipients in {name}: {error}"))?;
        let before = self.len();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                self.add(line).map_err(|why| format!("{name}:{}: this {why}", number + 1))?;
            }
        }
        if self.len() == before { Err(format!("{name} names no recipients")) } else { Ok(()) }
    }

    /// Adds those of the project around a directory: the nearest `.debark/recipients` upwards. Whether there is one.
    ///
    /// # Errors
    /// As [`Recipients::add_file`].
    pub fn add_project(&mut self, from: &Path) -> Result<bool, String> {
        let found = from.ancestors().map(|directory| directory.join(PROJECT)).find(|path| path.is_file());
        match found {
            Some(path) => self.add_file(&path).map(|()| true),
            None => Ok(false),
        }
    }

    /// The text, sealed for all of them; in armor if it is to be text.
    ///
    /// # Errors
    /// There are none.
    pub fn seal(&self, plain: &[u8], armor: bool) -> io::Result<Vec<u8>> {
        let recipients = self.0.iter().map(|recipient| match recipient {
            Recipient::X25519(key) => key as &dyn age::Recipient,
            Recipient::Ssh(key) => key,
        });
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        let format = if armor { age::armor::Format::AsciiArmor } else { age::armor::Format::Binary };
        let armored = age::armor::ArmoredWriter::wrap_output(Vec::new(), format)?;
        let mut writer = encryptor.wrap_output(armored)?;
        writer.write_all(plain)?;
        writer.finish()?.finish()
    }
}
