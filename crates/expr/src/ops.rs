//! What Python's operators do to values.

use std::cmp::Ordering;

use debark_value::{Map, Value};

use crate::error::{Error, ErrorKind, Res};
use crate::format;
use crate::syntax::ast::BinOp;
use crate::value::{Thing, V};

/// Longer texts and lists are refused, so that `'x' * 10**9` is an error rather than the end of the process.
pub(crate) const LARGEST: usize = 64 << 20;

pub(crate) fn too_large() -> Error {
    Error::new(ErrorKind::Size, format!("the result is larger than {} MiB", LARGEST >> 20))
}

/// Python's `repr()` of a float.
pub(crate) fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    if number.fract() == 0.0 { format!("{number:.1}") } else { number.to_string() }
}

/// Python's `repr()`.
pub(crate) fn repr(value: &Value, out: &mut String) -> Res<()> {
    match value {
        Value::Float(number) => out.push_str(&float_text(*number)),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                repr(item, out)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                repr(&Value::Str(key.clone()), out)?;
                out.push_str(": ");
                repr(item, out)?;
            }
            out.push('}');
        }
        Value::Str(_) => {
            // The value type prints texts within lists in Python's way already.
            let text = Value::list([value.clone()]).to_string();
            out.push_str(text.get(1..text.len() - 1).unwrap_or_default());
        }
        Value::Null | Value::Omit => out.push_str("None"),
        Value::Bool(flag) => out.push_str(if *flag { "True" } else { "False" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Unknown(reason) => return Err(Error::unknown(reason)),
    }
    if out.len() > LARGEST { Err(too_large()) } else { Ok(()) }
}

/// Python's `str()`.
pub(crate) fn text(value: &Value) -> Res<String> {
    if let Value::Str(text) = value {
        return Ok(text.to_string());
    }
    let mut out = String::new();
    repr(value, &mut out)?;
    Ok(out)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    }
}

/// Python's `==`.
pub(crate) fn equal(a: &Value, b: &Value) -> Res<bool> {
    Ok(match (a, b) {
        (Value::Unknown(reason), _) | (_, Value::Unknown(reason)) => return Err(Error::unknown(reason)),
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(a, b)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (key, a) in a.iter() {
                match b.get(key) {
                    Some(b) if equal(a, b)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Null, Value::Null) | (Value::Omit, Value::Omit) => true,
        _ => match (whole(a), whole(b)) {
            (Some(a), Some(b)) => a == b,
            _ => match (number(a), number(b)) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        },
    })
}

/// Python's `<`, `>` and their like.
pub(crate) fn order(a: &Value, b: &Value) -> Res<Ordering> {
    match (a, b) {
        (Value::Unknown(reason), _) | (_, Value::Unknown(reason)) => Err(Error::unknown(reason)),
        (Value::Str(a), Value::Str(b)) => Ok(a.cmp(b)),
        (Value::List(a), Value::List(b)) => {
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(a, b)? {
                    return order(a, b);
                }
            }
            Ok(a.len().cmp(&b.len()))
        }
        _ => match (whole(a), whole(b)) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => match (number(a), number(b)) {
                (Some(a), Some(b)) => Ok(a.partial_cmp(&b).unwrap_or(Ordering::Equal)),
                _ => Err(Error::kind_of(format!("cannot compare {} with {}", article(a), article(b)))),
            },
        },
    }
}

/// The type in a user's words.
pub(crate) fn article(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Str(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a dictionary",
        Value::Unknown(_) => "an unknown value",
        Value::Omit => "omit",
    }
}

