//! `debark ssh-ca`: certificates for people and hosts, signed by ssh-keygen, each on record.

mod init;
mod look;
mod record;
mod revoke;
mod sign_host;
mod sign_user;
mod signing;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::release::context::Problem;

/// Certificates for people and hosts.
#[derive(clap::Subcommand)]
pub enum SshCaCommand {
    Init(init::InitArgs),
    SignUser(Box<sign_user::SignUserArgs>),
    SignHost(Box<sign_host::SignHostArgs>),
    List(look::ListArgs),
    Show(look::ShowArgs),
    Revoke(revoke::RevokeArgs),
}

/// Which CA.
#[derive(clap::Args, Clone)]
pub struct CaArgs {
    /// The CA's key; its record (`FILE.log`) and revocation list (`FILE.krl`) stand beside it. If there is only
    /// FILE.pub, the ssh agent signs [default: debark/ssh-ca/ca in ~/.config]
    #[arg(long, value_name = "FILE", env = "DEBARK_SSH_CA")]
    pub ca: Option<PathBuf>,
    /// JSON on standard output
    #[arg(long)]
    pub json: bool,
}

impl CaArgs {
    /// Where the key is or is to be.
    fn file(&self) -> Result<PathBuf, Problem> {
        let file = self.ca.clone().or_else(debark_connect::ca_file);
        file.ok_or_else(|| {
            Problem::input("there is no home directory to keep a CA in").hint("name one with --ca FILE")
        })
    }
}

/// `FILE.EXTENSION`, whatever dots FILE has.
fn beside(file: &std::path::Path, extension: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Runs the command.
pub fn run(command: &SshCaCommand) -> ExitCode {
    match command {
        SshCaCommand::Init(args) => init::run(args),
        SshCaCommand::SignUser(args) => sign_user::run(args),
        SshCaCommand::SignHost(args) => sign_host::run(args),
        SshCaCommand::List(args) => look::list(args),
        SshCaCommand::Show(args) => look::show(args),
        SshCaCommand::Revoke(args) => revoke::run(args),
    }
}
