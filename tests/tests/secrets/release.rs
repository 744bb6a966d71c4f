//! Canaries through a deployment: what its tasks use is in no record of it.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use debark_e2e::{Ended, Releases, lab};

use super::forms::Canaries;

/// Deploys with tasks that use a secret: one that goes well, and one that fails.
#[test]
fn deployments_tell_no_canary() {
    let lab = lab("secretrel", 2, &[]);
    let tasks = "  pre:\n    - name: drain with {{ canary }}\n      command: {cmd: cat, stdin: \"{{ canary }}\"}\n\
                 \x20   - name: drained\n      debug: {msg: \"{{ canary }} {{ canary | b64encode }}\"}\n  post:\n\
                 \x20   - name: undrain\n      fail: {msg: \"no {{ canary }}\"}\n      when: stays is defined\n\
                 notify:\n  - command: cat >> .debark/notices";
    let shop = Releases::new(&lab, tasks);
    let canaries = Canaries::new();
    fs::write(shop.home.join("pw"), "correct horse\n").unwrap();
    let mut found = Vec::new();
    let mut run = |args: &[&str]| {
        let mut command = shop.command("alice", args);
        let ended =
            Ended::of(&command.env("ANSIBLE_VAULT_PASSWORD_FILE", shop.home.join("pw")).output().unwrap());
        for text in [&ended.out, &ended.err] {
            found.extend(canaries.lines(text).iter().map(|line| format!("{args:?}: {line}")));
        }
        ended
    };
    let seal = |name: &str, plain: &str| {
        let mut command = shop.command("alice", &["vault", "encrypt", "--output", name, "-"]);
        command.env("ANSIBLE_VAULT_PASSWORD_FILE", shop.home.join("pw")).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    fs::create_dir(shop.dir.join("group_vars")).unwrap();
    let canary = serde_json::Value::from(canaries.text("vault"));
    seal("group_vars/all.yml", &format!("canary: {canary}\n"));
    shop.publish("1.0.0", true);
    let _ = run(&["enroll", "--env", "staging"]).ends(0);
    let _ = run(&["deploy", "shop", "--to", "staging", "--plan"]).ends(0);
    let _ = run(&["deploy", "shop", "--to", "staging", "--json", "--reason", "it is time"]).ends(0);
    // Now with a task that fails.
    seal("group_vars/all.yml", &format!("canary: {canary}\nstays: 1\n"));
    shop.publish("1.1.0", true);
    let failed = run(&["deploy", "shop", "--to", "staging"]);
    assert_ne!(failed.code, 0, "{}", failed.out);
    for args in [&["history"][..], &["status"], &["report", "--output", "out/report.html"]] {
        let _ = run(args);
    }
    let log = Command::new("git")
        .arg("--git-dir")
        .arg(shop.ledger())
        .args(["log", "--all", "-p"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert!(log.contains("it is time"), "{log}");
    found.extend(canaries.lines(&log));
    assert!(fs::read_to_string(shop.dir.join(".debark/notices")).unwrap().contains("1.0.0"));
    canaries.below(&shop.dir, &|_| false, &mut found);
    canaries.below(&shop.home, &|_| false, &mut found);
    assert!(found.is_empty(), "{found:#?}");
}
