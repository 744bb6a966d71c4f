//! `debark vault encrypt-string`: single values for files of variables.

use std::path::{Path, PathBuf};

use debark_playbook::Diagnostic;
use zeroize::Zeroizing;

use super::Outcome;
use super::files::{self, STDIO, Target};
use super::keys::{self, OpenArgs, Seal, SealArgs};

/// Ansible's own depth, so that what either of them writes looks alike.
const INDENT: &str = "          ";

/// Encrypts single values, to be put into a file of variables
///
/// A value on the command line can be seen by everybody on this machine and stays in the shell's history: prefer
/// --stdin-name or --prompt.
#[derive(clap::Args)]
pub struct StringArgs {
    /// The values
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
    /// The variables' names, in the order of the values
    #[arg(short, long, value_name = "NAME")]
    name: Vec<String>,
    /// Read a value from standard input, for the variable of this name
    #[arg(long, value_name = "NAME")]
    stdin_name: Option<String>,
    /// Ask for the value
    #[arg(short, long)]
    prompt: bool,
    /// Show what is typed
    #[arg(long, requires = "prompt")]
    show_input: bool,
    /// Write here; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = STDIO)]
    output: PathBuf,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    seal: SealArgs,
}

/// Runs the command.
pub fn run(args: &StringArgs) -> Outcome {
    let mut values: Vec<(Option<String>, Zeroizing<Vec<u8>>)> = Vec::new();
    let mut names = args.name.iter().cloned();
    if args.prompt {
        let name = names.next();
        let shown = name.as_deref().map(|name| format!(" of {name}")).unwrap_or_default();
        let typed = debark_controller::ask(&format!("Value{shown}: "), args.show_input)
            .map(Zeroizing::new)
            .map_err(|error| Diagnostic::error(format!("cannot ask for the value: {error}")))?;
        if typed.is_empty() {
            return Err(Diagnostic::error("the value is empty"));
        }
        values.push((name, Zeroizing::new(typed.as_bytes().to_vec())));
    }
    let read = args.values.iter().filter(|value| value.as_str() != STDIO);
    values.extend(read.map(|value| (names.next(), Zeroizing::new(value.as_bytes().to_vec()))));
    let stdin =
        args.stdin_name.is_some() || values.is_empty() || args.values.iter().any(|v| v.as_str() == STDIO);
    if stdin {
        values.push((args.stdin_name.clone().or_else(|| names.next()), files::read(Path::new(STDIO))?));
    }
    if let Some(name) = names.next() {
        return Err(Diagnostic::error(format!("--name {name} has no value")));
    }
    let seal = keys::seal(&args.open, &args.seal)?;
    let mut text = String::new();
    for (name, value) in values {
        let sealed = seal.seal(&value, true)?;
        text.push_str(&entry(name.as_deref(), &seal, &String::from_utf8_lossy(&sealed)));
    }
    Target::of(&args.output).write(text.as_bytes(), files::Kind::Anew)
}

/// As YAML: `name: !vault |` and the lines.
fn entry(name: Option<&str>, seal: &Seal, sealed: &str) -> String {
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let tag = match seal {
        Seal::Password(_) => "!vault",
        Seal::Age(_) => "!age",
    };
    let lines: String = sealed.lines().map(|line| format!("{INDENT}{line}\n")).collect();
    format!("{name}{tag} |\n{lines}")
}
