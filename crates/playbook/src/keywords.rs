//! The keywords of plays, roles, blocks, tasks and handlers, as documented in Ansible's *Playbook Keywords*.
//!
//! One table serves the checks, the suggestions and the JSON Schema.

/// Where a keyword may stand; several are or-ed.
pub mod on {
    /// A play.
    pub const PLAY: u8 = 1;
    /// An entry of `roles`.
    pub const ROLE: u8 = 2;
    /// A block.
    pub const BLOCK: u8 = 4;
    /// A task.
    pub const TASK: u8 = 8;
    /// A handler (which may have all of a task's).
    pub const HANDLER: u8 = 16;
    /// An `import_playbook`.
    pub const IMPORT: u8 = 32;
    /// Everything that runs something.
    pub const ALL: u8 = PLAY | ROLE | BLOCK | TASK | HANDLER;
    /// Everything but the play.
    pub const INNER: u8 = ROLE | BLOCK | TASK | HANDLER;
    /// Tasks and handlers.
    pub const TASKS: u8 = TASK | HANDLER;
}

/// What a keyword's value looks like. Each but those that say otherwise may be a template instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Text.
    Text,
    /// A boolean.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// A number, with or without `%`.
    Percent,
    /// A list of texts, or text split at commas.
    Words,
    /// A list, or one item.
    List,
    /// An expression or a list of them, without `{{ }}`.
    Conditions,
    /// A mapping.
    Map,
    /// A list of tasks and blocks; never a template.
    Tasks,
    /// Anything.
    Any,
}

/// A keyword.
#[derive(Debug)]
pub struct Keyword {
    /// Its name.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Where it may stand: [`on`].
    pub on: u8,
    /// What it does.
    pub doc: &'static str,
}

const fn key(name: &'static str, shape: Shape, on: u8, doc: &'static str) -> Keyword {
    Keyword { name, shape, on, doc }
}

use Shape::{Any, Bool, Conditions, Int, List, Map, Number, Percent, Tasks, Text, Words};
use on::{ALL, BLOCK, HANDLER, IMPORT, INNER, PLAY, ROLE, TASKS};

