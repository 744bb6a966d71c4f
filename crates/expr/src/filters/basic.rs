//! Conversions, defaults and random choices.

use std::sync::Arc;

use debark_value::Value;

use super::{Filter, strict, tolerant};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::random::Dice;
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[
    tolerant("default", default),
    tolerant("d", default),
    tolerant("mandatory", mandatory),
    strict("int", int),
    strict("float", float),
    strict("string", string),
    strict("bool", boolean),
    strict("abs", abs),
    strict("round", round),
    strict("type_debug", type_debug),
    strict("ternary", ternary),
    strict("random", random),
    strict("shuffle", shuffle),
    strict("undef", undef),
    strict("safe", same),
    strict(crate::CLOSED, |_, v, _| Err(Error::kind_of(v.to_text()?.to_string()))),
    strict("unvault", vault),
    strict("vault", vault),
    strict("pprint", pprint),
    strict("attr", attr),
    strict("strftime", crate::time::strftime),
    strict("to_datetime", crate::time::to_datetime),
];

fn same(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    Ok(input)
}

fn default(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let falsy = match args.get(1, "boolean") {
        Some(flag) => flag.to_value()?.truthy() && input.unknown().is_none(),
        None => false,
    };
    let replace = input.is_undef()
        || falsy
            && match &input {
                V::Data(value) => !value.truthy(),
                V::Seq(items) | V::Tuple(items) => items.is_empty(),
                _ => false,
            };
    if !replace {
        return Ok(input);
    }
    Ok(args.get(0, "default_value").cloned().unwrap_or_else(|| V::from("")))
}

fn mandatory(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    if let V::Undef(undef) = &input {
        return Err(match args.text(0, "msg")? {
            Some(message) => Error::undefined(&undef.name, None).saying(&message),
            None => Error::undefined(&undef.name, undef.hint.clone())
                .saying(&format!("the mandatory variable '{}' is not defined", undef.name)),
        });
    }
    Ok(input)
}

fn undef(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    Ok(V::undef(&*input.to_text()?))
}

fn vault(_: &mut Ctx<'_>, _: V, _: &Args) -> Res<V> {
    Err(Error::call("works only where vault passwords are: on the controller, in variables files"))
}

fn int(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let default = args.get(0, "default").cloned().unwrap_or_else(|| V::from(0));
    let base = args.int(1, "base")?.unwrap_or(10);
    let found = match input.to_value()? {
        Value::Int(number) => Some(number),
        Value::Bool(flag) => Some(i64::from(flag)),
        Value::Float(number) if number.is_finite() => Some(number as i64),
        Value::Str(text) => whole(&text, base),
        _ => None,
    };
    Ok(found.map_or(default, V::from))
}

fn whole(text: &str, base: i64) -> Option<i64> {
    let text = text.trim().replace('_', "");
    let (digits, negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text.strip_prefix('+').unwrap_or(&text), false),
    };
    let prefix = match base {
        2 => "0b",
        8 => "0o",
        16 => "0x",
        _ => "",
    };
    let lower = digits.to_ascii_lowercase();
    let digits = if prefix.is_empty() { &lower } else { lower.strip_prefix(prefix).unwrap_or(&lower) };
    let radix = u32::try_from(base).ok().filter(|radix| (2..=36).contains(radix))?;
    let number = match i64::from_str_radix(digits, radix) {
        Ok(number) => Some(number),
        // `'42.7' | int` is 42.
        Err(_) if base == 10 => {
            digits.parse::<f64>().ok().filter(|n| n.is_finite()).map(|number| number as i64)
        }
        Err(_) => None,
    }?;
    Some(if negative { -number } else { number })
}

fn float(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let default = args.get(0, "default").cloned().unwrap_or_else(|| V::from(0.0));
    Ok(match input.to_value()? {
        Value::Bool(flag) => V::from(f64::from(u8::from(flag))),
        Value::Str(text) => text.trim().replace('_', "").parse::<f64>().map_or(default, V::from),
        other => other.to_float().map_or(default, V::from),
    })
}

fn string(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    input.to_text().map(|text| V::Data(Value::Str(text)))
}

