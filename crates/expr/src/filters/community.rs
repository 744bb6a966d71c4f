//! Filters of community.general, which few playbooks use.

use debark_value::{Map, Order, Value};

use super::{Filter, strict};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::value::V;
use crate::version;

pub(super) const TABLE: &[Filter] = &[
    strict("lists_mergeby", lists_mergeby),
    strict("dict_kv", |_, v, args| {
        let mut map = Map::new();
        map.insert(args.need_text(0, "key")?, v.to_value()?);
        Ok(V::from(map))
    }),
    strict("replace_keys", replace_keys),
    strict("version_sort", version_sort),
    strict("from_csv", from_csv),
    strict("crc32", |_, v, _| Ok(V::from(format!("{:x}", crc32(v.to_text()?.as_bytes()))))),
    strict("to_time_unit", |_, v, args| {
        let unit = args.text(0, "unit")?.unwrap_or_else(|| "ms".into());
        time(&v, args, &unit)
    }),
    strict("to_milliseconds", |_, v, args| time(&v, args, "ms")),
    strict("to_seconds", |_, v, args| time(&v, args, "s")),
    strict("to_minutes", |_, v, args| time(&v, args, "m")),
    strict("to_hours", |_, v, args| time(&v, args, "h")),
    strict("to_days", |_, v, args| time(&v, args, "d")),
    strict("to_weeks", |_, v, args| time(&v, args, "w")),
    strict("to_months", |_, v, args| time(&v, args, "mo")),
    strict("to_years", |_, v, args| time(&v, args, "y")),
];

fn lists_mergeby(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let Some((index, more)) = args.pos.split_last() else {
        return Err(Error::call("needs a key to merge by"));
    };
    let index = index.to_text()?;
    let mut lists: Vec<Value> = Vec::new();
    for given in std::iter::once(&input).chain(more) {
        let list = given.to_items()?;
        match list.iter().all(|item| matches!(item, Value::List(_))) {
            true => lists.extend(list),
            false => lists.push(Value::from(list)),
        }
    }
    if lists.len() < 2 {
        return Ok(V::Data(lists.pop().unwrap_or_else(|| Value::from(Vec::new()))));
    }
    let mut merged: Vec<(Value, Value)> = Vec::new();
    for item in lists.iter().filter_map(Value::as_list).flatten() {
        let Some(key) = ops::as_map(item)?.get(&*index) else { continue };
        ctx.burn(merged.len())?;
        let place = merged.iter().position(|(known, _)| ops::equal(known, key).unwrap_or(false));
        match place.and_then(|place| merged.get_mut(place)) {
            Some((_, known)) => {
                let with = Args { pos: vec![V::Data(item.clone())], kw: args.kw.clone() };
                let both = ctx.filter("combine", V::Data(known.clone()), with)?;
                *known = both.to_value()?;
            }
            None => merged.push((key.clone(), item.clone())),
        }
    }
    merged.order_by(|(a, _), (b, _)| ops::order(a, b).unwrap_or(std::cmp::Ordering::Equal));
    Ok(V::from(merged.into_iter().map(|(_, item)| item).collect::<Vec<_>>()))
}

fn replace_keys(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let how = args.text(1, "matching_parameter")?.unwrap_or_else(|| "equal".into());
    let mut pairs = Vec::new();
    for target in args.need(0, "target")?.to_items()? {
        let part = |name: &str| {
            let found = target.get(name).and_then(Value::as_str).map(str::to_owned);
            found.ok_or_else(|| Error::call("needs 'before' and 'after' in each target"))
        };
        pairs.push((part("before")?, part("after")?));
    }
    let fits = |key: &str, before: &str| -> Res<bool> {
        Ok(match &*how {
            "equal" => key == before,
            "starts_with" => key.starts_with(before),
            "ends_with" => key.ends_with(before),
            "regex" => {
                let regex = crate::regex::compile(&format!("^(?:{before})"), Default::default());
                regex.map_err(Error::call)?.is_match(key).unwrap_or(false)
            }
            other => return Err(Error::call(format!("knows no matching_parameter '{other}'"))),
        })
    };
    let mut out = Vec::new();
    for element in input.to_items()? {
        let mut map = Map::new();
        for (key, value) in ops::as_map(&element)? {
            let mut name = key.clone();
            for (before, after) in &pairs {
                if fits(key, before)? {
                    name = after.as_str().into();
                    break;
                }
            }
            map.insert(name, value.clone());
        }
        out.push(Value::from(map));
    }
    Ok(V::from(out))
}

fn version_sort(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let mut items = input.to_items()?;
    super::list::sort_with(&mut items, false, |a, b| {
        version::loose(&a.to_string(), &b.to_string()).map_err(Error::call)
    })?;
    if args.flag(0, "reverse")? {
        items.reverse();
    }
    Ok(V::from(items))
}

