//! What gives up the connection: `reboot`, `wait_for_connection`, `meta: reset_connection`. Another agent goes on.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use debark_value::{Map, map};
use debark_wire::Request;

use super::{Call, ok};
use crate::progress::{Times, announce, end};
use crate::task::Done;

/// How long a host may take at most from the end of `pre_reboot_delay` until its connection is gone, in seconds.
const GOING: u64 = 60;
/// How long logging in again may take, in seconds.
const LOGIN: u64 = 60;

/// `wait_for_connection`: this code runs on the host, so the connection is there; but it may go during the delay.
pub fn wait_for_connection(call: &Call) -> Result<Done, String> {
    let waited = |seconds: u64| Ok(ok(map! { "changed" => false, "elapsed" => seconds as i64 }, false));
    if let Some(result) = call.returned() {
        return Ok(ok(result, false));
    }
    if let Some((_, seconds)) = call.back()? {
        call.note_return(map! { "changed" => false, "elapsed" => seconds as i64 });
        return waited(seconds);
    }
    let delay = call.seconds("delay", 0)?;
    if delay == 0 || call.running.check() {
        return waited(0);
    }
    let link = &call.running.on.link;
    let until = Instant::now() + Duration::from_secs(delay);
    let times = Times { timeout: delay + call.seconds("timeout", 600)?, delay: 1, gone_by: 0 };
    // The controller has no way back to its own machine, and needs none.
    let announced = call.leave(times, String::new()).is_ok();
    while Instant::now() < until {
        if link.is_lost() {
            end(link);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if announced {
        link.request(Request::Back)?;
    }
    waited(delay)
}

/// `meta: reset_connection`: logs in again, so that what an account got meanwhile (groups) counts.
pub fn reset_connection(call: &Call) -> Result<(), String> {
    if call.returned().is_some() {
        return Ok(());
    }
    if call.back()?.is_some() {
        call.note_return(Map::new());
        return Ok(());
    }
    *call.running.on.workers.borrow_mut() = Default::default();
    if call.running.check() {
        return Ok(());
    }
    let link = &call.running.on.link;
    link.wait_idle();
    match call.leave(Times { timeout: LOGIN, delay: 0, gone_by: 0 }, String::new()) {
        Ok(()) => {
            link.flush();
            std::process::exit(0);
        }
        // On the controller's own machine there is no connection to reset.
        Err(_) => Ok(()),
    }
}

/// `reboot`: sets it off and ends; the agent that is started after the boot goes on here.
pub fn reboot(call: &Call) -> Result<Done, String> {
    let running = call.running;
    if running.check() {
        let mut done = ok(map! { "changed" => true, "elapsed" => 0, "rebooted" => true }, true);
        done.outcome.changed = true;
        return Ok(done);
    }
    if let Some(result) = call.returned() {
        return Ok(ok(result, true));
    }
    let (before, after) = (call.seconds("pre_reboot_delay", 0)?, call.seconds("post_reboot_delay", 0)?);
    let timeout = call.seconds("reboot_timeout", 600)?.max(1);
    let times =
        Times { timeout: before + after + timeout, delay: after, gone_by: before + GOING.min(timeout) };
    let boot = boot(call.text("boot_time_command").as_deref())?;
    let link = &running.on.link;
    if let Some((earlier, seconds)) = call.came_back() {
        if earlier == boot {
            // Reached before it went down.
            let rest = times.timeout.saturating_sub(seconds).max(1);
            call.leave(Times { timeout: rest, delay: 2, gone_by: 0 }, earlier)?;
            link.flush();
            std::process::exit(0);
        }
        link.mute(false);
        link.request(Request::Back)?;
        return Ok(tested(call, seconds, times.timeout));
    }
    running.gate(call.doing)?;
    call.leave(times, boot)?;
    let done = call.dispatch("reboot", call.args.clone());
    if done.outcome.failed || done.outcome.result.get("_reboot").is_none() {
        link.request(Request::Back)?;
        return Ok(done);
    }
    link.flush();
    end(link)
}

/// Runs `test_command` until it succeeds or the time is over.
fn tested(call: &Call, seconds: u64, timeout: u64) -> Done {
    let began = Instant::now();
    let elapsed = || seconds + began.elapsed().as_secs();
    let mut done = map! { "changed" => true, "rebooted" => true };
    if let Some(test) = call.text("test_command") {
        while !shell(&test).status().is_ok_and(|status| status.success()) {
            if elapsed() >= timeout {
                let why = format!("the host has booted, but `{test}` still fails after {} s", elapsed());
                return Done::failed(why, Some("see reboot_timeout and test_command".into()));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    done.insert("elapsed".into(), (elapsed() as i64).into());
    call.note_return(done.clone());
    ok(done, true)
}

/// What differs after a boot.
fn boot(command: Option<&str>) -> Result<String, String> {
    match command {
        None => Ok(debark_modules::reboot::boot_id().unwrap_or_default()),
        Some(command) => {
            let output =
                shell(command).stdout(Stdio::piped()).output().map_err(|error| format!("sh: {error}"))?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
                false => Err(format!("the boot_time_command `{command}` fails: {}", output.status)),
            }
        }
    }
}

fn shell(command: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell
}

impl Call<'_> {
    fn seconds(&self, name: &str, default: u64) -> Result<u64, String> {
        // A day at most: what is beyond is a mistake.
        Ok(self.number(name)?.map_or(default, |number| number.clamp(0.0, 86_400.0) as u64))
    }

    /// What this task got on its way when another agent ran it.
    fn returned(&self) -> Option<Map> {
        let result = self.running.progress.borrow_mut().take_return(self.doing.task.id);
        self.running.on.link.mute(self.running.progress.borrow().repeats());
        result
    }

    fn came_back(&self) -> Option<(String, u64)> {
        self.running.progress.borrow_mut().back(self.doing.task.id)
    }

    /// Whether this task gave up the connection before; then it has it again.
    fn back(&self) -> Result<Option<(String, u64)>, String> {
        let back = self.came_back();
        if back.is_some() {
            self.running.on.link.mute(false);
            self.running.on.link.request(Request::Back)?;
        }
        Ok(back)
    }

    fn note_return(&self, result: Map) {
        self.running.progress.borrow_mut().note_return(self.doing.task.id, result);
    }

    fn leave(&self, times: Times, boot: String) -> Result<(), String> {
        if self.doing.keywords.delegate_to.is_some() {
            return Err(format!("`{}` cannot be delegated to another host", self.doing.task.action));
        }
        let told = self.running.progress.borrow().told(self.doing.task.id, boot)?;
        announce(&self.running.on.link, told, times)
    }
}
