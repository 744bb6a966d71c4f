//! The ledger: every release on record, in git.
//!
//! One bare repository, one branch per environment (`env/NAME`), one signed commit per entry. The tree of a commit holds the
//! entry (`entry.json`) and the state after it, so that the present needs no walk through the past, and plain
//! `git log --show-signature` verifies the past. `docs/reference/ledger-format.md` is the format's page.
//!
//! An append is a compare-and-swap on the branch. Where a remote is set it decides, by `git push --force-with-lease`.

mod apply;
mod ci;
pub mod entry;
mod error;
mod files;
mod git;
mod lease;
mod ledger;
mod memory;
mod message;
pub mod policy;
mod reconcile;
mod remote;
mod seen;
pub mod state;
mod sync;
mod verify;

pub use apply::Inconsistent;
pub use ci::ci;
pub use entry::{
    Ci, DeployAction, Draft, Entry, Finished, HostOutcome, HostResult, KeyUse, Kind, Moved, Outcome,
    Recorded, Started,
};
pub use error::{AppendError, LedgerError};
pub use lease::LeaseRecord;
pub use ledger::{Appended, Filter, Ledger, Offline, Settings};
pub use remote::{BranchNews, Standing};
pub use state::State;
pub use verify::{Fault, FaultKind, Verification};
