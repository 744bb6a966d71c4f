//! The functions every template can call.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};

use debark_value::{Map, Value};

use crate::error::{Error, ErrorKind, Res};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::value::{GlobalFn, Thing, Undef, V};
use crate::{lookups, time};

/// The longest `range()`.
const LONGEST_RANGE: i64 = 4_000_000;

const TABLE: &[(&str, GlobalFn)] = &[
    ("range", range),
    ("dict", dict),
    ("namespace", namespace),
    ("cycler", cycler),
    ("joiner", joiner),
    ("lookup", lookup),
    ("query", query),
    ("q", query),
    ("now", time::now),
    ("undef", undef),
    ("lipsum", lipsum),
];

pub(crate) fn find(name: &str) -> Option<(&'static str, GlobalFn)> {
    TABLE.iter().find(|(known, _)| *known == name).copied()
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

fn range(ctx: &mut Ctx<'_>, args: &Args) -> Res<V> {
    let (start, stop, step) = match args.named("end") {
        // Tera's `range(end=N, start=0, step_by=1)`.
        Some(end) => {
            let named = |name: &str| args.named(name).map(V::to_int).transpose();
            (named("start")?.unwrap_or(0), end.to_int()?, named("step_by")?)
        }
        None => {
            let first = args.need(0, "start")?.to_int()?;
            let stop = args.int(1, "stop")?;
            (stop.map_or(0, |_| first), stop.unwrap_or(first), args.int(2, "step")?)
        }
    };
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::call("needs a step that is not zero"));
    }
    let span = if step > 0 { stop.saturating_sub(start) } else { start.saturating_sub(stop) };
    let count = span
        .max(0)
        .checked_add(step.saturating_abs() - 1)
        .map_or(i64::MAX, |span| span / step.saturating_abs());
    if count > LONGEST_RANGE {
        return Err(Error::new(ErrorKind::Size, format!("a range of {count} numbers is too long"))
            .hinted(format!("the longest has {LONGEST_RANGE}")));
    }
    ctx.burn(usize::try_from(count).unwrap_or(0))?;
    Ok(V::from((0..count).map(|index| Value::Int(start + index * step)).collect::<Vec<_>>()))
}

fn dict(_: &mut Ctx<'_>, args: &Args) -> Res<V> {
    let mut map = Map::new();
    match args.value(0, "mapping")? {
        Some(Value::Map(given)) => map.clone_from(&given),
        Some(Value::List(pairs)) => {
            for pair in pairs.iter() {
                let Some([key, value]) = pair.as_list() else { return Err(Error::call("needs pairs")) };
                map.insert(ops::key(key)?, value.clone());
            }
        }
        None => {}
        Some(other) => return Err(Error::call(format!("needs a dictionary, not {}", ops::article(&other)))),
    }
    for (name, value) in &args.kw {
        map.insert(name.clone(), value.to_value()?);
    }
    Ok(V::from(map))
}

fn namespace(_: &mut Ctx<'_>, args: &Args) -> Res<V> {
    let mut entries = indexmap::IndexMap::new();
    if let Some(Value::Map(given)) = args.value(0, "mapping")? {
        entries.extend(given.iter().map(|(key, value)| (key.clone(), V::Data(value.clone()))));
    }
    entries.extend(args.kw.iter().cloned());
    Ok(V::thing(Thing::Namespace(Mutex::new(entries))))
}

fn cycler(_: &mut Ctx<'_>, args: &Args) -> Res<V> {
    Ok(V::thing(Thing::Cycler(args.pos.clone(), AtomicUsize::new(0))))
}

fn joiner(_: &mut Ctx<'_>, args: &Args) -> Res<V> {
    let separator = args.text(0, "sep")?.map_or_else(|| ", ".to_owned(), |sep| sep.to_string());
    Ok(V::thing(Thing::Joiner(separator, AtomicBool::new(false))))
}

fn lookup(ctx: &mut Ctx<'_>, args: &Args) -> Res<V> {
    lookups::call(ctx, args, false)
}

fn query(ctx: &mut Ctx<'_>, args: &Args) -> Res<V> {
    lookups::call(ctx, args, true)
}

fn undef(_: &mut Ctx<'_>, args: &Args) -> Res<V> {
    let hint = args.text(0, "hint")?;
    Ok(V::Undef(Arc::new(Undef {
        name: "undef()".into(),
        soft: false,
        hint: hint.map(|hint| hint.to_string()),
    })))
}

fn lipsum(_: &mut Ctx<'_>, _: &Args) -> Res<V> {
    Err(Error::call("is not supported: placeholder text has no place on a host"))
}
