//! A host during a deployment: its conversation, and how far it is.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use debark_connect::{Problem, ProblemKind, Target};
use debark_ledger::{HostOutcome, HostResult};
use debark_order::gate::{CheckResult, Failure, FailureKind, Reply, Request, Version};
use debark_order::{PackageVersion, SealedOrder};

use crate::host::{HostError, Link};
use crate::site::{Event, Monitor};

/// How far a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was done to it.
    Untouched,
    /// Something may have been installed.
    Touched,
    /// The version is live and healthy.
    Healthy,
    /// It was put back.
    Reverted,
    /// It cannot be reached (any more).
    Lost {
        /// Whether something may have been installed.
        touched: bool,
    },
    /// It failed, and is not put back (yet).
    Failed {
        /// Whether something may have been installed.
        touched: bool,
    },
}

/// Why a host failed, as far as the whole deployment cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It cannot be reached.
    Unreachable,
    /// It refuses the order or the package.
    Refused,
    /// A higher sequence was seen: this deployment is not the one that counts.
    Superseded,
    /// The release is to blame: it does not install, or is not healthy.
    Release,
    /// The host is to blame: disk, locks, dependencies.
    Host,
}

/// A host.
#[derive(Debug)]
pub struct Slot {
    /// Its inventory name.
    pub host: String,
    target: Target,
    link: Option<Link>,
    /// A connection that is being made, for [`Self::open`].
    next: Option<Link>,
    /// How far it is.
    pub standing: Standing,
    /// What was live before.
    pub before: Option<Version>,
    /// Whether the order's version was live already.
    pub live: bool,
    kept: bool,
    /// What went wrong, and why.
    pub trouble: Option<(Cause, String)>,
    /// Why it cannot be reached.
    pub away: Option<ProblemKind>,
    began: Instant,
    took: Duration,
}

impl Slot {
    /// Nothing was said to it yet.
    pub fn new(host: String, target: Target) -> Self {
        Self {
            host,
            target,
            link: None,
            next: None,
            standing: Standing::Untouched,
            before: None,
            live: false,
            kept: false,
            trouble: None,
            away: None,
            began: Instant::now(),
            took: Duration::ZERO,
        }
    }

    /// Whether something may be installed that has to be put back.
    pub const fn is_touched(&self) -> bool {
        matches!(
            self.standing,
            Standing::Touched
                | Standing::Healthy
                | Standing::Lost { touched: true }
                | Standing::Failed { touched: true }
        )
    }

    /// Whether it takes part (still).
    pub const fn takes_part(&self) -> bool {
        !matches!(self.standing, Standing::Lost { .. } | Standing::Failed { .. } | Standing::Reverted)
    }

    /// Begins to connect, so that the handshake costs no time of its own. What goes wrong shows when it is tried again.
    pub fn connect(&mut self) {
        self.next = Link::start(&self.target).ok();
    }

    /// Connects, and has the order accepted.
    pub fn prepare(&mut self, order: &SealedOrder, monitor: &dyn Monitor) {
        self.began = Instant::now();
        let prepared = self.open(order);
        match prepared {
            Ok((kept, live, before)) => (self.kept, self.live, self.before) = (kept, live, before),
            Err(error) => self.fail(&error, monitor),
        }
    }

    fn open(&mut self, order: &SealedOrder) -> Result<(bool, bool, Option<Version>), HostError> {
        self.link = None;
        let mut link = match self.next.take() {
            Some(link) => link,
            None => Link::start(&self.target)?,
        };
        link.greet()?;
        let reply = link.ask(&Request::Prepare { order: order.clone() }, |_| {})?;
        let Reply::Prepared { kept, live, before } = reply else { return Err(odd(&self.host)) };
        self.link = Some(link);
        Ok((kept, live, before))
    }

    /// Whether the package has to be sent.
    pub const fn wants_package(&self) -> bool {
        !self.live && !self.kept
    }

