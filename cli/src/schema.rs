//! `debark schema`, `debark completions` and `debark man`: what editors, shells and manual readers want to know.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::commands::Arguments;
use crate::exit;

/// Prints the JSON Schema of playbooks or project files, for editors
///
/// Editors that read YAML with schemas then complete keywords, modules and parameters, and mark what is wrong.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    /// Of what: playbooks, the files of tasks and handlers in roles, or project files
    #[arg(value_enum, default_value = "playbook")]
    what: What,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum What {
    Playbook,
    Tasks,
    Project,
}

/// Prints completions for a shell
///
/// For bash: debark completions bash > /etc/bash_completion.d/debark
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Writes the manual pages into a directory
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Where to; it is made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Prints the schema.
pub fn schema(args: &SchemaArgs) -> ExitCode {
    let schema = match args.what {
        What::Playbook => debark_playbook::schema::schema(),
        What::Tasks => debark_playbook::schema::of_tasks(),
        What::Project => debark_project::schema::schema(),
    };
    printed(format!("{schema:#}\n").as_bytes())
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "debark", &mut script);
    printed(&script)
}

/// Writes the manual: one page per command.
pub fn man(args: &ManArgs) -> ExitCode {
    match pages(&args.directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::usage(&error, None),
    }
}

fn pages(directory: &Path) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", directory.display());
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), directory).map_err(failed)
}

fn printed(bytes: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(bytes) {
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            exit::usage(&format!("standard output: {error}"), None)
        }
        _ => ExitCode::SUCCESS,
    }
}
