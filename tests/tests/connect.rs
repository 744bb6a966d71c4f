//! Connecting, and everything that can go wrong with it: `debark run` with the real OpenSSH against lab hosts.
//!
//! All steps share one lab, one after the other, and each leaves the hosts as it found them. A step that fails does not
//! keep the others from being tried.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use debark_e2e::{Run, debark, lab, run_steps_of};
use debark_lab::{Host, Lab};
use serde_json::Value;

/// Runs one command that changes nothing.
const LOOK: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: look, command: id -un}\n";
/// No word of any file or program.
const SECRET: &str = "zK9-wrong-horse";

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

    fn inventory(&self) -> String {
        self.lab.inventory(&[]).unwrap()
    }

    fn command(&self, inventory: &str, playbook: &str, flags: &[&str]) -> Command {
        let mut command = debark(self.lab, &self.dir);
        command.arg("run").arg("-i").arg(self.write("hosts", inventory)).args(flags);
        command.arg(self.write("site.yml", playbook));
        command
    }

    fn run(&self, inventory: &str, playbook: &str, flags: &[&str]) -> Run {
        let run = Run::of(&mut self.command(inventory, playbook, flags));
        assert!(run.noise.is_empty(), "{}", run.said());
        run
    }

    /// The one host of a run that must not be reachable: its problem as `message` and `hint` in one text.
    #[track_caller]
    fn unreachable(&self, inventory: &str, flags: &[&str]) -> String {
        let run = self.run(inventory, LOOK, &[flags, &["-l", "h1"]].concat());
        // The reason may add to the bit.
        assert_eq!(run.status.code().map(|code| code & 7), Some(4), "{}", run.said());
        let event = event(&run, "unreachable", "h1").unwrap_or_else(|| panic!("{}", run.said()));
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        format!("{} | {}", text("message"), text("hint"))
    }
}

fn event(run: &Run, kind: &str, host: &str) -> Option<Value> {
    run.events.iter().find(|event| event["event"] == kind && event["host"] == host).cloned()
}

