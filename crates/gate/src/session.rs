//! What is done for one accepted order.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use debark_order::gate::{Failure, FailureKind, Installed, Reply, Version};
use debark_order::{Action, Check, Digest, Order, SealedOrder};

use crate::dpkg::{self, Database};
use crate::failure::{Failing as _, Result, fail};
use crate::journal::{self, Step};
use crate::state::{self, Finished, Live, Open, Phase, State};
use crate::store::Trace;
use crate::unit::{self, Job, Outcome};
use crate::{accept, install, locks, status, store, trust};

type Said<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// A conversation.
#[derive(Default)]
pub struct Session {
    accepted: Option<(Order, Digest)>,
    /// The package that came in this conversation, and so was hashed and verified a moment ago.
    came: Option<Trace>,
    /// The order whose plan was that no other package changes.
    alone: Option<Digest>,
}

impl Session {
    fn current(&self) -> Result<(&Order, Digest, State)> {
        let Some((order, id)) = &self.accepted else {
            return Err(fail(FailureKind::Protocol, "there is no order yet"));
        };
        let state = State::load()?;
        accept::still(&state, order, *id)?;
        Ok((order, *id, state))
    }

    /// [`debark_order::gate::Request::Prepare`].
    ///
    /// # Errors
    /// The order is refused.
    pub fn prepare(&mut self, sealed: &SealedOrder) -> Result<Reply> {
        *self = Self::default();
        let (order, id) = accept::order(sealed)?;
        store::sweep();
        let state = State::load()?;
        let database = Database::read()?;
        let kept = store::find(&order.digest)?.is_some();
        let before = status::live(&database, &state, &order.package);
        let live = is_live(&order, &state, &database);
        if order.action == Action::Deploy && !live {
            not_down(&order, &state, before.as_ref())?;
        }
        self.accepted = Some((order, id));
        Ok(Reply::Prepared { kept, live, before })
    }

    /// [`debark_order::gate::Request::Package`].
    ///
    /// # Errors
    /// The stream ends. What is wrong with the package is the inner error.
    pub fn package(&mut self, from: &mut impl Read) -> io::Result<Result<Reply>> {
        let Some((order, id)) = self.accepted.clone() else {
            // Without an order nobody knows how long it is: what follows cannot be told from requests.
            return Err(io::Error::other("a package has come without an order"));
        };
        let keyring = match self.current().and_then(|_| trust::keyring()) {
            Ok(keyring) => keyring,
            Err(failure) => {
                io::copy(&mut from.take(order.size), &mut io::sink())?;
                return Ok(Err(failure));
            }
        };
        let kept = store::receive(from, &order, id, &keyring)?;
        Ok(kept.map(|(kept, trace)| {
            self.came = Some(trace);
            Reply::Stored { key: kept.key }
        }))
    }

    /// [`debark_order::gate::Request::Plan`].
    ///
    /// # Errors
    /// apt cannot do it.
    pub fn plan(&mut self) -> Result<Reply> {
        let (order, id, state) = self.current()?;
        let steps = if order.action == Action::Abort {
            vec![format!("puts back what was live before {} {}", order.package, order.version)]
        } else if is_live(order, &state, &Database::read()?) {
            Vec::new()
        } else {
            let came = self.came.as_ref().filter(|came| came.digest() == order.digest);
            let kept = store::verified(&order.digest, &trust::keyring()?, came)?;
            let plan = install::plan(&order.package, &kept, order.action != Action::Deploy)?;
            self.alone = plan.alone.then_some(id);
            plan.steps
        };
        Ok(Reply::Planned { steps })
    }

    /// [`debark_order::gate::Request::Install`].
    ///
    /// # Errors
    /// It is not installed.
    pub fn install(&self, said: Said<'_>) -> Result<Installed> {
        let began = Instant::now();
        let mut result = self.installed(said)?;
        result.took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(result)
    }

