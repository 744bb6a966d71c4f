//! Changes that lock the controller out, under a guard: the host goes back by itself, whatever happens to the controller and
//! to the host meanwhile, and the run says so.
//!
//! All steps share one lab. h1 is locked out by sshd's settings, h2 by a firewall, h3 by its interface: the three at the same
//! time, as most of the time is waiting.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use debark_e2e::{Run, debark, lab, lab_options, workspace};
use debark_lab::{Lab, Options, Suite};

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

/// What is waited for comes within this, or never: many times of what it takes.
const NEVER: Duration = Duration::from_secs(300);

/// Each locks itself out in its own way, now and after a boot.
const LOCK_OUT: &str = "
- hosts: all
  gather_facts: false
  strategy: free
  handlers:
    - {name: reload ssh, service: {name: ssh, state: reloaded}}
  tasks:
    - name: lock out
      guard: {confirm_within: SECONDS}
      block:
        - name: another port
          copy:
            dest: /etc/ssh/sshd_config.d/port.conf
            content: |
              PasswordAuthentication yes
              Port 2222
          notify: reload ssh
          when: inventory_hostname == 'h1'
        - name: drop all
          copy:
            dest: /etc/nftables.conf
            content: |
              #!/usr/sbin/nft -f
              flush ruleset
              table inet lock {
                chain input {
                  type filter hook input priority 0; policy drop;
                }
              }
          when: inventory_hostname == 'h2'
        - name: at every boot
          systemd: {name: nftables, enabled: true, state: restarted}
          when: inventory_hostname == 'h2'
        - name: unplugged
          copy:
            dest: /etc/systemd/system/unplug.service
            content: |
              [Unit]
              DefaultDependencies=no
              Before=ssh.service
              [Service]
              Type=oneshot
              RemainAfterExit=yes
              ExecStart=/bin/sh -c 'ip link set dev eth0 down'
              [Install]
              WantedBy=multi-user.target
          when: inventory_hostname == 'h3'
        - name: at every boot, too
          systemd: {name: unplug, enabled: true, state: started, daemon_reload: true}
          when: inventory_hostname == 'h3'
";

struct Site<'a> {
    lab: &'a Lab,
    dir: PathBuf,
}

