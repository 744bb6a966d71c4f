//! systemd's units of a package, and what their processes run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use debark_order::PackageName;
use debark_order::gate::UnitState;

use crate::{command, dpkg};

const PATIENCE: Duration = Duration::from_secs(30);

/// The services that a package ships, without templates.
pub fn of_package(package: &PackageName, architecture: Option<&str>) -> Vec<String> {
    let list = dpkg::info(package, architecture, "list").unwrap_or_default();
    let name = |line: &str| {
        let path = line.strip_prefix("/usr").unwrap_or(line);
        let name = path.strip_prefix("/lib/systemd/system/")?;
        let fits = name.ends_with(".service") && !name.contains(['/', '@']) && is_name(name);
        fits.then(|| name.to_owned())
    };
    let names: BTreeSet<String> = list.lines().filter_map(name).collect();
    names.into_iter().collect()
}

/// Whether a text is a unit's name, and no option.
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    !text.is_empty() && text.len() < 256 && !text.starts_with('-') && text.bytes().all(fits)
}

/// A unit's properties; one run of systemctl for all units.
pub fn show(units: &[String], properties: &str) -> Vec<BTreeMap<String, String>> {
    let units: Vec<&str> = units.iter().map(String::as_str).filter(|unit| is_name(unit)).collect();
    if units.is_empty() {
        return Vec::new();
    }
    let mut argv = vec!["systemctl", "show", "--property", properties, "--"];
    argv.extend(units);
    let Ok(ended) = command::output(&argv, None, PATIENCE) else { return Vec::new() };
    let parse = |block: &str| {
        let pairs = block.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    ended.stdout.split("\n\n").filter(|block| !block.trim().is_empty()).map(parse).collect()
}

/// What units do.
pub fn states(units: &[String]) -> Vec<UnitState> {
    let state = |shown: BTreeMap<String, String>| {
        let pid = shown.get("MainPID").and_then(|text| text.parse().ok()).filter(|pid| *pid != 0);
        UnitState {
            unit: shown.get("Id").cloned().unwrap_or_default(),
            active: shown.get("ActiveState").cloned().unwrap_or_default(),
            pid,
            executable: pid.and_then(executable),
        }
    };
    show(units, "Id,ActiveState,MainPID").into_iter().map(state).collect()
}

/// What a process runs: a path, with ` (deleted)` if the file has been replaced (proc_pid_exe(5)).
pub fn executable(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// Processes that still run a file of the package that is no longer there: they want a restart.
pub fn outdated(package: &PackageName, architecture: Option<&str>) -> Vec<String> {
    let list = dpkg::info(package, architecture, "list").unwrap_or_default();
    let files: BTreeSet<&str> = list.lines().collect();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some(path) = executable(pid) else { continue };
        let Some(path) = path.strip_suffix(" (deleted)") else { continue };
        // dpkg renames what it replaces before it removes it.
        let path = path.strip_suffix(".dpkg-tmp").unwrap_or(path);
        if files.contains(path) {
            let unit = unit_of(pid).unwrap_or_else(|| format!("process {pid}"));
            found.insert(format!("{unit} still runs {path} as it was before: it wants a restart"));
        }
    }
    found.into_iter().collect()
}

fn unit_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let mut names = text.lines().filter_map(|line| line.rsplit('/').next());
    names.find(|name| name.ends_with(".service")).map(str::to_owned)
}

/// The last lines of a unit's journal.
pub fn log(unit: &str) -> Vec<String> {
    if !is_name(unit) {
        return Vec::new();
    }
    let argv = ["journalctl", "--unit", unit, "--lines=20", "--output=cat", "--no-pager", "--quiet"];
    let ended = command::output(&argv, None, PATIENCE);
    ended.map(|ended| ended.last_lines(20)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_names_are_no_options() {
        assert!(is_name("shop.service") && is_name("a@b-c.service") && is_name(r"dev-x\x2dy.device"));
        for bad in ["", "-x", "a b", "a/b", "a\n", "a;b"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
