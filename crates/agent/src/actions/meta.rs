//! `meta`: what steers the play itself.

use debark_value::map;
use debark_wire::{Event, Request};

use super::{Call, ok};
use crate::run::{Flow, Running};
use crate::task::Done;

/// Runs a `meta` action.
pub fn meta(call: &Call) -> Result<Done, String> {
    let word = call.text("_raw_params").or_else(|| call.text("free_form")).unwrap_or_default();
    let mut done = ok(map! { "changed" => false }, false);
    done.flow = match word.as_str() {
        "noop" => Flow::Next,
        "flush_handlers" => {
            if call.flag("resume", false)? {
                call.running.resume_handlers();
            }
            call.running.flush_handlers(call.doing.context, false)
        }
        "guard" => return call.running.confirm(call),
        "end_host" => Flow::EndPlay,
        "end_role" if call.doing.context.role.is_some() => Flow::EndRole,
        "end_role" => return Err("`meta: end_role` is only for tasks in a role".into()),
        "reset_connection" => {
            super::wait::reset_connection(call)?;
            Flow::Next
        }
        other => match for_all(call.running, other) {
            Some(flow) => flow,
            None => return Err(format!("there is no `meta: {other}`")),
        },
    };
    if word == "refresh_inventory" {
        call.running.on.link.request(Request::RefreshInventory)?;
        call.running.take_magic();
    }
    if word == "clear_host_errors" {
        call.running.on.link.event(Event::Forgiven);
    }
    Ok(done)
}

/// What the first host of a batch decides for all of them; `None` for anything else.
pub fn for_all(running: &Running, word: &str) -> Option<Flow> {
    match word {
        "end_play" | "end_batch" => Some(Flow::EndPlay),
        "clear_facts" => {
            running.on.state.borrow_mut().clear_facts();
            Some(Flow::Next)
        }
        "clear_host_errors" => {
            *running.failure.borrow_mut() = None;
            Some(Flow::Next)
        }
        "refresh_inventory" => Some(Flow::Next),
        _ => None,
    }
}
