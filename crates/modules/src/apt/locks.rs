//! Who holds apt's and dpkg's locks.
//!
//! `DPkg::Lock::Timeout` makes apt-get wait for some of them, but not for the one on the lists, and it does not say
//! whom it waits for.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;

const FILES: [&str; 4] = [
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
];

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pid: u32,
    command: String,
    file: &'static str,
}

/// The first process found to hold one of the locks.
pub(super) fn holder() -> Option<Holder> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    FILES.into_iter().find_map(|file| {
        let inode = std::fs::metadata(file).ok()?.ino();
        let pid = pids(&locks, inode).find(|pid| has_open(*pid, file))?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        // A script among the arguments may have many lines.
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(Holder { pid, command: command.chars().take(120).collect(), file })
    })
}

/// Processes with a lock on that inode. Devices are left out: on overlayfs they differ from what stat(2) says.
fn pids(locks: &str, inode: u64) -> impl Iterator<Item = u32> + use<'_> {
    locks.lines().filter_map(move |line| {
        // `1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF`; those with `->` only wait.
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, kind, _, _, pid, place, ..] = words.as_slice() else { return None };
        let theirs: u64 = place.rsplit(':').next()?.parse().ok()?;
        (*kind != "->" && theirs == inode).then(|| pid.parse().ok())?
    })
}

/// Whether the process has the file open; it counts as open where that cannot be seen.
fn has_open(pid: u32, file: &str) -> bool {
    match std::fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries
            .filter_map(Result::ok)
            .any(|entry| entry.path().read_link().is_ok_and(|target| target == Path::new(file))),
        Err(_) => Path::new(&format!("/proc/{pid}")).exists(),
    }
}

/// Waits until nobody holds a lock.
///
/// # Errors
/// Somebody still does after `seconds`: who.
pub(super) fn wait(seconds: i64) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    loop {
        let Some(holder) = holder() else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(locked(&holder, seconds));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn locked(holder: &Holder, seconds: i64) -> Failure {
    Failure::new(format!(
        "apt is locked by process {} ({}), which did not release {} within {} s",
        holder.pid,
        holder.command,
        holder.file,
        seconds.max(0)
    ))
    .hint("wait until it has ended, or raise `lock_timeout`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_who_holds_a_lock() {
        let locks = "\
1: POSIX  ADVISORY  WRITE 1234 08:01:77 0 EOF
1: -> POSIX  ADVISORY  WRITE 99 08:01:77 0 EOF
2: FLOCK  ADVISORY  WRITE 5 00:2d:78 0 EOF
rubbish
";
        assert_eq!(pids(locks, 77).collect::<Vec<_>>(), [1234]);
        assert_eq!(pids(locks, 78).collect::<Vec<_>>(), [5]);
        assert_eq!(pids(locks, 1).count(), 0);
    }

    #[test]
    fn names_the_holder() {
        let holder = Holder { pid: 7, command: "apt-get upgrade".into(), file: FILES[0] };
        assert_eq!(
            locked(&holder, 60).msg,
            "apt is locked by process 7 (apt-get upgrade), which did not release /var/lib/dpkg/lock-frontend within 60 s"
        );
    }
}
