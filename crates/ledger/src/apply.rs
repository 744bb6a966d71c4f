//! What an entry does to the state. Verification makes the same calls again, so each is a function of its arguments.

use debark_order::{Digest, PackageName};

use crate::entry::{DeployAction, Entry, Finished, HostOutcome, Kind, Outcome, Started};
use crate::state::{
    Approval, Approvals, Bad, Frozen, Hold, HostRecord, MAX_APPROVED, MAX_GOOD, OpenDeployment, Package,
    Release, State,
};

/// An entry that does not fit what is below it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    /// It belongs to another environment's chain.
    #[error("it is an entry of {0}")]
    Environment(String),
    /// Its number is not the next one.
    #[error("its sequence is {found}, and {expected} is next")]
    Sequence {
        /// The next one.
        expected: u64,
        /// What it says.
        found: u64,
    },
    /// It claims to be older than what it stands on.
    #[error("its time is before that of the entry below it")]
    Time,
    /// It finishes what is not open.
    #[error("it finishes deployment {0}, which is not open")]
    NotOpen(u64),
    /// Its order says something else than the entry does.
    #[error("its order is not of this entry: {0}")]
    Order(String),
    /// An entry is moved that cannot be.
    #[error("an entry of that kind is not moved")]
    Moved,
}

impl State {
    /// The state after an entry; [`State::tip`] stays as it is.
    ///
    /// # Errors
    /// The entry does not fit.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Inconsistent> {
        if entry.environment != self.environment {
            return Err(Inconsistent::Environment(entry.environment.to_string()));
        }
        if entry.sequence != self.sequence + 1 {
            return Err(Inconsistent::Sequence { expected: self.sequence + 1, found: entry.sequence });
        }
        if entry.time < self.time {
            return Err(Inconsistent::Time);
        }
        match &entry.kind {
            Kind::Moved(moved) => {
                if matches!(*moved.entry, Kind::Moved(_) | Kind::Approved { .. }) {
                    return Err(Inconsistent::Moved);
                }
                self.effect(entry, &moved.entry, true)?;
            }
            kind => self.effect(entry, kind, false)?,
        }
        // What is over by itself is forgotten with the next entry.
        self.freezes.retain(|freeze| freeze.until.is_none_or(|until| until > entry.time));
        self.sequence = entry.sequence;
        self.time = entry.time;
        Ok(())
    }

    fn effect(&mut self, entry: &Entry, kind: &Kind, moved: bool) -> Result<(), Inconsistent> {
        match kind {
            Kind::Started(started) => {
                if !moved {
                    fits(entry, started)?;
                }
                self.started(entry, started);
            }
            Kind::Finished(finished) => self.finished(entry, finished)?,
            Kind::Approved { package, version, digest } => {
                let approvals = &mut self.packages.entry(package.clone()).or_default().approvals;
                let known = approvals.iter().position(|known| known.digest == *digest);
                let mut approved = known.map_or_else(
                    || Approvals { digest: *digest, version: version.clone(), by: Vec::new() },
                    |at| approvals.remove(at),
                );
                if !approved.by.iter().any(|approval| approval.identity == entry.actor) {
                    approved.by.push(Approval {
                        identity: entry.actor.clone(),
                        sequence: entry.sequence,
                        time: entry.time,
                    });
                }
                approvals.insert(0, approved);
                approvals.truncate(MAX_APPROVED);
            }
            Kind::Held { package, version, digest } => self.holds.push(Hold {
                sequence: entry.sequence,
                by: entry.actor.clone(),
                since: entry.time,
                package: package.clone(),
                version: version.clone(),
                digest: *digest,
                why: entry.reason.clone(),
            }),
            Kind::Released { package, version, digest } => {
                // What is asked for less precisely releases what was held more precisely, never the reverse.
                fn fits<T: PartialEq>(asked: Option<&T>, held: Option<&T>) -> bool {
                    asked.is_none() || asked == held
                }
                self.holds.retain(|hold| {
                    hold.package != *package
                        || !fits(version.as_ref(), hold.version.as_ref())
                        || !fits(digest.as_ref(), hold.digest.as_ref())
                });
                if let Some(package) = package.as_ref().and_then(|package| self.packages.get_mut(package)) {
                    package.bad.retain(|bad| {
                        !fits(version.as_ref(), Some(&bad.version))
                            || !fits(digest.as_ref(), Some(&bad.digest))
                    });
                }
            }
            Kind::Frozen { until } => self.freezes.push(Frozen {
                sequence: entry.sequence,
                by: entry.actor.clone(),
                since: entry.time,
                until: *until,
                why: entry.reason.clone(),
            }),
            Kind::Thawed => self.freezes.clear(),
            Kind::KeyTrusted { .. } | Kind::KeyRevoked { .. } | Kind::Note | Kind::Moved(_) => {}
        }
        Ok(())
    }

    fn started(&mut self, entry: &Entry, started: &Started) {
        if started.action == DeployAction::Rollback {
            let package = self.packages.entry(started.package.clone()).or_default();
            // Whatever becomes of the rollback: somebody wanted to be rid of what is live.
            if let Some(live) = package.live.clone().filter(|live| live.digest != started.digest) {
                let why = entry.reason.clone().unwrap_or_else(|| "it was rolled back".into());
                mark_bad(package, entry, live.version, live.digest, why);
            }
        }
        self.open = Some(OpenDeployment {
            sequence: entry.sequence,
            action: started.action,
            package: started.package.clone(),
            version: started.version.clone(),
            digest: started.digest,
            size: started.size,
            commit: started.commit.clone(),
            by: entry.actor.clone(),
            since: entry.time,
            lease_seconds: started.lease_seconds,
            renewed: None,
            abandoned: false,
        });
    }

    fn finished(&mut self, entry: &Entry, finished: &Finished) -> Result<(), Inconsistent> {
        let open = self.open.take_if(|open| open.sequence == finished.of);
        let open = open.ok_or(Inconsistent::NotOpen(finished.of))?;
        let package = self.packages.entry(open.package.clone()).or_default();
        // Versions are told by hosts; digests by what the ledger knows to have been live.
        let mut known: Vec<(_, Digest)> = vec![(open.version.clone(), open.digest)];
        known.extend(package.live.iter().map(|live| (live.version.clone(), live.digest)));
        known.extend(package.good.iter().map(|good| (good.version.clone(), good.digest)));
        for host in &finished.hosts {
            if host.result == HostOutcome::Untouched && package.hosts.contains_key(&host.host) {
                continue;
            }
            let before = package.hosts.get(&host.host);
            let kept = before.filter(|before| before.version == host.after).and_then(|before| before.digest);
            let found = known.iter().find(|(version, _)| Some(version) == host.after.as_ref());
            let digest = match host.result {
                HostOutcome::Ok => found.map(|(_, digest)| *digest),
                _ => kept.or(found.map(|(_, digest)| *digest)),
            };
            // A host that is behind has what it had, as far as anybody knows.
            let (version, digest) = match (host.result, before) {
                (HostOutcome::Behind, Some(before)) if host.after.is_none() => {
                    (before.version.clone(), before.digest)
                }
                _ => (host.after.clone(), digest),
            };
            let record = HostRecord {
                result: host.result,
                sequence: finished.of,
                time: entry.time,
                version,
                digest,
                message: host.message.clone(),
            };
            package.hosts.insert(host.host.clone(), record);
        }
        if finished.result == Outcome::Succeeded && open.action != DeployAction::Abort {
            let release = Release {
                version: open.version.clone(),
                digest: open.digest,
                size: open.size,
                commit: open.commit.clone(),
                sequence: open.sequence,
                since: entry.time,
                by: open.by.clone(),
            };
            package.good.retain(|good| good.digest != release.digest);
            package.good.insert(0, release.clone());
            package.good.truncate(MAX_GOOD);
            package.live = Some(release);
        }
        if finished.bad {
            let why = finished.message.clone().unwrap_or_else(|| "its deployment failed".into());
            mark_bad(package, entry, open.version, open.digest, why);
        }
        Ok(())
    }

    /// Whether a package has ever been here.
    pub fn knows(&self, package: &PackageName) -> bool {
        self.packages.contains_key(package)
    }
}

/// An order is of the entry that it rides in.
fn fits(entry: &Entry, started: &Started) -> Result<(), Inconsistent> {
    let order = started.order.order().map_err(Inconsistent::Order)?;
    let same = order.environment == entry.environment
        && order.sequence == entry.sequence
        && order.actor == entry.actor
        && order.package == started.package;
    // An abort's order may name what is to be live, its entry names what is not to be.
    let same_release = started.action == DeployAction::Abort
        || (order.version == started.version && order.digest == started.digest);
    if !same || !same_release {
        let text = format!(
            "{} {} to {}, sequence {}, by {}",
            order.package, order.version, order.environment, order.sequence, order.actor
        );
        return Err(Inconsistent::Order(text));
    }
    Ok(())
}

fn mark_bad(
    package: &mut Package,
    entry: &Entry,
    version: debark_order::PackageVersion,
    digest: Digest,
    why: String,
) {
    package.good.retain(|good| good.digest != digest);
    // Who agreed to it did not know what is known now.
    package.approvals.retain(|approved| approved.digest != digest);
    package.bad.retain(|bad| bad.digest != digest);
    let by = entry.actor.clone();
    package.bad.push(Bad { version, digest, sequence: entry.sequence, since: entry.time, by, why });
}
