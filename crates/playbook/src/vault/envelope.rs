//! The text around the cipher: a header line and two layers of hexadecimal digits.

/// What starts every vault text.
pub const MAGIC: &str = "$ANSIBLE_VAULT";

const COLUMNS: usize = 80;

/// A vault text, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The vault id it was encrypted for; version 1.1 has none.
    pub id: Option<String>,
    /// Salt of the key derivation.
    pub salt: Vec<u8>,
    /// HMAC-SHA256 of the ciphertext.
    pub mac: Vec<u8>,
    /// What the password opens.
    pub ciphertext: Vec<u8>,
}

/// Whether a text claims to be a vault's.
pub fn is_vault(text: &[u8]) -> bool {
    text.starts_with(MAGIC.as_bytes()) && text.is_ascii()
}

impl Envelope {
    /// Takes a vault text apart; the error says what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not ASCII text".to_owned())?;
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default().trim();
        let mut parts = header.split(';').map(str::trim);
        if parts.next() != Some(MAGIC) {
            return Err(format!("its first line is not a `{MAGIC}` header"));
        }
        let version = parts.next().unwrap_or_default();
        if !["1.0", "1.1", "1.2"].contains(&version) {
            return Err(format!("its format version is `{version}`, and 1.1 and 1.2 can be read"));
        }
        let cipher = parts.next().unwrap_or_default();
        if cipher != "AES256" {
            return Err(format!("its cipher is `{cipher}`, and only AES256 can be read"));
        }
        let id = parts.next().filter(|id| !id.is_empty()).map(str::to_owned);
        let digits: String = lines.flat_map(|line| line.trim().chars()).collect();
        let inner = unhex(digits.as_bytes()).ok_or("its body is not hexadecimal digits")?;
        let mut fields = inner.splitn(3, |byte| *byte == b'\n');
        let mut field = |name: &str| {
            fields
                .next()
                .and_then(unhex)
                .filter(|bytes| !bytes.is_empty())
                .ok_or(format!("its {name} is missing"))
        };
        Ok(Self { id, salt: field("salt")?, mac: field("HMAC")?, ciphertext: field("ciphertext")? })
    }

    /// The text, with a line break at its end.
    pub fn format(&self) -> String {
        let inner = format!("{}\n{}\n{}", hex(&self.salt), hex(&self.mac), hex(&self.ciphertext));
        let digits = hex(inner.as_bytes());
        // `default` is what a password without a label is called: then the older format does.
        let mut text = match self.id.as_deref().filter(|id| *id != "default") {
            Some(id) => format!("{MAGIC};1.2;AES256;{id}\n"),
            None => format!("{MAGIC};1.1;AES256\n"),
        };
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && index % COLUMNS == 0 {
                text.push('\n');
            }
            text.push(digit);
        }
        text.push('\n');
        text
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(nibble(*high)? << 4 | nibble(*low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_wrong() {
        let wrong = |text: &str| Envelope::parse(text.as_bytes()).unwrap_err();
        assert!(wrong("hello").contains("header"));
        assert!(wrong("$ANSIBLE_VAULT;2.0;AES256\n00").contains("version is `2.0`"));
        assert!(wrong("$ANSIBLE_VAULT;1.1;ROT13\n00").contains("cipher is `ROT13`"));
        assert!(wrong("$ANSIBLE_VAULT;1.1;AES256\nxyz").contains("hexadecimal"));
        assert!(wrong("$ANSIBLE_VAULT;1.1;AES256\n3031").contains("HMAC is missing"));
    }

    #[test]
    fn comes_back_as_it_went() {
        let envelope = Envelope {
            id: Some("prod".into()),
            salt: vec![1; 32],
            mac: vec![2; 32],
            ciphertext: vec![3; 48],
        };
        let text = envelope.format();
        assert!(text.starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"));
        assert!(text.lines().all(|line| line.len() <= 80));
        assert_eq!(Envelope::parse(text.as_bytes()).unwrap(), envelope);
    }
}
