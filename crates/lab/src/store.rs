//! Where labs keep their files, and the locks that order those who change them.
//!
//! ```text
//! ROOT/lock                 held while a lab's directory is made or the shared proxy starts or stops
//! ROOT/base/HASH/           base systems, made once and shared by all hosts as the lower layer
//! ROOT/proxy/               the caching proxy's files
//! ROOT/labs/NAME/           one lab: state.json, keys, known_hosts, inventory, hosts/hN/
//! ROOT/locks/               one lock per lab and per base system
//! ```

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::names::{self, Names};

const DEFAULT_ROOT: &str = "/var/lib/debark-lab";

/// The directory of all labs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// A lock, let go when dropped or when its holder dies, however that happens.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Lets it go and removes its file: what it guarded is no more.
    pub fn retire(self) {
        // Without the file the next one who wants this lock makes another; with it nothing is lost.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// The given directory, else `$DEBARK_LAB_DIR`, else `/var/lib/debark-lab`. The path must be absolute and free of
    /// the characters that overlayfs, ssh's configuration or an inventory would read as something else.
    pub fn open(root: Option<&Path>) -> Result<Self> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => std::env::var_os("DEBARK_LAB_DIR")
                .filter(|value| !value.is_empty())
                .map_or_else(|| PathBuf::from(DEFAULT_ROOT), PathBuf::from),
        };
        let plain = root.to_str().is_some_and(|text| {
            text.starts_with('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c))
        });
        if !plain {
            return Err(Error::input(
                format!("{} cannot be the directory of labs", root.display()),
                "set DEBARK_LAB_DIR to an absolute path of letters, digits and `/._-+@`",
            ));
        }
        Ok(Self { root })
    }

    /// Makes the directories that everything else expects, readable by root only: they hold private keys.
    pub fn prepare(&self) -> Result<()> {
        for dir in ["", "base", "labs", "locks", "proxy"] {
            make_dir(&self.root.join(dir))?;
        }
        Ok(())
    }

    /// Where everything is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A base system.
    pub fn base(&self, hash: &str) -> PathBuf {
        self.root.join("base").join(hash)
    }

    /// The caching proxy's files.
    pub fn proxy(&self) -> PathBuf {
        self.root.join("proxy")
    }

    /// A lab's files.
    pub fn lab(&self, name: &str) -> LabDir {
        LabDir { path: self.root.join("labs").join(name) }
    }

    /// The names of the labs that have a directory.
    pub fn labs(&self) -> Result<Vec<String>> {
        let dir = self.root.join("labs");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(Error::file("read", &dir)(err)),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| names::check_lab(name).is_ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// What tells the namespaces of this directory's labs from those of another's.
    pub fn prefix(&self) -> String {
        if self.root == Path::new(DEFAULT_ROOT) {
            return "debark".to_owned();
        }
        let digest = Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        let hex: String = digest.iter().take(3).map(|byte| format!("{byte:02x}")).collect();
        format!("debark{hex}")
    }

    /// A lab's names in the kernel.
    pub fn names(&self, lab: &str) -> Names {
        Names::new(&self.prefix(), lab)
    }

    /// Waits for the lock of this name: `lab-NAME`, `base-HASH` or `all`.
    pub fn lock(&self, what: &str) -> Result<Lock> {
        let path = self.root.join("locks").join(what);
        loop {
            let file =
                File::options().create(true).append(true).open(&path).map_err(Error::file("open", &path))?;
            match rustix::fs::flock(file.as_fd(), FlockOperation::LockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(Error::errno("lock", &path)(errno)),
            }
            // Whoever held it may have removed the file: then this is the lock of nothing.
            let held = file.metadata().map_err(Error::file("read", &path))?;
            if fs::metadata(&path).is_ok_and(|there| there.ino() == held.ino()) {
                return Ok(Lock { path, _file: file });
            }
        }
    }
}

/// The directory of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDir {
    /// The directory.
    pub path: PathBuf,
}

impl LabDir {
    pub fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }
    pub fn key(&self) -> PathBuf {
        self.path.join("id_ed25519")
    }
    pub fn public_key(&self) -> PathBuf {
        self.path.join("id_ed25519.pub")
    }
    pub fn wireguard(&self) -> PathBuf {
        self.path.join("wg.conf")
    }
    pub fn gateway_key(&self) -> PathBuf {
        self.path.join("gateway.key")
    }
    pub fn known_hosts(&self) -> PathBuf {
        self.path.join("known_hosts")
    }
    pub fn ssh_config(&self) -> PathBuf {
        self.path.join("ssh_config")
    }
    pub fn pyinfra(&self) -> PathBuf {
        self.path.join("pyinfra.py")
    }
    pub fn inventory(&self) -> PathBuf {
        self.path.join("inventory.ini")
    }
    pub fn host(&self, host: &str) -> HostDir {
        HostDir { path: self.path.join("hosts").join(host) }
    }
}

/// The directory of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDir {
    /// The directory.
    pub path: PathBuf,
}

impl HostDir {
    /// The host's root file system, while it is mounted.
    pub fn rootfs(&self) -> PathBuf {
        self.path.join("root")
    }
    /// What the host changed on top of its base system.
    pub fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }
    pub fn host_key(&self) -> PathBuf {
        self.path.join("ssh_host_ed25519_key")
    }
    pub fn console(&self) -> PathBuf {
        self.path.join("console.log")
    }
    pub fn boot(&self) -> PathBuf {
        self.path.join("boot.json")
    }
}

/// Makes a directory and its parents, for root only; fine if it is there.
pub fn make_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("make", path))
}

/// Replaces a file as one step: readers see the old text or the new one.
pub fn write_file(path: &Path, text: &str) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let tmp = path.with_file_name(name);
    let mut file = File::create(&tmp).map_err(Error::file("write", &tmp))?;
    file.write_all(text.as_bytes()).map_err(Error::file("write", &tmp))?;
    fs::rename(&tmp, path).map_err(Error::file("replace", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_would_be_misread_are_refused() {
        for path in ["relative", "/with space", "/a:b", "/a,b", "/a'b", ""] {
            assert!(Store::open(Some(Path::new(path))).is_err(), "{path}");
        }
        assert!(Store::open(Some(Path::new("/srv/lab-1.d"))).is_ok());
    }

    #[test]
    fn two_directories_have_two_prefixes() {
        let one = Store::open(Some(Path::new("/srv/one"))).unwrap();
        let two = Store::open(Some(Path::new("/srv/two"))).unwrap();
        let default = Store::open(Some(Path::new(DEFAULT_ROOT))).unwrap();
        assert_ne!(one.prefix(), two.prefix());
        assert_eq!(default.prefix(), "debark");
    }

    #[test]
    fn a_lock_whose_file_was_removed_locks_nothing() {
        let dir = std::env::temp_dir().join(format!("debark-lab-lock-{}", std::process::id()));
        let store = Store::open(Some(&dir)).unwrap();
        store.prepare().unwrap();
        let first = store.lock("lab-x").unwrap();
        let order = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let lock = store.lock("lab-x").unwrap();
                    order.lock().unwrap().push("in");
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    order.lock().unwrap().push("out");
                    lock.retire();
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(order.lock().unwrap().is_empty());
            first.retire();
        });
        assert_eq!(order.into_inner().unwrap(), ["in", "out"].repeat(4));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = std::env::temp_dir().join(format!("debark-lab-store-{}", std::process::id()));
        make_dir(&dir).unwrap();
        let path = dir.join("state.json");
        write_file(&path, "one").unwrap();
        write_file(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
