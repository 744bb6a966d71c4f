//! `debark ledger`: verify it, share it.

use std::path::PathBuf;
use std::process::ExitCode;

use debark_ledger::{BranchNews, Ledger, Standing};
use debark_order::Environment;
use serde_json::json;

use super::context::Problem;
use super::desk::{Desk, DeskArgs, at_desk};
use super::history::chosen;
use crate::exit;

/// The ledger: verify it, share it
#[derive(clap::Subcommand)]
pub enum LedgerCommand {
    /// Check every entry from the first one on: signatures, order, and that the state is what the entries come to
    ///
    /// Needs no network. Exit codes: 0 all is whole, 1 bad input, 3 something is not, and is named.
    Verify {
        /// Only this environment
        #[arg(long, value_name = "ENVIRONMENT")]
        env: Option<Environment>,
        /// Believe nothing that was verified before
        #[arg(long)]
        anew: bool,
        #[command(flatten)]
        desk: Box<DeskArgs>,
    },
    /// Push entries that were made while the remote could not be reached
    ///
    /// Exit codes: 0 pushed, 1 bad input, 3 diverged, 4 the remote cannot be reached.
    Push {
        /// Also put back what the remote had and has lost
        #[arg(long)]
        restore: bool,
        #[command(flatten)]
        desk: Box<DeskArgs>,
    },
    /// Fetch what others put on record, and verify it
    ///
    /// Exit codes: 0 fetched, 1 bad input, 3 diverged or not to be trusted, 4 the remote cannot be reached.
    Fetch {
        #[command(flatten)]
        desk: Box<DeskArgs>,
    },
    /// Put entries that are only here behind those of the remote
    ///
    /// For a ledger that has diverged: a rollback was made without the remote, and others went on. Each is signed anew by you;
    /// the branch as it was is kept as diverged/ENVIRONMENT-COMMIT.
    ///
    /// Exit codes: 0 done, or nothing to do; 1 bad input, 3 refused, 4 the remote cannot be reached.
    Reconcile {
        /// Where
        #[arg(long, value_name = "ENVIRONMENT")]
        env: Environment,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        desk: Box<DeskArgs>,
    },
    /// Show an environment's chain with git, signatures included
    Log {
        /// Which
        #[arg(long, value_name = "ENVIRONMENT")]
        env: Environment,
        #[command(flatten)]
        desk: Box<DeskArgs>,
        /// Further arguments for git log
        #[arg(last = true, value_name = "ARGS")]
        args: Vec<String>,
    },
}

/// Runs the command.
pub fn run(command: &LedgerCommand) -> ExitCode {
    match command {
        LedgerCommand::Verify { env, anew, desk } => at_desk(desk, |desk| verify(desk, env.as_ref(), *anew)),
        LedgerCommand::Push { restore, desk } => at_desk(desk, |desk| {
            let ledger = any(desk)?;
            Ok(told(desk, &shared(&ledger)?.push(*restore)?))
        }),
        LedgerCommand::Fetch { desk } => at_desk(desk, |desk| {
            let ledger = any(desk)?;
            Ok(told(desk, &shared(&ledger)?.fetch()?))
        }),
        LedgerCommand::Reconcile { env, reason, desk } => at_desk(desk, |desk| {
            super::rules::may(desk, env)?;
            let ledger = desk.ledger(env)?;
            let moved = shared(&ledger)?.reconcile(env, reason)?;
            if desk.json {
                anstream::println!(
                    "{}",
                    json!({"event": "reconciled", "environment": env, "entries": moved})
                );
            } else if moved == 0 {
                anstream::println!("{env}: nothing has diverged");
            } else {
                anstream::println!(
                    "{env}: {moved} entries moved; see what hosts have: debark status --env {env}"
                );
            }
            Ok(ExitCode::SUCCESS)
        }),
        LedgerCommand::Log { env, desk, args } => at_desk(desk, |desk| log(desk, env, args)),
    }
}

