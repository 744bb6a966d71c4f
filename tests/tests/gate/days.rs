//! Bad days without bad will: scripts that fail or hang, locks, disks, dependencies, configuration files.

use std::time::Duration;

use debark_order::gate::{FailureKind, Reply, Request};
use debark_order::{Action, Check, Order, Probe};

use crate::world::{Deb, Parts, World, is};

pub fn all(world: &World) {
    let old = configuration_files(world);
    scripts_that_fail_or_hang(world);
    locks_of_others(world, &old);
    a_full_disk(world);
    a_missing_dependency(world);
    checks_and_files(world);
    world.is_sound();
}

/// Local changes stay; what only a newer version knows is put aside on the way back, and brought back on the way forward.
fn configuration_files(world: &World) -> Deb {
    let one = world.deb("2.0", &Parts { conffiles: &[("/etc/shop/a.conf", "one\n")], ..Parts::default() });
    let two = world.deb(
        "2.1",
        &Parts {
            conffiles: &[("/etc/shop/a.conf", "two\n"), ("/etc/shop/b.conf", "two\n")],
            ..Parts::default()
        },
    );
    world.deploy(&one);
    world.sh("echo local >>/etc/shop/a.conf");
    let installed = world.deploy(&two);
    assert!(
        installed.notes.iter().any(|note| note.starts_with("/etc/shop/a.conf was changed")),
        "{installed:?}"
    );
    world.sh("echo mine >>/etc/shop/b.conf");

    let mut talk = world.prepared(&world.order(Action::Rollback, &one));
    let installed = talk.install().unwrap();
    talk.confirm().unwrap();
    assert!(
        installed.notes.iter().any(|note| note.starts_with("/etc/shop/b.conf is of a newer version")),
        "{installed:?}"
    );
    assert_eq!(
        world.sh("cat /etc/shop/a.conf; ls /etc/shop"),
        "one\nlocal\na.conf\na.conf.dpkg-dist\nb.conf.dpkg-debark"
    );
    world.deploy(&two);
    assert_eq!(world.sh("cat /etc/shop/b.conf; ls /etc/shop/*.dpkg-debark 2>/dev/null || :"), "two\nmine");
    assert_eq!(world.installed(), "2.1 install ok installed");
    one
}

fn scripts_that_fail_or_hang(world: &World) {
    let fails = world.deb(
        "3.0",
        &Parts {
            scripts: &[("postinst", "[ \"$1\" != configure ] || { echo no luck; exit 7; }")],
            ..Parts::default()
        },
    );
    let order = world.order(Action::Deploy, &fails);
    let mut talk = world.prepared(&order);
    talk.send(&fails).unwrap();
    let failure = talk.install().unwrap_err();
    is(&failure, FailureKind::Install, "2.1 is live again");
    assert!(failure.log.iter().any(|line| line.contains("no luck")), "{failure:?}");
    assert_eq!(talk.revert().0.as_deref(), Some("2.1"));
    is(&talk.confirm().unwrap_err(), FailureKind::Reverted, "2.1 is live");
    assert_eq!(world.installed(), "2.1 install ok installed");

    // It hangs with a child that has left its session and its process group.
    let script = "[ \"$1\" != configure ] || { setsid sleep 1000 & sleep 1000; }";
    let hangs = world.deb("3.1", &Parts { scripts: &[("postinst", script)], ..Parts::default() });
    let order = Order { install_within: 5, ..world.order(Action::Deploy, &hangs) };
    let mut talk = world.prepared(&order);
    talk.send(&hangs).unwrap();
    let failure = talk.install().unwrap_err();
    is(&failure, FailureKind::Timeout, "2.1 is live again");
    assert_eq!(world.installed(), "2.1 install ok installed");
    assert_eq!(world.sh("pgrep -x sleep || echo none"), "none");
    let state = world.state();
    assert!(state.open.is_none() && state.notes.iter().any(|note| note.contains("undone")), "{state:?}");
    world.is_sound();
}