    /// Sends the package if the host lacks it, and has apt tell whether it can be installed. Nothing is touched.
    pub fn stage(&mut self, package: Option<&Path>, size: u64, monitor: &dyn Monitor) {
        let staged = self.staged(package, size);
        if let Err(error) = staged {
            self.fail(&error, monitor);
        }
    }

    fn staged(&mut self, package: Option<&Path>, size: u64) -> Result<(), HostError> {
        if self.live {
            return Ok(());
        }
        let (wants, host) = (self.wants_package(), self.host.clone());
        let link = self.link.as_mut().ok_or_else(|| odd(&host))?;
        if wants {
            let Some(package) = package else {
                return Err(HostError::Gate(Failure {
                    kind: FailureKind::NotKept,
                    message: format!("{host} does not have that version any more"),
                    hint: Some("the artifact store has to be reachable to send it".into()),
                    log: Vec::new(),
                }));
            };
            let mut file = File::open(package).map_err(|error| {
                let message = format!("{}: {error}", package.display());
                HostError::Unreachable(Problem::new(ProblemKind::Local, message))
            })?;
            let Reply::Stored { .. } = link.send_package(&mut file, size)? else { return Err(odd(&host)) };
            self.kept = true;
        }
        match link.ask(&Request::Plan, |_| {})? {
            Reply::Planned { .. } => Ok(()),
            _ => Err(odd(&host)),
        }
    }

    /// Installs, and makes the health checks. With `confirm`, confirms at once: for rollbacks, which no guard watches.
    pub fn install(&mut self, confirm: bool, monitor: &dyn Monitor) {
        let installed = self.installed(confirm, monitor);
        self.took = self.began.elapsed();
        match installed {
            Ok(()) => {
                self.standing = Standing::Healthy;
                monitor.event(Event::Healthy(self.host.clone()));
            }
            Err(error) => self.fail(&error, monitor),
        }
    }

    fn installed(&mut self, confirm: bool, monitor: &dyn Monitor) -> Result<(), HostError> {
        let host = self.host.clone();
        let link = self.link.as_mut().ok_or_else(|| odd(&host))?;
        if !self.live {
            // Before the request is sent: whatever comes of it, the host may have begun.
            self.standing = Standing::Touched;
        }
        let told = |text: &str| monitor.event(Event::Host(host.clone(), text.to_owned()));
        let Reply::Installed(done) = link.ask(&Request::Install, told)? else { return Err(odd(&host)) };
        done.notes.into_iter().for_each(|note| monitor.event(Event::Note(host.clone(), note)));
        if !confirm {
            // What is to confirm it: made after the installation, while the checks go on.
            self.next = Link::start(&self.target).ok();
        }
        let Reply::Checked { results } = link.ask(&Request::Check, told)? else { return Err(odd(&host)) };
        if let Some(bad) = results.into_iter().find(|result| result.problem.is_some()) {
            return Err(unhealthy(bad));
        }
        if confirm {
            let Reply::Confirmed = link.ask(&Request::Confirm, |_| {})? else { return Err(odd(&host)) };
        }
        Ok(())
    }

    /// Confirms through a connection that was made after the installation: that the host can still be reached is part of what
    /// is confirmed.
    pub fn confirm(&mut self, order: &SealedOrder, monitor: &dyn Monitor) {
        let early = self.next.is_some();
        let mut opened = self.open(order);
        if early && matches!(opened, Err(HostError::Unreachable(_))) {
            // The checks may have taken longer than a silent connection lasts.
            opened = self.open(order);
        }
        let confirmed = opened.and_then(|_| {
            let host = self.host.clone();
            let link = self.link.as_mut().ok_or_else(|| odd(&host))?;
            match link.ask(&Request::Confirm, |_| {})? {
                Reply::Confirmed => Ok(()),
                _ => Err(odd(&host)),
            }
        });
        self.took = self.began.elapsed();
        if let Err(error) = confirmed {
            self.fail(&error, monitor);
        }
    }

