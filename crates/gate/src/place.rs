//! Where the gate's files are, and whether they can be trusted: root's alone, and no symbolic links.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use debark_order::gate::FailureKind;

use crate::failure::{Failing as _, Result, fail, file};

/// Trust: what `debark enroll` installs.
pub const ETC: &str = "/etc/debark";
/// State, journal, kept packages.
pub const STATE: &str = "/var/lib/debark/gate";
/// Files that no boot survives.
pub const RUN: &str = "/run/debark-gate";

const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// A file of the state directory.
pub fn state(name: &str) -> PathBuf {
    Path::new(STATE).join(name)
}

/// A file below /run.
pub fn run(name: &str) -> PathBuf {
    Path::new(RUN).join(name)
}

/// Makes the directories that are not there, and refuses those that others than root could have had their hands in.
///
/// # Errors
/// [`FailureKind::UnsafePath`], or they cannot be made.
pub fn prepare() -> Result<()> {
    make(Path::new("/var/lib/debark"), 0o755)?;
    for path in [STATE, RUN] {
        make(Path::new(path), 0o700)?;
    }
    make(&state("store"), 0o700)
}

fn make(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(file(path, &error)),
    }
    directory(path)
}

/// Whether a directory is a real one, of root's, and nobody else may write to it.
///
/// # Errors
/// [`FailureKind::UnsafePath`].
pub fn directory(path: &Path) -> Result<()> {
    let found = fs::symlink_metadata(path).map_err(|error| file(path, &error))?;
    if !found.is_dir() {
        return Err(is_unsafe(path, "is not a directory"));
    }
    owned(path, &found)
}

fn owned(path: &Path, found: &Metadata) -> Result<()> {
    if found.uid() != 0 {
        return Err(is_unsafe(path, &format!("belongs to user {}, not to root", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(is_unsafe(path, "can be written to by others than root"));
    }
    Ok(())
}

fn is_unsafe(path: &Path, why: &str) -> debark_order::gate::Failure {
    fail(FailureKind::UnsafePath, format!("{} {why}", path.display()))
        .hint("look who has changed it, then run `debark enroll` again")
}

/// Opens a regular file of root's that nobody else may write to; links are not followed.
///
/// # Errors
/// [`FailureKind::UnsafePath`], or it cannot be read.
pub fn open(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(path);
    let opened = opened.map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            is_unsafe(path, "is a symbolic link")
        } else {
            file(path, &error)
        }
    })?;
    let found = opened.metadata().map_err(|error| file(path, &error))?;
    if !found.is_file() {
        return Err(is_unsafe(path, "is no regular file"));
    }
    if found.nlink() != 1 {
        return Err(is_unsafe(path, "has another name as well"));
    }
    owned(path, &found)?;
    Ok(opened)
}

/// Reads such a file, up to `limit` bytes; `None` if there is none.
///
/// # Errors
/// As for [`open`], or it is longer.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    if let Err(error) = fs::symlink_metadata(path)
        && error.kind() == io::ErrorKind::NotFound
    {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    open(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(|error| file(path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(fail(FailureKind::Internal, format!("{} is longer than {limit} bytes", path.display())));
    }
    Ok(Some(bytes))
}

/// Replaces a file: all of it is on the disk, or the old one still is.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut file = create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    written.map_err(|error| file(path, &error))?;
    sync_parent(path)
}

/// Makes a file for root alone, in the place of whatever has that name.
///
/// # Errors
/// It cannot be made.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Brings the directory of a file to the disk.
///
/// # Errors
/// It cannot be.
pub fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(|error| file(parent, &error))
}

/// A lock file of the gate's own.
///
/// # Errors
/// It cannot be made.
pub fn lock_file(name: &str) -> Result<File> {
    let path = run(name);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(NO_FOLLOW)
        .open(&path)
        .map_err(|error| file(&path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn links_and_files_of_others_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        replace(&path, b"text").unwrap();
        // Tests may run as another user than root: then this very file is not root's.
        if rustix::process::geteuid().is_root() {
            assert_eq!(read(&path, 10).unwrap(), Some(b"text".to_vec()));
            assert_eq!(read(&path, 3).unwrap_err().kind, FailureKind::Internal);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        }
        assert_eq!(read(&path, 10).unwrap_err().kind, FailureKind::UnsafePath);
        let link = directory.path().join("b");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(open(&link).unwrap_err().kind, FailureKind::UnsafePath);
        assert_eq!(super::directory(&link).unwrap_err().kind, FailureKind::UnsafePath);
        assert_eq!(read(&directory.path().join("c"), 10).unwrap(), None);
    }
}
