//! `reboot` and `wait_for_connection`.

use std::time::Duration;

use debark_value::{Value, map};
use debark_wire::Request;

use super::{Call, ok};
use crate::task::Done;

/// `wait_for_connection`: this code runs on the host, so the connection is there; only the delay remains.
pub fn wait_for_connection(call: &Call) -> Result<Done, String> {
    let delay = call.number("delay")?.unwrap_or(0.0);
    if !call.running.check() {
        std::thread::sleep(Duration::from_secs_f64(delay.clamp(0.0, 3600.0)));
    }
    Ok(ok(map! { "changed" => false, "elapsed" => delay as i64 }, false))
}

/// `reboot`: the module sets it off; the controller comes back when the host does, and goes on after this task.
pub fn reboot(call: &Call) -> Result<Done, String> {
    if call.running.check() {
        let mut done = ok(map! { "changed" => true, "elapsed" => 0, "rebooted" => true }, true);
        done.outcome.changed = true;
        return Ok(done);
    }
    let done = call.dispatch("reboot", call.args.clone());
    if done.outcome.failed {
        return Ok(done);
    }
    let timeout = call.number("reboot_timeout")?.unwrap_or(600.0).max(1.0) as u64;
    call.running.on.link.request(Request::Reconnect { timeout })?;
    let mut done = done;
    done.outcome.result.insert("rebooted".into(), Value::Bool(true));
    Ok(done)
}
