//! `service`: services, whatever starts them.
//!
//! Under systemd it is `systemd_service`; without it (a container, another init) the scripts in /etc/init.d are
//! called and `update-rc.d` enables them, as invoke-rc.d(8) and Debian Policy 9.3 have it.

use crate::exec::Cmd;
use crate::systemd::{self, State, sysv_enabled, sysv_script};
use crate::{Diff, Failure, Host, Map, Plan, Value, map, params, units};
use debark_value::Order;

params! {
    /// Starts, stops and enables services. Under systemd it takes the parameters of `systemd_service`.
    pub struct Params for "ansible.builtin.service" {
        /// Text in the process list that shows that a service without `status` runs.
        pattern: Option<String>,
        /// Seconds between stop and start of a restart, without systemd.
        sleep: Option<i64>,
        /// Accepted; run levels are no matter of ours.
        runlevel: String = "default".to_owned(),
        /// Further arguments for the script, without systemd.
        arguments | args: String = String::new(),
        /// Accepted; the host's init system is found out.
        r#use: String = "auto".to_owned(),
    }
    common unit: systemd::Params;
    rules systemd::Params::SPEC.rules
}

/// Reads the service's state and says what it needs.
///
/// # Errors
/// There is no such service.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    if units::systemd_runs() { systemd::plan(params.unit, host) } else { sysv(params, host) }
}

fn script(name: &str, word: &str, arguments: &str) -> Cmd {
    Cmd::new(format!("/etc/init.d/{name}")).arg(word).args(arguments.split_whitespace())
}

fn sysv(params: Params, host: &Host) -> Result<Plan, Failure> {
    let Some(name) = params.unit.name else {
        return Err(Failure::new(
            "service: without systemd there is nothing to reload, and the parameter `name` is missing",
        ));
    };
    let name = name.strip_suffix(".service").unwrap_or(&name).to_owned();
    if !sysv_script(&name) {
        return Err(Failure::new(format!("Could not find the requested service {name}: host"))
            .hint("systemd does not run here, and there is no such script in /etc/init.d"));
    }
    let mut commands = Vec::new();
    let mut diff = Vec::new();
    let mut result = map! { "name" => name.as_str() };
    if let Some(wanted) = params.unit.enabled {
        let enabled = sysv_enabled(&name);
        result.insert("enabled".into(), wanted.into());
        if enabled != wanted {
            diff.push(Diff::property(&name, "enabled", enabled, wanted));
            commands.push(Cmd::new("update-rc.d").arg(&name).arg(if wanted {
                "defaults"
            } else {
                "disable"
            }));
            if wanted {
                commands.push(Cmd::new("update-rc.d").arg(&name).arg("enable"));
            }
        }
    }
    if let Some(state) = params.unit.state {
        let running = match &params.pattern {
            Some(pattern) => process_matches(pattern),
            None => host.exec(&script(&name, "status", ""))?.rc == 0,
        };
        let words: &[&str] = match (state, running) {
            (State::Started, true) | (State::Stopped, false) => &[],
            (State::Stopped, true) => &["stop"],
            (State::Restarted, true) if params.sleep.is_some() => &["stop", "start"],
            (State::Restarted, true) => &["restart"],
            (State::Reloaded, true) => &["reload"],
            (State::Started | State::Restarted | State::Reloaded, false) => &["start"],
        };
        result.insert("state".into(), if state == State::Stopped { "stopped" } else { "started" }.into());
        if let Some(word) = words.first() {
            diff.push(Diff::property(&name, "state", if running { "started" } else { "stopped" }, word));
        }
        commands.extend(words.iter().map(|word| script(&name, word, &params.arguments)));
    }
    if commands.is_empty() {
        return Ok(Plan::ok(result));
    }
    let pause = params.sleep.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    Ok(Plan::change(result, diff, move |host| {
        crate::guard::unit(&name)?;
        for cmd in &commands {
            host.exec_ok(cmd)?;
            if cmd.argv.get(1).is_some_and(|word| word == "stop") && commands.len() > 1 {
                std::thread::sleep(std::time::Duration::from_secs(pause));
            }
        }
        Ok(Map::new())
    }))
}

/// Whether some process has the text in its command line.
fn process_matches(pattern: &str) -> bool {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    processes
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && *pid != own)
        .filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(pattern))
}

/// What `service_facts` shares: the scripts in /etc/init.d.
pub(crate) fn scripts() -> Vec<String> {
    let entries = std::fs::read_dir("/etc/init.d").into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.contains('.') && name != "README")
        .collect();
    names.order();
    names
}

/// A fact of `service_facts`.
pub(crate) fn fact(name: &str, state: &str, status: &str, source: &str) -> Value {
    Value::from(map! { "name" => name, "state" => state, "status" => status, "source" => source })
}
