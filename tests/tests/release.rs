//! Releases on real hosts, as users make them: from a commit to production and back.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "release/bad_days.rs"]
mod bad_days;
#[path = "release/journey.rs"]
mod journey;
#[path = "release/prompts.rs"]
mod prompts;
#[path = "release/rules.rs"]
mod rules;
#[path = "release/steps.rs"]
mod steps;
#[path = "release/waves.rs"]
mod waves;

use debark_e2e::{PACKAGING, Releases, lab};

/// Built, published, staged, promoted, put back, rolled back; and what the ledger says of it.
#[test]
fn from_a_commit_to_production_and_back() {
    let lab = lab("release", 3, &[]);
    let shop = Releases::new(&lab, "");
    journey::first_release(&shop);
    journey::second_release(&shop);
    journey::bad_release_is_put_back(&shop);
    journey::rollback_needs_neither_store_nor_remote(&shop);
    journey::what_was_rolled_back_stays_away(&shop);
    journey::the_chain_is_verified(&shop);
    journey::the_record_is_whole(&shop);
    rules::gates(&shop);
    rules::remote_and_store_are_gone(&shop);
    rules::old_versions_go(&shop);
    rules::drift(&shop);
    rules::a_changed_host_key(&shop);
    rules::an_apt_source(&shop);
    rules::hosts_keep_some_versions(&shop);
    rules::clocks_an_hour_apart(&shop);
}

/// Deployers that die, sleep, or come at the same time; hosts that are dead.
#[test]
fn deployers_and_hosts_that_go_away() {
    let lab = lab("deployers", 3, &[]);
    let shop = Releases::new(&lab, "  confirm_within: 60s\n  budget: 1\n");
    bad_days::prepared(&shop);
    bad_days::two_at_the_same_second(&shop);
    bad_days::killed_and_resumed(&shop);
    bad_days::asleep_beyond_its_lease(&shop);
    bad_days::one_dead_host(&shop);
    bad_days::asleep_in_mid_installation(&shop);
    steps::killed_at_every_step(&shop, "1.2.0");
}

/// A canary, a second wave, tasks around them, and hosts that are in trouble.
#[test]
fn waves_of_several_hosts() {
    let lab = lab("waves", 3, &[]);
    let shop = Releases::new(&lab, waves::DEPLOY);
    waves::prepared(&shop);
    waves::a_bad_canary(&shop);
    waves::a_bad_second_wave(&shop);
    waves::a_host_that_cannot_be_drained(&shop);
    waves::a_host_that_is_lost_for_a_moment(&shop);
    waves::interrupted(&shop);
    waves::one_host_in_trouble(&shop);
}

/// Packages that ask on a host where everything is set up to ask.
#[test]
fn nobody_is_there_to_answer() {
    let lab = lab("prompts", 1, PACKAGING);
    prompts::nobody_answers(&Releases::new(&lab, ""));
}
