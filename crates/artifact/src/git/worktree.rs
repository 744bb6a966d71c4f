//! A commit's files where they are checked out already: to read and hash a plain file takes less than to unpack git's object.
//!
//! Nothing in a working tree is believed. A file is taken if its bytes have the id that the commit names, by the hash that git itself goes
//! by; whatever lies there otherwise (an edit, line ends that git converted, a pipe, nothing at all), the object is read.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use git2::Oid;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat, openat2};

use sha1::{Digest as _, Sha1};

use crate::deb::source::SMALL;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory of a working tree that a commit's paths are relative to.
pub(super) struct WorkTree(OwnedFd);

impl WorkTree {
    pub(super) fn open(directory: &Path) -> Option<Self> {
        open(directory, DIRECTORY, Mode::empty()).ok().map(Self)
    }

    /// A reader; for one thread.
    pub(super) fn files(&self) -> Files<'_> {
        Files { top: &self.0, at: None }
    }
}

/// Reads files of a working tree.
pub(super) struct Files<'a> {
    top: &'a OwnedFd,
    /// The directory of the last file: the next one is mostly beside it.
    at: Option<(PathBuf, OwnedFd)>,
}

/// The id of a file's bytes, as of gitformat-pack(5). By the processor's own SHA-1, which takes a third of the time of git's, that also looks for traces of
/// forged collisions: objects came in through that one, and a file that is newer than the index says is read by it before the build ends.
fn id(bytes: &[u8]) -> [u8; 20] {
    let mut hash = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize().into()
}

impl Files<'_> {
    /// Adds the content with that id to `to`; whether it lies at that path. Large files count as different: they are copied before they are
    /// packed, wherever they come from.
    pub(super) fn read(&mut self, path: &Path, oid: Oid, to: &mut Vec<u8>) -> bool {
        let before = to.len();
        let same =
            self.add(path, to).is_some() && to.get(before..).is_some_and(|bytes| id(bytes) == oid.as_bytes());
        if !same {
            to.truncate(before);
        }
        same
    }

    fn add(&mut self, path: &Path, to: &mut Vec<u8>) -> Option<()> {
        let (above, name) = (path.parent()?, path.file_name()?);
        let directory = match &mut self.at {
            Some((at, directory)) if at == above => directory,
            at => {
                let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                let own = if above == Path::new("") { Path::new(".") } else { above };
                let new = openat2(self.top, own, DIRECTORY, Mode::empty(), within).ok()?;
                &mut at.insert((above.to_owned(), new)).1
            }
        };
        // A pipe or a terminal that was put there neither holds the build nor loses what is in it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty()).ok()?;
        let about = fstat(&file).ok()?;
        let size = u64::try_from(about.st_size).ok().filter(|size| *size <= SMALL)?;
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
            return None;
        }
        // Never for nothing, which is no place to read to.
        to.reserve(usize::try_from(size).ok()? + 1);
        // One call yields all of a file; if not, the hash is another one.
        rustix::io::read(&file, rustix::buffer::spare_capacity(to)).ok().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use git2::ObjectType;

    use super::*;

    #[test]
    fn a_file_is_taken_by_its_id_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("top");
        fs::create_dir_all(root.join("in")).unwrap();
        fs::write(root.join("in/a"), "one").unwrap();
        fs::write(root.join("empty"), "").unwrap();
        fs::write(root.join("large"), vec![7; SMALL as usize + 1]).unwrap();
        fs::write(directory.path().join("a"), "one").unwrap();
        symlink("a", root.join("in/link")).unwrap();
        symlink("in", root.join("linked")).unwrap();
        let tree = WorkTree::open(&root).unwrap();
        let mut files = tree.files();
        let id = |bytes: &[u8]| Oid::hash_object(ObjectType::Blob, bytes).unwrap();
        let mut bytes = b"before".to_vec();
        let mut read = |path: &str, oid: Oid| {
            let taken = files.read(Path::new(path), oid, &mut bytes);
            (taken, String::from_utf8(bytes.clone()).unwrap())
        };
        assert_eq!(read("in/a", id(b"one")), (true, "beforeone".into()));
        assert_eq!(read("empty", id(b"")), (true, "beforeone".into()));
        // Nothing of what differs is left behind.
        assert_eq!(read("in/a", id(b"two")), (false, "beforeone".into()));
        for path in ["in/b", "in", "in/link", "linked/a", "../a", "in/../in/../../a"] {
            assert_eq!(read(path, id(b"one")), (false, "beforeone".into()), "{path}");
        }
        assert!(!read("large", id(&vec![7; SMALL as usize + 1])).0);
    }
}
