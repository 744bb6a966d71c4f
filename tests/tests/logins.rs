//! Tasks with a login of their own: `remote_user`, `port`, and the variables above them, each through a further connection
//! to the same host, and what else tasks may say along with them. Delegated tasks: become, `timeout`, `async`.
//!
//! All steps share one lab; a step that fails does not keep the others from being tried.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use debark_e2e::{Run, debark, lab, run_steps};
use debark_lab::{Host, Lab};

/// ops becomes root by it, on both hosts; plain cannot at all.
const PASSWORD: &str = "0nly-f0r-0ps";

/// A step, and what it is about.
type Step = (&'static str, fn(&Site<'_>));

struct Site<'a> {
    lab: &'a Lab,
    dir: PathBuf,
}

impl Site<'_> {
    fn host(&self, name: &str) -> Host<'_> {
        self.lab.host(name).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The lab's inventory without users, with the host keys of this test.
    fn inventory(&self) -> String {
        let known = self.lab.path().join("known_hosts").display().to_string();
        let text = self.lab.inventory(&[]).unwrap().replace("ansible_user=root ", "");
        text.replace(&known, &self.dir.join("known_hosts").display().to_string())
    }

    fn run(&self, inventory: &str, playbook: &str, flags: &[&str]) -> Run {
        self.write("hosts", inventory);
        self.write("site.yml", playbook);
        let run =
            Run::of(debark(self.lab, &self.dir).args(["run", "-i", "hosts"]).args(flags).arg("site.yml"));
        assert!(run.noise.is_empty(), "{}", run.said());
        run
    }

    #[track_caller]
    fn well(&self, playbook: &str) -> Run {
        let run = self.run(&self.inventory(), playbook, &[]);
        assert!(run.status.success(), "{}", run.said());
        run
    }
}

fn prepare(site: &Site<'_>) {
    let mut known = fs::read_to_string(site.lab.path().join("known_hosts")).unwrap();
    let address = site.host("h1").address().to_string();
    let keys = site.host("h2").sh("cat /etc/ssh/ssh_host_*_key.pub").unwrap();
    // What listens at h1's other port should have h2's keys, and has not.
    keys.lines().for_each(|key| known += &format!("[{address}]:2224 {key}\n"));
    site.write("known_hosts", &known);
    for name in ["h1", "h2"] {
        site.host(name)
            .sh(&format!(
                "useradd -m -s /bin/bash ops && echo 'ops:{PASSWORD}' | chpasswd
                 install -d -o ops -m 700 /home/ops/.ssh
                 install -o ops -m 600 /root/.ssh/authorized_keys /home/ops/.ssh/authorized_keys
                 echo 'ops ALL=(ALL) ALL' > /etc/sudoers.d/ops
                 printf '#!/bin/sh\necho $(id -un) ${{SSH_CONNECTION##* }}\n' > /usr/local/bin/here-as
                 chmod 755 /usr/local/bin/here-as
                 printf 'Port 22\\nPort 2222\\nPort 2224\\n' > /etc/ssh/sshd_config.d/ports.conf && systemctl reload ssh"
            ))
            .unwrap();
    }
}

/// Keywords of every level, and variables above them.
const LEVELS: &str = "
- hosts: h1
  gather_facts: false
  remote_user: plain
  roles:
    - {role: look, remote_user: debian, port: 2222}
  tasks:
    - {command: here-as, register: own}
    - {command: here-as, remote_user: debian, register: by_task}
    - {command: here-as, port: 2222, register: by_port}
    - remote_user: debian
      port: 2222
      block:
        - {command: here-as, register: by_block}
        - {command: here-as, remote_user: root, register: within}
        - {command: here-as, remote_user: plain, port: 22, register: as_the_play}
    - {command: here-as, remote_user: '{{ item }}', loop: [debian, root], register: looped}
    - {command: here-as, remote_user: debian, register: by_variable, vars: {ansible_user: root, ansible_port: 2222}}
    - assert:
        that:
          - by_role.stdout == 'debian 2222'
          - own.stdout == 'plain 22'
          - by_task.stdout == 'debian 22'
          - by_port.stdout == 'plain 2222'
          - by_block.stdout == 'debian 2222'
          - within.stdout == 'root 2222'
          - as_the_play.stdout == 'plain 22'
          - looped.results | map(attribute='stdout') == ['debian 22', 'root 22']
          - by_variable.stdout == 'root 2222'
    - set_fact: {ansible_user: root}
    - {command: here-as, register: set}
    - {command: here-as, register: both, vars: {ansible_user: debian, ansible_port: 2222}}
    - {command: here-as, remote_user: debian, register: above}
    - assert:
        that:
          - set.stdout == 'root 22'
          - both.stdout == 'root 2222'
          - above.stdout == 'root 22'
