//! The types that parameters have.

use std::path::PathBuf;

use debark_value::{Map, Value};

use super::{Kind, Param};

impl Param for String {
    const KIND: Kind = Kind::Str;
    fn from_value(value: &Value) -> Result<Self, String> {
        // A mapping or list where text is wanted (`content: {{ dict }}`) is written as JSON, as Ansible does.
        match value {
            Value::Map(_) | Value::List(_) => Ok(debark_value::to_python_json(value)),
            _ => value.to_text().map_err(|e| e.to_string()),
        }
    }
}

impl Param for bool {
    const KIND: Kind = Kind::Bool;
    fn from_value(value: &Value) -> Result<Self, String> {
        value.to_bool().map_err(|e| e.to_string())
    }
}

impl Param for i64 {
    const KIND: Kind = Kind::Int;
    fn from_value(value: &Value) -> Result<Self, String> {
        value.to_int().map_err(|e| e.to_string())
    }
}

impl Param for f64 {
    const KIND: Kind = Kind::Float;
    fn from_value(value: &Value) -> Result<Self, String> {
        value.to_float().map_err(|e| e.to_string())
    }
}

impl Param for PathBuf {
    const KIND: Kind = Kind::Path;
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.to_text().map_err(|e| e.to_string())?;
        if text.contains('\0') {
            return Err("holds a NUL byte, which no path can".into());
        }
        Ok(crate::paths::expand(&text))
    }
}

impl Param for Value {
    const KIND: Kind = Kind::Raw;
    fn from_value(value: &Value) -> Result<Self, String> {
        Ok(value.clone())
    }
}

impl Param for Map {
    const KIND: Kind = Kind::Dict;
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Map(map) => Ok(map.as_ref().clone()),
            Value::Str(text) if text.trim_start().starts_with('{') => serde_json::from_str(text)
                .map(debark_value::from_json)
                .ok()
                .and_then(|value| value.as_map().cloned())
                .ok_or_else(|| "wants a mapping, got text that is not JSON".into()),
            Value::Str(text) => text
                .split([',', ' '])
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').map(|(k, v)| (k.trim().into(), Value::from(v.trim()))))
                .collect::<Option<Map>>()
                .ok_or_else(|| "wants a mapping".into()),
            other => Err(format!("wants a mapping, got {}", other.type_name())),
        }
    }
}

impl<T: Param> Param for Vec<T> {
    const KIND: Kind = Kind::List(&T::KIND);
    const OPTIONAL: bool = true;
    fn from_value(value: &Value) -> Result<Self, String> {
        value.to_list().map_err(|e| e.to_string())?.iter().map(T::from_value).collect()
    }
    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

impl<T: Param> Param for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;
    fn from_value(value: &Value) -> Result<Self, String> {
        T::from_value(value).map(Some)
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}
