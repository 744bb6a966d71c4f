//! Keeps secrets out of what leaves the process.
//!
//! A secret is known by its text: values from a vault, a prompt, `no_log` or a password lookup are added to a
//! [`Secrets`] and scrubbed from every output, however they got there: also where they were encoded as base64,
//! JSON, a URL or a shell word.

use crate::Order;
use crate::{Map, Value};

/// What a secret is replaced by.
pub const MASK: &str = "********";

/// Shorter texts are not scrubbed: hiding every `1` or `on` would make output unreadable and protect nothing.
const SHORTEST: usize = 4;

/// A set of secret texts and their encodings.
#[derive(Default, Clone)]
pub struct Secrets {
    needles: Vec<String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} needles)", self.needles.len())
    }
}

impl Secrets {
    /// Adds a text; each line of a longer one counts by itself as well.
    pub fn add(&mut self, secret: &str) {
        let mut forms = vec![secret.trim().to_owned()];
        forms.extend(secret.lines().map(|line| line.trim().to_owned()));
        for form in forms {
            if form.len() >= SHORTEST {
                self.add_encodings(&form);
            }
        }
        // Longest first: a secret that contains another must go whole.
        self.needles.order_by(|a, b| b.len().cmp(&a.len()));
        self.needles.dedup();
    }

    /// Adds every text within a value.
    pub fn add_value(&mut self, value: &Value) {
        match value {
            Value::Str(text) => self.add(text),
            Value::Int(_) | Value::Float(_) => self.add(&value.to_string()),
            Value::List(items) => items.iter().for_each(|item| self.add_value(item)),
            Value::Map(map) => map.values().for_each(|item| self.add_value(item)),
            _ => {}
        }
    }

    /// The secret texts, encodings included.
    pub fn needles(&self) -> &[String] {
        &self.needles
    }

    /// Whether nothing is secret.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    fn add_encodings(&mut self, secret: &str) {
        let json = serde_json::Value::from(secret).to_string();
        let forms = [
            secret.to_owned(),
            json.trim_matches('"').to_owned(),
            base64(secret.as_bytes()),
            url_encoded(secret),
            secret.replace('\'', r"'\''"),
            secret.replace('\'', r#"'"'"'"#),
        ];
        for form in forms {
            if !self.needles.contains(&form) {
                self.needles.push(form);
            }
        }
    }

    /// The text without its secrets.
    pub fn scrub(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for needle in &self.needles {
            if clean.contains(needle.as_str()) {
                clean = clean.replace(needle.as_str(), MASK);
            }
        }
        clean
    }

    /// The value without its secrets, keys included.
    pub fn scrub_value(&self, value: &Value) -> Value {
        if self.needles.is_empty() {
            return value.clone();
        }
        match value {
            Value::Str(text) if self.needles.iter().any(|needle| text.contains(needle.as_str())) => {
                Value::from(self.scrub(text))
            }
            Value::Int(_) | Value::Float(_) if self.needles.contains(&value.to_string()) => Value::from(MASK),
            Value::List(items) => {
                Value::from(items.iter().map(|item| self.scrub_value(item)).collect::<Vec<_>>())
            }
            Value::Map(map) => Value::from(
                map.iter()
                    .map(|(key, item)| (self.scrub(key).into(), self.scrub_value(item)))
                    .collect::<Map>(),
            ),
            other => other.clone(),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (group >> (18 - 6 * place) & 63) as usize;
            text.push(if place <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

fn url_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrubs_every_form() {
        let mut secrets = Secrets::default();
        secrets.add("p@ss w'rd\"1");
        for form in [
            "p@ss w'rd\"1",
            r#"p@ss w'rd\"1"#,
            "cEBzcyB3J3JkIjE=",
            "p%40ss%20w%27rd%221",
            r#"p@ss w'\''rd"1"#,
        ] {
            assert_eq!(secrets.scrub(&format!("<{form}>")), format!("<{MASK}>"), "{form}");
        }
    }

    #[test]
    fn leaves_short_texts_alone() {
        let mut secrets = Secrets::default();
        secrets.add("on");
        assert_eq!(secrets.scrub("on and on"), "on and on");
    }

    #[test]
    fn scrubs_within_values() {
        let mut secrets = Secrets::default();
        secrets.add("hunter22");
        let value = Value::from(crate::map! { "cmd" => Value::list(["login", "hunter22"]) });
        assert_eq!(secrets.scrub_value(&value).to_string(), "{'cmd': ['login', '********']}");
    }
}
