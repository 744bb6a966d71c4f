//! What a deployment needs from outside: hosts, tasks, packages, the ledger; and who is told.

use std::path::PathBuf;

use debark_connect::Target;
use debark_ledger::{AppendError, Finished, Started};
use debark_order::Sequence;

/// When tasks of the project run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before a wave's hosts are touched.
    Pre,
    /// After they are healthy, or have been put back.
    Post,
}

/// The world around a deployment.
pub trait Site: Sync {
    /// How a host is reached.
    ///
    /// # Errors
    /// Its connection variables make no sense; one sentence.
    fn target(&self, host: &str) -> Result<Target, String>;

    /// Runs the project's tasks for a wave; nothing to do if there are none.
    ///
    /// # Errors
    /// One sentence on what failed.
    fn tasks(&self, stage: Stage, hosts: &[String]) -> Result<(), String>;

    /// The file of the .deb, fetched from the artifact store when a host lacks it for the first time.
    ///
    /// # Errors
    /// The store cannot be reached, or has no such package, or another one; one sentence.
    fn package(&self) -> Result<PathBuf, String>;
}

/// The environment's ledger, while a deployment goes on.
pub trait Book: Sync {
    /// Appends the entry that begins the deployment; it has to get this sequence.
    ///
    /// # Errors
    /// Somebody else was faster, or it cannot be recorded.
    fn start(&self, sequence: Sequence, started: Started, reason: Option<&str>) -> Result<(), AppendError>;

    /// Prolongs the lease from now on.
    ///
    /// # Errors
    /// The lease is not ours any more, or the remote cannot be reached.
    fn renew(&self, sequence: Sequence) -> Result<(), AppendError>;

    /// Appends the entry that ends the deployment.
    ///
    /// # Errors
    /// It is not ours any more, or cannot be recorded.
    fn finish(&self, finished: Finished) -> Result<(), AppendError>;
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is on record that the deployment begins.
    Started(Sequence),
    /// All hosts are asked, and get the package.
    Preparing(usize),
    /// A wave begins.
    Wave {
        /// From 1 on.
        number: usize,
        /// How many there are.
        of: usize,
        /// Its hosts.
        hosts: Vec<String>,
    },
    /// A host says what it does.
    Host(String, String),
    /// People should know that of a host.
    Note(String, String),
    /// A host has the version and is healthy.
    Healthy(String),
    /// A host failed or cannot be reached: what, what to do, last lines of its log.
    Trouble {
        /// Which.
        host: String,
        /// One sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// Last lines.
        log: Vec<String>,
    },
    /// The hosts that were touched are put back, because of this.
    Reverting(String),
    /// A host was put back.
    Reverted(String),
    /// Something about the deployment as a whole.
    Warning(String),
}

/// Who is told.
pub trait Monitor: Sync {
    /// Something happened. Called from several threads.
    fn event(&self, event: Event);
}
