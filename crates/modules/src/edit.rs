//! Text files of the system that a module edits as a whole: read, compared, replaced atomically.

use std::path::{Path, PathBuf};

use crate::{Diff, Failure, Host};

#[path = "edit_write.rs"]
mod write;

/// Larger files are no configuration.
const LIMIT: u64 = 64 << 20;

/// Who should own a file, and its mode. `None` keeps what the file has; a new one is root's, 0644.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    /// User and group id.
    pub ids: Option<(u32, u32)>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// A text file as it was found.
#[derive(Debug, Clone)]
pub struct Edit {
    path: PathBuf,
    before: Option<String>,
}

impl Edit {
    /// Reads a file; links are followed, so that the file they lead to is the one that is replaced.
    ///
    /// # Errors
    /// It cannot be read, is no text, or is too large.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Self::read_exact(&path)
    }

    /// As [`Edit::read`], but a link itself is replaced by a file.
    ///
    /// # Errors
    /// It cannot be read, is no text, or is too large.
    pub fn read_exact(path: &Path) -> Result<Self, Failure> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        let path = path.to_owned();
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_file() && meta.len() > LIMIT => {
                Err(Failure::new(format!("{} is too large to be edited", path.display())))
            }
            Ok(_) => {
                let bytes = std::fs::read(&path).map_err(|e| Failure::io("cannot read", &path, e))?;
                let text = String::from_utf8(bytes)
                    .map_err(|_| Failure::new(format!("{} is no UTF-8 text", path.display())))?;
                Ok(Self { path, before: Some(text) })
            }
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(Self { path, before: None }),
            Err(error) => Err(Failure::io("cannot read", &path, error)),
        }
    }

    /// The text; empty for a file that is not there.
    pub fn text(&self) -> &str {
        self.before.as_deref().unwrap_or_default()
    }

    /// Whether the file is there.
    pub fn exists(&self) -> bool {
        self.before.is_some()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `--diff` shows.
    pub fn diff(&self, after: &str) -> Diff {
        Diff::text(self.path.display(), self.text(), after)
    }

    /// Replaces the file. Yields the backup's path, if one was asked for and there was something to keep.
    ///
    /// # Errors
    /// Someone else changed it since it was read, the disk is full, ...: then it is as it was.
    pub fn write(
        &self,
        host: &Host,
        after: &str,
        owner: Owner,
        backup: bool,
    ) -> Result<Option<PathBuf>, Failure> {
        let now = Self::read_exact(&self.path)?;
        if now.before != self.before {
            return Err(Failure::new(format!(
                "{} was changed by someone else meanwhile",
                self.path.display()
            ))
            .hint("run again"));
        }
        write::replace(host, &self.path, after, owner, backup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaces_what_a_link_leads_to_and_keeps_its_mode() {
        let dir = std::env::temp_dir().join(format!("debark-edit-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (file, link) = (dir.join("f"), dir.join("l"));
        std::fs::write(&file, "a\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink("f", &link).unwrap();
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let edit = Edit::read(&link).unwrap();
        let backup = edit.write(&host, "b\n", Owner::default(), true).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "b\n");
        assert_eq!(std::fs::read_to_string(backup).unwrap(), "a\n");
        assert!(link.is_symlink());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
        // The first reading is out of date now.
        assert!(edit.write(&host, "c\n", Owner::default(), false).unwrap_err().msg.contains("someone else"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