- hosts: h1
  gather_facts: false
  remote_user: debian
  tasks:
    - {command: here-as, register: still}
    - assert: {that: still.stdout == 'root 22'}
- hosts: h1
  gather_facts: false
  vars: {ansible_user: '{{ who }}', who: debian}
  tasks:
    - {command: here-as, register: still}
    - assert: {that: still.stdout == 'root 22'}
";

fn each_level_says_how_its_tasks_log_in(site: &Site<'_>) {
    site.write("roles/look/tasks/main.yml", "- {command: here-as, register: by_role}\n");
    let host = site.host("h1");
    let since = host.sh("date '+%Y-%m-%d %H:%M:%S'").unwrap();
    site.well(LEVELS);
    let log = host.sh(&format!("journalctl -u ssh -o cat --since '{}'", since.trim())).unwrap();
    let logins = |user: &str| log.matches(&format!("Accepted publickey for {user} from")).count();
    // One per login and play. plain: of the play, port 2222, port 22 where the play leaves that to ssh; debian: both ports, and
    // of the plays that follow; root: both ports, and once in each of these.
    assert_eq!((logins("plain"), logins("debian"), logins("root")), (3, 3, 4), "{log}");
}

const VARIABLES_OF_PLAYS: &str = "
- hosts: h1
  gather_facts: false
  vars: {ansible_user: '{{ who }}', who: debian}
  tasks:
    - {command: here-as, register: me}
    - assert: {that: me.stdout == 'debian 22'}
- hosts: h1
  gather_facts: false
  remote_user: '{{ who }}'
  vars: {who: plain}
  tasks:
    - {command: here-as, register: me}
    - assert: {that: me.stdout == 'plain 22'}
    - {command: here-as, delegate_to: h2, register: there}
    - assert: {that: there.stdout == 'plain 22'}
";

fn variables_of_plays_count(site: &Site<'_>) {
    site.well(VARIABLES_OF_PLAYS);
}

/// What a login's task may do besides.
const WITHIN: &str = "
- hosts: h1
  gather_facts: false
  remote_user: plain
  tasks:
    - {name: as root, command: id -un, remote_user: debian, become: true, register: as_root}
    - {name: as nobody, command: id -un, remote_user: root, become: true, become_user: nobody, register: as_nobody}
    - {name: without it, command: id -un, remote_user: ops, become: true, ignore_errors: true, register: denied}
    - name: by password
      command: id -un
      remote_user: ops
      become: true
      vars: {ansible_become_password: PASSWORD}
      register: by_password
    - {name: too long, command: sleep 30, remote_user: debian, timeout: 1, ignore_errors: true, register: late}
    - {name: too long as root, command: sleep 30, remote_user: debian, become: true, timeout: 1, ignore_errors: true, register: later}
    - {name: awaited, command: id -un, remote_user: debian, async: 20, poll: 1, register: awaited}
    - {name: left, command: here-as, remote_user: debian, port: 2222, async: 20, poll: 0, register: job}
    - name: taken up
      async_status: {jid: '{{ job.ansible_job_id }}'}
      remote_user: debian
      register: taken
      until: taken.finished
      retries: 100
      delay: 0.2
    - {name: nowhere else, async_status: {jid: '{{ job.ansible_job_id }}'}, ignore_errors: true, register: elsewhere}
    - {name: a file, copy: {src: motd, dest: /root/by-login, mode: '0600'}, remote_user: root}
    - {name: a text, template: {src: t.j2, dest: /home/debian/by-login}, remote_user: debian}
    - {name: back here, fetch: {src: /root/by-login, dest: fetched/, flat: true}, remote_user: root}
    - {name: only looked at, file: {path: /root/by-login, state: absent}, remote_user: root, check_mode: true, register: looked}
    - {name: there still, stat: {path: /root/by-login}, remote_user: root, register: there}
    - {name: facts, getent: {database: shadow, key: root}, remote_user: root}
    - {name: hidden, command: echo not-for-anybody, remote_user: debian, no_log: true, register: hidden}
    - {name: environment, command: printenv COLOUR, remote_user: debian, environment: {COLOUR: red}, register: colour}
    - {name: handled, command: here-as, remote_user: debian, notify: told}
    - meta: reset_connection
    - {name: after that, command: here-as, remote_user: debian, register: after_that}
    - assert:
        that:
          - as_root.stdout == 'root'
          - as_nobody.stdout == 'nobody'
          - by_password.stdout == 'root'
          - denied.failed and 'password' in denied.msg
          - late.timedout.period == 1 and later.timedout.period == 1
          - awaited.stdout == 'debian'
          - taken.stdout == 'debian 2222'
          - elsewhere is failed
          - looked is changed
          - there.stat.exists
          - getent_shadow.root is defined
          - hidden.stdout == 'not-for-anybody'
          - colour.stdout == 'red'
          - after_that.stdout == 'debian 22'
  handlers:
    - {name: told, command: here-as, remote_user: root, register: told}
