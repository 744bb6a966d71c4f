//! A commit's files, written by all processors: to unpack thousands of objects takes longer than to pack them into a package.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use git2::{ObjectType, Odb, Oid, Repository};

/// So many files at least for one more thread.
const SHARE: usize = 64;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Program,
    Link,
}

/// A file or link of a commit.
#[derive(Debug)]
pub(super) struct Blob {
    /// Below the top.
    pub path: PathBuf,
    pub kind: Kind,
    pub oid: Oid,
}

/// Writes files whose directories are there. `time` is when they were last changed. An error names the file.
pub(super) fn write(repository: &Path, blobs: &[Blob], to: &Path, time: SystemTime) -> Result<(), String> {
    let work = Work { blobs, to, time, next: AtomicUsize::new(0), failed: AtomicBool::new(false) };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let others = threads.min(16).min(blobs.len() / SHARE).saturating_sub(1);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..others).map(|_| scope.spawn(|| work.run(repository))).collect();
        let own = work.run(repository);
        others.into_iter().fold(own, |all, other| {
            all.and(other.join().unwrap_or_else(|_| Err("a thread that writes files has died".into())))
        })
    })
}

struct Work<'a> {
    blobs: &'a [Blob],
    to: &'a Path,
    time: SystemTime,
    next: AtomicUsize,
    failed: AtomicBool,
}

impl Work<'_> {
    fn run(&self, repository: &Path) -> Result<(), String> {
        // Each thread has its own, so that none waits for the other's cache.
        let ended =
            Repository::open(repository).map_err(|why| why.message().to_owned()).and_then(|repository| {
                let odb = repository.odb().map_err(|why| why.message().to_owned())?;
                while !self.failed.load(Ordering::Relaxed) {
                    let Some(blob) = self.blobs.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
                    self.one(&odb, blob).map_err(|why| format!("{}: {why}", blob.path.display()))?;
                }
                Ok(())
            });
        if ended.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        ended
    }

    fn one(&self, odb: &Odb<'_>, blob: &Blob) -> Result<(), String> {
        let object = odb.read(blob.oid).map_err(|why| why.message().to_owned())?;
        if object.kind() != ObjectType::Blob {
            return Err("it is no file in the repository".into());
        }
        let (bytes, path) = (object.data(), self.to.join(&blob.path));
        if blob.kind == Kind::Link {
            let target = std::str::from_utf8(bytes).map_err(|_| "what the link says is not UTF-8")?;
            return symlink(target, path).map_err(|why| why.to_string());
        }
        let mode = if blob.kind == Kind::Program { 0o755 } else { 0o644 };
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let written = file.and_then(|mut file| {
            file.write_all(bytes)?;
            file.set_modified(self.time)
        });
        written.map_err(|why| why.to_string())
    }
}
