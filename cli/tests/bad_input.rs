//! Bad input: what is wrong is said with its place and what to do, quickly, before anybody is contacted.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The head of a play without facts; tasks follow, indented by four.
const TASKS: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n";

/// A project directory with a playbook `site.yml`.
struct Project(tempfile::TempDir);

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            project.write(name, text.as_bytes());
        }
        project
    }

    /// A playbook of these tasks.
    fn tasks(text: &str) -> Self {
        Self::new(&[("site.yml", &format!("{TASKS}{text}"))])
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.write(name, text.as_bytes());
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_debark"));
        command.args(words).current_dir(self.0.path()).env("NO_COLOR", "1").env("HOME", self.0.path());
        command.env("XDG_CACHE_HOME", self.0.path()).env("DEBARK_STATE_DIR", self.0.path().join("state"));
        command
            .env_remove("ANSIBLE_CONFIG")
            .env_remove("ANSIBLE_INVENTORY")
            .stdin(std::process::Stdio::null());
        command
    }

    /// What a run of `site.yml` on this machine says that ends with this exit code; temporary paths cut short.
    #[track_caller]
    fn run(&self, code: i32, flags: &[&str]) -> String {
        let words = [&["run", "-i", "localhost,", "site.yml"], flags].concat();
        self.said(code, self.command(&words))
    }

    #[track_caller]
    fn said(&self, code: i32, mut command: Command) -> String {
        let started = Instant::now();
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{text}");
        // However bad the input, nobody waits for the answer. Far above what a busy machine needs.
        assert!(started.elapsed() < Duration::from_secs(120), "{:?}: {text}", started.elapsed());
        text.replace(&format!("{}/", self.0.path().canonicalize().unwrap().display()), "")
    }

    /// What is said about a playbook that is refused before anybody is contacted.
    #[track_caller]
    fn refused(&self) -> String {
        let syntax = self.run(1, &["--syntax-check"]);
        assert_eq!(self.run(1, &[]), syntax);
        syntax
    }

    /// The message and hint of the one task that fails on a run.
    #[track_caller]
    fn fails(&self) -> String {
        let text = self.run(2, &[]);
        let lines = text.lines().skip_while(|line| !line.trim_start().starts_with("failed localhost"));
        let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).map(str::trim).collect();
        lines.join("\n")
    }
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn site(text: &str) -> Project {
    Project::new(&[("site.yml", text)])
}

#[test]
fn a_tab() {
    insta::assert_snapshot!(site("- hosts: all\n\ttasks: []\n").refused());
}

#[test]
fn bad_indentation() {
    insta::assert_snapshot!(site("- hosts: all\n  tasks:\n    - ping:\n   - ping:\n").refused());
}

#[test]
fn duplicate_keys_are_warned_of_and_the_last_counts() {
    let project =
        site("- hosts: all\n  gather_facts: false\n  tasks: []\n  tasks:\n    - debug: msg=the-last\n");
    insta::assert_snapshot!(project.run(0, &["--syntax-check"]));
    says(&project.run(0, &[]), &["the-last"]);
}

#[test]
fn a_nul_byte() {
    insta::assert_snapshot!(Project::tasks("    - debug: msg=a\0b\n").refused());
}

#[test]
fn a_byte_that_is_not_utf_8() {
    let project = Project::new(&[]);
    project.write("site.yml", b"- hosts: all\n  tasks:\n    - debug: msg=caf\xe9 au lait\n");
    insta::assert_snapshot!(project.refused());
}

#[test]
fn a_bomb_of_aliases() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for n in 1..10 {
        let alias = format!("*a{}", n - 1);
        text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![alias; 9].join(",")));
    }
    insta::assert_snapshot!(site(&text).refused());
}

/// Runs it within this much address space, so that what would exhaust memory fails instead.
fn within(megabytes: u32, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit -v {}; exec \"$@\"", u64::from(megabytes) << 10)).arg("sh");
    limited.arg(command.get_program()).args(command.get_args());
    limited.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.stdin(std::process::Stdio::null());
    limited
}

#[test]
fn a_hundred_megabytes() {
    let project = Project::new(&[]);
    let mut file = fs::File::create(project.0.path().join("site.yml")).unwrap();
    let block = "- hosts: all\n  tasks: [{ping: }]\n".repeat(1 << 15);
    while file.metadata().unwrap().len() < 100 << 20 {
        file.write_all(block.as_bytes()).unwrap();
    }
    let command = project.command(&["run", "-i", "localhost,", "site.yml"]);
    let said = project.said(1, within(300, &command));
    insta::assert_snapshot!(said, @"error: site.yml is too large: 101 MiB, and 32 MiB is the most that is read");
}

