//! What is put on record.

use debark_order::{Digest, Environment, Identity, PackageName, PackageVersion, SealedOrder, Sequence};
use serde::{Deserialize, Serialize};

/// Version of the format of entries.
pub const FORMAT: u32 = 1;
/// The longest entry that is read, in bytes: an order, and results of some thousand hosts.
pub const MAX_ENTRY: usize = 8 << 20;
/// The longest reason, in characters.
pub const MAX_REASON: usize = 1000;

/// One entry of an environment's chain. Fields that are not known are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose chain.
    pub environment: Environment,
    /// 1 for the first entry; grows by one.
    pub sequence: Sequence,
    /// When, in seconds since 1970. Not before the entry below: a clock that is behind does not turn the order around.
    pub time: u64,
    /// Who: the principal of the commit's signature.
    pub actor: Identity,
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The job that did it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci: Option<Ci>,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
}

/// A CI job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ci {
    /// `circleci`, `github` or `gitlab`.
    pub system: String,
    /// The job's page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The job's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The commit that the job runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A deployment begins: hosts may be touched from now on.
    Started(Box<Started>),
    /// It is over.
    Finished(Finished),
    /// Somebody agrees that this digest may go to this environment.
    Approved {
        /// The package.
        package: PackageName,
        /// Its version.
        version: PackageVersion,
        /// Of the .deb.
        digest: Digest,
    },
    /// Nothing of that kind is to be deployed until it is released.
    Held {
        /// Which package; none: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package: Option<PackageName>,
        /// Only this version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<PackageVersion>,
        /// Only this digest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
    /// Holds that match, and marks of bad releases that match, are gone.
    Released {
        /// Those on this package; none: those on the whole environment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package: Option<PackageName>,
        /// Only those on this version; none: all of the package.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<PackageVersion>,
        /// Only those on this digest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
    /// Nothing is to be deployed, except rollbacks.
    Frozen {
        /// Seconds since 1970; none: until it is thawed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
    },
    /// All freezes of the ledger are over.
    Thawed,
    /// A key is trusted from now on.
    KeyTrusted {
        /// What for.
        r#use: KeyUse,
        /// OpenPGP fingerprint in hexadecimal, or OpenSSH's `SHA256:...`.
        fingerprint: String,
    },
    /// A key is not trusted any more.
    KeyRevoked {
        /// What for.
        r#use: KeyUse,
        /// As above.
        fingerprint: String,
    },
    /// A word for later readers: the reason is the text.
    Note,
    /// An entry that was made while the remote could not be reached, and that diverged from what others did meanwhile, is
    /// put behind theirs.
    Moved(Moved),
}

/// An entry that is put on record again. What it does is done in the name of who moves it: nobody can speak for others this way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The commit that it was, 40 hexadecimal digits.
    pub commit: String,
    /// The number that it had: hosts may have seen it.
    pub number: Sequence,
    /// Who made it.
    pub by: Identity,
    /// When, in seconds since 1970.
    pub made: u64,
    /// What it was; where it names an entry that was moved as well, by that one's new number.
    pub entry: Box<Kind>,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// It signs packages.
    Build,
    /// It signs orders and entries.
    Signer,
}

/// What a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeployAction {
    /// A version is put live.
    Deploy,
    /// A version that is live elsewhere is put live here.
    Promote,
    /// An earlier version is put live again.
    Rollback,
    /// What a crashed deployer left is undone.
    Abort,
}

/// A deployment that begins. Its id is the environment's name and the entry's sequence, `staging#12`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// What it is.
    pub action: DeployAction,
    /// The package.
    pub package: PackageName,
    /// The version that is to be live (for an abort: the one that is not to be).
    pub version: PackageVersion,
    /// Of that .deb.
    pub digest: Digest,
    /// Of that .deb, in bytes.
    #[serde(default)]
    pub size: u64,
    /// The git commit that it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The environment that it is promoted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Environment>,
    /// The deployment that is resumed or aborted by this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Sequence>,
    /// The hosts that are meant, by their inventory names, in the order of the waves.
    pub hosts: Vec<String>,
    /// For how long nobody else may begin, from the entry's time on and from each renewal on.
    pub lease_seconds: u32,
    /// What the hosts are told.
    pub order: SealedOrder,
}

