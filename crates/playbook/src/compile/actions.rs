//! What a task can do: modules, and the actions that the interpreter handles itself.

use debark_modules::builtin::{builtin_spec, builtin_specs};
use debark_modules::param::Spec;

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
