//! The commands of `debark`.

use std::process::ExitCode;

use clap::Parser as _;

use crate::audit::{self, AuditArgs};
use crate::exec::{self, ExecArgs};
use crate::exit;
use crate::facts::{self, FactsArgs};
use crate::hosts::{self, HostsCommand};
use crate::inventory::{self, InventoryArgs};
use crate::lab::{self, LabCommand};
use crate::modules::{self, ModulesArgs};
use crate::release::{self, ReleaseCommand};
use crate::run::{self, RunArgs};
use crate::schema::{self, CompletionsArgs, ManArgs, SchemaArgs};
use crate::ssh::{self, SshArgs};
use crate::ssh_ca::{self, SshCaCommand};
use crate::vault::{self, VaultCommand};
use crate::vpn::{self, ConnectArgs, VpnCommand};

/// Provisions Debian hosts from Ansible's playbooks
#[derive(clap::Parser)]
#[command(name = "debark", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Run(Box<RunArgs>),
    Exec(Box<ExecArgs>),
    Facts(Box<FactsArgs>),
    Audit(Box<AuditArgs>),
    Ssh(Box<SshArgs>),
    /// The keys of hosts
    #[command(subcommand)]
    Hosts(HostsCommand),
    /// Certificates for people and hosts
    #[command(subcommand)]
    SshCa(SshCaCommand),
    /// The VPN that leads to hosts
    #[command(subcommand)]
    Vpn(VpnCommand),
    #[command(hide = true)]
    VpnConnect(ConnectArgs),
    /// Files and values that ansible-vault or age encrypt
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Throwaway real Debian hosts on this machine
    #[command(subcommand)]
    Lab(LabCommand),
    /// Show hosts, groups and variables
    Inventory(InventoryArgs),
    Modules(ModulesArgs),
    #[command(flatten)]
    Release(ReleaseCommand),
    Schema(SchemaArgs),
    Completions(CompletionsArgs),
    #[command(hide = true)]
    Man(ManArgs),
    /// Renders a template by Tera with limits; for debark itself
    #[command(hide = true, name = debark_tera::WORKER)]
    TeraWorker,
}

/// Reads the arguments and runs the command.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done about a terminal that is gone.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(exit::BAD_INPUT) } else { ExitCode::SUCCESS };
        }
    };
    match arguments.command {
        Command::Run(args) => run::run(&args),
        Command::Vault(command) => vault::run(&command),
        Command::Lab(command) => lab::run(command),
        Command::Inventory(args) => inventory::run(args),
        Command::Exec(args) => exec::run(&args),
        Command::Facts(args) => facts::run(&args),
        Command::Ssh(args) => ssh::run(&args),
        Command::Hosts(command) => hosts::run(&command),
        Command::SshCa(command) => ssh_ca::run(&command),
        Command::Audit(args) => audit::run(&args),
        Command::Vpn(command) => vpn::run(command),
        Command::VpnConnect(args) => vpn::connect(&args),
        Command::Modules(args) => modules::run(&args),
        Command::Release(command) => release::run(&command),
        Command::Schema(args) => schema::schema(&args),
        Command::Completions(args) => schema::completions(&args),
        Command::Man(args) => schema::man(&args),
        Command::TeraWorker => match debark_tera::work() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
    }
}
