//! Files that hosts send to the controller's disk (`fetch`).
//!
//! Written beside their place and renamed when whole, so a connection that is lost leaves an earlier file alone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Files that are being received, by host and destination.
#[derive(Debug, Default)]
pub(crate) struct Stores(HashMap<(String, PathBuf), (File, PathBuf)>);

impl Stores {
    /// Takes a part.
    ///
    /// # Errors
    /// It cannot be written: a sentence.
    pub(crate) fn part(&mut self, host: &str, dest: &Path, bytes: &[u8], last: bool) -> Result<(), String> {
        let key = (host.to_owned(), dest.to_path_buf());
        let result = self.write(&key, bytes, last);
        if result.is_err()
            && let Some((_, temporary)) = self.0.remove(&key)
        {
            let _ = fs::remove_file(temporary);
        }
        result.map_err(|error| format!("cannot store {}: {error}", dest.display()))
    }

    fn write(&mut self, key: &(String, PathBuf), bytes: &[u8], last: bool) -> std::io::Result<()> {
        let dest = key.1.as_path();
        if !self.0.contains_key(key) {
            let directory = dest.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(directory)?;
            let name =
                dest.file_name().ok_or(std::io::ErrorKind::IsADirectory)?.to_string_lossy().into_owned();
            let (file, temporary) = temporary(directory, &name)?;
            self.0.insert(key.clone(), (file, temporary));
        }
        if let Some((file, _)) = self.0.get_mut(key) {
            file.write_all(bytes)?;
        }
        if last && let Some((file, temporary)) = self.0.remove(key) {
            file.sync_all()?;
            fs::rename(temporary, dest)?;
        }
        Ok(())
    }

    /// A host is gone: what it left half sent is removed.
    pub(crate) fn leave(&mut self, gone: &str) {
        self.0.retain(|(host, _), (_, temporary)| {
            let stays = host != gone;
            if !stays {
                let _ = fs::remove_file(temporary);
            }
            stays
        });
    }
}

/// A new file that nobody else has, even if a run that was killed left one.
fn temporary(directory: &Path, name: &str) -> std::io::Result<(File, PathBuf)> {
    let mut number = 0u32;
    loop {
        let path = directory.join(format!(".{name}.debark-{}-{number}", std::process::id()));
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
            opened => return opened.map(|file| (file, path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let dest = directory.path().join("web1/etc/motd");
        let mut stores = Stores::default();
        stores.part("web1", &dest, b"one ", false).unwrap();
        assert!(!dest.exists());
        stores.part("web1", &dest, b"two", true).unwrap();
        assert_eq!(fs::read(&dest).unwrap(), b"one two");
        stores.part("web1", &dest, b"three", false).unwrap();
        stores.leave("web1");
        assert_eq!(fs::read(&dest).unwrap(), b"one two");
        assert_eq!(fs::read_dir(dest.parent().unwrap()).unwrap().count(), 1);
    }
}
