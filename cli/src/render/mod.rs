//! Draws runs: for people, and for programs.

mod diff;
mod json;
mod plain;

use debark_controller::Monitor;

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
