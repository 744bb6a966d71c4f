//! Dictionaries, and lists made of several others.

use std::sync::Arc;

use debark_value::{Map, Value};

use super::{Filter, list, select, strict, tolerant};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::methods;
use crate::ops;
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[
    strict("combine", combine),
    strict("dict2items", dict2items),
    strict("items2dict", items2dict),
    strict("items", items),
    strict("dictsort", dictsort),
    strict("dict", dict),
    strict("counter", counter),
    strict("zip", zip),
    strict("zip_longest", zip_longest),
    strict("product", product),
    strict("permutations", permutations),
    strict("combinations", combinations),
    strict("subelements", subelements),
    strict("rekey_on_member", rekey_on_member),
    tolerant("extract", extract),
    strict("groupby_as_dict", groupby_as_dict),
    strict("remove_keys", remove_keys),
    strict("keep_keys", keep_keys),
];

/// The longest product or list of permutations.
const LONGEST: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq)]
enum ListMerge {
    Replace,
    Keep,
    Append,
    Prepend,
    AppendRp,
    PrependRp,
}

/// `update` over `base`, as Ansible's `merge_hash` does.
fn merge(base: &mut Map, update: &Map, recursive: bool, lists: ListMerge) -> Res<()> {
    for (key, value) in update {
        let Some(old) = base.get_mut(key) else {
            base.insert(key.clone(), value.clone());
            continue;
        };
        match (&mut *old, value) {
            (Value::Map(old), Value::Map(new)) if recursive => merge(Arc::make_mut(old), new, true, lists)?,
            (Value::List(old), Value::List(new)) if lists != ListMerge::Replace => {
                let merged = match lists {
                    ListMerge::Keep | ListMerge::Replace => continue,
                    ListMerge::Append => old.iter().chain(new.iter()).cloned().collect(),
                    ListMerge::Prepend => new.iter().chain(old.iter()).cloned().collect(),
                    ListMerge::AppendRp | ListMerge::PrependRp => {
                        let mut kept = Vec::new();
                        for item in old.iter() {
                            if !ops::holds(new, item)? {
                                kept.push(item.clone());
                            }
                        }
                        match lists {
                            ListMerge::AppendRp => {
                                kept.into_iter().chain(new.iter().cloned()).collect::<Vec<_>>()
                            }
                            _ => new.iter().cloned().chain(kept).collect(),
                        }
                    }
                };
                *old = Arc::new(merged);
            }
            (slot, value) => *slot = value.clone(),
        }
    }
    Ok(())
}

fn combine(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let recursive = args.flag(usize::MAX, "recursive")?;
    let lists = match args.text(usize::MAX, "list_merge")?.as_deref() {
        None | Some("replace") => ListMerge::Replace,
        Some("keep") => ListMerge::Keep,
        Some("append") => ListMerge::Append,
        Some("prepend") => ListMerge::Prepend,
        Some("append_rp") => ListMerge::AppendRp,
        Some("prepend_rp") => ListMerge::PrependRp,
        Some(other) => return Err(Error::call(format!("does not know the list_merge '{other}'"))),
    };
    let mut maps = Vec::new();
    let mut given = vec![input.to_value()?];
    for arg in &args.pos {
        given.push(arg.to_value()?);
    }
    list::flatten_into(&Value::from(given), usize::MAX, false, &mut maps);
    let mut result = Map::new();
    for map in &maps {
        merge(&mut result, ops::as_map(map)?, recursive, lists)?;
    }
    Ok(V::from(result))
}

fn dict2items(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let key_name = args.text(0, "key_name")?.unwrap_or_else(|| "key".into());
    let value_name = args.text(1, "value_name")?.unwrap_or_else(|| "value".into());
    let value = input.to_value()?;
    let map = ops::as_map(&value)?;
    Ok(V::from(
        map.iter()
            .map(|(key, value)| select::entry(key, value.clone(), &key_name, &value_name))
            .collect::<Vec<_>>(),
    ))
}

fn items2dict(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let key_name = args.text(0, "key_name")?.unwrap_or_else(|| "key".into());
    let value_name = args.text(1, "value_name")?.unwrap_or_else(|| "value".into());
    let mut map = Map::new();
    for item in input.to_list()? {
        let part = |name: &str| {
            item.get(name).cloned().ok_or_else(|| {
                Error::call(format!("needs items with '{key_name}' and '{value_name}'; one has no '{name}'"))
            })
        };
        map.insert(ops::key(&part(&key_name)?)?, part(&value_name)?);
    }
    Ok(V::from(map))
}

fn items(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let value = input.to_value()?;
    Ok(methods::items(ops::as_map(&value)?))
}

