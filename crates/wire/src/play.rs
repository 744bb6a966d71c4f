//! The compiled play: what the controller makes of a playbook and the agent runs.
//!
//! Everything that can be decided without the host is decided before: files are read, roles and imports resolved,
//! tasks that tags leave out are gone, parameters are checked. What is left as text with `{{ }}` is rendered on the
//! host.

use std::borrow::Cow;
use std::sync::Arc;

use debark_value::{Map, Value};
use serde::{Deserialize, Serialize};

use crate::password::Password;

/// A place in a source file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Index into [`Play::files`].
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// What every host of a play runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Play {
    /// The play's number in the run, from 0.
    pub index: u32,
    /// Its name (may hold templates; the controller renders it for display).
    pub name: String,
    /// Source files that spans refer to, as the user would name them.
    pub files: Vec<String>,
    /// Play-level keywords.
    pub keywords: Keywords,
    /// `gather_facts` and what to gather.
    pub gather: Gather,
    /// `pre_tasks`, roles, `tasks` and `post_tasks` in order, with `meta: flush_handlers` between them.
    pub tasks: Vec<Node>,
    /// Handlers of the play and of its roles, in the order in which they run.
    pub handlers: Vec<Node>,
    /// Roles that nodes refer to.
    pub roles: Vec<Role>,
    /// Extra variables (`-e`): above everything.
    pub extra_vars: Map,
    /// How many task ids the play uses; ids of dynamically included tasks start here.
    pub next_task: u32,
    /// `force_handlers`.
    pub force_handlers: bool,
    /// `strategy: free` or `host_pinned`: no barriers between hosts.
    pub free: bool,
    /// `strategy: debug`: tasks that fail stop for the user.
    pub debugged: bool,
    /// Whether a host must wait for all others after every task (`any_errors_fatal`, `max_fail_percentage`).
    pub lockstep: bool,
    /// Whether other hosts read this one's facts and registers (`hostvars` is mentioned): then they are reported.
    pub share_vars: bool,
    /// Content that the play will want, by SHA-256, sent along so that nobody need ask.
    pub blobs: Vec<Blob>,
    /// Controller files that were found beforehand: `(kind, path as written, role)` to what was found.
    pub found: Vec<Found>,
}

/// What one host gets besides the play.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostPlay {
    /// `inventory_hostname`.
    pub host: String,
    /// Inventory variables (groups, group_vars, host_vars; already merged): lowest but for role defaults. May hold
    /// templates.
    pub inventory: Map,
    /// `vars`, `vars_prompt`, `vars_files` of the play, merged. May hold templates.
    pub play_vars: Map,
    /// Variables that nothing overrides: `inventory_hostname`, `groups`, `group_names`, `ansible_play_hosts`, ...
    pub magic: Map,
    /// What earlier plays left on another connection: facts and registers of this host (after a reconnect).
    pub restored: Map,
    /// After [`Request::Reconnect`](crate::Request) or [`Request::Keep`](crate::Request): what the agent told then, and how
    /// many seconds the connection was gone.
    pub resumed: Option<(Vec<Vec<u8>>, u64)>,
    /// The agent stands in for a host that cannot be reached, for the tasks that ignore that: why, and what to do. Nothing may
    /// be looked at or changed where it runs.
    pub absent: Option<(String, Option<String>)>,
    /// Whether the host is the controller's own machine, reached without ssh: `remote_user` means nothing there.
    pub local: bool,
    /// How the connection logged in; what is not set was left to ssh's own configuration.
    pub login: Login,
    /// Texts that must never be shown.
    pub secrets: Vec<String>,
    /// How the run goes.
    pub options: RunOptions,
    /// The other hosts of the batch, this one included, in order.
    pub batch: Vec<String>,
    /// Whether this host may run `run_once` tasks at once without asking: it is first, or alone.
    pub first: bool,
    /// Passwords for become, by user; `*` for any.
    pub become_passwords: Vec<(String, Password)>,
}

/// How a host is logged in to, as far as something says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Who.
    pub user: Option<String>,
    /// Which port.
    pub port: Option<u16>,
    /// Which address.
    pub host: Option<String>,
    /// By which private key: a file on the controller.
    pub key: Option<String>,
}

/// How a task is to reach the host that it runs on, as far as it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logins {
    /// By variables: they win over those of the host.
    pub variables: Login,
    /// By keywords: variables of the host win over them.
    pub keywords: Login,
}

