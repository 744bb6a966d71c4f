//! Lists: order, parts, sets.

use std::cmp::Ordering;

use debark_value::Order;
use debark_value::Value;

use super::{Filter, select, strict, tolerant};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::value::{Thing, V};

pub(super) const TABLE: &[Filter] = &[
    tolerant("list", list),
    tolerant("length", length),
    tolerant("count", length),
    tolerant("first", first),
    tolerant("last", last),
    strict("join", join),
    strict("sort", sort),
    strict("reverse", reverse),
    strict("unique", unique),
    strict("union", union),
    strict("intersect", intersect),
    strict("difference", difference),
    strict("symmetric_difference", symmetric_difference),
    strict("lists_union", lists_union),
    strict("lists_intersect", lists_intersect),
    strict("lists_difference", lists_difference),
    strict("lists_symmetric_difference", lists_symmetric_difference),
    strict("min", min),
    strict("max", max),
    strict("sum", sum),
    strict("flatten", flatten),
    strict("batch", batch),
    strict("slice", slice),
];

fn list(ctx: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    match input {
        // Undefined and unknown members stay what they are until they are used.
        V::Seq(_) => Ok(input),
        other => ctx.iterate(other).map(V::list),
    }
}

fn length(ctx: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    input.usable()?;
    let length = match &input {
        V::Data(Value::Str(text)) => text.chars().count(),
        V::Data(Value::List(items)) => items.len(),
        V::Data(Value::Map(map)) => map.len(),
        V::Seq(items) | V::Tuple(items) => items.len(),
        V::Thing(thing) if matches!(**thing, Thing::HostVars | Thing::Vars | Thing::Own) => {
            ctx.iterate(input)?.len()
        }
        V::Thing(_) => return Err(Error::call("needs a text, a list or a dictionary")),
        other => {
            return Err(Error::call(format!(
                "needs a text, a list or a dictionary, not {}",
                other.type_name()
            )));
        }
    };
    Ok(V::from(length as i64))
}

fn first(ctx: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let items = ctx.iterate(input)?;
    Ok(items.into_iter().next().unwrap_or_else(|| V::undef("the first item of an empty list")))
}

fn last(ctx: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let items = ctx.iterate(input)?;
    Ok(items.into_iter().next_back().unwrap_or_else(|| V::undef("the last item of an empty list")))
}

fn join(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let separator = args.text(0, "d")?.unwrap_or_else(|| "".into());
    let path = args.text(1, "attribute")?;
    let mut out = String::new();
    for (index, item) in ctx.iterate(input)?.into_iter().enumerate() {
        let item = match &path {
            Some(path) => select::attribute(&item, path),
            None => item,
        };
        out.push_str(if index > 0 { &separator } else { "" });
        item.usable()?;
        out.push_str(&item.to_text()?);
        if out.len() > ops::LARGEST {
            return Err(ops::too_large());
        }
    }
    Ok(V::from(out))
}

/// Lower case for texts, unless case matters.
pub(super) fn fold(value: &Value, case_sensitive: bool) -> Value {
    match value {
        Value::Str(text) if !case_sensitive => Value::from(text.to_lowercase()),
        other => other.clone(),
    }
}

/// Sorts, stable, and reports the first pair that has no order.
pub(super) fn sort_with<T>(
    items: &mut [T],
    reverse: bool,
    mut compare: impl FnMut(&T, &T) -> Res<Ordering>,
) -> Res<()> {
    let mut failed = None;
    items.order_by(|a, b| {
        let order = compare(a, b).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    failed.map_or(Ok(()), Err)
}

/// Python's `list.sort()`.
pub(crate) fn sort_values(items: &mut [Value], reverse: bool) -> Res<()> {
    sort_with(items, reverse, ops::order)
}

pub(super) fn sort_by_key(items: &mut [(Value, Value)], reverse: bool, case_sensitive: bool) -> Res<()> {
    sort_with(items, reverse, |(a, _), (b, _)| ops::order(&fold(a, case_sensitive), &fold(b, case_sensitive)))
}

fn sort(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let reverse = args.flag(0, "reverse")?;
    let case_sensitive = args.flag(1, "case_sensitive")?;
    let items = input.to_items()?;
    let Some(paths) = args.text(2, "attribute")? else {
        let mut keyed: Vec<(Value, Value)> = items.into_iter().map(|item| (item.clone(), item)).collect();
        sort_by_key(&mut keyed, reverse, case_sensitive)?;
        return Ok(V::from(keyed.into_iter().map(|(_, item)| item).collect::<Vec<_>>()));
    };
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        let mut keys = Vec::new();
        for path in paths.split(',') {
            let key = select::attribute(&V::Data(item.clone()), path.trim()).to_value()?;
            keys.push(fold(&key, case_sensitive));
        }
        keyed.push((Value::from(keys), item));
    }
    sort_by_key(&mut keyed, reverse, true)?;
    Ok(V::from(keyed.into_iter().map(|(_, item)| item).collect::<Vec<_>>()))
}

fn reverse(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    if let V::Data(Value::Str(text)) = &input {
        return Ok(V::from(text.chars().rev().collect::<String>()));
    }
    let mut items = input.to_items()?;
    items.reverse();
    Ok(V::from(items))
}

/// Membership that stays fast on long lists of texts and numbers.
struct Set<'a> {
    texts: std::collections::HashSet<&'a str>,
    others: Vec<&'a Value>,
}

