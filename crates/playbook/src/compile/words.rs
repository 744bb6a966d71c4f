//! `k=v` text: how Ansible splits it (`ansible.parsing.splitter`). Spaces within quotes and within `{{ }}` do not
//! split, a backslash keeps a quote or `=` from counting, free text is put together again as it was.

/// Parameters out of text, and what is left of it as free text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeyValues {
    /// Pairs in order, each with the byte offset of its key in the text if that is known.
    pub pairs: Vec<(String, String)>,
    /// The rest.
    pub raw: Option<String>,
}

/// Options that may stand before or behind a free-form command.
const COMMAND_OPTIONS: [&str; 8] =
    ["creates", "removes", "chdir", "executable", "warn", "stdin", "stdin_add_newline", "strip_empty_ends"];

/// Splits text into parameters. With `command`, only a command's options count as such.
///
/// # Errors
/// A quote or a template that is not closed.
pub fn key_values(text: &str, command: bool) -> Result<KeyValues, Unbalanced> {
    let mut found = KeyValues::default();
    let mut raw = Vec::new();
    for original in split(text)? {
        let word = unescape(&original);
        let Some(at) =
            word.match_indices('=').map(|(at, _)| at).find(|at| *at > 0 && !word[..*at].ends_with('\\'))
        else {
            // Only escaped ones, if any: they lose their backslash.
            raw.push(if word.contains('=') { word.replace("\\=", "=") } else { original });
            continue;
        };
        let (key, value) = (word[..at].trim(), word[at + 1..].trim());
        if command && !COMMAND_OPTIONS.contains(&key) {
            raw.push(original);
        } else {
            found.pairs.push((key.to_owned(), unquote(value).to_owned()));
        }
    }
    if !raw.is_empty() {
        found.raw = Some(join(&raw));
    }
    Ok(found)
}

/// A quote or template is opened and not closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// The first word and the rest.
pub fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.find(char::is_whitespace) {
        Some(at) => (&text[..at], text[at..].trim_start()),
        None => (text, ""),
    }
}

fn join(words: &[String]) -> String {
    let mut out = String::new();
    for word in words {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

fn unquote(text: &str) -> &str {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first @ (b'"' | b'\'')), Some(last)) if bytes.len() > 1 && first == last => {
            // A quote that is escaped does not close.
            if bytes.get(bytes.len() - 2) == Some(&b'\\') { text } else { &text[1..text.len() - 1] }
        }
        _ => text,
    }
}

/// How deep the text is in quotes and templates.
#[derive(Default)]
struct Depth {
    quote: Option<char>,
    /// `{{ }}`, `{% %}`, `{# #}`.
    templates: [usize; 3],
}

impl Depth {
    fn in_template(&self) -> bool {
        self.templates.iter().any(|depth| *depth > 0)
    }

    fn read_quotes(&mut self, word: &str) {
        let mut previous = None;
        for c in word.chars() {
            if matches!(c, '"' | '\'') && previous != Some('\\') {
                match self.quote {
                    Some(open) if open == c => self.quote = None,
                    Some(_) => {}
                    None => self.quote = Some(c),
                }
            }
            previous = Some(c);
        }
    }

    /// Whether a template was opened or closed.
    fn read_templates(&mut self, word: &str) -> bool {
        let mut moved = false;
        for (depth, (open, close)) in
            self.templates.iter_mut().zip([("{{", "}}"), ("{%", "%}"), ("{#", "#}")])
        {
            let before = *depth;
            *depth = (*depth + word.matches(open).count()).saturating_sub(word.matches(close).count());
            moved |= *depth != before;
        }
        moved
    }
}

