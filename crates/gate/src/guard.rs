//! The guard: it goes back to the version before if nobody has confirmed in time, with or without a controller.
//!
//! It is started by its timer, and at every boot, as a boot may have interrupted an installation and ended the timer.

use std::process::ExitCode;

use debark_order::Action;

use crate::failure::Result;
use crate::state::{self, Phase, State};
use crate::{locks, place, unit, work};

/// Seconds that a worker may take to start on a busy machine.
const STARTING: u64 = 60;

/// `debark-gate guard`.
pub fn main() -> ExitCode {
    match guard() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            for line in &failure.log {
                eprintln!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn guard() -> Result<()> {
    place::prepare()?;
    // Whoever works on the order now is waited for: then the deadline may be another.
    let _lock = locks::wait_work()?;
    let Some(open) = State::load()?.open else { return Ok(()) };
    let interrupted = open.phase != Phase::Installed;
    if open.phase == Phase::Begun && open.order.action != Action::Deploy {
        // What a rollback leads to is good, and half of it is not.
        return work::forward(&open, false, None).map(drop);
    }
    let Some(deadline) = open.deadline else {
        return if interrupted { work::back(&open, "it was interrupted").map(drop) } else { Ok(()) };
    };
    let now = state::now();
    if !interrupted && now < deadline {
        // A clock that was set back does not make it later than it can be.
        return unit::arm((deadline - now).min(open.order.confirm_within.into()));
    }
    if open.phase == Phase::Begun && unit::is_starting(open.id)? && now < deadline.saturating_add(STARTING) {
        // It was begun a moment ago: its worker is about to start, and knows when nobody confirms.
        return unit::arm(5);
    }
    let claimed = State::update(|state| {
        let open = state.open.as_mut().filter(|now| now.id == open.id);
        // It may have been confirmed between the two looks.
        Ok(open.map(|open| open.phase = Phase::Reverting).is_some())
    })?;
    if !claimed {
        return Ok(());
    }
    let why = if interrupted { "it was interrupted" } else { "nobody confirmed in time" };
    println!("{} {} goes back: {why}", open.order.package, open.order.version);
    work::back(&open, why).map(drop)
}
