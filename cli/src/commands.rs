//! The commands of `debark`.

use std::process::ExitCode;

use clap::Parser as _;

use crate::exit;
use crate::inventory::{self, InventoryArgs};
use crate::lab::{self, LabCommand};
use crate::run::{self, RunArgs};

#[derive(clap::Parser)]
#[command(name = "debark", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Run(Box<RunArgs>),
    /// Throwaway real Debian hosts on this machine
    #[command(subcommand)]
    Lab(LabCommand),
    /// Show hosts, groups and variables
    Inventory(InventoryArgs),
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
        Command::Lab(command) => lab::run(command),
        Command::Inventory(args) => inventory::run(args),
    }
}
