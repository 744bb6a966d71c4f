//! `debark ssh`: a shell or a command on a host, reached as a run reaches it.

use std::process::{Command, ExitCode};
use std::sync::Arc;

use debark_playbook::SourceMap;

use crate::common::{Common, refused};
use crate::exec::Task;
use crate::signals::Signals;
use crate::{exit, vpn};

/// ssh's own exit code: it could not connect, or lost the connection.
const SSH_FAILED: u8 = 255;

/// Logs in to a host of the inventory, through its VPN if it has one
///
/// Keys only and strict host keys, as in a run. Exit codes: those of the command, 1 bad input, 4 or more no way to the host,
/// 255 ssh's own.
#[derive(clap::Args)]
pub struct SshArgs {
    /// The host's name in the inventory
    host: String,
    #[command(flatten)]
    common: Common,
    /// The command and its arguments
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs the command.
pub fn run(args: &SshArgs) -> ExitCode {
    let signals = Signals::watch();
    let sources = Arc::new(SourceMap::default());
    let task = Task { pattern: &args.host, module: "ping", args: "" };
    let site = match task.prepared(&args.common, &sources) {
        Ok(site) => site,
        Err(errors) => return refused(&errors, &sources, &signals),
    };
    let ways = vpn::ways(site.vault());
    let mut target = match site.target(&args.host) {
        Ok(target) => target,
        Err(why) => return exit::usage(&why, None),
    };
    if let Err(problem) = ways.prepare(&mut target) {
        exit::usage(&problem.message, problem.hint.as_deref());
        return ExitCode::from(problem.kind.code());
    }
    let ssh = target.interactive();
    ssh.warnings.iter().chain(&ways.warnings()).for_each(|text| anstream::eprintln!("warning: {text}"));
    let mut argv = ssh.argv.iter();
    let mut command = Command::new(argv.next().map_or("ssh", String::as_str));
    match command.args(argv).args(&args.command).status() {
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
            match untrusted(&target, code) {
                Some(code) => code,
                None => ExitCode::from(code),
            }
        }
        Err(error) => exit::usage(&format!("cannot run ssh: {error}"), Some("apt install openssh-client")),
    }
}

/// If ssh gave up because of the host's key, says so as a run does: ssh itself shows but one of two fingerprints.
fn untrusted(target: &debark_connect::Target, code: u8) -> Option<ExitCode> {
    if code != SSH_FAILED {
        return None;
    }
    let problem = target.greet().err().filter(|problem| problem.kind.is_untrusted())?;
    exit::usage(&problem.message, problem.hint.as_deref());
    Some(ExitCode::from(problem.kind.code()))
}
