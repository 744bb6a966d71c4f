//! Python's two ways to format text: `'%s' % x` and `'{}'.format(x)`.

use debark_value::Value;

use crate::error::{Error, Res};
use crate::ops;
use crate::value::V;

/// Wider fields are refused.
const WIDEST: usize = 1 << 16;

#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    comma: Option<char>,
    width: usize,
    precision: Option<usize>,
    kind: Option<char>,
}

/// The data of a value that is formatted; a tuple as a list.
fn data(value: &V) -> Res<Value> {
    match value {
        V::Data(value) | V::Lazy(value) => Ok(value.clone()),
        V::Seq(items) | V::Tuple(items) => Ok(Value::from(items.iter().map(data).collect::<Res<Vec<_>>>()?)),
        V::Undef(undef) => Err(undef.error()),
        V::Thing(_) => Err(Error::kind_of(format!("{} cannot be formatted", value.type_name()))),
    }
}

/// `format % value`.
pub(crate) fn percent(format: &str, value: &V) -> Res<String> {
    let positional: Vec<Value> = match value {
        V::Tuple(items) => items.iter().map(data).collect::<Res<_>>()?,
        other => vec![data(other)?],
    };
    let named = if let V::Tuple(_) = value { None } else { positional.first().and_then(Value::as_map) };
    let mut used = 0;
    let mut next = || -> Res<Value> {
        used += 1;
        positional
            .get(used - 1)
            .cloned()
            .ok_or_else(|| Error::kind_of("not enough values for the '%' format"))
    };
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut by_name = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        let mut argument = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            let name: String = chars.by_ref().take_while(|c| *c != ')').collect();
            let map = named.ok_or_else(|| Error::kind_of("'%(name)s' needs a dictionary after the '%'"))?;
            let found = map.get(name.as_str()).cloned();
            argument = Some(
                found.ok_or_else(|| Error::kind_of(format!("the '%' format has no value for '{name}'")))?,
            );
            by_name = true;
        }
        while let Some(flag) = chars.next_if(|c| "-+ #0".contains(*c)) {
            match flag {
                '-' => spec.align = Some('<'),
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '#' => spec.alternate = true,
                _ => spec.zero = true,
            }
        }
        let mut amount = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Res<Option<usize>> {
            if chars.next_if_eq(&'*').is_some() {
                let width =
                    next()?.as_int().ok_or_else(|| Error::kind_of("'*' in a '%' format needs an integer"))?;
                return Ok(Some(usize::try_from(width).unwrap_or(0).min(WIDEST)));
            }
            let mut number = None;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                let value = digit.to_digit(10).unwrap_or(0) as usize;
                number = Some((number.unwrap_or(0usize) * 10 + value).min(WIDEST));
            }
            Ok(number)
        };
        spec.width = amount(&mut chars)?.unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(amount(&mut chars)?.unwrap_or(0));
        }
        let Some(kind) = chars.next() else { return Err(Error::kind_of("the '%' format is incomplete")) };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let argument = match argument {
            Some(argument) => argument,
            None => next()?,
        };
        let align = spec.align;
        spec.align = Some(align.unwrap_or('>'));
        if align == Some('<') {
            spec.zero = false;
        }
        let text = match kind {
            's' | 'r' | 'a' => {
                let mut text = String::new();
                if kind == 's' {
                    text = ops::text(&argument)?
                } else {
                    ops::repr(&argument, &mut text)?
                }
                if let Some(precision) = spec.precision {
                    text = text.chars().take(precision).collect();
                }
                spec.zero = false;
                text
            }
            'd' | 'i' | 'u' => {
                let number = whole(&argument, kind)?;
                sign(&number.unsigned_abs().to_string(), number < 0, &spec)
            }
            'x' | 'X' | 'o' => {
                spec.kind = Some(kind);
                let number = whole(&argument, kind)?;
                sign(&radix(number.unsigned_abs(), &spec), number < 0, &spec)
            }
            'f' | 'F' | 'e' | 'E' | 'g' | 'G' => {
                let number = real(&argument, kind)?;
                sign(&float(number.abs(), kind, spec.precision), number.is_sign_negative(), &spec)
            }
            'c' => match &argument {
                Value::Int(code) => {
                    u32::try_from(*code).ok().and_then(char::from_u32).map(String::from).unwrap_or_default()
                }
                other => ops::text(other)?,
            },
            other => return Err(Error::kind_of(format!("the '%' format has no conversion '{other}'"))),
        };
        pad(&text, &spec, &mut out);
    }
    let plain = matches!(value, V::Tuple(_));
    if !by_name
        && used < positional.len()
        && (plain || used == 0 && named.is_none() && !positional.iter().all(|v| matches!(v, Value::List(_))))
    {
        return Err(Error::kind_of("more values than places in the '%' format"));
    }
    Ok(out)
}

fn whole(value: &Value, kind: char) -> Res<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Bool(flag) => Ok(i64::from(*flag)),
        Value::Float(number) if matches!(kind, 'd' | 'i' | 'u') => Ok(*number as i64),
        other => Err(Error::kind_of(format!("'{kind}' formats a number, not {}", ops::article(other)))
            .hinted("turn it into a number with '| int'")),
    }
}

