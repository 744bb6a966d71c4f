//! What the gate is about to do, on the disk before it does it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use debark_order::{Digest, Order};
use serde::Serialize;

use crate::failure::{Result, file};
use crate::place;

/// Beyond this the journal begins anew; the old one is kept as `journal.jsonl.1`.
const LIMIT: u64 = 4 << 20;

/// The steps of an order, in their usual sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The order is good: its sequence will be remembered.
    Accepted,
    /// A package comes.
    Receiving,
    /// It is whole and signed: it will be kept.
    Storing,
    /// The guard's timer will be started.
    Arming,
    /// The order becomes the open one.
    Begun,
    /// What an interrupted dpkg left will be put in order.
    Repairing,
    /// apt or dpkg will be started.
    Installing,
    /// It is installed: this will be remembered.
    Installed,
    /// Health checks.
    Checking,
    /// The version will be called good.
    Confirming,
    /// The guard's timer will be stopped.
    Disarming,
    /// Versions beyond those to keep will be removed from the store.
    Pruning,
    /// The version before will be installed again.
    Reverting,
    /// It is: this will be remembered.
    Reverted,
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 14] = [
        Self::Accepted,
        Self::Receiving,
        Self::Storing,
        Self::Arming,
        Self::Begun,
        Self::Repairing,
        Self::Installing,
        Self::Installed,
        Self::Checking,
        Self::Confirming,
        Self::Disarming,
        Self::Pruning,
        Self::Reverting,
        Self::Reverted,
    ];

    /// As in the journal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Receiving => "receiving",
            Self::Storing => "storing",
            Self::Begun => "begun",
            Self::Arming => "arming",
            Self::Repairing => "repairing",
            Self::Installing => "installing",
            Self::Installed => "installed",
            Self::Checking => "checking",
            Self::Confirming => "confirming",
            Self::Disarming => "disarming",
            Self::Pruning => "pruning",
            Self::Reverting => "reverting",
            Self::Reverted => "reverted",
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    sequence: u64,
    step: Step,
    order: Digest,
    package: &'a str,
    version: &'a str,
    actor: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'a str,
}

/// Writes a step to the journal, to the disk.
///
/// # Errors
/// It cannot be written: then the step must not be done.
pub fn step(order: &Order, id: Digest, step: Step, note: &str) -> Result<()> {
    let path = place::state("journal.jsonl");
    let line = Line {
        time: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        sequence: order.sequence,
        step,
        order: id,
        package: order.package.as_str(),
        version: order.version.as_str(),
        actor: order.actor.as_str(),
        note,
    };
    let written = (|| {
        if fs::metadata(&path).is_ok_and(|found| found.len() > LIMIT) {
            fs::rename(&path, path.with_extension("jsonl.1"))?;
        }
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        file.write_all(&text)?;
        file.sync_data()
    })();
    written.map_err(|error| file(&path, &error))?;
    stop_at(step);
    Ok(())
}

/// Stops this process at a step, once, if the file `stop-at` names it: for tests that kill it there. Only root can make
/// that file, and root can stop any process at any time; the guard's timer and the unit's time limit run on.
fn stop_at(step: Step) {
    let path = place::state("stop-at");
    let Ok(Some(bytes)) = place::read(&path, 64) else { return };
    if String::from_utf8_lossy(&bytes).trim() == step.name() && fs::remove_file(&path).is_ok() {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_the_names_of_the_journal() {
        for step in Step::ALL {
            assert_eq!(serde_json::to_string(&step).unwrap(), format!("\"{}\"", step.name()));
        }
    }
}
