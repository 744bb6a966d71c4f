//! The remote, through the program `git`: so the user's credentials, ssh_config and proxies count.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use debark_order::Environment;
use git2::Oid;
use serde::Serialize;

use crate::error::LedgerError;

/// How long git may take; a fetch of a long chain over a slow line is far below it.
const PATIENCE: Duration = Duration::from_secs(300);

/// A remote repository.
pub(crate) struct Remote<'a> {
    /// The bare repository here.
    pub(crate) path: &'a Path,
    /// As git takes it.
    pub(crate) url: &'a str,
}

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The remote has it.
    Done,
    /// The branch is not where it was thought to be.
    Stale,
    /// A hook or a rule says no.
    Rejected(String),
}

/// How a branch here and at the remote compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// The same entries.
    Same,
    /// That many came from the remote.
    Fetched {
        /// How many.
        entries: usize,
    },
    /// That many are only here and wait for `debark ledger push`.
    Ahead {
        /// How many.
        entries: usize,
    },
    /// That many were pushed.
    Pushed {
        /// How many.
        entries: usize,
    },
    /// Different entries; nothing was changed.
    Diverged {
        /// How many are only here.
        local: usize,
        /// How many are only there.
        remote: usize,
    },
    /// The remote has lost entries that it had; nothing was changed.
    Rewound {
        /// How many.
        lost: usize,
    },
    /// What came is not signed as it has to be; nothing was taken over.
    Untrusted {
        /// What is wrong with it.
        why: String,
    },
}

/// What a fetch or a push did for an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BranchNews {
    /// Which.
    pub environment: Environment,
    /// How it stands now.
    #[serde(flatten)]
    pub standing: Standing,
}

/// A URL without the password that may be in it.
pub(crate) fn without_password(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?))) {
        Some((scheme, (user, rest))) if !user.contains('/') => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}@{rest}")
        }
        _ => url.to_owned(),
    }
}

impl Remote<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new("git");
        // A hook of another repository may run us: what it says of its own repository is not about ours.
        for name in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_NAMESPACE",
            "GIT_QUARANTINE_PATH",
        ] {
            command.env_remove(name);
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        let own_ssh = ["GIT_SSH_COMMAND", "GIT_SSH"].iter().any(|name| std::env::var_os(name).is_some());
        if !own_ssh {
            // Without these a gateway that is gone would hold a rollback up for minutes.
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=10");
        }
        command.args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=20", "-c", "gc.auto=0"]);
        command.arg("--git-dir").arg(self.path);
        command
    }

    fn down(&self, why: &str) -> LedgerError {
        let why = why.replace(self.url, &without_password(self.url));
        LedgerError::RemoteDown { remote: without_password(self.url), why }
    }

    fn run(&self, command: &mut Command) -> Result<(bool, String, String), LedgerError> {
        if self.url.starts_with('-') {
            return Err(self.down("a URL does not begin with a hyphen"));
        }
        // A group of its own: it can be ended with its ssh, and Ctrl-C leaves it to finish what it has begun.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| LedgerError::Program(error.to_string()))?;
        let group = rustix::process::Pid::from_child(&child);
        let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                if let Some(pipe) = pipe {
                    // What cannot be read is not there.
                    let _ = pipe.take(1 << 20).read_to_end(&mut text);
                }
                String::from_utf8_lossy(&text).into_owned()
            })
        };
        let out = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
        let err = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
        let begun = Instant::now();
        let mut pause = Duration::from_millis(2);
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                Ok(None) => {
                    // It may have ended just now; then there is nobody to end.
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                    let _ = child.wait();
                    break None;
                }
                Err(error) => return Err(LedgerError::Program(error.to_string())),
            }
        };
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        match status {
            Some(status) => Ok((status.success(), out, err)),
            None => Err(self.down(&format!("git did not end within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Fetches all branches of the ledger below `refs/debark/incoming/`.
    pub(crate) fn fetch(&self) -> Result<(), LedgerError> {
        let mut command = self.command();
        command.args([
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
        ]);
        command.args(["--", self.url]);
        command
            .args(["env", "lease"].map(|kind| format!("+refs/heads/{kind}/*:refs/debark/incoming/{kind}/*")));
        let (fine, _, err) = self.run(&mut command)?;
        if fine { Ok(()) } else { Err(self.down(&last_words(&err))) }
    }

    /// Pushes commits to branches, each of which has to be at the second id (or not be there), all or none.
    pub(crate) fn push(&self, updates: &[(&str, Option<Oid>, Oid)]) -> Result<Pushed, LedgerError> {
        let mut command = self.command();
        command.args(["push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-signed"]);
        if updates.len() > 1 {
            command.arg("--atomic");
        }
        for (name, old, _) in updates {
            let old = old.map(|old| old.to_string()).unwrap_or_default();
            command.arg(format!("--force-with-lease={name}:{old}"));
        }
        command.args(["--", self.url]);
        for (name, _, new) in updates {
            command.arg(format!("{new}:{name}"));
        }
        let (fine, out, err) = self.run(&mut command)?;
        // One line per branch: flag, tab, refs, tab, what came of it (git-push(1), OUTPUT).
        let rejections: Vec<&str> = out.lines().filter(|line| line.starts_with('!')).collect();
        if fine && rejections.is_empty() {
            return Ok(Pushed::Done);
        }
        if rejections.is_empty() {
            return Err(self.down(&last_words(&err)));
        }
        let stale = [
            "stale info",
            "fetch first",
            "non-fast-forward",
            "cannot lock ref",
            "failed to update ref",
            "reference already exists",
            "incorrect old value",
        ];
        if rejections.iter().any(|line| stale.iter().any(|word| line.contains(word))) {
            return Ok(Pushed::Stale);
        }
        let said = err.lines().filter_map(|line| line.strip_prefix("remote: ")).map(str::trim);
        let said: Vec<&str> = said.filter(|line| !line.is_empty()).take(5).collect();
        let first = rejections.first().and_then(|line| line.rsplit('\t').next()).unwrap_or_default();
        let why = if said.is_empty() { first.to_owned() } else { format!("{first}: {}", said.join("; ")) };
        Ok(Pushed::Rejected(why.chars().filter(|c| !c.is_control()).take(500).collect()))
    }
}

fn last_words(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    // git ends with advice on access rights; what happened stands before it.
    let told = lines.clone().find(|line| line.starts_with("fatal:") || line.starts_with("ssh:"));
    let line = told.or_else(|| lines.clone().next_back()).unwrap_or("git gives no reason");
    line.trim_start_matches("fatal: ").chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_urls_are_not_told() {
        assert_eq!(
            without_password("https://ci:secret@git.example.org/l.git"),
            "https://ci@git.example.org/l.git"
        );
        for same in ["git@git.example.org:l.git", "/srv/l.git", "https://git.example.org/a@b"] {
            assert_eq!(without_password(same), same);
        }
    }

    #[test]
    fn what_git_says_last_is_advice() {
        let said = "ssh: connect to host git.example.org port 22: Connection refused\nfatal: Could not read from remote repository.\n\nPlease make sure\nand the repository exists.\n";
        assert!(last_words(said).starts_with("ssh: connect"));
    }
}
