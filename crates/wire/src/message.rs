//! Messages in both directions.
//!
//! The controller speaks first and does not wait: [`ToAgent::Play`] is on its way while the far side is still
//! starting the agent. The agent answers with a hello and then with events and requests.

use std::sync::Arc;

use debark_value::{Map, Value};
use serde::{Deserialize, Serialize};

use crate::password::Password;
use crate::play::{Blob, Found, HostPlay, Logins, Node, Place, Role, Tree};

/// From the controller to the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// The next play. The shared part is encoded once for all hosts ([`crate::encode`] of a [`Play`]).
    Play {
        /// An encoded [`Play`].
        shared: Arc<[u8]>,
        /// This host's part.
        host: Box<HostPlay>,
    },
    /// The answer to a request.
    Answer {
        /// The request's number.
        id: u32,
        /// What was asked for, or why it cannot be had.
        answer: Result<Answer, String>,
    },
    /// Run one module for another host (`delegate_to`) or for another login's agent, beside whatever else runs here.
    Invoke {
        /// The controller's number for it.
        id: u32,
        /// What to run.
        invocation: Box<Invocation>,
    },
    /// Variables that nothing overrides have changed: `groups` after `add_host`, `ansible_play_hosts` after a failure.
    Magic {
        /// The play of which they are.
        play: u32,
        /// The variables.
        vars: Map,
    },
    /// Another host has set variables of this one (`delegate_facts`).
    Facts {
        /// The variables.
        facts: Map,
        /// Whether they are those of `set_fact`, rather than a module's facts.
        set: bool,
    },
    /// What comes next has these secrets in it: they must not be shown or recorded.
    Secrets(Vec<String>),
    /// Stop after the current task (first Ctrl-C, or too many other hosts failed).
    Stop {
        /// Why, for the recap.
        reason: String,
    },
    /// The controller is still there. Sent when it has nothing else to say.
    Ping,
    /// Nothing more comes: end when done.
    End,
}

/// How often a controller that has nothing to say sends [`ToAgent::Ping`], in seconds.
pub const PING: u64 = 30;

/// An agent that has heard nothing for so many seconds takes the connection for lost: ssh's server notices a controller that
/// lost its power only after hours, and meanwhile nobody else could work on the host.
pub const SILENCE: u64 = 6 * PING;

/// Shorter results of a task with `no_log` are not looked for elsewhere, in bytes: they would be words like `enabled`.
pub const HIDDEN: usize = 6;

/// From the agent to the controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// The agent runs.
    Hello {
        /// `uname -m`.
        machine: String,
        /// User it runs as.
        user: String,
        /// What an earlier run left unfinished: notified handlers, by name.
        pending_handlers: Vec<String>,
    },
    /// Something happened.
    Event(Event),
    /// Something is wanted.
    Request {
        /// Comes back in the answer.
        id: u32,
        /// What.
        request: Request,
    },
    /// The result of [`ToAgent::Invoke`].
    Invoked {
        /// The controller's number.
        id: u32,
        /// What came of it.
        outcome: Outcome,
    },
    /// A play is over for this host.
    PlayEnd {
        /// Play number.
        play: u32,
        /// How it went.
        end: PlayEnd,
        /// What the run has cost the host so far.
        cost: Cost,
    },
}

/// What an agent has cost its host since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU time of the agent and of its ended children, in microseconds.
    pub cpu_us: u64,
    /// Time on the clock, in microseconds.
    pub wall_us: u64,
}

/// How a play ended on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlayEnd {
    /// All tasks were run or skipped.
    Done,
    /// A task failed and nothing rescued it. Handlers that were notified and not run are kept for the next run.
    Failed {
        /// Handlers that were notified and not run.
        pending_handlers: Vec<String>,
    },
    /// `meta: end_host`, `end_play` or `end_batch`.
    Ended,
    /// It was told to stop. Handlers that were notified and not run are kept for the next run.
    Stopped {
        /// Handlers that were notified and not run.
        pending_handlers: Vec<String>,
    },
}

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

/// One module call with everything rendered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// Short module name.
    pub module: String,
    /// Rendered parameters.
    pub args: Map,
    /// Nothing may change.
    pub check: bool,
    /// In check mode: earlier tasks would have changed something.
    pub foreseen: bool,
    /// Differences are wanted.
    pub diff: bool,
    /// Variables for commands.
    pub environment: Vec<(String, String)>,
    /// Whom to become; `None`: nobody.
    pub become_: Option<Become>,
    /// `timeout` in seconds.
    pub timeout: Option<u64>,
    /// Texts that must not be shown (a delegate scrubs by them).
    pub secrets: Vec<String>,
    /// Directory of the role of the task, for controller files.
    pub role_path: Option<String>,
    /// `no_log`.
    pub no_log: bool,
    /// Something else changed the host since: cached state must be read again.
    pub fresh: bool,
    /// What is to put back what it changes.
    pub guard: Option<Guard>,
    /// `async`: it goes on by itself.
    pub background: Option<Background>,
    /// The password for becoming somebody, where that is done for another agent.
    pub become_password: Option<Password>,
}

/// A call that goes on when whoever asked for it does not wait.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Background {
    /// How long it may take, in seconds.
    pub seconds: f64,
    /// Between two looks at it, in seconds; 0: nobody waits for it.
    pub poll: f64,
}

/// A guard on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Its name: letters, digits and dashes.
    pub id: String,
    /// In how many seconds from the first change on it reverts.
    pub seconds: u64,
    /// Whose connection it is, by number: that user may confirm.
    pub user: u32,
    /// Whether it has been armed by a call before.
    pub armed: bool,
}

/// How to act as another user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Become {
    /// `sudo`, `su` or `doas`.
    pub method: String,
    /// Whom.
    pub user: String,
    /// `become_exe`.
    pub exe: Option<String>,
    /// `become_flags`.
    pub flags: Option<String>,
}

/// What a module call came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Return values, `changed`, `failed`, `skipped`, `msg` included, as a register has them.
    pub result: Map,
    /// Whether it failed.
    pub failed: bool,
    /// Whether it changed, or would change, something.
    pub changed: bool,
    /// Why it was not run, if so.
    pub skipped: Option<String>,
    /// Check mode cannot know: why.
    pub unknown: Option<String>,
    /// Changes.
    pub diff: Vec<FileDiff>,
    /// What to do about a failure.
    pub hint: Option<String>,
    /// The delegate could not be reached.
    pub unreachable: bool,
    /// It changed something, or began to, under its guard.
    pub guarded: bool,
}
