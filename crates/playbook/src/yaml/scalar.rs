//! Plain scalars by YAML 1.1's rules, as PyYAML applies them (its `resolver.py` and `constructor.py`): `yes` is a
//! boolean, `0644` is octal, `1e3` without a sign in the exponent is text. Timestamps and base-60 numbers (`22:30`)
//! stay text: nobody who writes them means a date object or 1350.

use debark_value::Value;

/// The value of a plain scalar.
pub fn plain(text: &str) -> Value {
    let Some(first) = text.bytes().next() else { return Value::Null };
    match first {
        b'~' | b'n' | b'N' | b'y' | b'Y' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => word(text),
        b'0'..=b'9' | b'+' | b'-' | b'.' => number(text).unwrap_or_else(|| Value::from(text)),
        _ => Value::from(text),
    }
}

fn word(text: &str) -> Value {
    match text {
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => Value::from(text),
    }
}

/// A number, if the text is one.
pub fn number(text: &str) -> Option<Value> {
    int(text).or_else(|| float(text))
}

fn int(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (radix, digits) = if let Some(rest) = digits.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = digits.strip_prefix("0x") {
        (16, rest)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, digits.get(1..)?)
    } else {
        (10, digits)
    };
    if radix == 10 && !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut number: i64 = 0;
    let mut any = false;
    for c in digits.chars().filter(|c| *c != '_') {
        let digit = i64::from(c.to_digit(radix)?);
        let step = number.checked_mul(i64::from(radix))?;
        // Downwards for negative numbers, so that the smallest fits.
        number = if negative { step.checked_sub(digit)? } else { step.checked_add(digit)? };
        any = true;
    }
    any.then_some(Value::Int(number))
}

fn float(text: &str) -> Option<Value> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, text.get(1..)?),
        b'+' => (1.0, text.get(1..)?),
        _ => (1.0, text),
    };
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(Value::Float(sign * f64::INFINITY)),
        ".nan" | ".NaN" | ".NAN" if rest.len() == text.len() => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (rest.get(..at)?, Some(rest.get(at + 1..)?)),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let starts = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let signed = |part: &str| {
        part.strip_prefix(['+', '-']).is_some_and(|d| starts(d) && d.bytes().all(|b| b.is_ascii_digit()))
    };
    let shaped = digits(whole)
        && digits(fraction)
        && (starts(whole) || (whole.is_empty() && starts(fraction)))
        && exponent.is_none_or(signed);
    if !shaped {
        return None;
    }
    let clean: String = rest.chars().filter(|c| *c != '_').collect();
    clean.parse::<f64>().ok().map(|number| Value::Float(sign * number))
}

/// A template that renders to exactly this text; `None` if the text holds no template to begin with.
pub fn inert(text: &str) -> Option<String> {
    if !["{{", "{%", "{#"].iter().any(|marker| text.contains(marker)) {
        return None;
    }
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str("{{ '");
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push_str("' }}");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_yaml_1_1() {
        let int = |n: i64| Value::Int(n);
        for (text, value) in [
            ("0644", int(0o644)),
            ("0o644", "0o644".into()),
            ("0x1F", int(31)),
            ("0b101", int(5)),
            ("-12", int(-12)),
            ("1_000", int(1000)),
            ("08", "08".into()),
            ("0", int(0)),
            ("-9223372036854775808", int(i64::MIN)),
            ("9223372036854775808", "9223372036854775808".into()),
            ("1.5", 1.5.into()),
            ("1.", 1.0.into()),
            (".5", 0.5.into()),
            ("1.5e+3", 1500.0.into()),
            ("1.5e3", "1.5e3".into()),
            ("1e3", "1e3".into()),
            ("-.inf", f64::NEG_INFINITY.into()),
            ("1.2.3", "1.2.3".into()),
            (".", ".".into()),
            ("-", "-".into()),
            ("22:30", "22:30".into()),
            ("2020-01-01", "2020-01-01".into()),
            ("yes", true.into()),
            ("Off", false.into()),
            ("y", "y".into()),
            ("~", Value::Null),
            ("", Value::Null),
            ("nULL", "nULL".into()),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
    }
}