fn pairs(map: impl IntoIterator<Item = (Value, Value)>) -> V {
    let tuples = map.into_iter().map(|(key, value)| V::tuple(vec![V::Data(key), V::Data(value)]));
    V::Seq(Arc::new(tuples.collect()))
}

fn dictsort(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let case_sensitive = args.flag(0, "case_sensitive")?;
    let by_value = match args.text(1, "by")?.as_deref() {
        None | Some("key") => false,
        Some("value") => true,
        Some(other) => return Err(Error::call(format!("sorts by key or value, not by '{other}'"))),
    };
    let value = input.to_value()?;
    let mut keyed: Vec<(Value, Value)> = ops::as_map(&value)?
        .iter()
        .map(|(key, value)| {
            let pair = Value::list([Value::Str(key.clone()), value.clone()]);
            (if by_value { value.clone() } else { Value::Str(key.clone()) }, pair)
        })
        .collect();
    list::sort_by_key(&mut keyed, args.flag(2, "reverse")?, case_sensitive)?;
    Ok(pairs(keyed.into_iter().filter_map(|(_, pair)| match pair.as_list() {
        Some([key, value]) => Some((key.clone(), value.clone())),
        _ => None,
    })))
}

fn dict(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let mut map = Map::new();
    for pair in input.to_list()? {
        let Some([key, value]) = pair.as_list() else { return Err(Error::call("needs a list of pairs")) };
        map.insert(ops::key(key)?, value.clone());
    }
    Ok(V::from(map))
}

fn counter(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let mut map = Map::new();
    for item in input.to_items()? {
        let count = map.entry(ops::key(&item)?).or_insert(Value::Int(0));
        *count = Value::Int(count.as_int().unwrap_or(0) + 1);
    }
    Ok(V::from(map))
}

fn rows(input: &V, args: &Args) -> Res<Vec<Vec<Value>>> {
    std::iter::once(input).chain(&args.pos).map(V::to_items).collect()
}

fn tuples(rows: Vec<Vec<Value>>) -> V {
    V::Seq(Arc::new(rows.into_iter().map(|row| V::tuple(row.into_iter().map(V::Data).collect())).collect()))
}

fn zip(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let lists = rows(&input, args)?;
    let shortest = lists.iter().map(Vec::len).min().unwrap_or(0);
    let row = |at: usize| lists.iter().filter_map(|list| list.get(at).cloned()).collect();
    Ok(tuples((0..shortest).map(row).collect()))
}

fn zip_longest(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let fill = args.value(usize::MAX, "fillvalue")?.unwrap_or_default();
    let lists = rows(&input, args)?;
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let row = |at: usize| lists.iter().map(|list| list.get(at).unwrap_or(&fill).clone()).collect();
    Ok(tuples((0..longest).map(row).collect()))
}

/// All combinations of one item of each list; `flat` takes lists among the items apart, as `with_nested` does.
pub(crate) fn product_of(ctx: &mut Ctx<'_>, lists: &[Vec<Value>], flat: bool) -> Res<Vec<Value>> {
    let total =
        lists.iter().try_fold(1usize, |total, list| total.checked_mul(list.len())).unwrap_or(usize::MAX);
    if total > LONGEST {
        return Err(ops::too_large());
    }
    ctx.burn(total)?;
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in lists {
        rows = rows
            .iter()
            .flat_map(|row| {
                list.iter().map(move |item| {
                    let mut row = row.clone();
                    match item {
                        Value::List(items) if flat => row.extend(items.iter().cloned()),
                        other => row.push(other.clone()),
                    }
                    row
                })
            })
            .collect();
    }
    Ok(rows.into_iter().map(Value::from).collect())
}

fn as_tuples(rows: Vec<Value>) -> V {
    let rows = rows.into_iter().map(|row| match row {
        Value::List(items) => items.to_vec(),
        other => vec![other],
    });
    tuples(rows.collect())
}

fn product(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let mut lists = rows(&input, args)?;
    if let Some(repeat) = args.count(usize::MAX, "repeat")? {
        lists = std::iter::repeat_n(lists, repeat.min(20)).flatten().collect();
    }
    product_of(ctx, &lists, false).map(as_tuples)
}

/// The ways to pick so many items: in every order, or in theirs.
fn picks(
    items: &[Value],
    count: usize,
    ordered: bool,
    picked: &mut Vec<usize>,
    out: &mut Vec<Vec<Value>>,
) -> Res<()> {
    if picked.len() == count {
        if out.len() >= LONGEST {
            return Err(ops::too_large());
        }
        out.push(picked.iter().filter_map(|at| items.get(*at).cloned()).collect());
        return Ok(());
    }
    let start = if ordered { 0 } else { picked.last().map_or(0, |last| last + 1) };
    for at in start..items.len() {
        if ordered && picked.contains(&at) {
            continue;
        }
        picked.push(at);
        picks(items, count, ordered, picked, out)?;
        picked.pop();
    }
    Ok(())
}