/// A deployment that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Sequence of its `started` entry.
    pub of: Sequence,
    /// How it went.
    pub result: Outcome,
    /// The release is bad: it is not to be deployed here again until somebody releases it.
    #[serde(default)]
    pub bad: bool,
    /// Per host.
    pub hosts: Vec<HostResult>,
    /// Milliseconds since its start.
    pub took_ms: u64,
    /// One sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a deployment went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The version is live.
    Succeeded,
    /// It failed, and all hosts are as before.
    Reverted,
    /// It failed, and not all hosts are as before.
    Failed,
    /// Somebody stopped it, or another deployer undid it; all hosts are as before.
    Aborted,
    /// Hosts refused it; nothing was touched.
    Refused,
}

/// How a deployment went on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostResult {
    /// Its inventory name.
    pub host: String,
    /// How it went.
    pub result: HostOutcome,
    /// What was live before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<PackageVersion>,
    /// What is live now, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PackageVersion>,
    /// Milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// What went wrong, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How it went on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostOutcome {
    /// As ordered.
    Ok,
    /// It was put back.
    Reverted,
    /// It could not be reached: it has to be brought up to date before it serves again.
    Behind,
    /// It failed and was not put back, or nobody knows.
    Failed,
    /// Nothing was done.
    Untouched,
}

/// An entry that is to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The sequence that it has to get: [`crate::State::sequence`] + 1. An order names it, so it cannot be chosen later.
    pub sequence: Sequence,
    /// Why.
    pub reason: Option<String>,
    /// What.
    pub kind: Kind,
}

/// An entry and its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// The commit's id, 40 hexadecimal digits.
    pub id: String,
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
}

impl Outcome {
    /// As it is written: `succeeded`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Reverted => "reverted",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Refused => "refused",
        }
    }
}

impl HostOutcome {
    /// As it is written: `behind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Reverted => "reverted",
            Self::Behind => "behind",
            Self::Failed => "failed",
            Self::Untouched => "untouched",
        }
    }
}

impl DeployAction {
    /// As it is written: `deploy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Abort => "abort",
        }
    }
}

impl Kind {
    /// As it is written: `started`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Finished(_) => "finished",
            Self::Approved { .. } => "approved",
            Self::Held { .. } => "held",
            Self::Released { .. } => "released",
            Self::Frozen { .. } => "frozen",
            Self::Thawed => "thawed",
            Self::KeyTrusted { .. } => "key_trusted",
            Self::KeyRevoked { .. } => "key_revoked",
            Self::Note => "note",
            Self::Moved(_) => "moved",
        }
    }

    /// The package that it names itself; a `finished` entry names none.
    pub fn package(&self) -> Option<&PackageName> {
        match self {
            Self::Started(started) => Some(&started.package),
            Self::Approved { package, .. } => Some(package),
            Self::Held { package, .. } | Self::Released { package, .. } => package.as_ref(),
            Self::Moved(moved) => match &*moved.entry {
                Self::Moved(_) => None,
                kind => kind.package(),
            },
            _ => None,
        }
    }

    /// The deployment that it finishes.
    pub fn finishes(&self) -> Option<&Finished> {
        match self {
            Self::Finished(finished) => Some(finished),
            Self::Moved(moved) => match &*moved.entry {
                Self::Finished(finished) => Some(finished),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Entry {
    /// Reads an entry.
    ///
    /// # Errors
    /// It is too long, none, or of another format.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_ENTRY {
            return Err(format!("the entry has {} bytes, more than {MAX_ENTRY}", bytes.len()));
        }
        let entry: Self = serde_json::from_slice(bytes).map_err(|error| format!("no entry: {error}"))?;
        if entry.format != FORMAT {
            return Err(format!("an entry of format {}, and this reads format {FORMAT}", entry.format));
        }
        Ok(entry)
    }
}

/// A text as it may stand in one line of a record: control characters become spaces, and it ends at `limit` characters.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect();
    text.trim().to_owned()
}