fn boolean(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    Ok(match input.to_value()? {
        Value::Null => V::NULL,
        Value::Bool(flag) => V::from(flag),
        // Until 2.18 anything that is no word for true is false.
        other => V::from(other.to_bool().unwrap_or(false)),
    })
}

fn abs(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    match input.to_value()? {
        Value::Int(number) => Ok(number.checked_abs().map_or_else(|| V::from(number as f64), V::from)),
        Value::Float(number) => Ok(V::from(number.abs())),
        Value::Bool(flag) => Ok(V::from(i64::from(flag))),
        other => Err(Error::call(format!("needs a number, not {}", ops::article(&other)))),
    }
}

fn round(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let value = input.to_value()?;
    let number = match value {
        Value::Str(_) => {
            return Err(Error::call("needs a number, not a text").hinted("convert it with '| float' first"));
        }
        ref other => other
            .to_float()
            .map_err(|_| Error::call(format!("needs a number, not {}", ops::article(other))))?,
    };
    let precision = args.int(0, "precision")?.unwrap_or(0).clamp(-300, 300) as i32;
    let method = args.text(1, "method")?.unwrap_or_else(|| "common".into());
    let scale = 10f64.powi(precision);
    let result = match &*method {
        "ceil" => (number * scale).ceil() / scale,
        "floor" => (number * scale).floor() / scale,
        "common" if precision >= 0 => {
            // Printing rounds correctly, ties to even of the exact binary value, as Python's round() does.
            let places = usize::try_from(precision).unwrap_or(0);
            format!("{number:.places$}").parse().unwrap_or(number)
        }
        "common" => (number * scale).round_ties_even() / scale,
        other => return Err(Error::call(format!("knows the methods common, ceil and floor, not '{other}'"))),
    };
    // An integer stays one, as Python's round(int, 0) does.
    if matches!(value, Value::Int(_)) && &*method == "common" {
        return Ok(V::from(result as i64));
    }
    Ok(V::from(result))
}

fn type_debug(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    Ok(V::from(match &input {
        V::Data(Value::Null) => "NoneType",
        other => other.type_name(),
    }))
}

fn ternary(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    if input.is_null()
        && let Some(value) = args.get(2, "none_val").filter(|value| !value.is_null())
    {
        return Ok(value.clone());
    }
    let (place, name) = if ctx.truthy(&input)? { (0, "true_val") } else { (1, "false_val") };
    args.need(place, name).cloned()
}

fn attr(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let name = args.need_text(0, "name")?;
    Ok(match input.to_value()?.get(&name) {
        Some(value) => V::Data(value.clone()),
        None => V::undef(format!("attribute {name}")),
    })
}

fn pprint(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let mut out = String::new();
    ops::repr(&input.to_value()?, &mut out)?;
    Ok(V::from(out))
}

pub(crate) fn random_below(limit: u64) -> u64 {
    Dice::unseeded().below(limit)
}

fn seeded(args: &Args) -> Res<Dice> {
    Ok(match args.value(usize::MAX, "seed")? {
        None | Some(Value::Null) => Dice::unseeded(),
        Some(Value::Int(seed)) => Dice::of_number(seed),
        Some(seed) => Dice::of_text(&ops::text(&seed)?),
    })
}

fn random(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let mut dice = seeded(args)?;
    if let V::Data(Value::Int(end)) = input {
        let start = args.int(0, "start")?.unwrap_or(0);
        let step = args.int(1, "step")?.unwrap_or(1).max(1);
        let count = (end - start).max(0) / step + i64::from((end - start) % step != 0);
        if count < 1 {
            return Err(Error::call("needs an end that is beyond the start"));
        }
        return Ok(V::from(start + dice.below(count.unsigned_abs()) as i64 * step));
    }
    let items = input.to_items()?;
    match items.get(dice.below(items.len().max(1) as u64) as usize) {
        Some(item) => Ok(V::Data(item.clone())),
        None => Ok(V::undef("the random item of an empty list")),
    }
}

fn shuffle(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let mut dice = seeded(args)?;
    let mut items = input.to_items()?;
    for at in (1..items.len()).rev() {
        items.swap(at, dice.below(at as u64 + 1) as usize);
    }
    Ok(V::Data(Value::List(Arc::new(items))))
}