fn picked(ctx: &mut Ctx<'_>, input: &V, count: usize, ordered: bool) -> Res<V> {
    let items = input.to_items()?;
    let mut out = Vec::new();
    if count <= items.len() && count <= 64 {
        picks(&items, count, ordered, &mut Vec::new(), &mut out)?;
    }
    ctx.burn(out.len())?;
    Ok(tuples(out))
}

fn permutations(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let count = match args.count(0, "r")? {
        Some(count) => count,
        None => input.to_items()?.len(),
    };
    picked(ctx, &input, count, true)
}

fn combinations(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let count = args.need(0, "r")?.to_int()?;
    picked(ctx, &input, usize::try_from(count).unwrap_or(0), false)
}

/// Pairs of each element and each item of the list that the path leads to within it.
pub(crate) fn subelements_of(elements: &Value, path: &str, skip_missing: bool) -> Res<Value> {
    let elements: Vec<Value> = match elements {
        Value::Map(map) => map.values().cloned().collect(),
        Value::List(items) => items.to_vec(),
        other => {
            return Err(Error::call(format!("needs a list or a dictionary, not {}", ops::article(other))));
        }
    };
    let mut out = Vec::new();
    for element in elements {
        match select::attribute(&V::Data(element.clone()), path) {
            V::Data(Value::List(items)) => {
                out.extend(items.iter().map(|item| Value::list([element.clone(), item.clone()])));
            }
            V::Undef(_) if skip_missing => {}
            V::Undef(_) => return Err(Error::call(format!("finds no '{path}' in an element"))),
            _ => return Err(Error::call(format!("needs '{path}' to be a list in each element"))),
        }
    }
    Ok(Value::from(out))
}

fn subelements(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let path = match args.need(0, "subelements")?.to_value()? {
        Value::List(parts) => parts.iter().map(ops::text).collect::<Res<Vec<_>>>()?.join("."),
        other => ops::text(&other)?,
    };
    let skip = args.flag(1, "skip_missing")?;
    subelements_of(&input.to_value()?, &path, skip).map(|rows| match rows {
        Value::List(items) => as_tuples(items.to_vec()),
        other => V::Data(other),
    })
}

fn rekey_on_member(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let member = args.need_text(0, "key")?;
    let overwrite = args.text(1, "duplicates")?.is_some_and(|how| &*how == "overwrite");
    let elements = match input.to_value()? {
        Value::Map(map) => map.values().cloned().collect(),
        other => V::Data(other).to_list()?,
    };
    let mut map = Map::new();
    for element in elements {
        let key =
            element.get(&member).ok_or_else(|| Error::call(format!("finds no '{member}' in an element")))?;
        let key = ops::key(key)?;
        if map.insert(key.clone(), element).is_some() && !overwrite {
            return Err(Error::call(format!("finds '{key}' more than once")));
        }
    }
    Ok(V::from(map))
}

fn extract(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    input.usable()?;
    let key = input.to_value()?;
    let container = args.need(0, "container")?.clone();
    let at = crate::syntax::ast::Expr { at: 0, kind: crate::syntax::ast::Kind::Const(Value::Null) };
    let mut found = ctx.item(&container, &key, &at)?;
    let more = match args.value(1, "morekeys")? {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::List(keys)) => keys.to_vec(),
        Some(key) => vec![key],
    };
    for key in more {
        found = ctx.item(&found, &key, &at)?;
    }
    ctx.settle(found)
}

fn groupby_as_dict(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let member = args.need_text(0, "attribute")?;
    let mut map = Map::new();
    for element in input.to_list()? {
        let key =
            element.get(&member).ok_or_else(|| Error::call(format!("finds no '{member}' in an element")))?;
        map.insert(ops::key(key)?, element.clone());
    }
    Ok(V::from(map))
}

fn filter_keys(input: &V, args: &Args, keep: bool) -> Res<V> {
    let targets = args.need(usize::MAX, "target")?.to_list()?;
    let mut out = Vec::new();
    for element in input.to_list()? {
        let mut map = ops::as_map(&element)?.clone();
        map.retain(|key, _| targets.iter().any(|target| target.as_str() == Some(&**key)) == keep);
        out.push(Value::from(map));
    }
    Ok(V::from(out))
}

fn remove_keys(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    filter_keys(&input, args, false)
}

fn keep_keys(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    filter_keys(&input, args, true)
}
