//! One module call, and what it came to.

use debark_value::Map;
use serde::{Deserialize, Serialize};

use crate::event::FileDiff;
use crate::password::Password;

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