fn real(value: &Value, kind: char) -> Res<f64> {
    match value {
        Value::Int(number) => Ok(*number as f64),
        Value::Float(number) => Ok(*number),
        Value::Bool(flag) => Ok(f64::from(u8::from(*flag))),
        other => Err(Error::kind_of(format!("'{kind}' formats a number, not {}", ops::article(other)))
            .hinted("turn it into a number with '| float'")),
    }
}

fn radix(number: u64, spec: &Spec) -> String {
    let (prefix, text) = match spec.kind {
        Some('x') => ("0x", format!("{number:x}")),
        Some('X') => ("0X", format!("{number:X}")),
        Some('o') => ("0o", format!("{number:o}")),
        _ => ("0b", format!("{number:b}")),
    };
    if spec.alternate { format!("{prefix}{text}") } else { text }
}

fn sign(digits: &str, negative: bool, spec: &Spec) -> String {
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    format!("{sign}{digits}")
}

/// C's `%f`, `%e` and `%g`.
pub(crate) fn float(number: f64, kind: char, precision: Option<usize>) -> String {
    // Rust refuses more digits; a double has at most 1074 behind the point that are not zero.
    let precision = precision.unwrap_or(6).min(usize::from(u16::MAX) - 1);
    let text = match kind.to_ascii_lowercase() {
        'f' => format!("{number:.precision$}"),
        'e' => exponent(&format!("{number:.precision$e}")),
        _ => {
            let digits = precision.max(1);
            let scientific = format!("{number:.*e}", digits - 1);
            let power: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
            let fixed = power >= -4 && (power as i64) < digits as i64;
            let text = if fixed {
                let decimals = usize::try_from(digits as i64 - 1 - i64::from(power)).unwrap_or(0);
                let decimals = decimals.min(usize::from(u16::MAX));
                format!("{number:.decimals$}")
            } else {
                scientific
            };
            let (mantissa, tail) = match text.split_once('e') {
                Some((mantissa, tail)) => (mantissa.to_owned(), Some(tail.to_owned())),
                None => (text, None),
            };
            let mantissa = if mantissa.contains('.') {
                mantissa.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                mantissa
            };
            tail.map_or_else(|| mantissa.clone(), |tail| exponent(&format!("{mantissa}e{tail}")))
        }
    };
    if kind.is_uppercase() { text.to_uppercase() } else { text }
}

fn exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn pad(text: &str, spec: &Spec, out: &mut String) {
    let missing = spec.width.saturating_sub(text.chars().count());
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    let blanks = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    let align = if spec.zero && spec.fill.is_none() { '=' } else { spec.align.unwrap_or('<') };
    match align {
        '<' => {
            out.push_str(text);
            out.push_str(&blanks(missing));
        }
        '^' => {
            out.push_str(&blanks(missing / 2));
            out.push_str(text);
            out.push_str(&blanks(missing - missing / 2));
        }
        '=' => {
            let signed = usize::from(text.starts_with(['-', '+', ' ']));
            let head = if text.get(signed..).is_some_and(|t| t.starts_with("0x") || t.starts_with("0X")) {
                signed + 2
            } else {
                signed
            };
            let (head, digits) = text.split_at(head);
            out.push_str(head);
            out.push_str(&blanks(missing));
            out.push_str(digits);
        }
        _ => {
            out.push_str(&blanks(missing));
            out.push_str(text);
        }
    }
}

/// `text.format(*positional, **named)`.
pub(crate) fn braces(
    format: &str,
    positional: &[Value],
    named: &[(std::sync::Arc<str>, Value)],
) -> Res<String> {
    let bad = |what: &str| Error::kind_of(format!("{what} in the format text"));
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut automatic = 0;
    while let Some(c) = chars.next() {
        match c {
            '{' if chars.next_if_eq(&'{').is_some() => out.push('{'),
            '}' if chars.next_if_eq(&'}').is_some() => out.push('}'),
            '}' => return Err(bad("a single '}'")),
            '{' => {
                let mut field = String::new();
                let mut depth = 0;
                loop {
                    match chars.next() {
                        None => return Err(bad("a single '{'")),
                        Some('}') if depth == 0 => break,
                        Some(c) => {
                            depth += i32::from(c == '{') - i32::from(c == '}');
                            field.push(c);
                        }
                    }
                }
                let (field, spec) = field.split_once(':').unwrap_or((&field, ""));
                let (path, conversion) = field.split_once('!').unwrap_or((field, ""));
                let value = argument(path, positional, named, &mut automatic)?;
                let spec = if spec.contains('{') {
                    braces(spec, positional.get(automatic..).unwrap_or_default(), named)?
                } else {
                    spec.to_owned()
                };
                let value = match conversion {
                    "r" | "a" => {
                        let mut text = String::new();
                        ops::repr(&value, &mut text)?;
                        Value::from(text)
                    }
                    "s" => Value::from(ops::text(&value)?),
                    _ => value,
                };
                field_text(&value, &spec, &mut out)?;
            }
            other => out.push(other),
        }
        if out.len() > ops::LARGEST {
            return Err(ops::too_large());
        }
    }
    Ok(out)
}

