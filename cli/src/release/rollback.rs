//! `debark rollback`: an earlier version is live again, in seconds, from what the hosts have kept.

use std::path::PathBuf;
use std::process::ExitCode;

use debark_ledger::state::Bad;
use debark_ledger::{DeployAction, Kind, Ledger};
use debark_order::{Environment, PackageName, PackageVersion};

use super::context::Problem;
use super::desk::{DeskArgs, Spec, at_desk};
use super::fetch;
use super::hosts::ReachArgs;
use super::options::DeployArgs;
use super::perform::Job;

/// Puts an earlier version live again
///
/// Without --to it is the last good one. All hosts at once, from what they have kept: neither the artifact store nor git is needed. What is
/// rolled back is marked bad, and is not deployed to that environment again until `debark unhold`.
///
/// Exit codes: 0 live on all hosts, 1 bad input, 2 failed, 3 refused, 4 or more some host could not be reached, 6 or more
/// both, 130 interrupted.
#[derive(clap::Args)]
pub struct RollbackArgs {
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: Option<Spec>,
    /// Where
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Environment,
    /// To which version [default: the last good one]
    #[arg(long, value_name = "VERSION")]
    to: Option<PackageVersion>,
    #[command(flatten)]
    deploy: DeployArgs,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Runs the command.
pub fn run(args: &RollbackArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        let environment = desk.environment(&args.env)?;
        let package = desk.package(args.package.as_ref().map(|spec| &spec.package))?;
        let to = args.to.clone().or_else(|| args.package.as_ref().and_then(|spec| spec.version.clone()));
        let ledger = desk.ledger(&args.env)?;
        let state = desk.state(&ledger, &args.env, args.deploy.welcome())?;
        let found = match &to {
            Some(version) => state.good(&package, version),
            None => state.last_good(&package),
        };
        let Some(release) = found.cloned() else {
            let known = state.packages.get(&package);
            let bad = to.as_ref().and_then(|to| known?.bad.iter().rev().find(|bad| bad.version == *to));
            let (message, hint) = match (&to, bad) {
                (Some(_), Some(bad)) => (
                    was_bad(&ledger, &args.env, &package, bad),
                    format!(
                        "debark unhold {package}@{0} --env {1} --reason WHY, then debark deploy {package}@{0} --to {1}",
                        bad.version, args.env
                    ),
                ),
                (Some(version), None) => (
                    format!("{package} {version} has not been live in {}", args.env),
                    format!("debark history --env {} --package {package} shows what was", args.env),
                ),
                (None, _) => (
                    format!("{} has no earlier good version of {package}", args.env),
                    "name one by --to, or deploy a new version".to_owned(),
                ),
            };
            return Err(Problem::refused(message).hint(hint));
        };
        if state.open.is_none()
            && state.live(&package).is_some_and(|live| live.digest == release.digest)
            && to.is_some()
        {
            anstream::eprintln!(
                "note: {package} {} is what the ledger says is live; hosts that have something else are put right",
                release.version
            );
        }
        let of = state.open.as_ref().map(|open| open.sequence);
        let get = || -> Result<PathBuf, String> {
            fetch::package(desk, environment, &package, &release.version, release.digest)
        };
        Job {
            desk,
            environment,
            ledger: &ledger,
            action: DeployAction::Rollback,
            package: package.clone(),
            version: release.version.clone(),
            digest: release.digest,
            size: release.size,
            commit: release.commit.clone(),
            from: None,
            of,
            only: None,
            tests_passed: None,
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

/// Why a version that is held as bad is nothing to go back to.
fn was_bad(ledger: &Ledger, environment: &Environment, package: &PackageName, bad: &Bad) -> String {
    let entry = ledger.entry(environment, bad.sequence).ok().map(|recorded| recorded.entry.kind);
    let what = match entry {
        Some(Kind::Started(_)) => "was live until it was rolled back",
        _ => "has failed",
    };
    format!(
        "{package} {} {what} in {environment} (entry {}, by {}), and is held as bad since: {}",
        bad.version,
        bad.sequence,
        bad.by,
        super::records::plain(&bad.why)
    )
}
