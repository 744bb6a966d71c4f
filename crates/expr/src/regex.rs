//! Python's regular expressions on `fancy-regex`.

use std::sync::{Arc, Mutex, PoisonError};

pub use fancy_regex::Regex;

/// Steps of backtracking before a match is given up.
const BACKTRACK: usize = 1_000_000;

/// Longer patterns are refused.
const LONGEST: usize = 64 << 10;

/// The flags of Python's `re` that Ansible uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `re.IGNORECASE`
    pub ignore_case: bool,
    /// `re.MULTILINE`
    pub multi_line: bool,
    /// `re.DOTALL`
    pub dot_all: bool,
}

/// Compiles a pattern of Python's `re`.
///
/// # Errors
/// One sentence, if it is no regular expression.
pub fn compile(pattern: &str, flags: Flags) -> Result<Arc<Regex>, String> {
    // Loops use the same few patterns again and again.
    type Kept = Vec<(String, Flags, Arc<Regex>)>;
    static RECENT: Mutex<Kept> = Mutex::new(Vec::new());
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = recent.iter().position(|(known, with, _)| known == pattern && *with == flags) {
        return recent.get(at).map(|(_, _, regex)| regex.clone()).ok_or_else(String::new);
    }
    if pattern.len() > LONGEST {
        return Err("this regular expression is too long".into());
    }
    let regex = fancy_regex::RegexBuilder::new(&translate(pattern, flags))
        .backtrack_limit(BACKTRACK)
        .build()
        .map_err(|error| format!("'{pattern}' is no regular expression: {}", reason(&error)))?;
    let regex = Arc::new(regex);
    if recent.len() >= 32 {
        recent.remove(0);
    }
    recent.push((pattern.to_owned(), flags, regex.clone()));
    Ok(regex)
}

fn reason(error: &fancy_regex::Error) -> String {
    let text = error.to_string();
    let text =
        text.strip_prefix("Parsing error at position ").map_or(text.clone(), |rest| format!("at {rest}"));
    text.lines().last().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// The pattern in the words of `fancy-regex`: `\Z` is `\z`, `$` also matches before a final newline, a `[` within a
/// class stands for itself.
pub fn translate(pattern: &str, flags: Flags) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let (mut flags, mut rest) = (flags, pattern);
    // Flags at the start decide what `$` means.
    if let Some((letters, tail)) = pattern.strip_prefix("(?").and_then(|tail| tail.split_once(')'))
        && !letters.is_empty()
        && letters.chars().all(|c| "aiLmsux".contains(c))
    {
        flags.ignore_case |= letters.contains('i');
        flags.multi_line |= letters.contains('m');
        flags.dot_all |= letters.contains('s');
        if letters.contains('x') {
            out.push_str("(?x)");
        }
        rest = tail;
    }
    for (flag, letter) in [(flags.ignore_case, 'i'), (flags.multi_line, 'm'), (flags.dot_all, 's')] {
        if flag {
            out.push_str(&format!("(?{letter})"));
        }
    }
    let mut chars = rest.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('Z') => out.push_str("\\z"),
                Some(quoted) if !quoted.is_ascii_alphanumeric() && !quoted.is_whitespace() => {
                    // Any mark may be quoted in Python.
                    let special = ".^$*+?()[]{}|\\/-#&~".contains(quoted);
                    out.push_str(if special && quoted != '/' { "\\" } else { "" });
                    out.push(quoted);
                }
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' if in_class => out.push_str("\\["),
            '[' => {
                in_class = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '$' if !in_class && !flags.multi_line => out.push_str("(?=\\n?\\z)"),
            other => out.push(other),
        }
    }
    out
}

/// Expands `\1`, `\g<1>`, `\g<name>` and the escapes of Python's `re.sub` for one match.
pub fn expand(template: &str, captures: &fancy_regex::Captures<'_, str>) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    let group = |number: usize| captures.get(number).map_or("", |found| found.as_str()).to_owned();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('g') if chars.next_if_eq(&'<').is_some() => {
                let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                match name.parse::<usize>() {
                    Ok(number) => out.push_str(&group(number)),
                    Err(_) => out.push_str(captures.name(&name).map_or("", |found| found.as_str())),
                }
            }
            Some(digit) if digit.is_ascii_digit() => {
                let mut number = digit.to_digit(10).unwrap_or(0) as usize;
                if let Some(next) = chars.next_if(char::is_ascii_digit) {
                    number = number * 10 + next.to_digit(10).unwrap_or(0) as usize;
                }
                if number >= captures.len() {
                    return Err(format!(
                        "the replacement names group {number}, which the pattern does not have"
                    ));
                }
                out.push_str(&group(number));
            }
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('\\') => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    Ok(out)
}

/// Python's `re.sub` with its number of replacements.
///
/// # Errors
/// One sentence: too much backtracking, or a replacement that names no group.
pub fn replace(regex: &Regex, text: &str, template: &str, count: usize) -> Result<(String, usize), String> {
    let mut out = String::new();
    let (mut last, mut made) = (0, 0);
    for captures in regex.captures_iter(text) {
        let captures = captures.map_err(|_| "the regular expression takes too long".to_owned())?;
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(text.get(last..whole.start()).unwrap_or_default());
        out.push_str(&expand(template, &captures)?);
        last = whole.end();
        made += 1;
        if made == count || out.len() > crate::ops::LARGEST {
            break;
        }
    }
    out.push_str(text.get(last..).unwrap_or_default());
    Ok((out, made))
}

/// Python's `re.escape`.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\x0b\x0c".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}
