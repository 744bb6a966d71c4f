//! `json_query`: JMESPath (its specification, and what the library `jmespath` for Python makes of it).

mod parse;

use std::sync::Arc;

use debark_value::{Map, Order, Value};

use self::parse::{Items, Node, Parser, Token, json, wrong};
use super::{Filter, strict};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[strict("json_query", json_query)];

fn json_query(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let query = args.need_text(0, "expr")?;
    let node = Parser::new(&query)?.whole()?;
    let data = input.to_value()?;
    eval(ctx, &node, &data).map(V::Data)
}

/// What JMESPath takes as true: unlike Python, all numbers.
fn truth(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_)) || value.truthy()
}

fn eval(ctx: &mut Ctx<'_>, node: &Node, data: &Value) -> Res<Value> {
    ctx.burn(1)?;
    Ok(match node {
        Node::Current => data.clone(),
        Node::Literal(value) => value.clone(),
        Node::Field(name) => data.get(name).cloned().unwrap_or_default(),
        Node::Index(index) => {
            let items = data.as_list().unwrap_or_default();
            ops::place(*index, items.len()).and_then(|at| items.get(at).cloned()).unwrap_or_default()
        }
        Node::Slice([start, stop, step]) => {
            let Some(items) = data.as_list() else { return Ok(Value::Null) };
            let places = ops::slice(*start, *stop, *step, items.len())?;
            Value::from(places.iter().filter_map(|at| items.get(*at).cloned()).collect::<Vec<_>>())
        }
        Node::Then(left, right) => {
            let left = eval(ctx, left, data)?;
            eval(ctx, right, &left)?
        }
        Node::And(left, right) | Node::Or(left, right) => {
            let found = eval(ctx, left, data)?;
            if truth(&found) == matches!(node, Node::Or(..)) { found } else { eval(ctx, right, data)? }
        }
        Node::Not(inner) => Value::Bool(!truth(&eval(ctx, inner, data)?)),
        Node::Compare(Token::Sign(sign), left, right) => {
            let (left, right) = (eval(ctx, left, data)?, eval(ctx, right, data)?);
            compare(sign, &left, &right)?
        }
        Node::Compare(..) | Node::Reference(_) => return Err(wrong("'&' stands for no value")),
        Node::Each(items, left, right) => {
            let base = eval(ctx, left, data)?;
            let mut found = Vec::new();
            for item in each(items, &base).unwrap_or_default() {
                if let Items::If(condition) = items
                    && !truth(&eval(ctx, condition, &item)?)
                {
                    continue;
                }
                let value = eval(ctx, right, &item)?;
                if !value.is_null() {
                    found.push(value);
                }
            }
            if each(items, &base).is_none() { Value::Null } else { Value::from(found) }
        }
        Node::List(_) | Node::Dict(_) if data.is_null() => Value::Null,
        Node::List(nodes) => {
            Value::from(nodes.iter().map(|node| eval(ctx, node, data)).collect::<Res<Vec<_>>>()?)
        }
        Node::Dict(entries) => {
            let mut map = Map::new();
            for (key, node) in entries {
                map.insert(key.as_str().into(), eval(ctx, node, data)?);
            }
            Value::from(map)
        }
        Node::Call(name, args) => call(ctx, name, args, data).map_err(|error| error.about(name))?,
    })
}

fn each(items: &Items, base: &Value) -> Option<Vec<Value>> {
    Some(match (items, base) {
        (Items::Values, Value::Map(map)) => map.values().cloned().collect(),
        (Items::List | Items::If(_), Value::List(list)) => list.to_vec(),
        (Items::Flat, Value::List(list)) => {
            let mut flat = Vec::new();
            for item in list.iter() {
                match item {
                    Value::List(inner) => flat.extend(inner.iter().cloned()),
                    other => flat.push(other.clone()),
                }
            }
            flat
        }
        _ => return None,
    })
}