";

fn tasks_keep_what_else_they_say(site: &Site<'_>) {
    site.write("files/motd", "hello\n");
    site.write("templates/t.j2", "{{ inventory_hostname }} {{ as_root.stdout }}\n");
    let run = site.well(&WITHIN.replace("PASSWORD", PASSWORD));
    let all: String = run.events.iter().map(|event| event.to_string()).collect();
    assert!(!all.contains(PASSWORD) && !all.contains("not-for-anybody"), "{all}");
    let host = site.host("h1");
    assert_eq!(host.sh("cat /root/by-login /home/debian/by-login").unwrap(), "hello\nh1 root\n");
    assert_eq!(host.sh("stat -c %U /root/by-login /home/debian/by-login").unwrap(), "root\ndebian\n");
    assert_eq!(fs::read_to_string(site.dir.join("fetched/by-login")).unwrap(), "hello\n");
    assert!(run.names("changed").contains("told"), "{}", run.said());
    // A run that only checks, with what it would change.
    let check = "
- hosts: h1
  gather_facts: false
  remote_user: plain
  tasks:
    - {name: would, copy: {content: \"other\\n\", dest: /root/by-login}, remote_user: root}
    - {name: would not, copy: {content: \"hello\\n\", dest: /root/by-login}, remote_user: root, port: 2222}
    - {name: left out, command: touch /root/checked, remote_user: root}
";
    let run = site.run(&site.inventory(), check, &["--check", "--diff"]);
    assert!(run.status.success(), "{}", run.said());
    let would = run.events.iter().find(|event| event["event"] == "task" && event["task"] == "would");
    let diff = would.map(|event| event["diff"].to_string()).unwrap_or_default();
    assert!(diff.contains("hello") && diff.contains("other"), "{diff}");
    assert_eq!(run.recap("h1", "changed"), Some(1), "{}", run.said());
    assert_eq!(host.sh("cat /root/by-login; ls /root").unwrap(), "hello\nby-login\n");
}

const DELEGATED: &str = "
- hosts: h1
  gather_facts: false
  remote_user: debian
  tasks:
    - {command: sh -c 'id -un; hostname', delegate_to: h2, become: true, register: as_root}
    - {command: id -un, delegate_to: h2, remote_user: ops, become: true, register: by_password}
    - {command: id -un, delegate_to: h2, remote_user: plain, register: by_login}
    - {command: id -un, delegate_to: h2, vars: {ansible_user: ops}, register: by_variable}
    - {command: sleep 30, delegate_to: h2, timeout: 1, ignore_errors: true, register: late}
    - {command: sleep 30, delegate_to: h2, become: true, timeout: 1, ignore_errors: true, register: later}
    - {command: hostname, delegate_to: h2, async: 20, poll: 1, register: awaited}
    - {command: hostname, delegate_to: h2, become: true, async: 20, poll: 0, register: job}
    - async_status: {jid: '{{ job.ansible_job_id }}'}
      delegate_to: h2
      register: taken
      until: taken.finished
      retries: 100
      delay: 0.2
    - {file: {path: /root/delegated, state: touch}, delegate_to: h2, become: true, check_mode: true}
    - {stat: {path: /root/delegated}, delegate_to: h2, become: true, register: there}
    - assert:
        that:
          - as_root.stdout_lines == ['root', 'h2']
          - by_password.stdout == 'root'
          - by_login.stdout == 'plain'
          - by_variable.stdout == 'ops'
          - late.timedout.period == 1 and later.timedout.period == 1
          - awaited.stdout == 'h2'
          - taken.stdout == 'h2'
          - not there.stat.exists
";

/// The password with which ops becomes root on h2 is h2's, and no business of h1.
fn delegated_tasks_keep_what_else_they_say(site: &Site<'_>) {
    let inventory = site.inventory();
    let with = |line: &str| match line.starts_with("h2 ") {
        true => format!("{line} ansible_become_password={PASSWORD}\n"),
        false => format!("{line}\n"),
    };
    let inventory: String = inventory.lines().map(with).collect();
    let run = site.run(&inventory, DELEGATED, &[]);
    assert!(run.status.success(), "{}", run.said());
}

const LOST: &str = "
- hosts: h1
  gather_facts: false
  remote_user: plain
  tasks:
    - {command: here-as, remote_user: debian, port: 2223, ignore_unreachable: true, register: closed}
    - {command: here-as, remote_user: stranger, ignore_unreachable: true, register: stranger}
    - {command: here-as, remote_user: debian, port: 2224, ignore_unreachable: true, register: changed}
    - {command: here-as, delegate_to: h2, remote_user: debian, port: 2223, ignore_unreachable: true, register: there}
    - {command: here-as, remote_user: debian, register: good}
    - debug: {msg: '{{ closed.msg }} | {{ stranger.msg }} | {{ changed.msg }} | {{ there.msg }}'}
    - assert:
        that:
          - closed.unreachable and stranger.unreachable and changed.unreachable and there.unreachable
          - good.stdout == 'debian 22'
    - {command: here-as, remote_user: debian, port: 2223}
    - {command: here-as}
";

fn what_cannot_be_reached_is_told_with_the_login(site: &Site<'_>) {
    let run = site.run(&site.inventory(), LOST, &[]);
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    let debug = run.events.iter().find(|event| event["event"] == "task" && event["action"] == "debug");
    let said = debug.and_then(|event| event["message"].as_str()).unwrap_or_default().to_owned();
    let [h1, h2] = ["h1", "h2"].map(|name| site.host(name).address().to_string());
    for what in [
        format!("h1: debian@{h1}:2223"),
        format!("h1: stranger@{h1}"),
        format!("h1: the host key of debian@{h1}:2224 has changed"),
        format!("h2: debian@{h2}:2223"),
    ] {
        assert!(said.contains(&what), "{what}: {said}");
    }
    let last = run.events.iter().rev().find(|event| event["event"] == "task").unwrap();
    assert_eq!(last["status"], "unreachable", "{}", run.said());
}

const ROOT: &str = "
- hosts: h1
  gather_facts: false
  remote_user: root
  tasks:
    - {command: id -un, remote_user: plain, register: became}
    - {command: here-as, remote_user: plain, port: 2222, register: other_port}
    - {command: here-as, vars: {ansible_user: plain}, register: by_variable}
    - assert:
        that:
          - became.stdout == 'plain'
          - other_port.stdout == 'plain 2222'
          - by_variable.stdout == 'plain 22'
    - guard: 30
      ignore_errors: true
      block:
        - {name: guarded, file: {path: /root/guarded, state: touch}, vars: {ansible_port: 2222}}
";

fn root_needs_a_connection_for_other_ports_only(site: &Site<'_>) {
    let run = site.run(&site.inventory(), ROOT, &[]);
    let guarded = run.events.iter().find(|event| event["event"] == "task" && event["task"] == "guarded");
    let message = guarded.and_then(|event| event["message"].as_str()).unwrap_or_default().to_owned();
    assert!(message.contains("cannot be put back by the guard"), "{message} {}", run.said());
    assert!(site.host("h1").sh("test -e /root/guarded").is_err());
}

const REBOOT: &str = "
- hosts: h2
  gather_facts: false
  remote_user: plain
  tasks:
    - {command: here-as, remote_user: debian}
    - {reboot: {reboot_timeout: 90}, remote_user: root, register: booted}
    - {command: here-as, remote_user: debian, register: after}
    - assert: {that: [booted.rebooted, after.stdout == 'debian 22']}
";

fn who_may_reboot_is_logged_in_for_it(site: &Site<'_>) {
    let before = site.host("h2").boots();
    site.well(REBOOT);
    assert_eq!(site.host("h2").boots(), before + 1);
}

#[test]
fn tasks_have_logins_of_their_own() {
    let lab = lab("logins", 2, &[]);
    let home = tempfile::Builder::new().prefix("debark-logins-").tempdir().unwrap();
    let site = Site { lab: &lab, dir: Path::new(home.path()).to_owned() };
    prepare(&site);
    let steps: &[Step] = &[
        ("each level says how its tasks log in", each_level_says_how_its_tasks_log_in),
        ("variables of plays count", variables_of_plays_count),
        ("tasks keep what else they say", tasks_keep_what_else_they_say),
        ("delegated tasks keep what else they say", delegated_tasks_keep_what_else_they_say),
        ("what cannot be reached is told with the login", what_cannot_be_reached_is_told_with_the_login),
        ("root needs a connection for other ports only", root_needs_a_connection_for_other_ports_only),
        ("who may reboot is logged in for it", who_may_reboot_is_logged_in_for_it),
    ];
    run_steps(&site, steps);
}
