//! Commands about releases: one file each.

#[allow(dead_code, reason = "commands come one by one")]
pub mod context;

use std::process::ExitCode;

/// Commands about releases.
#[derive(clap::Subcommand)]
pub enum ReleaseCommand {}

/// Runs the command.
pub fn run(command: ReleaseCommand) -> ExitCode {
    match command {}
}