#[track_caller]
fn succeeds(run: &Run) {
    let lost: Vec<_> = run.events.iter().filter(|event| event["event"] == "unreachable").collect();
    assert!(run.status.success(), "{lost:?} {}", run.said());
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[track_caller]
fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A key pair in the test's directory; returns the public half, `ssh-ed25519 AAAA...`.
fn keygen(path: &Path) -> String {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    public.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn fingerprint(public: &Path) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(public).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

fn the_agent_travels_once(site: &Site<'_>) {
    for host in ["h1", "h2"] {
        assert!(!site.host(host).exec(&["sh", "-c", "command -v python3"]).unwrap().status.success());
    }
    let first = site.run(&site.inventory(), LOOK, &[]);
    succeeds(&first);
    for host in ["h1", "h2"] {
        let bytes = event(&first, "uploading", host).and_then(|event| event["bytes"].as_u64());
        assert!(bytes.is_some_and(|bytes| bytes > 100_000), "{bytes:?}");
    }
    let second = site.run(&site.inventory(), LOOK, &[]);
    succeeds(&second);
    assert_eq!(event(&second, "uploading", "h1"), None);
    assert_eq!(event(&second, "task", "h2").unwrap()["result"]["stdout"], "root");
    let mode = site.host("h1").sh("stat -c '%U %a' /var/cache/debark /var/cache/debark/*").unwrap();
    assert_eq!(mode, "root 755\nroot 755\n");
}

fn an_emptied_agent_is_sent_again(site: &Site<'_>) {
    // As a power cut may leave it: the name is there, the content is not.
    let host = site.host("h1");
    host.sh("for f in /var/cache/debark/agent-*; do : > $f; done").unwrap();
    let run = site.run(&site.inventory(), LOOK, &["-l", "h1"]);
    host.sh("rm /var/cache/debark/agent-*").unwrap();
    succeeds(&run);
}

fn an_unknown_host_key_is_shown_and_refused(site: &Site<'_>) {
    let empty = site.write("known_none", "");
    let known = site.lab.path().join("known_hosts");
    let inventory = site.inventory().replace(&known.display().to_string(), &empty.display().to_string());
    let said = site.unreachable(&inventory, &[]);
    let address = site.host("h1").address().to_string();
    let public = site.host("h1").rootfs_path().join("etc/ssh/ssh_host_ed25519_key.pub");
    says(&said, &["is unknown", &fingerprint(&public), &format!("ssh-keyscan {address}"), "known_none"]);
}

fn a_changed_host_key_is_refused(site: &Site<'_>) {
    let address = site.host("h1").address().to_string();
    let other = keygen(&site.dir.join("other"));
    let changed = site.write("known_other", &format!("# of another host\n{address} {other}\n"));
    let known = site.lab.path().join("known_hosts");
    let inventory = site.inventory().replace(&known.display().to_string(), &changed.display().to_string());
    let said = site.unreachable(&inventory, &[]);
    let place = format!("{}:2", changed.display());
    says(&said, &["has changed", &place, &fingerprint(&site.dir.join("other.pub")), "ssh-keygen -f"]);
}

fn a_refused_key_is_named(site: &Site<'_>) {
    let key = site.dir.join("stranger");
    keygen(&key);
    let own = site.lab.path().join("id_ed25519");
    let inventory = site.inventory().replace(&own.display().to_string(), &key.display().to_string());
    let said = site.unreachable(&inventory, &[]);
    says(
        &said,
        &["refuses the login", "stranger", &fingerprint(&key.with_extension("pub")), "authorized_keys"],
    );
    let missing = site.dir.join("no-such-key");
    let inventory = site.inventory().replace(&own.display().to_string(), &missing.display().to_string());
    says(&site.unreachable(&inventory, &[]), &["refuses the login", "no-such-key"]);
}

fn a_host_that_is_down(site: &Site<'_>) {
    let inventory = site.inventory().replace(" ansible_user", " ansible_port=9 ansible_user");
    says(&site.unreachable(&inventory, &[]), &["refuses the connection", ":9", "ansible_port"]);
    let host = site.host("h1");
    host.network_down().unwrap();
    let run = catch_unwind(AssertUnwindSafe(|| site.unreachable(&site.inventory(), &["-T", "2"])));
    host.network_up().unwrap();
    let said = run.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    assert!(said.contains("did not answer in time") || said.contains("no route"), "{said}");
    // The other host is not held up by it, and the run says which one is missing.
    let away = site.inventory().replace(
        &format!("h1 ansible_host={}", host.address()),
        &format!("h1 ansible_port=9 ansible_host={}", host.address()),
    );
    let run = site.run(&away, LOOK, &[]);
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    assert_eq!(event(&run, "task", "h2").unwrap()["status"], "changed");
}

fn login_shells_may_talk(site: &Site<'_>) {
    let host = site.host("h1");
    host.sh("cd /root; for f in .bashrc .profile .bash_profile; do [ -f $f ] && cp $f $f.kept; \
         printf 'printf \"Welcome!\\\\n\\\\033[1mprompt> \"\\necho warned >&2\\n' > $f; done")
        .unwrap();
    let runs = [(); 2].map(|()| site.run(&site.inventory(), LOOK, &["-l", "h1"]));
    // The same when the agent has to travel.
    host.sh("rm -r /var/cache/debark").unwrap();
    let fresh = site.run(&site.inventory(), LOOK, &["-l", "h1"]);
    host.sh("cd /root; for f in .bashrc .profile .bash_profile; do rm $f; [ -f $f.kept ] && mv $f.kept $f; done; :")
        .unwrap();
    runs.iter().chain([&fresh]).for_each(succeeds);
    assert!(event(&fresh, "uploading", "h1").is_some());
    let warned =
        runs[1].events.iter().any(|event| event["message"].as_str().unwrap_or_default().contains("Welcome!"));
    assert!(warned, "{:?}", fresh.events);
}

fn another_architecture_is_named(site: &Site<'_>) {
    let host = site.host("h1");
    // A cached agent is started without a question; this one has to ask what the machine is.
    host.sh(
        "mv /var/cache/debark /var/cache/kept; printf '#!/bin/sh\necho riscv64\n' > /usr/local/bin/uname; \
         chmod 755 /usr/local/bin/uname",
    )
    .unwrap();
    let said = catch_unwind(AssertUnwindSafe(|| site.unreachable(&site.inventory(), &[])));
    host.sh("rm -r /usr/local/bin/uname /var/cache/debark; mv /var/cache/kept /var/cache/debark; :").unwrap();
    let said = said.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    says(&said, &["riscv64", "uname -m", "has agents for x86_64 only"]);
}

fn ssh_arguments_that_are_left_out_are_told_once(site: &Site<'_>) {
    let run = site.run(&site.inventory(), LOOK, &["--ssh-extra-args=-A -o StrictHostKeyChecking=no"]);
    succeeds(&run);
    let warnings = run.events.iter().filter(|event| event["event"] == "warning");
    let warnings: Vec<_> = warnings.filter_map(|event| event["message"].as_str()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    says(
        &warnings.join(" "),
        &["`-A` is left out: it forwards the ssh agent", "`StrictHostKeyChecking=no` has no effect"],
    );
}

/// Puts file systems that run nothing over every place an agent could lie in.
const NOEXEC: &str = "set -e; for d in /var/cache /var/tmp /tmp /dev/shm /run/user; do mkdir -p $d; \
    mount -t tmpfs -o noexec,mode=1777 tmpfs $d; done";
const EXEC: &str = "for d in /var/cache /var/tmp /tmp /dev/shm /run/user; do umount -l $d; done";

fn noexec_everywhere(site: &Site<'_>) {
    let host = site.host("h1");
    host.sh(NOEXEC).unwrap();
    let root = site.run(&site.inventory(), LOOK, &["-l", "h1"]);
    let left = host.sh("find /var/cache /var/tmp /tmp /dev/shm /run/user -type f").unwrap();
    host.sh(EXEC).unwrap();
    succeeds(&root);
    assert_eq!(left, "");
    assert_eq!(event(&root, "task", "h1").unwrap()["result"]["stdout"], "root");
}

fn sudo_without_password(site: &Site<'_>) {
    let inventory = site.inventory().replace("ansible_user=root", "ansible_user=debian");
    for (flags, user) in
        [(&["-b"][..], "root"), (&[], "debian"), (&["-b", "--become-user", "nobody"], "nobody")]
    {
        let run = site.run(&inventory, LOOK, &[&["-l", "h1"], flags].concat());
        succeeds(&run);
        assert_eq!(event(&run, "task", "h1").unwrap()["result"]["stdout"], user, "{flags:?}");
    }
}

/// Where the secret can be seen on a host while a task runs; the pattern is not the secret itself.
const SEARCH: &str = "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - name: search\n      \
    shell: grep -la zK[9]-wrong /proc/[0-9]*/cmdline /proc/[0-9]*/environ; sleep 0.3\n    \
    - {name: who, command: id -un}\n";

fn sudo_with_password(site: &Site<'_>) {
    let host = site.host("h1");
    host.sh(&format!("echo 'plain:{SECRET}' | chpasswd")).unwrap();
    let inventory = site.inventory().replace("ansible_user=root", "ansible_user=plain");
    let without = site.run(&inventory, SEARCH, &["-l", "h1"]);
    assert!(!without.status.success());
    let said: String = without.events.iter().map(Value::to_string).collect();
    says(&said, &["password", "-K", "ansible_become_password"]);

    let wrong = site.run(&inventory, SEARCH, &["-l", "h1", "-e", "ansible_become_password=not-it-at-all"]);
    assert!(!wrong.status.success());
    let said: String = wrong.events.iter().map(Value::to_string).collect();
    says(&said, &["password"]);
    assert!(!said.contains("not-it-at-all"), "{said}");

    // From a file: an argument would be in the process list by the user's own doing.
    let vars = site.write("secret.yml", &format!("ansible_become_password: {SECRET}\n"));
    let given = format!("@{}", vars.display());
    let over = AtomicBool::new(false);
    let (run, seen) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = Vec::new();
            while !over.load(Ordering::Relaxed) {
                seen.extend(holders(SECRET));
                thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        let run = Run::of(&mut site.command(&inventory, SEARCH, &["-l", "h1", "-vvv", "-e", &given]));
        over.store(true, Ordering::Relaxed);
        (run, watcher.join().unwrap())
    });
    succeeds(&run);
    assert_eq!(seen, [""; 0]);
    let found = event(&run, "task", "h1").unwrap();
    assert_eq!(found["result"]["stdout"], "", "{found}");
    assert_eq!(run.names("changed").len(), 2, "{}", run.said());
    let all = run.events.iter().map(Value::to_string).collect::<String>() + &run.stderr;
    assert!(!all.contains(SECRET), "{all}");
    let kept =
        host.exec(&["grep", "-rlaF", SECRET, "/var/cache", "/var/lib/debark", "/home", "/tmp", "/var/log"]);
    assert_eq!(String::from_utf8_lossy(&kept.unwrap().stdout), "");
}

/// Processes of this machine whose command line holds a text.
fn holders(text: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

fn a_full_disk_leaves_nothing_half_written(site: &Site<'_>) {
    let host = site.host("h1");
    host.sh("mount -t tmpfs -o size=256k tmpfs /opt && echo old > /opt/big").unwrap();
    site.write("big", &"0123456789abcdef\n".repeat(60_000));
    let playbook = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: big, copy: {src: ../big, dest: /opt/big}}\n";
    let playbook = playbook.replace("../big", &site.dir.join("big").display().to_string());
    let run = site.run(&site.inventory(), &playbook, &["-l", "h1"]);
    let left = host.sh("ls -A /opt; cat /opt/big").unwrap();
    host.sh("umount /opt").unwrap();
    assert_eq!(run.status.code(), Some(2), "{}", run.said());
    let message = event(&run, "task", "h1").unwrap()["message"].as_str().unwrap_or_default().to_lowercase();
    says(&message, &["/opt/big", "full"]);
    assert_eq!(left, "big\nold\n");
    // Nor is the agent itself left behind in part: no place has room for it, and it runs from memory.
    host.sh(&EXEC.replace("umount -l $d", "mount -t tmpfs -o size=64k,mode=1777 tmpfs $d")).unwrap();
    let run = site.run(&site.inventory(), LOOK, &["-l", "h1"]);
    let left = host.sh("find /var/cache /var/tmp /tmp /dev/shm /run/user -type f").unwrap();
    host.sh(EXEC).unwrap();
    succeeds(&run);
    assert_eq!(left, "");
}

/// Lets so many bytes a second go to the host: what a line of a mobile phone does in a tunnel.
const SLOW: &str = "
import os, socket, sys, threading, time
host = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def back():
    while data := host.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 2000):
    host.sendall(data)
    time.sleep(len(data) / float(sys.argv[3]))
host.shutdown(socket.SHUT_WR)
time.sleep(60)
";

/// Far away, and through a line that takes a quarter of a minute for the agent.
fn slow_links(site: &Site<'_>) {
    let host = site.host("h1");
    host.sh("rm -rf /var/cache/debark").unwrap();
    let slow = site.write("slow.py", SLOW);
    let narrow =
        format!("ansible_ssh_common_args='-o ProxyCommand=\"python3 {} %h %p 100000\" ", slow.display());
    let narrow = site.inventory().replace("ansible_ssh_common_args='", &narrow);
    let begin = Instant::now();
    let run = site.run(&narrow, LOOK, &["-l", "h1"]);
    succeeds(&run);
    let bytes = event(&run, "uploading", "h1").and_then(|event| event["bytes"].as_u64()).unwrap();
    // Less would mean that the line was not narrow.
    assert!(begin.elapsed().as_secs() >= bytes / 100_000, "{bytes} bytes in {:?}", begin.elapsed());

    host.sh("rm -rf /var/cache/debark").unwrap();
    let far = host.inventory_behind(host.delay(400).unwrap()).unwrap();
    for sent in [true, false] {
        let run = site.run(&far, LOOK, &[]);
        succeeds(&run);
        assert_eq!(event(&run, "uploading", "h1").is_some(), sent, "{}", run.said());
        assert_eq!(event(&run, "task", "h1").unwrap()["result"]["stdout"], "root");
    }
}

const DROPPED: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    \
    - {name: begin, copy: {content: new, dest: /root/conf}, notify: restart}\n    \
    - {name: long, shell: sleep 3; echo done > /root/finished}\n    \
    - {name: last, command: id -un}\n  handlers:\n    \
    - {name: restart, shell: echo ran >> /root/handled}\n";

fn a_dropped_connection(site: &Site<'_>) {
    let host = site.host("h1");
    let mut command = site.command(&site.inventory(), DROPPED, &[]);
    let run = thread::scope(|scope| {
        let run = scope.spawn(move || Run::of(&mut command));
        wait("the long task", || host.sh("pidof sleep").is_ok());
        // Displays hear of a task only if it lasts a little.
        thread::sleep(Duration::from_millis(500));
        host.drop_connections();
        run.join().unwrap()
    });
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    let lost = event(&run, "unreachable", "h1").unwrap_or_else(|| panic!("{}", run.said()));
    says(lost["message"].as_str().unwrap(), &["lost"]);
    assert_eq!(lost["during"], "long", "{lost}");
    assert!(run.tasks().iter().any(|task| task.host == "h2" && task.task == "last"), "{}", run.said());
    assert_eq!(site.host("h2").sh("cat /root/handled").unwrap(), "ran\n");

    wait("the end of the task", || host.sh("cat /root/finished").is_ok());
    assert!(host.sh("cat /root/handled").is_err(), "the play did not go on by itself");
    let again = site.run(&site.inventory(), DROPPED, &[]);
    succeeds(&again);
    let resumed = event(&again, "resumed", "h1").unwrap_or_else(|| panic!("{}", again.said()));
    assert_eq!(resumed["handlers"][0], "restart", "{resumed}");
    assert_eq!(event(&again, "resumed", "h2"), None);
    assert_eq!(host.sh("cat /root/handled").unwrap(), "ran\n");
    assert_eq!(site.host("h2").sh("cat /root/handled").unwrap(), "ran\n");
}

#[test]
fn connecting_and_what_goes_wrong_with_it() {
    let lab = lab("connect", 2, &[]);
    let home = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, dir: home.path().to_owned() };
    type Step = (&'static str, fn(&Site<'_>));
    let steps: &[Step] = &[
        ("the agent travels once", the_agent_travels_once),
        ("an unknown host key is shown and refused", an_unknown_host_key_is_shown_and_refused),
        ("a changed host key is refused", a_changed_host_key_is_refused),
        ("a refused key is named", a_refused_key_is_named),
        ("a host that is down", a_host_that_is_down),
        ("login shells may talk", login_shells_may_talk),
        ("another architecture is named", another_architecture_is_named),
        ("ssh arguments that are left out are told once", ssh_arguments_that_are_left_out_are_told_once),
        ("noexec everywhere", noexec_everywhere),
        ("sudo without password", sudo_without_password),
        ("sudo with password", sudo_with_password),
        ("a full disk leaves nothing half written", a_full_disk_leaves_nothing_half_written),
        ("slow links", slow_links),
        ("a dropped connection", a_dropped_connection),
        ("an emptied agent is sent again", an_emptied_agent_is_sent_again),
    ];
    let only = std::env::var("DEBARK_ONLY").unwrap_or_default();
    run_steps_of(&site, steps, &only);
}
