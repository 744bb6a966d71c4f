//! `systemd` (`systemd_service`): units started, stopped, enabled and masked.

use std::path::Path;
use std::rc::Rc;

use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::units::{self, Scope, Unit, systemctl};
use crate::{Diff, Failure, Host, Map, Plan, Value, choices, fnmatch, map, params};

choices! {
    /// What the unit should do.
    pub enum State { Started = "started", Stopped = "stopped", Restarted = "restarted", Reloaded = "reloaded" }
}

choices! {
    /// Which manager.
    pub enum ScopeWord { System = "system", User = "user", Global = "global" }
}

params! {
    /// Manages units of systemd.
    pub struct Params for "ansible.builtin.systemd_service" {
        /// The unit; `.service` may be left out.
        name | service | unit: Option<String>,
        /// What the unit should do.
        state: Option<State>,
        /// Whether it is started at boot.
        enabled: Option<bool>,
        /// Whether links of other units are replaced.
        force: bool = false,
        /// Whether it cannot be started at all.
        masked: Option<bool>,
        /// Whether systemd reads its unit files again first.
        daemon_reload | "daemon-reload": bool = false,
        /// Whether systemd restarts itself first.
        daemon_reexec | "daemon-reexec": bool = false,
        /// Which manager.
        scope: ScopeWord = ScopeWord::System,
        /// Whether not to wait for the unit.
        no_block: bool = false,
    }
    rules Rules {
        // Stricter versions of Ansible refuse a name alone; published roles ask for a unit so.
        one_of: &[&["name", "state", "enabled", "masked", "daemon_reload", "daemon_reexec"]],
        ..NO_RULES
    }
}

/// Reads the unit's state and says which commands of systemctl it needs.
///
/// # Errors
/// There is no such unit, or systemd does not answer.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let scope = match params.scope {
        ScopeWord::System => Scope::System,
        ScopeWord::User => Scope::User,
        ScopeWord::Global => Scope::Global,
    };
    let needs_name = params.state.is_some() || params.enabled.is_some() || params.masked.is_some();
    if needs_name && params.name.is_none() {
        return Err(Failure::new(
            "systemd_service: `state`, `enabled` and `masked` need the parameter `name`",
        ));
    }
    if let Some(name) = params.name.as_deref().filter(|name| fnmatch::is_pattern(name)) {
        return Err(Failure::new(format!("{name:?} is a pattern, and systemd_service takes one unit"))
            .hint("use `loop` over the names"));
    }
    // What follows must see the new files. It is no change in itself, as in Ansible; a check leaves it out.
    let reload = [(params.daemon_reload, "daemon-reload"), (params.daemon_reexec, "daemon-reexec")];
    if !host.is_check() && (params.daemon_reload || params.daemon_reexec) {
        return Ok(Plan::prepare(move |host| {
            for (_, word) in reload.into_iter().filter(|(wanted, _)| *wanted) {
                units::forget(host);
                host.exec_ok(&systemctl(scope).arg(word))?;
            }
            decide(params, scope, host)
        }));
    }
    decide(params, scope, host)
}

fn decide(params: Params, scope: Scope, host: &Host) -> Result<Plan, Failure> {
    let Some(name) = params.name.clone() else {
        return Ok(Plan::ok(map! { "name" => Value::Null, "status" => Map::new() }));
    };
    let unit = units::unit(host, scope, &name)?;
    Change { name, scope, unit, params }.plan(host)
}

struct Change {
    name: String,
    scope: Scope,
    unit: Rc<Unit>,
    params: Params,
}

impl Change {
    fn plan(self, host: &Host) -> Result<Plan, Failure> {
        let Self { name, scope, unit, params } = self;
        let mut words: Vec<&'static str> = Vec::new();
        let mut diff = Vec::new();
        let mut result = map! { "name" => name.as_str(), "status" => unit.properties().clone() };
        let load_error = unit.get("LoadError");
        let load_state = unit.get("LoadState");
        if matches!(load_state, "error" | "bad-setting") && !load_error.is_empty() {
            return Err(Failure::new(format!("Error loading unit file '{name}': {load_error}")));
        }
        let masked = load_state == "masked" || unit.get("UnitFileState") == "masked";
        if let Some(wanted) = params.masked.filter(|wanted| *wanted != masked) {
            words.push(if wanted { "mask" } else { "unmask" });
            diff.push(Diff::property(&name, "masked", masked, wanted));
        }
        let exists = unit.exists() || sysv_script(&name);
        if !exists && (params.enabled.is_some() || params.state.is_some()) {
            return Err(missing(host, scope, &name));
        }
        if let Some(wanted) = params.enabled {
            let enabled = is_enabled(&unit, &name, wanted, host, scope);
            result.insert("enabled".into(), wanted.into());
            if enabled != wanted {
                words.push(if wanted { "enable" } else { "disable" });
                diff.push(Diff::property(&name, "enabled", enabled, wanted));
            }
        }
        if let Some(state) = params.state {
            let running = unit.is_running();
            let word = match (state, running) {
                (State::Started, true) => None,
                (State::Stopped, _) => {
                    (running || unit.get("ActiveState") == "deactivating").then_some("stop")
                }
                (State::Restarted, true) => Some("restart"),
                (State::Reloaded, true) => Some("reload"),
                (State::Started | State::Restarted | State::Reloaded, false) => Some("start"),
            };
            result.insert("state".into(), if state == State::Stopped { "stopped" } else { "started" }.into());
            if let Some(word) = word {
                words.push(word);
                let after = if word == "stop" { "inactive" } else { "active" };
                diff.push(Diff::property(
                    &name,
                    "state",
                    unit.get("ActiveState"),
                    format!("{after} ({word})"),
                ));
            }
        }
        if words.is_empty() {
            return Ok(Plan::ok(result));
        }
        Ok(Plan::change(result, diff, move |host| {
            let outcome = words.iter().try_for_each(|word| act(host, scope, &name, word, &params));
            units::forget(host);
            outcome.map(|()| Map::new())
        }))
    }
}

