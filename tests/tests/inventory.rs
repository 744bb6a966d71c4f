//! `debark inventory` and the hosts of patterns, against ansible-core's own `ansible-inventory` and `ansible --list-hosts`
//! on the inventories of `tests/inventory/`. Contacts nobody.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use debark_e2e::{debark_program, peers, workspace};
use serde_json::Value;

/// Each with what `-i` is given.
const SOURCES: &[&[&str]] = &[
    &["ini/hosts"],
    &["yaml/hosts.yml"],
    &["script/inv"],
    &["script/inv2"],
    &["dir"],
    &["web1,web2,"],
    // Later sources win.
    &["ini/hosts", "yaml/hosts.yml", "script/inv"],
];

fn inventories() -> PathBuf {
    workspace().join("tests/tests/inventory")
}

fn output(program: &Path, first: &[&str], sources: &[&str], words: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.current_dir(inventories()).args(first);
    for source in sources {
        command.args(["-i", source]);
    }
    // Nobody's own configuration has a say.
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("ansible.cfg"), "[defaults]\n").unwrap();
    command.env("HOME", home.path()).env("ANSIBLE_HOME", home.path());
    command.env("ANSIBLE_CONFIG", home.path().join("ansible.cfg")).env("LC_ALL", "C.UTF-8");
    command.args(words).output().unwrap()
}

fn ansible(program: &str, sources: &[&str], words: &[&str]) -> Output {
    static PEERS: OnceLock<PathBuf> = OnceLock::new();
    output(&PEERS.get_or_init(peers).join(program), &[], sources, words)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Both texts, debark's first.
fn both(sources: &[&str], words: &[&str]) -> (String, String) {
    let ours = text(&output(&debark_program(), &["inventory"], sources, words));
    (ours, text(&ansible("ansible-inventory", sources, words)))
}

#[test]
fn lists_are_those_of_ansible() {
    for sources in SOURCES {
        let (ours, theirs) = both(sources, &["--list"]);
        let ours: Value = serde_json::from_str(&ours).unwrap();
        let mut theirs: Value = serde_json::from_str(&theirs).unwrap();
        // New in ansible-core 2.19, and about its own serializer.
        theirs["_meta"].as_object_mut().unwrap().shift_remove("profile");
        // As text: the order counts.
        assert_eq!(format!("{ours:#}"), format!("{theirs:#}"), "{sources:?}");
    }
}

#[test]
fn graphs_are_those_of_ansible() {
    for sources in SOURCES {
        let (ours, theirs) = both(sources, &["--graph", "--vars"]);
        // Values have no tuples: a tuple is a list.
        assert_eq!(ours, theirs.replace("(1, 2)", "[1, 2]"), "{sources:?}");
    }
    let (ours, theirs) = both(&["ini/hosts"], &["--graph", "site"]);
    assert_eq!(ours, theirs);
}

#[test]
fn hosts_have_the_variables_that_ansible_sees() {
    for (source, host) in [
        ("ini/hosts", "web-a"),
        ("ini/hosts", "alias"),
        ("ini/hosts", "2001:db8::1"),
        ("yaml/hosts.yml", "w01.x"),
        ("script/inv2", "s3"),
        ("dir", "s1"),
        ("dir", "web-a"),
        ("ini/hosts", "localhost"),
    ] {
        let (ours, theirs) = both(&[source], &["--host", host]);
        let ours: Value = serde_json::from_str(&ours).unwrap();
        let mut theirs: Value = serde_json::from_str(&theirs).unwrap();
        // There is no Python to name.
        theirs.as_object_mut().unwrap().shift_remove("ansible_python_interpreter");
        assert_eq!(ours, theirs, "{source} {host}");
    }
    for words in [["--host", "nosuch"], ["--graph", "nosuch"]] {
        let ours = output(&debark_program(), &["inventory"], &["ini/hosts"], &words);
        assert_eq!(ours.status.code(), Some(1), "{words:?}");
        assert!(!ansible("ansible-inventory", &["ini/hosts"], &words).status.success(), "{words:?}");
    }
}

/// Patterns, and limits if any.
const PATTERNS: &[(&str, Option<&str>)] = &[
    ("all", None),
    ("web:&site:!web-b", None),
    ("!web:!db", None),
    ("~(web|db)-.*", None),
    ("all:&web*.example.org,db[0:5]", None),
    ("db:web[-1],10.0.0.*", None),
    ("web[1:]", None),
    ("2001:db8::1", None),
    ("web-b,web-a,late", None),
    ("web-[ab]:web-?", None),
    ("nosuch", None),
    ("localhost", None),
    ("site", Some("@limit")),
    ("site", Some("web:!~web-[ab]")),
];

#[test]
fn patterns_mean_the_hosts_that_they_mean_to_ansible() {
    for (pattern, limit) in PATTERNS {
        let mut words = vec![*pattern, "--list-hosts"];
        words.extend(limit.iter().flat_map(|limit| ["--limit", *limit]));
        let ours = output(&debark_program(), &["exec"], &["ini/hosts"], &words);
        let theirs = ansible("ansible", &["ini/hosts"], &words);
        assert_eq!(text(&ours), text(&theirs), "{pattern} {limit:?}");
    }
}
