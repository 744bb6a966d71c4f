//! `debark hosts`: the keys of hosts.

mod evidence;
mod trust;

use std::process::ExitCode;

/// The keys of hosts.
#[derive(clap::Subcommand)]
pub enum HostsCommand {
    Trust(Box<trust::TrustArgs>),
}

/// Runs the command.
pub fn run(command: &HostsCommand) -> ExitCode {
    match command {
        HostsCommand::Trust(args) => trust::run(args),
    }
}
