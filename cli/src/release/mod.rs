//! Commands about releases: one file each.

use std::process::ExitCode;

/// Commands about releases.
#[derive(clap::Subcommand)]
pub enum ReleaseCommand {}

/// Runs the command.
pub fn run(command: ReleaseCommand) -> ExitCode {
    match command {}
}
