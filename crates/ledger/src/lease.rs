//! Leases: who deploys, and since when nobody has heard of them.
//!
//! A deployment's lease begins with its `started` entry. It is prolonged on a branch of its own (`lease/NAME`), so that a long
//! deployment does not fill the chain: one signed commit whose parent is the `started` entry's commit and whose file
//! `lease.json` says until when. Each renewal takes the place of the one before, by compare-and-swap like an append.
//!
//! On the deployer's own machine one need not wait for a crashed one: it has a file below `leases/` locked as long as it lives
//! (flock(2)), and the kernel gives the lock up for it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use debark_order::{Environment, Identity, Sequence};
use git2::{Oid, Repository};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::git;

/// Name of the file in a lease's tree.
pub(crate) const LEASE: &str = "lease.json";

/// A lease that was prolonged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Version of the format: 1.
    pub format: u32,
    /// Where.
    pub environment: Environment,
    /// The `started` entry.
    pub of: Sequence,
    /// Who.
    pub actor: Identity,
    /// When, in seconds since 1970.
    pub renewed: u64,
    /// When it ends unless it is renewed again.
    pub until: u64,
}

/// The lease that a commit holds, and the commit that it stands on.
pub(crate) fn read(repository: &Repository, commit: Oid) -> Result<(LeaseRecord, Option<Oid>), String> {
    let commit = repository.find_commit(commit).map_err(|error| error.message().to_owned())?;
    let tree = commit.tree().map_err(|error| error.message().to_owned())?;
    let bytes = git::file(repository, &tree, LEASE, 64 << 10)?.ok_or("it has no lease.json")?;
    let lease: LeaseRecord = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if lease.format != 1 {
        return Err(format!("a lease of format {}, and this reads format 1", lease.format));
    }
    let parent = if commit.parent_count() == 1 { commit.parent_id(0).ok() } else { None };
    Ok((lease, parent))
}

/// Locked as long as this process lives.
#[derive(Debug)]
pub(crate) struct Alive {
    file: File,
    path: PathBuf,
}

impl Alive {
    /// Locks a deployment's file; none if another process of this machine has it.
    pub(crate) fn lock(
        repository: &Path,
        environment: &Environment,
        sequence: Sequence,
    ) -> std::io::Result<Option<Self>> {
        let directory = repository.join("leases");
        std::fs::create_dir_all(&directory)?;
        let path = path(repository, environment, sequence);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file, path })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Says for which commit it is locked: before the branch moves, so that whoever sees the entry finds the lock.
    pub(crate) fn name(&mut self, commit: Oid) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all(commit.to_string().as_bytes())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Without the file the lease ends by the clock: that is right for a deployment that is over.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn path(repository: &Path, environment: &Environment, sequence: Sequence) -> PathBuf {
    repository.join("leases").join(format!("{environment}-{sequence}"))
}

/// Whether the deployer was a process of this machine that has ended without a word.
pub(crate) fn abandoned(
    repository: &Path,
    environment: &Environment,
    sequence: Sequence,
    commit: &str,
) -> bool {
    let Ok(file) = File::open(path(repository, environment, sequence)) else { return false };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
        return false;
    }
    let mut text = String::new();
    file.take(64).read_to_string(&mut text).is_ok() && text == commit
}
