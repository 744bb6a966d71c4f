//! `debark ssh-ca sign-host`: hosts that are known by their CA.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use debark_connect::{Problem as Unreachable, SshTalk, Target};
use debark_playbook::SourceMap;

use super::CaArgs;
use super::signing::{Request, duration, sign, tell};
use crate::chosen::Where;
use crate::common::Common;
use crate::exit;
use crate::release::context::{Problem, finish};

/// Where Debian's sshd has the key that is certified.
const KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

/// Signs the keys of hosts, so that whoever trusts the CA trusts them
///
/// A host's public key is read there, over a connection with strict host keys; or it is in a file. Each certificate is
/// for the host's name in the inventory, its address, and `--names`. The role ssh_certificates installs it.
///
/// Exit codes: 0, 1 bad input, 2 ssh-keygen does not sign, 4 or more a host cannot be reached.
#[derive(clap::Args)]
pub struct SignHostArgs {
    /// The hosts: names, groups, patterns
    #[arg(value_name = "PATTERN", required_unless_present_any = ["env", "file"])]
    pattern: Option<String>,
    #[command(flatten)]
    place: Where,
    /// The public key of a host that is not asked, named by --names
    #[arg(long, value_name = "PUBKEY", conflicts_with = "pattern", requires = "names")]
    file: Option<PathBuf>,
    /// Further names and addresses that the host is reached by
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    names: Vec<String>,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = duration)]
    valid: Duration,
    /// The directory of the certificates: HOST-cert.pub
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// The CA's key; its record (`FILE.log`) and revocation list (`FILE.krl`) stand beside it. If there is only
    /// FILE.pub, the ssh agent signs [default: debark/ssh-ca/ca in ~/.config]
    #[arg(long, value_name = "FILE", env = "DEBARK_SSH_CA")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub fn run(args: &SignHostArgs) -> ExitCode {
    let json = args.common.json;
    let ca = CaArgs { ca: args.ca.clone(), json };
    finish(json, |sources| {
        if let Some(file) = &args.file {
            let identity = args.names.first().map_or("", String::as_str);
            let (file, certificate) = sign(&ca, &request(args, file, identity, &args.names))?;
            tell(json, &file, &certificate);
            return Ok(ExitCode::SUCCESS);
        }
        of_hosts(args, &ca, sources)
    })
}

fn request<'a>(args: &SignHostArgs, public: &'a Path, identity: &'a str, names: &'a [String]) -> Request<'a> {
    Request { public, host: true, identity, principals: names, valid: args.valid, options: Vec::new() }
}

fn of_hosts(args: &SignHostArgs, ca: &CaArgs, sources: &Arc<SourceMap>) -> Result<ExitCode, Problem> {
    let chosen = args.place.idle(args.pattern.as_deref(), &args.common, sources)?;
    std::fs::create_dir_all(&args.output)
        .map_err(|error| Problem::input(format!("{}: {error}", args.output.display())))?;
    let mut code = 0;
    for host in &chosen.hosts {
        let read = chosen.target(host).and_then(|target| Ok((public_key(&target)?, target)));
        let (key, target) = match read {
            Ok(read) => read,
            Err(problem) => {
                exit::usage(&format!("{host}: {}", problem.message), problem.hint.as_deref());
                code = debark_connect::join(code, problem.kind.code());
                continue;
            }
        };
        if host.contains('/') || host.starts_with('.') {
            return Err(Problem::input(format!("{host:?} is no name for a file")));
        }
        let public = args.output.join(format!("{host}.pub"));
        std::fs::write(&public, key)
            .map_err(|error| Problem::input(format!("{}: {error}", public.display())))?;
        let mut names = vec![host.clone()];
        names.extend([target.host].into_iter().chain(args.names.iter().cloned()));
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        let (file, certificate) = sign(ca, &request(args, &public, host, &names))?;
        tell(ca.json, &file, &certificate);
    }
    Ok(ExitCode::from(code))
}

/// Reads the host's public key there.
fn public_key(target: &Target) -> Result<String, Unreachable> {
    let argv = match target.local {
        true => Vec::new(),
        false => target.ssh().argv,
    };
    let mut command = match argv.split_first() {
        Some((program, rest)) => {
            let mut command = Command::new(program);
            command.args(rest).arg(format!("cat {KEY}"));
            command
        }
        None => {
            let mut command = Command::new("cat");
            command.arg(KEY);
            command
        }
    };
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Unreachable::from(format!("cannot run ssh: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let is_key = text.starts_with("ssh-ed25519 ") && text.lines().count() == 1 && text.len() < 4096;
    if output.status.success() && is_key {
        return Ok(text + "\n");
    }
    let mut talk = SshTalk::default();
    String::from_utf8_lossy(&output.stderr).lines().for_each(|line| talk.line(line));
    match output.status.code() {
        Some(255) if !target.local => Err(talk.explain(target, Some(255))),
        _ => Err(Unreachable::from(format!("{} has no readable {KEY}", target.name))),
    }
}