    fn installed(&self, said: Said<'_>) -> Result<Installed> {
        let (order, id, state) = self.current()?;
        if let Some(last) = state.last.as_ref().filter(|last| last.id == id) {
            return if last.confirmed { Ok(unchanged(&last.notes)) } else { Err(reverted(last)) };
        }
        let mut begin = Begin { back: None, back_live: None };
        match &state.open {
            Some(open) if open.id == id => {
                if open.phase == Phase::Installed {
                    return Ok(unchanged(&open.notes));
                }
                return resume(open, said);
            }
            Some(open) => {
                wait_for_others(open, said)?;
                // Its worker may have ended it meanwhile.
                let state = State::load()?;
                if let Some(open) = &state.open {
                    if open.order.package != order.package {
                        said(&format!("puts back {}, which nobody has confirmed", open.order.package))?;
                        run(open, Way::Back("a later order has come"), said)?;
                        return self.installed(said);
                    }
                    if order.action == Action::Abort {
                        let notes = run(open, Way::Back("the deployment was aborted"), said)?.notes;
                        finished(order, id, &notes)?;
                        return Ok(Installed { changed: true, notes, ..Installed::default() });
                    }
                    if open.phase == Phase::Installed && is_target(open, order) {
                        return adopt(order, id);
                    }
                    begin = Begin { back: open.back.clone(), back_live: open.back_live.clone() };
                } else {
                    return self.installed(said);
                }
            }
            None => {
                let database = Database::read()?;
                begin.back = status::live(&database, &state, &order.package);
                begin.back_live = state.packages.get(&order.package).cloned();
            }
        }
        let mut target = Some(Version { version: order.version.clone(), digest: Some(order.digest) });
        if order.action == Action::Abort {
            let live = state.packages.get(&order.package).filter(|live| live.digest == Some(order.digest));
            let Some(live) = live else {
                finished(order, id, &[])?;
                return Ok(Installed::default());
            };
            target = live.previous.clone();
        } else if state.open.is_none() && is_live(order, &state, &Database::read()?) {
            return Ok(Installed::default());
        } else if store::find(&order.digest)?.is_none() {
            return Err(fail(
                FailureKind::NotKept,
                format!("{} {} is not in this host's store", order.package, order.version),
            )
            .hint("it has to be sent first"));
        }
        accept::in_time(order, trust::enrolled()?.clock_skew)?;
        let open = begin.order(order, id, target)?;
        said(&format!("installing {} {}", order.package, order.version))?;
        let mut notes = Vec::new();
        if let Some(back) = open.back.as_ref().filter(|back| back.digest.is_none()) {
            notes.push(format!(
                "{} {} is not in this host's store: to go back to it, apt has to find it",
                order.package, back.version
            ));
        }
        notes.extend(run(&open, self.forward(id), said)?.notes);
        Ok(Installed { changed: true, notes, ..Installed::default() })
    }

    fn forward(&self, id: Digest) -> Way<'_> {
        Way::Forward { alone: self.alone == Some(id), came: self.came.as_ref() }
    }

    /// What [`debark_order::gate::Request::Check`] is to check.
    ///
    /// # Errors
    /// There is no order, or a later one was seen.
    pub fn checks(&self) -> Result<Vec<Check>> {
        let (order, id, _) = self.current()?;
        journal::step(order, id, Step::Checking, "")?;
        Ok(order.checks.clone())
    }

    /// [`debark_order::gate::Request::Confirm`].
    ///
    /// # Errors
    /// It has gone back, or was not installed.
    pub fn confirm(&self) -> Result<()> {
        let (order, id, state) = self.current()?;
        if let Some(last) = state.last.as_ref().filter(|last| last.id == id) {
            return if last.confirmed { cleaned(order, id) } else { Err(reverted(last)) };
        }
        match state.open.as_ref().filter(|open| open.id == id) {
            Some(open) if open.phase == Phase::Installed => {}
            Some(open) if open.phase == Phase::Reverting => {
                return Err(fail(FailureKind::Reverted, "the host is going back to the version before"));
            }
            Some(_) => return Err(fail(FailureKind::Protocol, "it is not installed yet")),
            None if is_live(order, &state, &Database::read()?) => {}
            None => return Err(fail(FailureKind::Protocol, "it was not installed by this order")),
        }
        journal::step(order, id, Step::Confirming, "")?;
        State::update(|state| {
            accept::still(state, order, id)?;
            if let Some(open) = state.open.as_ref().filter(|open| open.id == id) {
                if open.phase != Phase::Installed {
                    return Err(fail(FailureKind::Reverted, "the host is going back to the version before"));
                }
                state.open = None;
            }
            if let Some(live) = state.packages.get_mut(&order.package) {
                live.confirmed = true;
            }
            let live = Some(Version { version: order.version.clone(), digest: Some(order.digest) });
            state.last = Some(Finished { id, confirmed: true, live, why: String::new(), notes: Vec::new() });
            Ok(())
        })?;
        cleaned(order, id)
    }

    /// [`debark_order::gate::Request::Revert`].
    ///
    /// # Errors
    /// It cannot be put back.
    pub fn revert(&self, said: Said<'_>) -> Result<Reply> {
        let (order, id, state) = self.current()?;
        if let Some(last) = state.last.as_ref().filter(|last| last.id == id && !last.confirmed) {
            return Ok(Reply::Reverted { to: last.live.clone(), notes: last.notes.clone() });
        }
        let open = match state.open {
            Some(open) if open.id == id => {
                wait_for_others(&open, said)?;
                match State::load()?.open {
                    Some(open) if open.id == id => open,
                    // The worker went back by itself.
                    _ => return self.revert(said),
                }
            }
            _ => match reopened(order, id, &state)? {
                Some(open) => open,
                None => {
                    let to = status::live(&Database::read()?, &state, &order.package);
                    return Ok(Reply::Reverted { to, notes: Vec::new() });
                }
            },
        };
        let notes = run(&open, Way::Back("the controller asked for it"), said)?.notes;
        Ok(Reply::Reverted { to: open.back, notes })
    }
}

