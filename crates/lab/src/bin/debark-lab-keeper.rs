//! The background half of `debark lab` alone, so that this crate's own tests need no other executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Called as debark itself is: `lab background WORDS...`.
    debark_lab::background::main(std::env::args_os().skip(3).collect())
}
