//! The ledger, with real git and real ssh-keygen.

#![allow(missing_docs, clippy::unwrap_used, reason = "helpers of tests")]

mod attacks;
mod life;
mod memory;
mod race;
mod remote;

use std::path::{Path, PathBuf};
use std::process::Command;

use debark_ledger::{
    AppendError, Appended, DeployAction, Draft, Finished, HostOutcome, HostResult, Kind, Ledger, Offline,
    Outcome, Settings, Started, State,
};
use debark_order::sshsig::Signer;
use debark_order::{Action, Digest, Environment, Order, SealedOrder};
use tempfile::TempDir;

/// A directory with keys of alice, bob and mallory, of whom only the first two are allowed to sign.
pub(crate) struct Team {
    pub directory: TempDir,
}

impl Team {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut allowed = String::new();
        for name in ["alice", "bob", "mallory"] {
            let key = directory.path().join(name);
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&key);
            assert!(make.status().unwrap().success());
            if name != "mallory" {
                let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
                allowed += &format!("{name}@example.org namespaces=\"git,order@debark\" {public}");
            }
        }
        std::fs::write(directory.path().join("signers"), allowed).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn settings(&self, who: &str, repository: &str, remote: Option<&str>) -> Settings {
        Settings {
            path: self.path(repository),
            remote: remote.map(|remote| self.path(remote).display().to_string()),
            signer: Some(Signer { key: self.path(who) }),
            allowed: self.path("signers"),
            memory: Some(self.path("memory/verified")),
        }
    }

    pub(crate) fn ledger(&self, who: &str, repository: &str) -> Ledger {
        Ledger::open(self.settings(who, repository, None)).unwrap()
    }

    pub(crate) fn shared(&self, who: &str, repository: &str) -> Ledger {
        Ledger::open(self.settings(who, repository, Some("remote.git"))).unwrap()
    }
}

pub(crate) fn env(name: &str) -> Environment {
    name.parse().unwrap()
}

pub(crate) fn digest(version: &str) -> Digest {
    Digest::of(version.as_bytes())
}

/// Runs git; what it prints.
pub(crate) fn git(repository: &Path, args: &[&str]) -> String {
    let output =
        Command::new("git").arg("--git-dir").arg(repository).args(args).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    // What git says of signatures goes to standard error or standard output, by its version.
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn start_draft(
    ledger: &Ledger,
    state: &State,
    action: DeployAction,
    version: &str,
    lease: u32,
) -> Draft {
    let order = Order {
        format: 1,
        environment: state.environment.clone(),
        sequence: state.sequence + 1,
        action: if action == DeployAction::Rollback { Action::Rollback } else { Action::Deploy },
        package: "shop".parse().unwrap(),
        version: version.parse().unwrap(),
        digest: digest(version),
        size: 1000,
        actor: ledger.actor().unwrap(),
        issued: 0,
        expires: u64::MAX,
        checks: Vec::new(),
        keep: 3,
        confirm_within: 60,
        install_within: 60,
    };
    let text = serde_json::to_string(&order).unwrap();
    let started = Started {
        action,
        package: order.package,
        version: order.version,
        digest: order.digest,
        size: order.size,
        commit: Some("0123456789abcdef0123456789abcdef01234567".into()),
        from: None,
        of: None,
        hosts: vec!["web1".into(), "web2".into()],
        lease_seconds: lease,
        order: SealedOrder { text, signature: String::new() },
    };
    Draft {
        sequence: order.sequence,
        reason: Some("tickets 1\nand 2".into()),
        kind: Kind::Started(Box::new(started)),
    }
}

pub(crate) fn start(
    ledger: &Ledger,
    environment: &str,
    action: DeployAction,
    version: &str,
) -> Result<Appended, AppendError> {
    let state = ledger.state(&env(environment)).unwrap();
    let draft = start_draft(ledger, &state, action, version, 180);
    let offline = if action == DeployAction::Rollback { Offline::Allow } else { Offline::Refuse };
    ledger.append(&env(environment), &state, draft, offline)
}

pub(crate) fn finished(of: u64, result: Outcome, version: &str) -> Kind {
    let host = |host: &str, result| HostResult {
        host: host.into(),
        result,
        before: None,
        after: (result == HostOutcome::Ok).then(|| version.parse().unwrap()),
        took_ms: 1200,
        message: None,
    };
    let good = result == Outcome::Succeeded;
    let hosts = if good {
        vec![host("web1", HostOutcome::Ok), host("web2", HostOutcome::Behind)]
    } else {
        vec![host("web1", HostOutcome::Reverted), host("web2", HostOutcome::Untouched)]
    };
    Kind::Finished(Finished { of, result, bad: !good, hosts, took_ms: 2500, message: None })
}

/// Starts and finishes.
pub(crate) fn deploy(
    ledger: &Ledger,
    environment: &str,
    action: DeployAction,
    version: &str,
    result: Outcome,
) -> u64 {
    let of = start(ledger, environment, action, version).unwrap().entry.sequence;
    ledger.record(&env(environment), None, finished(of, result, version), Offline::Allow).unwrap();
    of
}