/// apt and dpkg lock with fcntl(2): each lock is held by a process that does just that.
fn locks_of_others(world: &World, old: &Deb) {
    let deb = world.deb("4.0", &Parts::default());
    let hold = "use Fcntl; $SIG{TERM} = sub { exit 0 }; open(F, '+>>', $ARGV[0]) or die; \
        my $lock = pack('s s x4 q q l x4', F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $lock) or die; open(R, '>', '/run/held'); close R; sleep 1000";
    for path in [
        "/var/lib/dpkg/lock-frontend",
        "/var/lib/dpkg/lock",
        "/var/lib/apt/lists/lock",
        "/var/cache/apt/archives/lock",
    ] {
        world.put("root/hold.pl", hold.as_bytes());
        world.sh(&format!(
            "rm -f /run/held; systemd-run --quiet --collect --unit holder perl /root/hold.pl {path}"
        ));
        world.until("test -e /run/held");
        // dpkg and apt honour it themselves: that is what the gate relies on.
        if path.contains("dpkg/lock") {
            world.sh("! dpkg --configure -a 2>/dev/null");
        }
        let mut talk = world.prepared(&world.order(Action::Deploy, &deb));
        talk.send(&deb).unwrap();
        let failure = talk.install().unwrap_err();
        is(&failure, FailureKind::Busy, "(perl)");
        is(&failure, FailureKind::Busy, path);
        assert_eq!(world.installed(), "2.1 install ok installed");
        if path.contains("dpkg/lock") {
            // dpkg alone, as on the way back.
            let mut talk = world.prepared(&world.order(Action::Rollback, old));
            is(&talk.install().unwrap_err(), FailureKind::Busy, "(perl)");
            assert_eq!(world.installed(), "2.1 install ok installed");
        }
        world.sh("systemctl stop holder");
    }
    // Who only holds it for a while is waited for.
    world.settings("\"lock_timeout\": 300");
    world.sh("rm -f /run/held; systemd-run --quiet --collect --unit holder perl /root/hold.pl /var/lib/dpkg/lock-frontend");
    world.until("test -e /run/held");
    let mut talk = world.prepared(&world.order(Action::Deploy, &deb));
    talk.send(&deb).unwrap();
    talk.tell(&Request::Install);
    world.until("grep -q '\"step\":\"installing\"' /var/lib/debark/gate/journal.jsonl && test -e /run/debark-gate/started");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(world.installed(), "2.1 install ok installed");
    world.sh("systemctl stop holder");
    let reply = talk.reply().unwrap();
    assert!(matches!(reply, Reply::Installed(_)), "{reply:?}");
    talk.confirm().unwrap();
    world.settings("\"lock_timeout\": 2");
    assert_eq!(world.installed(), "4.0 install ok installed");
}

fn a_full_disk(world: &World) {
    let deb = world.deb("5.0", &Parts::default());
    world.sh("mount -t tmpfs -o size=8m,mode=700 none /var/lib/debark/gate/store");
    let mut talk = world.prepared(&world.order(Action::Deploy, &deb));
    is(&talk.send(&deb).unwrap_err(), FailureKind::Disk, "/var/lib/debark/gate/store");
    world.sh("umount /var/lib/debark/gate/store");
    // The same conversation goes on once there is room.
    talk.send(&deb).unwrap();
    // And a package that says that it needs more than there is.
    let huge = world.deb("5.1", &Parts { control: "Installed-Size: 99999999999\n", ..Parts::default() });
    let mut talk = world.prepared(&world.order(Action::Deploy, &huge));
    talk.send(&huge).unwrap();
    is(&talk.install().unwrap_err(), FailureKind::Disk, "/usr");
    assert_eq!(world.installed(), "4.0 install ok installed");
}