impl<'a> Set<'a> {
    fn of(items: &'a [Value]) -> Self {
        let mut set = Self { texts: Default::default(), others: Vec::new() };
        for item in items {
            match item {
                Value::Str(text) => {
                    set.texts.insert(text);
                }
                other => set.others.push(other),
            }
        }
        set
    }

    fn has(&self, item: &Value) -> Res<bool> {
        if let Value::Str(text) = item {
            return Ok(self.texts.contains(&**text));
        }
        for other in &self.others {
            if ops::equal(other, item)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Each item once, in order of first appearance.
fn distinct(items: Vec<Value>) -> Res<Vec<Value>> {
    let mut texts = std::collections::HashSet::new();
    let mut out: Vec<Value> = Vec::new();
    let mut others: Vec<usize> = Vec::new();
    for item in items {
        let seen = match &item {
            Value::Str(text) => !texts.insert(text.clone()),
            _ => {
                let mut seen = false;
                for at in &others {
                    seen = seen || ops::equal(&out[*at], &item)?;
                }
                if !seen {
                    others.push(out.len());
                }
                seen
            }
        };
        if !seen {
            out.push(item);
        }
    }
    Ok(out)
}

fn unique(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let case_sensitive = args.flag(0, "case_sensitive")?;
    let path = args.text(1, "attribute")?;
    let items = input.to_items()?;
    if case_sensitive && path.is_none() {
        return distinct(items).map(V::from);
    }
    let mut seen: Vec<Value> = Vec::new();
    let mut out = Vec::new();
    for item in items {
        let key = match &path {
            Some(path) => select::attribute(&V::Data(item.clone()), path).to_value()?,
            None => item.clone(),
        };
        let key = fold(&key, case_sensitive);
        if !ops::holds(&seen, &key)? {
            seen.push(key);
            out.push(item);
        }
    }
    Ok(V::from(out))
}

fn other(args: &Args) -> Res<Vec<Value>> {
    args.need(0, "other")?.to_items()
}

fn union_of(a: Vec<Value>, b: Vec<Value>) -> Res<Vec<Value>> {
    distinct(a.into_iter().chain(b).collect())
}

fn within(a: Vec<Value>, b: &[Value], wanted: bool) -> Res<Vec<Value>> {
    let set = Set::of(b);
    let mut out = Vec::new();
    for item in distinct(a)? {
        if set.has(&item)? == wanted {
            out.push(item);
        }
    }
    Ok(out)
}

fn symmetric(a: Vec<Value>, b: Vec<Value>) -> Res<Vec<Value>> {
    let mut out = within(a.clone(), &b, false)?;
    out.extend(within(b, &a, false)?);
    Ok(out)
}

fn union(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    union_of(input.to_items()?, other(args)?).map(V::from)
}

fn intersect(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    within(input.to_items()?, &other(args)?, true).map(V::from)
}

fn difference(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    within(input.to_items()?, &other(args)?, false).map(V::from)
}

fn symmetric_difference(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    symmetric(input.to_items()?, other(args)?).map(V::from)
}

/// Folds the lists that are given, or those within the one list if `flatten` is set.
fn fold_lists(input: &V, args: &Args, combine: fn(Vec<Value>, Vec<Value>) -> Res<Vec<Value>>) -> Res<V> {
    let mut lists: Vec<Vec<Value>> =
        if args.named("flatten").is_some_and(|flag| flag.to_value().is_ok_and(|v| v.truthy())) {
            input.to_list()?.into_iter().map(|item| V::Data(item).to_items()).collect::<Res<_>>()?
        } else {
            vec![input.to_items()?]
        };
    for arg in &args.pos {
        lists.push(arg.to_items()?);
    }
    let mut lists = lists.into_iter();
    let mut result = lists.next().map_or(Ok(Vec::new()), distinct)?;
    for list in lists {
        result = combine(result, list)?;
    }
    Ok(V::from(result))
}

fn lists_union(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    fold_lists(&input, args, union_of)
}

fn lists_intersect(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    fold_lists(&input, args, |a, b| within(a, &b, true))
}

fn lists_difference(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    fold_lists(&input, args, |a, b| within(a, &b, false))
}

fn lists_symmetric_difference(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    fold_lists(&input, args, symmetric)
}

fn extreme(input: &V, args: &Args, wanted: Ordering) -> Res<V> {
    let case_sensitive = args.flag(0, "case_sensitive")?;
    let path = args.text(1, "attribute")?;
    let mut best: Option<(Value, Value)> = None;
    for item in input.to_items()? {
        let key = match &path {
            Some(path) => select::attribute(&V::Data(item.clone()), path).to_value()?,
            None => item.clone(),
        };
        let key = fold(&key, case_sensitive);
        let better = match &best {
            Some((known, _)) => ops::order(&key, known)? == wanted,
            None => true,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(|| V::undef("the extreme of an empty list"), |(_, item)| V::Data(item)))
}

fn min(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    extreme(&input, args, Ordering::Less)
}

fn max(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    extreme(&input, args, Ordering::Greater)
}

fn sum(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let path = args.text(0, "attribute")?;
    let mut total = args.get(1, "start").cloned().unwrap_or_else(|| V::from(0));
    for item in input.to_items()? {
        let value = match &path {
            Some(path) => V::Data(select::attribute(&V::Data(item), path).to_value()?),
            None => V::Data(item),
        };
        total = ops::binary(crate::syntax::ast::BinOp::Add, &total, &value)?;
    }
    Ok(total)
}

/// Takes lists within lists apart, so many levels deep.
pub(crate) fn flatten_into(value: &Value, levels: usize, skip_nulls: bool, out: &mut Vec<Value>) {
    match value {
        Value::List(items) => {
            for item in items.iter() {
                match item {
                    Value::List(_) if levels > 0 => flatten_into(item, levels - 1, skip_nulls, out),
                    Value::Null if skip_nulls => {}
                    Value::Str(text) if skip_nulls && matches!(&**text, "None" | "null") => {}
                    other => out.push(other.clone()),
                }
            }
        }
        other => out.push(other.clone()),
    }
}

fn flatten(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let levels = args.int(0, "levels")?.map_or(usize::MAX, |levels| usize::try_from(levels).unwrap_or(0));
    let skip_nulls = args.flag_or(1, "skip_nulls", true)?;
    let mut out = Vec::new();
    flatten_into(&Value::from(input.to_items()?), levels, skip_nulls, &mut out);
    Ok(V::from(out))
}

fn batch(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let size = args.count(0, "linecount")?.unwrap_or(0);
    if size == 0 {
        return Err(Error::call("needs a count above zero"));
    }
    let fill = args.value(1, "fill_with")?.filter(|fill| !fill.is_null());
    let items = input.to_items()?;
    let mut rows: Vec<Vec<Value>> = items.chunks(size).map(<[Value]>::to_vec).collect();
    if let (Some(fill), Some(last)) = (fill, rows.last_mut()) {
        last.resize(size.min(last.len() + (1 << 16)), fill);
    }
    Ok(V::from(rows.into_iter().map(Value::from).collect::<Vec<_>>()))
}

fn slice(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let count = args.count(0, "slices")?.unwrap_or(0).min(1 << 16);
    if count == 0 {
        return Err(Error::call("needs a count above zero"));
    }
    let fill = args.value(1, "fill_with")?.filter(|fill| !fill.is_null());
    let items = input.to_items()?;
    let (per, extra) = (items.len() / count, items.len() % count);
    let mut rest = items.into_iter();
    let mut out = Vec::with_capacity(count);
    for index in 0..count {
        let mut part: Vec<Value> = rest.by_ref().take(per + usize::from(index < extra)).collect();
        if let Some(fill) = &fill
            && index >= extra
            && extra > 0
        {
            part.push(fill.clone());
        }
        out.push(Value::from(part));
    }
    Ok(V::from(out))
}
