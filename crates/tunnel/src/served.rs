//! A tunnel that other processes of this user can use, by a socket in a private directory.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::tunnel::Tunnel;

const PREFIX: &str = "debark-vpn-";
const SOCKET: &str = "s";
/// A directory without a listener may be one that is just being made.
const OLD: Duration = Duration::from_secs(60);

/// Directories of this process, for an end that runs no destructors.
static OPEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A tunnel with its socket, both gone when it is dropped.
#[derive(Debug)]
pub struct Served {
    tunnel: Option<Tunnel>,
    directory: PathBuf,
}

impl Served {
    /// Opens the tunnel and its socket: a directory of mode 0700 in `XDG_RUNTIME_DIR` or the temporary directory, the
    /// socket in it of mode 0600.
    ///
    /// # Errors
    /// There is no place for them, or the system gives no socket or thread.
    pub fn open(config: Config) -> io::Result<Self> {
        let base = base();
        sweep(&base);
        let mut maker = tempfile::Builder::new();
        maker.prefix(PREFIX).permissions(std::fs::Permissions::from_mode(0o700));
        let directory = maker.tempdir_in(&base)?;
        let path = directory.path().join(SOCKET);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let tunnel = Tunnel::open(config, Some(listener))?;
        let directory = directory.keep();
        open().push(directory.clone());
        Ok(Self { tunnel: Some(tunnel), directory })
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// The tunnel itself.
    pub fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.as_ref()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        remove(&self.directory);
        open().retain(|directory| *directory != self.directory);
        drop(self.tunnel.take());
    }
}

/// Removes the sockets of all tunnels of this process: before an end that runs no destructors.
pub fn clean_up() {
    open().drain(..).for_each(|directory| remove(&directory));
}

fn open() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(directory: &Path) {
    // Nobody is left to be told; what stays is swept by the next run.
    let _ = std::fs::remove_file(directory.join(SOCKET));
    let _ = std::fs::remove_dir(directory);
}

fn base() -> PathBuf {
    let own = |path: &PathBuf| {
        let uid = rustix::process::geteuid().as_raw();
        path.is_absolute() && path.metadata().is_ok_and(|found| found.is_dir() && found.uid() == uid)
    };
    // A socket's path has 108 bytes at most, unix(7).
    let short = |path: &PathBuf| path.as_os_str().len() < 70;
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(own)
        .filter(short)
        .unwrap_or_else(|| Some(std::env::temp_dir()).filter(short).unwrap_or_else(|| PathBuf::from("/tmp")))
}

/// Removes what runs that were killed have left.
fn sweep(base: &Path) {
    let uid = rustix::process::geteuid().as_raw();
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // symlink_metadata: of a link nothing is removed.
        let Ok(found) = entry.path().symlink_metadata() else { continue };
        let old = found.modified().ok().and_then(|when| when.elapsed().ok()).is_some_and(|age| age > OLD);
        if !found.is_dir() || found.uid() != uid || !old {
            continue;
        }
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if UnixStream::connect(entry.path().join(SOCKET)).is_err_and(refused) {
            remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_for_this_user_alone_and_only_as_long_as_the_tunnel() {
        let key = crate::SecretKey::generate();
        let text = format!(
            "[Interface]\nPrivateKey={}\nAddress=10.9.0.2\n[Peer]\nPublicKey={}\nEndpoint=127.0.0.1:9\n",
            *key.encoded(),
            crate::SecretKey::generate().public()
        );
        let served = Served::open(Config::parse(&text).unwrap()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        let (socket, directory) = (served.socket(), served.directory.clone());
        assert_eq!((mode(&directory), mode(&socket)), (0o700, 0o600));
        assert!(UnixStream::connect(&socket).is_ok());
        drop(served);
        assert!(!directory.exists());
    }

    #[test]
    fn what_killed_runs_left_is_swept() {
        let base = tempfile::tempdir().unwrap();
        let make = |name: &str, age: u64| {
            let path = base.path().join(name);
            std::fs::create_dir(&path).unwrap();
            drop(UnixListener::bind(path.join(SOCKET)).unwrap());
            let when = std::time::SystemTime::now() - Duration::from_secs(age);
            std::fs::File::open(&path).unwrap().set_modified(when).unwrap();
            path
        };
        let (left, new, other) =
            (make("debark-vpn-a", 3600), make("debark-vpn-b", 0), make("something-else", 3600));
        sweep(base.path());
        assert!(!left.exists() && new.exists() && other.exists());
    }
}
