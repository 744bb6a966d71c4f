//! Somewhere to keep a download until it is known whether it changes anything: a file without a name.

use std::fs::File;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::Failure;

/// An empty file without a name, gone when it is closed: in one of `dirs`, or else in a temporary directory.
///
/// # Errors
/// None of them can be written to.
pub fn spool(dirs: &[&Path]) -> Result<File, Failure> {
    let temporary = std::env::temp_dir();
    let common = [temporary.as_path(), Path::new("/var/tmp"), Path::new("/tmp"), Path::new("/run")];
    for dir in dirs.iter().copied().chain(common) {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR) {
            return Ok(file.into());
        }
    }
    // Overlays of old kernels have no such files: a named one, unlinked at once, is the same.
    for dir in dirs.iter().copied().chain(common) {
        let path = dir.join(format!(".debark-spool-{}", std::process::id()));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR) {
            let _ = std::fs::remove_file(&path);
            return Ok(file.into());
        }
    }
    Err(Failure::new("there is no directory on the host to keep a download in"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn holds_what_is_written() {
        let mut file = spool(&[Path::new("/nowhere")]).unwrap();
        file.write_all(b"x").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }
}
