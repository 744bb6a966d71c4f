//! To and from JSON, for filters, module results and `--json`.

use std::sync::Arc;

use serde_json::{Map as JsonMap, Number, Value as Json};

use crate::{Map, Value};

/// The value as JSON. Unknown values become the text `(decided at run time)`.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null | Value::Omit => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Str(text) => Json::String(text.to_string()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(map) => Json::Object(
            map.iter().map(|(key, item)| (key.to_string(), to_json(item))).collect::<JsonMap<_, _>>(),
        ),
        Value::Unknown(_) => Json::String("(decided at run time)".into()),
    }
}

/// The value as one line of JSON.
pub fn to_json_string(value: &Value) -> String {
    to_json(value).to_string()
}

/// The value as Python's `json.dumps` writes it: with a blank behind commas and colons, in ASCII.
pub fn to_python_json(value: &Value) -> String {
    let mut out = String::new();
    dump(value, &mut out);
    out
}

fn dump(value: &Value, out: &mut String) {
    match value {
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                dump(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, item)) in map.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                dump(&Value::Str(key.clone()), out);
                out.push_str(": ");
                dump(item, out);
            }
            out.push('}');
        }
        scalar => {
            for c in to_json_string(scalar).chars() {
                if c.is_ascii() {
                    out.push(c);
                } else {
                    out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
                }
            }
        }
    }
}

/// A value from JSON. Whole numbers beyond 64 bits become floats.
pub fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Str(text.into()),
        Json::Array(items) => Value::from(items.into_iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(map) => {
            Value::from(map.into_iter().map(|(key, item)| (Arc::from(key), from_json(item))).collect::<Map>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_json_as_python_does() {
        let value =
            from_json(serde_json::from_str(r#"{"ä":[1,2.5,null,true],"a":{"x":"😀\n"},"b":[]}"#).unwrap());
        assert_eq!(
            to_python_json(&value),
            r#"{"\u00e4": [1, 2.5, null, true], "a": {"x": "\ud83d\ude00\n"}, "b": []}"#
        );
    }

    #[test]
    fn keeps_order_and_types() {
        let text = r#"{"b":[1,2.5,null],"a":"x"}"#;
        assert_eq!(to_json_string(&from_json(serde_json::from_str(text).unwrap())), text);
    }
}
