//! Hosts that go away within a play and come back: the play goes on where it was, with all that it knew.
//!
//! All steps share one lab and run one after the other; the last one leaves a host switched off.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;

use debark_e2e::{Run, debark, lab};
use debark_lab::Lab;
use serde_json::Value;

struct Site<'a> {
    lab: &'a Lab,
    dir: PathBuf,
}

impl Site<'_> {
    fn run(&self, playbook: &str, flags: &[&str]) -> Run {
        fs::write(self.dir.join("hosts"), self.lab.inventory(&[]).unwrap()).unwrap();
        fs::write(self.dir.join("site.yml"), playbook).unwrap();
        let mut command = debark(self.lab, &self.dir);
        command.args(["run", "-i", "hosts", "-v"]).args(flags).arg("site.yml");
        Run::of(&mut command)
    }

    fn boots(&self, host: &str) -> u32 {
        self.lab.host(host).unwrap().boots()
    }
}

#[track_caller]
fn task(run: &Run, host: &str, name: &str) -> Value {
    let of = |event: &&Value| event["event"] == "task" && event["host"] == host && event["task"] == name;
    let mut found = run.events.iter().filter(of);
    let event = found.next().unwrap_or_else(|| panic!("{name} on {host}: {}", run.said())).clone();
    assert!(found.next().is_none(), "{name} on {host} is told twice: {}", run.said());
    event
}

#[track_caller]
fn succeeds(run: &Run) {
    let bad: Vec<_> =
        run.events.iter().filter(|e| e["event"] == "unreachable" || e["status"] == "failed").collect();
    assert!(run.status.success(), "{bad:?} {}", run.said());
}

/// Registers, facts, an include in a loop, a notified handler and a rescue around it: all is as before, and the other
/// host has waited before its change.
fn the_play_goes_on_after_the_boot(site: &Site<'_>) {
    fs::write(
        site.dir.join("boot.yml"),
        "- {name: boot, reboot: {reboot_timeout: 90, test_command: 'test -d /run/systemd'}, register: booted,\n   \
           when: inventory_hostname == 'h1'}\n\
         - {name: 'inside {{ round }}', debug: {msg: '{{ booted.rebooted | default(false) }}!'}}\n",
    )
    .unwrap();
    let playbook = "
- hosts: all
  handlers:
    - {name: handled, shell: 'echo handled >> /root/log'}
  tasks:
    - {name: clean, file: {path: /root/log, state: absent}}
    - {name: before, command: cat /proc/sys/kernel/random/boot_id, register: one}
    - {name: set, set_fact: {mine: '{{ inventory_hostname }}!'}}
    - {name: notify, shell: 'echo before >> /root/log', notify: handled}
    - name: around
      block:
        - {include_tasks: boot.yml, loop: [1], loop_control: {loop_var: round}}
        - {name: fails, command: 'false'}
      rescue:
        - {name: rescued, debug: {msg: '{{ ansible_failed_task.name }}'}}
    - {name: after, command: cat /proc/sys/kernel/random/boot_id, register: two}
    - {name: change, command: 'true'}
    - name: known
      debug:
        msg: '{{ one.stdout == two.stdout }} {{ mine }} {{ ansible_facts.hostname }}'
- hosts: all
  gather_facts: false
  tasks:
    - {name: later, debug: {msg: '{{ mine }} {{ ansible_facts.hostname }} {{ two.rc }}'}}
";
    let boots = (site.boots("h1"), site.boots("h2"));
    let run = site.run(playbook, &[]);
    succeeds(&run);
    assert_eq!((site.boots("h1"), site.boots("h2")), (boots.0 + 1, boots.1));
    let boot = task(&run, "h1", "boot");
    assert_eq!((&boot["status"], &boot["result"]["rebooted"]), (&"changed".into(), &true.into()));
    assert!(boot["result"]["elapsed"].as_i64().is_some_and(|seconds| seconds < 90), "{boot}");
    assert_eq!(task(&run, "h2", "boot")["status"], "skipped");
    assert_eq!(task(&run, "h1", "inside 1")["message"], "True!");
    assert_eq!(task(&run, "h1", "rescued")["message"], "fails");
    assert_eq!(task(&run, "h1", "known")["message"], "False h1! h1");
    assert_eq!(task(&run, "h2", "known")["message"], "True h2! h2");
    assert_eq!(task(&run, "h1", "later")["message"], "h1! h1 0");
    let host = site.lab.host("h1").unwrap();
    assert_eq!(host.sh("cat /root/log").unwrap(), "before\nhandled\n");
    // Linear: what changes something on h2 after the task waits until h1 has booted.
    let place = |host: &str, name: &str| {
        run.events.iter().position(|e| e["event"] == "task" && e["host"] == host && e["task"] == name)
    };
    assert!(place("h1", "boot") < place("h2", "change"), "{}", run.said());
}