/// Rows of a table as dictionaries; the first one names the columns.
fn from_csv(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    let delimiter = match (args.text(2, "delimiter")?, args.text(0, "dialect")?.as_deref()) {
        (Some(delimiter), _) => delimiter.chars().next().unwrap_or(','),
        (None, Some("excel-tab")) => '\t',
        (None, None | Some("excel" | "unix")) => ',',
        (None, Some(other)) => return Err(Error::call(format!("knows no dialect '{other}'"))),
    };
    let skip = args.flag(3, "skipinitialspace")?;
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            ' ' if !quoted && skip && field.is_empty() => {}
            c if c == delimiter && !quoted => row.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows.retain(|row| row.iter().any(|field| !field.is_empty()) || row.len() > 1);
    let mut rows = rows.into_iter();
    let names = match args.value(1, "fieldnames")? {
        Some(Value::List(names)) => names.iter().map(ops::text).collect::<Res<Vec<_>>>()?,
        _ => rows.next().unwrap_or_default(),
    };
    let table = rows.map(|row| {
        let mut row = row.into_iter();
        let entry = |name: &String| (name.as_str().into(), row.next().map_or(Value::Null, Value::from));
        Value::from(names.iter().map(entry).collect::<Map>())
    });
    Ok(V::from(table.collect::<Vec<_>>()))
}

/// The checksum of zlib and Ethernet (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn time(input: &V, args: &Args, unit: &str) -> Res<V> {
    let text = input.to_text()?;
    if &*text == "0" {
        return Ok(V::from(0));
    }
    let days = |name: &str, default: f64| -> Res<f64> {
        Ok(args.named(name).map(V::to_int).transpose()?.map_or(default, |days| days as f64))
    };
    let (month, year) = (days("month", 30.0)?, days("year", 365.0)?);
    let day = 86_400_000.0;
    let unknown = |unit: &str| Error::call(format!("knows no unit of time '{unit}'"));
    let factor = |unit: &str| -> Res<f64> {
        Ok(match unit {
            "s" => 1000.0,
            other => match other.trim_end_matches('s') {
                "m" if other == "ms" => 1.0,
                "millisecond" | "msec" | "msecond" => 1.0,
                "sec" | "second" => 1000.0,
                "m" | "min" | "minute" => 60_000.0,
                "h" | "hour" => 3_600_000.0,
                "d" | "day" => day,
                "w" | "week" => 7.0 * day,
                "mo" | "month" => month * day,
                "y" | "year" => year * day,
                _ => return Err(unknown(other)),
            },
        })
    };
    let mut total = 0.0;
    for part in text.split_whitespace() {
        let sign = usize::from(part.starts_with('-'));
        let end = part.get(sign..).and_then(|rest| rest.find(|c: char| !c.is_ascii_digit()));
        let (number, name) = part.split_at(sign + end.ok_or_else(|| unknown(part))?);
        total += number.parse::<f64>().map_err(|_| unknown(part))? * factor(name)?;
    }
    Ok(V::from((total / factor(unit)? * 1e12).round() / 1e12))
}

#[cfg(test)]
mod tests {
    use crate::filters::tests::rendered;

    #[test]
    fn rare_filters() {
        for (expression, wanted) in [
            (
                "[{'n': 'b', 'x': 1}, {'n': 'a'}] | lists_mergeby([{'n': 'b', 'y': 2}], 'n')",
                "[{'n': 'a'}, {'n': 'b', 'x': 1, 'y': 2}]",
            ),
            (
                "[[{'n': 1, 'l': [1]}], [{'n': 1, 'l': [2]}]] | community.general.lists_mergeby('n', list_merge='append')",
                "[{'n': 1, 'l': [1, 2]}]",
            ),
            ("[1] | dict_kv('k')", "{'k': [1]}"),
            (
                "[{'k1': 1, 'x': 2}] | replace_keys(target=[{'before': 'k1', 'after': 'z'}])",
                "[{'z': 1, 'x': 2}]",
            ),
            ("['1.10.0', '1.9.0'] | version_sort", "['1.9.0', '1.10.0']"),
            ("'a,b\n1,\"x, \"\"y\"\"\"\n' | from_csv", "[{'a': '1', 'b': 'x, \"y\"'}]"),
            ("'123456789' | crc32", "cbf43926"),
            ("'2h 5m' | to_minutes", "125.0"),
            ("'1d -1s' | to_seconds", "86399.0"),
            ("'1y' | to_time_unit('days', year=360)", "360.0"),
            ("'90' | to_time_unit == 90", "error"),
        ] {
            let found = rendered(&format!("{{{{ {expression} }}}}")).unwrap_or_else(|_| "error".into());
            assert_eq!(found, wanted, "{expression}");
        }
    }
}
