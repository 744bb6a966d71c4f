//! One deployment, from its first entry in the ledger to its last.
//!
//! All hosts are asked before any is touched: that fences off whoever deployed before, and shows what cannot be done while
//! nothing has been. Then wave after wave; what fails puts back every host that was touched.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use debark_connect::ProblemKind;
use debark_ledger::{AppendError, DeployAction, Finished, HostResult, Outcome, Started};
use debark_order::order::NAMESPACE;
use debark_order::sshsig::{SignatureError, Signer};
use debark_order::{
    Action, Check, Digest, Environment, Identity, Order, PackageName, PackageVersion, SealedOrder, Sequence,
};

use crate::fleet;
use crate::lease::Lease;
use crate::site::{Book, Event, Monitor, Site, Stage};
use crate::slot::{Cause, Slot, Standing};

/// How long hosts may begin with an order, in seconds.
const ORDER_LASTS: u64 = 3600;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where.
    pub environment: Environment,
    /// What kind of deployment it is.
    pub action: DeployAction,
    /// The package.
    pub package: PackageName,
    /// Its version; for an abort: the one that is not to be live.
    pub version: PackageVersion,
    /// Of that .deb.
    pub digest: Digest,
    /// Of that .deb, in bytes.
    pub size: u64,
    /// The git commit it was built from.
    pub commit: Option<String>,
    /// Where it is promoted from.
    pub from: Option<Environment>,
    /// The deployment that is resumed or aborted.
    pub of: Option<Sequence>,
    /// Hosts, in waves.
    pub waves: Vec<Vec<String>>,
    /// Hosts that may be dead.
    pub budget: usize,
    /// Why.
    pub reason: Option<String>,
    /// How.
    pub rules: Rules,
}

/// How deployments go in this project.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Health checks.
    pub checks: Vec<Check>,
    /// Versions that hosts keep.
    pub keep: u32,
    /// Seconds until a host goes back by itself.
    pub confirm_within: u32,
    /// Seconds for an installation.
    pub install_within: u32,
    /// Seconds of a lease.
    pub lease: u32,
    /// Hosts that are worked on at once.
    pub at_once: usize,
}

/// How it ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Its number.
    pub sequence: Sequence,
    /// How it went.
    pub outcome: Outcome,
    /// Whether the release was marked bad.
    pub bad: bool,
    /// What it comes to, in one sentence.
    pub message: Option<String>,
    /// Per host.
    pub hosts: Vec<HostResult>,
    /// Milliseconds.
    pub took: u64,
    /// It was stopped by the user.
    pub interrupted: bool,
    /// It failed because hosts could not be reached.
    pub unreachable: bool,
    /// Why hosts cannot be reached: one for each that is behind.
    pub away: Vec<Option<ProblemKind>>,
    /// Why the last entry could not be recorded, if it could not.
    pub unrecorded: Option<AppendError>,
}

/// Why there was no deployment, or its end is not ours to record.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It could not be put on record.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The order could not be signed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A host's connection makes no sense.
    #[error("{0}")]
    Input(String),
    /// Somebody else deploys now.
    #[error(
        "deployment {0} is not the one that counts any more: its lease ended and another one began, or hosts have heard of a later one"
    )]
    Superseded(Sequence),
}

/// Why the waves stopped.
struct Stop {
    message: String,
    outcome: Outcome,
    bad: bool,
    unreachable: bool,
}

struct Deployment<'a> {
    wanted: &'a Wanted,
    sealed: SealedOrder,
    slots: Vec<Mutex<Slot>>,
    site: &'a dyn Site,
    monitor: &'a dyn Monitor,
    interrupted: &'a AtomicBool,
    lost: &'a AtomicBool,
}

