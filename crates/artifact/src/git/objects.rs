//! A commit's files where git holds them: a package of thousands of files takes less time than to check them out.
//!
//! What a checkout would refuse (a name that is too long, a link that says nothing) is an error here as well, as is everything that is
//! unclear: who asks can check the commit out after all, and hears of it then.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use git2::{ObjectType, Oid, Repository};

use super::worktree::{self, WorkTree};
use super::{Found, files};
use crate::deb::DebError;
use crate::deb::source::{Content, Node, Place, Reader, SMALL, Source};

/// The longest path, link and name that every file system takes, the place of a checkout included.
const MAX_PATH: usize = 3000;
const MAX_NAME: usize = 255;
/// So many links lead from one path to another at most, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The files of a commit.
pub struct Objects {
    repository: PathBuf,
    worktree: Option<WorkTree>,
    directories: HashMap<String, BTreeMap<String, Entry>>,
    stopped: Arc<AtomicBool>,
}

enum Entry {
    Directory,
    File(Oid, bool),
    Link(String),
}

impl Objects {
    /// `below` is the directory of the repository that the files are in. Once it has `stopped`, no file can be read any more, and who is building
    /// a package ends.
    pub(super) fn new(
        repository: &Repository,
        below: &Path,
        found: &Found,
        stopped: Arc<AtomicBool>,
    ) -> Result<Self, DebError> {
        let odb = repository.odb().map_err(failed)?;
        let mut directories = HashMap::from([(String::new(), BTreeMap::new())]);
        for path in &found.directories {
            add(&mut directories, path, Entry::Directory)?;
            directories.insert(text(path)?.to_owned(), BTreeMap::new());
        }
        for blob in &found.files {
            let entry = match blob.kind {
                files::Kind::Plain => Entry::File(blob.oid, false),
                files::Kind::Program => Entry::File(blob.oid, true),
                files::Kind::Link => {
                    let object = odb.read(blob.oid).map_err(failed)?;
                    let target = std::str::from_utf8(object.data()).ok().filter(|target| {
                        !target.is_empty() && target.len() <= MAX_PATH && !target.contains('\0')
                    });
                    let target = target.filter(|_| object.kind() == ObjectType::Blob);
                    Entry::Link(target.ok_or_else(|| DebError::at(&blob.path, "it is no link"))?.to_owned())
                }
            };
            add(&mut directories, &blob.path, entry)?;
        }
        Ok(Self {
            repository: repository.path().to_owned(),
            worktree: repository.workdir().and_then(|top| WorkTree::open(&top.join(below))),
            directories,
            stopped,
        })
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.directories.get(above)?.get(name)
    }

    /// Where a path leads to, links followed: the top is the empty path.
    fn resolve(&self, path: &str) -> Result<String, DebError> {
        let missing = || DebError(format!("{path} is not in the source"));
        let out = || DebError(format!("{path} leads out of the source"));
        if path.starts_with('/') {
            return Err(out());
        }
        let (mut at, mut links) = (String::new(), 0);
        let mut left: Vec<&str> = path.rsplit('/').collect();
        while let Some(part) = left.pop() {
            if !self.directories.contains_key(&at) {
                return Err(missing());
            }
            match part {
                "" | "." => continue,
                ".." if at.is_empty() => return Err(out()),
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&at, part);
            match self.entry(&next).ok_or_else(missing)? {
                Entry::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(missing());
                    }
                    if target.starts_with('/') {
                        return Err(out());
                    }
                    left.extend(target.rsplit('/'));
                }
                Entry::Directory | Entry::File(..) => at = next,
            }
        }
        Ok(at)
    }
}

fn failed(why: git2::Error) -> DebError {
    DebError(why.message().to_owned())
}

fn text(path: &Path) -> Result<&str, DebError> {
    path.to_str().ok_or_else(|| DebError::at(path, "its name is not UTF-8"))
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") }
}

fn add(
    directories: &mut HashMap<String, BTreeMap<String, Entry>>,
    path: &Path,
    entry: Entry,
) -> Result<(), DebError> {
    let whole = text(path)?;
    let (above, name) = whole.rsplit_once('/').unwrap_or(("", whole));
    if whole.len() > MAX_PATH || name.len() > MAX_NAME {
        return Err(DebError::at(path, "its name is too long"));
    }
    let entries = directories.get_mut(above).ok_or_else(|| DebError::at(path, "it is in no directory"))?;
    match entries.insert(name.to_owned(), entry) {
        None => Ok(()),
        Some(_) => Err(DebError::at(path, "it is there twice")),
    }
}

fn node(path: &str, entry: &Entry) -> Node {
    match entry {
        Entry::Directory => Node::Directory(path.into()),
        Entry::File(oid, program) => Node::File(Place::Object(*oid, path.into()), *program),
        Entry::Link(target) => Node::Link(target.clone()),
    }
}

impl Source for Objects {
    fn at(&self, path: &str) -> Result<Node, DebError> {
        let real = self.resolve(path)?;
        // A slash at the end means a directory, whatever it is.
        match self.entry(&real).filter(|_| !real.is_empty()) {
            Some(entry) => Ok(node(&real, entry)),
            None => Ok(Node::Directory(real.into())),
        }
    }

    fn list(&self, directory: &Path) -> Result<Vec<(String, Node)>, DebError> {
        let above = text(directory)?;
        let entries = self.directories.get(above);
        let entries = entries.ok_or_else(|| DebError::at(directory, "it is no directory"))?;
        Ok(entries.iter().map(|(name, entry)| (name.clone(), node(&join(above, name), entry))).collect())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let found = self.resolve(path).ok().and_then(|real| self.directories.get(&real));
        found.map(|entries| entries.keys().cloned().collect()).unwrap_or_default()
    }

    fn has(&self, path: &str) -> bool {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if matches!(name, "" | "." | "..") {
            return self.resolve(path).is_ok();
        }
        self.resolve(above).is_ok_and(|above| self.entry(&join(&above, name)).is_some())
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>, DebError> {
        let lying = self.worktree.as_ref().map(WorkTree::files);
        Ok(Box::new(Blobs { of: self, lying, repository: None }))
    }
}

struct Blobs<'a> {
    of: &'a Objects,
    lying: Option<worktree::Files<'a>>,
    /// Each thread has its own, so that none waits for the other's cache; it may need none.
    repository: Option<Repository>,
}

impl Reader for Blobs<'_> {
    fn read(&mut self, place: &Place, to: &mut Vec<u8>) -> io::Result<Content> {
        let Place::Object(oid, path) = place else { return Err(io::ErrorKind::Unsupported.into()) };
        let failed = |why: git2::Error| io::Error::other(why.message().to_owned());
        if self.of.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("it is not wanted any more"));
        }
        if self.lying.as_mut().is_some_and(|files| files.read(path, *oid, to)) {
            return Ok(Content::Small);
        }
        let repository = match &mut self.repository {
            Some(repository) => repository,
            none => none.insert(Repository::open(&self.of.repository).map_err(failed)?),
        };
        let odb = repository.odb().map_err(failed)?;
        let object = odb.read(*oid).map_err(failed)?;
        if object.kind() != ObjectType::Blob {
            return Err(io::Error::other("it is no file in the repository"));
        }
        let (bytes, size) = (object.data(), object.data().len() as u64);
        if size <= SMALL {
            to.extend_from_slice(bytes);
            return Ok(Content::Small);
        }
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(Content::Large(file, size))
    }
}