/// How a run goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// `--check`.
    pub check: bool,
    /// `--diff`.
    pub diff: bool,
    /// `-v` count.
    pub verbosity: u8,
    /// Names the run in the host's journal.
    pub run_id: String,
    /// Who runs it, for the journal.
    pub actor: String,
    /// `--force-handlers`.
    pub force_handlers: bool,
    /// Tags that were asked for (`ansible_run_tags`).
    pub tags: Vec<String>,
    /// Tags that were left out (`ansible_skip_tags`).
    pub skip_tags: Vec<String>,
    /// `--step`: the controller is asked before each task.
    pub step: bool,
    /// `--forks`, if it was given: on how many hosts something may be done at the same time.
    pub forks: Option<u32>,
    /// Whether tasks may stop for the user.
    pub debugger: Debugger,
}

/// Whether tasks stop and let the user look into them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Debugger {
    /// Nobody is there.
    #[default]
    Off,
    /// Where `debugger` or `strategy: debug` says so.
    Stated,
    /// At each task that fails, too (`enable_task_debugger`).
    Failing,
}

/// What facts to gather.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gather {
    /// Whether to gather at all.
    pub enabled: bool,
    /// `gather_subset` as written; empty: as needed.
    pub subset: Vec<String>,
    /// Variables that the play mentions (`ansible_default_ipv4`, `ansible_facts.mounts`); `None`: everything, as
    /// something asks for all or for a computed name.
    pub mentions: Option<Vec<String>>,
    /// `fact_path`.
    pub fact_path: Option<String>,
    /// `gather_timeout` in seconds.
    pub timeout: Option<i64>,
}

/// A role, as the tasks in it see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its own name.
    pub name: String,
    /// `namespace.collection`, if it is of one.
    pub collection: Option<String>,
    /// Directory on the controller.
    pub path: String,
    /// `defaults/main.yml`: below everything. May hold templates.
    pub defaults: Arc<Map>,
    /// `vars/main.yml`. May hold templates.
    pub vars: Arc<Map>,
    /// `vars` given where the role is used: above those of its files. May hold templates.
    pub inline: Arc<Map>,
    /// Parameters given where the role is used, without `vars`: above facts and what tasks set. May hold templates.
    pub params: Arc<Map>,
    /// Whether `import_role` or `include_role` brought it in, rather than `roles` or a dependency.
    pub included: bool,
    /// Roles whose tasks brought it in, nearest first, for `ansible_parent_role_names`. Of what is included while the play
    /// runs, those that are not part of the include are added by the agent.
    pub parents: Vec<String>,
    /// Indices of roles whose defaults and vars tasks in this one see as well (dependencies).
    pub dependencies: Vec<u32>,
    /// Whether later tasks of the play see its vars and defaults (`roles:`, `import_role`, `public: true`).
    pub public: bool,
}

impl Role {
    /// Its name with that of its collection.
    pub fn full_name(&self) -> Cow<'_, str> {
        match &self.collection {
            Some(collection) => format!("{collection}.{}", self.name).into(),
            None => self.name.as_str().into(),
        }
    }
}

/// A task or a block of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Node {
    /// One task.
    Task(Box<Task>),
    /// `block`, a role, an import: tasks that share keywords.
    Block(Box<Block>),
}

/// Tasks that share keywords, with rescue and always.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Where it is.
    pub span: Span,
    /// Its name.
    pub name: String,
    /// Keywords that its tasks inherit.
    pub keywords: Keywords,
    /// Index into [`Play::roles`] if this is a role's or in a role.
    pub role: Option<u32>,
    /// A role that runs only once per host: skip this block if one with the same number was here before and ran at
    /// least one task. Set only where it cannot be decided beforehand (the first one stands under a condition).
    pub once: Option<u32>,
    /// What runs.
    pub block: Vec<Node>,
    /// What runs when something in `block` failed.
    pub rescue: Vec<Node>,
    /// What runs in any case.
    pub always: Vec<Node>,
    /// `guard`: within how long what the block changed is to be confirmed ([`crate::seconds`]); may be a template. The last
    /// node of such a block is the task that asks for it.
    pub guard: Option<Value>,
}

/// One task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique in the play and rising in order of the source.
    pub id: u32,
    /// Where it is.
    pub span: Span,
    /// Its name as written; may hold templates. Empty: the action's name.
    pub name: String,
    /// Short canonical module name (`apt`, `include_tasks`, `set_fact`).
    pub action: String,
    /// Parameters; may hold templates. `k=v` and free form are already split (`_raw_params`).
    pub args: Map,
    /// `args:` given as one template (`args: "{{ options }}"`): laid under `args` when rendered.
    pub args_template: Option<Value>,
    /// Keywords that blocks and plays have as well.
    pub keywords: Keywords,
    /// `loop` or `with_*`.
    pub looping: Option<Loop>,
    /// `register`.
    pub register: Option<String>,
    /// `until`; empty: none.
    pub until: Vec<Value>,
    /// `retries`.
    pub retries: Option<Value>,
    /// `delay` in seconds.
    pub delay: Option<Value>,
    /// `changed_when`; empty: the module decides.
    pub changed_when: Vec<Value>,
    /// `failed_when`; empty: the module decides.
    pub failed_when: Vec<Value>,
    /// Handlers to notify; may hold templates.
    pub notify: Vec<Value>,
    /// For a handler: topics it listens to.
    pub listen: Vec<String>,
    /// `async` in seconds.
    pub async_seconds: Option<Value>,
    /// `poll` in seconds.
    pub poll: Option<Value>,
    /// Index into [`Play::roles`].
    pub role: Option<u32>,
}

