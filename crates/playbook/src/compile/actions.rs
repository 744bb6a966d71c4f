//! What a task can do: modules, and the actions that the interpreter handles itself.

use debark_modules::builtin::{builtin_spec, builtin_specs};
use debark_modules::param::{NO_RULES, Rules, Spec};

use crate::diagnostic::{Diagnostic, closest};

/// What text behind a module's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Free {
    /// `k=v` only.
    Pairs,
    /// A command line; only a command's options are `k=v`.
    Command,
    /// `k=v`, and other text is kept.
    Text,
}

/// A module or action.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolved {
    /// Short canonical name.
    pub name: &'static str,
    pub spec: &'static Spec,
    pub free: Free,
}

/// What is known of modules that debark does not have: nothing.
pub(super) const FOREIGN: Resolved = Resolved {
    name: "",
    spec: &Spec { name: "", doc: "", fields: &[], common: &[], rules: Rules { any_key: true, ..NO_RULES } },
    free: Free::Text,
};

/// Whether Ansible has a module of that name, or may have: what other collections hold is not known here.
pub(super) fn is_foreign(name: &str) -> bool {
    const OURS: [&str; 4] = ["ansible.builtin.", "ansible.legacy.", "ansible.posix.", "community.general."];
    let of_collection = name.split('.').count() == 3 && name.split('.').all(is_word);
    match OURS.iter().find_map(|collection| name.strip_prefix(collection)) {
        Some(short) => is_listed(short),
        None => of_collection || is_listed(name),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_listed(name: &str) -> bool {
    include_str!("foreign.txt").lines().any(|line| line == name)
}

/// Modules whose text is a command line.
const COMMANDS: [&str; 5] = ["command", "shell", "script", "raw", "expect"];

/// The module or action of that name.
///
/// # Errors
/// There is none; the hint names one that is close.
pub(super) fn resolve(name: &str) -> Result<Resolved, Diagnostic> {
    let spec = match debark_modules::find(name) {
        Some(module) => Some(module.spec),
        None => builtin_spec(name).filter(|spec| debark_modules::short_name(spec.name) != "import_playbook"),
    };
    if let Some(spec) = spec {
        let name = debark_modules::short_name(spec.name);
        let free = match spec.rules.free_form {
            _ if COMMANDS.contains(&name) => Free::Command,
            Some(_) => Free::Text,
            None => Free::Pairs,
        };
        return Ok(Resolved { name, spec, free });
    }
    Err(Diagnostic::error(format!("there is no module `{name}`")).maybe_hint(suggestion(name)))
}

fn suggestion(name: &str) -> Option<String> {
    match debark_modules::short_name(name) {
        "include" => {
            return Some(
                "`include` is gone: use `include_tasks`, `import_tasks` or `import_playbook`".into(),
            );
        }
        "import_playbook" => return Some("`import_playbook` stands beside plays, not within one".into()),
        "yum" | "dnf" | "apk" | "pacman" | "zypper" => {
            return Some("on Debian use `apt` or `package`".into());
        }
        // What exists is no typing error.
        _ if is_foreign(name) => {
            return Some(
                "debark does not have it: do it with `command`, or put it under a condition that no host of the play meets"
                    .into(),
            );
        }
        _ => {}
    }
    closest(debark_modules::short_name(name), names()).map(|near| format!("did you mean `{near}`?"))
}

/// All names that [`resolve`] knows, without collections.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let modules = debark_modules::names().flat_map(|module| {
        std::iter::once(debark_modules::short_name(module.spec.name)).chain(module.aliases.iter().copied())
    });
    builtin_specs().map(|spec| debark_modules::short_name(spec.name)).chain(modules)
}
