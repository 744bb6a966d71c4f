//! Splits a template into text and the tokens between its delimiters.

use std::sync::Arc;

use crate::engine::TemplateOptions;
use crate::error::SyntaxError;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tok {
    Data(Arc<str>),
    EmitBegin,
    EmitEnd,
    BlockBegin,
    BlockEnd,
    Name(Arc<str>),
    Str(Arc<str>),
    Int(i64),
    Float(f64),
    Op(&'static str),
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub tok: Tok,
    pub at: u32,
}

/// Longest first, so that `**` is not read as two `*`.
const OPERATORS: [&str; 27] = [
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[", "]", "{",
    "}", ".", ",", ":", "|", ";", "!",
];

type Lexed<T> = Result<T, SyntaxError>;

pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
    options: &'a TemplateOptions,
    tokens: Vec<Token>,
    /// Whether a backslash within quotes stands for itself. So it does within `{{ }}` of a playbook, where
    /// Ansible doubles it (`Templar._escape_backslashes`), but neither in `{% %}` nor in a template file.
    literal: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Opening {
    Emit,
    Block,
    Comment,
}

/// The tokens of a whole template.
pub(crate) fn template(source: &str, options: &TemplateOptions) -> Lexed<Vec<Token>> {
    let mut lexer = Lexer { source, at: 0, options, tokens: Vec::new(), literal: false };
    lexer.run()?;
    Ok(lexer.tokens)
}

/// The tokens of a bare expression.
pub(crate) fn expression(source: &str) -> Lexed<Vec<Token>> {
    let options = TemplateOptions::default();
    let mut lexer = Lexer { source, at: 0, options: &options, tokens: Vec::new(), literal: false };
    loop {
        lexer.skip_space();
        if lexer.rest().is_empty() {
            lexer.push(Tok::End, source.len());
            return Ok(lexer.tokens);
        }
        lexer.token()?;
    }
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, tok: Tok, at: usize) {
        self.tokens.push(Token { tok, at: u32::try_from(at).unwrap_or(u32::MAX) });
    }

    fn fail<T>(&self, message: impl Into<String>, at: usize) -> Lexed<T> {
        Err(SyntaxError::new(message, self.source, at))
    }

    fn data(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.push(Tok::Data(text.into()), at);
        }
    }

    fn next_opening(&self, from: usize) -> Option<(usize, Opening)> {
        let rest = self.source.get(from..)?;
        let options = self.options;
        let candidates = [
            (options.variable_start.as_str(), Opening::Emit),
            (options.block_start.as_str(), Opening::Block),
            (options.comment_start.as_str(), Opening::Comment),
        ];
        candidates
            .iter()
            .filter_map(|(text, opening)| {
                rest.find(text).map(|at| (at, std::cmp::Reverse(text.len()), *opening))
            })
            .min_by_key(|(at, length, _)| (*at, *length))
            .map(|(at, _, opening)| (from + at, opening))
    }

    fn run(&mut self) -> Lexed<()> {
        // Set where the end of the last block asks for the white space (or one newline) after it to go.
        let mut strip = Strip::Nothing;
        loop {
            let start = self.at;
            let Some((open, kind)) = self.next_opening(start) else {
                let text = strip.apply(self.rest());
                self.data(text, start);
                self.push(Tok::End, self.source.len());
                return Ok(());
            };
            let length = match kind {
                Opening::Emit => self.options.variable_start.len(),
                Opening::Block => self.options.block_start.len(),
                Opening::Comment => self.options.comment_start.len(),
            };
            let mark = self.source.as_bytes().get(open + length).copied();
            let text = strip.apply(self.source.get(start..open).unwrap_or_default());
            let text = match mark {
                Some(b'-') => text.trim_end(),
                Some(b'+') => text,
                _ if self.options.lstrip_blocks && kind != Opening::Emit => self.lstrip(text, open),
                _ => text,
            };
            self.data(text, start);
            self.at = open + length;
            if matches!(mark, Some(b'-' | b'+')) && !(kind == Opening::Emit && mark == Some(b'+')) {
                self.at += 1;
            }
            strip = match kind {
                Opening::Comment => self.comment(open)?,
                Opening::Emit => {
                    let end = self.options.variable_end.clone();
                    self.push(Tok::EmitBegin, open);
                    self.literal = self.options.literal_backslashes;
                    let strip = self.until(&end, Tok::EmitEnd, "}}", open)?;
                    self.literal = false;
                    if strip == Strip::Space { strip } else { Strip::Nothing }
                }
                Opening::Block => match self.raw(open)? {
                    Some(strip) => strip,
                    None => {
                        let end = self.options.block_end.clone();
                        self.push(Tok::BlockBegin, open);
                        self.until(&end, Tok::BlockEnd, "%}", open)?
                    }
                },
            };
        }
    }

    /// Without the blanks between the start of the line and the block, if nothing else is there.
    fn lstrip<'t>(&self, text: &'t str, open: usize) -> &'t str {
        let trimmed = text.trim_end_matches([' ', '\t']);
        let line_starts = trimmed.ends_with('\n')
            || (trimmed.is_empty() && {
                let before = self.source.get(..open).unwrap_or_default();
                let before = before.trim_end_matches([' ', '\t']);
                before.is_empty() || before.ends_with('\n')
            });
        if line_starts { trimmed } else { text }
    }

    fn after_end(&mut self, mark: Option<u8>, trims: bool) -> Strip {
        match mark {
            Some(b'-') => Strip::Space,
            Some(b'+') => Strip::Nothing,
            _ if trims && self.options.trim_blocks => Strip::Newline,
            _ => Strip::Nothing,
        }
    }

    fn comment(&mut self, open: usize) -> Lexed<Strip> {
        let end = self.options.comment_end.as_str();
        let Some(length) = self.rest().find(end) else {
            return self.fail("this comment is never closed", open);
        };
        let close = self.at + length;
        let mark = close.checked_sub(1).and_then(|at| self.source.as_bytes().get(at)).copied();
        self.at = close + end.len();
        Ok(self.after_end(mark.filter(|_| length > 0), true))
    }

    /// `{% raw %}`: copies everything up to `{% endraw %}`.
    fn raw(&mut self, open: usize) -> Lexed<Option<Strip>> {
        let (start, end) = (self.options.block_start.clone(), self.options.block_end.clone());
        let Some((mark, length)) = tag(self.rest(), "raw", &end) else { return Ok(None) };
        let strip = self.after_end(mark, true);
        self.at += length;
        let body_at = self.at;
        let mut search = body_at;
        while let Some(found) = self.source.get(search..).and_then(|rest| rest.find(&start)) {
            let at = search + found;
            let mut inner = at + start.len();
            let lead = self.source.as_bytes().get(inner).copied();
            if matches!(lead, Some(b'-' | b'+')) {
                inner += 1;
            }
            if let Some((mark, length)) = self.source.get(inner..).and_then(|rest| tag(rest, "endraw", &end))
            {
                let text = strip.apply(self.source.get(body_at..at).unwrap_or_default());
                let text = match lead {
                    Some(b'-') => text.trim_end(),
                    Some(b'+') => text,
                    _ if self.options.lstrip_blocks => self.lstrip(text, at),
                    _ => text,
                };
                self.data(text, body_at);
                self.at = inner + length;
                return Ok(Some(self.after_end(mark, true)));
            }
            search = at + start.len();
        }
        self.fail("'{% raw %}' is never closed by '{% endraw %}'", open)
    }

    /// Tokens up to the closing delimiter.
    fn until(&mut self, end: &str, tok: Tok, shown: &str, open: usize) -> Lexed<Strip> {
        let mut depth = 0usize;
        let is_block = tok == Tok::BlockEnd;
        loop {
            self.skip_space();
            let rest = self.rest();
            if rest.is_empty() {
                return self.fail(format!("this is never closed by '{shown}'"), open);
            }
            let mark = rest.as_bytes().first().copied().filter(|byte| matches!(byte, b'-' | b'+'));
            let after_mark = rest.get(usize::from(mark.is_some())..).unwrap_or_default();
            // A `}` that closes a dictionary may stand right before the end: `{{ {'a': {}}}}`.
            if depth == 0 && (rest.starts_with(end) || mark.is_some() && after_mark.starts_with(end)) {
                let mark = if rest.starts_with(end) { None } else { mark };
                self.push(tok, self.at);
                self.at += end.len() + usize::from(mark.is_some());
                return Ok(self.after_end(mark, is_block));
            }
            match self.token()? {
                Tok::Op("(" | "[" | "{") => depth += 1,
                Tok::Op(")" | "]" | "}") => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn token(&mut self) -> Lexed<Tok> {
        let (start, rest) = (self.at, self.rest());
        let Some(first) = rest.chars().next() else { return self.fail("unexpected end", start) };
        let tok = if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default();
            self.at += end;
            Tok::Name(name.into())
        } else if first.is_ascii_digit() {
            self.number()?
        } else if first == '"' || first == '\'' {
            self.string(first)?
        } else if let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) {
            self.at += op.len();
            Tok::Op(op)
        } else {
            return self.fail(format!("unexpected character {first:?}"), start);
        };
        self.push(tok.clone(), start);
        Ok(tok)
    }

    fn number(&mut self) -> Lexed<Tok> {
        let (start, rest) = (self.at, self.rest());
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if rest.get(..2).is_some_and(|head| head.eq_ignore_ascii_case(prefix)) {
                let digits = rest.get(2..).unwrap_or_default();
                let end = digits.find(|c: char| !c.is_digit(radix) && c != '_').unwrap_or(digits.len());
                self.at += 2 + end;
                let digits = digits.get(..end).unwrap_or_default().replace('_', "");
                return i64::from_str_radix(&digits, radix)
                    .map(Tok::Int)
                    .or_else(|_| self.fail("this number is out of range", start));
            }
        }
        let bytes = rest.as_bytes();
        let digits = |from: usize| {
            bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit() || **byte == b'_').count()
        };
        let mut end = digits(0);
        let mut float = false;
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end += 1 + digits(end + 1);
            float = true;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent > 0 {
                end += 1 + sign + exponent;
                float = true;
            }
        }
        self.at += end;
        let text = rest.get(..end).unwrap_or_default().replace('_', "");
        if !float && let Ok(number) = text.parse() {
            return Ok(Tok::Int(number));
        }
        text.parse().map(Tok::Float).or_else(|_| self.fail("this is not a number", start))
    }

    fn string(&mut self, quote: char) -> Lexed<Tok> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at = start + at + 1;
                return Ok(Tok::Str(text.into()));
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            let Some((_, escape)) = chars.next() else { break };
            if self.literal {
                if escape != quote {
                    text.push('\\');
                }
                text.push(escape);
                continue;
            }
            let mut hex = |digits: usize| {
                let mut code = 0;
                for _ in 0..digits {
                    let digit = chars.next().and_then(|(_, c)| c.to_digit(16))?;
                    code = code * 16 + digit;
                }
                char::from_u32(code)
            };
            match escape {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'a' => text.push('\x07'),
                'b' => text.push('\x08'),
                'f' => text.push('\x0c'),
                'v' => text.push('\x0b'),
                '\\' | '\'' | '"' => text.push(escape),
                '\n' => {}
                'x' | 'u' | 'U' => match hex(match escape {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                }) {
                    Some(c) => text.push(c),
                    None => return self.fail(format!("'\\{escape}' needs hexadecimal digits"), start + at),
                },
                '0'..='7' => text.push(octal(escape, self.source, start + at + 2, &mut chars)),
                other => {
                    text.push('\\');
                    text.push(other);
                }
            }
        }
        self.fail("this text is never closed by a quote", start)
    }
}

