//! Draws runs: for people, and for programs.

mod adhoc;
mod diff;
mod json;
mod plain;

use debark_controller::Monitor;

pub use adhoc::{Adhoc, Facts};

/// What is to be shown.
pub struct Options {
    /// One JSON object per line.
    pub json: bool,
    /// `-v` count.
    pub verbosity: u8,
    /// Nothing changes.
    pub check: bool,
}

/// The monitor that options ask for.
pub fn monitor(options: &Options) -> Box<dyn Monitor> {
    if options.json { Box::new(json::Json) } else { Box::new(plain::Plain::new(options)) }
}

/// One JSON object per line.
pub fn json() -> Box<dyn Monitor> {
    Box::new(json::Json)
}
