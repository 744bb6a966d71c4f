//! `from_yaml`: YAML 1.1's plain values over the events of a YAML parser.

use std::collections::HashMap;

use debark_value::{Map, Value};
use granit_parser::{Event, Parser, ScalarStyle};

use super::{Filter, strict};
use crate::error::{Error, Res};
use crate::ops;
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[
    strict("from_yaml", |_, v, _| Ok(V::Data(load(&v.to_text()?)?.into_iter().next().unwrap_or_default()))),
    strict("from_yaml_all", |_, v, _| load(&v.to_text()?).map(V::from)),
];

/// Deeper nesting is refused.
const DEEPEST: usize = 100;

/// More nodes than this are refused: aliases of aliases multiply.
const LARGEST: usize = 1 << 20;

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Value::from(text);
    }
    let clean = digits.replace('_', "");
    let whole = match clean.get(..2) {
        Some("0x") => i64::from_str_radix(clean.get(2..).unwrap_or_default(), 16).ok(),
        Some("0b") => i64::from_str_radix(clean.get(2..).unwrap_or_default(), 2).ok(),
        Some(head) if head.starts_with('0') && clean.bytes().all(|b| b.is_ascii_digit()) => {
            i64::from_str_radix(&clean, 8).ok()
        }
        _ => clean.parse().ok(),
    };
    if let Some(number) = whole {
        return Value::Int(sign * number);
    }
    let signed = clean.split_once(['e', 'E']).is_none_or(|(_, exponent)| exponent.starts_with(['-', '+']));
    match (clean.as_str(), clean.parse::<f64>()) {
        (".inf" | ".Inf" | ".INF", _) => Value::Float(sign as f64 * f64::INFINITY),
        (".nan" | ".NaN" | ".NAN", _) => Value::Float(f64::NAN),
        (_, Ok(number)) if clean.contains('.') && signed => Value::Float(sign as f64 * number),
        _ => Value::from(text),
    }
}

enum Open {
    List(Vec<Value>, usize),
    Map(Map, Option<Value>, usize),
}

fn size(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn insert(map: &mut Map, key: &Value, value: Value) -> Res<()> {
    // `<<` merges what is not set already.
    let merged = match (&value, key.as_str()) {
        (Value::Map(_), Some("<<")) => vec![value.clone()],
        (Value::List(items), Some("<<")) => items.to_vec(),
        _ => {
            map.insert(ops::key(key)?, value);
            return Ok(());
        }
    };
    for (key, value) in merged.iter().filter_map(Value::as_map).flatten() {
        map.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Ok(())
}

/// The documents of a text.
fn load(text: &str) -> Res<Vec<Value>> {
    let mut documents = Vec::new();
    let mut anchors: HashMap<usize, Value> = HashMap::new();
    let mut stack: Vec<Open> = Vec::new();
    let mut budget = LARGEST;
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| Error::call(format!("finds no YAML at line {}", error.marker().line())))?;
        let _ = span;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain || tag.is_some();
                (if quoted { Value::from(&*text) } else { plain(&text) }, anchor)
            }
            Event::Alias(anchor) => (anchors.get(&anchor).cloned().unwrap_or_default(), 0),
            Event::SequenceStart(_, anchor, _) => {
                stack.push(Open::List(Vec::new(), anchor));
                if stack.len() > DEEPEST {
                    return Err(ops::too_deep());
                }
                continue;
            }
            Event::MappingStart(_, anchor, _) => {
                stack.push(Open::Map(Map::new(), None, anchor));
                if stack.len() > DEEPEST {
                    return Err(ops::too_deep());
                }
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(Open::List(items, anchor)) => (Value::from(items), anchor),
                Some(Open::Map(map, _, anchor)) => (Value::from(map), anchor),
                None => continue,
            },
            _ => continue,
        };
        budget = budget.checked_sub(size(&value)).ok_or_else(ops::too_large)?;
        if !ops::shallow(&value) {
            return Err(ops::too_deep());
        }
        if anchor != 0 {
            anchors.insert(anchor, value.clone());
        }
        match stack.last_mut() {
            Some(Open::List(items, _)) => items.push(value),
            Some(Open::Map(map, key, _)) => match key.take() {
                Some(key) => insert(map, &key, value)?,
                None => *key = Some(value),
            },
            None => documents.push(value),
        }
    }
    Ok(documents)
}
