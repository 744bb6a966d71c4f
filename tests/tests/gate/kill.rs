//! `kill -9` at every step, of the gate and of dpkg; controllers that vanish; reboots.

use debark_order::gate::{FailureKind, Reply, Request};
use debark_order::{Action, Order};

use crate::world::{Deb, Parts, World, is};

/// What the gate writes to its journal, in the order in which a deployment comes by.
const STEPS: [&str; 14] = [
    "accepted",
    "receiving",
    "storing",
    "arming",
    "begun",
    "repairing",
    "installing",
    "installed",
    "checking",
    "confirming",
    "disarming",
    "pruning",
    "reverting",
    "reverted",
];

pub fn all(world: &World) {
    let good = world.deb("1.0", &Parts::default());
    world.deploy(&good);
    at_every_step(world, &good);
    dpkg_itself(world);
    nobody_confirms(world);
    a_boot_in_between(world);
}

/// Where processes of the gate are stopped, and that they are.
const STOPPED: &str = "ps -eo stat,args | grep -q '^T.*debark-gate'";
/// All of the gate's, and what they started.
const KILL: &str = "pkill -KILL -f '[d]ebark-gate' || :; systemctl kill --kill-who=all --signal=KILL debark-work.service 2>/dev/null; \
    while pgrep -f '[d]ebark-gate (serve|work)' >/dev/null; do sleep 0.02; done";

fn at_every_step(world: &World, good: &Deb) {
    let listed = world.sh("/usr/lib/debark/debark-gate steps");
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), STEPS);
    let mut before = good.version.clone();
    for (number, step) in STEPS.iter().enumerate() {
        let deb = world.deb(&format!("1.{}", number + 1), &Parts::default());
        let order = world.order(Action::Deploy, &deb);
        let undo = step.starts_with("revert");
        if *step == "repairing" {
            // There has to be something to repair.
            world.sh("sed -i '/^Package: shop$/,/^$/s/^Status: install ok installed/Status: install ok half-configured/' /var/lib/dpkg/status");
        }
        world.sh(&format!("printf {step} >/var/lib/debark/gate/stop-at"));
        let mut talk = world.talk();
        talk.tell(&Request::Prepare { order: world.seal("ci", &order) });
        // All at once: the gate stops somewhere in between, and nobody knows where.
        talk.tell_package(&deb);
        talk.tell(&Request::Install);
        talk.tell(&Request::Check);
        talk.tell(if undo { &Request::Revert } else { &Request::Confirm });
        world.until(STOPPED);
        world.sh(&format!("{KILL}; rm -f /var/lib/debark/gate/stop-at"));
        drop(talk);

        let state = world.state();
        assert!(state.sequence >= order.sequence || *step == "accepted", "{step}: {state:?}");
        let mut talk = world.prepared(&order);
        if undo {
            assert_eq!(talk.revert().0.as_deref(), Some(before.as_str()), "{step}: {}", world.tell());
        } else {
            let reply = talk.ask(&Request::Prepare { order: world.seal("ci", &order) });
            if matches!(reply, Reply::Prepared { kept: false, .. }) {
                talk.send(&deb).unwrap();
            }
            talk.install().unwrap_or_else(|failure| panic!("{step}: {failure:?}\n{}", world.tell()));
            talk.confirm().unwrap_or_else(|failure| panic!("{step}: {failure:?}\n{}", world.tell()));
            before.clone_from(&deb.version);
        }
        drop(talk);
        assert_eq!(world.installed(), format!("{before} install ok installed"), "{step}");
        let state = world.state();
        let live = state.packages[0].live.as_ref().unwrap();
        assert!(
            live.version.as_str() == before && live.digest.is_some() && state.packages[0].confirmed,
            "{step}: {state:?}"
        );
        assert!(state.open.is_none() && state.packages[0].trouble.is_none(), "{step}: {state:?}");
        world.is_sound();
    }
}

