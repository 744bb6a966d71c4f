//! `debark lab` as a person uses it. Needs root and the packages of `scripts/setup-lab`; without them it fails.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output, Stdio};
use std::time::Duration;

struct Lab(String);

impl Lab {
    fn run(&self, words: &[&str], rest: &[&str]) -> Output {
        let mut command = debark();
        command.arg("lab").args(words).args(["--name", &self.0]).args(rest);
        command.output().unwrap()
    }

    #[track_caller]
    fn ok(&self, words: &[&str], rest: &[&str]) -> String {
        let output = self.run(words, rest);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.run(&["down"], &[]);
    }
}

fn debark() -> Command {
    Command::new(env!("CARGO_BIN_EXE_debark"))
}

#[test]
fn a_lab_from_up_to_down() {
    let lab = Lab(format!("c{}", std::process::id()));
    lab.ok(&["up", "1"], &[]);
    lab.ok(&["up", "2"], &[]);
    let inventory = lab.ok(&["inventory"], &[]);
    assert_eq!(inventory.lines().count(), 2, "{inventory}");
    assert!(inventory.starts_with("h1 ansible_host=10.213."), "{inventory}");
    let json: serde_json::Value = serde_json::from_str(&lab.ok(&["inventory"], &["--json"])).unwrap();
    assert_eq!(json["_meta"]["hostvars"]["h2"]["ansible_user"], "root");
    assert_eq!(lab.ok(&["ssh"], &["h2", "hostname"]).trim(), "h2");
    assert_eq!(lab.ok(&["ssh"], &["debian@h1", "id", "-un"]).trim(), "debian");
    assert_eq!(lab.run(&["ssh"], &["h1", "exit 9"]).status.code(), Some(9));
    // The exit code and the signals of what runs in the namespace are its own.
    assert_eq!(lab.run(&["exec"], &["--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    let killed = lab.run(&["exec"], &["--", "sh", "-c", "kill -TERM $$"]).status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(15));
    let addresses = lab.ok(&["exec"], &["--", "ip", "-brief", "address"]);
    assert!(addresses.contains("lab0") && !addresses.contains("eth0"), "{addresses}");
    let list = String::from_utf8(debark().args(["lab", "list"]).output().unwrap().stdout).unwrap();
    assert_eq!(
        list.lines().filter(|line| line.starts_with(&lab.0) && line.contains("  up")).count(),
        2,
        "{list}"
    );
    lab.ok(&["reset"], &["h1"]);
    let delayed = lab.ok(&["delay"], &["h1", "50"]);
    assert!(delayed.starts_with("10.213."), "{delayed}");
    let wrong = lab.run(&["ssh"], &["h7", "true"]);
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        !wrong.status.success() && said.contains("has no host `h7`") && said.contains("h1, h2"),
        "{said}"
    );
    lab.ok(&["down"], &[]);
    lab.ok(&["down"], &[]);
    assert!(!lab.run(&["inventory"], &[]).status.success());
}

#[test]
fn nobody_but_root_gets_one_clear_refusal() {
    // The executable may be in a directory that only root can enter: it is open already when it is started.
    let output = Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            env!("CARGO_BIN_EXE_debark"),
            "lab",
            "up",
            "1",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("root"), "{said}");
}

#[test]
fn missing_tools_are_named_with_their_packages() {
    // A machine without them: in a mount namespace of its own, where they are no programs.
    let script = "for program in /usr/bin/mmdebstrap /usr/bin/systemd-nspawn /usr/sbin/apt-cacher-ng; do
        mount --bind /dev/null $program
    done
    exec \"$0\" lab up 1";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_debark")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.ends_with("hint: apt-get install mmdebstrap systemd-container apt-cacher-ng\n"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn an_up_that_was_killed_anywhere_is_removed_whole() {
    let lab = Lab(format!("k{}", std::process::id()));
    lab.ok(&["up", "1"], &[]);
    lab.ok(&["down"], &[]);
    for wait in [5, 40, 120, 250, 400] {
        let mut up =
            debark().args(["lab", "up", "4", "--name", &lab.0]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        up.kill().unwrap();
        up.wait().unwrap();
        lab.ok(&["down"], &[]);
        let script = format!(
            "cat /proc/self/mountinfo; ls /run/netns /run/systemd/nspawn/propagate; find /sys/fs/cgroup -type d; \
             grep -ah '[{}]{}' /proc/[0-9]*/cmdline; ls /var/lib/debark-lab/labs \"$DEBARK_LAB_DIR/labs\"",
            &lab.0[..1],
            &lab.0[1..]
        );
        let left = Command::new("sh").args(["-c", &script]).output().unwrap();
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        let mine: Vec<_> = left.lines().filter(|line| line.contains(&lab.0)).collect();
        assert!(mine.is_empty(), "after {wait} ms: {mine:#?}");
    }
}

/// A state directory of its own, with nothing in it.
struct Root(std::path::PathBuf);

impl Drop for Root {
    fn drop(&mut self) {
        let _ = debark().args(["lab", "down", "--all"]).env("DEBARK_LAB_DIR", &self.0).output();
        // Never into what may still be mounted there.
        let _ = Command::new("rm").args(["-rf", "--one-file-system"]).arg(&self.0).output();
    }
}

#[test]
fn an_up_that_was_killed_while_it_made_the_base_system_leaves_no_process_and_no_mount() {
    let root = Root(format!("/var/tmp/debark-cli-lab-{}", std::process::id()).into());
    let lab = |words: &[&str]| {
        let mut command = debark();
        command.arg("lab").args(words).env("DEBARK_LAB_DIR", &root.0);
        command
    };
    let mut up = lab(&["up", "1"]).stderr(Stdio::null()).spawn().unwrap();
    // Far enough for mmdebstrap to have mounted and to be unpacking.
    std::thread::sleep(Duration::from_secs(6));
    up.kill().unwrap();
    up.wait().unwrap();
    assert!(lab(&["down"]).status().unwrap().success());
    let here = root.0.to_string_lossy().into_owned();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&here), "{mounts}");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        assert!(!words.contains(&here), "{words}");
    }
    // The next one is not disturbed by what that left.
    let output = lab(&["up", "1"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
