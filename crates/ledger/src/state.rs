//! What an environment's chain comes to.

use std::collections::BTreeMap;

use debark_order::{Digest, Environment, Identity, PackageName, PackageVersion, Sequence};
use serde::{Deserialize, Serialize};

use crate::entry::{DeployAction, HostOutcome};

/// Good releases that are remembered per package, newest first; older ones are found in the chain.
pub const MAX_GOOD: usize = 50;
/// Digests whose approvals are remembered per package.
pub const MAX_APPROVED: usize = 100;

/// What is so in an environment now. All but [`Self::tip`] and what is known of a lease is in the tree at the branch's tip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Which.
    pub environment: Environment,
    /// The last entry's commit, 40 hexadecimal digits; none: the chain is empty.
    pub tip: Option<String>,
    /// The last entry's number; 0: there is none.
    pub sequence: Sequence,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// The deployment that was begun and is not finished. It may have been given up: see [`OpenDeployment::is_over`].
    pub open: Option<OpenDeployment>,
    /// What somebody holds.
    pub holds: Vec<Hold>,
    /// Freezes that were asked for; those of the calendar are in the project file.
    pub freezes: Vec<Frozen>,
    /// Per package.
    pub packages: BTreeMap<PackageName, Package>,
}

/// A package in an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Package {
    /// What is meant to be live.
    pub live: Option<Release>,
    /// What was live and good, newest first, the live one included, each digest once; at most [`MAX_GOOD`].
    pub good: Vec<Release>,
    /// What is not to be deployed again until it is released.
    pub bad: Vec<Bad>,
    /// Who agreed to what; the digest approved last comes first; at most [`MAX_APPROVED`] digests.
    pub approvals: Vec<Approvals>,
    /// Hosts, by their inventory names.
    pub hosts: BTreeMap<String, HostRecord>,
}

/// A release that was live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its version.
    pub version: PackageVersion,
    /// Of the .deb.
    pub digest: Digest,
    /// Of the .deb, in bytes.
    #[serde(default)]
    pub size: u64,
    /// The git commit that it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Sequence of the `started` entry that made it live.
    pub sequence: Sequence,
    /// When its deployment succeeded, in seconds since 1970.
    pub since: u64,
    /// Who deployed it.
    pub by: Identity,
}

/// A release that is bad here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// Its version.
    pub version: PackageVersion,
    /// Of the .deb.
    pub digest: Digest,
    /// The entry that says so.
    pub sequence: Sequence,
    /// When, in seconds since 1970.
    pub since: u64,
    /// Who.
    pub by: Identity,
    /// Why: `it was rolled back`, or the deployment's message.
    pub why: String,
}

/// Who agreed that a digest may go to the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    /// Of the .deb.
    pub digest: Digest,
    /// Its version.
    pub version: PackageVersion,
    /// Each identity once.
    pub by: Vec<Approval>,
}

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub identity: Identity,
    /// The entry.
    pub sequence: Sequence,
    /// When, in seconds since 1970.
    pub time: u64,
}

/// What the ledger knows of a package on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// How its last deployment went.
    pub result: HostOutcome,
    /// Sequence of that deployment's `started` entry.
    pub sequence: Sequence,
    /// When, in seconds since 1970.
    pub time: u64,
    /// What is live there, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<PackageVersion>,
    /// Of that version, if the ledger knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A hold that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The entry.
    pub sequence: Sequence,
    /// Who.
    pub by: Identity,
    /// When, in seconds since 1970.
    pub since: u64,
    /// Which package; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageName>,
    /// Only this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<PackageVersion>,
    /// Only this digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A freeze that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The entry.
    pub sequence: Sequence,
    /// Who.
    pub by: Identity,
    /// When, in seconds since 1970.
    pub since: u64,
    /// Until when; none: until it is thawed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A deployment that was begun. Its order and its hosts are in its entry: [`crate::Ledger::entry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDeployment {
    /// The `started` entry.
    pub sequence: Sequence,
    /// What it is.
    pub action: DeployAction,
    /// Of which package.
    pub package: PackageName,
    /// Which version.
    pub version: PackageVersion,
    /// Of the .deb.
    pub digest: Digest,
    /// Of the .deb, in bytes.
    #[serde(default)]
    pub size: u64,
    /// The git commit that it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who deploys.
    pub by: Identity,
    /// When it was begun, in seconds since 1970.
    pub since: u64,
    /// The length of its lease, from [`Self::since`] or [`Self::renewed`] on.
    pub lease_seconds: u32,
    /// When its lease was renewed last. Not in the tree: on a branch of its own.
    #[serde(skip_deserializing, default, skip_serializing_if = "Option::is_none")]
    pub renewed: Option<u64>,
    /// Its deployer was a process of this machine, and is gone. Not in the tree.
    #[serde(skip_deserializing, default, skip_serializing_if = "std::ops::Not::not")]
    pub abandoned: bool,
}

impl OpenDeployment {
    /// When the lease is over, in seconds since 1970.
    pub fn lease_until(&self) -> u64 {
        self.renewed.unwrap_or(self.since).max(self.since).saturating_add(self.lease_seconds.into())
    }

    /// Whether its deployer has not been heard of for the length of its lease, or is known to be gone.
    pub fn is_over(&self, now: u64) -> bool {
        self.abandoned || now >= self.lease_until()
    }
}

impl State {
    /// That of an environment without entries.
    pub fn empty(environment: Environment) -> Self {
        Self {
            environment,
            tip: None,
            sequence: 0,
            time: 0,
            open: None,
            holds: Vec::new(),
            freezes: Vec::new(),
            packages: BTreeMap::new(),
        }
    }

    /// What is meant to be live of a package.
    pub fn live(&self, package: &PackageName) -> Option<&Release> {
        self.packages.get(package)?.live.as_ref()
    }

    /// The release to go back to: the newest good one that is neither the live one nor bad.
    pub fn last_good(&self, package: &PackageName) -> Option<&Release> {
        let package = self.packages.get(package)?;
        let live = package.live.as_ref().map(|live| live.digest);
        let is_bad = |digest: &Digest| package.bad.iter().any(|bad| bad.digest == *digest);
        package.good.iter().find(|release| Some(release.digest) != live && !is_bad(&release.digest))
    }

    /// The newest good release of a version.
    pub fn good(&self, package: &PackageName, version: &PackageVersion) -> Option<&Release> {
        self.packages.get(package)?.good.iter().find(|release| release.version == *version)
    }

    /// Why a digest is bad here, if it is.
    pub fn bad(&self, package: &PackageName, digest: &Digest) -> Option<&Bad> {
        self.packages.get(package)?.bad.iter().find(|bad| bad.digest == *digest)
    }

    /// Who agreed to a digest.
    pub fn approvals(&self, package: &PackageName, digest: &Digest) -> &[Approval] {
        let found = self.packages.get(package).and_then(|p| p.approvals.iter().find(|a| a.digest == *digest));
        found.map_or(&[], |approvals| &approvals.by)
    }

    /// Hosts on which a package is not what is meant to be live, with what is known of them.
    pub fn behind(&self, package: &PackageName) -> impl Iterator<Item = (&String, &HostRecord)> {
        let package = self.packages.get(package);
        let live = package.and_then(|package| package.live.as_ref()).map(|live| live.digest);
        package.into_iter().flat_map(|package| &package.hosts).filter(move |(_, host)| {
            live.is_some() && (host.result == HostOutcome::Behind || host.digest != live)
        })
    }
}
