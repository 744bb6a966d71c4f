//! A directory that only this user can look into, for what a module needs as a named file for a while.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use debark_value::Order;

use crate::Failure;

/// A directory of mode 0700, removed with all it holds when dropped.
#[derive(Debug)]
pub struct PrivateDir {
    path: PathBuf,
}

impl PrivateDir {
    /// Makes one where `bytes` fit; where programs may be started, if there is such a place.
    ///
    /// # Errors
    /// No temporary directory of the host can be written to.
    pub fn new(bytes: u64) -> Result<Self, Failure> {
        let dirs: Vec<PathBuf> = temp_dirs().collect();
        let roomy = dirs.iter().find(|dir| {
            rustix::fs::statvfs(dir.as_path()).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) > bytes)
        });
        // Where nothing has the room, writing says so with the name of the place.
        let parent = roomy.or(dirs.first()).map_or(Path::new("/tmp"), PathBuf::as_path);
        let mut random = [0u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Failure::new(format!("cannot get random bytes: {error}")))?;
        let path = parent.join(format!("debark-{:016x}", u64::from_ne_bytes(random)));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| Failure::io("cannot create", &path, e))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        // Nothing can be told from here; a leftover in a temporary directory does no harm.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Writable temporary directories, those that allow programs first.
fn temp_dirs() -> impl Iterator<Item = PathBuf> {
    let mut dirs: Vec<PathBuf> = std::env::var_os("TMPDIR").map(PathBuf::from).into_iter().collect();
    dirs.extend(["/tmp", "/var/tmp", "/run", "/dev/shm"].map(PathBuf::from));
    dirs.retain(|dir| rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok());
    dirs.order_by(|a, b| may_execute(b).cmp(&may_execute(a)));
    dirs.into_iter()
}

/// Whether programs on that file system may be started.
pub fn may_execute(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|fs| !fs.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn is_private_and_goes_away() {
        let dir = PrivateDir::new(1).unwrap();
        let path = dir.path().to_path_buf();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(path.join("x"), "x").unwrap();
        drop(dir);
        assert!(!path.exists());
    }
}