/// Deploys. `sequence` is what the first entry has to get: that of the last one and 1.
///
/// # Errors
/// It did not begin, or was taken over by somebody else.
#[allow(clippy::too_many_arguments, reason = "the whole world of a deployment, named once")]
pub fn deploy(
    wanted: &Wanted,
    sequence: Sequence,
    actor: &Identity,
    signer: &Signer,
    book: &dyn Book,
    site: &dyn Site,
    monitor: &dyn Monitor,
    interrupted: &AtomicBool,
) -> Result<Ending, Trouble> {
    let began = Instant::now();
    let hosts: Vec<String> = wanted.waves.iter().flatten().cloned().collect();
    let slots = hosts.iter().map(|host| Ok(Mutex::new(Slot::new(host.clone(), site.target(host)?))));
    let slots: Vec<Mutex<Slot>> = slots.collect::<Result<_, String>>().map_err(Trouble::Input)?;
    // Nothing is said to hosts before it is on record; but they can be called while that is done.
    slots.iter().take(wanted.rules.at_once).for_each(|slot| lock(slot).connect());
    let sealed = seal(wanted, sequence, actor, signer)?;
    let started = Started {
        action: wanted.action,
        package: wanted.package.clone(),
        version: wanted.version.clone(),
        digest: wanted.digest,
        size: wanted.size,
        commit: wanted.commit.clone(),
        from: wanted.from.clone(),
        of: wanted.of,
        hosts,
        lease_seconds: wanted.rules.lease,
        order: sealed.clone(),
    };
    book.start(sequence, started, wanted.reason.as_deref())?;
    monitor.event(Event::Started(sequence));

    let lost = AtomicBool::new(false);
    let deployment = Deployment { wanted, sealed, slots, site, monitor, interrupted, lost: &lost };
    let stop = thread::scope(|scope| {
        let length = Duration::from_secs(wanted.rules.lease.into());
        let _lease = Lease::keep(scope, book, sequence, length, &lost);
        deployment.run()
    });
    let Ok(stop) = stop else { return Err(Trouble::Superseded(sequence)) };

    let slots =
        || deployment.slots.iter().map(|slot| slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let results: Vec<HostResult> = slots().map(|slot| slot.result(&wanted.version)).collect();
    let behind = slots().filter(|slot| matches!(slot.standing, Standing::Lost { .. }));
    let away = behind.map(|slot| slot.away).collect();
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (outcome, bad, message, unreachable) = match stop {
        Some(stop) => (stop.outcome, stop.bad, Some(stop.message), stop.unreachable),
        None => (Outcome::Succeeded, false, None, false),
    };
    let finished = Finished {
        of: sequence,
        result: outcome,
        bad,
        hosts: results.clone(),
        took_ms: took,
        message: message.clone(),
    };
    let unrecorded = book.finish(finished).err();
    let interrupted = interrupted.load(Ordering::Relaxed) && outcome != Outcome::Succeeded;
    Ok(Ending {
        sequence,
        outcome,
        bad,
        message,
        hosts: results,
        took,
        interrupted,
        unreachable,
        away,
        unrecorded,
    })
}

fn seal(
    wanted: &Wanted,
    sequence: Sequence,
    actor: &Identity,
    signer: &Signer,
) -> Result<SealedOrder, Trouble> {
    let now = now();
    let order = Order {
        format: 1,
        environment: wanted.environment.clone(),
        sequence,
        action: match wanted.action {
            DeployAction::Deploy | DeployAction::Promote => Action::Deploy,
            DeployAction::Rollback => Action::Rollback,
            DeployAction::Abort => Action::Abort,
        },
        package: wanted.package.clone(),
        version: wanted.version.clone(),
        digest: wanted.digest,
        size: wanted.size,
        actor: actor.clone(),
        issued: now,
        expires: now + ORDER_LASTS,
        checks: if wanted.action == DeployAction::Abort { Vec::new() } else { wanted.rules.checks.clone() },
        keep: wanted.rules.keep.max(2),
        confirm_within: wanted.rules.confirm_within,
        install_within: wanted.rules.install_within,
    };
    let text = serde_json::to_string(&order)
        .map_err(|error| Trouble::Input(format!("an order that is none: {error}")))?;
    let signature = signer.sign(NAMESPACE, text.as_bytes())?;
    Ok(SealedOrder { text, signature })
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Deployment<'_> {
    /// `Err`: it is not ours any more; hosts are left to whom they belong to.
    fn run(&self) -> Result<Option<Stop>, ()> {
        let stop = match self.prepare()? {
            Some(stop) => Some(stop),
            None => self.waves()?,
        };
        let Some(mut stop) = stop.or_else(|| self.in_vain()) else { return Ok(None) };
        // After a rollback there is nothing to go back to: that is what it was to get away from.
        if self.is_forward() {
            self.put_back(&mut stop)?;
        } else if self.any(|slot| slot.is_touched()) {
            stop.outcome = Outcome::Failed;
        }
        Ok(Some(stop))
    }

    /// A rollback or an abort goes on where it can; here it could nowhere. Hosts out of reach are brought up to date later.
    fn in_vain(&self) -> Option<Stop> {
        let helps = |slot: &Slot| {
            matches!(slot.standing, Standing::Healthy | Standing::Untouched | Standing::Lost { .. })
        };
        if self.is_forward() || self.any(helps) {
            return None;
        }
        let trouble = self.slots.iter().find_map(|slot| {
            let slot = lock(slot);
            Some(format!("{}: {}", slot.host, slot.trouble.as_ref()?.1))
        });
        Some(stopped(trouble?, Outcome::Refused))
    }

    const fn is_forward(&self) -> bool {
        matches!(self.wanted.action, DeployAction::Deploy | DeployAction::Promote)
    }

    fn each(&self, which: impl Fn(&Slot) -> bool, work: impl Fn(&mut Slot) + Sync) {
        let chosen: Vec<&Mutex<Slot>> = self.slots.iter().filter(|slot| which(&lock(slot))).collect();
        fleet::each(&chosen, self.wanted.rules.at_once, |slot| work(&mut lock(slot)));
    }

    fn any(&self, which: impl Fn(&Slot) -> bool) -> bool {
        self.slots.iter().any(|slot| which(&lock(slot)))
    }

    /// Orders, packages and simulations for all hosts: nothing is touched.
    fn prepare(&self) -> Result<Option<Stop>, ()> {
        self.monitor.event(Event::Preparing(self.slots.len()));
        self.each(|_| true, |slot| slot.prepare(&self.sealed, self.monitor));
        if let Some(stop) = self.judged(false)? {
            return Ok(Some(stop));
        }
        if self.wanted.action == DeployAction::Abort {
            return Ok(None);
        }
        let package = if self.any(|slot| slot.takes_part() && slot.wants_package()) {
            match (self.site.package(), self.is_forward()) {
                (Ok(file), _) => Some(file),
                (Err(message), true) => return Ok(Some(stopped(message, Outcome::Refused))),
                // The hosts that have it need no store.
                (Err(message), false) => {
                    self.monitor.event(Event::Warning(message));
                    None
                }
            }
        } else {
            None::<PathBuf>
        };
        let size = self.wanted.size;
        self.each(Slot::takes_part, |slot| slot.stage(package.as_deref(), size, self.monitor));
        self.judged(false)
    }

    fn waves(&self) -> Result<Option<Stop>, ()> {
        let of = self.wanted.waves.len();
        for (index, wave) in self.wanted.waves.iter().enumerate() {
            let names: BTreeSet<&String> = wave.iter().collect();
            let is_in = |slot: &Slot| slot.takes_part() && names.contains(&slot.host);
            let hosts: Vec<String> = self
                .slots
                .iter()
                .map(lock)
                .filter(|slot| is_in(slot))
                .map(|slot| slot.host.clone())
                .collect();
            if hosts.is_empty() {
                continue;
            }
            self.monitor.event(Event::Wave { number: index + 1, of, hosts: hosts.clone() });
            if let Err(message) = self.site.tasks(Stage::Pre, &hosts) {
                return Ok(Some(stopped(
                    format!("the tasks before wave {} failed: {message}", index + 1),
                    Outcome::Reverted,
                )));
            }
            if let Some(stop) = self.judged(true)? {
                self.after(&hosts);
                return Ok(Some(stop));
            }
            self.each(is_in, |slot| slot.install(!self.is_forward(), self.monitor));
            let mut stop = self.judged(true)?;
            if stop.is_none() && self.is_forward() {
                self.each(
                    |slot| names.contains(&slot.host) && slot.standing == Standing::Healthy,
                    |slot| slot.confirm(&self.sealed, self.monitor),
                );
                stop = self.judged(true)?;
            }
            if let Some(mut stop) = stop {
                // Hosts that were taken out of service serve again, with what they had before.
                if self.is_forward() {
                    self.put_back(&mut stop)?;
                }
                self.after(&hosts);
                return Ok(Some(stop));
            }
            if let Err(message) = self.site.tasks(Stage::Post, &hosts) {
                return Ok(Some(stopped(
                    format!("the tasks after wave {} failed: {message}", index + 1),
                    Outcome::Reverted,
                )));
            }
        }
        Ok(None)
    }

    fn after(&self, hosts: &[String]) {
        if let Err(message) = self.site.tasks(Stage::Post, hosts) {
            self.monitor.event(Event::Warning(format!("the tasks after the wave failed: {message}")));
        }
    }

    /// Whether to go on: `begun` tells whether hosts may have been touched.
    fn judged(&self, begun: bool) -> Result<Option<Stop>, ()> {
        let mut dead = 0;
        let mut worst: Option<(Cause, String)> = None;
        for slot in self.slots.iter().map(lock) {
            let Some((cause, message)) = &slot.trouble else { continue };
            match cause {
                Cause::Superseded => return Err(()),
                Cause::Unreachable => dead += 1,
                // A rollback goes on where it can.
                Cause::Host | Cause::Release if !self.is_forward() => {}
                cause
                    if worst
                        .as_ref()
                        .is_none_or(|(worst, _)| *cause == Cause::Release && *worst != Cause::Release) =>
                {
                    worst = Some((*cause, format!("{}: {message}", slot.host)));
                }
                _ => {}
            }
        }
        if self.lost.load(Ordering::Relaxed) {
            return Err(());
        }
        let outcome = if begun { Outcome::Reverted } else { Outcome::Refused };
        if let Some((cause, message)) = worst {
            let bad = cause == Cause::Release && begun;
            return Ok(Some(Stop { message, outcome, bad, unreachable: false }));
        }
        // A rollback or an abort helps every host that can be reached.
        if dead > self.wanted.budget && self.is_forward() {
            let message = format!(
                "{dead} of {} hosts cannot be reached, and {} may be dead",
                self.slots.len(),
                self.wanted.budget
            );
            return Ok(Some(Stop { message, outcome, bad: false, unreachable: true }));
        }
        if self.interrupted.load(Ordering::Relaxed) {
            return Ok(Some(stopped("interrupted".into(), Outcome::Aborted)));
        }
        Ok(None)
    }

    fn put_back(&self, stop: &mut Stop) -> Result<(), ()> {
        if !self.any(Slot::is_touched) {
            return Ok(());
        }
        self.monitor.event(Event::Reverting(stop.message.clone()));
        self.each(Slot::is_touched, |slot| slot.revert(&self.sealed, self.monitor));
        if self.any(|slot| matches!(slot.trouble, Some((Cause::Superseded, _)))) {
            return Err(());
        }
        if self.any(Slot::is_touched) {
            stop.outcome = Outcome::Failed;
        } else if stop.outcome == Outcome::Refused {
            stop.outcome = Outcome::Reverted;
        }
        Ok(())
    }
}

const fn stopped(message: String, outcome: Outcome) -> Stop {
    Stop { message, outcome, bad: false, unreachable: false }
}

fn lock(slot: &Mutex<Slot>) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
