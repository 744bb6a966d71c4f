//! Who logs in, how, and as whom tasks run: users who are not root, su and doas, accounts without a home, ssh's own ways.
//!
//! All steps share one lab; a step that fails does not keep the others from being tried.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use debark_e2e::{Run, debark, lab, run_steps};
use debark_lab::{Host, Lab};
use serde_json::Value;

/// A step, and what it is about.
type Step = (&'static str, fn(&Site<'_>));

const LOOK: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: look, command: id -un}\n";

struct Site<'a> {
    lab: &'a Lab,
    dir: PathBuf,
}

impl Site<'_> {
    fn host(&self, name: &str) -> Host<'_> {
        self.lab.host(name).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The inventory where everybody logs in as that user.
    fn inventory(&self, user: &str) -> String {
        self.lab.inventory(&[]).unwrap().replace("ansible_user=root", &format!("ansible_user={user}"))
    }

    fn run(&self, inventory: &str, playbook: &str, flags: &[&str]) -> Run {
        let mut command = debark(self.lab, &self.dir);
        command.arg("run").arg("-i").arg(self.write("hosts", inventory)).args(flags);
        let run = Run::of(command.arg(self.write("site.yml", playbook)));
        assert!(run.noise.is_empty(), "{}", run.said());
        run
    }

    /// Who a task on h1 is.
    #[track_caller]
    fn who(&self, inventory: &str, flags: &[&str]) -> String {
        let run = self.run(inventory, LOOK, &[&["-l", "h1"], flags].concat());
        assert!(run.status.success(), "{flags:?} {}", all(&run));
        event(&run, "task", "h1").unwrap()["result"]["stdout"].as_str().unwrap().to_owned()
    }

    /// What a run that cannot become somebody says.
    #[track_caller]
    fn refused(&self, inventory: &str, flags: &[&str]) -> String {
        let run = self.run(inventory, LOOK, &[&["-l", "h1"], flags].concat());
        assert_eq!(run.status.code(), Some(2), "{}", all(&run));
        event(&run, "task", "h1").unwrap()["message"].as_str().unwrap_or_default().to_owned()
    }
}

fn event(run: &Run, kind: &str, host: &str) -> Option<Value> {
    run.events.iter().find(|event| event["event"] == kind && event["host"] == host).cloned()
}

fn all(run: &Run) -> String {
    run.events.iter().map(|event| format!("{event}\n")).collect::<String>() + &run.stderr
}

/// Where agents may be on a host, with mode and owner.
fn agents(host: &Host<'_>) -> String {
    host.sh("find / -xdev \\( -name 'agent-*' -o -name '.new-*' -o -name 'debark-*' \\) -type f -size +100k -printf '%h %m %u\\n' | sort")
        .unwrap()
}

fn a_user_who_is_not_root_brings_the_agent(site: &Site<'_>) {
    let (host, inventory) = (site.host("h1"), site.inventory("debian"));
    let first = site.run(&inventory, LOOK, &["-l", "h1"]);
    assert!(first.status.success(), "{}", all(&first));
    assert!(event(&first, "uploading", "h1").is_some(), "{}", all(&first));
    assert_eq!(agents(&host), "/home/debian/.cache/debark 700 debian\n");
    let second = site.run(&inventory, LOOK, &["-l", "h1"]);
    assert!(second.status.success() && event(&second, "uploading", "h1").is_none(), "{}", all(&second));
}

fn a_private_agent_serves_other_users_too(site: &Site<'_>) {
    let (host, inventory) = (site.host("h1"), site.inventory("debian"));
    for user in ["nobody", "plain", "root"] {
        assert_eq!(site.who(&inventory, &["-b", "--become-user", user]), user);
    }
    // What nobody could not have read at its place was lent, and taken back.
    assert_eq!(agents(&host), "/home/debian/.cache/debark 700 debian\n");
}

fn an_agent_of_another_version_is_no_agent(site: &Site<'_>) {
    let host = site.host("h2");
    let digest = "0".repeat(64);
    host.sh(&format!(
        "install -d /var/cache/debark && cp /bin/false /var/cache/debark/agent-{digest} && \
         touch -d '90 days ago' /var/cache/debark/agent-{digest}"
    ))
    .unwrap();
    let run = site.run(&site.inventory("root"), LOOK, &["-l", "h2"]);
    assert!(run.status.success() && event(&run, "uploading", "h2").is_some(), "{}", all(&run));
    let left = host.sh("ls /var/cache/debark").unwrap();
    assert!(!left.contains(&digest) && left.lines().count() == 1, "{left}");
}

