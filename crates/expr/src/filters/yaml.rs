//! `to_yaml` and `to_nice_yaml`: what PyYAML's emitter writes.

use debark_value::Order;
use debark_value::Value;

use super::{Filter, strict};
use crate::error::{Error, Res};
use crate::eval::Args;
use crate::ops;
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[
    strict("to_yaml", |_, v, args| dump(&v, args, 2, true)),
    strict("to_nice_yaml", |_, v, args| dump(&v, args, 4, false)),
];

struct Emitter {
    out: String,
    column: usize,
    width: usize,
    indent: usize,
    sort: bool,
    /// Whether a collection of scalars is written in one line.
    flow_leaves: bool,
}

fn dump(value: &V, args: &Args, indent: usize, flow_leaves: bool) -> Res<V> {
    let option = |name: &str| args.count(usize::MAX, name);
    let flow_leaves = match args.value(usize::MAX, "default_flow_style")? {
        Some(Value::Bool(flag)) => flag,
        _ => flow_leaves,
    };
    let mut emitter = Emitter {
        out: String::new(),
        column: 0,
        width: option("width")?.filter(|width| *width > 4).unwrap_or(80),
        indent: option("indent")?.filter(|indent| (2..10).contains(indent)).unwrap_or(indent),
        sort: args.flag_or(usize::MAX, "sort_keys", true)?,
        flow_leaves,
    };
    let value = value.to_value()?;
    emitter.node(&value, 0, true)?;
    let mut out = emitter.out;
    out.push('\n');
    Ok(V::from(out))
}