/// A loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loop {
    /// `loop` is `None`; `with_dict` is `Some("dict")`.
    pub lookup: Option<String>,
    /// What it loops over; may hold templates.
    pub items: Value,
    /// `loop_control.loop_var`; default `item`.
    pub var: String,
    /// `loop_control.index_var`.
    pub index_var: Option<String>,
    /// `loop_control.label`.
    pub label: Option<Value>,
    /// `loop_control.pause` in seconds.
    pub pause: Option<Value>,
    /// `loop_control.extended`.
    pub extended: bool,
    /// `loop_control.extended_allitems`; default true.
    pub extended_allitems: bool,
    /// `loop_control.break_when`.
    pub break_when: Vec<Value>,
}

/// Keywords that plays, blocks, roles and tasks share. Values may hold templates; `None` or empty is inherited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Keywords {
    /// Conditions; each level's must all hold.
    pub when: Vec<Condition>,
    /// Variables of this level.
    pub vars: Map,
    /// `become`.
    pub become_: Option<Value>,
    /// `become_user`.
    pub become_user: Option<Value>,
    /// `become_method`.
    pub become_method: Option<Value>,
    /// `become_flags`.
    pub become_flags: Option<Value>,
    /// `become_exe`.
    pub become_exe: Option<Value>,
    /// `environment`, outermost first.
    pub environment: Vec<Value>,
    /// `ignore_errors`.
    pub ignore_errors: Option<Value>,
    /// `ignore_unreachable`.
    pub ignore_unreachable: Option<Value>,
    /// `no_log`.
    pub no_log: Option<Value>,
    /// `check_mode`.
    pub check_mode: Option<Value>,
    /// `diff`.
    pub diff: Option<Value>,
    /// `any_errors_fatal`.
    pub any_errors_fatal: Option<Value>,
    /// `delegate_to`.
    pub delegate_to: Option<Value>,
    /// `delegate_facts`.
    pub delegate_facts: Option<Value>,
    /// `run_once`.
    pub run_once: Option<Value>,
    /// `throttle`.
    pub throttle: Option<Value>,
    /// `timeout` in seconds.
    pub timeout: Option<Value>,
    /// `module_defaults`: module or `group/name` to parameters.
    pub module_defaults: Vec<(String, Value)>,
    /// `tags`, this level's.
    pub tags: Vec<String>,
    /// `connection`: only the controller acts on it.
    pub connection: Option<Value>,
    /// `remote_user`.
    pub remote_user: Option<Value>,
    /// `port`.
    pub port: Option<Value>,
    /// `debugger`.
    pub debugger: Option<Value>,
}

/// One item of `when`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The expression (or a boolean).
    pub value: Value,
    /// Where it is.
    pub span: Span,
}

/// Content by its digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blob {
    /// SHA-256 in hex.
    pub sha256: String,
    /// The content.
    pub bytes: Arc<[u8]>,
}

/// Where a relative path is looked for on the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    /// `files/`.
    Files,
    /// `templates/`.
    Templates,
    /// `vars/`.
    Vars,
    /// `tasks/`.
    Tasks,
}

/// A controller file or directory that was found for a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The path as written (and rendered).
    pub path: String,
    /// Where it was looked for.
    pub place: Place,
    /// Index into [`Play::roles`] of the task that asks.
    pub role: Option<u32>,
    /// What was found.
    pub tree: Tree,
}

/// A file or directory without its contents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// Last component of its path.
    pub name: String,
    /// Its full path on the controller (`ansible_managed`, `template_path`).
    pub path: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// One entry with an empty path for a file; everything below a directory, parents first.
    pub entries: Vec<TreeEntry>,
}

/// One file of a [`Tree`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Path below the root.
    pub path: String,
    /// What it is.
    pub kind: TreeKind,
    /// Permission bits.
    pub mode: u32,
}

/// What a [`TreeEntry`] is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TreeKind {
    /// A file.
    File {
        /// SHA-256 of its content, in hex.
        sha256: String,
        /// Length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link and where it points. If it leads to a file, or to a directory that is not around it, entries of
    /// the same path follow that say what is there.
    Link(String),
}
