//! `apt-get update`.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Params, get, locks, transaction};
use crate::exec::Cmd;
use crate::{Failure, Host, Map, Plan, map};

/// Touched by hosts that are set up to (update-notifier); otherwise the directory of lists tells.
const SUCCESS: &str = "/var/lib/apt/periodic/update-success-stamp";
const LISTS: &str = "/var/lib/apt/lists";
/// An update that finds nothing new leaves no trace in the lists; ours does, so that `cache_valid_time` holds.
const STAMP: &str = "/var/lib/debark/apt-update-stamp";

/// The lists, and what becomes of them.
#[derive(Clone, Copy)]
pub(super) struct Cache {
    /// Whether the task asks for them to be fetched.
    pub(super) wanted: bool,
    /// Whether they are to be fetched still.
    pub(super) stale: bool,
    /// Whether they were fetched and brought something new.
    pub(super) updated: bool,
    /// Seconds since the epoch.
    pub(super) time: i64,
}

impl Cache {
    /// Whether the lists that are there are recent enough for the task.
    pub(super) fn look(params: &Params) -> Self {
        // As in Ansible, a valid time asks for an update by itself.
        let wanted = params.update_cache.unwrap_or(false) || params.cache_valid_time > 0;
        let changed = lists_time();
        let known = changed.max(modified(STAMP));
        let age = known.and_then(|time| SystemTime::now().duration_since(time).ok());
        let valid = Duration::from_secs(u64::try_from(params.cache_valid_time).unwrap_or(0));
        let fresh = valid > Duration::ZERO && age.is_some_and(|age| age <= valid);
        Self { wanted, stale: wanted && !fresh, updated: false, time: seconds(changed) }
    }

    /// Fetches the lists.
    ///
    /// # Errors
    /// A source cannot be read.
    pub(super) fn bring(self, params: &Params, host: &Host) -> Result<Self, Failure> {
        get::need_root()?;
        let before = lists_time();
        refresh_patiently(
            params.lock_timeout,
            params.update_cache_retries,
            params.update_cache_retry_max_delay,
            host,
        )?;
        let after = lists_time();
        Ok(Self { stale: false, updated: after != before, time: seconds(after), ..self })
    }

    /// The plan of a task that wants nothing else.
    pub(super) fn plan(self) -> Plan {
        let result = map! { "cache_updated" => self.updated, "cache_update_time" => self.time };
        if self.updated {
            // It is done already: fetching was the preparation.
            return Plan::change(result, Vec::new(), |_| Ok(Map::new()));
        }
        // Whether the archives have something new is known to them only; a check says nothing of it, as in Ansible.
        Plan::ok(result)
    }
}

fn modified(path: &str) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// When the lists last changed, as Ansible finds it.
fn lists_time() -> Option<SystemTime> {
    modified(SUCCESS).or_else(|| modified(LISTS))
}

fn seconds(time: Option<SystemTime>) -> i64 {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Fetches the lists, several times if need be, with pauses that double up to `longest` seconds.
///
/// # Errors
/// A source cannot be read: also one that has old lists, for those would pass for new.
pub(crate) fn refresh_patiently(
    lock_timeout: i64,
    retries: i64,
    longest: i64,
    host: &Host,
) -> Result<(), Failure> {
    let retries = retries.clamp(1, 100);
    let longest = u64::try_from(longest).unwrap_or(0);
    let mut attempt = 1;
    loop {
        match refresh(lock_timeout, host) {
            Ok(()) => return Ok(()),
            Err(failure) if attempt >= retries => {
                let times = if retries == 1 { "try" } else { "tries" };
                return Err(Failure {
                    msg: format!("apt's lists were not fetched in {retries} {times}: {}", failure.msg),
                    ..failure
                });
            }
            Err(_) => {
                let delay = 1u64.checked_shl(attempt as u32 - 1).unwrap_or(longest).min(longest);
                std::thread::sleep(Duration::from_secs(delay));
                attempt += 1;
            }
        }
    }
}

fn refresh(lock_timeout: i64, host: &Host) -> Result<(), Failure> {
    transaction::settle(lock_timeout, host)?;
    locks::wait(lock_timeout)?;
    let output = host.exec(&command(lock_timeout))?;
    host.forget_all();
    if output.rc != 0 {
        return Err(get::failure(&["update".to_owned()], &output, host).with(output.result()));
    }
    // Without the stamp the next run fetches again: slower, but right.
    let _ = std::fs::create_dir_all(Path::new(STAMP).parent().map(PathBuf::from).unwrap_or_default());
    let _ = std::fs::write(STAMP, "");
    Ok(())
}

fn command(lock_timeout: i64) -> Cmd {
    get::environment(Cmd::new("apt-get"))
        .args(["-q", "-o", "APT::Update::Error-Mode=any"])
        .arg("-o")
        .arg(format!("DPkg::Lock::Timeout={}", lock_timeout.max(0)))
        .arg("update")
}
