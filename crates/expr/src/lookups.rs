//! Lookups. Those that need nothing but variables are answered here, the others by the caller.

use std::sync::Arc;

use debark_value::{Map, Value, map};

use crate::error::{Error, ErrorKind, Res};
use crate::eval::{Args, Ctx};
use crate::value::V;
use crate::{filters, included, ops};

/// All lookups there are: those answered here, and those of the controller.
pub const KNOWN: [&str; 27] = [
    "cartesian",
    "config",
    "csvfile",
    "dict",
    "env",
    "file",
    "fileglob",
    "first_found",
    "flattened",
    "indexed_items",
    "ini",
    "inventory_hostnames",
    "items",
    "lines",
    "list",
    "nested",
    "password",
    "pipe",
    "random_choice",
    "sequence",
    "subelements",
    "template",
    "together",
    "unvault",
    "url",
    "varnames",
    "vars",
];

/// The name without its collection.
pub(crate) fn short(name: &str) -> &str {
    name.strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.legacy."))
        .or_else(|| name.strip_prefix("community.general."))
        .unwrap_or(name)
}

/// `lookup(...)`, `query(...)`
pub(crate) fn call(ctx: &mut Ctx<'_>, args: &Args, query: bool) -> Res<V> {
    let name = args.need_text(0, "name")?;
    let name = short(&name).to_owned();
    let wantlist =
        query || args.named("wantlist").map_or(Ok(false), |flag| flag.to_value().map(|v| v.truthy()))?;
    let errors = args.text(usize::MAX, "errors")?.unwrap_or_else(|| "strict".into());
    let mut rest = args.after(1);
    rest.kw.retain(|(key, _)| !matches!(&**key, "wantlist" | "errors"));
    let result = match run(ctx, &name, &rest) {
        Ok(result) => result,
        Err(error) if &*errors != "strict" && error.unknown_reason().is_none() => {
            return Ok(if wantlist { V::from(Vec::new()) } else { V::NULL });
        }
        Err(error) => return Err(error),
    };
    if let Some(reason) = result.unknown() {
        return Ok(V::Data(Value::Unknown(reason.clone())));
    }
    Ok(V::Data(match (result, wantlist) {
        (list @ Value::List(_), true) => list,
        (other, true) => Value::list([other]),
        (Value::List(items), false) => joined(&items)?,
        (other, false) => other,
    }))
}

/// What `lookup` makes of several results: one stays what it is, texts are joined with commas.
fn joined(items: &Arc<Vec<Value>>) -> Res<Value> {
    if let [only] = items.as_slice() {
        return Ok(only.clone());
    }
    if items.iter().all(|item| matches!(item, Value::Str(_))) {
        let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
        return Ok(Value::from(texts.join(",")));
    }
    Ok(Value::List(items.clone()))
}

fn run(ctx: &mut Ctx<'_>, name: &str, args: &Args) -> Res<Value> {
    if name == "vars" {
        return vars(ctx, args);
    }
    let mut terms = Vec::with_capacity(args.pos.len());
    for term in &args.pos {
        term.usable()?;
        terms.push(ctx.force(term.clone())?);
    }
    if let Some(result) = local(ctx, name, &terms, args)? {
        return Ok(result);
    }
    let kwargs: Map =
        args.kw.iter().map(|(key, value)| Ok((key.clone(), value.to_value()?))).collect::<Res<_>>()?;
    ctx.engine
        .services()
        .lookup(name, &terms, &kwargs, ctx.scope)
        .map_err(|reason| Error::new(ErrorKind::Lookup, reason))
}

fn vars(ctx: &mut Ctx<'_>, args: &Args) -> Res<Value> {
    let default = args.value(usize::MAX, "default")?;
    let mut found = Vec::new();
    for name in &args.pos {
        let name = name.to_text()?;
        let local = ctx.local(&name).cloned();
        let value = match local {
            Some(value) => Some(value),
            None => ctx.variable(&name)?,
        };
        found.push(match (value, &default) {
            (Some(value), _) => ctx.force(value)?,
            (None, Some(default)) => default.clone(),
            (None, None) => return Err(Error::undefined(&name, None)),
        });
    }
    Ok(match <[Value; 1]>::try_from(found) {
        // A list stays one value rather than several results.
        Ok([only @ Value::List(_)]) => Value::list([only]),
        Ok([only]) => only,
        Err(found) => Value::from(found),
    })
}