fn a_loop_boots_once_per_item_and_batches_follow_one_another(site: &Site<'_>) {
    let playbook = "
- hosts: all
  serial: 1
  gather_facts: false
  tasks:
    - {name: boot, reboot: {reboot_timeout: 90}, loop: [1, 2], register: booted}
    - {name: count, debug: {msg: '{{ booted.results | length }} {{ booted.results | map(attribute=\"item\") | join }}'}}
";
    let boots = (site.boots("h1"), site.boots("h2"));
    let run = site.run(playbook, &[]);
    succeeds(&run);
    assert_eq!((site.boots("h1"), site.boots("h2")), (boots.0 + 2, boots.1 + 2));
    assert_eq!(task(&run, "h2", "count")["message"], "2 12");
}

fn check_mode_boots_nothing(site: &Site<'_>) {
    let boots = site.boots("h1");
    let playbook = "
- hosts: h1
  gather_facts: false
  tasks:
    - {name: boot, reboot: , register: booted}
    - {meta: reset_connection}
    - {name: seen, debug: {msg: '{{ booted.rebooted }}'}}
";
    let run = site.run(playbook, &["--check"]);
    succeeds(&run);
    assert_eq!(task(&run, "h1", "boot")["status"], "changed");
    assert_eq!(site.boots("h1"), boots);
}

/// A boot that a command set off, a connection that is made anew, and hosts that do not answer yet.
fn connections_come_back(site: &Site<'_>) {
    let playbook = "
- hosts: h1
  gather_facts: false
  tasks:
    - {name: agent, shell: echo $PPID, register: one}
    - {meta: reset_connection}
    - {name: other, shell: echo $PPID, register: two}
    - {name: differ, debug: {msg: '{{ one.stdout != two.stdout }}!'}}
    - {name: before, command: cat /proc/sys/kernel/random/boot_id, register: three}
    - {name: off, shell: '(sleep 1; systemctl reboot) >/dev/null 2>&1 &'}
    - {name: wait, wait_for_connection: {delay: 30, timeout: 90}, register: waited}
    - {name: after, command: cat /proc/sys/kernel/random/boot_id, register: four}
    - {name: booted, debug: {msg: '{{ three.stdout != four.stdout }} {{ waited.elapsed < 90 }}'}}
";
    let run = site.run(playbook, &[]);
    succeeds(&run);
    assert_eq!(task(&run, "h1", "differ")["message"], "True!");
    assert_eq!(task(&run, "h1", "booted")["message"], "True True");
    let host = site.lab.host("h2").unwrap();
    host.sh("(sleep 0.1; systemctl reboot) >/dev/null 2>&1 &").unwrap();
    let playbook = "
- hosts: h2
  gather_facts: false
  tasks:
    - {name: wait, wait_for_connection: {timeout: 90}}
    - {name: there, command: 'true'}
";
    std::thread::sleep(std::time::Duration::from_millis(500));
    let run = site.run(playbook, &[]);
    succeeds(&run);
    assert_eq!(task(&run, "h2", "there")["status"], "changed");
}

