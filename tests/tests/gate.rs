//! The gate on real hosts: what it refuses, what it survives, and what it puts back by itself.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "gate/attacks.rs"]
mod attacks;
#[path = "gate/days.rs"]
mod days;
#[path = "gate/kill.rs"]
mod kill;
#[path = "gate/stale.rs"]
mod stale;
#[path = "gate/world.rs"]
mod world;

use world::World;

/// Seven attacks, seven distinct refusals; then days that are bad without anybody's bad will.
#[test]
fn the_gate_refuses_and_puts_back() {
    let world = World::new("gate");
    attacks::all(&world);
    days::all(&world);
}

/// `kill -9` at each step of the journal, and of dpkg itself; controllers and hosts that go away.
#[test]
fn the_gate_survives_being_killed() {
    let world = World::new("kill");
    kill::all(&world);
}

/// A deployer that sleeps while somebody else deploys: zero stale writes in 100 tries.
#[test]
fn who_wakes_up_late_writes_nothing() {
    let world = World::new("stale");
    stale::all(&world);
}
