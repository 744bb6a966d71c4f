//! What only the controller can answer, and its answers.

use debark_value::{Map, Value};
use serde::{Deserialize, Serialize};

use crate::call::{Invocation, Outcome};
use crate::play::{Blob, Found, Logins, Node, Place, Role, Tree};

/// What only the controller can answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// A file or directory beside the playbook or in the role at `role_path`.
    Find {
        /// The path as rendered.
        path: String,
        /// Where to look.
        place: Place,
        /// Directory of the role of the task that asks.
        role_path: Option<String>,
        /// Directory of the task file, if the task was included.
        task_dir: Option<String>,
    },
    /// Content by digest.
    Content {
        /// SHA-256 in hex.
        sha256: String,
    },
    /// A lookup plugin that runs on the controller.
    Lookup {
        /// Its name.
        name: String,
        /// Positional arguments.
        args: Vec<Value>,
        /// Named arguments.
        kwargs: Map,
        /// Directory of the role of the task that asks.
        role_path: Option<String>,
    },
    /// All variables of another host, as `hostvars[host]`.
    HostVars {
        /// Which.
        host: String,
    },
    /// `include_tasks`: a file's tasks, compiled.
    IncludeTasks {
        /// The path as rendered.
        file: String,
        /// Directory of the role of the task that asks.
        role_path: Option<String>,
        /// File of the including task.
        from: String,
        /// Index of that role, for the tasks that come.
        role: Option<u32>,
        /// Tags that the included tasks inherit: of the blocks, roles and play around the include, and of its `apply`,
        /// but not its own. Tasks are selected by them.
        tags: Vec<String>,
        /// Whether they become handlers.
        handlers: bool,
        /// Numbers for what is new.
        next: Next,
    },
    /// `include_role`.
    IncludeRole {
        /// Name as rendered.
        name: String,
        /// `tasks_from`, `vars_from`, `defaults_from`, `handlers_from`, `rolespec_validate`, ...: as rendered.
        options: Map,
        /// Parameters of the role: the include's `vars`, unrendered.
        vars: Map,
        /// Index of the role of the task that asks.
        parent: Option<u32>,
        /// Directory of that role.
        role_path: Option<String>,
        /// Tags that its tasks inherit, as for [`Request::IncludeTasks`].
        tags: Vec<String>,
        /// Numbers for what is new.
        next: Next,
    },
    /// `include_vars`: a file's or a directory's variables.
    IncludeVars {
        /// Parameters as rendered.
        args: Map,
        /// Directory of the role of the task that asks.
        role_path: Option<String>,
    },
    /// Run a module on another host, or on this one by another login.
    Delegate {
        /// Task id.
        task: u32,
        /// Where.
        host: String,
        /// By which login.
        logins: Logins,
        /// What.
        invocation: Box<Invocation>,
    },
    /// A `run_once` task: may I run it, or what did the one who ran it get?
    RunOnce {
        /// Task id.
        task: u32,
    },
    /// The result of a `run_once` task, for the others.
    RanOnce {
        /// Task id.
        task: u32,
        /// The register.
        result: Value,
        /// Whether the task failed.
        failed: bool,
    },
    /// Wait until all hosts of the batch have passed every task before this one.
    Barrier {
        /// Play number.
        play: u32,
        /// Task id.
        task: u32,
    },
    /// `meta: refresh_inventory`.
    RefreshInventory,
    /// `throttle`: wait for a place.
    Throttle {
        /// Task id.
        task: u32,
        /// Places.
        limit: u32,
        /// Whether the places are those of the whole run (`--forks`), not the task's.
        forks: bool,
        /// Whether the place is given back.
        done: bool,
    },
    /// `add_host` or `group_by`: change the inventory.
    AddHost {
        /// Host names (`group_by`: this one).
        hosts: Vec<String>,
        /// Groups to put them in.
        groups: Vec<String>,
        /// Parent groups (`group_by`).
        parents: Vec<String>,
        /// Variables for them.
        vars: Map,
    },
    /// `pause` with a prompt, or for a time.
    Pause {
        /// What to show.
        prompt: Option<String>,
        /// For how long, in seconds; `None`: until answered.
        seconds: Option<u64>,
        /// Whether what is typed is shown.
        echo: bool,
    },
    /// Content for the controller's disk (`fetch`).
    Store {
        /// Where, as documented for `fetch`.
        dest: String,
        /// This part of it.
        bytes: Vec<u8>,
        /// Whether this is the last part.
        last: bool,
    },
    /// SHA-1 of a file on the controller's disk.
    StoredSha1 {
        /// Which.
        dest: String,
    },
    /// `reboot`, `reset_connection`: the host goes away; the controller reconnects when it answers again, and the play
    /// goes on there ([`HostPlay::resumed`](crate::HostPlay)). Answered at once.
    Reconnect {
        /// How long to wait, in seconds.
        timeout: u64,
        /// Seconds from the end of the connection until the first try.
        delay: u64,
        /// Seconds until the controller ends the connection by itself; 0: never.
        gone_by: u64,
        /// How far the play is, in the agent's own words.
        told: Vec<Vec<u8>>,
    },
    /// In case that the connection is lost: how far the play is, in the agent's own words. Then the play goes on there as after
    /// [`Request::Reconnect`], and the task that ran is over. Nothing waits for the answer.
    Keep {
        /// So many parts that were sent before are still good.
        from: u32,
        /// Those that follow.
        more: Vec<Vec<u8>>,
        /// What stands in front of all parts; `None`: a lost connection is the end.
        now: Option<Vec<u8>>,
    },
    /// The host is back, or did not go away after all.
    Back,
    /// All tasks of a guarded block are done: confirm them through a fresh connection. Answered once that is settled.
    Confirm {
        /// Names the guard on the host.
        id: String,
        /// In how many seconds it reverts.
        seconds: u64,
    },
    /// Facts for another host (`delegate_facts`).
    SetFacts {
        /// Task id.
        task: u32,
        /// Whose.
        host: String,
        /// What.
        facts: Map,
        /// Whether `set_fact` sets them, rather than a module.
        set: bool,
    },
    /// The task debugger wants a command: answered with the line that was typed, or [`Answer::Fail`] to end the run.
    Debug {
        /// The task's rendered name.
        name: String,
        /// What to show first.
        text: String,
    },
    /// `--step`: may the task run? [`Answer::Run`], or [`Answer::Done`] if it is to be left out.
    Step {
        /// Task id.
        task: u32,
        /// Its rendered name.
        name: String,
    },
}