fn octal(first: char, source: &str, next: usize, chars: &mut dyn Iterator<Item = (usize, char)>) -> char {
    let more = source.get(next..).unwrap_or_default().chars().take(2).take_while(|c| c.is_digit(8)).count();
    let mut code = first.to_digit(8).unwrap_or_default();
    for (_, digit) in chars.take(more) {
        code = code * 8 + digit.to_digit(8).unwrap_or_default();
    }
    char::from_u32(code).unwrap_or('\u{fffd}')
}

/// Whether `rest` is ` NAME %}`: the white-space mark at its end, and the length.
fn tag(rest: &str, name: &str, end: &str) -> Option<(Option<u8>, usize)> {
    let after = rest.trim_start().strip_prefix(name)?.trim_start();
    let mark = after.as_bytes().first().copied().filter(|byte| matches!(byte, b'-' | b'+'));
    let close = if mark.is_some() && !after.starts_with(end) { after.get(1..)? } else { after };
    let mark = if after.starts_with(end) { None } else { mark };
    let tail = close.strip_prefix(end)?;
    Some((mark, rest.len() - tail.len()))
}

#[derive(Clone, Copy, PartialEq)]
enum Strip {
    Nothing,
    Newline,
    Space,
}

impl Strip {
    fn apply(self, text: &str) -> &str {
        match self {
            Self::Nothing => text,
            Self::Newline => text.strip_prefix('\n').unwrap_or(text),
            Self::Space => text.trim_start(),
        }
    }
}
