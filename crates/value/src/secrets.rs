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
        self.push(secret);
        self.settle();
    }

    /// Adds every text within a value; of many texts, this is quicker than one by one.
    pub fn add_value(&mut self, value: &Value) {
        self.push_value(value);
        self.settle();
    }

    fn push(&mut self, secret: &str) {
        for form in std::iter::once(secret).chain(secret.lines()).map(str::trim) {
            if form.len() >= SHORTEST {
                forms(form, &mut self.needles);
            }
        }
    }

    fn push_value(&mut self, value: &Value) {
        match value {
            Value::Str(text) => self.push(text),
            Value::Int(_) | Value::Float(_) => self.push(&value.to_string()),
            Value::List(items) => items.iter().for_each(|item| self.push_value(item)),
            Value::Map(map) => map.values().for_each(|item| self.push_value(item)),
            _ => {}
        }
    }

    /// By what they begin with, and then the longest first.
    fn settle(&mut self) {
        self.needles.order_by(|a, b| {
            start(a.as_bytes()).cmp(start(b.as_bytes())).then(b.len().cmp(&a.len())).then_with(|| a.cmp(b))
        });
        self.needles.dedup();
    }

    /// The longest secret that a text begins with.
    fn at(&self, text: &[u8]) -> Option<&str> {
        let key = start(text);
        let from = self.needles.partition_point(|needle| start(needle.as_bytes()) < key);
        let same = self.needles.get(from..)?.iter().take_while(|needle| start(needle.as_bytes()) == key);
        same.map(String::as_str).find(|needle| text.starts_with(needle.as_bytes()))
    }

    /// The secrets that stand in a text, in any order.
    pub fn within(&self, text: &[u8]) -> Vec<String> {
        let mut found: Vec<String> =
            (0..text.len()).filter_map(|at| self.at(text.get(at..)?)).map(str::to_owned).collect();
        found.order();
        found.dedup();
        found
    }

    /// The secret texts, encodings included.
    pub fn needles(&self) -> &[String] {
        &self.needles
    }

    /// Whether nothing is secret.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// The text without its secrets; those that overlap go as one.
    pub fn scrub(&self, text: &str) -> String {
        let bytes = text.as_bytes();
        let (mut clean, mut at, mut kept) = (String::new(), 0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty() && !self.needles.is_empty()) {
            let Some(found) = self.at(rest) else {
                at += 1;
                continue;
            };
            let (from, mut end) = (at, at + found.len());
            while at < end {
                end = end.max(at + bytes.get(at..).and_then(|rest| self.at(rest)).map_or(0, str::len));
                at += 1;
            }
            // Needles are whole characters, so these are their borders.
            clean.push_str(text.get(kept..from).unwrap_or_default());
            clean.push_str(MASK);
            kept = end;
        }
        clean.push_str(text.get(kept..).unwrap_or_default());
        clean
    }

    /// The value without its secrets, keys included.
    pub fn scrub_value(&self, value: &Value) -> Value {
        if self.needles.is_empty() {
            return value.clone();
        }
        match value {
            Value::Str(text) => {
                let clean = self.scrub(text);
                if clean == **text { value.clone() } else { Value::from(clean) }
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

/// What needles are looked for by.
fn start(bytes: &[u8]) -> &[u8] {
    bytes.get(..SHORTEST).unwrap_or(bytes)
}

/// A secret as it may stand in what is made of it: JSON, YAML, Python and shell quoting, HTML, URLs, base64.
fn forms(secret: &str, into: &mut Vec<String>) {
    let json = |ascii: bool| {
        secret.chars().fold(String::new(), |mut out, c| {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c < ' ' || ascii && !c.is_ascii() => {
                    c.encode_utf16(&mut [0; 2])
                        .iter()
                        .for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
                }
                c => out.push(c),
            }
            out
        })
    };
    let slashed = |marked: &str| {
        secret.chars().fold(String::new(), |mut out, c| {
            if marked.contains(c) {
                out.push('\\');
            }
            out.push(match c {
                '\n' if marked.contains('\n') => 'n',
                c => c,
            });
            out
        })
    };
    into.extend([
        secret.to_owned(),
        json(false),
        json(true),
        slashed("\\'\n"),
        slashed("\\\n"),
        // Within double quotes of a shell, and without any quotes.
        slashed("\\\"$`"),
        slashed("\\\"'$`!&|;<>()*?[]{}#~ \t"),
        // As Python's re.escape.
        slashed("\\()[]{}?*+-|^$.&~# \t"),
        secret.replace('\'', r"'\''"),
        secret.replace('\'', r#"'"'"'"#),
        secret.replace('\'', "''"),
        html(secret),
    ]);
    for (safe, plus, lower) in
        (0..8).map(|n| (if n & 1 == 0 { "-_.~" } else { "-_.~/" }, n & 2 != 0, n & 4 != 0))
    {
        into.push(url(secret, safe, plus, lower));
    }
    into.push(url(secret, "-_.~!'()*", false, false));
    into.push(base64(secret.as_bytes()));
    // In the midst of something longer it begins at any of three places, and its ends depend on its neighbours.
    for before in 0..3 {
        let shifted = base64(&[&[0; 2][..before], secret.as_bytes()].concat());
        let whole = (before + secret.len()) * 8 / 6;
        let core = shifted.get([0, 2, 3][before]..whole).unwrap_or_default();
        if core.len() >= SHORTEST {
            into.push(core.to_owned());
            into.push(core.replace('+', "-").replace('/', "_"));
        }
    }
}

fn html(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
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

fn url(text: &str, safe: &str, plus: bool, lower: bool) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let c = char::from(byte);
        match c {
            ' ' if plus => out.push('+'),
            c if c.is_ascii_alphanumeric() || safe.contains(c) => out.push(c),
            _ if lower => out.push_str(&format!("%{byte:02x}")),
            _ => out.push_str(&format!("%{byte:02X}")),
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
            r#"p@ss w'"'"'rd"1"#,
            "p%40ss+w%27rd%221",
            "p%40ss%20w'rd%221",
            "p@ss w&#39;rd&#34;1",
            "p@ss w''rd\"1",
            r#"p@ss\ w\'rd\"1"#,
        ] {
            assert_eq!(secrets.scrub(&format!("<{form}>")), format!("<{MASK}>"), "{form}");
        }
    }

    #[test]
    fn in_the_midst_of_base64() {
        let mut secrets = Secrets::default();
        secrets.add("c4n@ry/\u{e9}?>");
        for before in ["", "u", "ur", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = base64(format!("{before}c4n@ry/\u{e9}?>{after}").as_bytes());
                for text in [text.clone(), text.replace('+', "-").replace('/', "_")] {
                    let shown = secrets.scrub(&text);
                    assert!(
                        shown.contains(MASK) && shown.len() <= 8 + 8 + 8 + 4,
                        "{before} {after}: {text} -> {shown}"
                    );
                }
            }
        }
        assert_eq!(secrets.scrub(r"c4n@ry/\u00e9?>"), MASK);
    }

    #[test]
    fn several_lines() {
        let mut secrets = Secrets::default();
        secrets.add("line one\nline 'two'\n");
        assert_eq!(secrets.scrub("a line 'two' b"), format!("a {MASK} b"));
        assert_eq!(secrets.scrub(r"'line one\nline \'two\''"), format!("'{MASK}'"));
        assert_eq!(secrets.scrub(r#""line one\nline 'two'""#), format!("\"{MASK}\""));
    }

    #[test]
    fn overlapping_secrets_go_whole() {
        let mut secrets = Secrets::default();
        secrets.add_value(&Value::list(["abcdef", "defghi", "abcdefg"]));
        assert_eq!(
            secrets.scrub("<abcdefghi> <\u{e9}abcdef\u{e9}>"),
            format!("<{MASK}> <\u{e9}{MASK}\u{e9}>")
        );
        assert_eq!(secrets.within(b"x abcdefgx defghi"), ["abcdefg", "defghi"]);
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
