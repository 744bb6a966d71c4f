//! Regular expressions as Python's `re` writes them, on text; replacements with `\1`, `\g<1>`, `\g<name>`.

use fancy_regex::{Captures, Regex, RegexBuilder};

use crate::plan::Failure;

/// Steps of backtracking after which a search gives up.
const BACKTRACKING: usize = 1_000_000;

/// A compiled pattern.
pub struct Pattern {
    regex: Regex,
    source: String,
    names: Vec<(String, usize)>,
    multiline: bool,
}

impl Pattern {
    /// Compiles a pattern. `flags` are inline ones that hold for all of it (`m` for multiline), or nothing.
    ///
    /// # Errors
    /// The pattern is wrong; the message names the parameter.
    pub fn new(parameter: &str, source: &str, flags: &str) -> Result<Self, Failure> {
        let mut names = Vec::new();
        let (mut flags, mut rest) = (flags.to_owned(), source);
        while let Some((more, tail)) = leading_flags(rest) {
            flags.extend(more.chars().filter(|flag| "imsx".contains(*flag)));
            rest = tail;
        }
        let multiline = flags.contains('m');
        let mut pattern = if flags.is_empty() { String::new() } else { format!("(?{flags})") };
        pattern.push_str(&translate(rest, multiline, &mut names));
        let regex = RegexBuilder::new(&pattern).backtrack_limit(BACKTRACKING).build().map_err(|error| {
            Failure::new(format!("`{parameter}` {source:?} is not a regular expression: {error}"))
        })?;
        Ok(Self { regex, source: source.to_owned(), names, multiline })
    }

    /// Whether `^` and `$` match at every line, by a flag or by `(?m)` at the start.
    pub fn is_multiline(&self) -> bool {
        self.multiline
    }

    /// The number of a named group.
    pub fn group(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, index)| *index)
    }

    /// The first match at or after a byte position.
    ///
    /// # Errors
    /// The search takes too many steps.
    pub fn search<'t>(&self, text: &'t str, from: usize) -> Result<Option<Captures<'t, str>>, Failure> {
        self.regex
            .captures_from_pos(text, from)
            .map_err(|error| Failure::new(format!("the search for {:?} was given up: {error}", self.source)))
    }

    /// A replacement text with its references filled in.
    ///
    /// # Errors
    /// It refers to a group that the pattern does not have.
    pub fn expand(&self, template: &str, found: &Captures<'_, str>) -> Result<String, Failure> {
        let mut out = String::new();
        let mut chars = template.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            let group = match chars.next() {
                Some('g') if chars.peek() == Some(&'<') => {
                    chars.next();
                    let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                    let named = self.names.iter().find(|(known, _)| *known == name).map(|(_, index)| *index);
                    named
                        .or_else(|| name.parse().ok())
                        .ok_or_else(|| Failure::new(format!("{:?} has no group `{name}`", self.source)))?
                }
                Some(digit @ '1'..='9') => {
                    let mut number = digit.to_digit(10).unwrap_or_default() as usize;
                    if let Some(next) = chars.peek().and_then(|c| c.to_digit(10)) {
                        chars.next();
                        number = number * 10 + next as usize;
                    }
                    number
                }
                Some(other) => {
                    match other {
                        'n' => out.push('\n'),
                        't' => out.push('\t'),
                        'r' => out.push('\r'),
                        '\\' => out.push('\\'),
                        other => out.extend(['\\', other]),
                    }
                    continue;
                }
                None => {
                    out.push('\\');
                    continue;
                }
            };
            if group >= self.regex.captures_len() {
                return Err(Failure::new(format!("{:?} has no group {group}", self.source)));
            }
            out.push_str(found.get(group).map_or("", |group| group.as_str()));
        }
        Ok(out)
    }
}