/// All keywords.
pub static KEYWORDS: &[Keyword] = &[
    key("name", Text, ALL | IMPORT, "What it is called in output."),
    key("hosts", List, PLAY, "Groups, hosts or patterns to run on."),
    key("import_playbook", Text, IMPORT, "A playbook whose plays stand here."),
    key("role", Text, ROLE, "The role's name or path."),
    key("pre_tasks", Tasks, PLAY, "Tasks before the roles."),
    key("roles", List, PLAY, "Roles, run between `pre_tasks` and `tasks`."),
    key("tasks", Tasks, PLAY, "Tasks after the roles."),
    key("post_tasks", Tasks, PLAY, "Tasks after `tasks`."),
    key("handlers", Tasks, PLAY, "Tasks that run when another task notifies them."),
    key("block", Tasks, BLOCK, "Tasks that share keywords."),
    key("rescue", Tasks, BLOCK, "Tasks that run when one in `block` failed."),
    key("always", Tasks, BLOCK, "Tasks that run after `block` and `rescue`, whatever happened."),
    key("gather_facts", Bool, PLAY, "Whether facts are gathered first."),
    key("gather_subset", Words, PLAY, "Which facts are gathered."),
    key("gather_timeout", Int, PLAY, "Seconds that gathering one kind of facts may take."),
    key("fact_path", Text, PLAY, "Directory of local facts."),
    key("vars", Map, ALL | IMPORT, "Variables."),
    key("vars_files", List, PLAY, "Files with variables."),
    key("vars_prompt", List, PLAY, "Variables to ask the user for."),
    key("force_handlers", Bool, PLAY, "Whether notified handlers run even after a failure."),
    key(
        "max_fail_percentage",
        Percent,
        PLAY,
        "Share of a batch's hosts that may fail before the play is over.",
    ),
    key("serial", List, PLAY, "How many hosts at a time: number, percentage, or a list of them."),
    key("strategy", Text, PLAY, "`linear`, `free` or `host_pinned`."),
    key(
        "order",
        Text,
        PLAY,
        "Order of hosts: `inventory`, `sorted`, `reverse_sorted`, `reverse_inventory`, `shuffle`.",
    ),
    key("user", Text, PLAY, "Old name of `remote_user`."),
    key("action", Any, TASKS, "The module and its parameters, in the old form."),
    key("local_action", Any, TASKS, "As `action`, with `delegate_to: localhost`."),
    key("args", Map, TASKS, "More parameters for the module."),
    key("loop", List, TASKS, "Items to run the task for, one after the other."),
    key("loop_control", Map, TASKS, "How the loop behaves."),
    key("register", Text, TASKS, "Variable that gets the result."),
    key("until", Conditions, TASKS, "Try again until this holds."),
    key("retries", Int, TASKS, "How often to try again."),
    key("delay", Number, TASKS, "Seconds between tries."),
    key("changed_when", Conditions, TASKS, "When the task counts as changed."),
    key("failed_when", Conditions, TASKS, "When the task counts as failed."),
    key("async", Int, TASKS, "Seconds that the task may run in the background."),
    key("poll", Int, TASKS, "Seconds between looks at a background task; 0: do not wait."),
    key("listen", Words, HANDLER, "Topics that notify this handler."),
    key("notify", List, BLOCK | TASKS, "Handlers to run if this changes something."),
    key("when", Conditions, INNER | IMPORT, "Run only if this holds."),
    key("tags", Words, ALL | IMPORT, "Names to select or leave out tasks by."),
    key("become", Bool, ALL, "Whether to act as another user."),
    key("become_user", Text, ALL, "Whom to act as; root if left out."),
    key("become_method", Text, ALL, "`sudo`, `su` or `doas`."),
    key("become_flags", Text, ALL, "Flags for the become method."),
    key("become_exe", Text, ALL, "Program of the become method."),
    key("environment", List, ALL, "Environment variables for commands: a mapping or a list of them."),
    key("ignore_errors", Bool, ALL, "Whether to go on after a failure."),
    key("ignore_unreachable", Bool, ALL, "Whether to go on when the host cannot be reached."),
    key("any_errors_fatal", Bool, ALL, "Whether a failure on one host ends the play for all."),
    key("no_log", Bool, ALL, "Whether parameters and results are kept out of all output."),
    key("check_mode", Bool, ALL, "Force check mode on or off."),
    key("diff", Bool, ALL, "Force differences on or off."),
    key("run_once", Bool, ALL, "Run on one host only, for all of them."),
    key("throttle", Int, ALL, "How many hosts may run this at the same time."),
    key("timeout", Int, ALL, "Seconds after which the task counts as failed."),
    key("delegate_to", Text, INNER, "Run on that host instead."),
    key("delegate_facts", Bool, INNER, "Whether facts belong to the host delegated to."),
    key("module_defaults", List, ALL, "Default parameters of modules."),
    key(
        "guard",
        Any,
        PLAY | BLOCK | on::TASK,
        "What is changed on the host reverts by itself unless a fresh connection confirms it in time: `60s`, or a mapping with `confirm_within`.",
    ),
    key("connection", Text, ALL, "How to connect: `ssh` or `local`."),
    key("remote_user", Text, ALL, "User to log in as."),
    key("port", Int, ALL, "Port to connect to."),
    key("collections", List, ALL, "Collections in which a play looks for roles; modules need none."),
    key(
        "debugger",
        Text,
        ALL,
        "When a task stops for the user, on a terminal: `always`, `never`, `on_failed`, `on_unreachable`, `on_skipped`.",
    ),
];

/// Loop plugins that `with_` takes.
pub const WITH: &[&str] = &[
    "items",
    "list",
    "flattened",
    "together",
    "dict",
    "sequence",
    "subelements",
    "nested",
    "cartesian",
    "random_choice",
    "first_found",
    "fileglob",
    "indexed_items",
    "ini",
    "lines",
    "inventory_hostnames",
    "file",
    "env",
    "pipe",
    "password",
    "template",
    "varnames",
    "vars",
    "url",
    "csvfile",
    "config",
    "unvault",
];

/// Keys of `loop_control`.
pub const LOOP_CONTROL: &[&str] =
    &["loop_var", "index_var", "label", "pause", "extended", "extended_allitems", "break_when"];

/// Keys of `guard`.
pub const GUARD: &[&str] = &["confirm_within"];

/// Keys of an entry of `vars_prompt`.
pub const VARS_PROMPT: &[&str] =
    &["name", "prompt", "default", "private", "confirm", "encrypt", "salt_size", "salt", "unsafe"];

/// The keyword of that name, if it may stand there.
pub fn find(name: &str, level: u8) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name && keyword.on & level != 0)
}

/// The names of all keywords that may stand there.
pub fn names(level: u8) -> impl Iterator<Item = &'static str> {
    KEYWORDS.iter().filter(move |keyword| keyword.on & level != 0).map(|keyword| keyword.name)
}
