//! What systemd knows of units, asked once for many: `systemctl show` of ten units costs little more than of one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::thread::JoinHandle;

use crate::exec::Cmd;
use crate::{Failure, Host, Map, Value};
use debark_value::Order;

/// The manager that is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// The system's.
    #[default]
    System,
    /// The one of the user that the agent runs as.
    User,
    /// The files of all users' managers.
    Global,
}

/// The properties of a unit, as `systemctl show` prints them.
#[derive(Debug, Default)]
pub struct Unit {
    properties: Map,
}

impl Unit {
    /// A property's text, empty if the unit has none of that name.
    pub fn get(&self, name: &str) -> &str {
        self.properties.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// All properties.
    pub fn properties(&self) -> &Map {
        &self.properties
    }

    /// Whether systemd has a file for it.
    pub fn exists(&self) -> bool {
        !matches!(self.get("LoadState"), "not-found" | "")
    }

    /// Whether it runs or is about to.
    pub fn is_running(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "activating" | "reloading" | "refreshing")
    }
}

#[derive(Default)]
struct Known {
    units: RefCell<HashMap<(Scope, String), Rc<Unit>>>,
    /// Names that later tasks will ask for.
    announced: RefCell<Vec<String>>,
    /// The question about them, while it is being answered.
    asked: RefCell<Option<Asked>>,
}

/// Names, and the thread that asks for them.
type Asked = (Vec<String>, JoinHandle<Option<String>>);

/// Asks for units that tasks will ask for, all at once, while the tasks before them run: the answer takes systemd longer than it
/// takes a host to find that dozens of tasks have nothing to do. Whatever changes the host drops it with all else that
/// is known. Nobody but the caller may be at work on the host; otherwise `alone` is false, and the names are only announced.
pub fn prefetch(host: &Host, names: &[String], alone: bool) {
    // Names with templates or patterns are no names yet.
    let mut plain: Vec<String> =
        names.iter().filter(|name| is_plain(name)).map(|name| full_name(name)).collect();
    let Some(known) = known(host).ok().filter(|_| !plain.is_empty()) else { return };
    plain.order();
    plain.dedup();
    if alone && systemd_runs() {
        let cmd = systemctl(Scope::System).arg("show").arg("--").args(&plain);
        let ask = move || {
            crate::exec::Executor::default()
                .run(&cmd, &[])
                .ok()
                .filter(|output| output.rc == 0)
                .map(|output| output.out())
        };
        if let Ok(thread) = std::thread::Builder::new().spawn(ask) {
            *known.asked.borrow_mut() = Some((plain, thread));
            return;
        }
    }
    known.announced.borrow_mut().extend(plain);
}

fn known(host: &Host) -> Result<Rc<Known>, Failure> {
    host.cached(|_| Ok(Known::default()))
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && !name.contains(['*', '?', '[', '{', '\n', ' ', '/'])
}