fn argument(
    path: &str,
    positional: &[Value],
    named: &[(std::sync::Arc<str>, Value)],
    automatic: &mut usize,
) -> Res<Value> {
    let missing = || Error::kind_of(format!("the format text has no value for '{{{path}}}'"));
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (head, mut rest) = path.split_at(end);
    let mut value = if head.is_empty() {
        *automatic += 1;
        positional.get(*automatic - 1).cloned()
    } else if let Ok(index) = head.parse::<usize>() {
        positional.get(index).cloned()
    } else {
        named.iter().find(|(name, _)| &**name == head).map(|(_, value)| value.clone())
    }
    .ok_or_else(missing)?;
    while !rest.is_empty() {
        let (key, tail) = if let Some(inner) = rest.strip_prefix('[') {
            inner.split_once(']').ok_or_else(missing)?
        } else {
            let inner = rest.strip_prefix('.').unwrap_or(rest);
            inner.split_at(inner.find(['.', '[']).unwrap_or(inner.len()))
        };
        let next = match (&value, key.parse::<usize>()) {
            (Value::List(items), Ok(index)) => items.get(index).cloned(),
            (value, _) => value.get(key).cloned(),
        };
        value = next.ok_or_else(missing)?;
        rest = tail;
    }
    Ok(value)
}

fn parse_spec(text: &str) -> Spec {
    let mut spec = Spec::default();
    let mut chars: Vec<char> = text.chars().collect();
    chars.reverse();
    let is_align = |c: Option<&char>| c.is_some_and(|c| "<>^=".contains(*c));
    let second = chars.len().checked_sub(2).and_then(|at| chars.get(at));
    if is_align(second) {
        spec.fill = chars.pop();
        spec.align = chars.pop();
    } else if is_align(chars.last()) {
        spec.align = chars.pop();
    }
    let mut digits = String::new();
    while let Some(c) = chars.pop() {
        match c {
            '+' => spec.plus = true,
            '-' => {}
            ' ' => spec.space = true,
            '#' => spec.alternate = true,
            '0' if digits.is_empty() && spec.width == 0 => spec.zero = true,
            c if c.is_ascii_digit() => {
                digits.push(c);
                spec.width = digits.parse().unwrap_or(WIDEST).min(WIDEST);
            }
            ',' | '_' => spec.comma = Some(c),
            '.' => {
                let mut precision = String::new();
                while let Some(c) = chars.pop_if(|c| c.is_ascii_digit()) {
                    precision.push(c);
                }
                spec.precision = Some(precision.parse().unwrap_or(0).min(WIDEST));
            }
            c => spec.kind = Some(c),
        }
    }
    spec
}

fn field_text(value: &Value, spec_text: &str, out: &mut String) -> Res<()> {
    let mut spec = parse_spec(spec_text);
    let numeric = matches!(value, Value::Int(_) | Value::Float(_))
        || matches!(value, Value::Bool(_)) && !matches!(spec.kind, None | Some('s'));
    if !numeric {
        let mut text = ops::text(value)?;
        if let Some(kind) = spec.kind.filter(|kind| *kind != 's') {
            return Err(Error::kind_of(format!("'{kind}' formats a number, not {}", ops::article(value)))
                .hinted("turn it into a number with '| int'"));
        }
        if let Some(precision) = spec.precision {
            text = text.chars().take(precision).collect();
        }
        spec.zero = false;
        pad(&text, &spec, out);
        return Ok(());
    }
    spec.align = spec.align.or(Some('>'));
    let kind = spec.kind;
    let (digits, negative) = match (kind, value) {
        (Some('x' | 'X' | 'o' | 'b'), _) => {
            let number = whole(value, 'x')?;
            (radix(number.unsigned_abs(), &spec), number < 0)
        }
        (Some('%'), _) => {
            let number = real(value, '%')? * 100.0;
            (format!("{}%", float(number.abs(), 'f', spec.precision)), number < 0.0)
        }
        (Some(kind @ ('f' | 'F' | 'e' | 'E' | 'g' | 'G')), _) => {
            let number = real(value, kind)?;
            (float(number.abs(), kind, spec.precision), number.is_sign_negative())
        }
        (_, Value::Float(number)) => match spec.precision {
            Some(precision) => (float(number.abs(), 'g', Some(precision)), *number < 0.0),
            None => (ops::float_text(number.abs()), *number < 0.0),
        },
        _ => {
            let number = whole(value, 'd')?;
            (number.unsigned_abs().to_string(), number < 0)
        }
    };
    let digits = match spec.comma {
        Some(comma) => group(&digits, comma),
        None => digits,
    };
    pad(&sign(&digits, negative, &spec), &spec, out);
    Ok(())
}

/// With a mark between each three digits of the whole part.
pub(crate) fn group(digits: &str, mark: char) -> String {
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(end);
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(mark);
        }
        out.push(digit);
    }
    out + rest
}
