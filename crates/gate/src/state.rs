//! What the gate remembers, in one file that is replaced as a whole.

use std::collections::BTreeMap;

use debark_order::gate::{FailureKind, Version};
use debark_order::{Digest, Order, PackageName, PackageVersion, Sequence};
use serde::{Deserialize, Serialize};

use crate::dpkg::{self, Database};
use crate::failure::{Failing as _, Result, call, fail};
use crate::{journal::Step, place};

const LIMIT: u64 = 16 << 20;

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The highest sequence seen.
    pub sequence: Sequence,
    /// The order that had it.
    pub order: Option<Digest>,
    /// What the gate made live, per package.
    pub packages: BTreeMap<PackageName, Live>,
    /// An order that was begun, and neither confirmed nor reverted.
    pub open: Option<Open>,
    /// How the last order ended.
    pub last: Option<Finished>,
    /// Configuration files that were put aside because the live version does not know them.
    pub aside: BTreeMap<String, PackageName>,
}

/// A live version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Its version.
    pub version: PackageVersion,
    /// Of its .deb; `None` while dpkg works on it.
    pub digest: Option<Digest>,
    /// Of the order that made it live.
    pub sequence: Sequence,
    /// Whether it was confirmed.
    pub confirmed: bool,
    /// What was live before.
    pub previous: Option<Version>,
    /// [`dpkg::mark`] of what the gate has installed; `None` in states of gates that did not note it.
    #[serde(default)]
    pub mark: Option<Digest>,
}

impl Live {
    /// Whether dpkg has installed nothing else of that version since.
    pub fn is_untouched(&self, package: &PackageName, database: &Database) -> bool {
        self.mark.is_none() || self.mark == dpkg::mark(package, database)
    }
}

/// An open order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The order.
    pub order: Order,
    /// Its digest.
    pub id: Digest,
    /// What is to be live; `None`: the package is to be removed.
    pub target: Option<Version>,
    /// What is to be live if it fails.
    pub back: Option<Version>,
    /// What the state said of it.
    pub back_live: Option<Live>,
    /// How far.
    pub phase: Phase,
    /// The last step.
    pub step: Step,
    /// When the guard goes back, in seconds since 1970; `None`: it does not.
    pub deadline: Option<u64>,
    /// What people should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How far an open order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// dpkg may be anywhere.
    Begun,
    /// The target is installed and waits for being confirmed.
    Installed,
    /// It goes back; dpkg may be anywhere.
    Reverting,
}

/// An order's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The order.
    pub id: Digest,
    /// Whether it was confirmed; else it was reverted.
    pub confirmed: bool,
    /// What is live since.
    pub live: Option<Version>,
    /// Why it was reverted; and what people should know.
    pub why: String,
    /// What people should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl State {
    /// Reads the state.
    ///
    /// # Errors
    /// It cannot be read, or was damaged: nothing is obeyed then, as sequences would be forgotten.
    pub fn load() -> Result<Self> {
        let path = place::state("state.json");
        let Some(bytes) = place::read(&path, LIMIT)? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            fail(FailureKind::Internal, format!("{}: {error}", path.display())).hint(
                "restore it from a backup; without it a replayed order could not be told from a new one",
            )
        })
    }

    fn save(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| fail(FailureKind::Internal, format!("the state cannot be written: {error}")))?;
        place::replace(&place::state("state.json"), &text)
    }

    /// Changes the state: reads, changes and writes it while nobody else does. Nothing is written if `change` fails.
    ///
    /// # Errors
    /// Those of `change`, or the state cannot be read or written.
    pub fn update<T>(change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let lock = place::lock_file("state.lock")?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| call(&place::run("state.lock"), error))?;
        let mut state = Self::load()?;
        let before = state.clone();
        let result = change(&mut state)?;
        if state != before {
            state.save()?;
        }
        Ok(result)
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
