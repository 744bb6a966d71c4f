//! `map`, `select` and their like: other filters and tests, item by item.

use std::sync::Arc;

use debark_value::{Map, Value, map};

use super::{Filter, list, strict, tolerant};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[
    tolerant("map", map_filter),
    tolerant("select", select),
    tolerant("reject", reject),
    tolerant("selectattr", selectattr),
    tolerant("rejectattr", rejectattr),
    strict("groupby", groupby),
];

/// The value that a path like `a.b.0` leads to.
pub(crate) fn attribute(item: &V, path: &str) -> V {
    let mut found = item.clone();
    for part in path.split('.') {
        let next = match &found {
            V::Undef(_) | V::Data(Value::Unknown(_)) => return found,
            V::Data(Value::Map(map)) => map.get(part).cloned().map(V::Data),
            V::Data(Value::List(items)) => part
                .parse::<i64>()
                .ok()
                .and_then(|at| ops::place(at, items.len()))
                .and_then(|at| items.get(at).cloned().map(V::Data)),
            V::Seq(items) | V::Tuple(items) => part
                .parse::<i64>()
                .ok()
                .and_then(|at| ops::place(at, items.len()))
                .and_then(|at| items.get(at).cloned()),
            _ => None,
        };
        match next {
            Some(next) => found = next,
            None => return V::undef(format!("attribute {path}")),
        }
    }
    found
}

fn map_filter(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    if let Some(reason) = input.unknown() {
        return Err(Error::unknown(reason));
    }
    let items = ctx.iterate(input)?;
    let mut out = Vec::with_capacity(items.len());
    if args.pos.is_empty()
        && let Some(path) = args.named("attribute")
    {
        let path = path.to_text()?;
        let default = args.named("default");
        for item in items {
            item.usable()?;
            let found = ctx.path(&item, &path)?;
            out.push(match default {
                Some(default) if found.is_undef() => default.clone(),
                _ => found,
            });
        }
        return Ok(V::list(out));
    }
    let name = args.need_text(0, "name")?;
    let rest = args.after(1);
    for item in items {
        out.push(ctx.filter(&name, item, rest.clone())?);
    }
    Ok(V::list(out))
}

/// Keeps the items for which a test (or their truth) is as wanted.
fn keep(ctx: &mut Ctx<'_>, input: V, args: &Args, by_attribute: bool, wanted: bool) -> Res<V> {
    if let Some(reason) = input.unknown() {
        return Err(Error::unknown(reason));
    }
    let path = if by_attribute { Some(args.need(0, "attribute")?.to_text()?) } else { None };
    let place = usize::from(by_attribute);
    let name = args.text(place, "test")?;
    let rest = args.after(place + 1);
    let items = ctx.iterate(input)?;
    let mut out = Vec::new();
    for item in items {
        let subject = match &path {
            Some(path) => ctx.path(&item, path)?,
            None => item.clone(),
        };
        let holds = match &name {
            Some(name) => ctx.test(name, subject, rest.clone())?,
            None if subject.is_undef() => false,
            None => ctx.truthy(&subject)?,
        };
        if holds == wanted {
            out.push(item);
        }
    }
    Ok(V::list(out))
}

fn select(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    keep(ctx, input, args, false, true)
}

fn reject(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    keep(ctx, input, args, false, false)
}

fn selectattr(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    keep(ctx, input, args, true, true)
}

fn rejectattr(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    keep(ctx, input, args, true, false)
}

fn groupby(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let path = args.need_text(0, "attribute")?;
    let default = args.get(1, "default");
    let case_sensitive = args.flag(2, "case_sensitive")?;
    let mut keyed = Vec::new();
    for item in input.to_items()? {
        let found = attribute(&V::Data(item.clone()), &path);
        let key = match default {
            Some(default) if found.is_undef() => default.to_value()?,
            _ => found.to_value()?,
        };
        keyed.push((key, item));
    }
    list::sort_by_key(&mut keyed, false, case_sensitive)?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, item) in keyed {
        match groups.last_mut() {
            Some((known, items))
                if ops::equal(&list::fold(known, case_sensitive), &list::fold(&key, case_sensitive))? =>
            {
                items.push(item);
            }
            _ => groups.push((key, vec![item])),
        }
    }
    // Groups are tuples whose parts also go by name.
    let groups = groups.into_iter().map(|(key, items)| group(key, items));
    Ok(V::Seq(Arc::new(groups.collect())))
}

fn group(key: Value, items: Vec<Value>) -> V {
    V::thing(crate::value::Thing::Group(key, Value::from(items)))
}

/// `{'key': ..., 'value': ...}`
pub(super) fn entry(key: &str, value: Value, key_name: &str, value_name: &str) -> Value {
    let mut entry: Map = map! { key_name => key };
    entry.insert(value_name.into(), value);
    Value::from(entry)
}
