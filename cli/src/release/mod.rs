//! Commands about releases: one file each.

mod build;
pub mod context;
mod deploy;
pub mod desk;
mod enroll;
mod fetch;
mod hosts;
mod init;
mod inspect;
mod keys;
mod monitor;
mod options;
mod perform;
mod problem;
mod promote;
mod rollback;
mod rules;
mod sign;
mod status;
pub mod tell;

use std::process::ExitCode;

/// Commands about releases.
#[derive(clap::Subcommand)]
pub enum ReleaseCommand {
    Init(Box<init::InitArgs>),
    Build(Box<build::BuildArgs>),
    Inspect(Box<inspect::InspectArgs>),
    Sign(Box<sign::SignArgs>),
    Keys(Box<keys::KeysArgs>),
    Deploy(Box<deploy::DeployCommand>),
    Promote(Box<promote::PromoteArgs>),
    Rollback(Box<rollback::RollbackArgs>),
    Status(Box<status::StatusArgs>),
    Enroll(Box<enroll::EnrollArgs>),
}

/// Runs the command.
pub fn run(command: &ReleaseCommand) -> ExitCode {
    match command {
        ReleaseCommand::Init(args) => init::run(args),
        ReleaseCommand::Build(args) => build::run(args),
        ReleaseCommand::Inspect(args) => inspect::run(args),
        ReleaseCommand::Sign(args) => sign::run(args),
        ReleaseCommand::Keys(args) => keys::run(args),
        ReleaseCommand::Deploy(args) => deploy::run(args),
        ReleaseCommand::Promote(args) => promote::run(args),
        ReleaseCommand::Rollback(args) => rollback::run(args),
        ReleaseCommand::Status(args) => status::run(args),
        ReleaseCommand::Enroll(args) => enroll::run(args),
    }
}
