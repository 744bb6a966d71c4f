//! `debark promote`: what is live and good in one environment is live in another, byte for byte.

use std::path::PathBuf;
use std::process::ExitCode;

use debark_ledger::DeployAction;
use debark_order::Environment;

use super::context::Problem;
use super::desk::{DeskArgs, Spec, at_desk};
use super::fetch;
use super::hosts::ReachArgs;
use super::options::DeployArgs;
use super::perform::Job;

/// Puts what is live in one environment live in another
///
/// The same digest, after the other environment's gates: soak time, tests, approvals, freezes, holds.
///
/// Exit codes: 0 live, 1 bad input, 2 failed and put back, 3 refused, 4 or more hosts could not be reached, 6 or more both,
/// 130 interrupted.
#[derive(clap::Args)]
pub struct PromoteArgs {
    /// The package, and its version unless it is the one that is live there
    #[arg(value_name = "PACKAGE[@VERSION]")]
    package: Option<Spec>,
    /// From where [default: `promote_from` of the other]
    #[arg(long, value_name = "ENVIRONMENT")]
    from: Option<Environment>,
    /// Where to
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Environment,
    #[command(flatten)]
    deploy: DeployArgs,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Runs the command.
pub fn run(args: &PromoteArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        let environment = desk.environment(&args.to)?;
        let package = desk.package(args.package.as_ref().map(|spec| &spec.package))?;
        let from = match (&args.from, &environment.promote_from) {
            (Some(from), _) | (None, Some(from)) => from.clone(),
            (None, None) => {
                let message = format!("from where? {} has no `promote_from`", args.to);
                return Err(Problem::input(message).hint("name an environment by --from"));
            }
        };
        desk.environment(&from)?;
        let ledger = desk.ledger(&args.to)?;
        let state = desk.state(&ledger, &args.to, args.deploy.remote())?;
        let source = desk.ledger(&from)?.trusted(&from)?;
        let version = args.package.as_ref().and_then(|spec| spec.version.as_ref());
        let release = match version {
            Some(version) => source.good(&package, version),
            None => source.live(&package),
        };
        let Some(release) = release.cloned() else {
            let what = version.map_or_else(String::new, |version| format!(" {version}"));
            let message = format!("{package}{what} has not been live in {from}");
            return Err(Problem::refused(message).hint(format!("first: debark deploy {package} --to {from}")));
        };
        let tests = fetch::found(desk, environment, &package, Some(&release.version), args.deploy.plan)?;
        if tests.digest != release.digest {
            let message = format!(
                "the artifact store has another {package} {} ({}) than {from} ({})",
                release.version,
                tests.digest.short(),
                release.digest.short()
            );
            return Err(
                Problem::refused(message).hint("find out who replaced it; a version is published once")
            );
        }
        let get = || -> Result<PathBuf, String> {
            fetch::package(desk, environment, &package, &release.version, release.digest)
        };
        let of = state.open.as_ref().filter(|open| open.package == package).map(|open| open.sequence);
        Job {
            desk,
            environment,
            ledger: &ledger,
            action: DeployAction::Promote,
            package: package.clone(),
            version: release.version.clone(),
            digest: release.digest,
            size: release.size,
            commit: release.commit.clone(),
            from: Some(from),
            of,
            only: None,
            tests_passed: tests.tests_passed,
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
