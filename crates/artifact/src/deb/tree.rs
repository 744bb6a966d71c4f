//! What will be in a package: entries of the project file, found in a checked out source.

use std::collections::BTreeMap;
use std::path::Path;

use debark_project::{Entry, EntryKind, FileTree, Unit};

use super::DebError;
use super::source::{Node, Place, Source};

/// Entries that a package may have.
const MAX_ENTRIES: usize = 1_000_000;
/// Users and groups that every Debian has, by base-passwd's `passwd.master` and `group.master`.
const USERS: [(&str, u32); 18] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("sync", 4),
    ("games", 5),
    ("man", 6),
    ("lp", 7),
    ("mail", 8),
    ("news", 9),
    ("uucp", 10),
    ("proxy", 13),
    ("www-data", 33),
    ("backup", 34),
    ("list", 38),
    ("irc", 39),
    ("_apt", 42),
    ("nobody", 65534),
];
const GROUPS: [(&str, u32); 20] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("lp", 7),
    ("mail", 8),
    ("news", 9),
    ("man", 12),
    ("proxy", 13),
    ("dialout", 20),
    ("www-data", 33),
    ("backup", 34),
    ("shadow", 42),
    ("utmp", 43),
    ("staff", 50),
    ("games", 60),
    ("nogroup", 65534),
];

/// Where an entry's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file of the source.
    File(Place),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(String),
}

/// An entry of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub content: Content,
    /// Permissions.
    pub mode: u32,
    /// Number and name.
    pub owner: (u32, &'static str),
    /// Number and name.
    pub group: (u32, &'static str),
    /// Whether an administrator's changes are kept (Debian Policy 10.7).
    pub conffile: bool,
}

/// All entries of a package, by path without the leading slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    items: BTreeMap<String, Item>,
}

impl Tree {
    /// Finds what a project file names.
    ///
    /// # Errors
    /// A file is not there, leads out of the source, or two entries are for one path.
    pub fn collect(source: &dyn Source, tree: &FileTree) -> Result<Self, DebError> {
        let mut found = Self::default();
        for entry in &tree.entries {
            found.entry(source, entry)?;
        }
        for unit in &tree.units {
            found.unit(source, unit)?;
        }
        for path in &tree.conffiles {
            let key = path.trim_start_matches('/');
            match found.items.get_mut(key) {
                Some(item) if matches!(item.content, Content::File(_) | Content::Bytes(_)) => {
                    item.conffile = true
                }
                _ => {
                    return Err(DebError(format!("the configuration file {path} is no file of the package")));
                }
            }
        }
        for (path, item) in &mut found.items {
            let file = matches!(item.content, Content::File(_) | Content::Bytes(_));
            item.conffile |= file && path.starts_with("etc/");
        }
        found.close()?;
        Ok(found)
    }

    /// Paths (without leading slash) and what is there, sorted: directories before what is in them.
    pub fn items(&self) -> impl Iterator<Item = (&str, &Item)> {
        self.items.iter().map(|(path, item)| (path.as_str(), item))
    }

    /// Whether something is at this path.
    pub fn has(&self, path: &str) -> bool {
        self.items.contains_key(path)
    }

    /// Adds a file that debark makes itself.
    ///
    /// # Errors
    /// Something is there.
    pub fn add_bytes(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), DebError> {
        self.insert(path.to_owned(), root_owned(Content::Bytes(bytes), 0o644))?;
        self.close()
    }

    fn insert(&mut self, path: String, item: Item) -> Result<(), DebError> {
        if self.items.len() >= MAX_ENTRIES {
            return Err(DebError(format!("the package has more than {MAX_ENTRIES} files")));
        }
        match self.items.get(&path) {
            // A directory may be named by an entry of its own, and come with a tree as well.
            Some(there) if there.content == Content::Directory && item.content == Content::Directory => {}
            Some(_) => return Err(DebError(format!("two entries of the package are for /{path}"))),
            None => {
                self.items.insert(path, item);
            }
        }
        Ok(())
    }

    /// Directories that lead to entries; nothing is below a file.
    fn close(&mut self) -> Result<(), DebError> {
        let (mut missing, mut before) = (Vec::new(), "");
        for path in self.items.keys() {
            // Thousands of neighbours share one directory.
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            if std::mem::replace(&mut before, directory) == directory {
                continue;
            }
            for (at, _) in path.match_indices('/') {
                let above = &path[..at];
                match self.items.get(above) {
                    None => missing.push(above.to_owned()),
                    Some(item) if item.content == Content::Directory => {}
                    Some(_) => {
                        return Err(DebError(format!(
                            "/{above} is no directory in the package, and /{path} is below it"
                        )));
                    }
                }
            }
        }
        for path in missing {
            self.items.entry(path).or_insert_with(|| root_owned(Content::Directory, 0o755));
        }
        Ok(())
    }

    fn unit(&mut self, source: &dyn Source, unit: &Unit) -> Result<(), DebError> {
        let Node::File(place, _) = source.at(&unit.src)? else {
            return Err(DebError(format!("the unit {} is no file of the source", unit.src)));
        };
        // Both systemd and debhelper of every supported release know this place, and /lib is a link to /usr/lib.
        self.insert(
            format!("usr/lib/systemd/system/{}", unit.name()),
            root_owned(Content::File(place), 0o644),
        )
    }

