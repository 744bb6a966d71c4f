//! Commands that put one entry on record: `approve`, `hold`, `unhold`, `freeze`, `thaw`.

use std::process::ExitCode;

use debark_ledger::{Kind, Offline};
use debark_order::{Digest, Environment};

use super::context::Problem;
use super::desk::{Desk, DeskArgs, Remote, Spec, at_desk};
use super::rules;
use super::{fetch, records, tell};

/// Agrees that a version may go to an environment
///
/// The approval is of that very file: of its digest. One's own does not count for what one deploys.
///
/// Exit codes: 0 on record, 1 bad input, 3 refused, 4 the ledger's remote or the artifact store cannot be reached.
#[derive(clap::Args)]
pub struct ApproveArgs {
    /// What
    #[arg(value_name = "PACKAGE@VERSION")]
    package: Spec,
    /// Where
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Environment,
    /// The digest, if the version is neither on record nor in the artifact store
    #[arg(long, value_name = "SHA256")]
    digest: Option<Digest>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Stops deployments to an environment, of everything or of a package
///
/// Rollbacks go on. A hold stays until `debark unhold`.
///
/// Exit codes: 0 on record, 1 bad input, 3 refused, 4 the ledger's remote cannot be reached.
#[derive(clap::Args)]
pub struct HoldArgs {
    /// What [default: everything]
    #[arg(value_name = "PACKAGE[@VERSION]")]
    package: Option<Spec>,
    /// Where
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Environment,
    /// Only that file
    #[arg(long, value_name = "SHA256", requires = "package")]
    digest: Option<Digest>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Lets deployments go on that were held, and releases that are bad be deployed again
///
/// Without a package it lifts the holds on the whole environment; with one, those on the package, and its marks of bad
/// releases: those of one version, if one is named.
///
/// Exit codes: 0 on record, 1 bad input or nothing is held, 3 refused, 4 the ledger's remote cannot be reached.
#[derive(clap::Args)]
pub struct UnholdArgs {
    /// What [default: everything]
    #[arg(value_name = "PACKAGE[@VERSION]")]
    package: Option<Spec>,
    /// Where
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Environment,
    /// Only that file
    #[arg(long, value_name = "SHA256", requires = "package")]
    digest: Option<Digest>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Stops all deployments to an environment for a while
///
/// Rollbacks go on.
///
/// Exit codes: 0 on record, 1 bad input, 3 refused, 4 the ledger's remote cannot be reached.
#[derive(clap::Args)]
pub struct FreezeArgs {
    /// Where
    #[arg(value_name = "ENVIRONMENT")]
    env: Environment,
    /// For how long: `2h`, `3d` [default: until `debark thaw`]
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    length: Option<String>,
    /// Until when: `2026-12-24T18:00Z`
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Ends the freezes of `debark freeze`
///
/// Those of the calendar in debark.yml stay.
///
/// Exit codes: 0 on record, 1 bad input or nothing is frozen, 3 refused, 4 the ledger's remote cannot be reached.
#[derive(clap::Args)]
pub struct ThawArgs {
    /// Where
    #[arg(value_name = "ENVIRONMENT")]
    env: Environment,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Whether there is something to lift.
type Matters = fn(&debark_ledger::State, &Kind) -> bool;

/// Appends, by someone whom the environment knows.
fn put(
    desk: &Desk,
    environment: &Environment,
    reason: Option<&str>,
    kind: Kind,
    matters: Option<(Matters, &str)>,
) -> Result<ExitCode, Problem> {
    let ledger = desk.ledger(environment)?;
    desk.signer()?;
    let state = desk.state(&ledger, environment, Remote::Needed)?;
    if let Some((matters, what)) = matters
        && !matters(&state, &kind)
    {
        return Err(Problem::input(format!("{what} in {environment}"))
            .hint(format!("debark status --env {environment} --recorded shows what is")));
    }
    let appended = ledger.record(environment, reason.map(str::to_owned), kind, Offline::Refuse)?;
    records::appended(desk, &appended);
    tell::recorded(desk, &appended.entry);
    Ok(ExitCode::SUCCESS)
}

/// Runs `debark approve`.
pub fn approve(args: &ApproveArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        let environment = desk.environment(&args.env)?;
        let package = desk.package(Some(&args.package.package))?;
        let Some(version) = args.package.version.clone() else {
            return Err(Problem::input("which version?")
                .hint(format!("debark approve {package}@VERSION --env {}", args.env)));
        };
        let ledger = desk.ledger(&args.env)?;
        desk.signer()?;
        // Refreshes what is known of other environments as well.
        let state = desk.state(&ledger, &args.env, Remote::Needed)?;
        let digest = match args.digest {
            Some(digest) => digest,
            None => match records::known_digest(desk, &ledger, &args.env, &args.package)? {
                Some(digest) => digest,
                None => fetch::find(desk, environment, &package, Some(&version))?.digest,
            },
        };
        let actor = ledger.actor()?;
        if let Some(approvals) = &environment.gates.approvals
            && !approvals.by.contains(&actor)
        {
            let who: Vec<&str> = approvals.by.iter().map(debark_order::Identity::as_str).collect();
            return Err(Problem::refused(format!("the approval of {actor} does not count for {}", args.env))
                .hint(format!("`approvals` of that environment in debark.yml name {}", who.join(", "))));
        }
        if state.approvals(&package, &digest).iter().any(|approval| approval.identity == actor) {
            return Err(Problem::input(format!(
                "{actor} has approved {package} {version} for {} already",
                args.env
            )));
        }
        if !desk.json {
            anstream::eprintln!("note: {package} {version} is {digest}");
        }
        let kind = Kind::Approved { package, version, digest };
        let appended = ledger.record(&args.env, args.reason.clone(), kind, Offline::Refuse)?;
        records::appended(desk, &appended);
        tell::recorded(desk, &appended.entry);
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs `debark hold`.
pub fn hold(args: &HoldArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        desk.environment(&args.env)?;
        let package = args.package.as_ref().map(|spec| desk.package(Some(&spec.package))).transpose()?;
        let version = args.package.as_ref().and_then(|spec| spec.version.clone());
        let kind = Kind::Held { package, version, digest: args.digest };
        put(desk, &args.env, Some(&args.reason), kind, None)
    })
}

/// Runs `debark unhold`.
pub fn unhold(args: &UnholdArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        desk.environment(&args.env)?;
        rules::may(desk, &args.env)?;
        let package = args.package.as_ref().map(|spec| desk.package(Some(&spec.package))).transpose()?;
        let version = args.package.as_ref().and_then(|spec| spec.version.clone());
        let kind = Kind::Released { package, version, digest: args.digest };
        let matters: Matters = |state, kind| {
            let Kind::Released { package, version, digest } = kind else { return true };
            let bad =
                package.as_ref().and_then(|package| state.packages.get(package)).is_some_and(|package| {
                    package.bad.iter().any(|bad| {
                        version.as_ref().is_none_or(|version| *version == bad.version)
                            && digest.is_none_or(|digest| digest == bad.digest)
                    })
                });
            bad || state.holds.iter().any(|hold| {
                hold.package == *package
                    && (version.is_none() || *version == hold.version)
                    && (digest.is_none() || *digest == hold.digest)
            })
        };
        put(desk, &args.env, Some(&args.reason), kind, Some((matters, "nothing like that is held or bad")))
    })
}

/// Runs `debark freeze`.
pub fn freeze(args: &FreezeArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        desk.environment(&args.env)?;
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
        let until = match (&args.length, &args.until) {
            (Some(length), _) => {
                let length = debark_project::parse_duration(length)
                    .map_err(|error| Problem::input(format!("--for {length}: {error}")))?;
                Some(now.saturating_add(length.as_secs()))
            }
            (None, Some(until)) => {
                let time: jiff::Timestamp = until.parse().map_err(|_| {
                    Problem::input(format!("--until {until}: no time with its offset"))
                        .hint("such as 2026-12-24T18:00Z or 2026-12-24T18:00+01:00")
                })?;
                Some(u64::try_from(time.as_second()).unwrap_or(0))
            }
            (None, None) => None,
        };
        if until.is_some_and(|until| until <= now) {
            return Err(Problem::input("that freeze would be over before it begins"));
        }
        put(desk, &args.env, Some(&args.reason), Kind::Frozen { until }, None)
    })
}

/// Runs `debark thaw`.
pub fn thaw(args: &ThawArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        desk.environment(&args.env)?;
        rules::may(desk, &args.env)?;
        let matters: Matters = |state, _| !state.freezes.is_empty();
        put(desk, &args.env, Some(&args.reason), Kind::Thawed, Some((matters, "nothing is frozen")))
    })
}