fn command(scope: Scope, name: &str, word: &str, params: &Params) -> Cmd {
    let mut cmd = systemctl(scope);
    if params.no_block && !matches!(word, "enable" | "disable" | "mask" | "unmask") {
        cmd = cmd.arg("--no-block");
    }
    if params.force {
        cmd = cmd.arg("--force");
    }
    cmd.arg(word).arg("--").arg(name)
}

fn act(host: &Host, scope: Scope, name: &str, word: &str, params: &Params) -> Result<(), Failure> {
    if scope == Scope::System && matches!(word, "start" | "stop" | "restart" | "reload") {
        crate::guard::unit(name)?;
    }
    let output = host.exec(&command(scope, name, word, params))?;
    if output.rc == 0 {
        return Ok(());
    }
    let stderr = output.err();
    let why = stderr
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("systemctl says nothing")
        .trim()
        .to_owned();
    let failure = Failure::new(format!("Unable to {word} service {name}: {why}")).with(output.result());
    if !matches!(word, "start" | "restart" | "reload" | "stop") {
        return Err(failure);
    }
    let journal = journal(host, scope, name);
    if journal.is_empty() {
        return Err(failure.hint(format!("see `systemctl status {name}` on the host")));
    }
    Err(failure
        .hint(format!("its last journal lines:\n{}", journal.trim_end()))
        .with(map! { "journal" => Value::list(journal.lines()) }))
}

/// What the unit said last.
fn journal(host: &Host, scope: Scope, name: &str) -> String {
    let unit = if scope == Scope::System { "--unit" } else { "--user-unit" };
    let cmd = Cmd::new("journalctl")
        .arg(unit)
        .arg(units::full_name(name))
        .args(["--lines", "20", "--no-pager", "--output", "cat", "--quiet"])
        .timeout(std::time::Duration::from_secs(20));
    // The failure itself counts; without a journal it stands alone.
    host.exec(&cmd).map(|output| output.out()).unwrap_or_default()
}

fn missing(host: &Host, scope: Scope, name: &str) -> Failure {
    let hint = units::suggestion(host, scope, name).unwrap_or_else(|| {
        "see `systemctl list-unit-files` on the host; is its package installed?".to_owned()
    });
    Failure::new(format!("Could not find the requested service {name}: host")).hint(hint)
}

/// Whether a script in /etc/init.d has that name.
pub(crate) fn sysv_script(name: &str) -> bool {
    let name = name.strip_suffix(".service").unwrap_or(name);
    !name.contains('/') && !name.is_empty() && Path::new("/etc/init.d").join(name).is_file()
}

/// Whether a script of that name is linked to start at some run level.
pub(crate) fn sysv_enabled(name: &str) -> bool {
    let name = name.strip_suffix(".service").unwrap_or(name);
    !fnmatch::glob(Path::new(&format!("/etc/rc[2345].d/S[0-9][0-9]{name}"))).is_empty()
}

/// Whether the unit starts at boot, as `systemctl is-enabled` decides it.
///
/// What has nothing to enable is left alone in either case: `static` units have no `[Install]` section, and Ansible
/// would report a change for them each time.
fn is_enabled(unit: &Unit, name: &str, wanted: bool, host: &Host, scope: Scope) -> bool {
    match unit.get("UnitFileState") {
        "enabled" => true,
        "enabled-runtime" => !wanted,
        "static" | "transient" => wanted,
        "generated" if sysv_script(name) => sysv_enabled(name),
        "generated" => wanted,
        "alias" => true,
        // It pulls in others instead: those tell.
        "indirect" => also_enabled(unit, host, scope),
        "" if sysv_script(name) => sysv_enabled(name),
        _ => false,
    }
}

fn also_enabled(unit: &Unit, host: &Host, scope: Scope) -> bool {
    let text = std::fs::read_to_string(unit.get("FragmentPath")).unwrap_or_default();
    let mut names =
        text.lines().filter_map(|line| line.trim().strip_prefix("Also=")).flat_map(str::split_whitespace);
    let mut any = false;
    let all = names.all(|name| {
        any = true;
        units::unit(host, scope, name).is_ok_and(|also| also.get("UnitFileState") == "enabled")
    });
    any && all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_plain() {
        let params =
            Params::parse(&map! { "name" => "x", "state" => "started", "no_block" => true }).unwrap();
        let words = |cmd: Cmd| cmd.argv.iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>();
        assert_eq!(
            words(command(Scope::System, "x", "start", &params)),
            ["systemctl", "--no-block", "start", "--", "x"]
        );
        assert_eq!(
            words(command(Scope::User, "x", "mask", &params)),
            ["systemctl", "--user", "mask", "--", "x"]
        );
    }

    #[test]
    fn wants_a_name() {
        let host = Host::new(Rc::new(crate::upstream::NoUpstream));
        let message =
            |args: Map| plan(Params::parse(&args).unwrap(), &host).err().map(|failure| failure.msg).unwrap();
        assert!(message(map! { "state" => "started" }).contains("need the parameter `name`"));
        assert!(message(map! { "state" => "started", "name" => "a*" }).contains("is a pattern"));
        assert!(Params::parse(&map! { "scope" => "user" }).is_err());
    }
}
