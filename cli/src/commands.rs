//! The commands of `debark`.

use std::process::ExitCode;

use clap::Parser as _;

use crate::inventory::{self, InventoryArgs};
use crate::lab::{self, LabCommand};

#[derive(clap::Parser)]
#[command(name = "debark", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Throwaway real Debian hosts on this machine
    #[command(subcommand)]
    Lab(LabCommand),
    /// Show hosts, groups and variables
    Inventory(InventoryArgs),
}

/// Reads the arguments and runs the command.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Lab(command) => lab::run(command),
        Command::Inventory(args) => inventory::run(args),
    }
}