fn one_connection_and_one_channel(site: &Site<'_>) {
    let playbook = "
- hosts: all
  tasks:
    - {name: made, copy: {content: 'x', dest: /srv/one}, notify: told}
    - {name: fetched, fetch: {src: /etc/hostname, dest: fetched/}}
    - {name: other, command: id -un, become: true, become_user: nobody}
    - {name: delegated, command: hostname, delegate_to: h2, run_once: true}
  handlers:
    - {name: told, command: 'true'}
- hosts: all
  gather_facts: false
  tasks:
    - {name: again, template: {src: t.j2, dest: /srv/two}}
";
    site.write("t.j2", "{{ inventory_hostname }}\n");
    for name in ["h1", "h2"] {
        let host = site.host(name);
        host.sh("echo 'LogLevel VERBOSE' > /etc/ssh/sshd_config.d/talk.conf && systemctl reload ssh && rm -rf /var/cache/debark /srv/one")
            .unwrap();
    }
    let since = site.host("h1").sh("date '+%Y-%m-%d %H:%M:%S'").unwrap();
    let run = site.run(&site.inventory("root"), playbook, &[]);
    assert!(run.status.success(), "{}", all(&run));
    for name in ["h1", "h2"] {
        assert!(event(&run, "uploading", name).is_some(), "{}", all(&run));
        let log = format!("journalctl -u ssh -o cat --since '{}'", since.trim());
        let log = site.host(name).sh(&log).unwrap();
        let log = log.rsplit_once("Server listening").map_or(&*log, |(_, after)| after);
        for word in ["Accepted publickey for root", "Starting session: command"] {
            assert_eq!(log.matches(word).count(), 1, "{name}: {word}: {log}");
        }
    }
}

/// Never in a log of ours; it is in the variables' file only.
const ROOTS: &str = "t0p-of-the-tree";

fn become_by_su(site: &Site<'_>) {
    let host = site.host("h1");
    host.sh(&format!("echo 'root:{ROOTS}' | chpasswd")).unwrap();
    let inventory = site.inventory("plain");
    let right = site.write("right.yml", &format!("ansible_become_password: {ROOTS}\n")).display().to_string();
    let wrong = site.write("wrong.yml", "ansible_become_password: 0ff-by-one\n").display().to_string();
    let (right, wrong) = (format!("@{right}"), format!("@{wrong}"));
    assert_eq!(site.who(&inventory, &["-b", "--become-method", "su", "-e", &right]), "root");
    let by_variable = ["-e", "ansible_become=true ansible_become_method=su", "-e", &right];
    assert_eq!(site.who(&inventory, &by_variable), "root");
    let said = site.refused(&inventory, &["-b", "--become-method", "su", "-e", &wrong]);
    assert!(said.contains("cannot become root") && said.contains("password"), "{said}");
    assert!(!said.contains("0ff-by-one"), "{said}");
    let said = site.refused(&inventory, &["-b", "--become-method", "su"]);
    assert!(said.contains("cannot become root") && said.contains("password"), "{said}");
    // root becomes anybody without one.
    let nobody = ["-b", "--become-method", "su", "--become-user", "nobody"];
    assert_eq!(site.who(&site.inventory("root"), &nobody), "nobody");
    host.sh("passwd -l root").unwrap();
}

