//! The conversation between controller and gate, one request and its replies after the other.
//!
//! `ssh HOST [sudo -n] /usr/lib/debark/debark-gate serve` reads [`Request`]s and writes [`Reply`]s, as [`crate::frame`]s.
//! A request is answered by any number of [`Reply::Progress`] and then exactly one other reply. Both sides ignore fields they
//! do not know, and a request that a gate does not know is answered by [`Reply::Failed`] with [`FailureKind::Unsupported`].
//!
//! The gate speaks first: [`Reply::Hello`]. Everything but [`Request::State`], [`Request::Files`] needs a [`Request::Prepare`] in
//! the same session, whose order was accepted.

use serde::{Deserialize, Serialize};

use crate::{Action, Digest, Environment, PackageName, PackageVersion, SealedOrder, Sequence};

/// Where the gate is on hosts.
pub const PROGRAM: &str = "/usr/lib/debark/debark-gate";
/// Where the guard's unit is on hosts: it runs at every boot, and when its timer is over.
pub const GUARD_UNIT_PATH: &str = "/etc/systemd/system/debark-guard.service";
/// The guard's unit.
pub const GUARD_UNIT: &str = "\
[Unit]
Description=Goes back to the version before, unless a deployment was confirmed in time
Documentation=https://github.com/debark/debark/blob/main/docs/security.md
After=local-fs.target basic.target

[Service]
Type=oneshot
ExecStart=/usr/lib/debark/debark-gate guard
KillMode=control-group
TimeoutStopSec=20
Restart=on-failure
RestartSec=10

[Install]
WantedBy=multi-user.target
";
/// Version of this conversation.
pub const PROTOCOL: u32 = 1;

/// What the controller asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What is there? Answered by [`Reply::State`].
    State {
        /// Of which packages; empty: all that the gate ever installed.
        #[serde(default)]
        packages: Vec<PackageName>,
    },
    /// Is this order to be obeyed? Its signature, environment, times and sequence are checked, and its sequence is
    /// remembered on disk before the answer: no order below it will be obeyed. The same order may come again.
    /// Answered by [`Reply::Prepared`].
    Prepare {
        /// The order.
        order: SealedOrder,
    },
    /// The .deb follows this frame, exactly [`crate::Order::size`] bytes. It is written to the store while it is
    /// hashed, then its signature is checked. Answered by [`Reply::Stored`].
    Package,
    /// What would apt do? Nothing is touched. Answered by [`Reply::Planned`].
    Plan,
    /// Installs the version of the order. Nothing is done if its digest is live already. Answered by
    /// [`Reply::Installed`].
    ///
    /// [`Action::Deploy`]: the guard is armed first. [`Action::Rollback`]: there is no guard, as going back would lead to
    /// what the rollback is to get away from. [`Action::Abort`]: what the order's digest replaced is made live again,
    /// whether that digest was confirmed or not, and nothing is left to confirm; nothing is done if it is not live.
    ///
    /// When apt, dpkg or a maintainer script fails or takes longer than [`crate::Order::install_within`], the gate goes
    /// back by itself before it answers [`Reply::Failed`]; [`Request::Revert`] then finds it done.
    Install,
    /// Makes the order's health checks. Answered by [`Reply::Checked`].
    Check,
    /// The release is healthy and the host can be reached: the guard is disarmed, the version is good.
    /// Answered by [`Reply::Confirmed`], a second time as well; by [`FailureKind::Reverted`] if the host has gone back.
    Confirm,
    /// Back to what was live before the order. Answered by [`Reply::Reverted`], also if that is done already or nothing was
    /// installed.
    Revert,
    /// Checks an installed package's files. Answered by [`Reply::Files`].
    Files {
        /// The package.
        package: PackageName,
    },
}

/// What the gate answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The first words.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Of the gate.
        version: String,
        /// Environment that the host is enrolled in.
        environment: Option<Environment>,
        /// The host's clock, in seconds since 1970.
        clock: u64,
    },
    /// Something happens.
    Progress {
        /// What: `installing shop 1.4.2`, or a line of apt's.
        text: String,
    },
    /// What is there.
    State(HostState),
    /// The order will be obeyed.
    Prepared {
        /// The digest is in the host's store already: no package need be sent.
        kept: bool,
        /// It is live already, and confirmed.
        live: bool,
        /// What is live of that package now.
        before: Option<Version>,
    },
    /// The package is in the store, and its signature is that of a trusted build key.
    Stored {
        /// Fingerprint of the key.
        key: String,
    },
    /// What apt would do.
    Planned {
        /// `Inst`, `Remv` lines of apt-get(8) `--simulate`, as sentences: `installs libfoo1 1.2`.
        steps: Vec<String>,
    },
    /// It is installed.
    Installed(Installed),
    /// How healthy it is.
    Checked {
        /// Per check of the order, in its order, until the first that failed.
        results: Vec<CheckResult>,
    },
    /// It is confirmed.
    Confirmed,
    /// The earlier version is live again.
    Reverted {
        /// Which; `None`: there was none, and the package is removed.
        to: Option<Version>,
        /// The earlier version's files that are not as they were, and the like.
        #[serde(default)]
        notes: Vec<String>,
    },
    /// A package's files.
    Files(FileReport),
    /// It was not done.
    Failed(Failure),
}

/// A version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// As dpkg has it.
    pub version: PackageVersion,
    /// Of the .deb, if the gate installed it.
    pub digest: Option<Digest>,
}

