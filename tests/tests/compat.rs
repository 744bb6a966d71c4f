//! Playbooks that were written for Ansible leave a host alike under debark and under ansible-core itself.
//!
//! Each directory of `tests/compat/` is a playbook as its users write them, with what belongs to it. It is run by
//! ansible-core against one lab host and by debark against another that began the same; then the two hosts' file
//! systems, packages, units and accounts are compared. Also, with debark: check mode has predicted of each task and item
//! whether it changes something, and a second run changes nothing.
//!
//! `cargo nextest run -p debark-e2e --test compat c03` runs one of them; `KEEP=1` keeps what both printed.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use debark_e2e::{Run, Snapshot, copy_tree, debark, inventory_of, lab, workspace};
use debark_lab::{Host, Lab, Say};

/// The name both hosts have in the inventories and their own.
const NAME: &str = "web1";
const GROUPS: &[&str] = &["web", "app"];

/// Where one of the two tools works.
struct Side<'a> {
    lab: &'a Lab,
    host: Host<'a>,
    /// A copy of the playbook: what it writes on the controller stays apart.
    dir: PathBuf,
    home: PathBuf,
    inventory: PathBuf,
}

impl<'a> Side<'a> {
    fn new(lab: &'a Lab, host: &str, playbook: &Path, home: &Path) -> Self {
        let host = lab.host(host).unwrap();
        fs::create_dir_all(home).unwrap();
        let dir = home.join("playbook");
        copy_tree(playbook, &dir);
        // The user's own configuration has no say.
        fs::write(home.join("ansible.cfg"), "").unwrap();
        let inventory = home.join("hosts");
        fs::write(&inventory, inventory_of(lab, &host, NAME, GROUPS)).unwrap();
        // Nothing that differs between the hosts may reach a template.
        host.sh(&format!(
            "echo {NAME} > /etc/hostname; hostname {NAME}; printf '127.0.0.1 localhost\\n' > /etc/hosts"
        ))
        .unwrap();
        Self { lab, host, dir, home: home.to_owned(), inventory }
    }

    fn arguments(&self, command: &mut Command) {
        command.arg("-i").arg(&self.inventory);
        let password = self.dir.join("vault-pass");
        if password.exists() {
            command.arg("--vault-password-file").arg(password);
        }
        command.arg(self.dir.join("site.yml"));
    }

