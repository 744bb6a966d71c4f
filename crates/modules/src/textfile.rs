//! Small configuration files that modules of packages keep: read whole, replaced whole.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::Failure;

/// The file's bytes; none if there is no such file.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::io("cannot read", path, error)),
    }
}

/// The file's text; none if there is no such file.
///
/// # Errors
/// It is there and cannot be read.
pub fn read_text(path: &Path) -> Result<Option<String>, Failure> {
    Ok(read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The permission bits of a file that is there.
pub fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|meta| meta.permissions().mode() & 0o7777)
}

/// Replaces the file in one step: readers see the old content or the new. What is there keeps its owner, and its
/// mode unless one is given.
///
/// # Errors
/// It cannot be written; then the old file is untouched.
pub fn write(path: &Path, content: &[u8], wanted: Option<u32>) -> Result<(), Failure> {
    crate::guard::keep(path)?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // The name starts with a dot and has no ending that cron, apt or systemd would read meanwhile.
    let temporary = dir.join(format!(".{name}.debark-{}", std::process::id()));
    let io = |error| Failure::io("cannot write", path, error);
    let outcome = (|| {
        let mut file = File::create(&temporary)?;
        file.set_permissions(Permissions::from_mode(wanted.or_else(|| mode(path)).unwrap_or(0o644)))?;
        if let Ok(old) = fs::metadata(path) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    })();
    if outcome.is_err() {
        // What cannot be written may not be removable either; the first error counts.
        let _ = fs::remove_file(&temporary);
    }
    outcome.map_err(io)
}

/// Puts a file back as it was: content, or absence.
pub fn restore(path: &Path, content: Option<&[u8]>) -> Result<(), Failure> {
    match content {
        Some(content) => write(path, content, None),
        None => remove(path),
    }
}

/// Removes the file if it is there.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path) -> Result<(), Failure> {
    crate::guard::keep(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::io("cannot remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_keeps_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"a", Some(0o600)).unwrap();
        write(&path, b"b", None).unwrap();
        assert_eq!((read_text(&path).unwrap().as_deref(), mode(&path)), (Some("b"), Some(0o600)));
        restore(&path, None).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(write(&dir.path().join("no/such"), b"", None).is_err());
    }
}