/// Python's `in`.
pub(crate) fn contains(container: &Value, item: &Value) -> Res<bool> {
    match container {
        Value::Str(text) => match item {
            Value::Str(part) => Ok(text.contains(&**part)),
            Value::Unknown(reason) => Err(Error::unknown(reason)),
            _ => {
                Err(Error::kind_of(format!("'in' looks for a text within a text, not for {}", article(item)))
                    .hinted("turn it into a text with '| string'"))
            }
        },
        Value::List(items) => {
            for member in items.iter() {
                if equal(member, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(map) => Ok(match item {
            Value::Str(key) => map.contains_key(&**key),
            Value::Unknown(reason) => return Err(Error::unknown(reason)),
            Value::Int(_) | Value::Bool(_) | Value::Float(_) => map.contains_key(&*text(item)?),
            _ => false,
        }),
        Value::Unknown(reason) => Err(Error::unknown(reason)),
        _ => Err(Error::kind_of(format!(
            "'in' needs a text, a list or a dictionary, not {}",
            article(container)
        ))),
    }
}

fn overflow() -> Error {
    Error::kind_of("the number is out of range")
}

/// An arithmetic operator. The operands are data or times, nothing undefined or unknown.
pub(crate) fn binary(op: BinOp, left: &V, right: &V) -> Res<V> {
    if let (V::Thing(a), V::Thing(b)) = (left, right) {
        match (&**a, &**b, op) {
            (Thing::Date(a), Thing::Date(b), BinOp::Sub) => {
                return Ok(V::thing(Thing::Delta(a.micros().saturating_sub(b.micros()))));
            }
            (Thing::Date(a), Thing::Delta(b), BinOp::Add) => return Ok(V::thing(Thing::Date(a.plus(*b)))),
            (Thing::Date(a), Thing::Delta(b), BinOp::Sub) => {
                return Ok(V::thing(Thing::Date(a.plus(b.saturating_neg()))));
            }
            (Thing::Delta(a), Thing::Delta(b), BinOp::Add) => {
                return Ok(V::thing(Thing::Delta(a.saturating_add(*b))));
            }
            (Thing::Delta(a), Thing::Delta(b), BinOp::Sub) => {
                return Ok(V::thing(Thing::Delta(a.saturating_sub(*b))));
            }
            _ => {}
        }
    }
    if let (V::Data(Value::Str(format)), BinOp::Mod) = (left, op) {
        return format::percent(format, right).map(V::from);
    }
    let (V::Data(a), V::Data(b)) = (left, right) else {
        return Err(Error::kind_of(format!(
            "'{}' does not work on {} and {}",
            op.text(),
            left.type_name(),
            right.type_name()
        )));
    };
    match (op, a, b) {
        (BinOp::Add, Value::Str(a), Value::Str(b)) => {
            if a.len() + b.len() > LARGEST {
                return Err(too_large());
            }
            return Ok(V::from(format!("{a}{b}")));
        }
        (BinOp::Add, Value::List(a), Value::List(b)) => {
            return Ok(V::from(a.iter().chain(b.iter()).cloned().collect::<Vec<_>>()));
        }
        (BinOp::Mul, Value::Str(text), count) | (BinOp::Mul, count, Value::Str(text)) => {
            if let Some(count) = whole(count) {
                let count = usize::try_from(count).unwrap_or(0);
                if text.len().saturating_mul(count) > LARGEST {
                    return Err(too_large());
                }
                return Ok(V::from(text.repeat(count)));
            }
        }
        (BinOp::Mul, Value::List(items), count) | (BinOp::Mul, count, Value::List(items)) => {
            if let Some(count) = whole(count) {
                let count = usize::try_from(count).unwrap_or(0);
                if items.len().saturating_mul(count) > LARGEST / 64 {
                    return Err(too_large());
                }
                let all = std::iter::repeat_n(items, count).flat_map(|items| items.iter().cloned());
                return Ok(V::from(all.collect::<Vec<_>>()));
            }
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (whole(a), whole(b)) {
        return integers(op, a, b);
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return floats(op, a, b);
    }
    let error = Error::kind_of(format!("'{}' does not work on {} and {}", op.text(), article(a), article(b)));
    Err(match (a, b) {
        (Value::Str(_), _) | (_, Value::Str(_)) if op == BinOp::Add => {
            error.hinted("join texts with '~', or turn a text into a number with '| int'")
        }
        (Value::Str(_), _) | (_, Value::Str(_)) => error.hinted("turn the text into a number with '| int'"),
        (Value::Map(_), Value::Map(_)) => error.hinted("merge dictionaries with '| combine(...)'"),
        _ => error,
    })
}

fn integers(op: BinOp, a: i64, b: i64) -> Res<V> {
    let zero = || Error::kind_of("division by zero");
    let result = match op {
        BinOp::Add => a.checked_add(b),
        BinOp::Sub => a.checked_sub(b),
        BinOp::Mul => a.checked_mul(b),
        BinOp::Div if b == 0 => return Err(zero()),
        BinOp::Div => return Ok(V::from(a as f64 / b as f64)),
        BinOp::FloorDiv | BinOp::Mod if b == 0 => return Err(zero()),
        BinOp::FloorDiv => a
            .checked_div(b)
            .map(|quotient| if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }),
        BinOp::Mod => {
            a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        BinOp::Pow if b < 0 => return Ok(V::from((a as f64).powf(b as f64))),
        BinOp::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
    };
    result.map(V::from).ok_or_else(overflow)
}

fn floats(op: BinOp, a: f64, b: f64) -> Res<V> {
    if b == 0.0 && matches!(op, BinOp::Div | BinOp::FloorDiv | BinOp::Mod) {
        return Err(Error::kind_of("division by zero"));
    }
    Ok(V::from(match op {
        BinOp::Add => a + b,
        BinOp::Sub => a - b,
        BinOp::Mul => a * b,
        BinOp::Div => a / b,
        BinOp::FloorDiv => (a / b).floor(),
        BinOp::Mod => a - b * (a / b).floor(),
        BinOp::Pow => a.powf(b),
    }))
}

/// `-x` and `+x`.
pub(crate) fn negate(value: &Value) -> Res<V> {
    match value {
        Value::Int(number) => number.checked_neg().map(V::from).ok_or_else(overflow),
        Value::Float(number) => Ok(V::from(-number)),
        Value::Bool(flag) => Ok(V::from(-i64::from(*flag))),
        other => Err(Error::kind_of(format!("'-' does not work on {}", article(other)))),
    }
}

/// The place of a Python index within so many items.
pub(crate) fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index + length } else { index };
    usize::try_from(index).ok().filter(|_| index < length)
}

/// The places a Python slice selects.
pub(crate) fn slice(
    start: Option<i64>,
    stop: Option<i64>,
    step: Option<i64>,
    length: usize,
) -> Res<Vec<usize>> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::kind_of("the step of a slice cannot be zero"));
    }
    let clamp = |place: i64, low: i64, high: i64| {
        let place = if place < 0 { place.saturating_add(length) } else { place };
        place.clamp(low, high)
    };
    let (mut at, stop) = if step > 0 {
        (start.map_or(0, |at| clamp(at, 0, length)), stop.map_or(length, |at| clamp(at, 0, length)))
    } else {
        (
            start.map_or(length - 1, |at| clamp(at, -1, length - 1)),
            stop.map_or(-1, |at| clamp(at, -1, length - 1)),
        )
    };
    let mut places = Vec::new();
    while if step > 0 { at < stop } else { at > stop } {
        places.extend(usize::try_from(at));
        at = at.saturating_add(step);
    }
    Ok(places)
}

