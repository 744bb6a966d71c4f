//! Access and modification times.

use std::fs::FileTimes;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Params, State};
use crate::plan::{Diff, Failure};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Time {
    Preserve,
    Now,
    At(i64),
}

/// What the task says about times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    modified: Time,
    accessed: Time,
}

/// What is to be changed of one path's times.
#[derive(Debug, Clone, Default)]
pub(super) struct TimesDiff {
    path: PathBuf,
    modified: Option<SystemTime>,
    accessed: Option<SystemTime>,
    pub(super) diff: Vec<Diff>,
}

impl Times {
    pub(super) fn read(params: &Params, state: State) -> Result<Self, Failure> {
        let read = |name: &str, text: &Option<String>, format: &str| match text.as_deref() {
            None if state == State::Touch => Ok(Time::Now),
            None | Some("preserve" | "") => Ok(Time::Preserve),
            Some("now") => Ok(Time::Now),
            Some(text) => parse(text, format).map(Time::At).ok_or_else(|| {
                Failure::new(format!("`{name}` {text:?} is not a time as {format:?} writes it"))
            }),
        };
        Ok(Self {
            modified: read("modification_time", &params.modification_time, &params.modification_time_format)?,
            accessed: read("access_time", &params.access_time, &params.access_time_format)?,
        })
    }

    pub(super) fn diff(&self, path: &Path, exists: bool) -> Result<TimesDiff, Failure> {
        let mut out = TimesDiff { path: path.to_path_buf(), ..TimesDiff::default() };
        if (self.modified, self.accessed) == (Time::Preserve, Time::Preserve) {
            return Ok(out);
        }
        let meta = match exists {
            true => Some(std::fs::metadata(path).map_err(|e| Failure::io("cannot look at", path, e))?),
            false => None,
        };
        let current = |time: Option<std::io::Result<SystemTime>>| time.and_then(Result::ok);
        let modified = current(meta.as_ref().map(std::fs::Metadata::modified));
        let accessed = current(meta.as_ref().map(std::fs::Metadata::accessed));
        for (name, wanted, current, slot) in [
            ("mtime", self.modified, modified, &mut out.modified),
            ("atime", self.accessed, accessed, &mut out.accessed),
        ] {
            let new = match wanted {
                Time::Preserve => continue,
                Time::Now => SystemTime::now(),
                Time::At(seconds) => system(seconds),
            };
            if current != Some(new) {
                let shown = |time| crate::clock::stamp(time);
                let before = current.map(shown).unwrap_or_default();
                out.diff.push(Diff::property(path.display(), name, before, shown(new)));
                *slot = Some(new);
            }
        }
        Ok(out)
    }
}

impl TimesDiff {
    pub(super) fn changes(&self) -> bool {
        self.modified.is_some() || self.accessed.is_some()
    }

    pub(super) fn apply(&self) -> Result<(), Failure> {
        if !self.changes() {
            return Ok(());
        }
        let mut times = FileTimes::new();
        if let Some(time) = self.modified {
            times = times.set_modified(time);
        }
        if let Some(time) = self.accessed {
            times = times.set_accessed(time);
        }
        std::fs::File::open(&self.path)
            .and_then(|file| file.set_times(times))
            .map_err(|error| Failure::io("cannot set the times of", &self.path, error))
    }
}

fn system(seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}

/// A local time as strptime(3) reads it, in seconds since 1970.
fn parse(text: &str, format: &str) -> Option<i64> {
    let time = jiff::fmt::strtime::parse(format, text).ok()?;
    let date = time.to_datetime().or_else(|_| time.to_date().map(|date| date.at(0, 0, 0, 0))).ok()?;
    let zone = crate::facts::date_time::zone();
    Some(zone.to_ambiguous_timestamp(date).compatible().ok()?.as_second())
}
