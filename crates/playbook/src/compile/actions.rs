//! What a task can do: modules, and the actions that the interpreter handles itself.

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

/// Parameters as far as they are known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Params {
    /// Declared by the module.
    Spec(&'static Spec),
    /// These names; with `true` any other as well.
    Names(&'static [&'static str], bool),
}

/// A module or action.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolved {
    /// Short canonical name.
    pub name: &'static str,
    pub params: Params,
    pub free: Free,
}

/// Actions of the interpreter: name, parameters, whether others may be given as well, whether it takes free text.
const ACTIONS: &[(&str, &[&str], bool, bool)] = &[
    ("debug", &["msg", "var", "verbosity"], false, false),
    ("assert", &["that", "fail_msg", "msg", "success_msg", "quiet"], false, false),
    ("fail", &["msg"], false, false),
    ("set_fact", &["cacheable"], true, true),
    (
        "include_vars",
        &[
            "file",
            "dir",
            "name",
            "depth",
            "files_matching",
            "ignore_files",
            "extensions",
            "ignore_unknown_extensions",
            "hash_behaviour",
        ],
        false,
        true,
    ),
    ("include_tasks", &["file", "apply"], false, true),
    ("import_tasks", &["file"], false, true),
    (
        "include_role",
        &[
            "name",
            "role",
            "tasks_from",
            "vars_from",
            "defaults_from",
            "handlers_from",
            "apply",
            "public",
            "allow_duplicates",
            "rolespec_validate",
        ],
        false,
        true,
    ),
    (
        "import_role",
        &[
            "name",
            "role",
            "tasks_from",
            "vars_from",
            "defaults_from",
            "handlers_from",
            "public",
            "allow_duplicates",
            "rolespec_validate",
        ],
        false,
        true,
    ),
    ("add_host", &["name", "hostname", "host", "groups", "groupname", "group"], true, true),
    ("group_by", &["key", "parents"], false, true),
    ("meta", &[], false, true),
    ("async_status", &["jid", "mode"], false, false),
    ("set_stats", &["data", "per_host", "aggregate"], false, false),
    (
        "validate_argument_spec",
        &["argument_spec", "provided_arguments", "validate_args_context"],
        false,
        false,
    ),
    ("pause", &["minutes", "seconds", "prompt", "echo"], false, false),
    ("wait_for_connection", &["connect_timeout", "delay", "sleep", "timeout"], false, false),
    (
        "reboot",
        &[
            "pre_reboot_delay",
            "post_reboot_delay",
            "reboot_timeout",
            "connect_timeout",
            "test_command",
            "msg",
            "search_paths",
            "boot_time_command",
            "reboot_command",
        ],
        false,
        false,
    ),
    ("gather_facts", &["parallel", "gather_subset", "gather_timeout", "filter", "fact_path"], false, false),
];

/// Modules whose text is a command line.
const COMMANDS: [&str; 5] = ["command", "shell", "script", "raw", "expect"];

/// The module or action of that name.
///
/// # Errors
/// There is none; the hint names one that is close.
pub(super) fn resolve(name: &str) -> Result<Resolved, Diagnostic> {
    let short = debark_modules::short_name(name);
    if let Some(&(name, params, open, text)) = ACTIONS.iter().find(|action| action.0 == short) {
        let free = if text { Free::Text } else { Free::Pairs };
        return Ok(Resolved { name, params: Params::Names(params, open), free });
    }
    if let Some(module) = debark_modules::find(name) {
        let name = debark_modules::short_name(module.spec.name);
        let free = if COMMANDS.contains(&name) { Free::Command } else { Free::Pairs };
        return Ok(Resolved { name, params: Params::Spec(module.spec), free });
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
    ACTIONS.iter().map(|action| action.0).chain(modules)
}
