//! What a CA has signed and revoked: `FILE.log`, one JSON object per line, only ever added to.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::beside;
use crate::release::context::Problem;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// A certificate; written before it is signed.
    Signed(Signed),
    /// The certificate of that number was not made after all.
    Void {
        /// Its number.
        serial: u64,
        /// When.
        time: u64,
        /// Why.
        why: String,
    },
    /// Something counts no more.
    Revoked {
        /// When.
        time: u64,
        /// By whom.
        by: String,
        /// What: a certificate's number, an identity, a key's fingerprint.
        what: String,
        /// Why.
        reason: Option<String>,
    },
}

/// A certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Signed {
    /// Its number; higher than all before it.
    pub serial: u64,
    /// When it was signed, in seconds since 1970.
    pub time: u64,
    /// Who signed it.
    pub by: String,
    /// `user` or `host`.
    pub holder: String,
    /// Whose it is.
    pub identity: String,
    /// Names of users or of hosts.
    pub principals: Vec<String>,
    /// From when it holds.
    pub valid_after: u64,
    /// Until when.
    pub valid_before: u64,
    /// `SHA256:...` of the key that was certified.
    pub key: String,
    /// `source-address=...`, `force-command=...`, `no-pty`, ...
    #[serde(default)]
    pub options: Vec<String>,
}

/// A record, held so that nobody else writes to it.
pub struct Record {
    path: PathBuf,
    file: File,
    /// What it says.
    pub entries: Vec<Entry>,
}

impl Record {
    /// Opens the record of a CA; waits for whoever else writes to it.
    ///
    /// # Errors
    /// It cannot be read, or a line of it makes no sense.
    pub fn open(ca: &Path) -> Result<Self, Problem> {
        let path = beside(ca, "log");
        let failed = |error: std::io::Error| Problem::input(format!("{}: {error}", path.display()));
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o644)
            .open(&path)
            .map_err(failed)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| failed(error.into()))?;
        let entries = entries(&path, &file)?;
        Ok(Self { path, file, entries })
    }

    /// The number of the next certificate.
    pub fn next(&self) -> u64 {
        let serials = self.entries.iter().filter_map(|entry| match entry {
            Entry::Signed(signed) => Some(signed.serial),
            _ => None,
        });
        serials.max().unwrap_or(0).saturating_add(1)
    }

    /// Adds a line, on disk before it returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, entry: Entry) -> Result<(), Problem> {
        let failed = |error: std::io::Error| Problem::input(format!("{}: {error}", self.path.display()));
        let mut line = serde_json::to_string(&entry).map_err(|error| failed(error.into()))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_all()).map_err(failed)?;
        self.entries.push(entry);
        Ok(())
    }
}

/// What a CA's record says; none if there is no record.
///
/// # Errors
/// It cannot be read, or a line of it makes no sense.
pub fn read(ca: &Path) -> Result<Vec<Entry>, Problem> {
    let path = beside(ca, "log");
    match File::open(&path) {
        Ok(file) => entries(&path, &file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Problem::input(format!("{}: {error}", path.display()))),
    }
}

fn entries(path: &Path, file: &File) -> Result<Vec<Entry>, Problem> {
    let failed = |error: std::io::Error| Problem::input(format!("{}: {error}", path.display()));
    let mut reader = BufReader::new(file);
    reader.rewind().map_err(failed)?;
    let mut entries = Vec::new();
    for (index, line) in reader.lines().enumerate() {
        let line = line.map_err(failed)?;
        let entry = serde_json::from_str(&line).map_err(|error| {
            Problem::input(format!("{}:{}: {error}", path.display(), index + 1))
                .hint("serials are counted by this file: mend the line, or move the file away and start with a new CA")
        })?;
        entries.push(entry);
    }
    Ok(entries)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
