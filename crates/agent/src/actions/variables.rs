//! `set_fact`, `include_vars`, `set_stats`.

use debark_value::{Map, Value, map};
use debark_wire::{Answer, Event, Request};

use super::{Call, ok};
use crate::task::Done;

/// `set_fact`: sets variables of this host for the rest of the run.
pub fn set_fact(call: &Call) -> Result<Done, String> {
    let mut facts = Map::new();
    for (name, value) in call.args {
        if &**name == "cacheable" {
            continue;
        }
        let mut letters = name.chars();
        let first = letters.next().is_some_and(|c| c.is_alphabetic() || c == '_');
        if !first || !letters.all(|c| c.is_alphanumeric() || c == '_') {
            return Err(format!(
                "`{name}` is no variable name (letters, digits and underscores, no digit first)"
            ));
        }
        // `key=value` texts become booleans where they look like ones, as with Ansible.
        facts.insert(name.clone(), value.clone());
    }
    if facts.is_empty() {
        return Err("set_fact needs at least one `name: value`".into());
    }
    match call.running.facts_go_to(call.doing, call.scope)? {
        Some(host) => {
            let request =
                Request::SetFacts { task: call.doing.task.id, host, facts: facts.clone(), set: true };
            call.running.on.link.request(request)?;
        }
        None => {
            let mut state = call.running.on.state.borrow_mut();
            facts.iter().for_each(|(name, value)| state.set(name, value.clone()));
            if call.flag("cacheable", false)? {
                state.returned(facts.clone());
            }
            drop(state);
            call.running.share(|| facts.clone());
        }
    }
    let mut done = ok(map! { "changed" => false }, false);
    // Beside `ansible_facts`, which `take_facts` would prefix, the register has them as Ansible shows them.
    done.outcome.result.insert("ansible_facts".into(), Value::from(facts));
    Ok(done)
}

/// `include_vars`: variables from files beside the playbook.
pub fn include_vars(call: &Call) -> Result<Done, String> {
    let running = call.running;
    let role_path = running.on.remote.origin.borrow().role_path.clone();
    let answer = running.on.link.request(Request::IncludeVars { args: call.args.clone(), role_path })?;
    let Answer::Value(Value::Map(answer)) = answer else {
        return Err("the controller did not answer with variables".into());
    };
    let vars = answer.get("ansible_facts").and_then(Value::as_map).unwrap_or(&answer).clone();
    if let Some(secrets) = answer.get("_secrets") {
        running.on.secrets.borrow_mut().add_value(secrets);
    }
    let mut state = running.on.state.borrow_mut();
    state.include(vars.clone());
    drop(state);
    running.share(|| vars.clone());
    let files = answer.get("ansible_included_var_files").cloned().unwrap_or(Value::Null);
    Ok(ok(map! { "changed" => false, "ansible_facts" => vars, "ansible_included_var_files" => files }, false))
}

/// `set_stats`: values for the end of the run.
pub fn set_stats(call: &Call) -> Result<Done, String> {
    let data =
        call.args.get("data").and_then(Value::as_map).cloned().ok_or("set_stats needs the mapping `data`")?;
    let (per_host, aggregate) = (call.flag("per_host", false)?, call.flag("aggregate", true)?);
    call.running.on.link.event(Event::Stats { data: data.clone(), per_host, aggregate });
    let stats = map! { "data" => data, "per_host" => per_host, "aggregate" => aggregate };
    Ok(ok(map! { "changed" => false, "ansible_stats" => stats }, false))
}