/// Refuses an older version than what is good here.
fn not_down(order: &Order, state: &State, before: Option<&Version>) -> Result<()> {
    let open = state.open.as_ref().filter(|open| open.order.package == order.package);
    // What nobody has confirmed does not count.
    let good = open.map_or(before, |open| open.back.as_ref());
    match good {
        Some(good) if dpkg::compare(&good.version, &order.version).is_gt() => Err(fail(
            FailureKind::Downgrade,
            format!("{} {} is installed, which is newer than {}", order.package, good.version, order.version),
        )
        .hint("`debark rollback` is the way down")),
        _ => Ok(()),
    }
}

fn is_live(order: &Order, state: &State, database: &Database) -> bool {
    let package = &order.package;
    let same = state.packages.get(package).is_some_and(|live| {
        live.confirmed && live.digest == Some(order.digest) && live.is_untouched(package, database)
    });
    same && state.open.is_none() && database.is_live(package, &order.version)
}

fn is_target(open: &Open, order: &Order) -> bool {
    open.target.as_ref().is_some_and(|target| target.digest == Some(order.digest))
}

fn unchanged(notes: &[String]) -> Installed {
    Installed { notes: notes.to_vec(), ..Installed::default() }
}

fn reverted(last: &Finished) -> Failure {
    let now = last
        .live
        .as_ref()
        .map_or_else(|| "the package is removed".into(), |live| format!("{} is live", live.version));
    fail(FailureKind::Reverted, format!("the host has gone back: {}; {now}", last.why))
}

/// What an order begins with.
struct Begin {
    back: Option<Version>,
    back_live: Option<Live>,
}

impl Begin {
    /// Makes an order the open one; its guard is armed before.
    fn order(self, order: &Order, id: Digest, target: Option<Version>) -> Result<Open> {
        let deadline =
            (order.action == Action::Deploy).then(|| state::now() + u64::from(order.confirm_within));
        if deadline.is_some() {
            journal::step(order, id, Step::Arming, "")?;
            unit::arm(order.confirm_within.into())?;
        }
        let open = Open {
            order: order.clone(),
            id,
            target,
            back: self.back,
            back_live: self.back_live,
            phase: Phase::Begun,
            step: Step::Begun,
            deadline,
            notes: Vec::new(),
        };
        unit::begins(id)?;
        journal::step(order, id, Step::Begun, "")?;
        State::update(|state| {
            accept::still(state, order, id)?;
            if let Some(live) = state.packages.get_mut(&order.package) {
                // Until it is over nobody can say which of two packages of one version is there.
                live.digest = None;
            }
            state.open = Some(open.clone());
            Ok(())
        })?;
        Ok(open)
    }
}

/// A later order for what is installed and not confirmed: it is this order's now.
fn adopt(order: &Order, id: Digest) -> Result<Installed> {
    let deadline = (order.action == Action::Deploy).then(|| state::now() + u64::from(order.confirm_within));
    if deadline.is_some() {
        journal::step(order, id, Step::Arming, "")?;
        unit::arm(order.confirm_within.into())?;
    }
    journal::step(order, id, Step::Begun, "installed already")?;
    State::update(|state| {
        accept::still(state, order, id)?;
        if let Some(open) = &mut state.open {
            (open.order, open.id, open.deadline) = (order.clone(), id, deadline);
        }
        if let Some(live) = state.packages.get_mut(&order.package) {
            live.sequence = order.sequence;
        }
        Ok(())
    })?;
    Ok(Installed::default())
}

/// A confirmed order, open again to be undone; `None` if it has made nothing live.
fn reopened(order: &Order, id: Digest, state: &State) -> Result<Option<Open>> {
    let live = state.packages.get(&order.package);
    let Some(live) = live.filter(|live| live.digest == Some(order.digest) && live.sequence == order.sequence)
    else {
        return Ok(None);
    };
    if state.open.is_some() {
        return Ok(None);
    }
    let back = live.previous.clone();
    let back_live = back.as_ref().map(|back| Live {
        version: back.version.clone(),
        digest: back.digest,
        sequence: 0,
        confirmed: true,
        previous: None,
        mark: None,
    });
    let open = Open {
        order: order.clone(),
        id,
        target: Some(Version { version: live.version.clone(), digest: live.digest }),
        back,
        back_live,
        phase: Phase::Reverting,
        step: Step::Reverting,
        deadline: None,
        notes: Vec::new(),
    };
    State::update(|state| {
        accept::still(state, order, id)?;
        state.open = Some(open.clone());
        if let Some(live) = state.packages.get_mut(&order.package) {
            live.digest = None;
        }
        Ok(())
    })?;
    Ok(Some(open))
}

