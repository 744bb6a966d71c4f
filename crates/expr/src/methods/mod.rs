//! Python's methods of texts, lists and dictionaries.

pub(crate) mod text;

use std::sync::Arc;

use debark_value::{Map, Value};

use crate::error::{Error, Res, nearest};
use crate::eval::Args;
use crate::ops;
use crate::value::V;

/// Whether the method changes the object it is called on.
pub(crate) fn changes(object: &V, name: &str) -> bool {
    match object {
        V::Data(Value::Map(_)) | V::Lazy(Value::Map(_)) => {
            matches!(name, "update" | "pop" | "setdefault" | "clear" | "popitem")
        }
        V::Data(Value::List(_)) | V::Lazy(Value::List(_)) | V::Seq(_) | V::Tuple(_) => {
            matches!(name, "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "reverse" | "sort")
        }
        _ => false,
    }
}

/// A method that leaves its object as it is.
pub(crate) fn call(object: &V, name: &str, args: &Args) -> Res<V> {
    match object {
        V::Data(Value::Str(text)) => text::call(text, name, args),
        V::Data(Value::Map(map)) => dict(map, name, args),
        V::Data(Value::List(_)) | V::Seq(_) | V::Tuple(_) => list(object, name, args),
        V::Data(Value::Int(number)) => match name {
            "bit_length" => Ok(V::from(i64::from(64 - number.unsigned_abs().leading_zeros()))),
            _ => Err(unknown_method("an integer", name, &["bit_length"])),
        },
        V::Data(Value::Float(number)) => match name {
            "is_integer" => Ok(V::from(number.fract() == 0.0)),
            _ => Err(unknown_method("a float", name, &["is_integer"])),
        },
        other => {
            let what = match other {
                V::Data(value) => ops::article(value),
                other => other.type_name(),
            };
            Err(unknown_method(what, name, &[]))
        }
    }
}

fn unknown_method(what: &str, name: &str, known: &[&str]) -> Error {
    let error = Error::kind_of(format!("{what} has no method '{name}'"));
    match nearest(name, known.iter().copied()) {
        Some(near) => error.hinted(format!("did you mean '{near}'?")),
        None => error,
    }
}

const DICT: [&str; 12] = [
    "get",
    "items",
    "keys",
    "values",
    "copy",
    "update",
    "pop",
    "setdefault",
    "clear",
    "popitem",
    "fromkeys",
    "iteritems",
];

fn dict(map: &Arc<Map>, name: &str, args: &Args) -> Res<V> {
    match name {
        "get" => {
            let key = args.need(0, "key")?.to_value()?;
            Ok(match map.get(&*ops::key(&key)?) {
                Some(value) => V::Data(value.clone()),
                None => args.get(1, "default").cloned().unwrap_or(V::NULL),
            })
        }
        "items" | "iteritems" => Ok(items(map)),
        "keys" | "iterkeys" => Ok(V::from(map.keys().map(|key| Value::Str(key.clone())).collect::<Vec<_>>())),
        "values" | "itervalues" => Ok(V::from(map.values().cloned().collect::<Vec<_>>())),
        "copy" => Ok(V::Data(Value::Map(map.clone()))),
        "has_key" | "__contains__" => {
            let key = args.need(0, "key")?.to_value()?;
            Ok(V::from(map.contains_key(&*ops::key(&key)?)))
        }
        "fromkeys" => {
            let value = args.value(1, "value")?.unwrap_or(Value::Null);
            let keys = args.need(0, "keys")?.to_items()?;
            let map = keys.iter().map(|key| Ok((ops::key(key)?, value.clone()))).collect::<Res<Map>>()?;
            Ok(V::from(map))
        }
        _ => Err(unknown_method("a dictionary", name, &DICT)),
    }
}

/// The entries of a dictionary as tuples.
pub(crate) fn items(map: &Map) -> V {
    let pairs = map
        .iter()
        .map(|(key, value)| V::tuple(vec![V::Data(Value::Str(key.clone())), V::Data(value.clone())]));
    V::Seq(Arc::new(pairs.collect()))
}

const LIST: [&str; 11] =
    ["append", "extend", "insert", "pop", "remove", "clear", "reverse", "sort", "copy", "count", "index"];

fn list(object: &V, name: &str, args: &Args) -> Res<V> {
    match name {
        "copy" => Ok(object.clone()),
        "count" => {
            let wanted = args.need(0, "value")?.to_value()?;
            let mut count = 0;
            for item in object.to_items()? {
                count += i64::from(ops::equal(&item, &wanted)?);
            }
            Ok(V::from(count))
        }
        "index" => {
            let wanted = args.need(0, "value")?.to_value()?;
            for (place, item) in object.to_items()?.iter().enumerate() {
                if ops::equal(item, &wanted)? {
                    return Ok(V::from(place as i64));
                }
            }
            Err(Error::call("does not find the value in the list"))
        }
        _ => Err(unknown_method("a list", name, &LIST)),
    }
}

/// A method that changes its object.
pub(crate) fn change(object: &mut Value, name: &str, args: &Args) -> Res<V> {
    match object {
        Value::Map(map) => change_dict(Arc::make_mut(map), name, args),
        Value::List(items) => change_list(Arc::make_mut(items), name, args),
        other => Err(unknown_method(ops::article(other), name, &[])),
    }
}

fn change_dict(map: &mut Map, name: &str, args: &Args) -> Res<V> {
    let missing = || Error::call("does not find the key");
    match name {
        "update" => {
            match args.value(0, "other")? {
                Some(Value::Map(other)) => {
                    map.extend(other.iter().map(|(key, value)| (key.clone(), value.clone())));
                }
                Some(Value::List(pairs)) => {
                    for pair in pairs.iter() {
                        let Some([key, value]) = pair.as_list() else {
                            return Err(Error::call("needs a dictionary or a list of pairs"));
                        };
                        map.insert(ops::key(key)?, value.clone());
                    }
                }
                None => {}
                Some(other) => {
                    return Err(Error::call(format!("needs a dictionary, not {}", ops::article(&other))));
                }
            }
            for (key, value) in &args.kw {
                map.insert(key.clone(), value.to_value()?);
            }
            Ok(V::NULL)
        }
        "pop" => {
            let key = ops::key(&args.need(0, "key")?.to_value()?)?;
            match map.shift_remove(&key) {
                Some(value) => Ok(V::Data(value)),
                None => args.get(1, "default").cloned().ok_or_else(missing),
            }
        }
        "setdefault" => {
            let key = ops::key(&args.need(0, "key")?.to_value()?)?;
            let default = args.value(1, "default")?.unwrap_or(Value::Null);
            Ok(V::Data(map.entry(key).or_insert(default).clone()))
        }
        "popitem" => {
            let (key, value) = map.pop().ok_or_else(|| Error::call("needs a dictionary with entries"))?;
            Ok(V::tuple(vec![V::Data(Value::Str(key)), V::Data(value)]))
        }
        _ => {
            map.clear();
            Ok(V::NULL)
        }
    }
}

fn change_list(items: &mut Vec<Value>, name: &str, args: &Args) -> Res<V> {
    if items.len() > ops::LARGEST / 64 {
        return Err(ops::too_large());
    }
    match name {
        "append" => items.push(args.need(0, "value")?.to_value()?),
        "extend" => items.extend(args.need(0, "values")?.to_items()?),
        "insert" => {
            let at = args.need(0, "index")?.to_int()?;
            let at = if at < 0 { at.saturating_add(items.len() as i64) } else { at };
            let at = usize::try_from(at).unwrap_or(0).min(items.len());
            items.insert(at, args.need(1, "value")?.to_value()?);
        }
        "pop" => {
            let at = args.int(0, "index")?.unwrap_or(-1);
            let at = ops::place(at, items.len()).ok_or_else(|| Error::call("does not find the item"))?;
            return Ok(V::Data(items.remove(at)));
        }
        "remove" => {
            let wanted = args.need(0, "value")?.to_value()?;
            for at in 0..items.len() {
                if ops::equal(&items[at], &wanted)? {
                    items.remove(at);
                    return Ok(V::NULL);
                }
            }
            return Err(Error::call("does not find the value in the list"));
        }
        "clear" => items.clear(),
        "reverse" => items.reverse(),
        _ => {
            let mut sorted = items.clone();
            crate::filters::sort_values(&mut sorted, args.flag(9, "reverse")?)?;
            *items = sorted;
        }
    }
    Ok(V::NULL)
}
