//! `replace`: all matches of a regular expression in a text file.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::editing::{self, Common, decode, encode};
use crate::file_args::FileArgs;
use crate::param::NO_RULES;
use crate::plan::Failure;
use crate::pyre::Pattern;
use crate::{Host, Plan, edited, map, params};

params! {
    /// Replaces all matches of a regular expression in a file.
    pub struct Params for "ansible.builtin.replace" {
        /// The file; links are followed.
        path | dest | destfile | name: PathBuf,
        /// Python regular expression of what is replaced; `^` and `$` match at every line.
        regexp: String,
        /// What comes in its place, with groups as `\1`, `\g<1>` or `\g<name>`; without it, matches are removed.
        replace: String = String::new(),
        /// Only what follows the match of this regular expression is replaced; its `.` matches newlines as well.
        after: Option<String>,
        /// Only what precedes the match of this regular expression is replaced; its `.` matches newlines as well.
        before: Option<String>,
        /// Keep a dated copy of what is replaced.
        backup: bool = false,
        /// A command that must accept the new content; `%s` is the file.
        validate: Option<String>,
        /// How the file's text is encoded: `utf-8`, `ascii`, `latin-1`, `utf-16-le` or `utf-16-be`.
        encoding: String = "utf-8".into(),
    }
    common file: FileArgs;
    rules NO_RULES
}

/// Computes the file with the replacements.
///
/// # Errors
/// The file is missing, its text is not in the encoding, or a pattern is wrong.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let path = &params.path;
    edited::no_directory(path)?;
    let encoding = Encoding::named(&params.encoding)?;
    let common =
        Common { file: params.file.clone(), validate: params.validate.clone(), backup: params.backup };
    let file = editing::open(host, path, &common)?;
    let Some(bytes) = &file.before else {
        let missing = edited::missing(path);
        // What a task before this one would write there, and whether it matches, a check cannot know.
        return if host.may_come() { Ok(Plan::run(move |_| Err(missing))) } else { Err(missing) };
    };
    let text = encoding.decode(bytes).map_err(|why| Failure::new(format!("{} {why}", path.display())))?;
    let Some((start, end)) = section(&params, &text)? else {
        let msg =
            format!("Pattern for before/after params did not match the given file: {}", around(&params));
        return Ok(Plan::ok(map! { "msg" => msg, "rc" => 0 }));
    };
    let (head, rest) = text.split_at(start);
    let (inner, tail) = rest.split_at(end - start);
    let pattern = Pattern::new("regexp", &params.regexp, "m")?;
    let (new, count) = substitute(&pattern, &params.replace, inner)?;
    let (after, message) = if new == inner {
        (bytes.clone(), String::new())
    } else {
        let whole = [head, &new, tail].concat();
        let after = encoding.encode(&whole).map_err(|why| Failure::new(format!("`replace` {why}")))?;
        (after, format!("{count} replacements made"))
    };
    edited::plan(file, host, after, &message, map! { "rc" => 0 })
}

/// The pattern that encloses the section; empty without `after` and `before`.
fn around(params: &Params) -> String {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match (given(&params.after), given(&params.before)) {
        (Some(after), Some(before)) => format!("{after}(?P<subsection>.*?){before}"),
        (Some(after), None) => format!("{after}(?P<subsection>.*)"),
        (None, Some(before)) => format!("(?P<subsection>.*){before}"),
        (None, None) => String::new(),
    }
}

/// Where replacements are made, as byte positions; nothing if `after` and `before` do not match.
fn section(params: &Params, text: &str) -> Result<Option<(usize, usize)>, Failure> {
    let source = around(params);
    if source.is_empty() {
        return Ok(Some((0, text.len())));
    }
    let pattern = Pattern::new("after` and `before", &source, "s")?;
    let found = pattern.search(text, 0)?;
    let group = pattern.group("subsection").and_then(|index| found.as_ref()?.get(index));
    Ok(group.map(|group| (group.start(), group.end())))
}

/// The text with all matches replaced, and how many there were. As in Python an empty match counts beside a match
/// before it, but not where the match before it was empty too.
fn substitute(pattern: &Pattern, template: &str, text: &str) -> Result<(String, usize), Failure> {
    let (mut new, mut copied, mut from, mut count) = (String::new(), 0, 0, 0);
    while let Some(groups) = pattern.search(text, from)? {
        let Some(found) = groups.get(0) else { break };
        new.push_str(text.get(copied..found.start()).unwrap_or_default());
        new.push_str(&pattern.expand(template, &groups)?);
        count += 1;
        copied = found.end();
        from = copied;
        if found.start() == found.end() {
            match text.get(from..).and_then(|rest| rest.chars().next()) {
                Some(next) => from += next.len_utf8(),
                None => break,
            }
        }
    }
    new.push_str(text.get(copied..).unwrap_or_default());
    Ok((new, count))
}

/// Encodings of text files, under the names that Python knows them by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Ascii,
    Latin1,
    Utf16 { big: bool },
}

impl Encoding {
    fn named(name: &str) -> Result<Self, Failure> {
        let plain: String = name.to_ascii_lowercase().replace(['_', ' '], "-");
        Ok(match plain.as_str() {
            "utf-8" | "utf8" | "u8" => Self::Utf8,
            "ascii" | "us-ascii" | "646" => Self::Ascii,
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "8859" | "l1" | "cp819" => Self::Latin1,
            "utf-16-le" | "utf-16le" => Self::Utf16 { big: false },
            "utf-16-be" | "utf-16be" => Self::Utf16 { big: true },
            _ => {
                return Err(Failure::new(format!("`encoding` {name:?} is not known"))
                    .hint("known are utf-8, ascii, latin-1, utf-16-le and utf-16-be"));
            }
        })
    }

    fn decode(self, bytes: &[u8]) -> Result<String, &'static str> {
        match self {
            // Bytes that are no text come back as they were, as with Python's `surrogateescape`.
            Self::Utf8 | Self::Ascii => Ok(decode(bytes)),
            Self::Latin1 => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
            Self::Utf16 { big } => {
                let (pairs, odd) = bytes.as_chunks::<2>();
                let unit =
                    |pair: &[u8; 2]| if big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
                let text: Result<String, _> = char::decode_utf16(pairs.iter().map(unit)).collect();
                text.ok().filter(|_| odd.is_empty()).ok_or("is not UTF-16")
            }
        }
    }

    fn encode(self, text: &str) -> Result<Vec<u8>, &'static str> {
        match self {
            Self::Utf8 => Ok(encode(text)),
            // What is beyond ASCII can only stand for bytes of the file, unless `replace` brings it in.
            Self::Ascii if text.chars().all(|c| c.is_ascii() || u32::from(c) > 0x10_ff00) => Ok(encode(text)),
            Self::Ascii => Err("has characters beyond ASCII"),
            Self::Latin1 => text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).map_err(|_| "has characters beyond Latin-1"))
                .collect(),
            Self::Utf16 { big } => {
                let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
                Ok(text.encode_utf16().flat_map(bytes).collect())
            }
        }
    }
}
