//! Steps of a test that share hosts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// What a step is about, and the step.
pub type Step<S> = (&'static str, fn(&S));

/// Runs steps one after the other, and says of each how it went. One that fails does not keep the others from being tried.
///
/// # Panics
/// When a step did, with the names of all that did.
pub fn run_steps<S>(site: &S, steps: &[Step<S>]) {
    run_steps_of(site, steps, "");
}

/// The same for those whose names contain a text.
///
/// # Panics
/// As [`run_steps`].
pub fn run_steps_of<S>(site: &S, steps: &[Step<S>], only: &str) {
    let mut failed = Vec::new();
    for (name, step) in steps.iter().filter(|(name, _)| name.contains(only)) {
        let begin = Instant::now();
        let good = catch_unwind(AssertUnwindSafe(|| step(site))).is_ok();
        let word = if good { "ok    " } else { "FAILED" };
        eprintln!("{word} {name} ({:.1} s)", begin.elapsed().as_secs_f64());
        if !good {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed: {}", failed.join("; "));
}
