//! `debark lab test` as a person uses it: real hosts, applied twice, verified, removed. Needs root, the packages of
//! `scripts/setup-lab`, and the agent of `scripts/build-agent`; without them it fails.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

struct Tested {
    code: Option<i32>,
    said: String,
}

/// Runs `debark lab test` on these files, and sees that it left no lab behind.
fn lab_test(files: &[(&str, &str)], words: &[&str]) -> Tested {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    // One file for both streams keeps their order.
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut child = debark(&["lab", "test"])
        .args(words)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    let labs = debark(&["lab", "list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&labs.stdout).contains(&format!("test-{}  ", child.id())), "{labs:?}");
    let said = std::fs::read_to_string(dir.path().join("log")).unwrap();
    Tested { code: status.code(), said }
}

fn debark(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_debark"));
    command.args(words).env("NO_COLOR", "1");
    command
}

/// Installs what no host has from the start.
const GREETING: &str = "
- hosts: web
  tasks:
    - {name: a package, apt: {name: tree, update_cache: true, cache_valid_time: 3600}}
    - name: a file
      copy: {content: 'hello {{ suite }}', dest: /etc/greeting}
      notify: told
  handlers:
    - {name: told, shell: echo told >> /root/told}
";

const GREETED: &str = "
- hosts: all
  tasks:
    - {name: it runs, command: tree --version, changed_when: false}
    - {name: once, command: cat /root/told, register: told, failed_when: told.stdout != 'told', changed_when: false}
    - {assert: {that: ansible_distribution_release == suite, quiet: true}}
";

#[test]
fn a_playbook_that_changes_nothing_the_second_time_passes_on_both_suites() {
    for suite in ["bookworm", "trixie"] {
        let release = format!("suite={suite}");
        let tested = lab_test(
            &[("site.yml", GREETING), ("verify.yml", GREETED)],
            &[
                "site.yml",
                "--verify",
                "verify.yml",
                "-n",
                "2",
                "-g",
                "web=h1,h2",
                "--suite",
                suite,
                "--",
                "-e",
                &release,
            ],
        );
        assert_eq!(tested.code, Some(0), "{}", tested.said);
        for step in ["apply", "apply again: nothing may change", "verify"] {
            assert!(tested.said.contains(&format!("== {step}: passed in ")), "{}", tested.said);
        }
    }
}

#[test]
fn a_playbook_that_changes_something_the_second_time_fails_and_names_it() {
    let site = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: fine, file: {path: /srv/x, state: directory}}
    - {name: stamps, copy: {content: '{{ lookup(\"pipe\", \"date +%s%N\") }}', dest: /srv/x/stamp}}
    - {name: once only, command: mkdir /srv/y}
";
    let verify = "- hosts: all\n  tasks: [{fail: }]\n";
    let tested =
        lab_test(&[("site.yml", site), ("verify.yml", verify)], &["site.yml", "--verify", "verify.yml"]);
    assert_eq!(tested.code, Some(2), "{}", tested.said);
    let (first, second) = tested.said.split_once("== apply again: nothing may change\n").unwrap();
    assert!(first.contains("== apply: passed"), "{first}");
    assert!(
        second.contains("  changed again on h1: stamps (site.yml:6)\n--- before: /srv/x/stamp"),
        "{second}"
    );
    assert!(second.contains("  failed the second time on h1: once only (site.yml:7): "), "{second}");
    assert!(second.contains("nothing may change: FAILED") && !second.contains("verify"), "{second}");
    assert!(!second.contains("fine"), "{second}");
}

#[test]
fn a_playbook_that_fails_is_not_applied_again_and_a_failing_verification_fails_the_test() {
    let fails = "- hosts: all\n  gather_facts: false\n  tasks: [{name: no, command: 'false'}]\n";
    let fine = "- hosts: all\n  gather_facts: false\n  tasks: [{name: yes, ping: }]\n";
    let files = [("fails.yml", fails), ("fine.yml", fine)];
    let tested = lab_test(&files, &["fails.yml"]);
    assert_eq!(tested.code, Some(2), "{}", tested.said);
    assert!(tested.said.contains("== apply: FAILED") && !tested.said.contains("again"), "{}", tested.said);
    let tested = lab_test(&files, &["fine.yml", "--verify", "fails.yml"]);
    assert_eq!(tested.code, Some(2), "{}", tested.said);
    assert!(
        tested.said.contains("may change: passed") && tested.said.contains("== verify: FAILED"),
        "{}",
        tested.said
    );
    // Nothing is booted for a file that is not there.
    let tested = lab_test(&files, &["no-such.yml"]);
    assert_eq!(tested.code, Some(1), "{}", tested.said);
    assert!(tested.said.contains("no-such.yml") && !tested.said.contains("up in"), "{}", tested.said);
}
