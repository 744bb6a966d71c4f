//! `debug`, `assert`, `fail`, `validate_argument_spec`.

use debark_expr::Truth;
use debark_value::{Map, Value, map};
use debark_wire::Outcome;

use super::{Call, ok};
use crate::task::Done;

type Answer = Result<Done, String>;

/// `debug`: shows a message or a variable.
pub fn debug(call: &Call) -> Answer {
    let wanted = call.number("verbosity")?.unwrap_or(0.0);
    if f64::from(call.running.play.borrow().host.options.verbosity) < wanted {
        return Ok(Done::skipped("Verbosity threshold not met.", None));
    }
    let Some(var) = call.args.get("var").filter(|var| !var.is_null()) else {
        let msg = call.args.get("msg").cloned().unwrap_or_else(|| "Hello world!".into());
        return Ok(ok(map! { "msg" => msg, "changed" => false }, false));
    };
    let engine = &call.running.on.engine;
    let (name, value) = match var {
        Value::Str(text) if debark_expr::is_template(text) => {
            (text.to_string(), engine.render_value(var, call.scope))
        }
        Value::Str(text) => (text.to_string(), engine.eval(text, call.scope)),
        other => (other.to_string(), engine.render_value(other, call.scope)),
    };
    let value = value.unwrap_or_else(|_| "VARIABLE IS NOT DEFINED!".into());
    let shown = format!("{name} = {}", debark_value::to_json_string(&value));
    Ok(ok(map! { name.as_str() => value, "msg" => shown, "changed" => false }, false))
}

/// `assert`: fails unless all conditions hold.
pub fn assert(call: &Call) -> Answer {
    let conditions = match call.args.get("that") {
        Some(Value::List(items)) => items.to_vec(),
        Some(Value::Str(text)) if debark_expr::is_template(text) => {
            let value = Value::Str(text.clone());
            match call.running.on.engine.render_value(&value, call.scope).map_err(|e| e.to_string())? {
                Value::List(items) => items.to_vec(),
                other => vec![other],
            }
        }
        Some(one) => vec![one.clone()],
        None => return Err("assert needs the parameter `that`".into()),
    };
    let mut unknown = None;
    for condition in &conditions {
        let holds = call.running.on.engine.test(condition, call.scope);
        match holds.map_err(|e| format!("the assertion `{condition}` cannot be decided: {e}"))? {
            Truth::True => {}
            Truth::Unknown(reason) => unknown = Some(reason),
            Truth::False => {
                let given = call.args.get("fail_msg").or_else(|| call.args.get("msg"));
                let msg = given
                    .cloned()
                    .unwrap_or_else(|| format!("the assertion `{condition}` does not hold").into());
                let result = map! {
                    "assertion" => condition.clone(), "evaluated_to" => false, "changed" => false, "failed" => true,
                    "msg" => msg,
                };
                return Ok(Done::of(Outcome { result, failed: true, ..Outcome::default() }));
            }
        }
    }
    if let Some(reason) = unknown {
        return Ok(Done::unknown(&reason));
    }
    let msg = call.args.get("success_msg").cloned().unwrap_or_else(|| "All assertions passed".into());
    Ok(ok(map! { "msg" => msg, "changed" => false }, false))
}

/// `fail`: fails with a message.
pub fn fail(call: &Call) -> Answer {
    let msg = call.text("msg").unwrap_or_else(|| "Failed as requested from task".into());
    Ok(Done::failed(msg, None))
}

/// `validate_argument_spec`: checks variables against a role's declared arguments.
pub fn validate_argument_spec(call: &Call) -> Answer {
    let spec = call.args.get("argument_spec").and_then(Value::as_map).cloned().unwrap_or_default();
    let given = call.args.get("provided_arguments").and_then(Value::as_map).cloned();
    let mut errors = Vec::new();
    for (name, option) in &spec {
        let value = match &given {
            Some(given) if given.contains_key(name) => given.get(name).cloned(),
            _ if call.scope.get_raw(name).is_some() => Some(
                call.running
                    .on
                    .engine
                    .eval(name, call.scope)
                    .map_err(|e| format!("the argument `{name}`: {e}"))?,
            ),
            _ => None,
        };
        check_option(name, option, value.as_ref(), &mut errors);
    }
    let context = call.args.get("validate_args_context").cloned().unwrap_or(Value::Null);
    if errors.is_empty() {
        let msg = "The arg spec validation passed";
        return Ok(ok(map! { "msg" => msg, "changed" => false, "validate_args_context" => context }, false));
    }
    let result = map! {
        "msg" => format!("the role's arguments do not fit: {}", errors.join("; ")),
        "argument_errors" => Value::list(errors), "argument_spec_data" => spec, "validate_args_context" => context,
        "failed" => true, "changed" => false,
    };
    Ok(Done::of(Outcome { result, failed: true, ..Outcome::default() }))
}

/// Checks one argument against its declaration (`type`, `required`, `choices`, `elements`, `options`).
fn check_option(name: &str, option: &Value, value: Option<&Value>, errors: &mut Vec<String>) {
    let truthy = |key: &str| option.get(key).is_some_and(Value::truthy);
    let Some(value) = value.filter(|value| !value.is_null()) else {
        if truthy("required") {
            errors.push(format!("`{name}` is required"));
        }
        return;
    };
    let kind = option.get("type").and_then(Value::as_str).unwrap_or("str");
    if let Err(why) = fits(kind, value) {
        return errors.push(format!("`{name}` {why}"));
    }
    if let Some(choices) = option.get("choices").and_then(Value::as_list) {
        let chosen = |value: &Value| choices.iter().any(|c| c == value || c.to_string() == value.to_string());
        let all = if let Value::List(items) = value { items.iter().all(chosen) } else { chosen(value) };
        if !all {
            let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
            errors.push(format!("`{name}` must be one of {}, got {value}", choices.join(", ")));
        }
    }
    let elements = option.get("elements").and_then(Value::as_str);
    let options = option.get("options").and_then(Value::as_map);
    match value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = format!("{name}[{index}]");
                if let Some(Err(why)) = elements.map(|kind| fits(kind, item)) {
                    errors.push(format!("`{name}` {why}"));
                }
                if let (Some(options), Some(map)) = (options, item.as_map()) {
                    check_options(&name, options, map, errors);
                }
            }
        }
        Value::Map(map) => {
            if let Some(options) = options {
                check_options(name, options, map, errors);
            }
        }
        _ => {}
    }
}

fn check_options(name: &str, options: &Map, given: &Map, errors: &mut Vec<String>) {
    for (key, option) in options {
        check_option(&format!("{name}.{key}"), option, given.get(key), errors);
    }
    if let Some(unknown) = given.keys().find(|key| !options.contains_key(*key)) {
        errors.push(format!("`{name}` has no option `{unknown}`"));
    }
}

fn fits(kind: &str, value: &Value) -> Result<(), String> {
    let said = |e: debark_value::Coercion| e.to_string();
    match kind {
        // Whatever is no text has one: ansible-core converts it (`check_type_str`).
        "str" | "path" => Ok(()),
        "bool" => value.to_bool().map(drop).map_err(said),
        "int" => value.to_int().map(drop).map_err(said),
        "float" => value.to_float().map(drop).map_err(said),
        "list" => value.to_list().map(drop).map_err(said),
        "dict" if value.as_map().is_none() => Err(format!("wants a mapping, got {}", value.type_name())),
        _ => Ok(()),
    }
}