    /// Puts back what was live before; through a new connection, if the first one is gone.
    pub fn revert(&mut self, order: &SealedOrder, monitor: &dyn Monitor) {
        // A host that was lost has no link any more; it may be there again.
        let mut reverted = self.link.as_mut().map(|link| link.ask(&Request::Revert, |_| {}));
        if matches!(reverted, None | Some(Err(HostError::Unreachable(_)))) {
            let opened = self.open(order);
            reverted = opened.map_or_else(
                |error| Some(Err(error)),
                |_| self.link.as_mut().map(|link| link.ask(&Request::Revert, |_| {})),
            );
        }
        let reverted = reverted.unwrap_or_else(|| Err(odd(&self.host)));
        self.took = self.began.elapsed();
        match reverted {
            Ok(Reply::Reverted { notes, .. }) => {
                notes.into_iter().for_each(|note| monitor.event(Event::Note(self.host.clone(), note)));
                self.standing = Standing::Reverted;
                monitor.event(Event::Reverted(self.host.clone()));
            }
            Ok(_) => self.fail(&odd(&self.host), monitor),
            Err(error) => self.fail(&error, monitor),
        }
    }

    fn fail(&mut self, error: &HostError, monitor: &dyn Monitor) {
        let touched = self.is_touched();
        let cause = match error {
            HostError::Unreachable(_) => Cause::Unreachable,
            HostError::Gate(failure) => match failure.kind {
                FailureKind::Replayed => Cause::Superseded,
                FailureKind::Install | FailureKind::Timeout => Cause::Release,
                kind if kind.is_refusal() => Cause::Refused,
                _ => Cause::Host,
            },
        };
        self.standing = if cause == Cause::Unreachable {
            Standing::Lost { touched }
        } else {
            Standing::Failed { touched }
        };
        if let HostError::Unreachable(problem) = error {
            self.link = None;
            self.away = Some(problem.kind);
        }
        self.trouble.get_or_insert((cause, error.to_string()));
        monitor.event(Event::Trouble {
            host: self.host.clone(),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
            log: error.log().to_vec(),
        });
    }

    /// For the record. `version` is what was to be live.
    pub fn result(&self, version: &PackageVersion) -> HostResult {
        let before = self.before.as_ref().map(|before| before.version.clone());
        let (result, after) = match self.standing {
            Standing::Healthy => (HostOutcome::Ok, Some(version.clone())),
            Standing::Untouched if self.live => (HostOutcome::Untouched, Some(version.clone())),
            Standing::Untouched | Standing::Failed { touched: false } => {
                (HostOutcome::Untouched, before.clone())
            }
            Standing::Reverted => (HostOutcome::Reverted, before.clone()),
            Standing::Lost { .. } => (HostOutcome::Behind, None),
            Standing::Touched | Standing::Failed { touched: true } => (HostOutcome::Failed, None),
        };
        HostResult {
            host: self.host.clone(),
            result,
            before,
            after,
            took_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            message: self.trouble.as_ref().map(|(_, text)| text.clone()),
        }
    }
}

fn odd(host: &str) -> HostError {
    HostError::Gate(Failure {
        kind: FailureKind::Protocol,
        message: format!("the gate of {host} answers what was not asked"),
        hint: Some("bring it up to date: debark enroll".into()),
        log: Vec::new(),
    })
}

fn unhealthy(result: CheckResult) -> HostError {
    let tries = if result.tries == 1 { "1 try".to_owned() } else { format!("{} tries", result.tries) };
    HostError::Gate(Failure {
        kind: FailureKind::Install,
        message: format!(
            "unhealthy: {}: {} ({tries} in {:.1} s)",
            result.name,
            result.problem.unwrap_or_default(),
            f64::from(u32::try_from(result.took).unwrap_or(u32::MAX)) / 1000.0
        ),
        hint: None,
        log: result.log,
    })
}
