//! Checks of hosts: how they are declared, what is looked at, and what the evidence means.
//!
//! Probes gather evidence: a value, with what was observed. A check is an expression over it. Everything here is a function of
//! what it is given; who runs the scripts, and where, is the caller's.

mod checks;
mod finding;
mod judge;
pub mod probes;

pub use checks::{Check, Checks, On, Probe, Severity};
pub use finding::{Finding, Status};
pub use judge::{Evidence, Judge};
