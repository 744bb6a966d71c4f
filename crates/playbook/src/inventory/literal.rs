//! Values in INI inventories are Python literals where they can be (`ast.literal_eval`), and text otherwise.
//!
//! A literal may be a number, a text in quotes, `True`, `False`, `None`, a list, tuple, dictionary or set of literals,
//! and may be followed by a comment. Sets and tuples become lists.

use std::iter::Peekable;
use std::str::Chars;

use debark_value::{Map, Value};

/// Python itself refuses deeper nesting.
const DEEPEST: usize = 100;

/// The value of a text: a literal's, or the text itself.
pub fn parse(text: &str) -> Value {
    literal(text).unwrap_or_else(|| Value::from(text))
}

fn literal(text: &str) -> Option<Value> {
    let first = text.chars().next()?;
    // Nearly all values are plain words: they are told at the first character.
    if !(first.is_ascii_digit() || "+-.'\"[({TFNrRbBuU \t".contains(first)) {
        return None;
    }
    let mut parser = Parser { chars: text.chars().peekable(), depth: 0 };
    let value = parser.tuple()?;
    parser.space();
    match parser.chars.next() {
        None | Some('#') => Some(value),
        Some(_) => None,
    }
}

struct Parser<'a> {
    chars: Peekable<Chars<'a>>,
    depth: usize,
}

impl Parser<'_> {
    fn space(&mut self) {
        while self.chars.next_if(|c| matches!(c, ' ' | '\t' | '\x0c')).is_some() {}
    }

    fn take(&mut self, wanted: char) -> bool {
        self.space();
        self.chars.next_if_eq(&wanted).is_some()
    }

    fn at_end(&mut self) -> bool {
        self.space();
        matches!(self.chars.peek(), None | Some('#'))
    }

    /// A value, or several with commas between: a tuple without parentheses.
    fn tuple(&mut self) -> Option<Value> {
        let first = self.value()?;
        if !self.take(',') {
            return Some(first);
        }
        let mut items = vec![first];
        while !self.at_end() {
            items.push(self.value()?);
            if !self.take(',') {
                break;
            }
        }
        Some(Value::from(items))
    }

    fn value(&mut self) -> Option<Value> {
        self.space();
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = match self.chars.peek()? {
            '[' => self.items('[', ']').map(|(items, _)| Value::from(items)),
            '(' => self.items('(', ')').and_then(|(mut items, commas)| {
                if items.len() == 1 && !commas { items.pop() } else { Some(Value::from(items)) }
            }),
            '{' => self.braces(),
            '+' | '-' => self.signed(),
            '0'..='9' | '.' => self.number(),
            '\'' | '"' => self.texts(),
            _ => self.word(),
        };
        self.depth -= 1;
        value
    }

    fn items(&mut self, open: char, close: char) -> Option<(Vec<Value>, bool)> {
        self.chars.next_if_eq(&open)?;
        let mut items = Vec::new();
        let mut commas = false;
        loop {
            if self.take(close) {
                return Some((items, commas));
            }
            if !items.is_empty() && !commas_due(self, &mut commas) {
                return None;
            }
            if self.take(close) {
                return Some((items, commas));
            }
            items.push(self.value()?);
        }
    }

    fn braces(&mut self) -> Option<Value> {
        self.chars.next_if_eq(&'{')?;
        let mut map = Map::new();
        let mut set: Vec<Value> = Vec::new();
        loop {
            if self.take('}') {
                break;
            }
            let key = self.value()?;
            if self.take(':') {
                if matches!(key, Value::List(_) | Value::Map(_)) || !set.is_empty() {
                    return None;
                }
                let key = if key.is_null() { "None".to_owned() } else { key.to_string() };
                let value = self.value()?;
                map.insert(key.into(), value);
            } else if map.is_empty() {
                if !set.contains(&key) {
                    set.push(key);
                }
            } else {
                return None;
            }
            if !self.take(',') {
                if self.take('}') {
                    break;
                }
                return None;
            }
        }
        Some(if set.is_empty() { Value::from(map) } else { Value::from(set) })
    }

    fn signed(&mut self) -> Option<Value> {
        let minus = self.chars.next()? == '-';
        self.space();
        match (self.number()?, minus) {
            (number, false) => Some(number),
            (Value::Int(number), true) => Some(Value::Int(-number)),
            (Value::Float(number), true) => Some(Value::Float(-number)),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let mut text = String::new();
        while let Some(c) = self.chars.peek().copied() {
            let sign_of_exponent = matches!(c, '+' | '-')
                && text.ends_with(['e', 'E'])
                && !text.starts_with("0x")
                && !text.starts_with("0X");
            if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || sign_of_exponent) {
                break;
            }
            text.push(c);
            self.chars.next();
        }
        if text.starts_with('_') || text.ends_with('_') || text.contains("__") {
            return None;
        }
        let digits = text.replace('_', "").to_ascii_lowercase();
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if let Some(digits) = digits.strip_prefix(prefix) {
                let plain = !digits.starts_with(['+', '-']);
                return plain.then(|| i64::from_str_radix(digits, radix).ok())?.map(Value::Int);
            }
        }
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            // `0644` is no number in Python; `000` is.
            if digits.starts_with('0') && digits.bytes().any(|byte| byte != b'0') {
                return None;
            }
            return digits.parse().ok().map(Value::Int);
        }
        let plausible = digits.bytes().all(|byte| byte.is_ascii_digit() || b".e+-".contains(&byte))
            && digits.bytes().any(|byte| byte.is_ascii_digit());
        if plausible { digits.parse().ok().map(Value::Float) } else { None }
    }

    fn word(&mut self) -> Option<Value> {
        let mut word = String::new();
        while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
            word.push(c);
        }
        match word.as_str() {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            _ if matches!(self.chars.peek(), Some('\'' | '"')) => self.prefixed(&word),
            _ => None,
        }
    }

    /// One or more texts in quotes, which Python joins.
    fn texts(&mut self) -> Option<Value> {
        self.prefixed("")
    }

    fn prefixed(&mut self, prefix: &str) -> Option<Value> {
        let raw = match prefix.to_ascii_lowercase().as_str() {
            "" | "u" | "b" => false,
            "r" | "br" | "rb" => true,
            _ => return None,
        };
        let mut text = String::new();
        self.quoted(raw, &mut text)?;
        loop {
            self.space();
            match self.chars.peek() {
                Some('\'' | '"') => self.quoted(false, &mut text)?,
                _ => return Some(Value::from(text)),
            }
        }
    }

    fn quoted(&mut self, raw: bool, text: &mut String) -> Option<()> {
        let quote = self.chars.next()?;
        let mut ahead = self.chars.clone();
        let triple = ahead.next() == Some(quote) && ahead.next() == Some(quote);
        if triple {
            self.chars = ahead;
        }
        loop {
            match self.chars.next()? {
                c if c == quote && !triple => return Some(()),
                c if c == quote => {
                    let mut ahead = self.chars.clone();
                    if ahead.next() == Some(quote) && ahead.next() == Some(quote) {
                        self.chars = ahead;
                        return Some(());
                    }
                    text.push(c);
                }
                '\\' if raw => text.extend(['\\', self.chars.next()?]),
                '\\' => self.escape(text)?,
                '\n' | '\0' => return None,
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let c = self.chars.next()?;
        let plain = match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            '\\' | '\'' | '"' => c,
            '\n' => return Some(()),
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            'N' => return None,
            '0'..='7' => {
                let mut code = c.to_digit(8)?;
                for _ in 0..2 {
                    match self.chars.next_if(|c| c.is_digit(8)) {
                        Some(digit) => code = code * 8 + digit.to_digit(8)?,
                        None => break,
                    }
                }
                char::from_u32(code)?
            }
            other => {
                text.push('\\');
                other
            }
        };
        text.push(plain);
        Some(())
    }

    fn code(&mut self, digits: usize) -> Option<char> {
        let mut code: u32 = 0;
        for _ in 0..digits {
            code = code.checked_mul(16)? + self.chars.next()?.to_digit(16)?;
        }
        char::from_u32(code)
    }
}

