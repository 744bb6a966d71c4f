//! Values of the playbook language: what variables, registers, facts and module parameters hold.
//!
//! One type serves the controller (which reads YAML), the wire (postcard) and the agent (templates, modules), so
//! that nothing is converted on the way. Containers are reference counted: a clone costs a counter.
//!
//! Two variants are marks rather than data. [`Value::Unknown`] stands for what a command that check mode did not
//! run would have printed; whatever is computed from it is unknown too. [`Value::Omit`] is Ansible's `omit`: a
//! parameter that holds it counts as not given.

mod coerce;
mod depth;
mod json;
mod order;
pub mod secrets;
pub mod wiping;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use coerce::Coercion;
pub use json::{from_json, to_json, to_json_string, to_python_json};
pub use order::Order;

/// An ordered map with text keys: YAML mappings, Ansible dictionaries, module results.
pub type Map = indexmap::IndexMap<Arc<str>, Value>;

/// A value of the playbook language.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// YAML `null`, Python `None`.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// A sequence.
    #[serde(deserialize_with = "depth::deserialize")]
    List(Arc<Vec<Value>>),
    /// A mapping.
    #[serde(deserialize_with = "depth::deserialize")]
    Map(Arc<Map>),
    /// Would be known only after a run: the reason says which task check mode left out.
    Unknown(Arc<str>),
    /// Ansible's `omit`: leaves out the parameter it is given to.
    Omit,
}

impl Value {
    /// Text.
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    /// A list of the given items.
    pub fn list(items: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        Self::List(Arc::new(items.into_iter().map(Into::into).collect()))
    }

    /// The name of the type as Ansible users know it (`dict`, `list`, `str`, ...).
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Map(_) => "dict",
            Self::Unknown(_) => "unknown",
            Self::Omit => "omit",
        }
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The entry of that name, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether this, or anything within it, is [`Value::Unknown`]; yields the first reason found.
    pub fn unknown(&self) -> Option<&Arc<str>> {
        match self {
            Self::Unknown(reason) => Some(reason),
            Self::List(items) => items.iter().find_map(Self::unknown),
            Self::Map(map) => map.values().find_map(Self::unknown),
            _ => None,
        }
    }

    /// Whether Jinja2 and Python take this as true: not null, false, zero or empty.
    pub fn truthy(&self) -> bool {
        match self {
            Self::Null | Self::Omit => false,
            Self::Bool(flag) => *flag,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Unknown(_) => true,
        }
    }
}

/// Text as Jinja2 prints it inside a larger text: Python's `str()`, with `None` as nothing.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null | Self::Omit => Ok(()),
            Self::Str(text) => f.write_str(text),
            other => write_repr(other, f),
        }
    }
}

/// Python's `repr()`: what a list or dictionary looks like inside a text.
fn write_repr(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Null | Value::Omit => f.write_str("None"),
        Value::Bool(true) => f.write_str("True"),
        Value::Bool(false) => f.write_str("False"),
        Value::Int(number) => write!(f, "{number}"),
        Value::Float(number) => write_float(*number, f),
        Value::Str(text) => write_quoted(text, f),
        Value::List(items) => {
            f.write_str("[")?;
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                write_repr(item, f)?;
            }
            f.write_str("]")
        }
        Value::Map(map) => {
            f.write_str("{")?;
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                write_quoted(key, f)?;
                f.write_str(": ")?;
                write_repr(item, f)?;
            }
            f.write_str("}")
        }
        Value::Unknown(_) => f.write_str("(decided at run time)"),
    }
}

/// Python prints `1.0`, never `1`, for a float.
fn write_float(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if number.fract() == 0.0 && number.abs() < 1e16 {
        write!(f, "{number:.1}")
    } else {
        write!(f, "{number}")
    }
}

fn write_quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    write!(f, "{quote}")?;
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            '\\' => f.write_str("\\\\")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(f, "\\x{:02x}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    write!(f, "{quote}")
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Str(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

macro_rules! from_int {
    ($($int:ty),*) => {$(
        impl From<$int> for Value {
            fn from(number: $int) -> Self {
                i64::try_from(number).map_or(Self::Float(number as f64), Self::Int)
            }
        }
    )*};
}
from_int!(i32, i64, u16, u32, u64, usize);

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(Arc::new(map))
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(Arc::new(items))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Builds a [`Map`]: `map! { "rc" => 0, "stdout" => text }`.
#[macro_export]
macro_rules! map {
    ($($key:expr => $value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut map = $crate::Map::new();
        $(map.insert(::std::sync::Arc::<str>::from($key), $crate::Value::from($value));)*
        map
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_python_does() {
        let value = Value::from(
            map! { "a" => Value::list([Value::Null, true.into(), 1.5.into(), 2.0.into()]), "b" => "it's" },
        );
        assert_eq!(value.to_string(), r#"{'a': [None, True, 1.5, 2.0], 'b': "it's"}"#);
        assert_eq!(Value::Null.to_string(), "");
        assert_eq!(Value::from("x\ny").to_string(), "x\ny");
    }

    #[test]
    fn unknown_is_found_within() {
        let value = Value::list([Value::from(map! { "rc" => Value::Unknown("task a".into()) })]);
        assert_eq!(value.unknown().map(|r| &**r), Some("task a"));
    }
}
