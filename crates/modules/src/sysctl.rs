//! `sysctl`: kernel settings, in a file and in the running kernel.

use std::path::{Path, PathBuf};

use crate::edit::{Edit, Owner};
use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Plan, Value, choices, map, params};

choices! {
    /// Whether the setting should be in the file.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Manages kernel settings.
    pub struct Params for "ansible.posix.sysctl" {
        /// The setting, with dots.
        name | key: String,
        /// Its value.
        value | val: Option<String>,
        /// Whether it should be in the file.
        state: State = State::Present,
        /// Load the file after a change.
        reload: bool = true,
        /// Also set the value in the running kernel.
        sysctl_set: bool = false,
        /// Settings that the kernel does not know are no error.
        ignoreerrors: bool = false,
        /// The file.
        sysctl_file: PathBuf = PathBuf::from("/etc/sysctl.conf"),
    }
    rules Rules { when: &[("state", "present", &["value"])], ..NO_RULES }
}

fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (key, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';']))?;
    Some((key.trim(), value.trim()))
}

/// The file's new text: the first line of the setting gets the value, further ones go; other lines stay.
fn edited(before: &str, name: &str, value: Option<&str>) -> String {
    let mut lines = Vec::new();
    let mut found = false;
    for line in before.lines() {
        match (setting(line).filter(|(key, _)| *key == name), value) {
            (None, _) => lines.push(line.to_owned()),
            (Some((_, now)), Some(value)) if !found => {
                found = true;
                lines.push(if now == value { line.to_owned() } else { format!("{name}={value}") });
            }
            _ => {}
        }
    }
    if let Some(value) = value.filter(|_| !found) {
        lines.push(format!("{name}={value}"));
    }
    let after: String = lines.iter().map(|line| format!("{line}\n")).collect();
    if lines.iter().map(String::as_str).eq(before.lines()) { before.to_owned() } else { after }
}

/// What the kernel has; nothing if it does not know the setting. As sysctl(8): dots and slashes change places.
fn running(name: &str) -> Option<String> {
    let swapped = |c: char| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    // `net/ipv4/...` is understood as well as `net.ipv4...`: the first separator tells which is meant.
    let path: String = match name.find(['.', '/']).and_then(|at| name.get(at..=at)) {
        Some("/") => name.to_owned(),
        _ => name.chars().map(swapped).collect(),
    };
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
    Some(text.trim().to_owned())
}

fn same(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

fn sysctl(words: &[&str], ignore: bool) -> Cmd {
    let cmd = Cmd::new("sysctl").env("LC_ALL", "C");
    let cmd = if ignore { cmd.arg("-e") } else { cmd };
    cmd.args(words)
}

/// sysctl(8) reports some refusals with exit code 0.
fn run(host: &Host, cmd: &Cmd) -> Result<(), Failure> {
    let output = host.exec_ok(cmd)?;
    let err = output.err();
    let refused = err.lines().find(|line| {
        line.starts_with("sysctl: setting key")
            && (line.ends_with(": Invalid argument") || line.ends_with(": Read-only file system"))
    });
    match refused {
        Some(line) => Err(Failure::new(line.to_owned()).with(output.result())),
        None => Ok(()),
    }
}

/// Compares file and kernel with what is declared.
///
/// # Errors
/// The name or the value is empty or holds a line break; the file cannot be read.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    let name = params.name.trim().to_owned();
    let value = params.value.as_deref().map(|text| match Value::from(text).to_bool() {
        Ok(flag) => if flag { "1" } else { "0" }.to_owned(),
        Err(_) => text.trim().to_owned(),
    });
    let present = params.state == State::Present;
    let value = value.filter(|_| present);
    if name.is_empty() || name.starts_with('-') || name.contains(['\n', '=']) {
        return Err(Failure::new(format!("{:?} is no name of a kernel setting", params.name)));
    }
    if present && value.as_ref().is_none_or(|value| value.is_empty() || value.contains('\n')) {
        return Err(Failure::new(format!("the value of {name} is empty or holds a line break")));
    }
    let edit = Edit::read(&params.sysctl_file)?;
    let after = edited(edit.text(), &name, value.as_deref());
    let write = after != edit.text();
    let now = running(&name);
    let differs = value.as_ref().is_some_and(|value| now.as_ref().is_none_or(|now| !same(now, value)));
    let set = differs && params.sysctl_set;
    let reload = params.reload && (write || differs || set);
    if !write && !set && !reload {
        return Ok(Plan::ok(map! {}));
    }
    let mut diff = Vec::new();
    if write {
        diff.push(edit.diff(&after));
    }
    if differs && (set || reload) {
        diff.push(Diff::property(&name, "value", now.unwrap_or_default(), value.clone().unwrap_or_default()));
    }
    Ok(Plan::change(map! {}, diff, move |host| {
        if set && let Some(value) = &value {
            run(host, &sysctl(&["-w", &format!("{name}={value}")], params.ignoreerrors))?;
        }
        if write {
            edit.write(host, &after, Owner::default(), false)?;
        }
        if reload {
            run(host, &sysctl(&["-p", &edit.path().to_string_lossy()], params.ignoreerrors))?;
        }
        Ok(map! {})
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_one_setting_and_nothing_else() {
        let file = "# swap\nvm.swappiness = 10\n\nnet.a=1\nvm.swappiness=20\n";
        assert_eq!(edited("a=1", "a", Some("1")), "a=1");
        assert_eq!(edited(file, "vm.swappiness", Some("5")), "# swap\nvm.swappiness=5\n\nnet.a=1\n");
        assert_eq!(edited(file, "vm.swappiness", None), "# swap\n\nnet.a=1\n");
        assert_eq!(edited("", "a.b", Some("1")), "a.b=1\n");
        assert_eq!(edited(file, "x", None), file);
    }

    #[test]
    fn reads_the_kernel() {
        assert_eq!(running("kernel.ostype").as_deref(), Some("Linux"));
        assert_eq!(running("kernel/ostype").as_deref(), Some("Linux"));
        assert_eq!(running("kernel.nothing_here"), None);
        assert_eq!(running("../../etc/passwd"), None);
        assert!(same("4096\t87380\t6291456", "4096 87380 6291456"));
    }
}
