//! How hosts are reached, play by play and task by task: users, `connection`, hosts that are not there, and an inventory
//! that changes while the run goes on.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use debark_e2e::{Run, debark, lab};
use debark_lab::Lab;

const USERS: &str = "
- hosts: h1
  gather_facts: false
  remote_user: root
  tasks:
    - user: {name: deploy, shell: /bin/bash}
    - file: {path: /home/deploy/.ssh, state: directory, owner: deploy, mode: '0700'}
    - copy:
        src: /root/.ssh/authorized_keys
        dest: /home/deploy/.ssh/authorized_keys
        remote_src: true
        owner: deploy
        mode: '0600'
    - command: whoami
      remote_user: deploy
      register: as_deploy
    - command: hostname
      connection: local
      register: here
    - command: hostname
      register: there
    - set_fact: {kept: over}
- hosts: h1
  gather_facts: false
  remote_user: deploy
  tasks:
    - command: whoami
      register: me
    - assert:
        that:
          - me.stdout == 'deploy'
          - as_deploy.stdout == 'deploy'
          - here.stdout != there.stdout
          - kept == 'over'
    - command: whoami
      remote_user: root
      register: as_root
    - assert: {that: as_root.stdout == 'root'}
- hosts: h1
  gather_facts: false
  connection: local
  remote_user: nobody
  tasks:
    - command: hostname
      register: local
    - assert: {that: local.stdout == here.stdout}
";

const MISSING: &str = "
- hosts: all
  gather_facts: false
  ignore_unreachable: true
  tasks:
    - command: hostname
- hosts: all:!dead
  gather_facts: false
  tasks:
    - command: hostname
";

/// Of `dead` all that needs it is unreachable; the rest goes on, until a task does not ignore it.
const ONE_BY_ONE: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - command: hostname
      register: name
      ignore_unreachable: true
    - copy: {content: x, dest: /root/of-dead-host}
      become: true
      ignore_unreachable: true
      when: inventory_hostname == 'dead'
    - set_fact: {answers: '{{ name.unreachable is not defined }}'}
    - assert: {that: \"answers == (inventory_hostname == 'h1')\"}
    - command: hostname
      delegate_to: h1
      register: other
      when: not answers
    - assert: {that: answers or other.stdout == 'h1'}
    - meta: end_host
      when: not answers
    - command: hostname
- hosts: all
  gather_facts: false
  tasks:
    - command: hostname
      ignore_unreachable: '{{ inventory_hostname == \"nobody\" }}'
- hosts: all
  gather_facts: false
  tasks:
    - assert: {that: inventory_hostname == 'h1'}
";

const LATER: &str = "
- hosts: h1
  gather_facts: false
  tasks:
    - add_host: {name: made, groups: added}
    - copy: {src: more, dest: '{{ inventory_file }}'}
      delegate_to: localhost
    - meta: refresh_inventory
    - assert: {that: \"groups.all | sort == ['h1', 'h2', 'made']\"}
- hosts: late
  gather_facts: false
  tasks:
    - command: hostname
      register: r
    - assert: {that: [\"r.stdout == 'h2'\", \"colour == 'red'\", \"groups.added == ['made']\"]}
";

fn run(lab: &Lab, dir: &Path, inventory: &str, playbook: &str) -> Run {
    fs::write(dir.join("hosts"), inventory).unwrap();
    fs::write(dir.join("site.yml"), playbook).unwrap();
    Run::of(debark(lab, dir).args(["run", "-i", "hosts", "site.yml"]))
}

#[test]
fn hosts_are_reached_as_plays_and_tasks_say() {
    let lab = lab("ways", 2, &[]);
    let home = tempfile::Builder::new().prefix("debark-ways-").tempdir().unwrap();
    let dir = home.path();
    let inventory = lab.inventory(&[]).unwrap();
    let line = |host: &str| inventory.lines().find(|line| line.starts_with(&format!("{host} "))).unwrap();
    let common = inventory.split_once("[all:vars]").map_or("", |(_, vars)| vars);
    let common: String = common.lines().take_while(|line| !line.starts_with('[')).fold(
        "[all:vars]\n".to_owned(),
        |text, line| {
            if line.starts_with("ansible_user") { text } else { text + line + "\n" }
        },
    );
    let user_left_open = |line: &str| {
        let words = line.split_whitespace().filter(|word| !word.starts_with("ansible_user="));
        words.collect::<Vec<_>>().join(" ")
    };

    let hosts = format!("{}\n{common}", user_left_open(line("h1")));
    let users = run(&lab, dir, &hosts, USERS);
    assert!(users.status.success(), "{}", users.said());

    let dead = format!("{}\ndead {} ansible_port=9\n{common}ansible_user=root\n", line("h1"), {
        let words: Vec<&str> = line("h1").split_whitespace().skip(1).collect();
        words.join(" ")
    });
    let missing = run(&lab, dir, &dead, MISSING);
    assert!(missing.status.success(), "{}", missing.said());
    let ran = missing.events.iter().filter(|event| event["event"] == "task" && event["host"] == "h1").count();
    assert_eq!(ran, 2, "{}", missing.said());

    let marker = Path::new("/root/of-dead-host");
    assert!(!marker.exists());
    let one_by_one = run(&lab, dir, &dead, ONE_BY_ONE);
    assert_eq!(one_by_one.status.code(), Some(4), "{}", one_by_one.said());
    assert!(!marker.exists(), "what dead was to get was written where debark runs");
    let of_dead = |status: &str| {
        let events = one_by_one.events.iter();
        events.filter(|event| event["host"] == "dead" && event["status"] == status).count()
    };
    assert_eq!(
        (of_dead("ignored"), of_dead("unreachable"), of_dead("failed")),
        (2, 1, 0),
        "{}",
        one_by_one.said()
    );

    let (one, both) = (line("h1"), format!("{}\n{}", line("h1"), line("h2")));
    fs::create_dir_all(dir.join("files")).unwrap();
    fs::write(dir.join("files/more"), format!("{both}\n[late]\nh2 colour=red\n{common}ansible_user=root\n"))
        .unwrap();
    let later = run(&lab, dir, &format!("{one}\n[late]\n{common}ansible_user=root\n"), LATER);
    assert!(later.status.success(), "{}", later.said());
}
