//! What check mode has foreseen: it applies nothing, so later tasks look at a host that is not yet as it will be.
//!
//! Three answers of a module are put right by it. A failure after a foreseen change is not known to be one. A call that
//! was foreseen to change something has nothing left to do when it comes again, as in a role that is used twice. And
//! that nothing is to be done about a path that is not there says little if an earlier task would make it.

use std::collections::HashMap;
use std::path::Path;

use debark_value::{Map, Value, map};
use debark_wire::{Invocation, Outcome};

/// Modules that give the same host when they are called twice with the same parameters.
const REPEATABLE: &[&str] = &[
    "apt",
    "apt_repository",
    "authorized_key",
    "blockinfile",
    "copy",
    "cron",
    "deb822_repository",
    "file",
    "group",
    "ini_file",
    "known_hosts",
    "lineinfile",
    "locale_gen",
    "mount",
    "package",
    "pam_limits",
    "sysctl",
    "template",
    "user",
];
/// Those of them that each time look at a part of the target only.
const PARTIAL: &[&str] = &[
    "authorized_key",
    "blockinfile",
    "cron",
    "ini_file",
    "known_hosts",
    "lineinfile",
    "locale_gen",
    "pam_limits",
];
/// Modules that may leave anything anywhere.
const OPAQUE: &[&str] = &["apt", "package", "unarchive", "git", "user"];
/// What is done each time anew.
const ALWAYS: &[&str] = &["touch", "latest", "build-dep"];

/// What earlier tasks would change.
#[derive(Default)]
pub struct Foresight {
    /// Calls by what they are about: a path, or `module name`.
    calls: HashMap<String, Vec<(String, Map)>>,
    opaque: bool,
    /// Whether anything was foreseen.
    pub any: bool,
}

impl Foresight {
    /// What a call really came to, as far as earlier ones tell; `here`: on this host, not on a delegate.
    pub fn revise(&mut self, call: &Invocation, mut outcome: Outcome, here: bool) -> Outcome {
        if outcome.failed {
            if !self.any {
                return outcome;
            }
            let msg = outcome.result.get("msg").map(Value::to_string).unwrap_or_default();
            return unknown(format!("it fails now ({msg}), but earlier tasks would change the host first"));
        }
        if outcome.unknown.is_some() || !here {
            self.opaque |= here;
            return outcome;
        }
        let target = target(call, &outcome);
        if !outcome.changed {
            return match self.maker(&target) {
                Some(why) => unknown(why),
                None => outcome,
            };
        }
        self.opaque |= OPAQUE.contains(&call.module.as_str());
        let known = self.calls.entry(target).or_default();
        let this = (call.module.clone(), call.args.clone());
        if REPEATABLE.contains(&call.module.as_str()) && repeats(&call.args) && known.contains(&this) {
            outcome.changed = false;
            outcome.result.insert("changed".into(), false.into());
            return outcome;
        }
        if !PARTIAL.contains(&call.module.as_str()) {
            known.clear();
        }
        known.push(this);
        outcome
    }

    /// What may make a path that is not there.
    fn maker(&self, target: &str) -> Option<String> {
        let path = Path::new(target);
        let missing = |path: &Path| {
            path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        if !path.is_absolute() || !missing(path) {
            return None;
        }
        let related = |known: &String| Path::new(known).starts_with(path) || path.starts_with(known);
        if self.calls.keys().any(related) || self.opaque && path.parent().is_some_and(missing) {
            return Some(format!("{target} is not there now, but earlier tasks may make it"));
        }
        None
    }
}

/// An outcome that only a run will tell.
fn unknown(why: String) -> Outcome {
    Outcome { result: map! { "changed" => false }, unknown: Some(why), ..Outcome::default() }
}

fn repeats(args: &Map) -> bool {
    let state = args.get("state").and_then(Value::as_str);
    state.is_none_or(|state| !ALWAYS.contains(&state)) && !args.contains_key("upgrade")
}

fn target(call: &Invocation, outcome: &Outcome) -> String {
    let named = [&outcome.result, &call.args].into_iter().find_map(|map| {
        ["path", "dest", "destfile", "paths"].iter().find_map(|name| match map.get(*name)? {
            Value::List(paths) => paths.first()?.as_str(),
            path => path.as_str(),
        })
    });
    let name = call.args.get("name").map(Value::to_string).unwrap_or_default();
    match named {
        Some(path) if path.len() > 1 => path.trim_end_matches('/').to_owned(),
        // `name` is an old name of `path` in the modules for files.
        _ if name.starts_with('/') => name,
        _ => format!("{} {name}", call.module),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(module: &str, args: Map) -> Invocation {
        Invocation { module: module.into(), args, check: true, ..Invocation::default() }
    }

    fn changed() -> Outcome {
        Outcome { changed: true, ..Outcome::default() }
    }

    #[test]
    fn the_same_call_again_has_nothing_to_do() {
        let mut foresight = Foresight::default();
        let mut come =
            |module: &str, args: Map| foresight.revise(&call(module, args), changed(), true).changed;
        let copy = |content: &str| map! { "dest" => "/etc/a", "content" => content };
        assert!(come("copy", copy("1")));
        assert!(!come("copy", copy("1")));
        assert!(come("copy", copy("2")) && come("copy", copy("1")), "each takes the other's place");
        let line = |line: &str| map! { "path" => "/etc/b", "line" => line };
        assert!(come("lineinfile", line("1")) && come("lineinfile", line("2")));
        assert!(!come("lineinfile", line("1")), "lines stand beside each other");
        let restart = || map! { "name" => "nginx", "state" => "restarted" };
        assert!(come("systemd", restart()) && come("systemd", restart()));
        let touch = || map! { "path" => "/etc/c", "state" => "touch" };
        assert!(come("file", touch()) && come("file", touch()));
    }

    #[test]
    fn nothing_to_do_about_what_is_to_come_is_open() {
        let absent = |path: &str| call("file", map! { "path" => path, "state" => "absent" });
        let mut foresight = Foresight::default();
        let none = "/nonexistent/sites/default";
        assert_eq!(foresight.revise(&absent(none), Outcome::default(), true).unknown, None);
        foresight.revise(&call("copy", map! { "dest" => none, "content" => "" }), changed(), true);
        assert!(foresight.revise(&absent(none), Outcome::default(), true).unknown.is_some());
        assert!(foresight.revise(&absent("/nonexistent/sites"), Outcome::default(), true).unknown.is_some());
        assert_eq!(foresight.revise(&absent("/nonexistent/other/x"), Outcome::default(), true).unknown, None);
        foresight.revise(&call("apt", map! { "name" => "nginx" }), changed(), true);
        assert!(
            foresight.revise(&absent("/nonexistent/other/x"), Outcome::default(), true).unknown.is_some()
        );
        assert_eq!(foresight.revise(&absent("/etc/no-such-file"), Outcome::default(), true).unknown, None);
    }
}