/// What the gate knows of its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostState {
    /// The highest sequence that it has seen.
    pub sequence: Sequence,
    /// Per package.
    pub packages: Vec<PackageState>,
    /// An order that was begun and neither confirmed nor reverted.
    pub open: Option<OpenOrder>,
    /// `reboot-required` and the like.
    pub notes: Vec<String>,
}

/// What the gate knows of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageState {
    /// Which.
    pub package: PackageName,
    /// Installed according to dpkg; the digest is that of the last .deb the gate installed, if dpkg has that version.
    pub live: Option<Version>,
    /// Sequence of the order that made it live.
    #[serde(default)]
    pub sequence: Sequence,
    /// Whether it was confirmed.
    #[serde(default)]
    pub confirmed: bool,
    /// In the store, newest first.
    #[serde(default)]
    pub kept: Vec<Version>,
    /// dpkg's status if it is not `install ok installed`: `half-configured`, ...
    #[serde(default)]
    pub trouble: Option<String>,
    /// Units of the package: name, active state, and when it became so.
    #[serde(default)]
    pub units: Vec<UnitState>,
}

/// A unit's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// `shop.service`.
    pub unit: String,
    /// `active`, `failed`, ...
    pub active: String,
    /// Its main process, if it runs.
    #[serde(default)]
    pub pid: Option<u32>,
    /// What that process runs: path of its executable, and `(deleted)` if that has been replaced.
    #[serde(default)]
    pub executable: Option<String>,
}

/// An order that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOrder {
    /// Its sequence.
    pub sequence: Sequence,
    /// What for.
    pub action: Action,
    /// Of which package.
    pub package: PackageName,
    /// Which version.
    pub version: PackageVersion,
    /// How far it is: the last step of the journal.
    pub step: String,
    /// Whether something works on it at this moment.
    pub running: bool,
    /// When the guard goes back, in seconds since 1970.
    pub reverts_at: Option<u64>,
}

/// What an installation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Installed {
    /// Whether anything was done.
    pub changed: bool,
    /// Milliseconds.
    pub took: u64,
    /// What people should know: configuration files that were kept or put aside, units that want a restart.
    pub notes: Vec<String>,
}

/// A check's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's name.
    pub name: String,
    /// Why it failed: `status 500 instead of 200`.
    pub problem: Option<String>,
    /// Tries.
    pub tries: u32,
    /// Milliseconds.
    pub took: u64,
    /// The last lines of the unit's journal, or of the command's output.
    #[serde(default)]
    pub log: Vec<String>,
}

/// What is wrong with a package's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Installed according to dpkg.
    pub live: Option<Version>,
    /// Whether the .deb that is kept still has the digest under which it is kept.
    pub kept_is_whole: Option<bool>,
    /// Files that were compared.
    pub files: u64,
    /// What differs, with what: `/usr/bin/shop: other content than in the package`.
    pub wrong: Vec<String>,
    /// Configuration files that were changed on the host: not wrong.
    #[serde(default)]
    pub configuration: Vec<String>,
    /// Units' processes whose executable is not the package's file (any more).
    #[serde(default)]
    pub processes: Vec<String>,
    /// Units' processes whose executable is the package's file as it is now.
    #[serde(default)]
    pub running: u64,
    /// Units' processes that run another package's executable: what an interpreter has read, nobody can tell.
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which kind.
    pub kind: FailureKind,
    /// A sentence.
    pub message: String,
    /// What to do.
    #[serde(default)]
    pub hint: Option<String>,
    /// The last lines of apt's or a script's output.
    #[serde(default)]
    pub log: Vec<String>,
}

/// Kinds of failure. All up to [`FailureKind::Downgrade`] are refusals: nothing was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The host is not enrolled.
    NotEnrolled,
    /// The order's signature is not that of its text, or its signer is unknown.
    OrderSignature,
    /// The signer may not deploy to this environment.
    NotAllowed,
    /// The order is for another environment.
    OtherEnvironment,
    /// The order has expired, or is from the future.
    Expired,
    /// A higher sequence has been seen, or another order with the same one.
    Replayed,
    /// The .deb is not the one of the order.
    OtherDigest,
    /// The .deb has no signature.
    Unsigned,
    /// The .deb's signature is bad, or of no trusted key, or of a revoked one.
    PackageSignature,
    /// The .deb's control file names another package, version or architecture.
    OtherPackage,
    /// The .deb cannot be read.
    Malformed,
    /// A file or directory that the gate trusts is a symbolic link, or others than root may write to it, or a kept
    /// package's file is no longer what was put there.
    UnsafePath,
    /// The version is older than what is installed, and the order is no rollback.
    Downgrade,
    /// The version is not in the host's store, and no package was sent.
    NotKept,
    /// Dependencies cannot be met.
    Dependencies,
    /// Something else works on packages, or on this order.
    Busy,
    /// No space, or a disk that cannot be written to.
    Disk,
    /// apt, dpkg or a maintainer script failed.
    Install,
    /// It took too long.
    Timeout,
    /// The host has gone back to the version before: the guard did, or a failed installation.
    Reverted,
    /// The request makes no sense now.
    Protocol,
    /// This gate does not know the request.
    Unsupported,
    /// Anything else.
    Internal,
}

impl FailureKind {
    /// Whether it says that the order or the package must not be, rather than that something went wrong.
    pub const fn is_refusal(self) -> bool {
        (self as u8) <= (Self::Downgrade as u8)
    }
}