    /// Runs ansible-core; what it said when it failed.
    fn ansible(&self) -> Option<String> {
        let bin = workspace().join(".cache/peers/bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = self.lab.controller_command(bin.join("ansible-playbook"));
        command.current_dir(&self.home).env("PATH", path).env("ANSIBLE_HOME", &self.home);
        command
            .env("ANSIBLE_PIPELINING", "1")
            .env("ANSIBLE_CONFIG", self.home.join("ansible.cfg"))
            .env("HOME", &self.home);
        command.env("LC_ALL", "C.UTF-8").stdin(std::process::Stdio::null());
        self.arguments(&mut command);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        fs::write(self.home.join("said"), &said).unwrap();
        (!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
    }

    fn debark(&self, flags: &[&str]) -> Run {
        let mut command = debark(self.lab, &self.home);
        command.arg("run").args(flags);
        self.arguments(&mut command);
        let run = Run::of(&mut command);
        let events: Vec<String> = run.events.iter().map(ToString::to_string).collect();
        fs::write(self.home.join(format!("run{}.jsonl", flags.concat())), events.join("\n")).unwrap();
        run
    }

    fn snapshot(&self) -> Snapshot {
        let addresses: Vec<String> =
            self.lab.hosts().unwrap().iter().map(|host| host.address().to_string()).collect();
        let own: Vec<(&str, &str)> = addresses.iter().map(|address| (address.as_str(), "ADDRESS")).collect();
        Snapshot::take(&self.host, &own)
    }
}

/// What differs, one text per complaint.
fn compare(lab: &Lab, playbook: &Path, home: &Path) -> Vec<String> {
    lab.reset(&[], &(Box::new(|_: &str| ()) as Say)).unwrap();
    let theirs = Side::new(lab, "h1", playbook, &home.join("ansible"));
    let ours = Side::new(lab, "h2", playbook, &home.join("debark"));
    let mut complaints = Vec::new();
    let before = ours.snapshot();
    let start = theirs.snapshot().differences(&before);
    assert!(start.is_empty(), "the hosts differ before anything was done: {start:?}");

    let (check, run) = std::thread::scope(|scope| {
        let peer = scope.spawn(|| theirs.ansible());
        let check = ours.debark(&["--check"]);
        let touched = before.differences(&ours.snapshot());
        let run = ours.debark(&[]);
        if let Some(said) = peer.join().unwrap() {
            complaints.push(format!("ansible itself failed: {said}"));
        }
        if !touched.is_empty() {
            complaints.push(format!("check mode changed the host: {}", list(&touched)));
        }
        (check, run)
    });
    for (what, one) in [("check", &check), ("run", &run)] {
        if !one.status.success() || !one.noise.is_empty() {
            complaints.push(format!("the {what} failed: {}", one.said()));
        }
    }
    let wrong = check.mispredicted(&run);
    if !wrong.is_empty() {
        complaints.push(format!("check mode is wrong:\n  {}", wrong.join("\n  ")));
    }
    let (left, right) = (theirs.snapshot(), ours.snapshot());
    if left.differences(&before).is_empty() {
        complaints.push("the playbook does nothing under ansible".to_owned());
    }
    let differences = left.differences(&right);
    if !differences.is_empty() {
        complaints.push(format!("- ansible, + debark:\n{}", list(&differences)));
    }
    let outputs = [&theirs, &ours].map(|side| outputs(&side.dir));
    if outputs[0] != outputs[1] {
        complaints.push(format!("on the controller: {outputs:?}"));
    }

    let again = ours.debark(&[]);
    // Groups are made anew by each run.
    let busy = again.outcomes().into_iter().filter(|(_, outcome)| {
        outcome.status == "changed" && !matches!(outcome.action.as_str(), "group_by" | "add_host")
    });
    let busy: Vec<String> = busy.map(|(which, outcome)| format!("{which} {:?}", outcome.task)).collect();
    if !again.status.success() || !busy.is_empty() {
        complaints.push(format!("the second run was not idle: {}\n{}", busy.join("\n"), again.said()));
    }
    complaints
}

fn list(differences: &[debark_e2e::Difference]) -> String {
    differences.iter().map(ToString::to_string).collect()
}

/// What a playbook left in its `out` directory on the controller.
fn outputs(dir: &Path) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(dir.join("out"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    found.sort();
    found
}

/// Runs one playbook under both and fails with what differs.
fn alike(playbook: &str) {
    let peers = workspace().join("scripts/setup-peers");
    let output = Command::new(&peers).output().unwrap_or_else(|err| panic!("{}: {err}", peers.display()));
    assert!(output.status.success(), "{}: {}", peers.display(), String::from_utf8_lossy(&output.stderr));

    // python3-apt too: ansible's apt module would install it first, on its host only.
    let lab = lab(&format!("c{}", &playbook[..2]), 2, &["python3", "python3-apt"]);
    let keep = std::env::var_os("KEEP").is_some();
    let home = tempfile::Builder::new().prefix("debark-compat-").disable_cleanup(keep).tempdir().unwrap();
    if keep {
        println!("kept in {}", home.path().display());
    }
    let complaints = compare(&lab, &playbooks().join(playbook), home.path());
    assert!(complaints.is_empty(), "{playbook} differs under debark:\n\n{}", complaints.join("\n\n"));
}

fn playbooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat")
}

/// A test for each directory, so that each is run and told on its own.
macro_rules! playbooks {
    ($($name:ident: $dir:literal,)*) => {
        $(
            #[test]
            fn $name() {
                alike($dir);
            }
        )*

        #[test]
        fn every_playbook_has_its_test() {
            let mut found: Vec<String> = fs::read_dir(playbooks())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            found.sort();
            assert_eq!(found, [$($dir),*]);
        }
    };
}

playbooks! {
    c01_webserver: "01-webserver",
    c02_users: "02-users",
    c03_edits: "03-edits",
    c04_files: "04-files",
    c05_blocks: "05-blocks",
    c06_data: "06-data",
    c07_service: "07-service",
    c08_system: "08-system",
    c09_vault: "09-vault",
    c10_deploy: "10-deploy",
    c11_packages: "11-packages",
    c12_baseline: "12-baseline",
    c13_results: "13-results",
    c14_kernel: "14-kernel",
    c15_network: "15-network",
}