#[test]
fn imports_that_never_end() {
    let project = Project::tasks("    - import_tasks: a.yml\n");
    project.write("a.yml", b"- import_tasks: b.yml\n");
    project.write("b.yml", b"- import_tasks: a.yml\n");
    insta::assert_snapshot!(project.refused());
}

#[test]
fn roles_that_need_each_other() {
    let project = site("- hosts: all\n  roles: [a]\n");
    project.write("roles/a/meta/main.yml", b"dependencies: [b]\n");
    project.write("roles/b/meta/main.yml", b"dependencies: [a]\n");
    insta::assert_snapshot!(project.refused());
}

#[test]
fn includes_that_never_end() {
    let project = Project::tasks("    - include_tasks: again.yml\n");
    project.write("again.yml", b"- include_tasks: again.yml\n");
    let text = project.run(2, &[]);
    // Said once, not once more for each of the includes around it.
    insta::assert_snapshot!(text.split("RECAP").next().unwrap());
    says(&text, &["localhost  ok 100  changed 0  failed 1"]);
}

#[test]
fn roles_that_include_themselves() {
    let project = Project::tasks("    - include_role: {name: r}\n");
    project.write("roles/r/tasks/main.yml", b"- include_role: {name: r}\n");
    insta::assert_snapshot!(project.run(2, &[]).split("RECAP").next().unwrap());
}

#[test]
fn a_failure_within_an_include_counts_once() {
    let project = Project::tasks("    - include_tasks: inner.yml\n      loop: [1, 2]\n");
    project.write("inner.yml", b"- {name: inner, command: /bin/false}\n");
    let text = project.run(2, &[]);
    insta::assert_snapshot!(text.split("RECAP").next().unwrap());
    says(&text, &["failed 1"]);
}

#[test]
fn variables_that_need_each_other() {
    let vars = "  vars: {a: '{{ b }}', b: '{{ a }}'}\n";
    let project = site(&format!(
        "{}    - debug: msg={{{{ a }}}}\n",
        TASKS.replace("  tasks", &format!("{vars}  tasks"))
    ));
    insta::assert_snapshot!(project.fails(), @"failed localhost: the parameter `msg` cannot be rendered: variables are defined by one another: a -> b -> a");
}