/// Where the numbering of a dynamic include starts: what the host has had so far in this play.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// Id for the first task.
    pub task: u32,
    /// Index for the first role.
    pub role: u32,
    /// Index for the first source file.
    pub file: u32,
}

/// What the controller answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// Done, go on, yes.
    Done,
    /// To [`Request::Barrier`]: fail, as another host did (`any_errors_fatal`, `max_fail_percentage`). To
    /// [`Request::Debug`]: the user has had enough.
    Fail,
    /// To [`Request::Find`].
    Tree(Tree),
    /// Content; more follows in further answers of the same id unless `last`.
    Content {
        /// This part of it.
        bytes: Vec<u8>,
        /// Whether this is the last part.
        last: bool,
    },
    /// A value: a lookup's, a host's variables, what was typed, a SHA-1.
    Value(Value),
    /// Compiled tasks.
    Tasks(Box<Included>),
    /// To [`Request::RunOnce`]: somebody ran it, with this register; and whether it failed.
    Ran {
        /// The register.
        result: Value,
        /// Whether the task failed.
        failed: bool,
    },
    /// To [`Request::RunOnce`] and [`Request::Step`]: run it.
    Run,
    /// To [`Request::Delegate`].
    Outcome(Box<Outcome>),
}

/// Compiled tasks of a dynamic include.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Included {
    /// The tasks, in a block that carries role and keywords.
    pub tasks: Vec<Node>,
    /// New handlers.
    pub handlers: Vec<Node>,
    /// New roles, indices from `next_role` on.
    pub roles: Vec<Role>,
    /// The first task id that is not used.
    pub next_task: u32,
    /// Spans' files, to append to the play's; spans count from [`Next::file`] on already.
    pub files: Vec<String>,
    /// Content that the tasks will want.
    pub blobs: Vec<Blob>,
    /// Controller files that were found beforehand.
    pub found: Vec<Found>,
}
