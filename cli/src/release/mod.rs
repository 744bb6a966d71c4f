//! Commands about releases: one file each.

mod book;
mod build;
pub mod context;
mod deploy;
pub mod desk;
mod diff;
mod enroll;
mod fetch;
mod history;
mod hosts;
mod init;
mod inspect;
mod keys;
mod monitor;
mod options;
mod perform;
mod problem;
mod promote;
mod prune;
mod publish;
mod record;
mod records;
mod releases;
mod report;
mod rollback;
mod rules;
mod sign;
mod status;
pub mod tell;
mod verify;

use std::process::ExitCode;

/// Commands about releases.
#[derive(clap::Subcommand)]
pub enum ReleaseCommand {
    Init(Box<init::InitArgs>),
    Build(Box<build::BuildArgs>),
    Inspect(Box<inspect::InspectArgs>),
    Sign(Box<sign::SignArgs>),
    Keys(Box<keys::KeysArgs>),
    Publish(Box<publish::PublishArgs>),
    Releases(Box<releases::ReleasesArgs>),
    Prune(Box<prune::PruneArgs>),
    Deploy(Box<deploy::DeployCommand>),
    Promote(Box<promote::PromoteArgs>),
    Rollback(Box<rollback::RollbackArgs>),
    Status(Box<status::StatusArgs>),
    Verify(Box<verify::VerifyArgs>),
    Enroll(Box<enroll::EnrollArgs>),
    History(Box<history::HistoryArgs>),
    Show(Box<history::ShowArgs>),
    Diff(Box<diff::DiffArgs>),
    Report(Box<report::ReportArgs>),
    Approve(Box<record::ApproveArgs>),
    Hold(Box<record::HoldArgs>),
    Unhold(Box<record::UnholdArgs>),
    Freeze(Box<record::FreezeArgs>),
    Thaw(Box<record::ThawArgs>),
    #[command(subcommand)]
    Ledger(book::LedgerCommand),
}

/// Runs the command.
pub fn run(command: &ReleaseCommand) -> ExitCode {
    match command {
        ReleaseCommand::Init(args) => init::run(args),
        ReleaseCommand::Build(args) => build::run(args),
        ReleaseCommand::Inspect(args) => inspect::run(args),
        ReleaseCommand::Sign(args) => sign::run(args),
        ReleaseCommand::Keys(args) => keys::run(args),
        ReleaseCommand::Publish(args) => publish::run(args),
        ReleaseCommand::Releases(args) => releases::run(args),
        ReleaseCommand::Prune(args) => prune::run(args),
        ReleaseCommand::Deploy(args) => deploy::run(args),
        ReleaseCommand::Promote(args) => promote::run(args),
        ReleaseCommand::Rollback(args) => rollback::run(args),
        ReleaseCommand::Status(args) => status::run(args),
        ReleaseCommand::Verify(args) => verify::run(args),
        ReleaseCommand::Enroll(args) => enroll::run(args),
        ReleaseCommand::History(args) => history::run(args),
        ReleaseCommand::Show(args) => history::show(args),
        ReleaseCommand::Diff(args) => diff::run(args),
        ReleaseCommand::Report(args) => report::run(args),
        ReleaseCommand::Approve(args) => record::approve(args),
        ReleaseCommand::Hold(args) => record::hold(args),
        ReleaseCommand::Unhold(args) => record::unhold(args),
        ReleaseCommand::Freeze(args) => record::freeze(args),
        ReleaseCommand::Thaw(args) => record::thaw(args),
        ReleaseCommand::Ledger(command) => book::run(command),
    }
}
