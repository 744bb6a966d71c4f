//! A store in a directory.
//!
//! Files are written under another name, synchronised, and given their name by link or rename. What compares and swaps holds a
//! lock of the kernel's (flock(2)) for that moment: it is gone with its process, so that nobody ever has to remove it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use debark_order::Digest;
use rustix::fs::{FlockOperation, flock};

use crate::backend::{Backend, Found, Object};
use crate::error::{Error, ErrorKind, Result};

/// What half written files are called.
const TEMPORARY: &str = ".debark-";
/// A holder of the lock writes one file; whoever holds it longer has been stopped.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody takes that long to write a file.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn error(&self, path: &str, doing: &str, error: &io::Error) -> Error {
        let what = format!("cannot {doing} {path} in the store {}: {error}", self.root.display());
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Error::new(ErrorKind::Failed, what).hint("publish as the user whom the directory belongs to")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::new(ErrorKind::Failed, what).hint("`debark prune` removes old versions")
            }
            io::ErrorKind::TimedOut
            | io::ErrorKind::StaleNetworkFileHandle
            | io::ErrorKind::HostUnreachable => {
                Error::new(ErrorKind::Unreachable, what).hint("is its file system mounted?")
            }
            _ => Error::new(ErrorKind::Failed, what),
        }
    }

    fn open(&self, path: &str) -> Result<Option<File>> {
        match File::open(self.root.join(path)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.root.is_dir() {
                    return Ok(None);
                }
                let what = format!("there is no store in {}", self.root.display());
                Err(Error::new(ErrorKind::Unreachable, what)
                    .hint("`debark publish` makes it; if it should be there, is its file system mounted?"))
            }
            Err(error) => Err(self.error(path, "read", &error)),
        }
    }

    /// The object's directory, made if it is not there.
    fn parent(&self, path: &str) -> io::Result<PathBuf> {
        let target = self.root.join(path);
        let parent = target.parent().unwrap_or(&self.root).to_owned();
        fs::create_dir_all(&parent)?;
        Ok(parent)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<(tempfile::NamedTempFile, PathBuf)> {
        let parent = self.parent(path)?;
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            // Web servers and apt's own user read it.
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(&parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_data()?;
        Ok((file, parent))
    }

    fn put_now(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let (file, parent) = self.write(path, bytes)?;
        file.persist(self.root.join(path)).map_err(|error| error.error)?;
        File::open(parent)?.sync_all()
    }

    /// The lock for `path`, which is held as long as the file is open.
    fn lock(&self, path: &str) -> Result<File> {
        let open = || {
            let parent = self.parent(path)?;
            let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
            File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(parent.join(format!(".{name}.lock")))
        };
        let file = open().map_err(|error| self.error(path, "lock", &error))?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.error(path, "lock", &error.into())),
            }
            if started.elapsed() > PATIENCE {
                let what = format!(
                    "another publisher has held {path} in the store {} for {} seconds",
                    self.root.display(),
                    PATIENCE.as_secs()
                );
                return Err(Error::new(ErrorKind::Failed, what)
                    .hint("a stopped process holds it; let it go on or end it, and publish again"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn walk(&self, directory: &Path, each: &mut dyn FnMut(&Path, &fs::Metadata)) -> io::Result<()> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => self.walk(&entry.path(), each)?,
                Ok(metadata) if metadata.is_file() => each(&entry.path(), &metadata),
                // Links are none of ours; and what is gone by now is gone.
                _ => {}
            }
        }
        Ok(())
    }
}

impl Backend for Directory {
    fn read(&self, path: &str, limit: u64) -> Result<Option<Found>> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| self.error(path, "read", &error))?;
        if bytes.len() as u64 > limit {
            return Err(Error::damaged(
                path,
                &self.root.display().to_string(),
                format!("it has more than {limit} bytes"),
            ));
        }
        let tag = Digest::of(&bytes).hex();
        Ok(Some(Found { bytes, tag }))
    }

    fn file(&self, path: &str) -> Option<PathBuf> {
        Some(self.root.join(path))
    }

    fn stream(&self, path: &str, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let Some(mut file) = self.open(path)? else { return Ok(false) };
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(read) => each(buffer.get(..read).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(path, "read", &error)),
            }
        }
    }

    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let make = || {
            let (file, parent) = self.write(path, bytes)?;
            match file.persist_noclobber(self.root.join(path)) {
                Ok(_) => {}
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
                Err(error) => return Err(error.error),
            }
            File::open(parent)?.sync_all()?;
            Ok(true)
        };
        make().map_err(|error: io::Error| self.error(path, "write", &error))
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put_now(path, bytes).map_err(|error| self.error(path, "write", &error))
    }

    fn replace(&self, path: &str, bytes: &[u8], expected: Option<&str>) -> Result<bool> {
        let _lock = self.lock(path)?;
        let now = match fs::read(self.root.join(path)) {
            Ok(bytes) => Some(Digest::of(&bytes).hex()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.error(path, "read", &error)),
        };
        if now.as_deref() != expected {
            return Ok(false);
        }
        self.put(path, bytes)?;
        Ok(true)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let mut found = Vec::new();
        let mut each = |path: &Path, metadata: &fs::Metadata| {
            let name = path.file_name().and_then(|name| name.to_str());
            let path = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
            if let (Some(name), Some(path)) = (name, path)
                && !name.starts_with('.')
            {
                let modified = metadata.modified().unwrap_or_else(|_| SystemTime::now());
                found.push(Object { path: path.to_owned(), size: metadata.len(), modified });
            }
        };
        let walked = self.walk(&self.root.join(prefix), &mut each);
        walked.map_err(|error| self.error(prefix, "list", &error))?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn remove(&self, path: &str) -> Result<()> {
        let target = self.root.join(path);
        match fs::remove_file(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.error(path, "remove", &error));
            }
            _ => {}
        }
        // Directories are removed with their last file; one that is not empty stays.
        for parent in target.ancestors().skip(1).take_while(|parent| *parent != self.root).take(2) {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn sweep(&self) -> Result<()> {
        let now = SystemTime::now();
        let mut old = Vec::new();
        let mut each = |path: &Path, metadata: &fs::Metadata| {
            let temporary = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(TEMPORARY));
            let age = metadata.modified().ok().and_then(|time| now.duration_since(time).ok());
            if temporary && age.is_some_and(|age| age > ABANDONED) {
                old.push(path.to_owned());
            }
        };
        self.walk(&self.root, &mut each).map_err(|error| self.error(".", "list", &error))?;
        for path in old {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }
}
