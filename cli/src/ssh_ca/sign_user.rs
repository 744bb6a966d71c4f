//! `debark ssh-ca sign-user`: who may log in as whom, for a while.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::CaArgs;
use super::signing::{Request, duration, sign, tell};
use crate::release::context::finish;

/// Signs a public key: its holder may log in for a while, by name
///
/// The certificate stands beside the key, where ssh looks for it: `id_ed25519.pub` becomes `id_ed25519-cert.pub`.
///
/// Exit codes: 0, 1 bad input, 2 ssh-keygen does not sign.
#[derive(clap::Args)]
pub struct SignUserArgs {
    /// The public key
    #[arg(value_name = "PUBKEY")]
    public: PathBuf,
    /// Whose key it is: hosts write it to their logs
    #[arg(long, value_name = "NAME")]
    identity: String,
    /// The users as whom its holder may log in
    #[arg(long, value_name = "USERS", value_delimiter = ',', required = true)]
    principals: Vec<String>,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = duration)]
    valid: Duration,
    /// Only from these addresses
    #[arg(long, value_name = "CIDRS")]
    source_address: Option<String>,
    /// Only this command, whatever is asked for
    #[arg(long, value_name = "COMMAND")]
    force_command: Option<String>,
    /// Allow forwarding of ports, of the agent and of X11
    #[arg(long)]
    forwarding: bool,
    /// No terminal
    #[arg(long)]
    no_pty: bool,
    #[command(flatten)]
    ca: CaArgs,
}

/// Runs the command.
pub fn run(args: &SignUserArgs) -> ExitCode {
    finish(args.ca.json, |_| {
        let mut options = Vec::new();
        options.extend(args.source_address.as_ref().map(|value| format!("source-address={value}")));
        options.extend(args.force_command.as_ref().map(|value| format!("force-command={value}")));
        if !args.forwarding {
            let without = ["no-agent-forwarding", "no-port-forwarding", "no-x11-forwarding"];
            options.extend(without.map(str::to_owned));
        }
        if args.no_pty {
            options.push("no-pty".into());
        }
        let (file, certificate) = sign(
            &args.ca,
            &Request {
                public: &args.public,
                host: false,
                identity: &args.identity,
                principals: &args.principals,
                valid: args.valid,
                options,
            },
        )?;
        tell(args.ca.json, &file, &certificate);
        Ok(ExitCode::SUCCESS)
    })
}