fn a_host_that_stays_away_is_unreachable(site: &Site<'_>) {
    let playbook = "
- hosts: h1
  gather_facts: false
  tasks:
    - {name: boot, reboot: {reboot_command: systemctl poweroff, reboot_timeout: 10}}
    - {name: never, command: 'true'}
";
    let run = site.run(playbook, &[]);
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    let lost = run.events.iter().find(|event| event["event"] == "unreachable").unwrap();
    let message = lost["message"].as_str().unwrap();
    assert!(message.contains("h1 did not come back within"), "{message}");
    assert!(!run.events.iter().any(|event| event["task"] == "never"), "{}", run.said());
}

/// Two hosts take turns: who has booted lets the other one begin.
fn hosts_boot_one_after_the_other(site: &Site<'_>) {
    let (one, two) = (site.boots("h1"), site.boots("h2"));
    let run = site.run(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: boot, reboot: {reboot_timeout: 90}, throttle: 1}\n    \
         - {name: after, command: 'true'}\n",
        &[],
    );
    succeeds(&run);
    assert_eq!((site.boots("h1"), site.boots("h2")), (one + 1, two + 1));
    assert_eq!(task(&run, "h2", "after")["status"], "changed");
}

const DROPS: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {set_fact: {known: before}}\n    - name: drops\n      \
    shell: 'IFS=; STOP pkill -KILL -f [@]notty; sleep 1; touch /root/went_on'\n      ignore_unreachable: true\n      \
    when: inventory_hostname == 'h1'\n      register: dropped\n      notify: handled\n    \
    - {name: told, debug: {msg: '{{ known }} {{ dropped.unreachable | default(false) }}'}}\n    \
    - {name: after, command: 'test -e /root/went_on', ignore_unreachable: MAYBE, when: inventory_hostname == 'h1'}\n    \
    - block: [{name: last, command: 'true'}]\n      rescue: [{name: rescued, debug: {msg: no}}]\n  handlers:\n    - {name: handled, command: touch /root/handled}\n";

/// The connection is lost in a task that ignores that: the play goes on over a new one, as in Ansible.
fn a_lost_connection_is_ignored(site: &Site<'_>) {
    let run = site.run(&DROPS.replace("STOP ", "").replace("MAYBE", "false"), &[]);
    succeeds(&run);
    assert_eq!(task(&run, "h1", "drops")["status"], "ignored", "{}", run.said());
    assert_eq!(task(&run, "h1", "told")["message"], "before True");
    assert_eq!(task(&run, "h2", "told")["message"], "before False");
    assert_eq!(task(&run, "h1", "after")["status"], "changed");
    assert_eq!(task(&run, "h1", "last")["status"], "changed");
    assert!(run.said().contains("h1: the connection was lost"), "{}", run.said());
    // What ran ended by itself, and what it notified is not forgotten.
    site.lab.host("h1").unwrap().sh("rm /root/went_on /root/handled").unwrap();
}

/// It does not come back: tasks that ignore that go by, the first other one is the end for this host.
fn a_lost_host_is_ignored_where_tasks_say_so(site: &Site<'_>) {
    let run = site
        .run(&DROPS.replace("STOP", "systemctl stop ssh.socket ssh.service;").replace("MAYBE", "true"), &[]);
    site.lab.host("h1").unwrap().sh("systemctl start ssh; rm -f /root/went_on").unwrap();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    assert_eq!(task(&run, "h1", "told")["message"], "before True");
    assert_eq!(task(&run, "h1", "after")["status"], "ignored");
    assert_eq!(task(&run, "h1", "last")["status"], "unreachable");
    assert!(!run.events.iter().any(|event| event["task"] == "rescued"), "{}", run.said());
    assert_eq!(task(&run, "h2", "last")["status"], "changed");
}

#[test]
fn hosts_reboot_within_a_play() {
    let lab = lab("reboot", 2, &[]);
    let dir = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, dir: dir.path().to_owned() };
    a_lost_connection_is_ignored(&site);
    a_lost_host_is_ignored_where_tasks_say_so(&site);
    hosts_boot_one_after_the_other(&site);
    the_play_goes_on_after_the_boot(&site);
    a_loop_boots_once_per_item_and_batches_follow_one_another(&site);
    check_mode_boots_nothing(&site);
    connections_come_back(&site);
    a_host_that_stays_away_is_unreachable(&site);
}