/// Words; line breaks and repeated spaces stay at the end of the word before them.
fn split(text: &str) -> Result<Vec<String>, Unbalanced> {
    let mut words: Vec<String> = Vec::new();
    let mut depth = Depth::default();
    if text.is_empty() {
        return Ok(words);
    }
    let lines = text.split('\n').count();
    for (number, line) in text.split('\n').enumerate() {
        let mut continued = false;
        for (index, word) in line.split(' ').enumerate() {
            if word.is_empty() && index != 0 {
                push_to_last(&mut words, " ");
                continue;
            }
            if word == "\\" && depth.quote.is_none() {
                continued = true;
                continue;
            }
            let was_quoted = depth.quote.is_some();
            let was_template = depth.in_template();
            depth.read_quotes(word);
            let joins = was_template || was_quoted;
            if joins {
                if index > 0 {
                    push_to_last(&mut words, " ");
                }
                push_to_last(&mut words, word);
            }
            let moved = depth.read_templates(word);
            let opens = depth.quote.is_some() || moved;
            if !joins && (opens || !word.is_empty()) {
                words.push(word.to_owned());
            }
        }
        if number + 1 < lines && !continued {
            push_to_last(&mut words, "\n");
        }
    }
    if depth.quote.is_some() || depth.in_template() { Err(Unbalanced) } else { Ok(words) }
}

fn push_to_last(words: &mut Vec<String>, text: &str) {
    match words.last_mut() {
        Some(last) => last.push_str(text),
        None => words.push(text.to_owned()),
    }
}

/// Decodes `\n`, `\t`, `\x41`, `\u00e4` and the like.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let simple = match after.bytes().next() {
            Some(b'n') => Some('\n'),
            Some(b't') => Some('\t'),
            Some(b'r') => Some('\r'),
            Some(b'a') => Some('\x07'),
            Some(b'b') => Some('\x08'),
            Some(b'f') => Some('\x0c'),
            Some(b'v') => Some('\x0b'),
            Some(c @ (b'\\' | b'\'' | b'"')) => Some(c as char),
            _ => None,
        };
        let digits = match after.bytes().next() {
            Some(b'x') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let coded = after
            .get(1..1 + digits)
            .filter(|_| digits > 0)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let coded = coded.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        if let Some(c) = simple {
            out.push(c);
            rest = &after[1..];
        } else if let Some(c) = coded {
            out.push(c);
            rest = &after[1 + digits..];
        } else {
            out.push('\\');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str, command: bool) -> (Vec<(String, String)>, Option<String>) {
        let found = key_values(text, command).unwrap();
        (found.pairs, found.raw)
    }

    fn own(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn parameters() {
        assert_eq!(pairs("src=a dest=b", false), (own(&[("src", "a"), ("dest", "b")]), None));
        assert_eq!(pairs("msg=\"a b\" x='c=d'", false), (own(&[("msg", "a b"), ("x", "c=d")]), None));
        assert_eq!(
            pairs("src={{ a }} dest=/x/{{ b | default('y z') }}.conf", false),
            (own(&[("src", "{{ a }}"), ("dest", "/x/{{ b | default('y z') }}.conf")]), None)
        );
        assert_eq!(pairs("line='a\\tb'", false), (own(&[("line", "a\tb")]), None));
    }

    #[test]
    fn commands() {
        assert_eq!(
            pairs("dd if=/dev/zero of=/x creates=/x", true),
            (own(&[("creates", "/x")]), Some("dd if=/dev/zero of=/x".into()))
        );
        assert_eq!(pairs("echo  'a  b'  c", true), (vec![], Some("echo  'a  b'  c".into())));
        assert_eq!(pairs("a\nb c\n", true), (vec![], Some("a\nb c\n".into())));
        assert_eq!(pairs("echo {{ x }} | wc", true), (vec![], Some("echo {{ x }} | wc".into())));
    }

    #[test]
    fn unbalanced() {
        assert_eq!(key_values("msg='a", false), Err(Unbalanced));
        assert_eq!(key_values("msg={{ a", false), Err(Unbalanced));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a=\\\\'\"{}%# \n\\u00e4x0-9]{0,40}", command: bool) {
            drop(key_values(&text, command));
        }
    }
}
