//! Actions that the interpreter decides by itself, without a module: one file per family.

mod assertions;
mod async_jobs;
mod control;
mod includes;
mod inventory;
mod meta;
mod template;
mod variables;
mod wait;

use debark_expr::Scope;
use debark_value::{Map, Value};

use crate::run::Running;
use crate::task::{Doing, Done};

pub use async_jobs::{asked as background, async_job, begin as in_background, status_of};
pub use meta::for_all;

/// Whether a parameter is an expression rather than text with templates, so that it is not rendered beforehand.
pub fn takes_raw(action: &str, name: &str) -> bool {
    matches!(
        (action, name),
        ("debug", "var") | ("assert", "that") | ("include_role" | "include_tasks", "apply")
    )
}

/// Runs an action of the interpreter; `None` if it is a module's.
pub fn run(running: &Running, doing: &Doing, args: &Map, scope: &Scope) -> Option<Done> {
    let call = Call { running, doing, args, scope };
    // What does not only carry an unknown value along cannot act on one.
    let carries =
        matches!(doing.task.action.as_str(), "debug" | "set_fact" | "assert" | "meta" | "set_stats");
    if !carries
        && is_builtin(&doing.task.action)
        && let Some(reason) = args.values().find_map(Value::unknown)
    {
        return Some(Done::unknown(reason));
    }
    let done = match doing.task.action.as_str() {
        "debug" => assertions::debug(&call),
        "assert" => assertions::assert(&call),
        "fail" => assertions::fail(&call),
        "validate_argument_spec" => assertions::validate_argument_spec(&call),
        "set_fact" => variables::set_fact(&call),
        "include_vars" => variables::include_vars(&call),
        "set_stats" => variables::set_stats(&call),
        "add_host" => inventory::add_host(&call),
        "group_by" => inventory::group_by(&call),
        "include_tasks" => includes::tasks(&call),
        "include_role" => includes::role(&call),
        "meta" => meta::meta(&call),
        "pause" => control::pause(&call),
        "reboot" => wait::reboot(&call),
        "wait_for_connection" => wait::wait_for_connection(&call),
        "async_status" => call.async_status(),
        "template" => return template::template(&call),
        "fetch" => return control::fetch(&call),
        _ => return None,
    };
    Some(done.unwrap_or_else(|why| Done::failed(why, None)))
}

/// Whether an action looks at the host or changes it, unlike what only steers the play.
pub fn needs_host(action: &str) -> bool {
    !is_builtin(action) || matches!(action, "reboot" | "wait_for_connection" | "async_status")
}

fn is_builtin(action: &str) -> bool {
    debark_modules::find(action).is_none()
}

/// An action and everything around it.
pub struct Call<'a> {
    /// The play.
    pub running: &'a Running<'a>,
    /// The task.
    pub doing: &'a Doing<'a>,
    /// Its rendered parameters.
    pub args: &'a Map,
    /// What it sees.
    pub scope: &'a Scope,
}

impl Call<'_> {
    /// A parameter's text, if it is given.
    pub fn text(&self, name: &str) -> Option<String> {
        self.args.get(name).filter(|value| !value.is_null()).map(Value::to_string)
    }

    /// A parameter's boolean.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.args.get(name).filter(|value| !value.is_null()) {
            Some(value) => value.to_bool().map_err(|e| format!("the parameter `{name}` {e}")),
            None => Ok(default),
        }
    }

    /// A parameter's number.
    ///
    /// # Errors
    /// It is something else.
    pub fn number(&self, name: &str) -> Result<Option<f64>, String> {
        match self.args.get(name).filter(|value| !value.is_null()) {
            Some(value) => value.to_float().map(Some).map_err(|e| format!("the parameter `{name}` {e}")),
            None => Ok(None),
        }
    }

    /// A parameter's list of texts.
    ///
    /// # Errors
    /// It is something else.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        match self.args.get(name).filter(|value| !value.is_null()) {
            Some(value) => {
                let items = value.to_list().map_err(|e| format!("the parameter `{name}` {e}"))?;
                Ok(items.iter().map(Value::to_string).filter(|text| !text.is_empty()).collect())
            }
            None => Ok(Vec::new()),
        }
    }
}

/// Return values of an action that went well.
pub fn ok(result: Map, changed: bool) -> Done {
    Done::of(debark_wire::Outcome { result, changed, ..Default::default() })
}
