//! `pause`, and what `fetch` needs of the interpreter.

use std::time::{Duration, Instant, SystemTime};

use debark_modules::clock::stamp;
use debark_value::{Value, map};
use debark_wire::{Answer, Request};

use super::{Call, ok};
use crate::task::Done;

/// `pause`: waits for a time, or for somebody at the controller.
pub fn pause(call: &Call) -> Result<Done, String> {
    let (minutes, seconds) = (call.number("minutes")?, call.number("seconds")?);
    let seconds = match (minutes, seconds) {
        (None, None) => None,
        (minutes, seconds) => Some((minutes.unwrap_or(0.0) * 60.0 + seconds.unwrap_or(0.0)).max(0.0) as u64),
    };
    let prompt = call.text("prompt");
    let echo = call.flag("echo", true)?;
    let begin = SystemTime::now();
    let started = Instant::now();
    let mut input = String::new();
    if let (Some(seconds), None) = (seconds, &prompt) {
        call.running.on.link.flush();
        wait(call, Duration::from_secs(seconds))?;
    } else {
        if let Answer::Value(value) =
            call.running.on.link.request(Request::Pause { prompt, seconds, echo })?
        {
            input = value.to_string();
            if !echo {
                call.running.on.secrets.borrow_mut().add(&input);
            }
        }
    }
    let elapsed = started.elapsed();
    let stdout = format!("Paused for {:.2} seconds", elapsed.as_secs_f64());
    let result = map! {
        "changed" => false, "user_input" => input, "delta" => elapsed.as_secs(), "stdout" => stdout, "stderr" => "", "rc" => 0,
        "echo" => echo, "start" => stamp(begin), "stop" => stamp(SystemTime::now()),
    };
    Ok(ok(result, false))
}

/// Sleeps, but wakes when the run is to stop.
fn wait(call: &Call, span: Duration) -> Result<(), String> {
    let end = Instant::now() + span;
    while Instant::now() < end {
        if call.running.on.link.is_lost() || call.running.on.link.stop_reason().is_some() {
            return Err("interrupted while pausing".into());
        }
        std::thread::sleep(end.saturating_duration_since(Instant::now()).min(Duration::from_millis(200)));
    }
    Ok(())
}

/// `fetch` names its destination after the host, and puts it beside the playbook: the module knows neither.
pub fn fetch(call: &Call) -> Option<Done> {
    let host = call.running.play.borrow().host.host.clone();
    let mut args = call.args.clone();
    args.insert("_host".into(), Value::from(host));
    // The register names a path that other tasks can use, wherever they stand.
    if let Some(Value::Str(dest)) = args.get("dest")
        && !dest.starts_with(['/', '~'])
        && let Some((Value::Str(dir), _)) = call.scope.get_raw("playbook_dir")
    {
        let dest = format!("{dir}/{dest}");
        args.insert("dest".into(), dest.into());
    }
    Some(call.dispatch("fetch", args))
}

impl Call<'_> {
    /// Runs a module with parameters that the interpreter has completed.
    pub fn dispatch(&self, module: &str, args: debark_value::Map) -> Done {
        match self.running.invocation(self.doing, module.to_owned(), args, self.scope) {
            Ok((invocation, elsewhere)) => {
                self.running.dispatch(self.doing, invocation, elsewhere, self.scope)
            }
            Err(done) => *done,
        }
    }
}