fn compare(sign: &str, left: &Value, right: &Value) -> Res<Value> {
    let kind = |value: &Value| matches!(value, Value::Bool(_));
    if let "==" | "!=" = sign {
        let same = kind(left) == kind(right) && ops::equal(left, right)?;
        return Ok(Value::Bool(same == (sign == "==")));
    }
    let number = |value: &Value| matches!(value, Value::Int(_) | Value::Float(_));
    if !number(left) || !number(right) {
        return Ok(Value::Null);
    }
    let order = ops::order(left, right)?;
    Ok(Value::Bool(match sign {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// JMESPath's name of a type.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Str(_) => "string",
        Value::Bool(_) => "boolean",
        Value::List(_) => "array",
        Value::Map(_) => "object",
        Value::Int(_) | Value::Float(_) => "number",
        _ => "null",
    }
}

fn needs(what: &str, value: &Value) -> Error {
    Error::call(format!("needs {what} in its query, not {}", ops::article(value)))
}

fn items(value: &Value) -> Res<&[Value]> {
    value.as_list().ok_or_else(|| needs("a list", value))
}

fn string(value: &Value) -> Res<&str> {
    value.as_str().ok_or_else(|| needs("a text", value))
}

fn number(value: &Value) -> Res<f64> {
    match value {
        Value::Int(number) => Ok(*number as f64),
        Value::Float(number) => Ok(*number),
        other => Err(needs("a number", other)),
    }
}

fn call(ctx: &mut Ctx<'_>, name: &str, args: &[Node], data: &Value) -> Res<Value> {
    let wanted = match name {
        "map" | "contains" | "starts_with" | "ends_with" | "join" | "sort_by" | "min_by" | "max_by" => 2,
        "abs" | "avg" | "ceil" | "floor" | "keys" | "length" | "max" | "min" | "reverse" | "sort" | "sum"
        | "to_array" | "to_number" | "to_string" | "type" | "values" => 1,
        "merge" | "not_null" => args.len().max(1),
        _ => return Err(wrong(&format!("there is no function '{name}'"))),
    };
    if args.len() != wanted {
        return Err(wrong(&format!("'{name}' takes {wanted} arguments")));
    }
    let (mut given, mut applied) = (Vec::new(), &Node::Current);
    for arg in args {
        match arg {
            Node::Reference(node) => applied = node,
            node => given.push(eval(ctx, node, data)?),
        }
    }
    let (null, second) = (Value::Null, given.get(1).cloned().unwrap_or_default());
    let first = given.first().unwrap_or(&null);
    Ok(match name {
        "map" => {
            let mapped = items(first)?.iter().map(|item| eval(ctx, applied, item));
            Value::from(mapped.collect::<Res<Vec<_>>>()?)
        }
        "max" | "min" | "sort" | "max_by" | "min_by" | "sort_by" => {
            let mut keyed = Vec::new();
            for item in items(first)? {
                let key = eval(ctx, applied, item)?;
                if !matches!(kind(&key), "string" | "number") {
                    return Err(needs("texts or numbers", &key));
                }
                keyed.push((key, item.clone()));
            }
            if keyed.windows(2).any(|pair| kind(&pair[0].0) != kind(&pair[1].0)) {
                return Err(wrong("texts and numbers have no order"));
            }
            // Of equal ones the first is taken.
            let most = name.starts_with("max");
            keyed.order_by(|(a, _), (b, _)| {
                let order = ops::order(a, b).unwrap_or(std::cmp::Ordering::Equal);
                if most { order.reverse() } else { order }
            });
            let mut sorted = keyed.into_iter().map(|(_, item)| item);
            if name.starts_with("sort") {
                Value::from(sorted.collect::<Vec<_>>())
            } else {
                sorted.next().unwrap_or_default()
            }
        }
        "contains" => match first {
            Value::Str(text) => Value::Bool(second.as_str().is_some_and(|part| text.contains(part))),
            other => Value::Bool(ops::holds(items(other)?, &second)?),
        },
        "starts_with" => Value::Bool(string(first)?.starts_with(string(&second)?)),
        "ends_with" => Value::Bool(string(first)?.ends_with(string(&second)?)),
        "join" => {
            let parts = items(&second)?.iter().map(string).collect::<Res<Vec<_>>>()?;
            Value::from(parts.join(string(first)?))
        }
        "abs" | "ceil" | "floor" => match first {
            Value::Int(number) if name == "abs" => Value::from(number.saturating_abs()),
            Value::Int(number) => Value::from(*number),
            other => match (number(other)?, name) {
                (number, "abs") => Value::Float(number.abs()),
                (number, "ceil") => Value::from(number.ceil() as i64),
                (number, _) => Value::from(number.floor() as i64),
            },
        },
        "sum" | "avg" => {
            let list = items(first)?;
            let total = list.iter().map(number).sum::<Res<f64>>()?;
            match name {
                "avg" if list.is_empty() => Value::Null,
                "avg" => Value::Float(total / list.len() as f64),
                _ if list.iter().all(|item| matches!(item, Value::Int(_))) => Value::from(total as i64),
                _ => Value::Float(total),
            }
        }
        "keys" => Value::list(ops::as_map(first)?.keys().map(|key| Value::Str(key.clone()))),
        "values" => Value::list(ops::as_map(first)?.values().cloned()),
        "length" => Value::from(match first {
            Value::Str(text) => text.chars().count(),
            Value::Map(map) => map.len(),
            other => items(other)?.len(),
        }),
        "merge" => {
            let mut merged = Map::new();
            for arg in &given {
                merged.extend(ops::as_map(arg)?.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            Value::from(merged)
        }
        "not_null" => given.iter().find(|value| !value.is_null()).cloned().unwrap_or_default(),
        "reverse" => match first {
            Value::Str(text) => Value::from(text.chars().rev().collect::<String>()),
            other => Value::from(items(other)?.iter().rev().cloned().collect::<Vec<_>>()),
        },
        "to_array" => match first {
            list @ Value::List(_) => list.clone(),
            other => Value::list([other.clone()]),
        },
        "to_number" => match first {
            Value::Str(text) => json(text).filter(|found| kind(found) == "number").unwrap_or_default(),
            other if kind(other) == "number" => other.clone(),
            _ => Value::Null,
        },
        "to_string" => match first {
            Value::Str(_) => first.clone(),
            other => Value::from(debark_value::to_json_string(other)),
        },
        _ => Value::Str(Arc::from(kind(first))),
    })
}

#[cfg(test)]
mod tests {
    use crate::filters::tests::rendered;

    const DOC: &str = "{'s': [{'n': 'a', 'up': true, 'p': 80, 't': ['x', 'y']}, {'n': 'b', 'up': false, 'p': 443, \
                       't': ['z']}], 'm': {'n': 2}}";

    fn ask(query: &str) -> String {
        let template =
            format!("{{{{ {DOC} | json_query({}) | to_json }}}}", serde_json::to_string(query).unwrap());
        rendered(&template).unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn queries_find_what_the_specification_says() {
        for (query, wanted) in [
            ("s[*].n", r#"["a", "b"]"#),
            ("s[0].p", "80"),
            ("nope.x", "null"),
            ("s[-1].n", r#""b""#),
            ("s[?up].n", r#"["a"]"#),
            ("s[?n==`b`].p", "[443]"),
            ("s[?n=='b'].p | [0]", "443"),
            ("s[?p>`100`].n", r#"["b"]"#),
            ("s[].{n: n, p: p}", r#"[{"n": "a", "p": 80}, {"n": "b", "p": 443}]"#),
            ("s[*].[n, p]", r#"[["a", 80], ["b", 443]]"#),
            ("s[].t[]", r#"["x", "y", "z"]"#),
            ("s[*].t[0]", r#"["x", "z"]"#),
            ("s[?!up && p>=`1`].n | [0]", r#""b""#),
            ("s[::-1].n", r#"["b", "a"]"#),
            ("m.* | [0]", "2"),
            ("*.n", "[2]"),
            ("sort_by(s, &p)[-1].n", r#""b""#),
            ("max_by(s, &p).n", r#""b""#),
            ("sum(s[].p)", "523"),
            ("join(`,`, s[].n)", r#""a,b""#),
            ("not_null(nope, m.n)", "2"),
            ("\"m\".n || `1`", "2"),
            ("length(s[?contains(t, `x`)])", "1"),
            ("map(&n, s)", r#"["a", "b"]"#),
            ("s[?up==`true`] | length(@)", "1"),
            ("{a: m.n, b: type(s)}", r#"{"a": 2, "b": "array"}"#),
            ("to_string(m)", r#""{\"n\":2}""#),
        ] {
            assert_eq!(ask(query), wanted, "{query}");
        }
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for query in ["", "s[", "s[?", "a b", "nope(s)", "sum(s)", "s[0", "'x", "length()", "a..b", "3", "&n"]
        {
            assert!(ask(query).starts_with("error: "), "{query}: {}", ask(query));
        }
        assert!(ask(&"(".repeat(500)).contains("too deeply"));
        assert!(ask(&"!".repeat(500)).contains("too deeply"));
        assert!(ask(&format!("a{}", ".a".repeat(100_000))).contains("too long"));
        assert!(ask(&format!("a{}", "[]".repeat(100_000))).contains("too long"));
    }
}
