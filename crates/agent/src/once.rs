//! What one host of a batch does for all: `run_once`, and what by its nature happens once.

use debark_expr::Scope;
use debark_value::Value;
use debark_wire::{Answer, Request};

use crate::run::{Flow, Running};
use crate::task::Doing;

impl Running<'_> {
    /// `run_once`: whether this host runs the task. Otherwise it takes over what the host got that did.
    pub fn once(&self, doing: &Doing, scope: &Scope) -> Result<bool, Flow> {
        let alone = self.play.borrow().host.batch.len() <= 1;
        if alone || self.repeats() || !self.wants_once(doing, scope) {
            return Ok(true);
        }
        match self.on.link.request(Request::RunOnce { task: doing.task.id }) {
            Ok(Answer::Ran { result, failed }) => {
                if doing.task.action == "meta" {
                    let skipped = result.get("skipped").is_some();
                    let word = doing.task.args.get("free_form").and_then(Value::as_str).unwrap_or_default();
                    let flow = if skipped { None } else { crate::actions::for_all(self, word) };
                    return flow.map_or(Ok(false), Err);
                }
                if let Some(name) = &doing.task.register {
                    self.on.state.borrow_mut().set(name, result.clone());
                }
                if let Some(facts) = result.get("ansible_facts").and_then(Value::as_map) {
                    let mut state = self.on.state.borrow_mut();
                    facts.iter().for_each(|(name, value)| state.set(name, value.clone()));
                }
                if failed && !doing.ignore_errors { Err(Flow::Failed) } else { Ok(false) }
            }
            Ok(_) => Ok(true),
            Err(_) => Err(Flow::Stop),
        }
    }

    pub fn is_once(&self, doing: &Doing, scope: &Scope) -> bool {
        self.play.borrow().host.batch.len() > 1 && self.wants_once(doing, scope)
    }

    /// `run_once`, or an action that by its nature happens once for all hosts.
    fn wants_once(&self, doing: &Doing, scope: &Scope) -> bool {
        let said = || {
            let word = doing.task.args.get("free_form").and_then(Value::as_str);
            matches!(
                word,
                Some("clear_facts" | "clear_host_errors" | "end_batch" | "end_play" | "refresh_inventory")
            )
        };
        matches!(doing.task.action.as_str(), "add_host" | "pause")
            || doing.task.action == "meta" && said()
            || self.flag(&doing.keywords.run_once, "run_once", scope).ok().flatten().unwrap_or(false)
    }
}
