//! Ctrl-C and SIGTERM: the first ends the run after the running tasks, the second at once.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use debark_controller::Interrupt;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit;

/// After so many, whatever still goes on is left to itself.
const PATIENCE: u32 = 3;

#[derive(Default)]
struct State {
    run: Option<Interrupt>,
    count: u32,
}

/// Signals of this process, from here to its end.
#[derive(Clone, Default)]
pub struct Signals(Arc<Mutex<State>>);

impl Signals {
    /// Takes signals over. Before there is a run, one ends the process; a question on the terminal is taken back first,
    /// so that what is typed can be seen again.
    pub fn watch() -> Self {
        let signals = Self::default();
        let state = signals.0.clone();
        // Where signals cannot be had, they kill, as they do by default.
        if let Ok(mut all) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) {
            std::thread::spawn(move || {
                for _ in all.forever() {
                    arrived(&state);
                }
            });
        }
        signals
    }

    /// Whether one has come.
    pub fn came(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count > 0
    }

    /// From now on signals are about this run.
    pub fn are_for(&self, run: Interrupt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).run = Some(run);
    }
}

fn arrived(state: &Mutex<State>) {
    state.lock().unwrap_or_else(PoisonError::into_inner).count += 1;
    debark_controller::cancel_questions();
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match &state.run {
        Some(run) if state.count < PATIENCE => run.interrupt(),
        _ => {
            debark_tunnel::clean_up();
            process::exit(exit::INTERRUPTED.into())
        }
    }
}
