//! The locks of apt and dpkg, and the gate's own.
//!
//! apt and dpkg lock with fcntl(2) (`F_SETLK`), which flock(2) knows nothing of. Such locks belong to a process and go
//! when it closes *any* descriptor of the file, so each file is opened once and kept open.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use debark_order::gate::{Failure, FailureKind};
use rustix::fs::FlockOperation;
use rustix::process::{Flock, FlockType};

use crate::failure::{Failing as _, Result, call, fail, file};
use crate::place;

/// What a frontend of dpkg takes first (dpkg's doc/frontend.txt).
pub const FRONTEND: &str = "/var/lib/dpkg/lock-frontend";
/// What apt-get takes when it installs, and when it updates.
const APT: &[&str] =
    &[FRONTEND, "/var/lib/dpkg/lock", "/var/cache/apt/archives/lock", "/var/lib/apt/lists/lock"];

/// Waits until nobody holds a lock that apt-get needs.
///
/// # Errors
/// [`FailureKind::Busy`], with the process that holds it.
pub fn wait_for_apt(deadline: Instant) -> Result<()> {
    for path in APT {
        let Some(file) = opened(Path::new(path))? else { continue };
        while let Some(holder) = holder(&file) {
            pause(path, holder, deadline)?;
        }
    }
    Ok(())
}

/// Takes dpkg's frontend lock: what then runs dpkg has to set `DPKG_FRONTEND_LOCKED`.
///
/// # Errors
/// [`FailureKind::Busy`], with the process that holds it.
pub fn take_frontend(deadline: Instant) -> Result<File> {
    let path = Path::new(FRONTEND);
    let frontend =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(path);
    let frontend = frontend.map_err(|error| file(path, &error))?;
    loop {
        match rustix::fs::fcntl_lock(&frontend, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
                pause(FRONTEND, holder(&frontend).unwrap_or(0), deadline)?
            }
            Err(error) => return Err(call(path, error)),
        }
    }
    let database = "/var/lib/dpkg/lock";
    if let Some(file) = opened(Path::new(database))? {
        while let Some(holder) = holder(&file) {
            pause(database, holder, deadline)?;
        }
    }
    Ok(frontend)
}

fn opened(path: &Path) -> Result<Option<File>> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file(path, &error)),
    }
}

/// The process that holds a lock on a file.
fn holder(file: &File) -> Option<u32> {
    let found = rustix::process::fcntl_getlk(file, &Flock::from(FlockType::WriteLock)).ok().flatten()?;
    Some(found.pid.map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs()))
}

fn pause(path: &str, holder: u32, deadline: Instant) -> Result<()> {
    if Instant::now() >= deadline {
        return Err(busy(path, holder));
    }
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}

fn busy(path: &str, holder: u32) -> Failure {
    let name = std::fs::read_to_string(format!("/proc/{holder}/comm")).unwrap_or_default();
    let who = match (holder, name.trim()) {
        (0, _) => "another process".to_owned(),
        (_, "") => format!("process {holder}"),
        (_, name) => format!("process {holder} ({name})"),
    };
    fail(FailureKind::Busy, format!("{who} holds {path}"))
        .hint("try again when it is done; `lock_timeout` in /etc/debark/gate.json is how long the host waits")
}

/// The lock of what works on packages for the gate, once whoever has it is done.
///
/// # Errors
/// It cannot be opened.
pub fn wait_work() -> Result<File> {
    let file = place::lock_file("work.lock")?;
    loop {
        match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(call(&place::run("work.lock"), error)),
        }
    }
}

/// Whether something works on packages for the gate.
///
/// # Errors
/// It cannot be found out.
pub fn works() -> Result<bool> {
    let file = place::lock_file("work.lock")?;
    // A shared lock: two that ask at once do not take each other for work.
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::AGAIN) => Ok(true),
        Err(error) => Err(call(&place::run("work.lock"), error)),
    }
}