#[test]
fn templates_without_end() {
    let body = "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
    let inline = Project::tasks(&format!("    - debug:\n        msg: \"{body}\"\n"));
    insta::assert_snapshot!(inline.fails(), @"
    failed localhost: the parameter `msg` cannot be rendered: the template takes too long
    hint: look for a loop over too many items
    ");
    for (name, text) in [("t.j2", body), ("t.tera", &body.replace("range(", "range(end=").replace('x', ""))] {
        let project = Project::tasks(&format!("    - template: {{src: {name}, dest: out}}\n"));
        project.write(name, text.as_bytes());
        let said = project.fails();
        assert_eq!(
            said,
            format!(
                "failed localhost: {name}: the template takes too long\nhint: look for a loop over too many items"
            )
        );
        assert!(!project.0.path().join("out").exists());
    }
}

#[test]
fn templates_that_call_themselves_or_grow() {
    let deep =
        Project::tasks("    - debug:\n        msg: \"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}\"\n");
    says(&deep.fails(), &["`msg`", "nested too deeply"]);
    let large = Project::tasks("    - debug:\n        msg: \"{{ 'x' * 10000000000 }}\"\n");
    says(&large.fails(), &["`msg`", "larger than 64 MiB"]);
}

#[test]
fn loops_over_ten_million() {
    let long = |text: &str| Project::tasks(&format!("    - debug: msg=x\n{text}")).fails();
    insta::assert_snapshot!(long("      loop: '{{ range(10000000) }}'\n"), @"
    failed localhost: the loop: a range of 10000000 numbers is too long
    hint: the longest has 4000000
    ");
    says(&long("      loop: '{{ range(10000000) | list }}'\n"), &["the loop: a range of 10000000 numbers"]);
    says(&long("      with_sequence: start=1 end=10000000\n"), &["the loop: ", "larger than 64 MiB"]);
    says(
        &long("      loop: '{{ range(4000) | product(range(4000)) }}'\n"),
        &["the loop: ", "larger than 64 MiB"],
    );
    let long = "      with_nested: ['{{ range(4000) }}', '{{ range(4000) }}']\n";
    says(
        &Project::tasks(&format!("    - debug: msg=x\n{long}")).fails(),
        &["the loop: ", "larger than 64 MiB"],
    );
}

/// The inventory script with that body is refused; what is said.
#[track_caller]
fn script(body: &str) -> String {
    let project = Project::tasks("    - ping:\n");
    project.script("cloud", body);
    let mut command = project.command(&["run", "-i", "cloud", "site.yml"]);
    command.env("DEBARK_INVENTORY_TIMEOUT", "0.5");
    project.said(1, command)
}

#[test]
fn an_inventory_script_that_hangs() {
    insta::assert_snapshot!(script("#!/bin/sh\nsleep 1000 & sleep 1000\n"));
}

#[test]
fn inventory_scripts_that_print_rubbish() {
    insta::assert_snapshot!(script("#!/bin/sh\necho 'hello there {'\n"));
    insta::assert_snapshot!(script("#!/bin/sh\necho '[1, 2]'\n"));
    insta::assert_snapshot!(script("#!/bin/sh\nprintf 'caf\\351'\n"));
    insta::assert_snapshot!(script("#!/bin/sh\n"));
}

#[test]
fn inventory_scripts_that_fail() {
    insta::assert_snapshot!(script("#!/bin/sh\necho 'no cloud today' >&2\nexit 3\n"));
    insta::assert_snapshot!(script("#!/no/such/interpreter\n"));
}

#[test]
fn an_inventory_script_that_prints_a_gigabyte() {
    let project = Project::tasks("    - ping:\n");
    project.script("cloud", "#!/bin/sh\nhead -c 1000000000 /dev/zero\n");
    let command = project.command(&["run", "-i", "cloud", "site.yml"]);
    let said = project.said(1, within(800, &command));
    insta::assert_snapshot!(said, @"error: inventory script cloud printed more than 256 MiB and was stopped");
}

/// Each wrong in a way of its own.
const WRONG: &str = "    - pingg:
    - apt: {nmae: x}
    - apt: {name: x, state: presnt}
    - apt: {name: x, update_cache: maybe}
    - copy: {content: x}
    - copy: {content: x, src: site.yml, dest: /z}
    - debug: {msg: 'a {{ b | defalt(1) }}'}
    - debug: {msg: 'a {{ b'}
    - ping:
      wehn: y
    - copy: {src: gone.conf, dest: /z}
    - template: {src: gone.j2, dest: /z}
    - file: {path: /x, mode: rw}
    - include_tasks: gone.yml
    - command: /bin/true
      notify: restrat
  handlers:
    - {name: restart, ping: }
";

#[test]
fn many_mistakes_at_once_each_at_its_place() {
    insta::assert_snapshot!(Project::tasks(WRONG).refused());
}

#[test]
fn twenty_mistakes_are_shown_and_the_rest_counted() {
    let said = Project::tasks(&"    - pingg:\n".repeat(25)).refused();
    assert_eq!(said.matches("error: there is no module `pingg`").count(), 20, "{said}");
    assert!(said.ends_with("and 5 more\n"), "{said}");
}

#[test]
fn missing_files() {
    let said = Project::new(&[]).refused();
    insta::assert_snapshot!(said, @"error: cannot read site.yml: there is no such file");
    insta::assert_snapshot!(site("- hosts: all\n  vars_files: [gone.yml]\n  roles: [gone]\n").refused());
}

const GROUPS: &str = "[webservers]\nw1 ansible_connection=local\n[databases]\nd1 ansible_connection=local\n";

#[test]
fn undefined_groups_are_warned_of_at_their_place() {
    let project =
        site("- hosts: webservers:&databses\n  tasks: []\n- hosts: [w1, webservres]\n  tasks: []\n");
    project.write("hosts", GROUPS.as_bytes());
    let command = project.command(&["run", "-i", "hosts", "site.yml", "--syntax-check"]);
    insta::assert_snapshot!(project.said(0, command));
    // Once is enough.
    let run = project.said(0, project.command(&["run", "-i", "hosts", "site.yml"]));
    assert_eq!(run.matches("databses`").count(), 1, "{run}");
}

#[test]
fn groups_that_a_play_may_add_are_not_undefined() {
    let project = site("- hosts: w1\n  tasks: [{group_by: {key: fresh}}]\n- hosts: fresh\n  tasks: []\n");
    project.write("hosts", GROUPS.as_bytes());
    let command = project.command(&["run", "-i", "hosts", "site.yml", "--syntax-check"]);
    assert_eq!(project.said(0, command), "");
}

#[test]
fn a_limit_that_leaves_nobody() {
    let project = Project::tasks("    - ping:\n");
    project.write("hosts", GROUPS.as_bytes());
    let command = project.command(&["run", "-i", "hosts", "-l", "webservres", "site.yml"]);
    insta::assert_snapshot!(project.said(1, command), @r"
    error: `--limit webservres` leaves no hosts
     |
     = hint: did you mean `webservers`?
    ");
}

#[test]
fn inventories_that_are_neither_ini_nor_yaml() {
    let project = Project::tasks("    - ping:\n");
    project.write("hosts", b"[web\nw1\n");
    let said = project.said(1, project.command(&["run", "-i", "hosts", "site.yml"]));
    insta::assert_snapshot!(said);
    assert!(!Path::new(&project.0.path().join("state")).exists());
}
