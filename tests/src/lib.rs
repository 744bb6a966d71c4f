//! What the end-to-end tests share: the built `debark`, lab hosts under names of the test's choice, and runs whose
//! events can be asked.
//!
//! These tests need root, the packages of `scripts/setup-lab`, and a built debark with its agent
//! (`cargo build && scripts/build-agent`). Without them they fail: there is nothing to skip.

// Fixtures fail by panicking, as the tests do that call them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod outcome;
mod publisher;
mod releases;
mod run;
mod s3;
mod shop;
mod snapshot;
mod steps;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::Command;

use debark_lab::{Host, Lab, Options};

pub use outcome::{Outcome, Which};
pub use publisher::{Publisher, sha256};
pub use releases::{Ended, Releases};
pub use run::{Run, TaskEvent};
pub use s3::S3Server;
pub use shop::Shop;
pub use snapshot::{Difference, Entry, Snapshot};
pub use steps::{run_steps, run_steps_of};
pub use terminal::{Shown, on_terminal};

/// The directory of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// The programs of real ansible-core, which `scripts/setup-peers` installs if they are not there.
pub fn peers() -> PathBuf {
    let script = workspace().join("scripts/setup-peers");
    let output = Command::new(&script).output().unwrap_or_else(|err| panic!("{}: {err}", script.display()));
    assert!(output.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    workspace().join(".cache/peers/bin")
}

/// The debark of the same build: `target/PROFILE/debark` for a test in `target/PROFILE/deps`.
pub fn debark_program() -> PathBuf {
    let me = std::env::current_exe().expect("a test knows its own path");
    let profile = me.ancestors().find(|dir| dir.join("deps").is_dir() && dir.join("build").is_dir());
    let path =
        profile.unwrap_or_else(|| panic!("{} is not in a target directory", me.display())).join("debark");
    assert!(
        path.is_file(),
        "{} is not built: run `cargo build` and `scripts/build-agent` first, or `scripts/test`, which does both",
        path.display()
    );
    path
}

/// Packages of hosts where packages are looked at, or installed beside what asks and restarts: one base system for the tests that do.
pub const PACKAGING: &[&str] = &["apt-utils", "debsig-verify", "dialog", "gpg", "lintian", "needrestart"];

/// Boots a lab of so many hosts with these packages. Its name holds this process's number, so that tests can run side
/// by side; it is removed when dropped.
pub fn lab(name: &str, hosts: usize, packages: &[&str]) -> Lab {
    Lab::up(lab_options(name, hosts, packages)).unwrap_or_else(|err| panic!("the lab {name}: {err}"))
}

/// The options of such a lab, to change.
pub fn lab_options(name: &str, hosts: usize, packages: &[&str]) -> Options {
    Options {
        program: Some(debark_program()),
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
        ..Options::new(&format!("e{}-{name}", std::process::id()), hosts)
    }
}

/// An inventory that knows one lab host under another name, in these groups.
pub fn inventory_of(lab: &Lab, host: &Host<'_>, name: &str, groups: &[&str]) -> String {
    let text = lab.inventory(&[]).unwrap();
    let line = text
        .lines()
        .find(|line| line.split_whitespace().next() == Some(host.name()))
        .unwrap_or_else(|| panic!("the lab's inventory does not know {}", host.name()));
    let mut text = line.replacen(host.name(), name, 1);
    for group in groups {
        text.push_str(&format!("\n\n[{group}]\n{name}"));
    }
    text.push('\n');
    text
}

/// `debark`, with these arguments, where the lab's hosts can be reached. Its cache and configuration are `home`'s.
pub fn debark(lab: &Lab, home: &Path) -> Command {
    let mut command = lab.controller_command(debark_program());
    command
        .current_dir(home)
        .env("HOME", home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("LC_ALL", "C.UTF-8");
    command.env_remove("SSH_AUTH_SOCK").stdin(std::process::Stdio::null());
    command
}

/// Copies a directory with everything in it: modes and symbolic links as they are.
pub fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success(), "cp -a {} {}: {status}", from.display(), to.display());
}

/// The processes that a process has started and that are its children still.
pub fn children(of: u32) -> Vec<i32> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    numbers.filter(|pid| parent(pid) == Some(of)).collect()
}