/// The items of `with_NAME`.
/// The terms of `with_first_found`: one that names what is undefined names no file.
pub(crate) fn defined_members(ctx: &mut Ctx<'_>, terms: &[Value]) -> Res<Value> {
    let mut defined = Vec::with_capacity(terms.len());
    for term in terms {
        match ctx.render_members(term) {
            Ok(value) => defined.push(value),
            Err(error) if matches!(error.kind(), ErrorKind::Undefined { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Value::list(defined))
}

pub(crate) fn with(ctx: &mut Ctx<'_>, name: &str, terms: Value, mut kwargs: Map) -> Res<Value> {
    let name = short(name);
    if let Some(reason) = terms.unknown().filter(|_| matches!(terms, Value::Unknown(_))) {
        return Err(Error::unknown(reason));
    }
    let args: Vec<Value> = match (name, terms) {
        (_, Value::List(items)) => items.to_vec(),
        (_, other) => vec![other],
    };
    if name == "vars" {
        let names = Args { pos: args.into_iter().map(V::Data).collect(), kw: Vec::new() };
        return vars(ctx, &names).map(|found| if names.pos.len() > 1 { found } else { Value::list([found]) });
    }
    if let Some(result) = local(ctx, name, &args, &Args::default())? {
        return Ok(result);
    }
    kwargs.insert("wantlist".into(), true.into());
    let result = ctx
        .engine
        .services()
        .lookup(name, &args, &kwargs, ctx.scope)
        .map_err(|reason| Error::new(ErrorKind::Lookup, reason))?;
    Ok(match result {
        list @ (Value::List(_) | Value::Unknown(_)) => list,
        other => Value::list([other]),
    })
}

fn local(ctx: &mut Ctx<'_>, name: &str, terms: &[Value], args: &Args) -> Res<Option<Value>> {
    let items = |value: &Value| match value {
        Value::List(items) => items.to_vec(),
        other => vec![other.clone()],
    };
    Ok(Some(match name {
        "list" => Value::from(terms.to_vec()),
        "items" => Value::from(terms.iter().flat_map(items).collect::<Vec<_>>()),
        "flattened" => {
            let mut out = Vec::new();
            for term in terms {
                filters::flatten_into(term, usize::MAX, true, &mut out);
            }
            Value::from(out)
        }
        "dict" => {
            let mut out = Vec::new();
            for term in terms.iter().flat_map(items) {
                for (key, value) in ops::as_map(&term)?.iter() {
                    out.push(Value::from(map! { "key" => key.clone(), "value" => value.clone() }));
                }
            }
            Value::from(out)
        }
        "indexed_items" => {
            let all = terms.iter().flat_map(items).enumerate();
            Value::from(all.map(|(at, item)| Value::list([Value::from(at), item])).collect::<Vec<_>>())
        }
        "nested" | "cartesian" => {
            let lists: Vec<Vec<Value>> = terms.iter().map(items).collect();
            Value::from(filters::product_of(ctx, &lists, name == "nested")?)
        }
        "together" => {
            let lists: Vec<Vec<Value>> = terms.iter().map(items).collect();
            let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
            let row = |at: usize| {
                Value::from(
                    lists.iter().map(|list| list.get(at).cloned().unwrap_or_default()).collect::<Vec<_>>(),
                )
            };
            Value::from((0..longest).map(row).collect::<Vec<_>>())
        }
        "subelements" => {
            let path = terms.get(1).cloned().unwrap_or_default();
            let skip = terms.get(2).and_then(|flags| flags.get("skip_missing")).is_some_and(Value::truthy);
            let path = ops::text(&path)?;
            let mut rows = filters::subelements_of(terms.first().unwrap_or(&Value::Null), &path, skip)?;
            // Unlike the filter's, the lookup's elements come without the list that was taken apart.
            if let Value::List(rows) = &mut rows {
                for row in Arc::make_mut(rows) {
                    if let Value::List(pair) = row
                        && let Some(element) = Arc::make_mut(pair).first_mut()
                    {
                        take_out(element, &path);
                    }
                }
            }
            rows
        }
        "random_choice" => match terms.get(filters::random_below(terms.len().max(1) as u64) as usize) {
            Some(item) => Value::list([item.clone()]),
            None => Value::from(Vec::new()),
        },
        "sequence" => sequence(ctx, terms, args)?,
        "template" => included::templates(ctx, terms, args)?,
        "varnames" => {
            let mut found: Vec<Value> = Vec::new();
            for term in terms {
                let regex =
                    crate::regex::compile(&ops::text(term)?, Default::default()).map_err(Error::kind_of)?;
                for name in ctx.scope.names() {
                    if regex.is_match(&**name).unwrap_or(false) {
                        found.push(Value::Str(name.clone()));
                    }
                }
            }
            Value::from(found)
        }
        _ => return Ok(None),
    }))
}

/// Removes what a path like `a.b` leads to.
fn take_out(element: &mut Value, path: &str) {
    let Value::Map(map) = element else { return };
    let map = Arc::make_mut(map);
    match path.split_once('.') {
        Some((first, rest)) => drop(map.get_mut(first).map(|inner| take_out(inner, rest))),
        None => drop(map.shift_remove(path)),
    }
}

/// `start=1 end=10 stride=2 format=...`, `10`, `1-10/2:format`, as options or as text.
fn sequence(ctx: &mut Ctx<'_>, terms: &[Value], args: &Args) -> Res<Value> {
    let mut out = Vec::new();
    let given: Vec<String> = if terms.is_empty() {
        vec![String::new()]
    } else {
        terms.iter().map(ops::text).collect::<Res<_>>()?
    };
    for term in given {
        let (mut start, mut end, mut stride, mut count) = (1i64, None, None, None);
        let mut format: Arc<str> = "%d".into();
        let bad = || Error::call(format!("does not understand the sequence '{term}'"));
        let number = |text: &str| -> Res<i64> {
            let (text, negative) = text.strip_prefix('-').map_or((text, false), |text| (text, true));
            let value = text
                .strip_prefix("0x")
                .map_or_else(|| text.parse().ok(), |hex| i64::from_str_radix(hex, 16).ok())
                .ok_or_else(bad)?;
            Ok(if negative { -value } else { value })
        };
        let mut option = |key: &str, value: &str| -> Res<()> {
            match key {
                "start" => start = number(value)?,
                "end" => end = Some(number(value)?),
                "stride" => stride = Some(number(value)?),
                "count" => count = Some(number(value)?),
                "format" => format = value.into(),
                _ => return Err(bad()),
            }
            Ok(())
        };
        for (key, value) in &args.kw {
            option(key, &value.to_text()?)?;
        }
        if term.contains('=') {
            for part in term.split_whitespace() {
                let (key, value) = part.split_once('=').ok_or_else(bad)?;
                option(key, value)?;
            }
        } else if !term.is_empty() {
            let (range, text) = term.split_once(':').unwrap_or((&term, "%d"));
            format = text.into();
            let (range, by) = range.split_once('/').map_or((range, None), |(range, by)| (range, Some(by)));
            stride = by.map(number).transpose()?;
            match range.get(1..).and_then(|tail| tail.find('-')).map(|at| range.split_at(at + 1)) {
                Some((first, last)) => {
                    start = number(first)?;
                    end = Some(number(last.get(1..).unwrap_or_default())?);
                }
                None => end = Some(number(range)?),
            }
        }
        let stride = stride
            .unwrap_or_else(|| if end.is_some_and(|end| end < start) && count.is_none() { -1 } else { 1 });
        if let Some(count) = count {
            end = Some(if count == 0 { start - stride.signum() } else { start + (count - 1) * stride });
        }
        let end = end.ok_or_else(|| Error::call("needs 'end' or 'count' for a sequence"))?;
        if stride == 0 {
            return Err(Error::call("needs a stride that is not zero"));
        }
        let mut at = start;
        while if stride > 0 { at <= end } else { at >= end } {
            ctx.burn(4)?;
            if out.len() > 1 << 22 {
                return Err(ops::too_large());
            }
            out.push(Value::from(crate::format::percent(&format, &V::from(at))?));
            at = at.saturating_add(stride);
        }
    }
    Ok(Value::from(out))
}
