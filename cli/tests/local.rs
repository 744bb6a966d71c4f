//! Playbooks on the machine itself (`connection: local`): ways of writing that published roles have.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

fn run(dir: &Path, files: &[(&str, &str)]) -> String {
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_debark"))
        .args(["run", "-i", "localhost,", "site.yml"])
        .current_dir(dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn a_role_reads_variables_by_a_fact_that_nothing_else_mentions() {
    let dir = tempfile::tempdir().unwrap();
    let text = run(
        dir.path(),
        &[
            ("site.yml", "- hosts: localhost\n  connection: local\n  roles: [web]\n"),
            (
                "roles/web/tasks/main.yml",
                "- include_vars: \"{{ ansible_facts.os_family }}.yml\"\n\
                 - debug: {msg: \"{{ web_package }}\"}\n  when: ansible_facts['os_family'] == 'Debian'\n\
                 - yum: {name: httpd}\n  when: ansible_facts.os_family == 'RedHat'\n",
            ),
            ("roles/web/vars/Debian.yml", "web_package: apache2\n"),
        ],
    );
    assert!(text.contains("ok localhost: apache2"), "{text}");
    assert!(text.contains("skipped 1"), "{text}");
}
