//! Commands about releases: one file each.

#[allow(dead_code, reason = "commands come one by one")]
pub mod context;
mod deploy;
pub mod desk;
mod fetch;
mod hosts;
mod monitor;
mod options;
mod perform;
mod problem;
mod promote;
mod rollback;
mod rules;
mod status;
pub mod tell;

use std::process::ExitCode;

/// Commands about releases.
#[derive(clap::Subcommand)]
pub enum ReleaseCommand {
    Deploy(Box<deploy::DeployCommand>),
    Promote(Box<promote::PromoteArgs>),
    Rollback(Box<rollback::RollbackArgs>),
    Status(Box<status::StatusArgs>),
}

/// Runs the command.
pub fn run(command: &ReleaseCommand) -> ExitCode {
    match command {
        ReleaseCommand::Deploy(args) => deploy::run(args),
        ReleaseCommand::Promote(args) => promote::run(args),
        ReleaseCommand::Rollback(args) => rollback::run(args),
        ReleaseCommand::Status(args) => status::run(args),
    }
}