fn a_missing_dependency(world: &World) {
    let deb = world.deb("6.0", &Parts { control: "Depends: no-such-package (>= 1)\n", ..Parts::default() });
    let mut talk = world.prepared(&world.order(Action::Deploy, &deb));
    talk.send(&deb).unwrap();
    match talk.ask(&Request::Plan) {
        Reply::Failed(failure) => is(&failure, FailureKind::Dependencies, "no-such-package"),
        other => panic!("{other:?}"),
    }
    let before = world.sh("wc -l </var/log/dpkg.log");
    is(&talk.install().unwrap_err(), FailureKind::Dependencies, "no-such-package");
    assert_eq!(world.sh("wc -l </var/log/dpkg.log"), before, "dpkg was not started");
    let deb = world.deb("6.1", &Parts::default());
    let mut talk = world.prepared(&world.order(Action::Deploy, &deb));
    talk.send(&deb).unwrap();
    match talk.ask(&Request::Plan) {
        Reply::Planned { steps } => assert_eq!(steps, ["upgrades shop from 4.0 to 6.1"]),
        other => panic!("{other:?}"),
    }
    let older = world.deb("3.9", &Parts::default());
    is(&world.refused("ci", &world.order(Action::Deploy, &older)), FailureKind::Downgrade, "newer than 3.9");
}

fn checks_and_files(world: &World) {
    let service = "[Service]\nExecStart=/bin/sh -c 'cat /usr/share/shop/version; exec sleep 9999'\n";
    let scripts: &[(&str, &str)] = &[("postinst", "systemctl daemon-reload; systemctl restart shop.service")];
    let files: &[(&str, &str)] = &[("/lib/systemd/system/shop.service", service)];
    let good = world.deb("7.0", &Parts { files, scripts, ..Parts::default() });
    let check = |name: &str, probe| Check {
        name: name.into(),
        probe,
        within: 60_000,
        interval: 20,
        healthy_for: 100,
        timeout: 10_000,
    };
    let unit = check("unit", Probe::Unit { unit: "shop.service".into() });
    let command = check(
        "command",
        Probe::Command { argv: vec!["/bin/grep".into(), "7.0".into(), "/usr/share/shop/version".into()] },
    );
    let order = Order { checks: vec![unit.clone(), command], ..world.order(Action::Deploy, &good) };
    let (mut talk, _) = world.install(&order, &good);
    match talk.ask(&Request::Check) {
        Reply::Checked { results } => {
            assert!(results.len() == 2 && results.iter().all(|one| one.problem.is_none()), "{results:?}")
        }
        other => panic!("{other:?}"),
    }
    talk.confirm().unwrap();
    let files_of = || match world.talk().ask(&Request::Files { package: "shop".parse().unwrap() }) {
        Reply::Files(report) => report,
        other => panic!("{other:?}"),
    };
    let report = files_of();
    assert!(report.kept_is_whole == Some(true) && report.files == 2 && report.wrong.is_empty(), "{report:?}");
    world.sh("printf 7.1 >/usr/share/shop/version");
    assert_eq!(files_of().wrong, ["/usr/share/shop/version: other content than in the package"]);

    // A service that falls over at once: it is not waited for until the end, and its last words are told.
    let bad_service = "[Service]\nExecStart=/bin/sh -c 'echo I fell over; exit 3'\n";
    let bad = world.deb(
        "7.1",
        &Parts { files: &[("/lib/systemd/system/shop.service", bad_service)], scripts, ..Parts::default() },
    );
    let order =
        Order { checks: vec![Check { within: 3_600_000, ..unit }], ..world.order(Action::Deploy, &bad) };
    let (mut talk, _) = world.install(&order, &bad);
    match talk.ask(&Request::Check) {
        Reply::Checked { results } => {
            let [result] = &results[..] else { panic!("{results:?}") };
            assert_eq!(result.problem.as_deref(), Some("it has failed: exit-code"));
            assert!(result.log.iter().any(|line| line.contains("I fell over")), "{result:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(talk.revert().0.as_deref(), Some("7.0"));
    assert_eq!(world.sh("systemctl is-active shop.service; cat /usr/share/shop/version"), "active\n7.0");
    let state = world.state();
    assert!(state.packages[0].confirmed && state.packages[0].units[0].active == "active", "{state:?}");
}
