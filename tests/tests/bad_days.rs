//! Bad days: what hosts, networks and people do to a run, on real lab hosts.
//!
//! All steps share one lab of two hosts. What goes wrong goes wrong on h1, and h2 goes on. Each step leaves the hosts as
//! it found them; one that fails does not keep the others from being tried.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

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

/// Makes packages whose maintainer scripts do as they are told, and an archive of them.
///
/// `slow` takes twelve seconds to configure, but none where it is to be quick, and says when it begins; `cut` kills its dpkg
/// while it is configured, once; `plain` does nothing.
const ARCHIVE: &str = r#"
set -e
mkdir -p /srv/archive && cd /srv/archive
make() {
    rm -rf build && mkdir -p build/DEBIAN "build/usr/share/$1" && echo "$1" > "build/usr/share/$1/content"
    [ "$1" != large ] || head -c 300000 /dev/urandom > build/usr/share/large/content
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: Lab <lab@example.com>\nDescription: %s\n' "$1" "$1" \
        > build/DEBIAN/control
    printf '#!/bin/sh\nset -e\n%s\n' "$2" > build/DEBIAN/postinst
    chmod 755 build/DEBIAN/postinst
    dpkg-deb --root-owner-group -b build "$1.deb" > /dev/null
    { dpkg-deb -f "$1.deb"; printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' "$1" "$(stat -c %s "$1.deb")" \
        "$(sha256sum "$1.deb" | cut -d' ' -f1)"; } >> Packages
}
rm -f Packages
make plain ':'
make slow 'echo begun > /run/slow-begun; [ -e /run/slow-quick ] || sleep 12; echo ended > /run/slow-ended'
make large ':'
make cut 'if [ ! -e /run/cut-once ]; then : > /run/cut-once; kill -9 $PPID; sleep 1; fi'
rm -rf build
echo 'deb [trusted=yes] file:/srv/archive ./' > /etc/apt/sources.list.d/lab-archive.list
apt-get update -q -o Dir::Etc::sourcelist=sources.list.d/lab-archive.list -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0
"#;

/// dpkg's state of a package: `install ok installed`, or nothing.
fn state(host: &Host<'_>, package: &str) -> String {
    let show = format!("dpkg-query -W -f '${{Status}}' {package} 2>/dev/null || :");
    host.sh(&show).unwrap().trim().to_owned()
}

fn purge(site: &Site<'_>, packages: &str) {
    for host in [site.bad(), site.good()] {
        host.sh(&format!(
            "dpkg --purge --force-all {packages} >/dev/null 2>&1; rm -f /run/slow-* /run/cut-*; :"
        ))
        .unwrap();
    }
}

/// Takes the lock that apt takes first, as apt takes it, for so many seconds: `struct flock` of fcntl(2), F_SETLK.
const HOLDER: &str = r#"
$0 = 'unattended-upgrade';
open(my $file, '>>', '/var/lib/dpkg/lock-frontend') or die;
my $lock = pack('ssx4qqix4', 1, 0, 0, 0, 0);
fcntl($file, 6, $lock) or die;
open(my $ready, '>', '/run/lock-held');
sleep $ARGV[0];
"#;

fn hold_lock(host: &Host<'_>, seconds: u32) {
    let start = format!(
        "rm -f /run/lock-held; cat > /run/hold <<'E'\n{HOLDER}\nE\nsetsid perl /run/hold {seconds} </dev/null >/dev/null 2>&1 &"
    );
    host.sh(&start).unwrap();
    wait("the lock", || host.sh("test -e /run/lock-held").is_ok());
}

/// Kills the agent itself, not what it runs.
fn kill_agent(host: &Host<'_>) {
    host.sh("kill -9 $(pgrep -f debark-agent\\|/agent- | head -n 1)").unwrap();
}

fn apt_is_locked(site: &Site<'_>) {
    let host = site.bad();
    let play =
        |seconds: u32| format!("{TASKS}    - {{name: get, apt: {{name: plain, lock_timeout: {seconds}}}}}\n");
    hold_lock(&host, 600);
    let run = site.run(&play(2), &[]);
    let holder = host.sh("pgrep -f ^unattended-upgrade").unwrap();
    host.sh(&format!("kill {holder}")).unwrap();
    let said = failure(&run, "h1", "get");
    let process = format!("process {} (unattended-upgrade", holder.trim());
    says(&said, &[&process, "/var/lib/dpkg/lock-frontend", "within 2 s", "lock_timeout"]);
    assert_eq!(state(&host, "plain"), "");
    others_go_on(&run, "get");
    // One that lets go in time is waited for.
    hold_lock(&host, 3);
    succeeds(&site.run(&play(60), &[]));
    assert_eq!(state(&host, "plain"), "install ok installed");
    purge(site, "plain");
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

const SLOW: &str = "    - {name: get, apt: {name: slow}}\n    - {name: last, command: id -un}\n";

/// Begins to install the slow package, and waits until dpkg is at it on h1. h2 is quick.
fn installing(site: &Site<'_>) -> Background {
    site.good().sh("touch /run/slow-quick").unwrap();
    let run = site.start(&format!("{TASKS}{SLOW}"), &[]);
    wait("the transaction", || site.bad().sh("test -e /run/slow-begun").is_ok());
    run
}

fn a_connection_that_drops_while_apt_works(site: &Site<'_>) {
    let host = site.bad();
    let run = installing(site);
    host.drop_connections();
    assert!(host.sh("test -e /run/slow-ended").is_err(), "it ended before the connection dropped");
    let run = run.end();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    assert_eq!(state(&site.good(), "slow"), "install ok installed");
    let recap = run.events.iter().rev().find(|event| event["event"] == "recap").unwrap();
    assert_eq!(recap["left_running"]["h1"], "get", "{recap}");
    // At once: the next run waits for what still goes on, and says so.
    let again = site.run(&format!("{TASKS}{SLOW}"), &[]);
    succeeds(&again);
    says(&warnings(&again, "h1"), &["waiting for run", "still at work on this host"]);
    assert_eq!(task(&again, "h1", "get")["status"], "ok", "the first run had installed it");
    assert_eq!(state(&host, "slow"), "install ok installed");
    others_go_on(&again, "last");
    purge(site, "slow");
}

fn an_agent_that_is_killed_while_apt_works(site: &Site<'_>) {
    let host = site.bad();
    let run = installing(site);
    kill_agent(&host);
    let run = run.end();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    assert_eq!(state(&site.good(), "slow"), "install ok installed");
    let unit = host.sh("systemctl list-units --no-legend --plain 'debark-apt-*.scope'").unwrap();
    assert!(unit.contains("debark-apt-"), "the transaction goes on in a unit of its own: {unit:?}");
    let again = site.run(&format!("{TASKS}{SLOW}"), &[]);
    succeeds(&again);
    others_go_on(&again, "last");
    says(&warnings(&again, "h1"), &["get: ", "an earlier run had begun", "has ended well"]);
    assert_eq!(state(&host, "slow"), "install ok installed");
    assert_eq!(host.sh("cat /run/slow-ended; ls /run/debark").unwrap(), "ended\n");
    purge(site, "slow");
}

fn an_interrupted_dpkg_is_repaired(site: &Site<'_>) {
    let host = site.bad();
    let cut = format!("{TASKS}    - {{name: get, apt: {{name: cut}}}}\n");
    site.good().sh(": > /run/cut-once").unwrap();
    let run = site.run(&cut, &[]);
    says(&failure(&run, "h1", "get"), &["apt-get install cut"]);
    others_go_on(&run, "get");
    assert_ne!(state(&host, "cut"), "install ok installed");
    // Another package as well: dpkg has to be mended before it can do anything.
    let run = site.run(&format!("{TASKS}    - {{name: get, apt: {{name: plain}}}}\n"), &[]);
    succeeds(&run);
    says(&warnings(&run, "h1"), &["dpkg had been interrupted; repaired", "cut"]);
    assert_eq!(state(&host, "cut"), "install ok installed");
    assert_eq!(state(&host, "plain"), "install ok installed");
    // What `dpkg --configure -a` does not mend: to be unpacked again.
    host.sh("sed -i '/^Package: plain$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/' /var/lib/dpkg/status; \
             rm /usr/share/plain/content")
        .unwrap();
    assert_eq!(state(&host, "plain"), "install reinstreq half-installed");
    host.sh("touch /run/slow-quick").unwrap();
    let run = site.run(&format!("{TASKS}    - {{name: get, apt: {{name: [plain, slow]}}}}\n"), &["-l", "h1"]);
    succeeds(&run);
    says(&warnings(&run, "h1"), &["repaired plain"]);
    assert_eq!(state(&host, "plain"), "install ok installed");
    assert_eq!(host.sh("cat /usr/share/plain/content; dpkg --audit").unwrap(), "plain\n");
    purge(site, "cut plain slow");
}

/// Modules that write files, each on a file system of its own making.
const WRITES: &str = "    - {name: copy, copy: {content: '{{ \"x\" * 400000 }}', dest: /opt/conf}, ignore_errors: true}\n    \
    - {name: block, blockinfile: {path: /opt/conf, block: '{{ \"x\" * 400000 }}'}, ignore_errors: true}\n    \
    - {name: line, lineinfile: {path: /opt/conf, line: '{{ \"x\" * 400000 }}'}, ignore_errors: true}\n    \
    - {name: replace, replace: {path: /opt/conf, regexp: old, replace: '{{ \"x\" * 400000 }}'}}\n";

fn disks_that_are_full_or_read_only(site: &Site<'_>) {
    let host = site.bad();
    site.good().sh("echo old > /opt/conf").unwrap();
    for (mount, word) in [("size=64k", "full"), ("size=64k,ro", "read-only")] {
        host.sh("mount -t tmpfs -o size=64k tmpfs /opt && echo old > /opt/conf").unwrap();
        if mount.ends_with("ro") {
            host.sh("mount -o remount,ro /opt").unwrap();
        }
        let run = site.run(&format!("{TASKS}{WRITES}"), &[]);
        let left = host.sh("ls -A /opt; cat /opt/conf; umount /opt").unwrap();
        for name in ["copy", "block", "line", "replace"] {
            let message = task(&run, "h1", name)["message"].as_str().unwrap_or_default().to_owned();
            says(&message, &["/opt/conf", word]);
        }
        assert_eq!(run.status.code(), Some(2), "{}", run.said());
        assert_eq!(left, "conf\nold\n");
        others_go_on(&run, "copy");
    }
    site.good().sh("rm /opt/conf").unwrap();
}

/// Nothing but `/run` and `/dev` can be written to: there is no place for the agent, its state, or what tasks write.
fn a_root_that_is_read_only(site: &Site<'_>) {
    let (host, dirs) = (site.bad(), "/etc /var /root /tmp /home /usr /opt /srv");
    host.sh(&format!(
        "rm -rf /var/cache/debark; echo old > /etc/conf; \
         for dir in {dirs}; do mount --bind $dir $dir && mount -o remount,bind,ro $dir; done; ! touch /var/lib/x /etc/x"
    ))
    .unwrap();
    let play = "- hosts: all\n  gather_facts: false\n  tasks:\n    \
        - {name: tells, command: id -un, notify: again}\n    \
        - {name: writes, copy: {content: new, dest: /etc/conf}}\n    - {name: last, command: id -un}\n  \
        handlers:\n    - {name: again, command: id -un}\n";
    let run = catch_unwind(AssertUnwindSafe(|| site.run(play, &[])));
    // Lazily: processes of the host may have been started in them.
    host.sh(&format!("for dir in {dirs}; do umount -l $dir; done")).unwrap();
    let run = run.unwrap();
    says(&failure(&run, "h1", "writes"), &["/etc/conf", "read-only"]);
    assert_eq!(task(&run, "h1", "tells")["result"]["stdout"], "root");
    says(&warnings(&run, "h1"), &["cannot keep note of the handlers", "/var/lib/debark"]);
    assert_eq!(host.sh("cat /etc/conf; rm /etc/conf; ls -A /etc | grep debark || :").unwrap(), "old\n");
    others_go_on(&run, "last");
    site.good().sh("rm /etc/conf").unwrap();
    succeeds(&site.run(play, &[]));
    for host in [site.bad(), site.good()] {
        host.sh("rm /etc/conf").unwrap();
    }
}

/// What apt says when a disk fills up under dpkg, and what the next run makes of it.
fn a_disk_that_fills_up_under_dpkg(site: &Site<'_>) {
    let host = site.bad();
    host.sh("mkdir /usr/share/large && mount -t tmpfs -o size=64k tmpfs /usr/share/large").unwrap();
    let play = format!("{TASKS}    - {{name: get, apt: {{name: large}}}}\n");
    let run = site.run(&play, &[]);
    let left = host.sh("ls -A /usr/share/large; umount /usr/share/large").unwrap();
    let all = failure(&run, "h1", "get") + &task(&run, "h1", "get")["result"].to_string();
    says(&all, &["apt-get install large", "No space left on device"]);
    assert_eq!(left, "", "dpkg takes back what it had unpacked");
    others_go_on(&run, "get");
    succeeds(&site.run(&play, &["-l", "h1"]));
    assert_eq!(state(&host, "large"), "install ok installed");
    purge(site, "large");
}

/// Without room for its own notes a run goes on, and says what that means.
fn no_room_for_notes(site: &Site<'_>) {
    forget(site);
    let host = site.bad();
    for host in [site.bad(), site.good()] {
        host.sh("touch /root/quick").unwrap();
    }
    host.sh("mount -t tmpfs -o size=4k,ro tmpfs /var/lib/debark").unwrap();
    let run = site.run(NOTIFIES, &[]);
    host.sh("umount /var/lib/debark").unwrap();
    succeeds(&run);
    says(&warnings(&run, "h1"), &["cannot keep note of the handlers", "/var/lib/debark"]);
    assert_eq!(warnings(&run, "h2"), "");
    assert_eq!(host.sh("cat /root/handled").unwrap(), "ran\n");
    forget(site);
}

/// Hosts that work in step do not wait for one that is gone.
fn a_host_that_others_wait_for(site: &Site<'_>) {
    forget(site);
    let play =
        NOTIFIES.replace("  gather_facts: false\n", "  gather_facts: false\n  max_fail_percentage: 60\n");
    site.good().sh("touch /root/quick").unwrap();
    let run = site.start(&play, &[]);
    wait("the long task", || site.bad().sh("test -e /root/begun").is_ok());
    site.bad().drop_connections();
    let run = run.end();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    wait("the end of the task", || site.bad().sh("test -e /root/finished").is_ok());
    resumes(site);
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

const NOTIFIES: &str = "- name: site\n  hosts: all\n  gather_facts: false\n  tasks:\n    \
    - {name: conf, copy: {content: new, dest: /root/conf}, notify: restart}\n    \
    - {name: long, shell: 'test -e /root/quick || { touch /root/begun; sleep 3; }; echo done > /root/finished'}\n    \
    - {name: last, command: id -un}\n  handlers:\n    - {name: restart, shell: echo ran >> /root/handled}\n";

fn forget(site: &Site<'_>) {
    for host in [site.bad(), site.good()] {
        host.sh("rm -rf /root/conf /root/begun /root/finished /root/handled /root/quick").unwrap();
    }
}

/// The second run has the handler of the first run, and only that one.
#[track_caller]
fn resumes(site: &Site<'_>) {
    site.bad().sh("touch /root/quick").unwrap();
    let again = site.run(NOTIFIES, &["-l", "h1"]);
    succeeds(&again);
    let resumed = again.events.iter().find(|event| event["event"] == "resumed" && event["host"] == "h1");
    assert_eq!(resumed.unwrap_or_else(|| panic!("{}", again.said()))["handlers"][0], "restart");
    assert_eq!(site.bad().sh("cat /root/handled").unwrap(), "ran\n");
    forget(site);
}

fn a_controller_that_is_killed(site: &Site<'_>) {
    forget(site);
    let run = site.start(NOTIFIES, &["-l", "h1"]);
    wait("the long task", || site.bad().sh("test -e /root/begun").is_ok());
    run.signal(Signal::KILL);
    assert_eq!(run.end().status.code(), None);
    wait("the end of the task", || site.bad().sh("test -e /root/finished").is_ok());
    assert!(site.bad().sh("test -e /root/handled").is_err(), "the play does not go on by itself");
    resumes(site);
}

fn a_network_that_goes_down(site: &Site<'_>) {
    forget(site);
    let host = site.bad();
    let impatient = ["--ssh-common-args", "-o ServerAliveInterval=1 -o ServerAliveCountMax=2"];
    let run = site.start(NOTIFIES, &impatient);
    wait("the long task", || host.sh("test -e /root/begun").is_ok());
    // Displays hear of a task only if it lasts a little.
    thread::sleep(Duration::from_millis(500));
    host.network_down().unwrap();
    let run = catch_unwind(AssertUnwindSafe(|| run.end()));
    host.network_up().unwrap();
    let run = run.unwrap();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    let lost = run.events.iter().find(|event| event["event"] == "unreachable").unwrap();
    assert_eq!((&lost["host"], &lost["during"]), (&"h1".into(), &"long".into()), "{lost}");
    // The agent of that run may not know yet that nobody listens: the next run waits until it does.
    resumes(site);
}

fn an_agent_that_is_killed(site: &Site<'_>) {
    forget(site);
    let run = site.start(NOTIFIES, &[]);
    wait("the long task", || site.bad().sh("test -e /root/begun").is_ok());
    // Displays hear of a task only if it lasts a little.
    thread::sleep(Duration::from_millis(500));
    kill_agent(&site.bad());
    let run = run.end();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    let lost = run.events.iter().find(|event| event["event"] == "unreachable").unwrap();
    assert_eq!((&lost["host"], &lost["during"]), (&"h1".into(), &"long".into()), "{lost}");
    resumes(site);
}

fn handlers_after_a_failure(site: &Site<'_>) {
    forget(site);
    site.bad().sh("mkdir /root/finished").unwrap();
    for host in [site.bad(), site.good()] {
        host.sh("touch /root/quick").unwrap();
    }
    let run = site.run(NOTIFIES, &[]);
    failure(&run, "h1", "long");
    others_go_on(&run, "last");
    let recap = run.events.iter().rev().find(|event| event["event"] == "recap").unwrap();
    assert_eq!(recap["pending_handlers"]["h1"][0], "restart", "{recap}");
    assert_eq!(recap["pending_handlers"]["h2"], Value::Null, "{recap}");
    site.bad().sh("rmdir /root/finished").unwrap();
    resumes(site);
}

fn ctrl_c_once(site: &Site<'_>) {
    forget(site);
    let run = site.start(NOTIFIES, &[]);
    for host in [site.bad(), site.good()] {
        wait("the long task", || host.sh("test -e /root/begun").is_ok());
    }
    run.signal(Signal::INT);
    let run = run.end();
    assert_eq!(run.status.code(), Some(130), "{}", run.said());
    for name in ["h1", "h2"] {
        // What ran has ended, is told of, and nothing else was begun.
        assert_eq!(task(&run, name, "long")["status"], "changed");
        assert_eq!(site.lab.host(name).unwrap().sh("cat /root/finished").unwrap(), "done\n");
        let recap = run.events.iter().rev().find(|event| event["event"] == "recap").unwrap();
        assert_eq!(recap["pending_handlers"][name][0], "restart", "{recap}");
    }
    assert!(!run.tasks().iter().any(|task| task.task == "last"), "{}", run.said());
    site.good().sh("touch /root/quick").unwrap();
    succeeds(&site.run(NOTIFIES, &["-l", "h2"]));
    resumes(site);
}

fn ctrl_c_twice(site: &Site<'_>) {
    forget(site);
    let run = site.start(&NOTIFIES.replace("sleep 3", "sleep 8"), &["-l", "h1"]);
    wait("the long task", || site.bad().sh("test -e /root/begun").is_ok());
    let begin = Instant::now();
    run.signal(Signal::INT);
    thread::sleep(Duration::from_millis(300));
    run.signal(Signal::INT);
    let run = run.end();
    assert_eq!(run.status.code(), Some(130), "{}", run.said());
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    let recap = run.events.iter().rev().find(|event| event["event"] == "recap").unwrap();
    assert_eq!(recap["left_running"]["h1"], "long", "{recap}");
    wait("the end of the task", || site.bad().sh("test -e /root/finished").is_ok());
    resumes(site);
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
        host.sh(ARCHIVE).unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, dir: home.path().to_owned() };
    type Step = (&'static str, fn(&Site<'_>));
    let steps: &[Step] = &[
        ("apt is locked", apt_is_locked),
        ("a unit that fails to start", a_unit_that_fails_to_start),
        ("a connection that drops while apt works", a_connection_that_drops_while_apt_works),
        ("an agent that is killed while apt works", an_agent_that_is_killed_while_apt_works),
        ("an interrupted dpkg is repaired", an_interrupted_dpkg_is_repaired),
        ("disks that are full or read-only", disks_that_are_full_or_read_only),
        ("a root that is read-only", a_root_that_is_read_only),
        ("a disk that fills up under dpkg", a_disk_that_fills_up_under_dpkg),
        ("no room for notes", no_room_for_notes),
        ("a host that others wait for", a_host_that_others_wait_for),
        ("one fails and another is away", one_fails_and_another_is_away),
        ("sudo that asks for a password", sudo_that_asks_for_a_password),
        ("a file that someone else changes meanwhile", a_file_that_someone_else_changes_meanwhile),
        ("a controller that is killed", a_controller_that_is_killed),
        ("a network that goes down", a_network_that_goes_down),
        ("an agent that is killed", an_agent_that_is_killed),
        ("handlers after a failure", handlers_after_a_failure),
        ("Ctrl-C once", ctrl_c_once),
        ("Ctrl-C twice", ctrl_c_twice),
        ("the journal says who and has no secrets", the_journal_says_who_and_has_no_secrets),
        ("a command that prints a gigabyte", a_command_that_prints_a_gigabyte),
    ];
    let only = std::env::var("DEBARK_ONLY").unwrap_or_default();
    run_steps_of(&site, steps, &only);
}
