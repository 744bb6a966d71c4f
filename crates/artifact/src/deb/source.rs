//! Where a package's files come from: a directory, or a commit as git holds it. Both answer alike, so that one package comes of either.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use git2::Oid;

use super::DebError;

/// Files larger than this are not held in memory, in bytes.
pub(crate) const SMALL: u64 = 1 << 20;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A file, and whether it may be run.
    File(Place, bool),
    /// A directory, as the source calls it.
    Directory(PathBuf),
    /// A symbolic link to this.
    Link(String),
    /// A device, a socket, a pipe.
    Other,
}

/// Where a file's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file of so many bytes.
    File(PathBuf, u64),
    /// In a git repository, and perhaps at this path of its working tree.
    Object(Oid, PathBuf),
}

/// A file's content.
pub enum Content {
    /// All of it was added to what was handed in.
    Small,
    /// A file with it, and its bytes.
    Large(File, u64),
}

/// Reads contents; for one thread.
pub trait Reader {
    /// What is there; adds it to `to` if it is small.
    ///
    /// # Errors
    /// It cannot be read, or is of another size by now.
    fn read(&mut self, place: &Place, to: &mut Vec<u8>) -> io::Result<Content>;
}

/// Files, directories and links; paths are relative to the top.
pub trait Source: Sync {
    /// What is at a path, links followed.
    ///
    /// # Errors
    /// Nothing is there, or it leads out of the source.
    fn at(&self, path: &str) -> Result<Node, DebError>;

    /// Names in a directory that [`Self::at`] or this gave, and what they stand for, links not followed.
    ///
    /// # Errors
    /// It cannot be read, or a name in it is not UTF-8.
    fn list(&self, directory: &Path) -> Result<Vec<(String, Node)>, DebError>;

    /// Names in the directory at a path; none if there is no such directory.
    fn names(&self, path: &str) -> Vec<String>;

    /// Whether something is at a path, and be it a link that leads nowhere.
    fn has(&self, path: &str) -> bool;

    /// A reader.
    ///
    /// # Errors
    /// The source cannot be opened.
    fn reader(&self) -> Result<Box<dyn Reader + '_>, DebError>;
}

/// A text file of a source.
///
/// # Errors
/// It is none, or leads out of the source.
pub(super) fn text(source: &dyn Source, path: &str) -> Result<String, DebError> {
    let Node::File(place, _) = source.at(path)? else {
        return Err(DebError(format!("{path} is no file of the source")));
    };
    let mut bytes = Vec::new();
    let read = source.reader()?.read(&place, &mut bytes).and_then(|content| match content {
        Content::Small => Ok(()),
        Content::Large(mut file, _) => file.read_to_end(&mut bytes).map(drop),
    });
    let text = read.and_then(|()| {
        String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8"))
    });
    text.map_err(|error| DebError(format!("{path}: {error}")))
}

/// A directory.
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Opens.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(root: &Path) -> Result<Self, DebError> {
        root.canonicalize().map(|root| Self { root }).map_err(|error| DebError::at(root, error))
    }
}

fn node(path: PathBuf, about: &fs::Metadata) -> Result<Node, DebError> {
    Ok(if about.is_symlink() {
        let target = fs::read_link(&path).map_err(|error| DebError::at(&path, error))?;
        let target = target.into_os_string().into_string();
        Node::Link(target.map_err(|_| DebError::at(&path, "what it says is not UTF-8"))?)
    } else if about.is_dir() {
        Node::Directory(path)
    } else if about.is_file() {
        Node::File(Place::File(path, about.len()), about.permissions().mode() & 0o111 != 0)
    } else {
        Node::Other
    })
}

impl Source for Directory {
    fn at(&self, path: &str) -> Result<Node, DebError> {
        let real = self.root.join(path).canonicalize();
        let real = real.map_err(|_| DebError(format!("{path} is not in the source")))?;
        if !real.starts_with(&self.root) {
            return Err(DebError(format!("{path} leads out of the source")));
        }
        let about = real.metadata().map_err(|error| DebError::at(&real, error))?;
        node(real, &about)
    }

    fn list(&self, directory: &Path) -> Result<Vec<(String, Node)>, DebError> {
        let failed = |error| DebError::at(directory, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            let name = name.ok_or_else(|| DebError::at(&path, "its name is not UTF-8"))?;
            let about = path.symlink_metadata().map_err(|error| DebError::at(&path, error))?;
            found.push((name, node(path, &about)?));
        }
        Ok(found)
    }

    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(path)) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>, DebError> {
        Ok(Box::new(Files))
    }
}

struct Files;

impl Reader for Files {
    fn read(&mut self, place: &Place, to: &mut Vec<u8>) -> io::Result<Content> {
        let Place::File(path, size) = place else { return Err(io::ErrorKind::Unsupported.into()) };
        let file = File::open(path)?;
        if *size > SMALL {
            return Ok(Content::Large(file, *size));
        }
        to.reserve(usize::try_from(*size).unwrap_or_default() + 1);
        let read = file.take(SMALL + 1).read_to_end(to)?;
        if read as u64 != *size {
            return Err(io::Error::other("it has changed while it was read"));
        }
        Ok(Content::Small)
    }
}
