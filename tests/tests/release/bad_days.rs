//! Deployers that die, sleep, or come at the same time; hosts that are dead.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use debark_e2e::{Ended, Releases};
use debark_order::gate::{FailureKind, PROGRAM, Reply, Request};
use debark_order::{SealedOrder, frame};
use rustix::process::{Pid, Signal, kill_process};

/// A version everywhere, and others in the store.
pub fn prepared(shop: &Releases<'_>) {
    for environment in ["staging", "prod"] {
        let _ = shop.debark("alice", &["enroll", "--env", environment]).ends(0);
    }
    shop.publish("1.0.0", true);
    let _ = shop.debark("alice", &["deploy", "shop", "--to", "staging"]).ends(0);
    let _ = shop.debark("alice", &["promote", "shop", "--to", "prod"]).ends(0);
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        shop.publish(version, true);
    }
}

/// One begins, the other is told who was faster.
pub fn two_at_the_same_second(shop: &Releases<'_>) {
    let start = |who| {
        let mut command = shop.command(who, &["deploy", "shop@1.1.0", "--to", "staging"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start("alice"), start("bob")];
    let ends: Vec<Ended> =
        both.into_iter().map(|child| Ended::of(&child.wait_with_output().unwrap())).collect();
    let mut codes: Vec<i32> = ends.iter().map(|end| end.code).collect();
    codes.sort_unstable();
    let said: String = ends.iter().map(|end| format!("{}{}", end.out, end.err)).collect();
    match codes.as_slice() {
        [0, 3] => {}
        // Who comes when the other is done already finds that version live: then neither began before the other had ended.
        [0, 0] => assert_no_overlap(shop, 4),
        _ => panic!("{codes:?} {said}"),
    }
    assert_eq!(shop.version("h1"), "1.1.0");
    let _ = shop.debark("alice", &["ledger", "verify"]).ends(0);
}

/// The newest entries of staging are one deployment after the other.
fn assert_no_overlap(shop: &Releases<'_>, entries: usize) {
    let last = ["history", "--env", "staging", "--json", "-n", &entries.to_string()];
    let history = shop.debark("alice", &last).ends(0).out;
    let kinds: Vec<String> = history
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["finished", "started"].repeat(entries / 2), "{history}");
}

/// A deployer and the line at which it is.
fn until(shop: &Releases<'_>, who: &str, args: &[&str], line: &str) -> (Child, String) {
    let mut command = shop.command(who, args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    loop {
        let mut text = String::new();
        assert!(out.read_line(&mut text).unwrap() > 0, "it ended before {line:?}: {said}");
        said.push_str(&text);
        if text.contains(line) {
            break;
        }
    }
    child.stdout = Some(out.into_inner());
    (child, said)
}

fn signal(child: &Child, signal: Signal) {
    // ip-netns runs the program in its own place: the number is debark's.
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

/// `kill -9` while a host installs: the next command finishes the work.
pub fn killed_and_resumed(shop: &Releases<'_>) {
    let args = ["deploy", "shop@1.2.0", "--to", "staging", "--json", "--lease", "5s"];
    let (mut child, _) = until(shop, "alice", &args, "\"installing shop 1.2.0\"");
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    let state = shop.debark("alice", &["status", "--env", "staging", "--recorded"]).ends(0);
    assert!(state.out.contains("deploy shop 1.2.0"), "{}", state.out);
    resumed(shop, &["deploy", "--resume", "--to", "staging"]);
    assert_eq!(shop.version("h1"), "1.2.0");
    assert_eq!(shop.dpkg("h1"), "install ok installed 1.2.0");
    let _ = shop.debark("alice", &["status", "--env", "staging"]).ends(0);
}

/// Until the lease is over the answer is no; nobody has to unlock anything.
fn resumed(shop: &Releases<'_>, args: &[&str]) {
    for _ in 0..60 {
        let end = shop.debark("bob", args);
        if end.code != 3 {
            let _ = end.ends(0);
            return;
        }
        let _ = end.says("refused (lease)");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    panic!("the lease of 5 s is not over after 30 s");
}

/// It sleeps longer than its lease, another one goes on, and it wakes up: hosts do not obey it.
pub fn asleep_beyond_its_lease(shop: &Releases<'_>) {
    let args = ["deploy", "shop@1.3.0", "--to", "staging", "--json", "--lease", "5s"];
    let (mut child, _) = until(shop, "alice", &args, "\"event\":\"wave\"");
    signal(&child, Signal::STOP);
    resumed(shop, &["deploy", "--abort", "--to", "staging"]);
    assert_eq!(shop.version("h1"), "1.2.0");
    signal(&child, Signal::CONT);
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(3), "{rest}");
    assert_eq!(shop.version("h1"), "1.2.0", "nothing is written after that");
    the_host_refuses(shop, &order_of(shop, "1.3.0"));
    assert_eq!(shop.dpkg("h1"), "install ok installed 1.2.0");
    let _ = shop.debark("alice", &["ledger", "verify"]).ends(0);
}

/// It is stopped in the middle of an installation: the host works on, others wait for that and not for its leave, and what it says when
/// it wakes up changes nothing. Once while somebody else deploys, once while somebody else aborts and its ssh is asleep as well.
pub fn asleep_in_mid_installation(shop: &Releases<'_>) {
    let script = "#!/bin/sh\nset -e\n[ ! -e /root/wait ] || : >/root/waits\nwhile [ -e /root/wait ]; do sleep 0.05; done\n";
    std::fs::write(shop.dir.join("packaging/postinst"), script).unwrap();
    shop.edit(
        "      units: [packaging/shop.service]\n",
        "      units: [packaging/shop.service]\n      scripts: {postinst: packaging/postinst}\n",
    );
    for version in ["1.4.0", "1.5.0", "1.6.0"] {
        shop.publish(version, true);
    }
    sleeper(shop, "1.4.0", &["deploy", "shop@1.5.0", "--to", "staging", "--json"], false);
    sleeper(shop, "1.6.0", &["deploy", "--abort", "--to", "staging", "--json"], true);
    let _ = shop.debark("alice", &["ledger", "verify", "--anew"]).ends(0);
}

/// Afterwards 1.5.0 is live.
fn sleeper(shop: &Releases<'_>, version: &str, others: &[&str], with_ssh: bool) {
    let _ = shop.on("h1", "rm -f /root/waits; touch /root/wait").ends(0);
    let what = format!("shop@{version}");
    let args = ["deploy", &what, "--to", "staging", "--json", "--lease", "5s"];
    let (mut child, _) = until(shop, "alice", &args, &format!("\"installing shop {version}\""));
    let within = "for n in $(seq 600); do [ -e /root/waits ] && exit 0; sleep 0.1; done; exit 1";
    let _ = shop.on("h1", within).ends(0);
    signal(&child, Signal::STOP);
    let ssh = if with_ssh { debark_e2e::children(child.id()) } else { Vec::new() };
    let ssh: Vec<Pid> = ssh.into_iter().map(|pid| Pid::from_raw(pid).unwrap()).collect();
    assert!(!with_ssh || !ssh.is_empty(), "it speaks with a host");
    ssh.iter().for_each(|pid| kill_process(*pid, Signal::STOP).unwrap());
    let refused = shop.debark("bob", others).ends(3);
    let _ = refused.says("lease");
    // It was renewed at the latest when it was stopped.
    std::thread::sleep(std::time::Duration::from_secs(6));
    let (mut other, _) = until(shop, "bob", others, "waits for order");
    assert!(shop.dpkg("h1").contains("half-configured"), "{}", shop.dpkg("h1"));
    let _ = shop.on("h1", "rm /root/wait").ends(0);
    let mut rest = String::new();
    other.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(other.wait().unwrap().code(), Some(0), "{rest}");
    assert_eq!(shop.version("h1"), "1.5.0");
    let touched = "cat /var/log/dpkg.log /var/lib/debark/gate/journal.jsonl /var/lib/debark/gate/state.json | md5sum; systemctl show -P MainPID shop.service";
    let before = shop.on("h1", touched).ends(0).out;
    let entries = || shop.debark("bob", &["history", "--env", "staging", "--json"]).ends(0).out;
    let recorded = entries();

    ssh.iter().for_each(|pid| kill_process(*pid, Signal::CONT).unwrap());
    signal(&child, Signal::CONT);
    rest.clear();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{rest}");
    assert_eq!(shop.on("h1", touched).ends(0).out, before, "nothing is written after that: {rest}");
    assert_eq!(entries(), recorded);
    assert_eq!(shop.dpkg("h1"), "install ok installed 1.5.0");
    the_host_refuses(shop, &order_of(shop, version));
    let _ = shop.debark("alice", &["status", "--env", "staging"]).ends(0);
}

/// The order of the last deployment of a version, as it is on record.
fn order_of(shop: &Releases<'_>, version: &str) -> SealedOrder {
    let history = shop.debark("alice", &["history", "--env", "staging", "--json"]).ends(0).out;
    let entries = history.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let entry = entries.into_iter().find(|entry| entry["action"] == "deploy" && entry["version"] == version);
    let sequence = entry.unwrap()["sequence"].to_string();
    let shown = shop.debark("alice", &["show", &sequence, "--env", "staging", "--json"]).ends(0).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    serde_json::from_value(shown["order"].clone()).unwrap()
}

/// Whatever a deployer believes: a host that has heard of a later order does not obey an earlier one.
fn the_host_refuses(shop: &Releases<'_>, order: &SealedOrder) {
    let root = shop.lab.host("h1").unwrap().rootfs_path().join("root");
    let mut request = Vec::new();
    frame::write(&mut request, &Request::Prepare { order: order.clone() }).unwrap();
    std::fs::write(root.join("ask"), request).unwrap();
    let _ = shop.on("h1", &format!("{PROGRAM} serve </root/ask >/root/answer")).ends(0);
    let mut answer = BufReader::new(std::fs::File::open(root.join("answer")).unwrap());
    let hello: Option<Reply> = frame::read(&mut answer).unwrap();
    assert!(matches!(hello, Some(Reply::Hello { .. })), "{hello:?}");
    match frame::read::<Reply>(&mut answer).unwrap() {
        Some(Reply::Failed(failure)) => assert_eq!(failure.kind, FailureKind::Replayed, "{failure:?}"),
        other => panic!("{other:?}"),
    }
}

/// Within the budget it does not hold up the others; it is behind, and is brought up to date.
pub fn one_dead_host(shop: &Releases<'_>) {
    let host = shop.lab.host("h3").unwrap();
    host.network_down().unwrap();
    let end = shop.debark("alice", &["promote", "shop", "--to", "prod"]).ends(0);
    let _ = end.says("shop 1.2.0 is live in prod on 1 of 2 hosts").says("1 behind: h3");
    let status = shop.debark("alice", &["status", "--env", "prod"]).ends(4);
    assert!(status.out.contains("unreachable"), "{}", status.out);
    host.network_up().unwrap();
    let _ = shop.debark("alice", &["status", "--env", "prod"]).ends(2).says("behind");
    let _ = shop.debark("alice", &["deploy", "--resume", "--to", "prod"]).ends(0);
    assert_eq!([shop.version("h2"), shop.version("h3")], ["1.2.0", "1.2.0"]);
    let _ = shop.debark("alice", &["status", "--env", "prod"]).ends(0);
}
