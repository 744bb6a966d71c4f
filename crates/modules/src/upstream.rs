//! What only the controller has: files beside the playbook, and a place to put fetched ones.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::plan::Failure;

/// Where a relative path is looked for beside the playbook (`files/`, `templates/`, ... of role and playbook, in
/// Ansible's search order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// `files/`: copy, script, unarchive, assemble.
    Files,
    /// `templates/`.
    Templates,
}

/// One file of a [`Tree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path below the tree's root; empty for a single file.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits on the controller.
    pub mode: u32,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file of that many bytes; its content is asked for by SHA-256 (hex).
    File {
        /// SHA-256 of the content, in hex.
        sha256: String,
        /// Length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link and where it points; in a [`Tree`], what it leads to comes next under the same path.
    Link(PathBuf),
}

/// A file or directory on the controller, as it is without its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The root's name (last component of its path).
    pub name: String,
    /// One entry without path for a file; for a directory everything below it, parents first.
    pub entries: Vec<Entry>,
    /// Whether the root is a directory.
    pub directory: bool,
}

impl Tree {
    /// Its entries with each path once: what links lead to, as far as they lead anywhere, or the links themselves.
    pub fn entries(self, follow: bool) -> Vec<Entry> {
        let mut kept: Vec<Entry> = Vec::new();
        let mut link: Option<PathBuf> = None;
        for entry in self.entries {
            if link.as_ref().is_some_and(|link| entry.path.starts_with(link)) {
                if !follow {
                    continue;
                }
                if kept.last().is_some_and(|last| last.path == entry.path) {
                    kept.pop();
                }
            }
            if let EntryKind::Link(_) = entry.kind {
                link = Some(entry.path.clone());
            }
            kept.push(entry);
        }
        kept
    }
}

/// The way back to the controller.
pub trait Upstream {
    /// Finds a file or directory on the controller. Vault-encrypted files appear decrypted.
    ///
    /// # Errors
    /// There is none; the message lists where it was looked for.
    fn find(&self, path: &str, search: Search) -> Result<Tree, Failure>;

    /// Writes the content with that SHA-256 to `out`.
    ///
    /// # Errors
    /// The controller does not have it any more, the connection is lost, or writing fails.
    fn content(&self, sha256: &str, out: &mut dyn Write) -> Result<(), Failure>;

    /// Sends a file to the controller (`fetch`), which writes it atomically to `dest` (relative to the playbook).
    ///
    /// # Errors
    /// The controller cannot write it.
    fn store(&self, dest: &Path, size: u64, content: &mut dyn Read) -> Result<(), Failure>;

    /// SHA-1 (hex) of the controller's file at `dest`, if it is there.
    ///
    /// # Errors
    /// It cannot be read.
    fn stored_sha1(&self, dest: &Path) -> Result<Option<String>, Failure>;
}

/// For a host without a controller (unit tests, the agent's own use): every request is refused.
pub struct NoUpstream;

impl Upstream for NoUpstream {
    fn find(&self, path: &str, _: Search) -> Result<Tree, Failure> {
        Err(Failure::new(format!("there is no controller to ask for {path}")))
    }
    fn content(&self, sha256: &str, _: &mut dyn Write) -> Result<(), Failure> {
        Err(Failure::new(format!("there is no controller to ask for content {sha256}")))
    }
    fn store(&self, dest: &Path, _: u64, _: &mut dyn Read) -> Result<(), Failure> {
        Err(Failure::new(format!("there is no controller to send {} to", dest.display())))
    }
    fn stored_sha1(&self, dest: &Path) -> Result<Option<String>, Failure> {
        Err(Failure::new(format!("there is no controller to ask for {}", dest.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_or_what_they_lead_to() {
        let file = || EntryKind::File { sha256: "0".into(), size: 0 };
        let link = || EntryKind::Link("x".into());
        let tree = || {
            let entries = [
                ("a", link()),
                ("a", file()),
                ("ab", file()),
                ("d", link()),
                ("d", EntryKind::Directory),
                ("d/e", link()),
                ("d/e", file()),
                ("f", link()),
            ];
            let entries = entries.map(|(path, kind)| Entry { path: path.into(), kind, mode: 0o644 }).into();
            Tree { name: "t".into(), entries, directory: true }
        };
        let shown = |follow| {
            let entries = tree().entries(follow).into_iter();
            let show = |entry: Entry| {
                let mark = if let EntryKind::Link(_) = entry.kind { "@" } else { "" };
                format!("{}{mark}", entry.path.display())
            };
            entries.map(show).collect::<Vec<_>>()
        };
        assert_eq!(shown(true), ["a", "ab", "d", "d/e", "f@"]);
        assert_eq!(shown(false), ["a@", "ab", "d@", "f@"]);
    }
}
