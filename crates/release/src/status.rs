//! What is meant to be, beside what is.

use debark_connect::{Problem, ProblemKind, Target};
use debark_ledger::State;
use debark_order::gate::{FileReport, HostState, PackageState, Reply, Request};
use debark_order::{Digest, PackageName, PackageVersion};
use serde::Serialize;

use crate::fleet;
use crate::host::{HostError, Link};

/// A host's answer, or why there is none.
pub type Seen = Result<HostState, HostError>;

/// Asks hosts, at most `at_once` at a time.
pub fn look(targets: &[Target], packages: &[PackageName], at_once: usize) -> Vec<Seen> {
    fleet::each(targets, at_once, |target| {
        let mut link = Link::open(target)?;
        match link.ask(&Request::State { packages: packages.to_vec() }, |_| {})? {
            Reply::State(state) => Ok(state),
            _ => Ok(HostState::default()),
        }
    })
}

/// Asks hosts to compare a package's files with what was in the package.
pub fn files(
    targets: &[Target],
    package: &PackageName,
    at_once: usize,
) -> Vec<Result<FileReport, HostError>> {
    fleet::each(targets, at_once, |target| {
        let mut link = Link::open(target)?;
        match link.ask(&Request::Files { package: package.clone() }, |_| {})? {
            Reply::Files(report) => Ok(report),
            _ => Err(HostError::Unreachable(Problem::new(
                ProblemKind::Garbage,
                format!("the gate of {} answers what was not asked", target.name),
            ))),
        }
    })
}

/// How a package on a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The digest that the ledger says.
    Ok,
    /// Another version.
    Behind,
    /// The version that the ledger says, and not its digest: somebody else installed it.
    Drift,
    /// Installed, and waits to be confirmed.
    Unconfirmed,
    /// dpkg's state is broken, or a unit failed.
    Broken,
    /// Not installed.
    Missing,
    /// Nobody answers.
    Unreachable,
    /// Nobody was asked: what the ledger says.
    Recorded,
}

/// A line of `debark status`.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The host's inventory name.
    pub host: String,
    /// The package.
    pub package: PackageName,
    /// What the ledger says is to be live.
    pub intended: Option<PackageVersion>,
    /// What is live.
    pub actual: Option<PackageVersion>,
    /// Of what is live.
    pub digest: Option<Digest>,
    /// How it stands.
    pub verdict: Verdict,
    /// Why.
    pub why: Option<String>,
    /// Earlier versions that the host keeps.
    pub kept: Vec<PackageVersion>,
    /// Why the host cannot be reached.
    #[serde(skip)]
    pub away: Option<ProblemKind>,
}

/// One line for a package on a host.
pub fn row(host: &str, package: &PackageName, state: &State, seen: Option<&Seen>) -> Row {
    let live = state.live(package);
    let record = state.packages.get(package).and_then(|package| package.hosts.get(host));
    let mut row = Row {
        host: host.to_owned(),
        package: package.clone(),
        intended: live.map(|live| live.version.clone()),
        actual: None,
        digest: None,
        verdict: Verdict::Recorded,
        why: None,
        kept: Vec::new(),
        away: None,
    };
    let seen = match seen {
        Some(Ok(seen)) => seen,
        Some(Err(error)) => {
            row.why = Some(error.to_string());
            (row.verdict, row.away) = match error {
                HostError::Unreachable(problem) => (Verdict::Unreachable, Some(problem.kind)),
                HostError::Gate(_) => (Verdict::Broken, None),
            };
            return row;
        }
        None => {
            row.actual = record.and_then(|record| record.version.clone());
            row.digest = record.and_then(|record| record.digest);
            row.why = record.and_then(|record| record.message.clone());
            return row;
        }
    };
    let Some(found) = seen.packages.iter().find(|found| found.package == *package) else {
        row.verdict = if live.is_some() { Verdict::Missing } else { Verdict::Ok };
        return row;
    };
    row.actual = found.live.as_ref().map(|live| live.version.clone());
    row.digest = found.live.as_ref().and_then(|live| live.digest);
    row.kept = found.kept.iter().map(|kept| kept.version.clone()).collect();
    (row.verdict, row.why) = judge(found, seen, live.map(|live| (&live.version, live.digest)));
    row
}

fn judge(
    found: &PackageState,
    host: &HostState,
    intended: Option<(&PackageVersion, Digest)>,
) -> (Verdict, Option<String>) {
    if let Some(trouble) = &found.trouble {
        return (Verdict::Broken, Some(format!("dpkg says {trouble}")));
    }
    if let Some(unit) = found.units.iter().find(|unit| unit.active == "failed") {
        return (Verdict::Broken, Some(format!("{} is failed", unit.unit)));
    }
    if let Some(open) = host.open.as_ref().filter(|open| open.package == found.package) {
        let by_itself = open
            .reverts_at
            .map_or(String::new(), |_| ", and goes back by itself if nobody confirms".to_owned());
        return (
            Verdict::Unconfirmed,
            Some(format!("order {} is at {}{by_itself}", open.sequence, open.step)),
        );
    }
    match (intended, &found.live) {
        (None, _) => (Verdict::Ok, None),
        (Some(_), None) => (Verdict::Missing, None),
        (Some((version, _)), Some(live)) if *version != live.version => (Verdict::Behind, None),
        (Some((_, digest)), Some(live)) if live.digest != Some(digest) => {
            (Verdict::Drift, Some("that version was not installed by debark, or from another .deb".into()))
        }
        _ => (Verdict::Ok, None),
    }
}