fn become_by_doas(site: &Site<'_>) {
    let host = site.host("h1");
    let install = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: doas, apt: {name: doas, update_cache: true}}\n    \
        - {name: rule, copy: {content: \"permit nopass debian\\npermit plain\\n\", dest: /etc/doas.conf, mode: '0400'}}\n";
    let run = site.run(&site.inventory("root"), install, &["-l", "h1"]);
    assert!(run.status.success(), "{}", all(&run));
    let inventory = site.inventory("debian");
    assert_eq!(site.who(&inventory, &["-b", "--become-method", "doas"]), "root");
    assert_eq!(site.who(&inventory, &["-b", "--become-method", "doas", "--become-user", "nobody"]), "nobody");
    let said = site.refused(&site.inventory("plain"), &["-b", "--become-method", "doas"]);
    assert!(said.contains("cannot become root"), "{said}");
    host.sh("rm /etc/doas.conf").unwrap();
    let said = site.refused(&inventory, &["-b", "--become-method", "doas"]);
    assert!(said.contains("cannot become root") && said.contains("doas"), "{said}");
}

fn become_flags_and_program(site: &Site<'_>) {
    let host = site.host("h1");
    host.sh("ln -sf /usr/bin/sudo /usr/local/bin/climb").unwrap();
    let look = "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - {name: look, shell: 'id -un; echo $HOME'}\n";
    let home = |flags: &[&str]| {
        let run = site.run(&site.inventory("debian"), look, &[&["-l", "h1"], flags].concat());
        assert!(run.status.success(), "{}", all(&run));
        event(&run, "task", "h1").unwrap()["result"]["stdout"].as_str().unwrap().replace('\n', " ")
    };
    assert_eq!(home(&[]), "root /root");
    assert_eq!(home(&["-e", "ansible_become_exe=/usr/local/bin/climb"]), "root /root");
    // sudo's --preserve-env keeps what the caller has.
    assert_eq!(home(&["-e", "ansible_become_flags='--preserve-env=HOME'"]), "root /home/debian");
    let said =
        site.refused(&site.inventory("debian"), &["-b", "-e", "ansible_become_exe=/usr/bin/nothing-here"]);
    assert!(said.contains("/usr/bin/nothing-here"), "{said}");
}

fn a_user_without_a_home(site: &Site<'_>) {
    let host = site.host("h1");
    host.sh(
        "id homeless 2>/dev/null || useradd -M -d /nonexistent -s /bin/bash homeless
         install -d /etc/ssh/keys && cp /root/.ssh/authorized_keys /etc/ssh/keys/homeless && chmod 644 /etc/ssh/keys/homeless
         echo 'AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys/%u' > /etc/ssh/sshd_config.d/keys.conf
         echo 'homeless ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/homeless
         systemctl reload ssh; rm -rf /var/cache/debark",
    )
    .unwrap();
    let inventory = site.inventory("homeless");
    assert_eq!(site.who(&inventory, &[]), "homeless");
    assert_eq!(site.who(&inventory, &["-b"]), "root");
    assert_eq!(site.who(&inventory, &["-b", "--become-user", "nobody"]), "nobody");
    let kept = agents(&host);
    assert!(!kept.contains("nonexistent"), "{kept}");
    assert!(host.sh("test -e /nonexistent").is_err());
    host.sh("rm /etc/ssh/sshd_config.d/keys.conf; systemctl reload ssh; userdel homeless; rm -rf /tmp/debark-* /var/tmp/debark-* /dev/shm/debark-*")
        .unwrap();
}

fn names_of_ssh_config(site: &Site<'_>) {
    let (address, home) = (site.host("h1").address(), site.lab.path());
    let config = site.write(
        "config",
        &format!(
            "Host front\n  HostName {address}\n  Port 22\n  User debian\n  IdentityFile {}\n  UserKnownHostsFile {}\n",
            home.join("id_ed25519").display(),
            home.join("known_hosts").display()
        ),
    );
    let inventory = format!("front ansible_ssh_extra_args='-F {}'\n", config.display());
    let run = site.run(&inventory, LOOK, &[]);
    assert!(run.status.success(), "{}", all(&run));
    assert_eq!(event(&run, "task", "front").unwrap()["result"]["stdout"], "debian");
}

fn through_a_jump_host(site: &Site<'_>) {
    let jump = site.host("h1").address();
    let inventory = site.inventory("root").replace(
        "ansible_ssh_common_args='",
        &format!(
            "ansible_ssh_common_args='-o ProxyCommand=\"ssh -i {} -o BatchMode=yes -o UserKnownHostsFile={} -W [%h]:%p root@{jump}\" ",
            site.lab.path().join("id_ed25519").display(),
            site.lab.path().join("known_hosts").display()
        ),
    );
    let run = site.run(&inventory, LOOK, &["-l", "h2"]);
    assert!(run.status.success(), "{}", all(&run));
    let from = site.host("h2").sh("journalctl -u ssh -o cat | grep Accepted | tail -1").unwrap();
    assert!(from.contains(&format!("from {jump} ")), "{from}");
}

/// Who the jump host is and how one logs in there is for ssh_config to say; keys alone and strict host keys are not.
fn through_a_proxyjump(site: &Site<'_>) {
    let (jump, home) = (site.host("h1").address(), site.lab.path());
    let run = |known: &Path, in_config: bool| {
        let config = format!(
            "Host front\n  HostName {jump}\n  User debian\n  IdentityFile {}\n  StrictHostKeyChecking no\n  BatchMode no\n{}",
            home.join("id_ed25519").display(),
            if in_config { "Host * !front\n  ProxyJump front\n" } else { "" }
        );
        let config = site.write("config", &config);
        let arguments = format!(
            "ansible_ssh_common_args='-F {} {}",
            config.display(),
            if in_config { "" } else { "-J front " }
        );
        let (own, known) = (home.join("known_hosts").display().to_string(), known.display().to_string());
        let inventory =
            site.inventory("root").replace("ansible_ssh_common_args='", &arguments).replace(&own, &known);
        site.run(&inventory, LOOK, &["-l", "h2"])
    };
    for in_config in [false, true] {
        let reached = run(&home.join("known_hosts"), in_config);
        assert!(reached.status.success(), "{}", all(&reached));
        let from = site.host("h2").sh("journalctl -u ssh -o cat | grep Accepted | tail -1").unwrap();
        assert!(from.contains(&format!("from {jump} ")), "{from}");
        // A jump host that nobody knows leads nowhere.
        let refused = run(&site.write("known_none", ""), in_config);
        assert_eq!(refused.status.code(), Some(44), "{}", all(&refused));
        let event = event(&refused, "unreachable", "h2").unwrap();
        assert_eq!(event["kind"], "unknown_host_key", "{event}");
        let message = event["message"].as_str().unwrap();
        assert!(
            message.contains("ends at a jump host: No ") && message.contains(&jump.to_string()),
            "{message}"
        );
    }
}

/// A VPN that the system runs itself: the way to the host leaves by that interface, or there is none.
fn by_an_interface_that_is_there(site: &Site<'_>) {
    let address = site.host("h1").address().to_string();
    let route = site.lab.controller_command("ip").args(["-o", "route", "get", &address]).output().unwrap();
    let route = String::from_utf8(route.stdout).unwrap();
    let interface = route.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap().to_owned();
    let run = |interface: &str| {
        let vpn = format!("h1 debark_vpn=\"{{'interface': '{interface}'}}\"\n");
        site.run(&(vpn + &site.inventory("root")), LOOK, &["-l", "h1"])
    };
    let reached = run(&interface);
    assert!(reached.status.success(), "{}", all(&reached));
    assert_eq!(event(&reached, "task", "h1").unwrap()["result"]["stdout"], "root");
    let refused = run("lo");
    assert_eq!(refused.status.code(), Some(100), "{}", all(&refused));
    let event = event(&refused, "unreachable", "h1").unwrap().to_string();
    assert!(event.contains(&format!("leaves by {interface}, not by lo")), "{event}");
}

fn connections_are_kept_where_the_arguments_say_so(site: &Site<'_>) {
    let plain = site.inventory("root");
    let keeping =
        plain.replace("ansible_ssh_common_args='", "ansible_ssh_common_args='-o ControlPersist=120s ");
    let again = "- hosts: all\n  gather_facts: false\n  tasks:\n    - meta: reset_connection\n    - {name: look, command: id -un}\n";
    let host = site.host("h1");
    // What sshd has let in since the call before.
    let logins = |inventory: &str, playbook: &str| {
        let count = || {
            let log =
                host.sh("journalctl -u ssh -o cat | grep -c 'Accepted publickey for root' || true").unwrap();
            log.trim().parse::<usize>().unwrap()
        };
        let before = count();
        let run = site.run(inventory, playbook, &["-l", "h1"]);
        assert!(run.status.success(), "{}", all(&run));
        count() - before
    };
    assert_eq!(
        [logins(&keeping, LOOK), logins(&keeping, LOOK)],
        [1, 0],
        "the second run finds the first one's"
    );
    assert_eq!(logins(&plain, LOOK), 1, "others do not");
    assert_eq!(logins(&keeping, again), 1, "a connection that is made anew is a new one");
    assert_eq!([logins(&keeping, LOOK), logins(&keeping, LOOK)], [1, 0], "and so is that of the next run");
    // sshd takes its connections along when it is killed whole: the next run has to notice.
    host.sh("pkill -f 'sshd: [r]oot'").unwrap();
    assert_eq!(logins(&keeping, LOOK), 1);
}

fn the_key_of_the_command_line(site: &Site<'_>) {
    let key = site.lab.path().join("id_ed25519").display().to_string();
    let inventory = site.inventory("root").replace(&format!("ansible_ssh_private_key_file={key}"), "");
    let without = site.run(&inventory, LOOK, &["-l", "h1"]);
    assert_eq!(without.status.code(), Some(20), "{}", all(&without));
    assert_eq!(site.who(&inventory, &["--private-key", &key]), "root");
}

fn the_user_of_the_command_line(site: &Site<'_>) {
    // As Ansible has it: a variable of the inventory is above the flag.
    assert_eq!(site.who(&site.inventory("root"), &["-u", "debian"]), "root");
    let open = site.inventory("root").replace("ansible_user=root", "");
    assert_eq!(site.who(&open, &["-u", "debian"]), "debian");
    assert_eq!(site.who(&open, &["--user", "plain"]), "plain");
}

fn no_password_is_ever_tried(site: &Site<'_>) {
    let host = site.host("h1");
    host.sh(
        "printf 'PasswordAuthentication yes\\nKbdInteractiveAuthentication yes\\nLogLevel DEBUG1\\n' > /etc/ssh/sshd_config.d/00-weak.conf
         sed -i 's/^PasswordAuthentication no/#&/; s/^KbdInteractiveAuthentication no/#&/' /etc/ssh/sshd_config
         systemctl reload ssh",
    )
    .unwrap();
    let key = site.dir.join("stranger");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let own = site.lab.path().join("id_ed25519").display().to_string();
    let inventory = site.inventory("plain").replace(&own, &key.display().to_string());
    let since = host.sh("date '+%Y-%m-%d %H:%M:%S'").unwrap();
    // What a password would be taken from, were it asked for.
    let mut command = debark(site.lab, &site.dir);
    command.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0");
    command
        .args(["run", "-l", "h1", "-e", "ansible_password=plain", "-i"])
        .arg(site.write("hosts", &inventory));
    let run = Run::of(command.arg(site.write("site.yml", LOOK)));
    let log = host.sh(&format!("journalctl -u ssh -o cat --since '{}'", since.trim())).unwrap();
    host.sh("rm /etc/ssh/sshd_config.d/00-weak.conf && systemctl reload ssh").unwrap();
    assert_eq!(run.status.code(), Some(20), "{}", all(&run));
    assert!(log.contains("method publickey"), "{log}");
    for word in ["method password", "method keyboard-interactive", "Failed password"] {
        assert!(!log.contains(word), "{log}");
    }
}

#[test]
fn who_logs_in_and_as_whom_tasks_run() {
    let lab = lab("login", 2, &[]);
    let home = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, dir: home.path().to_owned() };
    let steps: &[Step] = &[
        ("a user who is not root", a_user_who_is_not_root_brings_the_agent),
        ("a private agent", a_private_agent_serves_other_users_too),
        ("another version", an_agent_of_another_version_is_no_agent),
        ("one connection", one_connection_and_one_channel),
        ("su", become_by_su),
        ("doas", become_by_doas),
        ("flags and program", become_flags_and_program),
        ("no home", a_user_without_a_home),
        ("ssh_config", names_of_ssh_config),
        ("a jump host", through_a_jump_host),
        ("a jump host by ProxyJump", through_a_proxyjump),
        ("an interface", by_an_interface_that_is_there),
        ("--private-key", the_key_of_the_command_line),
        ("connections that are kept", connections_are_kept_where_the_arguments_say_so),
        ("-u", the_user_of_the_command_line),
        ("no password", no_password_is_ever_tried),
    ];
    run_steps(&site, steps);
}
