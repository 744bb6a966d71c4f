//! What happened on a host, as it is reported.

use debark_value::{Map, Value};
use serde::{Deserialize, Serialize};

/// How a task, or one item of its loop, went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// As declared already.
    Ok,
    /// Changed (in check mode: would change).
    Changed,
    /// Left out: a condition did not hold.
    Skipped,
    /// Failed.
    Failed,
    /// Failed, and `ignore_errors` says to go on.
    Ignored,
    /// Failed, and a `rescue` takes over.
    Rescued,
    /// Check mode cannot know: depends on what was not run.
    Unknown,
    /// The host (or the delegate) could not be reached.
    Unreachable,
}

/// Something that happened on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A task began. Sent only when it takes long enough to be seen.
    Started {
        /// Task id.
        task: u32,
        /// Its rendered name.
        name: String,
    },
    /// One item of a loop is done.
    Item(Box<TaskResult>),
    /// A task is done.
    Task(Box<TaskResult>),
    /// A try failed and another follows.
    Retry {
        /// Task id.
        task: u32,
        /// Its rendered name.
        name: String,
        /// Tries left.
        left: u32,
    },
    /// Handlers were notified.
    Notified {
        /// Their names.
        handlers: Vec<String>,
    },
    /// Handlers that an earlier run left are run now.
    Resumed {
        /// Their names.
        handlers: Vec<String>,
    },
    /// Something a user should know.
    Warning(String),
    /// Variables that other hosts may read (`share_vars`): facts, registers, set_fact.
    Vars(Map),
    /// `set_stats`.
    Stats {
        /// The values.
        data: Map,
        /// Whether they are this host's.
        per_host: bool,
        /// Whether they are added to earlier ones.
        aggregate: bool,
    },
    /// The first change under a guard is about to be made: if this connection ends, another one may still confirm it.
    Guarded {
        /// Names the guard on the host.
        id: String,
        /// In how many seconds it reverts; 0: it has, and is no more.
        seconds: u64,
    },
    /// Texts that the user wants hidden (`no_log`), so that they are hidden on other hosts as well.
    Secrets(Vec<String>),
    /// `meta: clear_host_errors`: hosts of the play that failed take part in later plays again.
    Forgiven,
    /// The tasks of a dynamic include, so that the controller knows their names and places.
    Included {
        /// The including task.
        task: u32,
        /// What is included, as written.
        what: String,
    },
}

/// What came of a task or an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Task id.
    pub task: u32,
    /// Rendered name.
    pub name: String,
    /// Short module name.
    pub action: String,
    /// Place as `file:line`.
    pub place: String,
    /// Label of the loop's item.
    pub item: Option<String>,
    /// How it went.
    pub status: Status,
    /// Why it was skipped, why it failed, what `debug` says: one sentence.
    pub message: Option<String>,
    /// What to do about a failure.
    pub hint: Option<String>,
    /// Changes, with `--diff`.
    pub diff: Vec<FileDiff>,
    /// Return values, without secrets; only with `-v`, `--json`, or for `debug`.
    pub result: Value,
    /// How long it took, in microseconds.
    pub elapsed_us: u64,
    /// Whether it is a handler.
    pub handler: bool,
    /// The host it was delegated to.
    pub delegated: Option<String>,
    /// Whether `no_log` hides the result.
    pub no_log: bool,
    /// Whether it failed and the other hosts of the batch fail with it (`any_errors_fatal`).
    pub fatal: bool,
}

/// A change as `--diff` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDiff {
    /// What the text before is called.
    pub before_header: String,
    /// The text before.
    pub before: String,
    /// What the text after is called.
    pub after_header: String,
    /// The text after.
    pub after: String,
}
