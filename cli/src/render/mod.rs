//! Draws runs: for people, and for programs.

mod adhoc;
mod board;
mod diff;
mod json;
mod live;
mod plain;
mod recap;
mod text;

use std::io::{IsTerminal as _, Write as _};

use debark_controller::{Monitor, Note};

pub use adhoc::{Adhoc, Facts};
pub use diff::unified;

/// What is to be shown.
pub struct Options {
    /// One JSON object per line.
    pub json: bool,
    /// `-v` count.
    pub verbosity: u8,
    /// Nothing changes.
    pub check: bool,
}

/// From this `-v` count on, lines of other origin (how ssh is called) come between: nothing is drawn over.
pub const TALKATIVE: u8 = 3;

/// The monitor that options ask for.
pub fn monitor(options: &Options) -> Box<dyn Monitor> {
    if options.json {
        return Box::new(json::Json);
    }
    let plain = plain::Plain::new(options);
    // Logs of CI systems keep every frame that is drawn.
    let drawable = std::io::stdout().is_terminal()
        && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
        && std::env::var_os("CI").is_none();
    if drawable && options.verbosity < TALKATIVE {
        Box::new(live::Live::new(plain))
    } else {
        Box::new(Lines(plain))
    }
}

/// One JSON object per line.
pub fn json() -> Box<dyn Monitor> {
    Box::new(json::Json)
}

/// Lines as things happen.
struct Lines(plain::Plain);

impl Monitor for Lines {
    fn note(&mut self, note: &Note<'_>) {
        self.0.note(note);
        let text = self.0.take();
        if !text.is_empty() {
            // A reader that has gone wants no more lines; the run goes on.
            let _ = anstream::stdout().write_all(text.as_bytes());
        }
    }
}