fn commas_due(parser: &mut Parser<'_>, commas: &mut bool) -> bool {
    *commas = parser.take(',');
    *commas
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `ast.literal_eval` of Python 3.11 gives, printed by `repr`; texts that it refuses stay texts.
    #[test]
    fn as_python_evaluates() {
        for (text, shown) in [
            ("5", "[5]"),
            ("-5", "[-5]"),
            ("- 5", "[-5]"),
            ("--5", "['--5']"),
            ("5 # five", "[5]"),
            ("five # 5", "['five # 5']"),
            ("0644", "['0644']"),
            ("000", "[0]"),
            ("0x1F", "[31]"),
            ("0o17", "[15]"),
            ("1_000", "[1000]"),
            ("1__0", "['1__0']"),
            ("1.50", "[1.5]"),
            ("1.", "[1.0]"),
            (".5", "[0.5]"),
            ("1e3", "[1000.0]"),
            ("1.2.3.4", "['1.2.3.4']"),
            ("10-20", "['10-20']"),
            ("5s", "['5s']"),
            ("12345678901234567890", "['12345678901234567890']"),
            ("True", "[True]"),
            ("true", "['true']"),
            ("None", "[None]"),
            ("Nonesuch", "['Nonesuch']"),
            ("'a b'", "['a b']"),
            ("'a' \"b\"", "['ab']"),
            (r"'a\tb\x41\u00e9\q'", r"['a\tbAé\\q']"),
            (r"r'a\n'", r"['a\\n']"),
            ("'''a'b'''", r#"["a'b"]"#),
            ("'open", r#"["'open"]"#),
            ("[1, 'two', [3.0]]", "[[1, 'two', [3.0]]]"),
            ("[1 2]", "['[1 2]']"),
            ("[1,,2]", "['[1,,2]']"),
            ("[one]", "['[one]']"),
            ("[1,]", "[[1]]"),
            ("(1)", "[1]"),
            ("(1,)", "[[1]]"),
            ("()", "[[]]"),
            ("1, 2", "[[1, 2]]"),
            ("{'a': 1, 'b': {'c': None}}", "[{'a': 1, 'b': {'c': None}}]"),
            ("{1: 2}", "[{'1': 2}]"),
            ("{1, 2, 1}", "[[1, 2]]"),
            ("{}", "[{}]"),
            ("{'a' 1}", r#"["{'a' 1}"]"#),
            ("", "['']"),
        ] {
            assert_eq!(Value::list([parse(text)]).to_string(), shown, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&deep), Value::from(deep.as_str()));
    }
}
