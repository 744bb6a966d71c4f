//! Runs one module: plan, and where it is not a check, apply.

use debark_modules::{Action, Diff, Failure, Host, Map, Plan, Value};
use debark_wire::{FileDiff, Invocation, Outcome};

/// Runs a module on this host. `gate` is asked right before anything changes: it waits for other hosts, and may
/// refuse.
pub fn invoke(host: &Host, invocation: &Invocation, gate: &dyn Fn() -> Result<(), String>) -> Outcome {
    let Some(module) = debark_modules::find(&invocation.module) else {
        return failed(format!("there is no module `{}` in debark", invocation.module), None, Map::new());
    };
    {
        let mut options = host.options.borrow_mut();
        options.check = invocation.check;
        options.foreseen = invocation.foreseen;
        options.diff = invocation.diff;
        options.environment.clone_from(&invocation.environment);
        options.no_log = invocation.no_log;
    }
    debark_modules::guard::around(None);
    let mut passed = false;
    if looks_elsewhere(invocation) {
        // What is seen there may be another host's work, which must be done before.
        if let Err(why) = gate() {
            return failed(why, None, Map::new());
        }
        passed = true;
    }
    let mut plan = (module.plan)(&invocation.args, host);
    while let Ok(Plan { action: Action::Prepare(prepare), .. }) = plan {
        if !passed && let Err(why) = gate() {
            return failed(why, None, Map::new());
        }
        passed = true;
        plan = prepare(host);
    }
    let plan = match plan {
        Ok(plan) => plan,
        Err(failure) => return failed(failure.msg, failure.hint, failure.result),
    };
    let diff = if invocation.diff { wire_diff(plan.diff) } else { Vec::new() };
    let mut outcome = Outcome { result: plan.result, diff, ..Outcome::default() };
    match plan.action {
        Action::Nothing | Action::Prepare(_) => {}
        Action::Skip(reason) => {
            outcome.result.insert("skipped".into(), true.into());
            outcome.result.entry("msg".into()).or_insert_with(|| reason.into());
        }
        Action::Change(_) if invocation.check => outcome.changed = true,
        Action::Run(_) if invocation.check => {
            outcome.skipped = Some("check mode does not run it".into());
            outcome.unknown = Some(format!("{} was not run in check mode", invocation.module));
        }
        Action::Change(apply) | Action::Run(apply) => {
            if !passed && let Err(why) = gate() {
                return failed(why, None, outcome.result);
            }
            if let Err(failure) = arm(invocation) {
                return failed(failure.msg, failure.hint, outcome.result);
            }
            outcome.guarded = invocation.guard.is_some();
            match apply(host) {
                Ok(result) => outcome.result.extend(result),
                Err(failure) => {
                    let mut result = outcome.result;
                    result.extend(failure.result);
                    let Outcome { diff, guarded, .. } = outcome;
                    return Outcome { diff, guarded, ..failed(failure.msg, failure.hint, result) };
                }
            }
            outcome.changed = outcome.result.get("changed").is_none_or(Value::truthy);
        }
    }
    if outcome.skipped.is_none() && outcome.result.get("skipped").is_some_and(Value::truthy) {
        outcome.skipped = Some(outcome.result.get("msg").map(Value::to_string).unwrap_or_default());
    }
    outcome.result.insert("changed".into(), outcome.changed.into());
    outcome
}

/// Before anything changes under a guard, what can put it back must be in place.
fn arm(invocation: &Invocation) -> Result<(), Failure> {
    let Some(guard) = &invocation.guard else { return Ok(()) };
    debark_modules::guard::arm(&guard.id, guard.seconds, guard.user, guard.armed)?;
    if matches!(invocation.module.as_str(), "user" | "group") {
        // By tools of their own.
        for file in ["passwd", "shadow", "group", "gshadow", "subuid", "subgid"] {
            debark_modules::guard::keep(&std::path::Path::new("/etc").join(file))?;
        }
    }
    Ok(())
}

/// Whether a call may look at other machines before it changes anything: a repository, or what an address names.
fn looks_elsewhere(invocation: &Invocation) -> bool {
    let address = |value: &Value| value.as_str().is_some_and(|text| text.contains("://"));
    invocation.module == "git" || invocation.args.values().any(address)
}

/// An outcome that failed for a reason.
pub fn failed(msg: impl Into<String>, hint: Option<String>, mut result: Map) -> Outcome {
    result.insert("msg".into(), Value::from(msg.into()));
    result.insert("failed".into(), true.into());
    result.entry("changed".into()).or_insert_with(|| false.into());
    let changed = result.get("changed").is_some_and(Value::truthy);
    Outcome { result, failed: true, changed, hint, ..Outcome::default() }
}

/// What comes of a task whose host is not there.
pub fn unreachable(why: String, hint: Option<String>) -> Outcome {
    let mut outcome = Outcome { unreachable: true, ..failed(why, hint, Map::new()) };
    outcome.result.shift_remove("failed");
    outcome.result.insert("unreachable".into(), true.into());
    outcome
}

fn wire_diff(diff: Vec<Diff>) -> Vec<FileDiff> {
    let change = |d: Diff| FileDiff {
        before_header: d.before_header,
        before: d.before,
        after_header: d.after_header,
        after: d.after,
    };
    diff.into_iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;
    use crate::link::Link;
    use crate::upstream::{Remote, Store};

    #[test]
    fn other_machines_are_looked_at_once_the_other_hosts_are_ready() {
        let (link, _jobs) = Link::start(std::io::empty(), std::io::sink(), None, |_, _| Outcome::default());
        let remote = Remote { link, store: Arc::new(Store::default()), origin: RefCell::default() };
        let host = Host::new(Rc::new(remote));
        let call =
            |module: &str, args: Map| Invocation { module: module.into(), args, ..Invocation::default() };
        let get = debark_modules::map! { "url" => "http://127.0.0.1:9/x", "dest" => "/nonexistent/x" };
        let clone = debark_modules::map! { "repo" => "/nonexistent/r", "dest" => "/nonexistent/x" };
        for invocation in [call("get_url", get), call("git", clone)] {
            let outcome = invoke(&host, &invocation, &|| Err("not yet".into()));
            assert_eq!(outcome.result.get("msg"), Some(&"not yet".into()), "{}", invocation.module);
        }
    }
}
