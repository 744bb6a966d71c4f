//! The project file, `debark.yml`: packages, environments, how to deploy, whom to tell, where the ledger is.
//!
//! Reading it yields typed plain data, [`Project`], or everything that is wrong with it as diagnostics with place and
//! hint. Paths are absolute afterwards, but for those within a package's source.

mod amount;
mod deploy;
mod duration;
mod environment;
mod freeze;
mod load;
mod notify;
mod package;
mod read;
pub mod schema;
mod tables;

use std::path::PathBuf;

use debark_order::{Environment as EnvironmentName, PackageName};
use indexmap::IndexMap;

pub use amount::Amount;
pub use deploy::{Deploy, DeployPart, Tasks};
pub use duration::{InvalidDuration, format_duration, parse_duration};
pub use environment::{Approvals, Environment, Gates, Store, StoreLocation, TestGate, Trust, Vpn};
pub use freeze::Freeze;
pub use load::{FILE, find};
pub use notify::{Event, Notification, Receiver};
pub use package::{
    Build, Compression, Control, Entry, EntryKind, FileTree, Package, Program, Scripts, Source, Test, Unit,
};

/// A project, as its file describes it.
#[derive(Debug, Clone)]
pub struct Project {
    /// The file, absolute.
    pub file: PathBuf,
    /// Its directory: what its relative paths begin at.
    pub root: PathBuf,
    /// Packages by name, in the order of the file.
    pub packages: IndexMap<PackageName, Package>,
    /// Environments by name, in the order of the file.
    pub environments: IndexMap<EnvironmentName, Environment>,
    /// How to deploy, unless a package or an environment says otherwise; see [`Self::deploy`].
    pub deploy: DeployPart,
    /// Whom to tell.
    pub notify: Vec<Notification>,
    /// Where the record of releases is.
    pub ledger: Ledger,
    /// The store of environments that name none of their own, and where `debark publish` puts packages.
    pub store: Store,
    /// Whom to trust, for environments that say nothing else.
    pub trust: Trust,
    /// What does not keep the file from being used: duplicate keys and the like.
    pub warnings: Vec<debark_playbook::Diagnostic>,
}

/// Where the record of releases is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// A bare git repository on this machine; made when it is first written to.
    pub path: PathBuf,
    /// What a team shares: any URL that `git push` takes.
    pub remote: Option<String>,
}

impl Project {
    /// How a package is deployed to an environment: what the file says at its top, then for the package, then for the
    /// environment; the last one that says a thing counts.
    pub fn deploy(&self, package: &PackageName, environment: &EnvironmentName) -> Deploy {
        let mut part = self.deploy.clone();
        if let Some(package) = self.packages.get(package) {
            part.override_with(&package.deploy);
        }
        if let Some(environment) = self.environments.get(environment) {
            part.override_with(&environment.deploy);
            part.hosts.get_or_insert_with(|| environment.hosts.clone());
        }
        part.resolve()
    }
}