    fn entry(&mut self, source: &dyn Source, entry: &Entry) -> Result<(), DebError> {
        let into = entry.dst.ends_with('/') && !matches!(entry.kind, EntryKind::Directory);
        let dst = entry.dst.trim_matches('/').to_owned();
        let owner = known(&USERS, &entry.owner, "user")?;
        let group = known(&GROUPS, &entry.group, "group")?;
        let item = |content: Content, mode: u32| Item {
            content,
            mode,
            owner,
            group,
            conffile: matches!(entry.kind, EntryKind::Config { .. }),
        };
        match &entry.kind {
            EntryKind::Directory => self.insert(dst, item(Content::Directory, entry.mode.unwrap_or(0o755))),
            EntryKind::Symlink { target } => self.insert(dst, item(Content::Symlink(target.clone()), 0o777)),
            EntryKind::File { src } | EntryKind::Config { src } => {
                let found = matching(source, src)?;
                let several = src.contains('*');
                for src in found {
                    let name = src.rsplit('/').next().unwrap_or_default();
                    let below = into || several;
                    let dst = match (below, dst.is_empty()) {
                        (true, true) => name.to_owned(),
                        (true, false) => format!("{dst}/{name}"),
                        (false, _) => dst.clone(),
                    };
                    match source.at(&src)? {
                        Node::Directory(path) => self.directory(source, &path, &dst, entry.mode, &item)?,
                        Node::File(place, program) => {
                            let mode = entry.mode.unwrap_or(default_mode(program));
                            self.insert(dst, item(Content::File(place), mode))?;
                        }
                        Node::Link(_) | Node::Other => {
                            return Err(DebError(format!("{src} is neither a file nor a directory")));
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// A directory with everything that is below it; links stay links.
    fn directory(
        &mut self,
        source: &dyn Source,
        from: &Path,
        dst: &str,
        mode: Option<u32>,
        item: &dyn Fn(Content, u32) -> Item,
    ) -> Result<(), DebError> {
        if !dst.is_empty() {
            self.insert(dst.to_owned(), Item { conffile: false, ..item(Content::Directory, 0o755) })?;
        }
        for (name, node) in source.list(from)? {
            let dst = if dst.is_empty() { name } else { format!("{dst}/{name}") };
            match node {
                Node::Link(target) => {
                    self.insert(dst, Item { conffile: false, ..item(Content::Symlink(target), 0o777) })?;
                }
                Node::Directory(path) => self.directory(source, &path, &dst, mode, item)?,
                Node::File(place, program) => {
                    let mode = mode.unwrap_or(default_mode(program));
                    self.insert(dst, item(Content::File(place), mode))?;
                }
                Node::Other => {
                    return Err(DebError(format!("/{dst} would be neither a file nor a directory")));
                }
            }
        }
        Ok(())
    }
}

/// The beginning of an ELF file (elf(5)).
pub(super) type Head = [u8; 20];

/// The beginning of a file, if it is an ELF file.
pub(super) fn elf_head(bytes: &[u8]) -> Option<Head> {
    bytes.first_chunk().filter(|head: &&Head| head.starts_with(b"\x7fELF")).copied()
}

/// The architecture that ELF files are for: `all` without any, `None` for more than one or an unknown one.
pub(super) fn architecture(heads: &[Head]) -> Option<&'static str> {
    let mut found = None;
    for head in heads {
        let name = elf_architecture(head)?;
        if found.is_some_and(|other| other != name) {
            return None;
        }
        found = Some(name);
    }
    Some(found.unwrap_or("all"))
}

/// By class, byte order and `e_machine` (elf(5)).
fn elf_architecture(head: &[u8; 20]) -> Option<&'static str> {
    match (head[4], head[5], head[18], head[19]) {
        (2, 1, 62, 0) => Some("amd64"),
        (1, 1, 3, 0) => Some("i386"),
        (2, 1, 183, 0) => Some("arm64"),
        (1, 1, 40, 0) => Some("armhf"),
        (2, 1, 243, 0) => Some("riscv64"),
        (2, 1, 21, 0) => Some("ppc64el"),
        (2, 2, 0, 22) => Some("s390x"),
        _ => None,
    }
}

fn root_owned(content: Content, mode: u32) -> Item {
    Item { content, mode, owner: (0, "root"), group: (0, "root"), conffile: false }
}

fn known(all: &[(&'static str, u32)], name: &str, what: &str) -> Result<(u32, &'static str), DebError> {
    all.iter().find(|(known, _)| *known == name).map(|(known, number)| (*number, *known)).ok_or_else(|| {
        DebError(format!(
            "{name:?} is no {what} that every Debian has: make it in the package's postinst, and give it its files there"
        ))
    })
}

const fn default_mode(program: bool) -> u32 {
    if program { 0o755 } else { 0o644 }
}

/// Paths of the source that a name with `*` means, sorted.
fn matching(source: &dyn Source, src: &str) -> Result<Vec<String>, DebError> {
    if !src.contains('*') {
        return Ok(vec![src.to_owned()]);
    }
    let mut found = vec![String::new()];
    for part in src.split('/') {
        let mut next = Vec::new();
        for above in &found {
            let join =
                |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
            if !part.contains('*') {
                next.push(join(part));
                continue;
            }
            next.extend(source.names(above).iter().filter(|name| fits(part, name)).map(|name| join(name)));
        }
        found = next;
    }
    found.retain(|path| source.has(path));
    found.sort_unstable();
    if found.is_empty() { Err(DebError(format!("{src} is nothing of the source"))) } else { Ok(found) }
}

/// Whether a name fits a pattern in which `*` stands for anything; hidden files are named by a pattern with a dot.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*.deb", "a.deb", true),
            ("*.deb", ".a.deb", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "ac", false),
            ("ab*ba", "aba", false),
            ("*", "x", true),
            ("x", "x", true),
            ("x", "xy", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
