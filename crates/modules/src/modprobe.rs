//! `modprobe`: kernel modules, now and after a boot.

use std::path::{Path, PathBuf};

use crate::edit::{Edit, Owner};
use crate::exec::Cmd;
use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Plan, choices, map, params};
use debark_value::Order;

choices! {
    /// Whether the module should be loaded.
    pub enum State { Present = "present", Absent = "absent" }
}

choices! {
    /// Whether it should also be so after a boot.
    pub enum Persistent { Disabled = "disabled", Absent = "absent", Present = "present" }
}

params! {
    /// Loads kernel modules, or unloads them.
    pub struct Params for "community.general.modprobe" {
        /// The module.
        name: String,
        /// Whether it should be loaded.
        state: State = State::Present,
        /// Its parameters.
        params: String = String::new(),
        /// Whether it should also be so after a boot.
        persistent: Persistent = Persistent::Disabled,
    }
    rules NO_RULES
}

const LOAD: &str = "/etc/modules-load.d";
const OPTIONS: &str = "/etc/modprobe.d";

/// Dashes and underscores are one in names of modules, modprobe(8).
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn is_loaded(name: &str, modules: &str, builtin: &str) -> bool {
    let name = normal(name);
    let file = |line: &str| line.rsplit('/').next().and_then(|f| f.strip_suffix(".ko")).map(normal);
    modules.lines().any(|line| line.split(' ').next().is_some_and(|module| normal(module) == name))
        || builtin.lines().any(|line| file(line).as_ref() == Some(&name))
}

fn is_named(line: &str, name: &str) -> bool {
    normal(line.trim()) == normal(name)
}

fn is_option(line: &str, name: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("options") && words.next().is_some_and(|module| normal(module) == normal(name))
}

/// Files of a directory whose names end in `.conf`, with their texts.
fn configs(dir: &str) -> Result<Vec<Edit>, Failure> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "conf") && path.is_file())
        .collect();
    paths.order();
    paths.iter().map(|path| Edit::read(path)).collect()
}

/// The files that make the module load, or not, at boot: each with its new text.
fn persist(params: &Params) -> Result<Vec<(Edit, String)>, Failure> {
    let mut edits = Vec::new();
    if params.persistent == Persistent::Disabled {
        return Ok(edits);
    }
    let present = params.persistent == Persistent::Present;
    type IsOwn = fn(&str, &str) -> bool;
    let wanted = [
        (LOAD, is_named as IsOwn, params.name.clone(), present),
        (
            OPTIONS,
            is_option as IsOwn,
            format!("options {} {}", params.name, params.params),
            present && !params.params.is_empty(),
        ),
    ];
    for (dir, is_own, line, present) in wanted {
        let files = configs(dir)?;
        let is_right = |text: &str| match dir {
            LOAD => is_own(text, &params.name),
            _ => text.split_whitespace().eq(line.split_whitespace()),
        };
        let found = files.iter().flat_map(|file| file.text().lines()).any(&is_right);
        for file in files {
            let keep = |text: &str| !is_own(text, &params.name) || present && is_right(text);
            if file.text().lines().any(|text| !keep(text)) {
                // Commented out rather than deleted, as Ansible does: someone wrote it.
                let after = file
                    .text()
                    .lines()
                    .map(|text| if keep(text) { format!("{text}\n") } else { format!("#{text}\n") });
                let after = after.collect();
                edits.push((file, after));
            }
        }
        if present && !found {
            let file = Edit::read(&Path::new(dir).join(format!("{}.conf", params.name)))?;
            // Lines that are wrong in this very file are in `edits` already.
            let base =
                edits.iter().position(|(edit, _)| edit.path() == file.path()).map(|at| edits.remove(at));
            let text = base.map_or_else(|| file.text().to_owned(), |(_, text)| text);
            edits.push((file, format!("{text}{line}\n")));
        }
    }
    Ok(edits)
}

/// Compares the loaded modules with what is declared.
///
/// # Errors
/// The name is none, or a file cannot be read.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    if params.name.is_empty() || params.name.starts_with(['-', '.']) || params.name.contains(['/', '\n', ' '])
    {
        return Err(Failure::new(format!("{:?} is no name of a kernel module", params.name)));
    }
    if params.params.contains('\n') {
        return Err(Failure::new(format!("the parameters of {} hold a line break", params.name)));
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = std::fs::read_to_string("/proc/modules").unwrap_or_default();
    let builtin =
        std::fs::read_to_string(format!("/lib/modules/{release}/modules.builtin")).unwrap_or_default();
    let loaded = is_loaded(&params.name, &modules, &builtin);
    let present = params.state == State::Present;
    let edits = persist(&params)?;
    let result = map! {
        "name" => params.name.clone(), "params" => params.params.clone(), "state" => params.state.word(),
    };
    if loaded == present && edits.is_empty() {
        return Ok(Plan::ok(result));
    }
    let mut diff: Vec<Diff> = edits.iter().map(|(edit, after)| edit.diff(after)).collect();
    if loaded != present {
        let word = |present: bool| if present { "present" } else { "absent" };
        diff.push(Diff::property(format!("module {}", params.name), "state", word(loaded), word(present)));
    }
    Ok(Plan::change(result, diff, move |host| {
        if loaded != present {
            let cmd = Cmd::new("modprobe");
            let cmd = if present { cmd } else { cmd.arg("-r") };
            let words: Vec<&str> = params.params.split_whitespace().filter(|_| present).collect();
            host.exec_ok(&cmd.arg("--").arg(&params.name).args(words))?;
        }
        for (edit, after) in &edits {
            if let Some(dir) = edit.path().parent() {
                std::fs::create_dir_all(dir).map_err(|e| Failure::io("cannot create", dir, e))?;
            }
            edit.write(host, after, Owner::default(), false)?;
        }
        Ok(map! {})
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaded_or_built_in() {
        assert!(is_loaded("br-netfilter", "br_netfilter 32768 0 - Live 0x0\n", ""));
        assert!(is_loaded("loop", "", "kernel/drivers/block/loop.ko\n"));
        assert!(!is_loaded("loo", "loop 1 0\n", "kernel/drivers/block/loop.ko\n"));
    }

    #[test]
    fn recognises_its_lines() {
        assert!(is_named(" br_netfilter ", "br-netfilter") && !is_named("#loop", "loop"));
        assert!(is_option("options loop max_loop=8", "loop") && !is_option("options loopx a=1", "loop"));
    }

    #[test]
    fn refuses_paths_and_options() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        for name in ["../x", "-r", "", "a b"] {
            assert!(plan(Params::parse(&map! { "name" => name }).unwrap(), &host).is_err(), "{name}");
        }
    }
}
