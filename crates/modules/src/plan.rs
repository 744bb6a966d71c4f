//! What a module answers: what it found, what it would change, and how.
//!
//! A module first observes and computes the change, and gives back a [`Plan`]. Only the plan's `apply` touches the
//! host, so check mode (which drops it) and `--diff` (which prints what it will do) cannot tell another story than
//! the run.

use debark_value::{Map, Value};

use crate::host::Host;

/// Why a task failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// One sentence that names the thing and the place.
    pub msg: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Further return values (`rc`, `stderr`, ...).
    pub result: Map,
}

impl Failure {
    /// A failure that one sentence explains.
    pub fn new(msg: impl Into<String>) -> Self {
        Self { msg: msg.into(), hint: None, result: Map::new() }
    }

    /// An input/output error on a path.
    pub fn io(doing: &str, path: impl AsRef<std::path::Path>, error: impl std::fmt::Display) -> Self {
        Self::new(format!("{doing} {}: {error}", path.as_ref().display()))
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds return values.
    #[must_use]
    pub fn with(mut self, result: Map) -> Self {
        self.result.extend(result);
        self
    }
}

impl From<String> for Failure {
    fn from(msg: String) -> Self {
        Self::new(msg)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.msg)
    }
}

impl std::error::Error for Failure {}

/// A change as `--diff` shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diff {
    /// What the text before is called (a path).
    pub before_header: String,
    /// The text before.
    pub before: String,
    /// What the text after is called.
    pub after_header: String,
    /// The text after.
    pub after: String,
}

impl Diff {
    /// A change of a file's text.
    pub fn text(path: impl std::fmt::Display, before: impl Into<String>, after: impl Into<String>) -> Self {
        let header = path.to_string();
        Self {
            before_header: header.clone(),
            before: before.into(),
            after_header: header,
            after: after.into(),
        }
    }

    /// A change of one property (`mode: 0644 -> 0600`).
    pub fn property(
        thing: impl std::fmt::Display,
        name: &str,
        before: impl std::fmt::Display,
        after: impl std::fmt::Display,
    ) -> Self {
        Self::text(thing, format!("{name}: {before}\n"), format!("{name}: {after}\n"))
    }
}

/// What brings the host to the declared state; yields further return values.
pub type Apply = Box<dyn FnOnce(&Host) -> Result<Map, Failure>>;

/// What has to be done before anything can be decided; yields the plan proper.
pub type Prepare = Box<dyn FnOnce(&Host) -> Result<Plan, Failure>>;

/// What a module found and would do.
pub struct Plan {
    /// What the module returns, apart from `changed` and `diff`. What `apply` yields is laid over it.
    pub result: Map,
    /// The change, in words.
    pub diff: Vec<Diff>,
    /// What happens next.
    pub action: Action,
}

/// What happens after a plan.
pub enum Action {
    /// The host is as declared.
    Nothing,
    /// The host differs; this mends it.
    Change(Apply),
    /// Something has to be read anew first that is no change in itself (apt's lists, systemd's unit files). A module
    /// asks for it only where changes may be made, and decides in check mode by what is there.
    Prepare(Prepare),
    /// Whether something changes is known only by doing it (`command`). `changed` comes from the result; without
    /// one it is true. In check mode the task is skipped and its result is unknown.
    Run(Apply),
    /// Nothing to do, with a reason (`creates` exists).
    Skip(String),
}

impl Plan {
    /// The host is as declared.
    pub fn ok(result: Map) -> Self {
        Self { result, diff: Vec::new(), action: Action::Nothing }
    }

    /// The host differs. `result` is what a check predicts.
    pub fn change(
        result: Map,
        diff: Vec<Diff>,
        apply: impl FnOnce(&Host) -> Result<Map, Failure> + 'static,
    ) -> Self {
        Self { result, diff, action: Action::Change(Box::new(apply)) }
    }

    /// Decided after a preparation.
    pub fn prepare(first: impl FnOnce(&Host) -> Result<Self, Failure> + 'static) -> Self {
        Self { result: Map::new(), diff: Vec::new(), action: Action::Prepare(Box::new(first)) }
    }

    /// Only doing it tells.
    pub fn run(apply: impl FnOnce(&Host) -> Result<Map, Failure> + 'static) -> Self {
        Self { result: Map::new(), diff: Vec::new(), action: Action::Run(Box::new(apply)) }
    }

    /// Nothing to do, and why.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self { result: Map::new(), diff: Vec::new(), action: Action::Skip(reason.into()) }
    }

    /// Whether something would change, as far as it is known.
    pub fn changes(&self) -> bool {
        matches!(self.action, Action::Change(_) | Action::Run(_) | Action::Prepare(_))
    }

    /// Adds a return value.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.result.insert(key.into(), value.into());
        self
    }
}