/// An order that has nothing to confirm.
fn finished(order: &Order, id: Digest, notes: &[String]) -> Result<()> {
    State::update(|state| {
        accept::still(state, order, id)?;
        let live = state.packages.get(&order.package);
        let live = live.map(|live| Version { version: live.version.clone(), digest: live.digest });
        state.last = Some(Finished { id, confirmed: true, live, why: String::new(), notes: notes.to_vec() });
        Ok(())
    })
}

/// What follows a confirmation, and may have been interrupted.
fn cleaned(order: &Order, id: Digest) -> Result<()> {
    if order.action == Action::Deploy {
        journal::step(order, id, Step::Disarming, "")?;
        unit::disarm()?;
    }
    journal::step(order, id, Step::Pruning, "")?;
    let state = State::load()?;
    let mut never = Vec::new();
    for live in state.packages.values() {
        never.extend(live.digest);
        never.extend(live.previous.as_ref().and_then(|previous| previous.digest));
    }
    store::prune(&order.package, order.keep, &never)
}

/// Waits for the worker of another conversation.
fn wait_for_others(open: &Open, said: Said<'_>) -> Result<()> {
    let most =
        Duration::from_secs(u64::from(open.order.install_within).saturating_mul(3).saturating_add(600));
    let begin = Instant::now();
    let mut told: Option<Instant> = None;
    while locks::works()? {
        if begin.elapsed() > most {
            return Err(fail(
                FailureKind::Busy,
                format!("order {} is still being worked on", open.order.sequence),
            ));
        }
        if told.is_none_or(|told| told.elapsed() > Duration::from_secs(10)) {
            said(&format!("waits for order {}, which is being worked on", open.order.sequence))?;
            told = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Goes on with an order that was begun: its worker may still run.
fn resume(open: &Open, said: Said<'_>) -> Result<Installed> {
    let job = unit::job()?.filter(|job| job.id == open.id);
    let outcome = match job {
        Some(job) if locks::works()? => match unit::follow(&job.nonce, said)? {
            Some(done) => done.outcome?,
            None => return gone(open, said),
        },
        _ => {
            // Its timer may be over, with the boot that started it.
            if let Some(deadline) = open.deadline {
                unit::arm(deadline.saturating_sub(state::now()).max(open.order.confirm_within.into()))?;
            }
            let back = open.phase == Phase::Reverting;
            let way = if back {
                Way::Back("it was interrupted")
            } else {
                Way::Forward { alone: false, came: None }
            };
            run(open, way, said)?
        }
    };
    if open.phase == Phase::Reverting {
        return Err(fail(
            FailureKind::Reverted,
            "the order was interrupted while it was undone, and is undone now",
        ));
    }
    Ok(Installed { changed: true, notes: outcome.notes, ..Installed::default() })
}

/// Which way a worker is to go.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// To the order's target; whether no other package changes, and the package if it came a moment ago.
    Forward { alone: bool, came: Option<&'a Trace> },
    /// To what was live before, for this reason.
    Back(&'a str),
}

/// Lets the unit do it, and waits.
fn run(open: &Open, way: Way<'_>, said: Said<'_>) -> Result<Outcome> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let nonce = format!("{}-{}-{}", std::process::id(), now.tv_sec, now.tv_nsec);
    let mut job =
        Job { nonce: nonce.clone(), id: open.id, back: false, why: String::new(), alone: false, came: None };
    match way {
        Way::Forward { alone, came } => (job.alone, job.came) = (alone, came.cloned()),
        Way::Back(why) => (job.back, job.why) = (true, why.into()),
    }
    let back = job.back;
    let limit = open.order.install_within.into();
    // systemd may still be clearing away the unit of before.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match unit::start(&job, limit) {
            Err(failure) if failure.kind == FailureKind::Busy && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(failure) => return Err(failure),
            Ok(()) => break,
        }
    }
    match unit::follow(&nonce, said)? {
        Some(done) => done.outcome,
        None if back => {
            Err(fail(FailureKind::Install, "what was to put the version before back was ended from outside"))
        }
        None => gone(open, said).map(|_| Outcome { live: None, notes: Vec::new() }),
    }
}

/// The worker was killed: back, with another one.
fn gone(open: &Open, said: Said<'_>) -> Result<Installed> {
    let why = "the installation was ended from outside";
    match State::load()?.open {
        Some(now) if now.id == open.id && now.phase == Phase::Installed => return Ok(unchanged(&now.notes)),
        Some(now) if now.id == open.id => {
            run(&now, Way::Back(why), said)?;
        }
        _ => {}
    }
    Err(fail(FailureKind::Install, format!("{why}; the version before is live again")))
}