/// dpkg and everything with it dies in the midst of each maintainer script.
fn dpkg_itself(world: &World) {
    let before = world.installed();
    for script in ["preinst", "postinst"] {
        let text = "if [ ! -e /root/free ]; then : >/root/hangs; sleep 1000; fi";
        let deb = world
            .deb(&format!("2.{}", script.len()), &Parts { scripts: &[(script, text)], ..Parts::default() });
        world.sh("rm -f /root/free /root/hangs");
        let order = world.order(Action::Deploy, &deb);
        let mut talk = world.prepared(&order);
        talk.send(&deb).unwrap();
        talk.tell(&Request::Install);
        world.until("test -e /root/hangs");
        world.sh(&format!("{KILL}; : >/root/free"));
        drop(talk);
        // A later order, back to what was: as after a deployer that has died.
        let mut talk = world.prepared(&world.order(Action::Abort, &deb));
        talk.install().unwrap_or_else(|failure| panic!("{script}: {failure:?}\n{}", world.tell()));
        talk.confirm().unwrap();
        assert_eq!(world.installed(), before, "{script}");
        world.is_sound();
        let state = world.state();
        assert!(state.open.is_none() && state.packages[0].trouble.is_none(), "{state:?}");
        // The order from before the abortion is overtaken.
        is(&world.refused("ci", &order), FailureKind::Replayed, "a later order");
    }
}

/// The controller vanishes; the host goes back by itself, and does not take a confirmation that comes too late.
fn nobody_confirms(world: &World) {
    let before = world.installed();
    let deb = world.deb("3.0", &Parts::default());
    let order = Order { confirm_within: 3, ..world.order(Action::Deploy, &deb) };
    let (talk, _) = world.install(&order, &deb);
    drop(talk);
    world.until("grep -q '\"step\":\"reverted\".*nobody confirmed' /var/lib/debark/gate/journal.jsonl && ! systemctl is-active --quiet debark-guard.service");
    assert_eq!(world.installed(), before);
    let mut talk = world.prepared(&order);
    is(&talk.confirm().unwrap_err(), FailureKind::Reverted, "nobody confirmed in time");
    is(&talk.install().unwrap_err(), FailureKind::Reverted, "nobody confirmed in time");
    // A connection that is lost while dpkg works costs nothing.
    let deb = world.deb(
        "3.1",
        &Parts {
            scripts: &[(
                "postinst",
                "[ -e /root/go ] || { : >/root/waits; while [ ! -e /root/go ]; do sleep 0.05; done; }",
            )],
            ..Parts::default()
        },
    );
    let order = world.order(Action::Deploy, &deb);
    let mut talk = world.prepared(&order);
    talk.send(&deb).unwrap();
    talk.tell(&Request::Install);
    world.until("test -e /root/waits");
    world.host().drop_connections();
    drop(talk);
    let mut talk = world.prepared(&order);
    talk.tell(&Request::Install);
    world.sh(": >/root/go");
    let reply = talk.reply().unwrap();
    assert!(matches!(reply, Reply::Installed(_)), "{reply:?}");
    talk.confirm().unwrap();
    assert_eq!(world.installed(), "3.1 install ok installed");
}

/// The guard survives a boot, and puts right what a boot has interrupted.
fn a_boot_in_between(world: &World) {
    let deb = world.deb("4.0", &Parts::default());
    let order = Order { confirm_within: 8, ..world.order(Action::Deploy, &deb) };
    let (talk, _) = world.install(&order, &deb);
    drop(talk);
    boot(world);
    world.until("grep -q '\"step\":\"reverted\".*4[.]0.*nobody confirmed' /var/lib/debark/gate/journal.jsonl && ! systemctl is-active --quiet debark-guard.service");
    assert_eq!(world.installed(), "3.1 install ok installed");

    let hangs = world
        .deb("4.1", &Parts { scripts: &[("postinst", ": >/root/booting; sleep 1000")], ..Parts::default() });
    let order = world.order(Action::Deploy, &hangs);
    let mut talk = world.prepared(&order);
    talk.send(&hangs).unwrap();
    talk.tell(&Request::Install);
    world.until("test -e /root/booting");
    boot(world);
    world.until("grep -q '\"step\":\"reverted\".*4[.]1.*interrupted' /var/lib/debark/gate/journal.jsonl && ! systemctl is-active --quiet debark-guard.service");
    assert_eq!(world.installed(), "3.1 install ok installed");
    assert!(world.state().open.is_none());
    world.is_sound();
}

fn boot(world: &World) {
    let boots = world.host().boots();
    let _ = world.host().sh("systemctl reboot --force --force");
    world.host().wait_boot(boots).unwrap();
}
