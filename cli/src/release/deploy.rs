//! `debark deploy`: a version from the artifact store is live in an environment.

use std::path::PathBuf;
use std::process::ExitCode;

use debark_ledger::{DeployAction, Kind, State};
use debark_order::Environment;

use super::context::Problem;
use super::desk::{Desk, DeskArgs, Spec, at_desk};
use super::fetch;
use super::hosts::ReachArgs;
use super::options::DeployArgs;
use super::perform::Job;

/// Puts a version live in an environment
///
/// In waves with health checks. If a wave fails, every host that was touched is put back, and the release is marked bad.
///
/// Exit codes: 0 live, 1 bad input, 2 failed and put back, 3 refused, 4 or more hosts could not be reached, 6 or more both,
/// 130 interrupted.
#[derive(clap::Args)]
pub struct DeployCommand {
    /// The package, and its version unless it is the newest
    #[arg(value_name = "PACKAGE[@VERSION]")]
    package: Option<Spec>,
    /// Where
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Environment,
    /// Finish a deployment whose deployer is gone; or bring hosts up to date that were left behind
    #[arg(long, conflicts_with = "abort")]
    resume: bool,
    /// Undo a deployment whose deployer is gone
    #[arg(long)]
    abort: bool,
    #[command(flatten)]
    deploy: DeployArgs,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Runs the command.
pub fn run(args: &DeployCommand) -> ExitCode {
    at_desk(&args.desk, |desk| {
        if args.resume || args.abort {
            return finish(args, desk);
        }
        let environment = desk.environment(&args.to)?;
        let package = desk.package(args.package.as_ref().map(|spec| &spec.package))?;
        let version = args.package.as_ref().and_then(|spec| spec.version.clone());
        let ledger = desk.ledger(&args.to)?;
        let state = desk.state(&ledger, &args.to, args.deploy.remote())?;
        let found = fetch::found(desk, environment, &package, version.as_ref(), args.deploy.plan)?;
        let get = || -> Result<PathBuf, String> {
            fetch::package(desk, environment, &package, &found.version, found.digest)
        };
        // The same package's next order puts right what a crashed deployer left.
        let of = state.open.as_ref().filter(|open| open.package == package).map(|open| open.sequence);
        Job {
            desk,
            environment,
            ledger: &ledger,
            action: DeployAction::Deploy,
            package: package.clone(),
            version: found.version.clone(),
            digest: found.digest,
            size: found.size,
            commit: found.commit.clone(),
            from: None,
            of,
            only: None,
            tests_passed: found.tests_passed,
            fetch: &get,
            reason: args.deploy.reason.clone(),
            plan: args.deploy.plan,
            verbose: args.deploy.verbose,
            lease: args.deploy.lease_seconds(),
            reach: &args.reach,
            state,
        }
        .perform()
    })
}

/// `--resume` and `--abort`.
fn finish(args: &DeployCommand, desk: &Desk) -> Result<ExitCode, Problem> {
    let environment = desk.environment(&args.to)?;
    let ledger = desk.ledger(&args.to)?;
    let state = desk.state(&ledger, &args.to, args.deploy.remote())?;
    let Some(open) = state.open.clone() else {
        if args.abort {
            let message = format!("{} has no deployment that could be aborted", args.to);
            return Err(Problem::refused(message).hint("to go back to an earlier version: debark rollback"));
        }
        return catch_up(args, desk, state);
    };
    let started = match ledger.entry(&args.to, open.sequence)?.entry.kind {
        Kind::Started(started) => started,
        _ => {
            return Err(
                Problem::input("the ledger's open deployment is no deployment").hint("debark ledger verify")
            );
        }
    };
    let action = match (args.abort, open.action) {
        (true, _) | (false, DeployAction::Abort) => DeployAction::Abort,
        (false, action) => action,
    };
    let get = || -> Result<PathBuf, String> {
        fetch::package(desk, environment, &open.package, &open.version, open.digest)
    };
    let tests = fetch::found(desk, environment, &open.package, Some(&open.version), args.deploy.plan)
        .ok()
        .and_then(|found| found.tests_passed);
    Job {
        desk,
        environment,
        ledger: &ledger,
        action,
        package: open.package.clone(),
        version: open.version.clone(),
        digest: open.digest,
        size: open.size,
        commit: open.commit.clone(),
        from: started.from.clone(),
        of: Some(open.sequence),
        only: None,
        tests_passed: tests,
        fetch: &get,
        reason: args
            .deploy
            .reason
            .clone()
            .or_else(|| Some(format!("deployment {} was given up", open.sequence))),
        plan: args.deploy.plan,
        verbose: args.deploy.verbose,
        lease: args.deploy.lease_seconds(),
        reach: &args.reach,
        state,
    }
    .perform()
}

/// Hosts that were left behind get what is live elsewhere.
fn catch_up(args: &DeployCommand, desk: &Desk, state: State) -> Result<ExitCode, Problem> {
    let environment = desk.environment(&args.to)?;
    let packages = match &args.package {
        Some(spec) => vec![desk.package(Some(&spec.package))?],
        None => state.packages.keys().cloned().collect(),
    };
    let behind = packages.into_iter().find_map(|package| {
        let hosts: Vec<String> = state.behind(&package).map(|(host, _)| host.clone()).collect();
        let live = state.live(&package).cloned();
        live.filter(|_| !hosts.is_empty()).map(|live| (package, live, hosts))
    });
    let Some((package, live, hosts)) = behind else {
        anstream::println!("{} has no host that is behind, and no deployment that was given up", args.to);
        return Ok(ExitCode::SUCCESS);
    };
    let ledger = desk.ledger(&args.to)?;
    let get = || -> Result<PathBuf, String> {
        fetch::package(desk, environment, &package, &live.version, live.digest)
    };
    let tests = fetch::found(desk, environment, &package, Some(&live.version), args.deploy.plan)
        .ok()
        .and_then(|found| found.tests_passed);
    Job {
        desk,
        environment,
        ledger: &ledger,
        action: DeployAction::Deploy,
        package: package.clone(),
        version: live.version.clone(),
        digest: live.digest,
        size: live.size,
        commit: live.commit.clone(),
        from: None,
        of: None,
        only: Some(hosts),
        tests_passed: tests,
        fetch: &get,
        reason: args
            .deploy
            .reason
            .clone()
            .or_else(|| Some("hosts that were behind are brought up to date".into())),
        plan: args.deploy.plan,
        verbose: args.deploy.verbose,
        lease: args.deploy.lease_seconds(),
        reach: &args.reach,
        state,
    }
    .perform()
}
