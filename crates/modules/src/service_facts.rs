//! `service_facts`: all services and whether they run, as `ansible_facts.services`.

use crate::param::NO_RULES;
use crate::service::{fact, scripts};
use crate::units::{Scope, systemctl, systemd_runs};
use crate::{Failure, Host, Map, Plan, Value, map, params};

params! {
    /// Lists all services of the host.
    pub struct Params for "ansible.builtin.service_facts" {}
    rules NO_RULES
}

/// Asks systemd, and looks into /etc/init.d.
///
/// # Errors
/// systemctl cannot be run.
pub fn plan(_: Params, host: &Host) -> Result<Plan, Failure> {
    let mut services = Map::new();
    for name in scripts() {
        services.insert(name.as_str().into(), fact(&name, "unknown", "unknown", "sysv"));
    }
    if systemd_runs() {
        let options = ["--no-pager", "--no-legend", "--plain", "--type", "service", "--all"];
        let running = host.exec_ok(&systemctl(Scope::System).arg("list-units").args(options))?.out();
        let files = host.exec_ok(&systemctl(Scope::System).arg("list-unit-files").args(options))?.out();
        read(&running, &files, &mut services);
    }
    Ok(Plan::ok(map! { "ansible_facts" => map! { "services" => services } }))
}

/// Reads `list-units` and `list-unit-files`. States are those of Ansible: a unit that is loaded and does not run is
/// `stopped`, what only has a file is `inactive`.
fn read(running: &str, files: &str, services: &mut Map) {
    for line in running.lines() {
        let line = line.trim_start_matches(['●', '*', ' ']);
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, load, active, sub, ..] = words.as_slice() else { continue };
        let status = match (*load, *active, *sub) {
            (bad @ ("not-found" | "masked" | "bad"), ..)
            | (_, bad @ "failed", _)
            | (_, _, bad @ "failed") => bad,
            _ => "unknown",
        };
        let state = if *sub == "running" { "running" } else { "stopped" };
        services.insert((*name).into(), fact(name, state, status, "systemd"));
    }
    for line in files.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(status)) = (words.next(), words.next()) else { continue };
        let known = services.get(name).and_then(Value::as_map).cloned();
        let failed =
            known.as_ref().and_then(|known| known.get("status")).and_then(Value::as_str) == Some("failed");
        let state = match &known {
            Some(known) => known.get("state").and_then(Value::as_str).unwrap_or("unknown").to_owned(),
            // A template is no service that could run.
            None if name.contains("@.") => "unknown".to_owned(),
            None => "inactive".to_owned(),
        };
        let status = if failed { "failed" } else { status };
        services.insert(name.into(), fact(name, &state, status, "systemd"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_units_and_files() {
        let mut services = Map::new();
        read(
            "ssh.service loaded active running OpenBSD\n● x.service loaded failed failed X\n\
             gone.service not-found inactive dead gone.service\n",
            "ssh.service enabled enabled\nx.service enabled enabled\ngetty@.service enabled enabled\n\
             idle.service disabled enabled\n",
            &mut services,
        );
        let of = |name: &str| {
            let service = services.get(name).unwrap();
            let text = |key| service.get(key).and_then(Value::as_str).unwrap().to_owned();
            (text("state"), text("status"))
        };
        assert_eq!(of("ssh.service"), ("running".into(), "enabled".into()));
        assert_eq!(of("x.service"), ("stopped".into(), "failed".into()));
        assert_eq!(of("gone.service"), ("stopped".into(), "not-found".into()));
        assert_eq!(of("getty@.service"), ("unknown".into(), "enabled".into()));
        assert_eq!(of("idle.service"), ("inactive".into(), "disabled".into()));
    }
}
