//! Where apt, dpkg and the packages' scripts write what they say.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use crate::failure::{Result, file};
use crate::{command, place};

/// Its file's name.
pub(super) const NAME: &str = "work.log";
/// No more of it is read, in bytes.
const MOST: u64 = 1 << 20;

/// The log, to write at its end.
pub(super) fn open() -> Result<File> {
    let path = place::run(NAME);
    OpenOptions::new().append(true).create(true).open(&path).map_err(|error| file(&path, &error))
}

/// A line of ours.
pub(super) fn say(text: &str) {
    if let Ok(mut log) = open() {
        let _ = writeln!(log, "{text}");
    }
}

/// Its length, in bytes.
pub(super) fn length() -> u64 {
    fs::metadata(place::run(NAME)).map_or(0, |found| found.len())
}

/// What has been said since it had a length: the end of it, if that is much.
pub(super) fn text(from: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut log) = File::open(place::run(NAME)) {
        let length = log.metadata().map_or(0, |found| found.len());
        let _ = log.seek(SeekFrom::Start(from.max(length.saturating_sub(MOST))));
        let _ = log.take(MOST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines of that.
pub(super) fn lines(from: u64) -> Vec<String> {
    command::last_lines(&text(from), 30)
}
