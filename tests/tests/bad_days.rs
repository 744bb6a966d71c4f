//! Bad days: what hosts, networks and people do to a run, on real lab hosts.
//!
//! All steps share one lab of two hosts. What goes wrong goes wrong on h1, and h2 goes on. Each step leaves the hosts as
//! it found them; one that fails does not keep the others from being tried.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "bad_days/disks.rs"]
mod disks;
#[path = "bad_days/handlers.rs"]
mod handlers;
#[path = "bad_days/packages.rs"]
mod packages;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use debark_e2e::{Run, debark, lab, run_steps_of};
use debark_lab::{Host, Lab};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// No word of any file or program.
const SECRET: &str = "qX7-left-luggage";
/// The head of a play; tasks follow, indented by four.
const TASKS: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n";

struct Site<'a> {
    lab: &'a Lab,
    dir: PathBuf,
}

impl Site<'_> {
    fn bad(&self) -> Host<'_> {
        self.lab.host("h1").unwrap()
    }

    fn good(&self) -> Host<'_> {
        self.lab.host("h2").unwrap()
    }

    fn command(&self, playbook: &str, flags: &[&str]) -> Command {
        let write = |name: &str, text: &str| {
            let path = self.dir.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let mut command = debark(self.lab, &self.dir);
        command.arg("run").arg("-i").arg(write("hosts", &self.lab.inventory(&[]).unwrap())).args(flags);
        command.arg(write("site.yml", playbook));
        command
    }

    fn run(&self, playbook: &str, flags: &[&str]) -> Run {
        let run = Run::of(&mut self.command(playbook, flags));
        assert!(run.noise.is_empty(), "{}", run.said());
        run
    }

    /// A run in the background, as `Run::of` reads it.
    fn start(&self, playbook: &str, flags: &[&str]) -> Background {
        let mut command = self.command(playbook, flags);
        command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
        Background(command.spawn().unwrap())
    }
}

struct Background(Child);

impl Background {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.0.id().cast_signed()).unwrap(), signal).unwrap();
    }

    fn end(self) -> Run {
        Run::read(self.0.wait_with_output().unwrap())
    }
}

/// The result of a task on a host, as in the event.
#[track_caller]
fn task(run: &Run, host: &str, name: &str) -> Value {
    let found = run.events.iter().find(|e| e["event"] == "task" && e["host"] == host && e["task"] == name);
    found.cloned().unwrap_or_else(|| panic!("{host} has no task {name}: {}", run.said()))
}

/// What a failed task says: message and hint.
#[track_caller]
fn failure(run: &Run, host: &str, name: &str) -> String {
    assert_eq!(run.status.code(), Some(2), "{}", run.said());
    let task = task(run, host, name);
    assert_eq!(task["status"], "failed", "{task}");
    format!(
        "{} | {}",
        task["message"].as_str().unwrap_or_default(),
        task["hint"].as_str().unwrap_or_default()
    )
}

fn warnings(run: &Run, host: &str) -> String {
    let all = run.events.iter().filter(|event| event["event"] == "warning" && event["host"] == host);
    all.filter_map(|event| event["message"].as_str()).collect::<Vec<_>>().join("\n")
}

/// The play went to its end on the other host.
#[track_caller]
fn others_go_on(run: &Run, last: &str) {
    let status = task(run, "h2", last)["status"].clone();
    assert!(status == "ok" || status == "changed", "{status}: {}", run.said());
    assert_eq!(run.recap("h2", "failed"), Some(0), "{}", run.said());
}

