//! The host's own record: who changed what and when, and which handlers still have to run.
//!
//! `journal.jsonl` has one JSON object per line and never a value from the playbook, only names and places.
//! `handlers.json` is replaced atomically before a task that notifies is reported, so that a handler is run even
//! if the agent is killed in between.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

/// The journal is rotated to `journal.jsonl.1` beyond this many bytes.
const ROTATE: u64 = 8 << 20;

/// How long the holder of the lock may take to write its name.
const NAMED: Duration = Duration::from_millis(50);

/// Handlers still to be run: by source file of the play, their names.
type Pending = BTreeMap<String, Vec<String>>;

/// The host's record of runs.
pub struct Journal {
    dir: Option<PathBuf>,
    run: String,
    actor: String,
    /// Held while a play runs.
    lock: Option<File>,
}

/// Where the record lies: `/var/lib/debark` for root, the user's state directory otherwise (XDG Base Directory).
///
/// `DEBARK_STATE_DIR` puts it elsewhere, for tests and for hosts that keep state in a place of their own.
fn state_dir() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("DEBARK_STATE_DIR").filter(|dir| !dir.is_empty()) {
        return Some(dir.into());
    }
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/debark".into());
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(home?.join(".local/state")))
        .map(|d| d.join("debark"))
}

impl Journal {
    /// Opens the record. Without a place to write (no home, read-only disk) the run goes on without one.
    pub fn open(run: &str, actor: &str) -> Self {
        let dir = state_dir().filter(|dir| {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).is_ok() && dir.is_dir()
        });
        Self { dir, run: run.into(), actor: actor.into(), lock: None }
    }

    /// No record.
    pub fn none() -> Self {
        Self { dir: None, run: String::new(), actor: String::new(), lock: None }
    }

    #[cfg(test)]
    fn at(dir: &Path) -> Self {
        Self { dir: Some(dir.into()), run: "r1".into(), actor: "me".into(), lock: None }
    }

    /// Waits until no other run works on this host, which the run calls `host`; nor, if this agent is `after` another one of the
    /// run, that one. `busy` is told who does, once, before waiting.
    pub fn lock(&mut self, host: &str, after: bool, busy: impl FnOnce(&str)) {
        let Some(dir) = &self.dir else { return };
        if self.lock.is_some() {
            return;
        }
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).to_owned();
        let Ok(mut file) = options.open(dir.join("lock")) else { return };
        let mut busy = Some(busy);
        let mut waited = Duration::ZERO;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // Only for the message, so an unreadable holder is an unnamed one.
            let _ =
                (&file).seek(SeekFrom::Start(0)).and_then(|_| (&file).take(4096).read_to_string(&mut holder));
            // The same run under another host name (aliases, `connection: local`): waiting would never end.
            let (own, same) = (holder.lines().next() == Some(&self.run), holder.lines().nth(2) == Some(host));
            if own && !(after && same) {
                return;
            }
            // Whoever has just taken the lock may not have written its name yet.
            if waited >= NAMED
                && let Some(busy) = busy.take()
            {
                busy(holder.lines().nth(1).unwrap_or("another run"));
            }
            let pause = if waited < NAMED { Duration::from_millis(2) } else { Duration::from_millis(100) };
            std::thread::sleep(pause);
            waited += pause;
        }
        let _ = file.set_len(0);
        let _ = file.seek(SeekFrom::Start(0));
        let _ = writeln!(
            file,
            "{}\nrun {} of {} (pid {})\n{host}",
            self.run,
            self.run,
            self.actor,
            std::process::id()
        );
        self.lock = Some(file);
    }

    /// Adds a line. What cannot be written is not worth failing a run that has already happened.
    pub fn record(&self, mut entry: serde_json::Map<String, serde_json::Value>) {
        let Some(dir) = &self.dir else { return };
        let path = dir.join("journal.jsonl");
        if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > ROTATE) {
            let _ = std::fs::rename(&path, dir.join("journal.jsonl.1"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        entry.insert("time".into(), now.as_secs().into());
        entry.insert("run".into(), self.run.as_str().into());
        entry.insert("actor".into(), self.actor.as_str().into());
        let line = format!("{}\n", serde_json::Value::Object(entry));
        if let Ok(mut file) = OpenOptions::new().append(true).create(true).mode(0o600).open(path) {
            let _ = file.write_all(line.as_bytes());
        }
    }

    fn pending_path(&self) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join("handlers.json"))
    }

    fn pending(&self) -> Pending {
        self.pending_path()
            .and_then(|path| std::fs::read(path).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Handlers that an earlier run of this play left, by name.
    pub fn pending_of(&self, play: &str) -> Vec<String> {
        self.pending().remove(play).unwrap_or_default()
    }

    /// All handlers that earlier runs left, by name.
    pub fn pending_all(&self) -> Vec<String> {
        self.pending().into_values().flatten().collect()
    }

    /// Remembers which handlers of this play still have to run.
    ///
    /// # Errors
    /// The note cannot be written: why. Nothing better than the old one can be kept then.
    pub fn set_pending(&self, play: &str, handlers: &[String]) -> Result<(), String> {
        let Some(path) = self.pending_path() else {
            return if handlers.is_empty() { Ok(()) } else { Err("there is no directory for it".into()) };
        };
        let mut pending = self.pending();
        let before = pending.clone();
        if handlers.is_empty() {
            pending.remove(play);
        } else {
            pending.insert(play.into(), handlers.to_vec());
        }
        if pending == before {
            return Ok(());
        }
        replace(&path, serde_json::to_string(&pending).unwrap_or_default().as_bytes())
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_remembered_until_they_ran() {
        let dir = std::env::temp_dir().join(format!("debark-journal-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Journal::at(&dir).set_pending("site.yml:1", &["restart nginx".into()]).unwrap();
        assert_eq!(Journal::at(&dir).pending_of("site.yml:1"), ["restart nginx"]);
        assert_eq!(Journal::at(&dir).pending_of("other.yml:1"), Vec::<String>::new());
        Journal::at(&dir).set_pending("site.yml:1", &[]).unwrap();
        assert!(Journal::at(&dir).pending_all().is_empty());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn handlers_that_cannot_be_remembered_are_told() {
        let gone = std::env::temp_dir().join(format!("debark-no-journal-{}", std::process::id()));
        let why = Journal::at(&gone).set_pending("site.yml:1", &["restart nginx".into()]).unwrap_err();
        assert!(why.contains("handlers.json: No such file"), "{why}");
        assert_eq!(Journal::at(&gone).set_pending("site.yml:1", &[]), Ok(()));
    }

    #[test]
    fn a_second_run_waits_for_the_first() {
        let dir = std::env::temp_dir().join(format!("debark-lock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut first = Journal::at(&dir);
        first.lock("h", false, |_| panic!("nobody else runs"));
        let other = dir.clone();
        let waiting = std::thread::spawn(move || {
            let mut second = Journal { run: "r2".into(), ..Journal::at(&other) };
            let mut told = String::new();
            second.lock("h", false, |who| told = who.into());
            told
        });
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.join().unwrap().starts_with("run r1 of me"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