fn is_leaf(value: &Value) -> bool {
    let scalar = |value: &Value| !matches!(value, Value::List(_) | Value::Map(_));
    match value {
        Value::List(items) => items.iter().all(scalar),
        Value::Map(map) => map.values().all(scalar),
        _ => true,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

/// Whether YAML 1.1 would read a plain text as something else.
fn resolves(text: &str) -> bool {
    const WORDS: [&str; 10] = ["yes", "no", "on", "off", "true", "false", "null", "~", "=", "<<"];
    let lower = text.to_ascii_lowercase();
    let cased =
        text == lower || text == text.to_ascii_uppercase() || text == crate::methods::text::capitalize(text);
    if WORDS.contains(&lower.as_str()) && cased {
        return true;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return true;
    }
    let Some(first) = unsigned.chars().next() else { return true };
    if !first.is_ascii_digit() && first != '.' {
        return false;
    }
    let all = |text: &str, allowed: &str| !text.is_empty() && text.chars().all(|c| allowed.contains(c));
    if let Some(hex) = unsigned.strip_prefix("0x") {
        return all(hex, "0123456789abcdefABCDEF_");
    }
    if let Some(bits) = unsigned.strip_prefix("0b") {
        return all(bits, "01_");
    }
    if all(unsigned, "0123456789_") {
        // `08` is no octal number, and decimals do not start with a zero.
        return unsigned == "0" || !unsigned.starts_with('0') || all(unsigned, "01234567_");
    }
    let groups: Vec<&str> = unsigned.split(':').collect();
    if groups.len() > 1 {
        let minutes = groups
            .iter()
            .skip(1)
            .all(|g| (1..=2).contains(&g.split('.').next().unwrap_or("").len()) && all(g, "0123456789."));
        return minutes && groups.first().is_some_and(|g| all(g, "0123456789_"));
    }
    let dated: Vec<&str> = unsigned.get(..10).map(|date| date.split('-').collect()).unwrap_or_default();
    if text == unsigned && dated.len() == 3 && dated.iter().all(|part| all(part, "0123456789")) {
        return text.len() == 10 || text.get(10..).is_some_and(|rest| rest.starts_with(['T', 't', ' ']));
    }
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let signed =
        exponent.is_none_or(|e| e.strip_prefix(['-', '+']).is_some_and(|digits| all(digits, "0123456789")));
    mantissa.contains('.')
        && mantissa.matches('.').count() == 1
        && mantissa.chars().any(|c| c.is_ascii_digit())
        && all(mantissa, "0123456789_.")
        && signed
}

#[derive(PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
}

fn style(text: &str, flow: bool) -> Style {
    let control = |c: char| (c as u32) < 0x20 && c != '\n' || c == '\x7f' || c == '\u{feff}';
    if text.chars().any(control) || text.contains(" \n") || text.contains("\n ") {
        return Style::Double;
    }
    let first_bad = text.starts_with(|c: char| ",[]{}#&*!|>'\"%@`".contains(c))
        || text.starts_with(['-', '?', ':'])
            && (text.len() == 1 || text.get(1..).is_some_and(|rest| rest.starts_with([' ', '\n'])))
        || text.starts_with("---")
        || text.starts_with("...");
    let inner_bad = text.contains(": ") || text.ends_with(':') || text.contains(" #") || text.contains('\n');
    let flow_bad = flow && (text.contains([',', '[', ']', '{', '}', '?']) || text.contains(':'));
    let edge = text.starts_with(' ') || text.ends_with(' ');
    if text.is_empty() || first_bad || inner_bad || flow_bad || edge || resolves(text) {
        return Style::Single;
    }
    Style::Plain
}

impl Emitter {
    fn write(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn line(&mut self, indent: usize) {
        self.out.push('\n');
        self.out.push_str(&" ".repeat(indent));
        self.column = indent;
    }

    fn text(&mut self, text: &str, indent: usize, flow: bool, key: bool) {
        let quoted = match style(text, flow) {
            Style::Double => return self.double(text),
            found => found == Style::Single,
        };
        if key && text.contains('\n') {
            return self.double(text);
        }
        self.write(if quoted { "'" } else { "" });
        let mut rest = text;
        while !rest.is_empty() {
            let mark = |c: char| c == ' ' || c == '\n';
            let word = rest.find(mark).unwrap_or(rest.len());
            let (head, tail) = rest.split_at(word);
            self.write(&if quoted { head.replace('\'', "''") } else { head.to_owned() });
            let Some(c) = tail.chars().next() else { break };
            let run = tail.len() - tail.trim_start_matches(c).len();
            let (gap, after) = tail.split_at(run);
            if c == '\n' {
                self.out.push_str(&"\n".repeat(run));
                self.line(indent);
            } else if run == 1
                && !key
                && self.column > self.width
                && !after.is_empty()
                && !(word == 0 && rest.len() == text.len())
            {
                self.line(indent);
            } else {
                self.write(gap);
            }
            rest = after;
        }
        self.write(if quoted { "'" } else { "" });
    }

    fn double(&mut self, text: &str) {
        let mut out = String::from("\"");
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\0' => out.push_str("\\0"),
                '\x07' => out.push_str("\\a"),
                '\x08' => out.push_str("\\b"),
                '\x1b' => out.push_str("\\e"),
                c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02X}", c as u32)),
                c => out.push(c),
            }
        }
        out.push('"');
        self.write(&out);
    }

    fn scalar(&mut self, value: &Value, indent: usize, flow: bool) -> Res<()> {
        match value {
            Value::Str(text) => self.text(text, indent, flow, false),
            Value::Null | Value::Omit => self.write("null"),
            Value::Bool(flag) => self.write(if *flag { "true" } else { "false" }),
            Value::Float(number) if number.is_nan() => self.write(".nan"),
            Value::Float(number) if number.is_infinite() => {
                self.write(if *number > 0.0 { ".inf" } else { "-.inf" })
            }
            Value::Float(number) => {
                let text = ops::float_text(*number);
                // PyYAML writes a dot, without which YAML 1.1 reads no float.
                self.write(&if text.contains('.') { text } else { text.replacen('e', ".0e", 1) });
            }
            Value::Unknown(reason) => return Err(Error::unknown(reason)),
            other => self.write(&ops::text(other)?),
        }
        Ok(())
    }

    fn entries<'v>(&self, map: &'v debark_value::Map) -> Vec<(&'v str, &'v Value)> {
        let mut entries: Vec<(&str, &Value)> = map.iter().map(|(key, value)| (&**key, value)).collect();
        if self.sort {
            entries.order_by(|a, b| a.0.cmp(b.0));
        }
        entries
    }

    fn flow(&mut self, value: &Value, indent: usize) -> Res<()> {
        match value {
            Value::List(items) => {
                self.write("[");
                for (index, item) in items.iter().enumerate() {
                    self.separate(index, indent);
                    self.flow(item, indent + self.indent)?;
                }
                self.write("]");
                Ok(())
            }
            Value::Map(map) => {
                self.write("{");
                for (index, (key, item)) in self.entries(map).into_iter().enumerate() {
                    self.separate(index, indent);
                    self.text(key, indent, true, true);
                    self.write(": ");
                    self.flow(item, indent + self.indent)?;
                }
                self.write("}");
                Ok(())
            }
            other => self.scalar(other, indent, true),
        }
    }

    fn separate(&mut self, index: usize, indent: usize) {
        if index > 0 {
            self.write(",");
            if self.column > self.width { self.line(indent) } else { self.write(" ") }
        }
    }

    /// A node whose lines start at `indent`; `started` if the first line has its indent already.
    fn node(&mut self, value: &Value, indent: usize, started: bool) -> Res<()> {
        if self.out.len() > ops::LARGEST {
            return Err(ops::too_large());
        }
        if is_empty(value) || self.flow_leaves && is_leaf(value) {
            return self.flow(value, indent + self.indent);
        }
        match value {
            Value::Map(map) => {
                for (index, (key, item)) in self.entries(map).into_iter().enumerate() {
                    if index > 0 || !started {
                        self.line(indent);
                    }
                    self.text(key, indent + self.indent, false, true);
                    self.write(":");
                    let block = !(is_empty(item) || self.flow_leaves && is_leaf(item));
                    match item {
                        // The dashes of a list stand right below its key.
                        Value::List(_) if block => self.node(item, indent, false)?,
                        Value::Map(_) if block => self.node(item, indent + self.indent, false)?,
                        Value::List(_) | Value::Map(_) => {
                            self.write(" ");
                            self.node(item, indent, true)?;
                        }
                        other => {
                            self.write(" ");
                            self.scalar(other, indent + self.indent, false)?;
                        }
                    }
                }
                Ok(())
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 || !started {
                        self.line(indent);
                    }
                    let block = !(is_empty(item) || self.flow_leaves && is_leaf(item));
                    let nested = block && matches!(item, Value::List(_) | Value::Map(_));
                    self.write("-");
                    self.write(&" ".repeat(if nested { self.indent - 1 } else { 1 }));
                    match item {
                        Value::List(_) | Value::Map(_) => self.node(item, indent + self.indent, true)?,
                        other => self.scalar(other, indent + self.indent, false)?,
                    }
                }
                Ok(())
            }
            other => self.scalar(other, indent + self.indent, false),
        }
    }
}