/// The ledger for all environments: as the first of them trusts it.
fn any(desk: &Desk) -> Result<Ledger, Problem> {
    let first = desk.project.environments.keys().next();
    let first = first.ok_or_else(|| Problem::input("the project has no environments"))?;
    desk.ledger(first)
}

fn shared(ledger: &Ledger) -> Result<&Ledger, Problem> {
    match ledger.remote_name() {
        Some(_) => Ok(ledger),
        None => Err(Problem::input("the ledger has no remote")
            .hint("give one as `ledger: {remote: URL}` in debark.yml")),
    }
}

fn verify(desk: &Desk, env: Option<&Environment>, anew: bool) -> Result<ExitCode, Problem> {
    let mut whole = true;
    for environment in chosen(desk, env)? {
        let found = desk.ledger(&environment)?.verify(&environment, anew)?;
        whole &= found.faults.is_empty();
        if desk.json {
            let mut value = serde_json::to_value(&found).unwrap_or_default();
            if let Some(object) = value.as_object_mut() {
                object.insert("event".into(), json!("verified"));
            }
            anstream::println!("{value}");
            continue;
        }
        for fault in &found.faults {
            let commit: String = fault.commit.chars().take(12).collect();
            let number = fault.sequence.map_or_else(|| "?".into(), |sequence| sequence.to_string());
            anstream::println!(
                "{environment} #{number} (commit {commit}): {}",
                super::records::plain(&fault.message)
            );
        }
        let verdict = match found.faults.len() {
            0 => "whole".to_owned(),
            1 => "1 fault".to_owned(),
            more => format!("{more} faults"),
        };
        anstream::println!("{environment}: {} entries, {verdict}", found.entries);
    }
    Ok(ExitCode::from(if whole { 0 } else { exit::REFUSED }))
}

fn told(desk: &Desk, news: &[BranchNews]) -> ExitCode {
    let mut code = 0;
    for BranchNews { environment, standing } in news {
        let text = match standing {
            Standing::Same => "nothing new".to_owned(),
            Standing::Fetched { entries } => format!("{entries} entries fetched"),
            Standing::Ahead { entries } => format!("{entries} entries are only here: debark ledger push"),
            Standing::Pushed { entries } => format!("{entries} entries pushed"),
            Standing::Diverged { local, remote } => {
                code = exit::REFUSED;
                format!(
                    "diverged: {local} entries are only here, {remote} only at the remote; nothing was changed; \
                     debark ledger reconcile --env {environment} --reason WHY"
                )
            }
            Standing::Rewound { lost } => {
                code = exit::REFUSED;
                format!(
                    "the remote has lost {lost} entries that it had; nothing was changed; debark ledger push --restore"
                )
            }
            Standing::Untrusted { why } => {
                code = exit::REFUSED;
                format!("nothing was taken over: {}", super::records::plain(why))
            }
        };
        if desk.json {
            let mut value = serde_json::to_value(BranchNews {
                environment: environment.clone(),
                standing: standing.clone(),
            })
            .unwrap_or_default();
            if let Some(object) = value.as_object_mut() {
                object.insert("event".into(), json!("branch"));
            }
            anstream::println!("{value}");
        } else {
            anstream::println!("{environment}: {text}");
        }
    }
    ExitCode::from(code)
}

fn log(desk: &Desk, environment: &Environment, args: &[String]) -> Result<ExitCode, Problem> {
    let signers: PathBuf = desk.environment(environment)?.trust.signers.clone();
    let mut option = std::ffi::OsString::from("gpg.ssh.allowedSignersFile=");
    option.push(signers);
    let status = std::process::Command::new("git")
        .arg("--git-dir")
        .arg(&desk.project.ledger.path)
        .arg("-c")
        .arg(option)
        .args(["log", "--show-signature"])
        .args(args)
        .arg(format!("refs/heads/env/{environment}"))
        .arg("--")
        .status()
        .map_err(|error| Problem::input(format!("cannot run git: {error}")).hint("install git"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED)))
}