/// The text that a value is as the key of a dictionary.
pub(crate) fn key(value: &Value) -> Res<std::sync::Arc<str>> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        Value::List(_) | Value::Map(_) => {
            Err(Error::kind_of(format!("{} cannot be the key of a dictionary", article(value))))
        }
        other => Ok(text(other)?.into()),
    }
}

/// Whether a list of values holds one that equals.
pub(crate) fn holds(items: &[Value], item: &Value) -> Res<bool> {
    for member in items {
        if equal(member, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entries of a map.
pub(crate) fn as_map(value: &Value) -> Res<&Map> {
    value.as_map().ok_or_else(|| Error::call(format!("needs a dictionary, not {}", article(value))))
}

/// More nested lists and maps are refused: dropping and comparing them costs stack.
const DEEPEST: usize = 120;

/// Whether a value is not nested too deeply.
pub(crate) fn shallow(value: &Value) -> bool {
    fn fits(value: &Value, left: usize) -> bool {
        match value {
            Value::List(items) => left > 0 && items.iter().all(|item| fits(item, left - 1)),
            Value::Map(map) => left > 0 && map.values().all(|item| fits(item, left - 1)),
            _ => true,
        }
    }
    fits(value, DEEPEST)
}

pub(crate) fn too_deep() -> Error {
    Error::new(ErrorKind::Size, "this value is nested too deeply")
}
