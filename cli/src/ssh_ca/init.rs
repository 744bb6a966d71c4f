//! `debark ssh-ca init`: a key that signs.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::process::{Command, ExitCode};

use serde_json::json;

use super::{CaArgs, beside};
use crate::release::context::{Problem, finish};

/// Makes the key of a CA
///
/// ssh-keygen makes it, and asks for its passphrase. Exit codes: 0, 1 bad input or there is one already.
#[derive(clap::Args)]
pub struct InitArgs {
    /// Without a passphrase: whoever reads the file can sign
    #[arg(long)]
    no_passphrase: bool,
    /// What hosts' files show of it
    #[arg(long, value_name = "TEXT", default_value = "debark ssh-ca")]
    comment: String,
    #[command(flatten)]
    ca: CaArgs,
}

/// Runs the command.
pub fn run(args: &InitArgs) -> ExitCode {
    finish(args.ca.json, |_| {
        let file = args.ca.file()?;
        if file.exists() || beside(&file, "pub").exists() {
            return Err(Problem::input(format!("there is a CA already: {}", file.display()))
                .hint("name another file with --ca FILE"));
        }
        if !args.no_passphrase && !debark_controller::is_terminal() {
            return Err(Problem::input("there is no terminal to ask for a passphrase on")
                .hint("`--no-passphrase` makes a key without one"));
        }
        if let Some(directory) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|error| Problem::input(format!("{}: {error}", directory.display())))?;
        }
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-C", &args.comment, "-f"]).arg(&file);
        if args.no_passphrase {
            // Empty, and so no secret in an argument.
            command.args(["-N", ""]);
        }
        let status =
            command.status().map_err(|error| Problem::input(format!("cannot run ssh-keygen: {error}")))?;
        if !status.success() {
            return Err(Problem::failed(format!("ssh-keygen made no key in {}", file.display())));
        }
        let public = beside(&file, "pub");
        let text = fs::read_to_string(&public)
            .map_err(|error| Problem::failed(format!("{}: {error}", public.display())))?;
        let text = text.trim();
        if args.ca.json {
            anstream::println!("{}", json!({"event": "ca", "file": file, "public": text}));
        } else {
            anstream::println!("{}", file.display());
            anstream::println!(
                "hosts trust it by TrustedUserCAKeys (role ssh_certificates); people trust hosts by"
            );
            anstream::println!("@cert-authority * {text}");
        }
        Ok(ExitCode::SUCCESS)
    })
}
