//! What can go wrong with a lab, in words for the person who typed the command.

use std::path::{Path, PathBuf};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a lab could not do what was asked. [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A lab makes namespaces and mounts, which the kernel allows to root only.
    #[error("a lab needs root: it makes network namespaces, mounts and containers")]
    NotRoot,
    /// Programs are missing; the packages that hold them are named.
    #[error("the lab's tools are missing: {}", .programs.join(", "))]
    MissingTools {
        /// The programs that were not found.
        programs: Vec<&'static str>,
        /// The Debian packages that hold them.
        packages: Vec<&'static str>,
    },
    /// The machine cannot carry a lab, or not as asked.
    #[error("{what}")]
    Machine {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A lab's or a host's name, a suite or a number that cannot be one.
    #[error("{what}")]
    Input {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// There is no lab of this name.
    #[error("there is no lab named `{name}`")]
    NoLab {
        /// The name asked for.
        name: String,
        /// The labs there are.
        known: Vec<String>,
    },
    /// The lab has no host of this name.
    #[error("lab `{lab}` has no host `{host}`")]
    NoHost {
        /// The lab.
        lab: String,
        /// The host asked for.
        host: String,
        /// The hosts it has.
        known: Vec<String>,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was tried: `read`, `write`, `mount`, ...
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The kernel's word.
        source: std::io::Error,
    },
    /// A program that the lab needs could not be started or failed.
    #[error("`{command}` {status}{}", tail(.stderr))]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// A host did not come up.
    #[error("host {host} did not boot: {why}{}", tail(.console))]
    Boot {
        /// The host.
        host: String,
        /// How far it came.
        why: String,
        /// The last lines of its console.
        console: String,
    },
}

impl Error {
    /// What to do about it, or nothing if the message says it all.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRoot => Some("run the command as root, for example with sudo".into()),
            Self::MissingTools { packages, .. } => Some(format!("apt-get install {}", packages.join(" "))),
            Self::Machine { hint, .. } | Self::Input { hint, .. } => Some(hint.clone()),
            Self::NoLab { known, .. } if known.is_empty() => Some("make one with `debark lab up 1`".into()),
            Self::NoLab { known, .. } => Some(format!("the labs are: {}", known.join(", "))),
            Self::NoHost { known, .. } => Some(format!("its hosts are: {}", known.join(", "))),
            Self::File { .. } | Self::Command { .. } | Self::Boot { .. } => None,
        }
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn errno(action: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.to_owned();
        move |errno| Self::File { action, path, source: errno.into() }
    }

    pub(crate) fn input(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Input { what: what.into(), hint: hint.into() }
    }
}

fn tail(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!("\n{text}") }
}