/// The name with `.service` if it has no type, as systemctl(1) completes it.
pub fn full_name(name: &str) -> String {
    const TYPES: [&str; 11] = [
        "service",
        "socket",
        "timer",
        "target",
        "mount",
        "automount",
        "swap",
        "path",
        "slice",
        "scope",
        "device",
    ];
    match name.rsplit_once('.') {
        Some((_, end)) if TYPES.contains(&end) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}

/// `systemctl` for that manager.
pub fn systemctl(scope: Scope) -> Cmd {
    let cmd =
        Cmd::new("systemctl").env("LC_ALL", "C.UTF-8").env("SYSTEMD_PAGER", "").env("SYSTEMD_COLORS", "0");
    match scope {
        Scope::System => cmd,
        Scope::User => with_runtime_dir(cmd).arg("--user"),
        Scope::Global => with_runtime_dir(cmd).arg("--global"),
    }
}

fn with_runtime_dir(cmd: Cmd) -> Cmd {
    if std::env::var_os("XDG_RUNTIME_DIR").is_some() {
        return cmd;
    }
    cmd.env("XDG_RUNTIME_DIR", format!("/run/user/{}", rustix::process::geteuid().as_raw()))
}

impl Known {
    /// Takes up an answer: one block per name, in their order.
    fn learn(&self, scope: Scope, names: &[String], text: &str) {
        let mut units = self.units.borrow_mut();
        for (name, block) in names.iter().zip(blocks(text)) {
            units.insert((scope, name.clone()), Rc::new(Unit { properties: block }));
        }
    }
}

/// Whether systemd runs the host.
pub fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The unit of that name; asks for it and all announced ones unless it is known.
///
/// # Errors
/// systemctl cannot be run, or its manager does not answer.
pub fn unit(host: &Host, scope: Scope, name: &str) -> Result<Rc<Unit>, Failure> {
    let name = full_name(name);
    let known = known(host)?;
    if let Some((names, thread)) = known.asked.borrow_mut().take_if(|_| scope == Scope::System) {
        match thread.join() {
            Ok(Some(text)) => known.learn(scope, &names, &text),
            _ => known.announced.borrow_mut().extend(names),
        }
    }
    if let Some(unit) = known.units.borrow().get(&(scope, name.clone())) {
        return Ok(unit.clone());
    }
    let mut names = vec![name.clone()];
    if scope == Scope::System {
        names.extend(known.announced.take());
        names.order();
        names.dedup();
        names.retain(|name| !known.units.borrow().contains_key(&(scope, name.clone())));
    }
    let cmd = systemctl(scope).arg("show").arg("--").args(&names);
    let output = host.exec(&cmd)?;
    if output.rc != 0 {
        return Err(output.failure(&cmd));
    }
    known.learn(scope, &names, &output.out());
    let unit = known.units.borrow().get(&(scope, name.clone())).cloned();
    unit.ok_or_else(|| Failure::new(format!("systemctl show says nothing of {name}")))
}

/// Drops an answer that nobody has looked at yet: something changed that may be a unit's file.
pub fn settle(host: &Host) {
    let Ok(known) = known(host) else { return };
    let asked = known.asked.take();
    known.announced.borrow_mut().extend(asked.map(|(names, _)| names).unwrap_or_default());
}

/// Drops what is known: something changed.
pub fn forget(host: &Host) {
    // What was announced still comes, and is worth one question again.
    if let Ok(known) = known(host) {
        settle(host);
        let seen: Vec<String> = known.units.take().into_keys().map(|(_, name)| name).collect();
        known.announced.borrow_mut().extend(seen);
    }
}

/// Reads `systemctl show`: `Key=Value` lines, blocks separated by empty lines. Only values of `Exec*` that start with
/// `{` may go on over several lines.
fn blocks(text: &str) -> Vec<Map> {
    let mut blocks = Vec::new();
    let mut block = Map::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        if let Some((key, mut value)) = open.take() {
            value.push('\n');
            value.push_str(line);
            if line.trim_end().ends_with('}') {
                block.insert(key.into(), value.trim().into());
            } else {
                open = Some((key, value));
            }
        } else if line.is_empty() {
            blocks.push(std::mem::take(&mut block));
        } else if let Some((key, value)) = line.split_once('=') {
            if key.starts_with("Exec") && value.starts_with('{') && !value.trim_end().ends_with('}') {
                open = Some((key.to_owned(), value.to_owned()));
            } else {
                block.insert(key.into(), value.trim().into());
            }
        }
    }
    if !block.is_empty() {
        blocks.push(block);
    }
    blocks
}

/// A unit file's name like the one that does not exist.
pub fn suggestion(host: &Host, scope: Scope, name: &str) -> Option<String> {
    let cmd = systemctl(scope).args(["list-unit-files", "--no-legend", "--no-pager"]);
    let output = host.exec(&cmd).ok()?.out();
    let wanted = full_name(name);
    let names = output.lines().filter_map(|line| line.split_whitespace().next());
    let score = |other: &&str| strsim::jaro_winkler(&wanted, other);
    let best = names.max_by(|a, b| score(a).total_cmp(&score(b))).filter(|best| score(best) > 0.88)?;
    Some(format!("did you mean `{}`?", best.strip_suffix(".service").unwrap_or(best)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_blocks() {
        let text =
            "Id=a.service\nExecStart={ path=/a ; argv[]=/a b\nc ; }\nDescription={ x\n\nId=b.service\n";
        let blocks = blocks(text);
        assert_eq!(blocks.len(), 2);
        assert_eq!(
            blocks[0].get("ExecStart").and_then(Value::as_str),
            Some("{ path=/a ; argv[]=/a b\nc ; }")
        );
        assert_eq!(blocks[0].get("Description").and_then(Value::as_str), Some("{ x"));
        assert_eq!(blocks[1].get("Id").and_then(Value::as_str), Some("b.service"));
    }

    #[test]
    fn completes_names() {
        assert_eq!(full_name("ssh"), "ssh.service");
        assert_eq!(full_name("a.b"), "a.b.service");
        assert_eq!(full_name("x.timer"), "x.timer");
        assert!(!is_plain("{{ x }}") && !is_plain("a*") && is_plain("getty@tty1"));
    }
}