#[track_caller]
fn succeeds(run: &Run) {
    assert!(run.status.success(), "{}", run.said());
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[track_caller]
fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Kills the agent itself, not what it runs.
fn kill_agent(host: &Host<'_>) {
    host.sh("kill -9 $(pgrep -f debark-agent\\|/agent- | head -n 1)").unwrap();
}

fn a_unit_that_fails_to_start(site: &Site<'_>) {
    let unit = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo cannot bind to port 80; exit 3'\n";
    site.bad()
        .sh(&format!("cat > /etc/systemd/system/web.service <<'E'\n{unit}E\nsystemctl daemon-reload"))
        .unwrap();
    let good = unit.replace("exit 3", "exit 0");
    site.good()
        .sh(&format!("cat > /etc/systemd/system/web.service <<'E'\n{good}E\nsystemctl daemon-reload"))
        .unwrap();
    let run = site.run(&format!("{TASKS}    - {{name: web, systemd: {{name: web, state: started}}}}\n"), &[]);
    let said = failure(&run, "h1", "web");
    says(&said, &["web", "its last journal lines", "cannot bind to port 80"]);
    let lines = task(&run, "h1", "web")["result"]["journal"].to_string();
    says(&lines, &["cannot bind to port 80"]);
    others_go_on(&run, "web");
    for host in [site.bad(), site.good()] {
        host.sh("rm /etc/systemd/system/web.service; systemctl daemon-reload; systemctl reset-failed")
            .unwrap();
    }
}

fn one_fails_and_another_is_away(site: &Site<'_>) {
    let mut command = site.command(&format!("{TASKS}    - {{name: no, command: /bin/false}}\n"), &[]);
    let inventory = site.lab.inventory(&[]).unwrap().replacen("h1 ", "h1 ansible_port=9 ", 1);
    fs::write(site.dir.join("hosts"), inventory).unwrap();
    let run = Run::of(&mut command);
    assert_eq!(run.status.code(), Some(6), "{}", run.said());
}

fn sudo_that_asks_for_a_password(site: &Site<'_>) {
    let host = site.bad();
    host.sh("usermod -p '*' plain").unwrap();
    let inventory = site.lab.inventory(&[]).unwrap();
    let inventory: String = inventory
        .lines()
        .map(|line| if line.starts_with("h1 ") { line.replace("ansible_user=root", "ansible_user=plain") } else { line.to_owned() } + "\n")
        .collect();
    let mut command = site.command(&format!("{TASKS}    - {{name: who, command: id -un}}\n"), &["-b"]);
    fs::write(site.dir.join("hosts"), inventory).unwrap();
    let run = Run::of(&mut command);
    let said: String =
        run.events.iter().filter(|event| event["host"] == "h1").map(Value::to_string).collect();
    says(&said, &["cannot become root: a password is required", "-K", "ansible_become_password"]);
    assert!(matches!(run.status.code(), Some(2 | 4)), "{}", run.said());
    others_go_on(&run, "who");
}

fn a_file_that_someone_else_changes_meanwhile(site: &Site<'_>) {
    for host in [site.bad(), site.good()] {
        host.sh("echo old > /root/conf").unwrap();
    }
    // Between looking at the file and replacing it, the task's own `validate` plays the other administrator.
    site.bad()
        .sh("printf '#!/bin/sh\\necho theirs > /root/conf\\n' > /root/check; chmod 755 /root/check")
        .unwrap();
    site.good().sh("printf '#!/bin/sh\\n' > /root/check; chmod 755 /root/check").unwrap();
    let copy = "    - {name: write, copy: {content: new, dest: /root/conf, validate: /root/check %s}}\n";
    let run = site.run(&format!("{TASKS}{copy}"), &[]);
    says(&failure(&run, "h1", "write"), &["/root/conf was changed by someone else", "run again"]);
    assert_eq!(site.bad().sh("cat /root/conf; ls -A /root | grep debark || :").unwrap(), "theirs\n");
    others_go_on(&run, "write");
    assert_eq!(site.good().sh("cat /root/conf").unwrap(), "new");
    for host in [site.bad(), site.good()] {
        host.sh("rm /root/conf /root/check").unwrap();
    }
}

fn the_journal_says_who_and_has_no_secrets(site: &Site<'_>) {
    let host = site.bad();
    host.sh("rm -f /var/lib/debark/journal.jsonl").unwrap();
    let vault = site.dir.join("password");
    fs::write(&vault, "open sesame\n").unwrap();
    let tasks = "    - {name: 'write {{ key }}', copy: {content: '{{ key }}', dest: /root/key, mode: '0600'}, no_log: true}\n    \
        - {name: 'tell {{ key }}', shell: 'echo {{ key }} >&2; exit 3', no_log: true}\n";
    let run = site.run(&format!("{TASKS}{tasks}"), &["-e", &format!("key={SECRET}")]);
    assert_eq!(run.status.code(), Some(2), "{}", run.said());
    let journal =
        host.sh("cat /var/lib/debark/journal.jsonl; stat -c '%a %U' /var/lib/debark/journal.jsonl").unwrap();
    assert!(!journal.contains(SECRET), "{journal}");
    let lines: Vec<&str> = journal.lines().collect();
    let [first, second, mode] = lines[..] else { panic!("{journal}") };
    assert_eq!(mode, "600 root");
    let (first, second): (Value, Value) =
        (serde_json::from_str(first).unwrap(), serde_json::from_str(second).unwrap());
    assert_eq!((&first["status"], &second["status"]), (&"changed".into(), &"failed".into()));
    assert_eq!((&first["action"], &first["host"]), (&"copy".into(), &"h1".into()));
    says(first["place"].as_str().unwrap(), &["site.yml:4"]);
    says(first["actor"].as_str().unwrap(), &["@"]);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(first["time"].as_u64().unwrap().abs_diff(now) < 600, "{first}");
    assert!(first["run"].as_str().is_some_and(|run| !run.is_empty()), "{first}");
    for host in [site.bad(), site.good()] {
        host.sh("rm -f /root/key").unwrap();
    }
}

fn a_command_that_prints_a_gigabyte(site: &Site<'_>) {
    let tasks = "    - {name: flood, shell: 'yes debark | head -c 1000000000', register: out, when: inventory_hostname == 'h1'}\n    \
        - {name: size, debug: {msg: '{{ out.stdout | length }}'}, when: inventory_hostname == 'h1'}\n    \
        - {name: memory, shell: \"awk '/VmHWM/ {print $2}' /proc/$PPID/status\"}\n";
    let run = site.run(&format!("{TASKS}{tasks}"), &[]);
    succeeds(&run);
    others_go_on(&run, "memory");
    assert_eq!(warnings(&run, "h2"), "");
    says(&warnings(&run, "h1"), &["flood: ", "the first 8 MiB are there", "946 MiB are lost"]);
    says(&task(&run, "h1", "size")["message"].to_string(), &["8388608"]);
    let kilobytes: u64 = task(&run, "h1", "memory")["result"]["stdout"].as_str().unwrap().parse().unwrap();
    assert!(kilobytes < 300_000, "the agent took {kilobytes} kB");
}

#[test]
fn bad_days() {
    let lab = lab("days", 2, &[]);
    for host in lab.hosts().unwrap() {
        host.sh(packages::ARCHIVE).unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, dir: home.path().to_owned() };
    type Step = (&'static str, fn(&Site<'_>));
    let steps: &[Step] = &[
        ("apt is locked", packages::apt_is_locked),
        ("a unit that fails to start", a_unit_that_fails_to_start),
        ("a connection that drops while apt works", packages::a_connection_that_drops_while_apt_works),
        ("an agent that is killed while apt works", packages::an_agent_that_is_killed_while_apt_works),
        ("an interrupted dpkg is repaired", packages::an_interrupted_dpkg_is_repaired),
        ("disks that are full or read-only", disks::disks_that_are_full_or_read_only),
        ("a root that is read-only", disks::a_root_that_is_read_only),
        ("a disk that fills up under dpkg", packages::a_disk_that_fills_up_under_dpkg),
        ("no room for notes", disks::no_room_for_notes),
        ("files reach the disk before their names", disks::files_reach_the_disk_before_their_names),
        ("a host that others wait for", handlers::a_host_that_others_wait_for),
        ("one fails and another is away", one_fails_and_another_is_away),
        ("sudo that asks for a password", sudo_that_asks_for_a_password),
        ("a file that someone else changes meanwhile", a_file_that_someone_else_changes_meanwhile),
        ("a controller that is killed", handlers::a_controller_that_is_killed),
        ("a network that goes down", handlers::a_network_that_goes_down),
        ("an agent that is killed", handlers::an_agent_that_is_killed),
        ("handlers after a failure", handlers::handlers_after_a_failure),
        ("Ctrl-C once", handlers::ctrl_c_once),
        ("Ctrl-C twice", handlers::ctrl_c_twice),
        ("the journal says who and has no secrets", the_journal_says_who_and_has_no_secrets),
        ("a command that prints a gigabyte", a_command_that_prints_a_gigabyte),
    ];
    let only = std::env::var("DEBARK_ONLY").unwrap_or_default();
    run_steps_of(&site, steps, &only);
}
