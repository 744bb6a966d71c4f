//! `ping`: answers `pong`, to show that the agent runs.

use crate::param::NO_RULES;
use crate::{Failure, Host, Plan, map, params};

params! {
    /// Answers `pong` if the host can be reached and runs the agent.
    pub struct Params for "ansible.builtin.ping" {
        /// What to answer; `crash` fails the task.
        data: String = "pong".to_owned(),
    }
    rules NO_RULES
}

/// Observes nothing, changes nothing.
///
/// # Errors
/// `data: crash`.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    if params.data == "crash" {
        return Err(Failure::new("boom"));
    }
    Ok(Plan::ok(map! { "ping" => params.data }))
}
