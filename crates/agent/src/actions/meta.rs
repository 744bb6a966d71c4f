//! `meta`: what steers the play itself.

use debark_value::map;

use super::{Call, ok};
use crate::run::Flow;
use crate::task::Done;

/// Runs a `meta` action.
pub fn meta(call: &Call) -> Result<Done, String> {
    let word = call.text("_raw_params").or_else(|| call.text("free_form")).unwrap_or_default();
    let mut done = ok(map! { "changed" => false }, false);
    done.flow = match word.as_str() {
        "noop" | "refresh_inventory" => Flow::Next,
        "flush_handlers" => {
            if call.flag("resume", false)? {
                call.running.resume_handlers();
            }
            call.running.flush_handlers(call.doing.context)
        }
        "end_play" | "end_host" | "end_batch" => Flow::EndPlay,
        "end_role" if call.doing.context.role.is_some() => Flow::EndRole,
        "end_role" => return Err("`meta: end_role` is only for tasks in a role".into()),
        "clear_facts" => {
            call.running.on.state.borrow_mut().clear_facts();
            Flow::Next
        }
        "clear_host_errors" => {
            *call.running.failure.borrow_mut() = None;
            Flow::Next
        }
        "reset_connection" => {
            super::wait::reset_connection(call)?;
            Flow::Next
        }
        other => return Err(format!("there is no `meta: {other}`")),
    };
    Ok(done)
}
