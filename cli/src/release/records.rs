//! How entries of the ledger are shown.

use debark_ledger::policy::time;
use debark_ledger::{Entry, Kind, Ledger, Recorded};
use debark_order::{Digest, Environment, PackageName, PackageVersion};
use serde_json::{Value, json};

use super::context::Problem;
use super::desk::{Desk, Spec};

/// One entry as JSON: the entry's own fields, and its commit as `id`.
pub fn json(recorded: &Recorded) -> Value {
    // An order's text and signature are for hosts; `debark show` has them.
    let mut value = serde_json::to_value(recorded).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.remove("order");
    }
    value
}

/// What an entry did, in a few words: `deploy shop 1.4.2`.
pub fn what(entry: &Entry, started: Option<&Entry>) -> String {
    let of = |package: Option<&PackageName>, version: Option<&PackageVersion>| match (package, version) {
        (None, _) => String::new(),
        (Some(package), None) => format!(" {package}"),
        (Some(package), Some(version)) => format!(" {package} {version}"),
    };
    match &entry.kind {
        Kind::Started(started) => {
            let from = started.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
            format!("{} {} {}{from}: started", started.action.name(), started.package, started.version)
        }
        Kind::Finished(finished) => {
            let text = match started.map(|started| &started.kind) {
                Some(Kind::Started(started)) => {
                    format!("{} {} {}", started.action.name(), started.package, started.version)
                }
                _ => format!("deployment {}", finished.of),
            };
            format!("{text}: {}", finished.result.name())
        }
        Kind::Approved { package, version, .. } => format!("approve {package} {version}"),
        Kind::Held { package, version, .. } => format!("hold{}", of(package.as_ref(), version.as_ref())),
        Kind::Released { package, version, .. } => {
            format!("unhold{}", of(package.as_ref(), version.as_ref()))
        }
        Kind::Frozen { until: Some(until) } => format!("freeze until {}", time(*until)),
        Kind::Frozen { until: None } => "freeze".into(),
        Kind::Thawed => "thaw".into(),
        Kind::KeyTrusted { fingerprint, .. } => format!("trust key {}", plain(fingerprint)),
        Kind::KeyRevoked { fingerprint, .. } => format!("revoke key {}", plain(fingerprint)),
        Kind::Note => "note".into(),
        Kind::Moved(moved) => {
            let inner = Entry { kind: (*moved.entry).clone(), ..entry.clone() };
            // Of what is moved twice the ledger keeps the inner one only; so this ends.
            format!("moved: {}", what(&inner, started))
        }
    }
}

/// Text of a record as it may go to a terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The `started` entry that an entry finishes.
pub fn started(ledger: &Ledger, environment: &Environment, entry: &Entry) -> Option<Entry> {
    let finished = entry.kind.finishes()?;
    ledger.entry(environment, finished.of).ok().map(|recorded| recorded.entry)
}

/// `2s`, `1m 5s`, `340ms`.
pub fn took(ms: u64) -> String {
    if ms < 1000 { format!("{ms}ms") } else { debark_ledger::policy::duration(ms / 1000) }
}

/// The digest that a version has here or in the environment that it would come from, as the ledger knows.
///
/// # Errors
/// The ledger cannot be read.
pub fn known_digest(
    desk: &Desk,
    ledger: &Ledger,
    environment: &Environment,
    spec: &Spec,
) -> Result<Option<Digest>, Problem> {
    let Some(version) = &spec.version else { return Ok(None) };
    let mut places = vec![environment.clone()];
    places.extend(desk.environment(environment)?.promote_from.clone());
    for place in places {
        let state = ledger.trusted(&place)?;
        let Some(package) = state.packages.get(&spec.package) else { continue };
        let good = package.good.iter().find(|good| good.version == *version).map(|good| good.digest);
        let bad = || package.bad.iter().find(|bad| bad.version == *version).map(|bad| bad.digest);
        if let Some(digest) = good.or_else(bad) {
            return Ok(Some(digest));
        }
    }
    Ok(None)
}

/// Shows an entry that was appended.
pub fn appended(desk: &Desk, appended: &debark_ledger::Appended) {
    if let Some(why) = &appended.unpushed {
        anstream::eprintln!(
            "warning: the ledger's remote does not know yet: {why}; later: debark ledger push"
        );
    }
    let entry = &appended.entry;
    if desk.json {
        let recorded = Recorded { id: appended.commit.clone(), entry: entry.clone() };
        let mut value = json(&recorded);
        if let Some(object) = value.as_object_mut() {
            object.insert("event".into(), json!("recorded"));
        }
        anstream::println!("{value}");
    } else {
        anstream::println!(
            "{} #{}: {} ({})",
            entry.environment,
            entry.sequence,
            what(entry, None),
            entry.actor
        );
    }
}
