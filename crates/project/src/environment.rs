//! Environments: which hosts, what they trust, and what has to be so before something is deployed to them.

use std::path::PathBuf;
use std::time::Duration;

use debark_order::{Environment as EnvironmentName, Identity};

use crate::{DeployPart, Freeze};

/// An environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// As `debark run -i`: paths are absolute.
    pub inventory: Vec<String>,
    /// Its hosts: a pattern.
    pub hosts: String,
    /// Where its packages come from.
    pub store: Store,
    /// Whom it trusts.
    pub trust: Trust,
    /// Who may deploy to it: identities of the signers' file. Empty: nobody.
    pub allow: Vec<Identity>,
    /// Only what is verified there, by the same digest, may come here.
    pub promote_from: Option<EnvironmentName>,
    /// What else has to be so.
    pub gates: Gates,
    /// When nothing is deployed; rollbacks are.
    pub freezes: Vec<Freeze>,
    /// How its hosts are reached.
    pub vpn: Vpn,
    /// The file of its hosts' keys; `None`: `known_hosts` beside the inventory if it is there, or the user's.
    pub known_hosts: Option<PathBuf>,
    /// What is different when something is deployed here.
    pub deploy: DeployPart,
}

/// Where packages are published to and come from: an apt repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Where.
    pub location: StoreLocation,
    /// `dists/SUITE`.
    pub suite: String,
    /// How long its index is valid (`Valid-Until`).
    pub valid_for: Duration,
    /// How many versions of a package `debark prune` keeps, beside those that are deployed somewhere.
    pub keep: u32,
    /// Where hosts find it, for their apt source: a URL of `http`, `https` or `file`. None: they get no source.
    pub hosts_url: Option<String>,
}

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket. Keys come from the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`.
    S3 {
        /// Its name.
        bucket: String,
        /// What all keys begin with, without slashes around it; may be empty.
        prefix: String,
        /// For anything but AWS: `https://s3.example.org`.
        endpoint: Option<String>,
        /// `eu-central-1`.
        region: Option<String>,
    },
}

impl std::fmt::Display for StoreLocation {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => write!(to, "{}", path.display()),
            Self::S3 { bucket, prefix, .. } if prefix.is_empty() => write!(to, "s3://{bucket}"),
            Self::S3 { bucket, prefix, .. } => write!(to, "s3://{bucket}/{prefix}"),
        }
    }
}

/// Whom to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Identities and their SSH keys (ssh-keygen(1), ALLOWED SIGNERS).
    pub signers: PathBuf,
    /// Directory of armored OpenPGP keys that packages are signed with, `FINGERPRINT.asc`.
    pub build_keys: PathBuf,
    /// Fingerprints of keys that count no more, one per line.
    pub revoked: PathBuf,
}

/// What has to be so before something is deployed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gates {
    /// How long it has to have been live in `promote_from`.
    pub soak: Option<Duration>,
    /// Which tests have to have succeeded when it was built.
    pub tests: TestGate,
    /// Who has to have said yes.
    pub approvals: Option<Approvals>,
}

/// Which tests have to have succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TestGate {
    /// None.
    #[default]
    None,
    /// There has to be one, and all have to have succeeded.
    All,
    /// These, by name.
    Named(Vec<String>),
}

/// Who has to have said yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approvals {
    /// So many of them; at least 1, at most as many as may.
    pub count: u32,
    /// Who may. Nobody's approval counts for what they deploy themselves.
    pub by: Vec<Identity>,
}

/// How hosts are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Vpn {
    /// Directly.
    #[default]
    None,
    /// Through a tunnel that debark opens itself.
    Wireguard {
        /// As wg-quick(8) reads it; in plain text, or sealed with age or ansible-vault.
        config: PathBuf,
        /// A file with age identities or an SSH key that opens it.
        identity: Option<PathBuf>,
    },
    /// Through an interface that has to be there.
    Interface(String),
}