impl Site<'_> {
    fn command(&self, playbook: &str, flags: &[&str]) -> std::process::Command {
        fs::write(self.dir.join("hosts"), self.lab.inventory(&[]).unwrap()).unwrap();
        fs::write(self.dir.join("site.yml"), playbook).unwrap();
        let mut command = debark(self.lab, &self.dir);
        command.args(["run", "-i", "hosts"]).args(flags).arg("site.yml");
        command
    }

    fn run(&self, playbook: &str, flags: &[&str]) -> Run {
        Run::of(&mut self.command(playbook, flags))
    }

    fn start(&self, playbook: &str) -> Child {
        let mut command = self.command(playbook, &["--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn sh(&self, host: &str, script: &str) -> String {
        self.lab.host(host).unwrap().sh(script).unwrap()
    }

    /// All that the tasks here touch: files with owner, mode and content, what is enabled, rules, addresses.
    fn state(&self, host: &str) -> String {
        let script = "cd /etc
            find ssh systemd/system nftables.conf root/.ssh -printf '%p %y %m %u %g %l\\n' 2>/dev/null | sort
            find ssh systemd/system nftables.conf -type f -exec sha256sum {} + 2>/dev/null | sort
            nft list ruleset; ip -o -4 addr show | tr -s ' '; ip -4 route; cat /sys/class/net/eth0/flags
            systemctl is-active ssh nftables unplug; systemctl is-enabled nftables unplug 2>/dev/null; true";
        self.sh(host, script)
    }

    fn states(&self) -> Vec<String> {
        HOSTS.iter().map(|host| self.state(host)).collect()
    }

    /// Waits until a script succeeds on a host, entered without a network.
    #[track_caller]
    fn until(&self, host: &str, script: &str) {
        let begin = Instant::now();
        while self.lab.host(host).unwrap().sh(script).is_err() {
            assert!(begin.elapsed() < NEVER, "{host}: `{script}` does not come true:\n{}", self.told(host));
            sleep(Duration::from_millis(200));
        }
    }

    /// What the guards of a host said.
    fn told(&self, host: &str) -> String {
        let script = "journalctl --no-pager -o cat -u 'debark-guard-*' | tail -n 60; ls -lR /var/lib/debark/guard /var/lib/debark-guard;
            systemctl list-units --all --plain --no-legend 'debark-guard*'";
        let said = self.lab.host(host).unwrap().exec(&["sh", "-c", script]);
        said.map_or_else(|why| why.to_string(), |said| String::from_utf8_lossy(&said.stdout).into_owned())
    }

    /// Waits until a host can be reached as everybody reaches it.
    #[track_caller]
    fn reached(&self, host: &str) {
        let begin = Instant::now();
        while !self.lab.host(host).unwrap().ssh(&["true"]).output().unwrap().status.success() {
            assert!(begin.elapsed() < NEVER, "{host} is not back:\n{}", self.told(host));
            sleep(Duration::from_millis(200));
        }
    }

    /// Nothing of any guard is there, as soon as the last one's own process has ended.
    #[track_caller]
    fn clean(&self, host: &str) {
        let nothing = "! ls -d /var/lib/debark/guard/* /var/lib/debark-guard/* /etc/systemd/system/debark-guard* \
                       /etc/systemd/system/*.wants/debark-guard* 2>/dev/null | grep . && \
                       ! systemctl list-units --all --plain --no-legend 'debark-guard*' | grep .";
        self.until(host, nothing);
    }

    /// The hosts are as they were, and their guards are gone but for what they have to tell.
    #[track_caller]
    fn are_back(&self, before: &[String]) {
        self.are_as(before);
        for host in HOSTS {
            self.until(host, "! ls -d /var/lib/debark/guard/* /etc/systemd/system/*/debark-guard* /etc/systemd/system/debark-guard* 2>/dev/null | grep -q .");
        }
    }

    /// The hosts are as they were. What a guard that was killed while it cleaned up has left, the next one removes.
    #[track_caller]
    fn are_as(&self, before: &[String]) {
        for (host, before) in HOSTS.iter().zip(before) {
            self.until(host, r"! ls -d /var/lib/debark/guard/* | grep -qv '\.new$'");
            self.reached(host);
            let now = self.state(host);
            assert_eq!(&now, before, "{host}:\n{}", self.told(host));
        }
    }
}

/// Fails with what the guard says, and leaves no host unreachable.
#[track_caller]
fn says_so(run: &Run, seconds: u64) {
    let wanted = format!("not confirmed within {seconds} s: reverted on the host");
    for host in HOSTS {
        let told = run.events.iter().any(|event| {
            event["event"] == "task"
                && event["host"] == host
                && event["status"] == "failed"
                && event["message"] == wanted.as_str()
                && event["hint"].as_str().is_some_and(|hint| hint.ends_with("the host is back"))
        });
        assert!(told, "{host}: {}", run.said());
    }
    assert_eq!(run.status.code(), Some(2), "{}", run.said());
}

fn what_is_confirmed_stays(site: &Site<'_>) {
    let playbook = "
- hosts: all
  gather_facts: false
  handlers:
    - {name: reload ssh, service: {name: ssh, state: reloaded}}
  tasks:
    - name: no forwarding of X
      guard: 60s
      copy: {dest: /etc/ssh/sshd_config.d/x.conf, content: 'X11Forwarding no'}
      notify: reload ssh
    - {name: after it, copy: {dest: /root/after, content: x}}
";
    let before = site.states();
    let run = site.run(playbook, &["--check"]);
    assert!(run.status.success(), "{}", run.said());
    assert!(!run.events.iter().any(|event| event["event"] == "guarded"), "{}", run.said());
    assert_eq!(site.states(), before);

    let run = site.run(playbook, &[]);
    assert!(run.status.success(), "{}", run.said());
    for host in HOSTS {
        assert!(run.events.iter().any(|e| e["event"] == "guarded" && e["host"] == host), "{}", run.said());
        // Its handler ran under the guard, and what follows after it.
        let place = |name: &str| {
            run.events.iter().position(|e| e["event"] == "task" && e["host"] == host && e["task"] == name)
        };
        assert!(place("reload ssh").is_some() && place("reload ssh") < place("after it"), "{}", run.said());
        site.clean(host);
        assert_eq!(site.sh(host, "cat /etc/ssh/sshd_config.d/x.conf"), "X11Forwarding no");
    }
    let run = site.run(playbook, &[]);
    assert!(run.status.success(), "{}", run.said());
    assert!(!run.events.iter().any(|event| event["event"] == "guarded"), "{}", run.said());
    assert!(run.names("changed").is_empty(), "{}", run.said());
}

fn lock_out(seconds: u64) -> String {
    LOCK_OUT.replace("SECONDS", &format!("{seconds}s"))
}

fn hosts_go_back_by_themselves(site: &Site<'_>) {
    let before = site.states();
    let run = site.run(&lock_out(30), &[]);
    says_so(&run, 30);
    site.are_back(&before);
}

/// Whatever locks a host out is in force.
fn until_locked_out(site: &Site<'_>) {
    site.until("h1", "test -e /var/lib/debark-guard/*.ok && ss -Hltn | grep -q ':2222 '");
    site.until("h2", "test -e /var/lib/debark-guard/*.ok && nft list ruleset | grep -q 'policy drop'");
    site.until("h3", "test -e /var/lib/debark-guard/*.ok && ! ip link show dev eth0 up | grep -q eth0");
}

fn a_boot_changes_nothing_about_it(site: &Site<'_>) {
    let before = site.states();
    let child = site.start(&lock_out(40));
    until_locked_out(site);
    let boots = HOSTS.map(|host| site.lab.host(host).unwrap().boots());
    for host in HOSTS {
        let _ = site.lab.host(host).unwrap().exec(&["systemctl", "reboot"]);
    }
    let begin = Instant::now();
    for (host, boots) in HOSTS.iter().zip(boots) {
        while site.lab.host(host).unwrap().boots() == boots {
            assert!(begin.elapsed() < NEVER, "{host} does not boot");
            sleep(Duration::from_millis(200));
        }
    }
    let run = Run::read(child.wait_with_output().unwrap());
    says_so(&run, 40);
    site.are_back(&before);
}

fn a_dead_controller_changes_nothing_about_it(site: &Site<'_>) {
    let before = site.states();
    let mut child = site.start(&lock_out(30));
    until_locked_out(site);
    child.kill().unwrap();
    child.wait().unwrap();
    // Nor does it matter that what puts all back is killed on its way, at one step or another.
    site.until("h1", "test -e /var/lib/debark/guard/*/reverting || ! ls -d /var/lib/debark/guard/*");
    for _ in 0..8 {
        for host in HOSTS {
            let _ = site.lab.host(host).unwrap().sh("systemctl kill --signal=KILL 'debark-guard-*.service'");
        }
        sleep(Duration::from_millis(300));
    }
    site.are_as(&before);
    // As one does that was killed in its last step: systemd knows a unit whose file is gone, for as long as another wants it.
    let forgotten = "cd /etc/systemd/system && mkdir -p multi-user.target.wants &&
        printf '[Service]\\nExecStart=true\\n' >debark-guard-gone.service &&
        ln -s ../debark-guard-gone.service multi-user.target.wants/ && systemctl daemon-reload &&
        rm debark-guard-gone.service multi-user.target.wants/debark-guard-gone.service";
    HOSTS.iter().for_each(|host| drop(site.sh(host, forgotten)));
    // The next run finds nothing in its way, and takes away what the guards had to tell.
    let run = site.run(
        "- {hosts: all, gather_facts: false, tasks: [{name: next, guard: 60s, copy: {dest: /etc/ssh/next, content: x}}]}",
        &[],
    );
    assert!(run.status.success(), "{}", run.said());
    HOSTS.iter().for_each(|host| site.clean(host));
}

/// A task that fails under a guard takes back at once what the others did, of every kind; a `rescue` around may go on.
fn a_failure_puts_all_back(site: &Site<'_>) {
    let playbook = "
- hosts: h1
  gather_facts: false
  handlers:
    - {name: never, command: touch /root/handled}
  tasks:
    - name: ready
      shell: |
        mkdir -p /srv/kept/deep && echo 1 > /srv/kept/deep/file && ln -sfn deep /srv/kept/link && chmod 750 /srv/kept
        useradd --system guarded-user
        systemctl mask --now apt-daily.timer; systemctl start cron || true
    - name: tried
      block:
        - name: guarded
          guard: 60s
          block:
            - {name: written, copy: {dest: /srv/new/file, content: x}, when: false}
            - {name: made, file: {path: /srv/made/below, state: directory}}
            - {name: template, copy: {dest: /srv/made/below/file, content: x}, notify: never}
            - {name: moded, file: {path: /srv/kept, mode: '0700'}}
            - {name: replaced, copy: {dest: /srv/kept/deep/file, content: '2', owner: nobody}}
            - {name: relinked, file: {path: /srv/kept/link, src: elsewhere, state: link, force: true, follow: false}}
            - {name: removed, file: {path: /srv/kept/deep, state: absent}}
            - {name: line, lineinfile: {path: /etc/hosts, line: '192.0.2.1 nowhere'}}
            - {name: user, user: {name: guarded-user, shell: /bin/false, comment: changed}}
            - {name: unit, systemd: {name: systemd-journal-flush, state: stopped}}
            - {name: behind the back, shell: 'echo x > /etc/sysctl.d/x.conf; ip address add 192.0.2.7/32 dev lo; rm /etc/ssh/sshd_config'}
            - {name: fails, command: 'false'}
      rescue:
        - {name: rescued, command: 'true'}
";
    let look = "find /srv /etc/hosts /etc/sysctl.d /etc/ssh /etc/passwd -printf '%p %y %m %u %l\\n' | sort
                find /srv /etc/hosts /etc/ssh /etc/passwd /etc/shadow -type f -exec sha256sum {} + | sort
                ip -o -4 addr | tr -s ' '; systemctl is-active systemd-journal-flush ssh || true";
    let ready = playbook.split("    - name: tried").next().unwrap().to_owned();
    let run = site.run(&ready, &[]);
    assert!(run.status.success(), "{}", run.said());
    let before = site.sh("h1", look);
    let again = playbook.replacen("useradd --system guarded-user", "true", 1);
    let run = site.run(&again, &[]);
    assert!(run.status.success(), "{}", run.said());
    assert!(run.names("changed").contains("rescued"), "{}", run.said());
    for name in ["made", "removed", "user", "unit", "line", "relinked"] {
        assert!(run.names("changed").contains(name), "{name}: {}", run.said());
    }
    let warned = |text: &str| {
        run.events
            .iter()
            .any(|e| e["event"] == "warning" && e["message"].as_str().is_some_and(|m| m.contains(text)))
    };
    assert!(warned("what the guarded block changed was put back"), "{}", run.said());
    assert_eq!(site.sh("h1", look), before);
    site.clean("h1");
    assert_eq!(site.sh("h1", "ls /root/handled 2>/dev/null || true"), "", "its handlers have nothing to do");
}

/// A user who may do all by sudo arms it and confirms it; without `become` it is a refusal, and nothing changes.
fn a_user_confirms_what_root_changes(site: &Site<'_>) {
    site.sh(
        "h2",
        "useradd -m -s /bin/sh deploy && echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy \
         && install -d -o deploy -m 700 ~deploy/.ssh && install -o deploy -m 600 ~/.ssh/authorized_keys ~deploy/.ssh/",
    );
    let playbook = "
- hosts: h2
  gather_facts: false
  tasks:
    - name: guarded
      guard: 60s
      become: BECOME
      block:
        - {name: one, copy: {dest: /etc/ssh/one, content: x}}
        - {name: two, copy: {dest: /etc/ssh/two, content: x}}
";
    let run = site.run(&playbook.replace("BECOME", "false"), &["-u", "deploy", "-e", "ansible_user=deploy"]);
    assert_eq!(run.status.code(), Some(2), "{}", run.said());
    assert!(run.said().contains("a guarded task must run as root"), "{}", run.said());
    let run = site.run(&playbook.replace("BECOME", "true"), &["-e", "ansible_user=deploy"]);
    assert!(run.status.success(), "{}", run.said());
    assert_eq!(site.sh("h2", "cat /etc/ssh/one /etc/ssh/two"), "xx");
    site.clean("h2");
}

/// Runs the shipped role on h1, which is to listen on its own address only.
fn hardened(site: &Site<'_>, flags: &[&str]) -> Run {
    let address = site.lab.host("h1").unwrap().address();
    let role =
        format!("- hosts: h1\n  roles:\n    - {{role: ssh_hardening, ssh_hardening_listen: [{address}]}}\n");
    let mut command = site.command(&role, flags);
    Run::of(command.env("ANSIBLE_ROLES_PATH", workspace().join("playbooks/roles")))
}

/// h1 listens on its address only, and a second run finds nothing to do.
#[track_caller]
fn is_hardened(site: &Site<'_>) {
    let address = site.lab.host("h1").unwrap().address();
    site.clean("h1");
    let listens = site.sh("h1", "ss -Hltn | awk '$4 ~ /:22$/ {print $4}'");
    assert_eq!(listens, format!("{address}:22\n"));
    let second = hardened(site, &[]);
    assert!(second.status.success() && second.names("changed").is_empty(), "{}", second.said());
    assert!(!second.events.iter().any(|event| event["event"] == "guarded"), "{}", second.said());
}

/// The shipped role: passwords are refused by the protocol, and sshd listens where it is told to.
fn the_role_lets_nobody_in_without_a_key(site: &Site<'_>) {
    let refused = || {
        let mut ssh = site.lab.bridge_command("ssh");
        ssh.arg("-F").arg(site.lab.ssh_config_path()).args(["-o", "PubkeyAuthentication=no"]);
        ssh.args(["-o", "PreferredAuthentications=password,keyboard-interactive", "h1", "true"]);
        String::from_utf8_lossy(&ssh.output().unwrap().stderr).into_owned()
    };
    // A file that comes first in the alphabet would be ahead of the role's: then nothing stays of it.
    let open =
        "printf 'PasswordAuthentication yes\nAuthenticationMethods any\n' > /etc/ssh/sshd_config.d/00-a.conf";
    site.sh("h1", &format!("{open}; systemctl restart ssh"));
    assert!(refused().contains("(publickey,password"), "{}", refused());
    let before = site.state("h1");
    let spoiled = hardened(site, &[]);
    assert_eq!(spoiled.status.code(), Some(2), "{}", spoiled.said());
    assert!(spoiled.said().contains("sshd does not take 'passwordauthentication no'"), "{}", spoiled.said());
    assert_eq!(site.state("h1"), before);
    site.sh("h1", "rm /etc/ssh/sshd_config.d/00-a.conf; systemctl restart ssh");

    let before = site.state("h1");
    let foreseen = hardened(site, &["--check"]);
    assert!(foreseen.status.success(), "{}", foreseen.said());
    assert_eq!(site.state("h1"), before);
    let first = hardened(site, &[]);
    assert!(first.status.success(), "{}", first.said());
    assert!(first.names("changed").contains("Settings of sshd"), "{}", first.said());
    assert!(refused().trim_end().ends_with("Permission denied (publickey)."), "{}", refused());
    is_hardened(site);
}

#[test]
fn lock_outs_end_by_themselves() {
    let lab = lab("guard", HOSTS.len(), &["nftables", "sudo", "iproute2"]);
    let dir = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, dir: dir.path().to_owned() };
    what_is_confirmed_stays(&site);
    a_failure_puts_all_back(&site);
    a_user_confirms_what_root_changes(&site);
    hosts_go_back_by_themselves(&site);
    a_dead_controller_changes_nothing_about_it(&site);
    a_boot_changes_nothing_about_it(&site);
    the_role_lets_nobody_in_without_a_key(&site);
}

#[test]
fn the_role_works_on_trixie_by_service_and_by_socket() {
    let lab = Lab::up(Options { suite: Suite::Trixie, ..lab_options("hardened", 1, &[]) }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, dir: dir.path().to_owned() };
    let run = hardened(&site, &[]);
    assert!(run.status.success(), "{}", run.said());
    is_hardened(&site);
    // What the server offers is asked of it by the protocol.
    let mut audit = debark(&lab, dir.path());
    let audited = audit.args(["audit", "h1", "-i", "hosts", "--only", "ssh"]).output().unwrap();
    let table = String::from_utf8_lossy(&audited.stdout);
    assert!(audited.status.success() && table.contains("3 hold, 0 do not, 0 cannot be known"), "{table}");
    let socket = "rm /etc/ssh/sshd_config.d/00-hardening.conf; systemctl disable --now ssh.service; systemctl enable --now ssh.socket";
    site.sh("h1", socket);
    let run = hardened(&site, &[]);
    assert!(run.status.success(), "{}", run.said());
    assert!(run.names("changed").contains("the socket of sshd listens anew"), "{}", run.said());
    is_hardened(&site);
}
