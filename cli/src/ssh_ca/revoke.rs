//! `debark ssh-ca revoke`: what counts no more, as a list for sshd (`RevokedKeys`).

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use debark_connect::certificate::Certificate;
use serde_json::json;

use super::record::{Entry, Record, now};
use super::{CaArgs, beside};
use crate::release::context::{Problem, finish};

/// Revokes certificates and keys: makes the list that hosts' sshd reads (RevokedKeys)
///
/// The list is FILE.krl beside the CA's key; the role ssh_certificates brings it to hosts, and only then it counts there.
///
/// Exit codes: 0, 1 bad input, 2 ssh-keygen makes no list.
#[derive(clap::Args)]
pub struct RevokeArgs {
    /// Certificates, and public keys with all certificates for them
    #[arg(value_name = "FILE", required_unless_present_any = ["serial", "identity"])]
    files: Vec<PathBuf>,
    /// The certificates of these numbers
    #[arg(long, value_name = "N", value_delimiter = ',')]
    serial: Vec<u64>,
    /// All certificates of this identity
    #[arg(long, value_name = "NAME")]
    identity: Vec<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    ca: CaArgs,
}

/// Runs the command.
pub fn run(args: &RevokeArgs) -> ExitCode {
    finish(args.ca.json, |_| {
        let ca = args.ca.file()?;
        let public = beside(&ca, "pub");
        if !public.is_file() {
            return Err(Problem::input(format!("there is no CA at {}", ca.display()))
                .hint("`debark ssh-ca init` makes one"));
        }
        let mut what: Vec<String> = Vec::new();
        // KEY REVOCATION LISTS in ssh-keygen(1).
        let mut specification = String::new();
        for serial in &args.serial {
            specification += &format!("serial: {serial}\n");
            what.push(format!("serial {serial}"));
        }
        for identity in &args.identity {
            if identity.contains(|letter: char| letter.is_control()) || identity.trim().is_empty() {
                return Err(Problem::input(format!("{identity:?} is no identity")));
            }
            specification += &format!("id: {identity}\n");
            what.push(format!("identity {identity}"));
        }
        for file in &args.files {
            what.push(described(file)?);
        }
        let failed = |error: std::io::Error| Problem::failed(format!("{}: {error}", ca.display()));
        let mut record = Record::open(&ca)?;
        let list = beside(&ca, "krl");
        let work = tempfile::Builder::new()
            .prefix(".krl-")
            .tempdir_in(ca.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref()))
            .map_err(failed)?;
        let (new, words) = (work.path().join("krl"), work.path().join("what"));
        if list.exists() {
            fs::copy(&list, &new).map_err(failed)?;
        }
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-k", "-f"]).arg(&new).arg("-s").arg(&public);
        if list.exists() {
            command.arg("-u");
        }
        // Lists have numbers, too; a later one has a higher one.
        command.arg("-z").arg(now().to_string());
        if !specification.is_empty() {
            fs::File::create(&words)
                .and_then(|mut file| file.write_all(specification.as_bytes()))
                .map_err(failed)?;
            command.arg(&words);
        }
        let output = command.args(&args.files).output().map_err(failed)?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            return Err(Problem::failed(format!("ssh-keygen makes no list: {why}")));
        }
        fs::File::open(&new).and_then(|file| file.sync_all()).map_err(failed)?;
        for what in &what {
            record.add(Entry::Revoked {
                time: now(),
                by: crate::common::actor(),
                what: what.clone(),
                reason: args.reason.clone(),
            })?;
        }
        fs::rename(&new, &list).map_err(failed)?;
        if args.ca.json {
            anstream::println!("{}", json!({"event": "revoked", "file": list, "what": what}));
        } else {
            what.iter().for_each(|what| anstream::println!("revoked {what}"));
            anstream::println!("{}: bring it to the hosts", list.display());
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn described(file: &std::path::Path) -> Result<String, Problem> {
    if let Ok(certificate) = Certificate::read(file) {
        return Ok(format!("serial {} ({})", certificate.serial, certificate.id));
    }
    let text =
        fs::read_to_string(file).map_err(|error| Problem::input(format!("{}: {error}", file.display())))?;
    let print = text.split_whitespace().nth(1).and_then(debark_connect::fingerprint);
    match print.filter(|_| !text.contains("PRIVATE KEY")) {
        Some(print) => Ok(format!("key {print}")),
        None => Err(Problem::input(format!("{} is neither a certificate nor a public key", file.display()))),
    }
}
