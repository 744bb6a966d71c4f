//! Templates by Tera, on the machine itself: what they see, what they say, and what of them stays secret.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

struct Project(tempfile::TempDir);

impl Project {
    /// A playbook of these tasks, and files beside it.
    fn new(tasks: &str, files: &[(&str, &str)]) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        let play = "- hosts: all\n  connection: local\n  gather_facts: false\n  vars: {name: web, ports: {z: 1, a: 2}, later: '{{ name }}!'}\n";
        project.write("site.yml", &format!("{play}  tasks:\n{tasks}"));
        for (name, text) in files {
            project.write(name, text);
        }
        project
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What a run with these flags prints, with its exit code.
    fn run(&self, flags: &[&str]) -> (i32, String) {
        let dir = self.0.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_debark"));
        command
            .args(["run", "-i", "localhost,", "site.yml"])
            .args(flags)
            .current_dir(dir)
            .env("NO_COLOR", "1");
        command.env("HOME", dir).env("XDG_CACHE_HOME", dir).env("DEBARK_STATE_DIR", dir.join("state"));
        let output = command.env_remove("ANSIBLE_CONFIG").output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    fn out(&self) -> String {
        fs::read_to_string(self.0.path().join("out")).unwrap()
    }
}

const TEMPLATE: &str = "    - template: {src: t.tera, dest: '{{ playbook_dir }}/out'}\n";

#[test]
fn variables_order_includes_and_lookups() {
    let lookup = "    - assert: {that: \"lookup('template', 'part.tera') == 'part of web!'\"}\n";
    let project = Project::new(
        &format!("{TEMPLATE}{lookup}"),
        &[
            (
                "t.tera",
                "{% extends \"base.tera\" %}{% block body %}{% for k, v in ports %}{{ k }}={{ v }} {% endfor %}{% include \"part.tera\" %}{% endblock %}",
            ),
            ("templates/base.tera", "# {{ ansible_managed }}\n{% block body %}{% endblock %}\n"),
            ("templates/part.tera", "part of {{ later }}"),
        ],
    );
    let (code, said) = project.run(&[]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(project.out(), "# Ansible managed\nz=1 a=2 part of web!\n");
    let (code, said) = project.run(&[]);
    assert!(code == 0 && said.contains("changed 0"), "{said}");
}

#[test]
fn mistakes_have_a_place() {
    let (code, said) = Project::new(TEMPLATE, &[("t.tera", "a\n{{ nmae }}\n")]).run(&[]);
    assert_ne!(code, 0);
    assert!(
        said.contains("t.tera:2:4: ") && said.contains("nmae") && said.contains("hint: define it"),
        "{said}"
    );
    let (_, said) = Project::new(TEMPLATE, &[("t.tera", "a\n{% if %}\n")]).run(&["--syntax-check"]);
    assert!(said.contains("t.tera:2:7"), "{said}");
    let (_, said) = Project::new(TEMPLATE, &[("t.tera", "{{ name | comment }}")]).run(&[]);
    assert!(said.contains("t.tera:1:") && said.contains("unknown filter `comment`"), "{said}");
}

#[test]
fn a_template_that_grows_in_memory_ends() {
    let grows =
        "{% set_global x = 'xxxxxxxx' %}{% for i in range(end=60) %}{% set_global x = x ~ x %}{% endfor %}";
    let project = Project::new(TEMPLATE, &[("t.tera", grows)]);
    let (code, said) = project.run(&[]);
    assert!(code != 0 && said.contains("t.tera: the template takes"), "{said}");
    assert!(!project.0.path().join("out").exists());
}

#[test]
fn what_check_mode_cannot_know_stays_open() {
    let tasks = format!("    - command: echo real\n      register: said\n{TEMPLATE}");
    let project = Project::new(&tasks, &[("t.tera", "{{ said.stdout }}")]);
    let (code, said) = project.run(&["--check"]);
    assert!(code == 0 && said.contains("decided at run time"), "{said}");
    assert_eq!(project.run(&[]).0, 0);
    assert_eq!(project.out(), "real");
}

#[test]
fn secrets_do_not_leak_by_errors_and_diffs() {
    let tasks = "    - set_fact: {pass: \"{{ lookup('password', 'pw length=24') }}\"}\n      no_log: true\n";
    let project = Project::new(
        &format!("{tasks}{TEMPLATE}"),
        &[("t.tera", "p={{ pass }}\n"), ("pw", "vErYs3cretWord0123456789\n")],
    );
    let (code, said) = project.run(&["--diff"]);
    assert!(code == 0 && !said.contains("vErYs3cret"), "{said}");
    assert_eq!(project.out(), "p=vErYs3cretWord0123456789\n");
    project.write("t.tera", "{{ throw(message=pass) }}");
    let (code, said) = project.run(&[]);
    assert!(code != 0 && said.contains("t.tera:1:") && !said.contains("vErYs3cret"), "{said}");
}
