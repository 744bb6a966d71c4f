//! Deploy, promote and roll back.
//!
//! The engine decides nothing about what may be deployed (that is `debark_ledger::policy`) and believes nothing a host's
//! gate has not said. What it needs from outside it gets through [`Site`] and [`Book`].

mod deployment;
pub mod fleet;
mod host;
mod lease;
pub mod notify;
mod site;
mod slot;
pub mod status;
mod waves;

pub use deployment::{Ending, Rules, Trouble, Wanted, deploy, now};
pub use host::{HostError, Link};
pub use site::{Book, Event, Monitor, Site, Stage};
pub use waves::waves;
