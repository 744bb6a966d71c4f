//! The JSON Schema of playbooks, by a validator that is not ours: every playbook of this repository is valid, and what debark
//! refuses to read is not.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use debark_e2e::{debark_program, peers, workspace};

/// What the validator says of each file.
fn validate(what: &str, files: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let dir = tempfile::tempdir().unwrap();
    let schema = dir.path().join("schema.json");
    let printed = Command::new(debark_program()).args(["schema", what]).output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    std::fs::write(&schema, printed.stdout).unwrap();
    let mut command = Command::new(peers().join("python"));
    command.arg(workspace().join("tests/tests/schema/validate.py")).arg(schema).args(files);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| line.split_once('\t').unwrap());
    lines.map(|(file, said)| (file.into(), said.to_owned())).collect()
}

fn yaml_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yml") {
            found.push(path);
        }
    }
}

/// All playbooks, and all files of tasks and handlers.
fn repository() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut all = Vec::new();
    for dir in ["playbooks", "tests/tests/compat"] {
        yaml_below(&workspace().join(dir), &mut all);
    }
    all.sort();
    let starts = |path: &Path, words: &[&str]| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().any(|line| words.iter().any(|word| line.starts_with(word)))
    };
    let playbooks =
        all.iter().filter(|path| starts(path, &["- hosts:", "  hosts:", "- import_playbook:"])).cloned();
    let in_role = |path: &&PathBuf| {
        let dir = path.parent().and_then(Path::file_name);
        dir.is_some_and(|dir| dir == "tasks" || dir == "handlers")
    };
    (playbooks.collect(), all.iter().filter(in_role).cloned().collect())
}

/// The word that the validator did not expect.
fn unexpected(said: &str) -> Option<&str> {
    said.strip_suffix("' was unexpected)")?.rsplit_once('\'').map(|(_, word)| word)
}

fn is_module(word: &str) -> bool {
    Command::new(debark_program()).args(["modules", word]).output().unwrap().status.success()
}

#[test]
fn playbooks_of_this_repository_are_valid() {
    let (playbooks, tasks) = repository();
    assert!(playbooks.len() > 12 && tasks.len() > 6, "{playbooks:#?} {tasks:#?}");
    for (what, files) in [("playbook", playbooks), ("tasks", tasks)] {
        let mut wrong = validate(what, &files);
        // A module that debark does not have is no fault of the schema.
        wrong.retain(|(_, said)| said != "ok" && unexpected(said).is_none_or(is_module));
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// What is valid, in one playbook each.
const RIGHT: &[&str] = &[
    "- import_playbook: other.yml",
    "- hosts: all\n  tasks:\n  - ansible.builtin.apt: name=nginx state=present\n    when: [a, b is defined]",
    "- hosts: [a, b]\n  become: '{{ x }}'\n  serial: [1, '30%']\n  roles: [x, {role: y, port: 80, tags: [t]}]",
    "- hosts: all\n  vars: {s: !vault text}\n  handlers:\n  - {name: h, listen: [a], debug: {msg: hi}}",
    "- hosts: all\n  tasks:\n  - block:\n    - ping:\n    rescue:\n    - {fail: {msg: x}}\n    when: yes",
    "- hosts: all\n  tasks:\n  - {file: {path: /x, mode: 0644, state: '{{ s }}'}, with_items: [1]}",
    "- hosts: all\n  tasks:\n  - {action: ping, loop: [1], loop_control: {label: x}, until: a.b, retries: 3}",
];

/// What is not, with what the message names.
const WRONG: &[(&str, &str)] = &[
    ("- hosts: all\n  taks: []", "taks"),
    ("- hosts: all\n  tasks:\n  - {ping: , whne: x}", "whne"),
    ("- hosts: all\n  tasks:\n  - {pign: }", "pign"),
    ("- hosts: all\n  tasks:\n  - {apt: {nmae: x}}", "nmae"),
    ("- hosts: all\n  tasks:\n  - {apt: {name: x, state: gone}}", "gone"),
    ("- hosts: all\n  tasks:\n  - {apt: {name: x, update_cache: 3}}", "3"),
    ("- hosts: all\n  gather_facts: perhaps", "perhaps"),
    ("- hosts: all\n  tasks:\n  - {ping: , loop_control: {lable: x}}", "lable"),
    ("- hosts: all\n  tasks:\n  - {block: [{ping: , serial: 1}]}", "serial"),
    ("- hosts: all\n  handlers:\n  - {ping: , listne: x}", "listne"),
    ("- hosts: all\n  tasks: {ping: }", "ping"),
    ("hosts: all", "hosts"),
];

#[test]
fn the_schema_refuses_what_debark_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let write = |(number, text): (usize, &str)| {
        let path = dir.path().join(format!("{number}.yml"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let right: Vec<PathBuf> = RIGHT.iter().copied().enumerate().map(write).collect();
    for ((_, said), text) in validate("playbook", &right).iter().zip(RIGHT) {
        assert_eq!(said, "ok", "{text}");
    }
    let wrong: Vec<PathBuf> = WRONG.iter().map(|(text, _)| *text).enumerate().map(write).collect();
    for ((path, said), (text, word)) in validate("playbook", &wrong).iter().zip(WRONG) {
        assert!(said != "ok" && said.contains(word), "{text}: {said}");
        let debark = Command::new(debark_program())
            .args(["run", "--syntax-check", "-i", "h,"])
            .arg(path)
            .output()
            .unwrap();
        assert_eq!(debark.status.code(), Some(1), "{text}: {debark:?}");
    }
}