/// The letters of a `(?im)` at the start, which hold for all of the pattern, and what follows it.
fn leading_flags(source: &str) -> Option<(&str, &str)> {
    let (flags, rest) = source.strip_prefix("(?")?.split_once(')')?;
    // `a`, `L` and `u` choose a character set; text is Unicode here anyway.
    let known = !flags.is_empty() && flags.bytes().all(|flag| b"aiLmsux".contains(&flag));
    known.then_some((flags, rest))
}

/// Python's syntax in that of the library: what is an ordinary character in one and special in the other.
fn translate(source: &str, multiline: bool, names: &mut Vec<(String, usize)>) -> String {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut out, mut i, mut groups, mut class) = (String::new(), 0, 0, false);
    while i < chars.len() {
        let c = at(i);
        i += 1;
        match c {
            '\\' => {
                let next = at(i);
                i += 1;
                match next {
                    'Z' => out.push_str("\\z"),
                    '\0' => out.push_str("\\\\"),
                    // To the library `\<` and its like mean something; in Python they are the character.
                    '<' | '>' | '"' | '\'' | '/' | '@' | '%' | '=' | ':' | ',' | ';' | '!' | '`' | '_'
                    | ' ' => {
                        out.push(next);
                    }
                    other => out.extend(['\\', other]),
                }
            }
            '[' if !class => {
                class = true;
                out.push('[');
                if at(i) == '^' {
                    out.push('^');
                    i += 1;
                }
                if at(i) == ']' {
                    out.push_str("\\]");
                    i += 1;
                }
            }
            ']' if class => {
                class = false;
                out.push(']');
            }
            '[' | '&' | '~' if class => out.extend(['\\', c]),
            c if class => out.push(c),
            '{' if !is_count(&chars, i) => out.push_str("\\{"),
            '}' if !out.ends_with(|c: char| c.is_ascii_digit() || c == ',') => out.push_str("\\}"),
            '$' if !multiline => out.push_str("(?=\\n?\\z)"),
            '(' if at(i) != '?' => {
                groups += 1;
                out.push('(');
            }
            '(' if at(i + 1) == 'P' && (at(i + 2) == '<' || at(i + 2) == '=') => {
                let close = if at(i + 2) == '<' { '>' } else { ')' };
                let name: String = chars.iter().skip(i + 3).take_while(|c| **c != close).collect();
                i += 4 + name.chars().count();
                if close == '>' {
                    groups += 1;
                    names.push((name, groups));
                    out.push('(');
                } else {
                    let index = names.iter().find(|(known, _)| *known == name).map_or(0, |(_, index)| *index);
                    out.push_str(&format!("(?:\\{index})"));
                }
            }
            other => out.push(other),
        }
    }
    out
}

/// Whether `2}`, `2,}`, `,3}` or `2,3}` follows.
fn is_count(chars: &[char], from: usize) -> bool {
    let inner: String = chars.iter().skip(from).take_while(|c| **c != '}').collect();
    let closed = chars.len() > from + inner.chars().count();
    closed
        && inner.chars().any(|c| c.is_ascii_digit())
        && inner.chars().all(|c| c.is_ascii_digit() || c == ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(pattern: &str, text: &str, template: &str) -> String {
        let pattern = Pattern::new("regexp", pattern, "").unwrap();
        let found = pattern.search(text, 0).unwrap().unwrap();
        pattern.expand(template, &found).unwrap()
    }

    #[test]
    fn python_syntax() {
        assert_eq!(sub(r"(?P<a>x+)=(\d{1,2})", "xx=42", r"\g<a>-\2-\g<1>"), "xx-42-xx");
        assert_eq!(sub(r#"(?P<q>['\"])(.*)(?P=q)"#, "'it'", r"\2"), "it");
        assert_eq!(sub(r"[[&]+{ (\<a\>)$", "[&{ <a>\n", r"\1"), "<a>");
        assert!(Pattern::new("regexp", "(?i)(?m)^a$", "").unwrap().search("x\nA\ny", 0).unwrap().is_some());
        assert!(
            Pattern::new("regexp", "(", "").err().unwrap().msg.contains("`regexp` \"(\" is not a regular")
        );
    }
}
