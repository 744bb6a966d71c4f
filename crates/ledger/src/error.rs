//! What goes wrong.

use debark_order::sshsig::SignatureError;

use crate::apply::Inconsistent;

/// The ledger cannot be read, or not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The repository's files.
    #[error("the ledger at {path}: {why}")]
    Repository {
        /// Path of the bare repository.
        path: String,
        /// What git says.
        why: String,
    },
    /// An entry or a state that cannot be read.
    #[error("entry {commit} of {environment} in the ledger: {why}")]
    Broken {
        /// Whose chain.
        environment: String,
        /// The commit, shortened.
        commit: String,
        /// What is wrong.
        why: String,
    },
    /// The program `git` cannot be run.
    #[error("cannot run git: {0}")]
    Program(String),
    /// The remote does not answer.
    #[error("the ledger's remote {remote} cannot be reached: {why}")]
    RemoteDown {
        /// Its URL, without a password.
        remote: String,
        /// What git says.
        why: String,
    },
    /// What came, or what is here, cannot be taken over.
    #[error("{0}")]
    Untrusted(String),
    /// The chain here is not what it claims to be.
    #[error("the ledger of {environment} is not to be trusted: entry {number} (commit {commit}): {why}")]
    Unverified {
        /// Whose chain.
        environment: String,
        /// The entry's number; `?` if it has none.
        number: String,
        /// The first commit that is wrong, shortened.
        commit: String,
        /// What is wrong with it.
        why: String,
    },
    /// Who signs is not known.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// There is no key to sign with.
    #[error("there is no key to sign the ledger's entries with")]
    NoSigner,
    /// There is no such entry.
    #[error("{environment} has no entry {sequence}")]
    NoEntry {
        /// Whose chain.
        environment: String,
        /// The number.
        sequence: u64,
    },
}

impl LedgerError {
    /// Whether what is on record is not believed (exit code 3), rather than something that went wrong.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Untrusted(_) | Self::Unverified { .. })
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Repository { .. } => {
                "see whether the directory may be read and written, and is a git repository".into()
            }
            Self::Broken { .. } => "debark ledger verify names everything that is wrong".into(),
            Self::Program(_) => "install git".into(),
            Self::RemoteDown { .. } => {
                "try `git ls-remote` with that URL; rollbacks need no remote, their entries are pushed later"
                    .into()
            }
            Self::Untrusted(_) => "find out who pushed that; nothing of it has been taken over".into(),
            Self::Unverified { environment, .. } => format!(
                "nothing is decided by it; `debark ledger verify --env {environment}` names everything that is wrong; find out who \
                 wrote that, then set the branch env/{environment} back to the last whole entry"
            ),
            Self::Signature(SignatureError::Sign { .. }) => {
                "nobody is asked for passphrases: the ssh agent has to have such a key (ssh-add); a token has to be plugged in, and touched"
                    .into()
            }
            Self::Signature(_) => {
                "see that the key is listed in the project's signers with the namespace `git`".into()
            }
            Self::NoSigner => "give one by --key, DEBARK_KEY or git's user.signingkey".into(),
            Self::NoEntry { .. } => return None,
        })
    }
}

/// An entry was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended in the meantime. What they appended is here now: read the state again, and decide again.
    #[error("somebody else has made an entry for {environment} in the meantime")]
    Conflict {
        /// Whose chain.
        environment: String,
    },
    /// A deployment is going on.
    #[error(
        "{by} is deploying to {environment} since entry {sequence}; the lease ends in {seconds} s unless it is renewed"
    )]
    Leased {
        /// Where.
        environment: String,
        /// Its `started` entry.
        sequence: u64,
        /// Who.
        by: String,
        /// From now on.
        seconds: u64,
    },
    /// The lease is not ours any more: it ended, or somebody took over. Hosts will refuse what this deployer says.
    #[error("the lease of deployment {sequence} to {environment} is lost: {why}")]
    LeaseLost {
        /// Where.
        environment: String,
        /// Its `started` entry.
        sequence: u64,
        /// `it ended 40 s ago`, `entry 14 by bob@example.org took over`.
        why: String,
    },
    /// The remote and the local repository have different entries.
    #[error(
        "the ledger of {environment} has diverged: {local} entries are only here, {remote} only at {url}"
    )]
    Diverged {
        /// Whose chain.
        environment: String,
        /// How many are only here.
        local: usize,
        /// How many are only there.
        remote: usize,
        /// The remote.
        url: String,
    },
    /// The remote has lost entries that it had.
    #[error("{url} has lost {lost} entries of {environment} that it had")]
    Rewound {
        /// Whose chain.
        environment: String,
        /// How many.
        lost: usize,
        /// The remote.
        url: String,
    },
    /// The remote does not take it: a hook, or a protected branch.
    #[error("the ledger's remote refuses the entry: {0}")]
    Rejected(String),
    /// The entry does not fit the chain.
    #[error("the entry does not fit the ledger: {0}")]
    Inconsistent(#[from] Inconsistent),
    /// Anything else.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl AppendError {
    /// Whether the remote cannot be reached.
    pub const fn is_remote_down(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::RemoteDown { .. }))
    }

    /// Whether it is a rule that says no (exit code 3), rather than something that went wrong.
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::Leased { .. }
            | Self::LeaseLost { .. }
            | Self::Rejected(_)
            | Self::Diverged { .. }
            | Self::Rewound { .. } => true,
            Self::Ledger(error) => error.is_refusal(),
            Self::Inconsistent(_) => false,
        }
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Conflict { .. } => "look at `debark history`, then run the command again".into(),
            Self::Leased { .. } => {
                "wait; if that deployer is gone, its lease ends by itself, then `debark deploy --resume` or `--abort`".into()
            }
            Self::LeaseLost { .. } => "stop; `debark status` tells what the hosts have now".into(),
            Self::Diverged { environment, .. } => format!(
                "nothing is overwritten; look at both with `debark ledger log --env {environment}`, then \
                 `debark ledger reconcile --env {environment} --reason WHY` puts the entries that are only here behind those of the remote"
            ),
            Self::Rewound { .. } => {
                "somebody rewrote the branch there; `debark ledger push --restore` puts back what is known here".into()
            }
            Self::Rejected(_) => "see the remote's hooks and the rules of its branches `env/*` and `lease/*`".into(),
            Self::Inconsistent(_) => return None,
            Self::Ledger(error) => return error.hint(),
        })
    }
}

impl From<SignatureError> for AppendError {
    fn from(error: SignatureError) -> Self {
        Self::Ledger(error.into())
    }
}
