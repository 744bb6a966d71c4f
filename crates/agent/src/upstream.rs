//! Controller files for modules, over the link, from what the play brought along where possible.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use debark_modules::Failure;
use debark_modules::upstream::{Entry, EntryKind, Search, Tree, Upstream};
use debark_wire::{Answer, Found, PART, Place, Request, TreeKind};
use sha2::{Digest, Sha256};

use crate::link::Link;

/// Controller files that are known without asking, and where relative paths start.
#[derive(Default)]
pub struct Store {
    blobs: Mutex<HashMap<String, Arc<[u8]>>>,
    found: Mutex<Vec<Found>>,
}

impl Store {
    /// Adds what a play brought along.
    pub fn add(&self, blobs: Vec<debark_wire::Blob>, found: Vec<Found>) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.extend(blobs, found);
    }

    /// Adds what a dynamic include brought along.
    pub fn extend(&self, blobs: Vec<debark_wire::Blob>, found: Vec<Found>) {
        let mut known = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(blobs.into_iter().map(|blob| (blob.sha256, blob.bytes)));
        self.found.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    fn blob(&self, sha256: &str) -> Option<Arc<[u8]>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner).get(sha256).cloned()
    }

    fn found(&self, path: &str, place: Place, role: Option<u32>) -> Option<debark_wire::Tree> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().find(|f| f.path == path && f.place == place && f.role == role).map(|f| f.tree.clone())
    }
}

/// Where a task's relative paths start.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Index of its role in the play.
    pub role: Option<u32>,
    /// Directory of its role.
    pub role_path: Option<String>,
    /// Directory of its file.
    pub task_dir: Option<String>,
}

/// The way from one task to the controller.
pub struct Remote {
    /// The connection.
    pub link: Arc<Link>,
    /// What is known without asking.
    pub store: Arc<Store>,
    /// Where the current task's paths start.
    pub origin: std::cell::RefCell<Origin>,
}

impl Remote {
    /// Finds a controller file, from what the play brought along or by asking.
    ///
    /// # Errors
    /// There is none; the message says where it was looked for.
    pub fn locate(&self, path: &str, place: Place) -> Result<debark_wire::Tree, String> {
        let origin = self.origin.borrow().clone();
        if let Some(tree) = self.store.found(path, place, origin.role) {
            return Ok(tree);
        }
        let request = Request::Find {
            path: path.into(),
            place,
            role_path: origin.role_path,
            task_dir: origin.task_dir,
        };
        match self.link.request(request)? {
            Answer::Tree(tree) => Ok(tree),
            other => Err(format!("the controller answered {} to a search", kind(&other))),
        }
    }

    /// The text of a controller file.
    ///
    /// # Errors
    /// It is not there, is a directory or not UTF-8.
    pub fn text(&self, path: &str, place: Place) -> Result<(String, debark_wire::Tree), String> {
        let tree = self.locate(path, place)?;
        let sha256 = match tree.entries.first().map(|entry| &entry.kind) {
            Some(TreeKind::File { sha256, .. }) if !tree.directory => sha256.clone(),
            _ => return Err(format!("{path} is a directory, a file is wanted")),
        };
        let mut bytes = Vec::new();
        self.content(&sha256, &mut bytes).map_err(|failure| failure.msg)?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8 text"))?;
        Ok((text, tree))
    }
}

fn kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::Done => "done",
        Answer::Fail => "that it is to fail",
        Answer::Tree(_) => "a file",
        Answer::Content { .. } => "content",
        Answer::Value(_) => "a value",
        Answer::Tasks(_) => "tasks",
        Answer::Ran { .. } | Answer::Run => "run once",
        Answer::Outcome(_) => "an outcome",
    }
}

/// The module's view of a tree.
pub fn tree(tree: debark_wire::Tree) -> Tree {
    let entries = tree.entries.into_iter().map(|entry| Entry {
        path: entry.path.into(),
        mode: entry.mode,
        kind: match entry.kind {
            TreeKind::File { sha256, size } => EntryKind::File { sha256, size },
            TreeKind::Directory => EntryKind::Directory,
            TreeKind::Link(target) => EntryKind::Link(target.into()),
        },
    });
    Tree { name: tree.name, directory: tree.directory, entries: entries.collect() }
}

impl Upstream for Remote {
    fn find(&self, path: &str, search: Search) -> Result<Tree, Failure> {
        let place = match search {
            Search::Files => Place::Files,
            Search::Templates => Place::Templates,
        };
        self.locate(path, place).map(tree).map_err(Failure::new)
    }

    fn content(&self, sha256: &str, out: &mut dyn Write) -> Result<(), Failure> {
        if let Some(bytes) = self.store.blob(sha256) {
            return out.write_all(&bytes).map_err(|e| Failure::new(format!("writing content: {e}")));
        }
        let answers = self.link.ask(Request::Content { sha256: sha256.into() });
        let mut digest = Sha256::new();
        loop {
            match answers.recv() {
                Ok(Ok(Answer::Content { bytes, last })) => {
                    digest.update(&bytes);
                    out.write_all(&bytes).map_err(|e| Failure::new(format!("writing content: {e}")))?;
                    if last {
                        break;
                    }
                }
                Ok(Ok(other)) => {
                    return Err(Failure::new(format!(
                        "the controller answered {} to a request for content",
                        kind(&other)
                    )));
                }
                Ok(Err(why)) => return Err(Failure::new(why)),
                Err(_) => return Err(Failure::new("the connection to the controller is gone")),
            }
        }
        let got: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if got == sha256 {
            Ok(())
        } else {
            Err(Failure::new("a file on the controller changed while it was being sent").hint("run again"))
        }
    }

    fn store(&self, dest: &Path, size: u64, content: &mut dyn Read) -> Result<(), Failure> {
        let dest = dest.to_string_lossy().into_owned();
        let mut sent = 0u64;
        loop {
            let mut bytes = Vec::new();
            content
                .take(PART as u64)
                .read_to_end(&mut bytes)
                .map_err(|e| Failure::new(format!("reading: {e}")))?;
            sent += bytes.len() as u64;
            let last = bytes.len() < PART || sent >= size;
            self.link.request(Request::Store { dest: dest.clone(), bytes, last }).map_err(Failure::new)?;
            if last {
                return Ok(());
            }
        }
    }

    fn stored_sha1(&self, dest: &Path) -> Result<Option<String>, Failure> {
        let request = Request::StoredSha1 { dest: dest.to_string_lossy().into_owned() };
        match self.link.request(request).map_err(Failure::new)? {
            Answer::Value(value) => Ok(value.as_str().map(str::to_owned)),
            other => Err(Failure::new(format!(
                "the controller answered {} to a request for a digest",
                kind(&other)
            ))),
        }
    }
}
