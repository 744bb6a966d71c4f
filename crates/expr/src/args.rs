//! The arguments of filters, tests, functions and methods.

use std::sync::Arc;

use debark_value::Value;

use crate::error::{Error, Res};
use crate::ops;
use crate::value::V;

/// What stands between the parentheses.
#[derive(Default, Clone)]
pub(crate) struct Args {
    pub pos: Vec<V>,
    pub kw: Vec<(Arc<str>, V)>,
}

impl V {
    /// As data.
    ///
    /// Lazy values must have been rendered before (`Ctx::force`).
    pub fn to_value(&self) -> Res<Value> {
        match self {
            Self::Data(value) => Ok(value.clone()),
            Self::Seq(items) | Self::Tuple(items) => {
                Ok(Value::from(items.iter().map(Self::to_value).collect::<Res<Vec<_>>>()?))
            }
            Self::Undef(undef) if undef.soft => Ok(Value::from("")),
            Self::Undef(undef) => Err(undef.error()),
            Self::Lazy(value) => Ok(value.clone()),
            Self::Thing(thing) => thing.to_value(self.type_name()),
        }
    }

    /// As text, as Python's `str()`.
    pub fn to_text(&self) -> Res<Arc<str>> {
        match self {
            Self::Data(Value::Str(text)) => Ok(text.clone()),
            Self::Data(value) => Ok(ops::text(value)?.into()),
            other => Ok(other.print()?.into()),
        }
    }

    /// As a whole number.
    pub fn to_int(&self) -> Res<i64> {
        let value = self.to_value()?;
        value.to_int().map_err(|_| Error::call(format!("needs an integer, not {}", ops::article(&value))))
    }

    /// The items, where this is a list, a tuple, a dictionary (its keys) or a text (its characters).
    pub fn to_items(&self) -> Res<Vec<Value>> {
        self.usable()?;
        match self.to_value()? {
            Value::List(items) => Ok(Arc::try_unwrap(items).unwrap_or_else(|items| items.to_vec())),
            Value::Map(map) => Ok(map.keys().map(|key| Value::Str(key.clone())).collect()),
            Value::Str(text) => Ok(text.chars().map(|c| Value::from(c.to_string())).collect()),
            Value::Unknown(reason) => Err(Error::unknown(&reason)),
            other => Err(Error::call(format!("needs a list, not {}", ops::article(&other)))),
        }
    }

    /// The items of a list; nothing else.
    pub fn to_list(&self) -> Res<Vec<Value>> {
        match self.to_value()? {
            Value::List(items) => Ok(Arc::try_unwrap(items).unwrap_or_else(|items| items.to_vec())),
            Value::Unknown(reason) => Err(Error::unknown(&reason)),
            other => Err(Error::call(format!("needs a list, not {}", ops::article(&other)))),
        }
    }
}

impl Args {
    /// The argument at that place or of that name.
    pub fn get(&self, place: usize, name: &str) -> Option<&V> {
        self.pos.get(place).or_else(|| self.named(name))
    }

    /// The argument of that name.
    pub fn named(&self, name: &str) -> Option<&V> {
        self.kw.iter().find(|(known, _)| &**known == name).map(|(_, value)| value)
    }

    /// The argument, which has to be there.
    pub fn need(&self, place: usize, name: &str) -> Res<&V> {
        let value =
            self.get(place, name).ok_or_else(|| Error::call(format!("needs the argument '{name}'")))?;
        value.usable()?;
        Ok(value)
    }

    /// The argument as data; none if it is missing.
    pub fn value(&self, place: usize, name: &str) -> Res<Option<Value>> {
        self.get(place, name).map(V::to_value).transpose()
    }

    /// The argument as text; none if it is missing or `none`.
    pub fn text(&self, place: usize, name: &str) -> Res<Option<Arc<str>>> {
        self.get(place, name).filter(|value| !value.is_null()).map(V::to_text).transpose()
    }

    /// The argument as text, which has to be there.
    pub fn need_text(&self, place: usize, name: &str) -> Res<Arc<str>> {
        self.need(place, name)?.to_text()
    }

    /// The argument as a whole number; none if it is missing or `none`.
    pub fn int(&self, place: usize, name: &str) -> Res<Option<i64>> {
        self.get(place, name).filter(|value| !value.is_null()).map(V::to_int).transpose()
    }

    /// The argument as a count, at most some millions; none if it is missing or `none`.
    pub fn count(&self, place: usize, name: &str) -> Res<Option<usize>> {
        Ok(self.int(place, name)?.map(|number| usize::try_from(number).unwrap_or(0).min(1 << 24)))
    }

    /// The argument as Python's truth; false if it is missing.
    pub fn flag(&self, place: usize, name: &str) -> Res<bool> {
        self.flag_or(place, name, false)
    }

    /// The argument as Python's truth, with what it is if it is missing.
    pub fn flag_or(&self, place: usize, name: &str, default: bool) -> Res<bool> {
        match self.get(place, name) {
            Some(value) => {
                value.usable()?;
                Ok(value.to_value()?.truthy())
            }
            None => Ok(default),
        }
    }

    /// Without the first arguments, for a filter that calls another.
    pub fn after(&self, count: usize) -> Self {
        Self { pos: self.pos.iter().skip(count).cloned().collect(), kw: self.kw.clone() }
    }
}
