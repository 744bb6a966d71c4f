//! A deployer that was stopped, and wakes up when a later order has come: nothing that it says is obeyed.

use std::time::Instant;

use debark_order::Action;
use debark_order::gate::{FailureKind, Reply, Request};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Parts, Talk, World, is};

const TRIES: usize = 100;

pub fn all(world: &World) {
    let versions = [world.deb("1.0", &Parts::default()), world.deb("1.1", &Parts::default())];
    versions.iter().for_each(|deb| drop(world.deploy(deb)));
    let mut live = 1;
    let (mut sleeper, mut other) = (world.talk(), world.talk());
    let mut stale = Vec::new();
    for number in 0..TRIES {
        // It would change what is live, and may: the host keeps that version.
        let order = world.order(Action::Rollback, &versions[1 - live]);
        accepted(world, &mut sleeper, &order);
        stale.push(order.sequence);
        stop(&sleeper);
        // It was about to say that: the words lie in its pipe, and go out when it wakes up.
        match number % 5 {
            0 | 1 => sleeper.tell(&Request::Install),
            2 => sleeper.tell_package(&versions[1 - live]),
            3 => sleeper.tell(&Request::Confirm),
            _ => sleeper.tell(&Request::Revert),
        }
        if number % 20 == 19 {
            live = 1 - live;
        }
        accepted(world, &mut other, &world.order(Action::Rollback, &versions[live]));
        if number % 20 == 19 {
            other.install().unwrap();
            other.confirm().unwrap();
        }
        kill_process(pid(&sleeper), Signal::CONT).unwrap();
        match sleeper.reply().expect("the gate answers") {
            Reply::Failed(failure) => is(&failure, FailureKind::Replayed, "this host has seen a later order"),
            other => panic!("try {number}: {other:?}"),
        }
    }
    assert_eq!(world.installed(), format!("{} install ok installed", versions[live].version));
    assert!(world.state().open.is_none(), "{:?}", world.state());
    let journal = world.sh("cat /var/lib/debark/gate/journal.jsonl");
    for line in journal.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if stale.contains(&line["sequence"].as_u64().unwrap()) {
            assert_eq!(line["step"], "accepted", "a stale order went further: {line}");
        }
    }
}

fn accepted(world: &World, talk: &mut Talk, order: &debark_order::Order) {
    let reply = talk.ask(&Request::Prepare { order: world.seal("ci", order) });
    assert!(matches!(reply, Reply::Prepared { kept: true, .. }), "{reply:?}");
}

fn pid(talk: &Talk) -> Pid {
    Pid::from_raw(i32::try_from(talk.process()).unwrap()).unwrap()
}

/// Stops it, and waits until it has stopped.
fn stop(talk: &Talk) {
    let proc = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", talk.process())).unwrap();
    assert_eq!(proc("comm").trim(), "ssh", "the conversation's own process");
    kill_process(pid(talk), Signal::STOP).unwrap();
    let begin = Instant::now();
    while !proc("status").lines().any(|line| line.starts_with("State:\tT")) {
        assert!(begin.elapsed() < crate::world::PATIENCE, "it does not stop");
        std::thread::yield_now();
    }
}
