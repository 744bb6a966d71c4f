//! The gates: what has to be so before something may be deployed. Functions of what they are given, nothing else.

use debark_order::{Digest, Environment, Identity, PackageName, PackageVersion};
use jiff::Timestamp;
use serde::Serialize;

use crate::entry::DeployAction;
use crate::state::State;

/// The rules of an environment.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The digest has to be live, or have been live and good, there.
    pub promote_from: Option<Environment>,
    /// Seconds since it succeeded there.
    pub soak: u64,
    /// The provenance has to say that tests were run and passed.
    pub tests: bool,
    /// How many others have to agree.
    pub approvals: u32,
    /// Whose agreement counts; empty: everybody's.
    pub approvers: Vec<Identity>,
    /// Freezes of the calendar that are on now.
    pub freezes: Vec<Closed>,
}

/// A freeze of the calendar that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// For messages: `weekend`.
    pub name: String,
    /// When it is over; none: not in the time that one can foresee.
    pub until: Option<Timestamp>,
}

/// What somebody wants to do.
#[derive(Debug, Clone)]
pub struct Proposal<'a> {
    /// What it is.
    pub action: DeployAction,
    /// The package.
    pub package: &'a PackageName,
    /// The version.
    pub version: &'a PackageVersion,
    /// Of the .deb.
    pub digest: Digest,
    /// Who.
    pub actor: &'a Identity,
    /// Whether its provenance says that tests passed; none: it says nothing of tests.
    pub tests_passed: Option<bool>,
}

/// A gate that is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Which rule.
    pub rule: Rule,
    /// One sentence: what is missing.
    pub message: String,
    /// How to satisfy it.
    pub hint: String,
}

/// The rules, by the names that messages and documentation give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A deployment is going on, or was given up half-way.
    Lease,
    /// The digest has not proved itself where it has to.
    PromoteFrom,
    /// Not for long enough.
    Soak,
    /// Its tests have not passed.
    Tests,
    /// Too few agree.
    Approvals,
    /// The calendar says no.
    Calendar,
    /// Somebody froze the environment.
    Frozen,
    /// Somebody holds it.
    Held,
    /// The release is bad here.
    Bad,
    /// Not everybody may deploy here.
    Allowed,
}

impl Rule {
    /// As it is written: `promote_from`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::PromoteFrom => "promote_from",
            Self::Soak => "soak",
            Self::Tests => "tests",
            Self::Approvals => "approvals",
            Self::Calendar => "calendar",
            Self::Frozen => "frozen",
            Self::Held => "held",
            Self::Bad => "bad",
            Self::Allowed => "allowed",
        }
    }
}

/// All gates that are closed for a proposal; none: it may go ahead. `here` is the state of the environment, `source` that of
/// [`Rules::promote_from`].
///
/// A rollback, and an abort, need only the lease: they bypass the other rules, but no signature.
pub fn check(
    rules: &Rules,
    proposal: &Proposal<'_>,
    here: &State,
    source: Option<&State>,
    now: Timestamp,
) -> Vec<Refusal> {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let mut refusals = Vec::new();
    refusals.extend(lease(proposal, here, seconds));
    if matches!(proposal.action, DeployAction::Rollback | DeployAction::Abort) {
        return refusals;
    }
    bad_and_held(proposal, here, &mut refusals);
    frozen(rules, here, now, &mut refusals);
    proved(rules, proposal, source, seconds, &mut refusals);
    if rules.tests && proposal.tests_passed != Some(true) {
        let what = match proposal.tests_passed {
            Some(_) => "its provenance says that tests failed or were not run",
            None => "its provenance says nothing of tests",
        };
        refusals.push(Refusal {
            rule: Rule::Tests,
            message: format!(
                "{} takes only what has passed its tests, and of {} {} {what}",
                here.environment, proposal.package, proposal.version
            ),
            hint: "give the package `test` commands in debark.yml, and build it anew".into(),
        });
    }
    refusals.extend(approvals(rules, proposal, here));
    refusals
}

fn lease(proposal: &Proposal<'_>, here: &State, now: u64) -> Option<Refusal> {
    let open = here.open.as_ref()?;
    let what = format!("{} {} {}", open.action.name(), open.package, open.version);
    if !open.is_over(now) {
        let left = open.lease_until() - now;
        return Some(Refusal {
            rule: Rule::Lease,
            message: format!("{} is busy: {what} by {}, entry {}", here.environment, open.by, open.sequence),
            hint: format!(
                "wait until it is finished; if its deployer is gone, the lease ends in {left} s by itself"
            ),
        });
    }
    // The same package's next order puts right whatever a crashed deployer left; another package's does not.
    (open.package != *proposal.package && proposal.action != DeployAction::Abort).then(|| Refusal {
        rule: Rule::Lease,
        message: format!(
            "{} has a deployment that was begun and given up: {what} by {}, entry {}",
            here.environment, open.by, open.sequence
        ),
        hint: format!(
            "finish it by `debark deploy --resume --to {0}`, or undo it by `debark deploy --abort --to {0}`",
            here.environment
        ),
    })
}

