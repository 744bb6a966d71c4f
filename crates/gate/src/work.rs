//! What the unit does: an order's installation to its end, or back, and what is remembered of it.

use std::process::ExitCode;

use debark_order::gate::{Failure, FailureKind, Version};
use debark_order::{Action, Digest};

use crate::dpkg::{self, Database};
use crate::failure::{Result, fail};
use crate::journal::{self, Step};
use crate::state::{self, Finished, Live, Open, Phase, State};
use crate::store::Trace;
use crate::unit::{self, Done, Outcome};
use crate::{install, locks, place, store};

/// `debark-gate work`.
pub fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<()> {
    place::prepare()?;
    let _lock = locks::wait_work()?;
    let job = unit::job()?.ok_or_else(|| fail(FailureKind::Protocol, "there is nothing to do"))?;
    place::replace(&place::run("started"), job.nonce.as_bytes())?;
    let open = State::load()?.open.filter(|open| open.id == job.id);
    let outcome = match open {
        None => Err(fail(FailureKind::Protocol, "the order is no longer the open one")),
        Some(open) if job.back => back(&open, &job.why),
        Some(open) => forward(&open, job.alone, job.came.as_ref()),
    };
    unit::write("done.json", &Done { nonce: job.nonce, outcome })
}

/// Forward; and back if that fails.
///
/// # Errors
/// Why it failed, and where the host is now.
pub fn forward(open: &Open, alone: bool, came: Option<&Trace>) -> Result<Outcome> {
    let failure = match install::forward(open, alone, came) {
        Ok(outcome) => return installed(open, outcome),
        Err(failure) => failure,
    };
    if untouched(open, &failure) {
        forget(open, &failure)?;
        return Err(failure);
    }
    Err(match back(open, &failure.message) {
        Ok(outcome) => Failure {
            message: format!("{}; {}", failure.message, live_again(outcome.live.as_ref())),
            ..failure
        },
        Err(worse) => Failure {
            message: format!("{}; and the version before cannot be put back: {worse}", failure.message),
            log: [failure.log, worse.log].concat(),
            ..failure
        },
    })
}

fn live_again(version: Option<&Version>) -> String {
    version.map_or_else(
        || "the package is removed".into(),
        |version| format!("{} is live again", version.version),
    )
}

/// Whether a failure came before dpkg was started, and what was live is so still.
fn untouched(open: &Open, failure: &Failure) -> bool {
    let early = failure.kind.is_refusal()
        || matches!(
            failure.kind,
            FailureKind::Dependencies | FailureKind::Busy | FailureKind::Disk | FailureKind::NotKept
        );
    let Ok(database) = crate::dpkg::Database::read() else { return false };
    let package = &open.order.package;
    let same = match &open.back {
        Some(back) => database.is_live(package, &back.version),
        None => {
            database.package(package).is_none_or(|stanza| !stanza.is_present() && stanza.trouble().is_none())
        }
    };
    // Of one version there may be two packages.
    let distinct =
        open.back.as_ref().map(|back| &back.version) != open.target.as_ref().map(|target| &target.version);
    early && same && distinct
}

fn forget(open: &Open, failure: &Failure) -> Result<()> {
    let live = open.back.clone();
    finish(
        open,
        None,
        Finished { id: open.id, confirmed: false, live, why: failure.message.clone(), notes: Vec::new() },
    )?;
    if open.deadline.is_some() { unit::disarm() } else { Ok(()) }
}

fn installed(open: &Open, outcome: Outcome) -> Result<Outcome> {
    journal::step(&open.order, open.id, Step::Installed, "")?;
    let mark = dpkg::mark(&open.order.package, &Database::read()?);
    State::update(|state| {
        let package = &open.order.package;
        // An order to abort restores what was good: there is nothing to confirm.
        let confirmed = open.order.action == Action::Abort;
        match &open.target {
            Some(target) => {
                let previous = open.back.clone().filter(|back| back.digest != target.digest);
                let live = Live {
                    version: target.version.clone(),
                    digest: target.digest,
                    sequence: open.order.sequence,
                    confirmed,
                    previous,
                    mark,
                };
                state.packages.insert(package.clone(), live);
            }
            None => {
                state.packages.remove(package);
            }
        }
        if confirmed {
            state.open = None;
            state.last = Some(Finished {
                id: open.id,
                confirmed,
                live: open.target.clone(),
                why: String::new(),
                notes: outcome.notes.clone(),
            });
        } else if let Some(now) = state.open.as_mut().filter(|now| now.id == open.id) {
            now.phase = Phase::Installed;
            now.step = Step::Installed;
            now.notes.clone_from(&outcome.notes);
            now.deadline = now.deadline.map(|_| state::now() + u64::from(open.order.confirm_within));
        }
        Ok(())
    })?;
    if let Some(digest) = open.target.as_ref().and_then(|target| target.digest) {
        store::used(&digest, open.order.sequence)?;
    }
    Ok(outcome)
}

/// Back to what was live before.
///
/// # Errors
/// Why not: the order stays open.
pub fn back(open: &Open, why: &str) -> Result<Outcome> {
    State::update(|state| {
        if let Some(now) = state.open.as_mut().filter(|now| now.id == open.id) {
            now.phase = Phase::Reverting;
        }
        Ok(())
    })?;
    let outcome = install::back(open, why)?;
    journal::step(&open.order, open.id, Step::Reverted, why)?;
    finish(
        open,
        dpkg::mark(&open.order.package, &Database::read()?),
        Finished {
            id: open.id,
            confirmed: false,
            live: outcome.live.clone(),
            why: why.to_owned(),
            notes: outcome.notes.clone(),
        },
    )?;
    if open.deadline.is_some() {
        unit::disarm()?;
    }
    Ok(outcome)
}

/// An open order ends without having become live; `mark` is that of what was put back.
fn finish(open: &Open, mark: Option<Digest>, finished: Finished) -> Result<()> {
    State::update(|state| {
        let package = &open.order.package;
        match &open.back_live {
            Some(live) => {
                let mark = mark.or(live.mark);
                state.packages.insert(package.clone(), Live { mark, ..live.clone() });
            }
            None => {
                state.packages.remove(package);
            }
        }
        if state.open.as_ref().is_some_and(|now| now.id == open.id) {
            state.open = None;
        }
        state.last = Some(finished);
        Ok(())
    })
}