fn bad_and_held(proposal: &Proposal<'_>, here: &State, refusals: &mut Vec<Refusal>) {
    let (package, version, environment) = (proposal.package, proposal.version, &here.environment);
    if let Some(bad) = here.bad(package, &proposal.digest) {
        refusals.push(Refusal {
            rule: Rule::Bad,
            message: format!(
                "{package} {version} is bad in {environment} since {} (entry {}, {}): {}",
                time(bad.since), bad.sequence, bad.by, bad.why
            ),
            hint: format!(
                "build a new version; or, if you know better: debark unhold {package}@{version} --env {environment} --reason WHY"
            ),
        });
    }
    for hold in &here.holds {
        let fits = hold.package.as_ref().is_none_or(|held| held == package)
            && hold.version.as_ref().is_none_or(|held| held == version)
            && hold.digest.is_none_or(|held| held == proposal.digest);
        if fits {
            let what = match (&hold.package, &hold.version) {
                (None, _) => String::new(),
                (Some(package), None) => format!(" {package}"),
                (Some(package), Some(version)) => format!(" {package}@{version}"),
            };
            let why = hold.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            refusals.push(Refusal {
                rule: Rule::Held,
                message: format!(
                    "{} holds{} in {environment} since {} (entry {}){why}",
                    hold.by,
                    if what.is_empty() { " everything" } else { &what },
                    time(hold.since),
                    hold.sequence
                ),
                hint: format!("ask {}; then: debark unhold{what} --env {environment} --reason WHY", hold.by),
            });
        }
    }
}

fn frozen(rules: &Rules, here: &State, now: Timestamp, refusals: &mut Vec<Refusal>) {
    let environment = &here.environment;
    for window in &rules.freezes {
        let until = window.until.and_then(|until| u64::try_from(until.as_second()).ok());
        let wait =
            until.map_or_else(|| "change debark.yml".into(), |until| format!("wait until {}", time(until)));
        refusals.push(Refusal {
            rule: Rule::Calendar,
            message: format!("{environment} is frozen by the calendar ({})", window.name),
            hint: format!("{wait}; rollbacks are possible"),
        });
    }
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    for freeze in here.freezes.iter().filter(|freeze| freeze.until.is_none_or(|until| until > seconds)) {
        let until = freeze.until.map_or_else(String::new, |until| format!(" until {}", time(until)));
        let why = freeze.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        refusals.push(Refusal {
            rule: Rule::Frozen,
            message: format!("{} froze {environment}{until} (entry {}){why}", freeze.by, freeze.sequence),
            hint: format!(
                "ask {}; then: debark thaw {environment} --reason WHY; rollbacks are possible",
                freeze.by
            ),
        });
    }
}

fn proved(
    rules: &Rules,
    proposal: &Proposal<'_>,
    source: Option<&State>,
    now: u64,
    refusals: &mut Vec<Refusal>,
) {
    let Some(from) = &rules.promote_from else { return };
    let (package, version, digest) = (proposal.package, proposal.version, proposal.digest);
    let known =
        source.filter(|source| source.environment == *from).and_then(|source| source.packages.get(package));
    let good = known.and_then(|known| known.good.iter().find(|good| good.digest == digest));
    let Some(good) = good else {
        let bad = known.is_some_and(|known| known.bad.iter().any(|bad| bad.digest == digest));
        let other = known.and_then(|known| known.good.iter().find(|good| good.version == *version));
        let message = match other {
            _ if bad => format!("{package} {version} is bad in {from}"),
            Some(other) => format!(
                "{package} {version} was live in {from} as another file: {} there, {} here",
                other.digest.short(),
                digest.short()
            ),
            None => format!("{package} {version} has not been live in {from}"),
        };
        let hint = if bad || other.is_some() {
            "promote what is live there, or build a new version".into()
        } else {
            format!("first: debark deploy {package}@{version} --to {from}")
        };
        refusals.push(Refusal { rule: Rule::PromoteFrom, message, hint });
        return;
    };
    let ripe = good.since.saturating_add(rules.soak);
    if now < ripe {
        refusals.push(Refusal {
            rule: Rule::Soak,
            message: format!(
                "{package} {version} has been live in {from} for {}, and has to for {}",
                duration(now.saturating_sub(good.since)),
                duration(rules.soak)
            ),
            hint: format!("wait until {}", time(ripe)),
        });
    }
}

fn approvals(rules: &Rules, proposal: &Proposal<'_>, here: &State) -> Option<Refusal> {
    if rules.approvals == 0 {
        return None;
    }
    let (package, version, environment) = (proposal.package, proposal.version, &here.environment);
    let all = here.approvals(package, &proposal.digest);
    // The state has each identity once.
    let counted: Vec<&Identity> = all
        .iter()
        .map(|approval| &approval.identity)
        .filter(|who| *who != proposal.actor && (rules.approvers.is_empty() || rules.approvers.contains(who)))
        .collect();
    let missing = (rules.approvals as usize).saturating_sub(counted.len());
    if missing == 0 {
        return None;
    }
    let own = all.iter().any(|approval| approval.identity == *proposal.actor);
    let list = |who: &[&Identity]| who.iter().map(|who| who.as_str()).collect::<Vec<_>>().join(", ");
    let have = if counted.is_empty() { "nobody has".into() } else { format!("{} have", list(&counted)) };
    let note = if own { "; one's own does not count" } else { "" };
    let left: Vec<&Identity> =
        rules.approvers.iter().filter(|who| *who != proposal.actor && !counted.contains(who)).collect();
    let who = if left.is_empty() { "another one".into() } else { format!("one of {}", list(&left)) };
    Some(Refusal {
        rule: Rule::Approvals,
        message: format!(
            "{} have to approve {package} {version} ({}) for {environment}, and {have}{note}",
            rules.approvals,
            proposal.digest.short()
        ),
        hint: format!("ask {who} for: debark approve {package}@{version} --env {environment}"),
    })
}

/// `2026-07-03 14:59 UTC`.
pub fn time(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| "never".into(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// `3d 4h`, `5m 10s`: the two largest units.
pub fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, unit) in units {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests;
