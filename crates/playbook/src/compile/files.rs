//! Files on the controller: where they are looked for, what they hold, and what is sent along beforehand.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use debark_wire::{Blob, Found, Place, Tree, TreeEntry, TreeKind};
use sha2::{Digest, Sha256};

use super::Compiler;
use super::context::Scope;
use crate::yaml::is_vault;

/// Files up to this size travel with the play.
pub(super) const SMALL: u64 = 64 << 10;

/// A role's templates travel with the play if they come to no more than this.
pub(super) const SMALL_ROLE: u64 = 128 << 10;

/// The largest encrypted file; it is decrypted in memory.
const MAX_VAULT: u64 = 64 << 20;

/// Entries of a directory; more is taken for a mistake such as `src: /`.
const MAX_ENTRIES: usize = 100_000;

/// What files hold, by digest.
#[derive(Default)]
pub(super) struct Store {
    inner: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Files on disk with the time and length they had.
    files: HashMap<PathBuf, (std::time::SystemTime, u64, String, u64)>,
    content: HashMap<String, Content>,
}

#[derive(Clone)]
enum Content {
    Disk(PathBuf),
    Memory(Arc<[u8]>),
}

/// What is sent along with a play.
#[derive(Default)]
pub(super) struct Prefetch {
    found: Vec<Found>,
    blobs: HashMap<String, Blob>,
}

impl Prefetch {
    pub fn has(&self, path: &str, place: Place, role: Option<u32>) -> bool {
        self.found.iter().any(|found| found.path == path && found.place == place && found.role == role)
    }

    pub fn add(&mut self, found: Found) {
        self.found.push(found);
    }

    pub fn add_blob(&mut self, sha256: String, bytes: Arc<[u8]>) {
        self.blobs.entry(sha256.clone()).or_insert(Blob { sha256, bytes });
    }

    /// Roles from this number on were looked at only.
    pub fn forget_roles(&mut self, from: u32) {
        self.found.retain(|found| found.role.is_none_or(|role| role < from));
    }

    /// What was collected, in a stable order.
    pub fn take(&mut self) -> (Vec<Found>, Vec<Blob>) {
        let mut blobs: Vec<_> = std::mem::take(&mut self.blobs).into_values().collect();
        blobs.sort_by(|a, b| a.sha256.cmp(&b.sha256));
        (std::mem::take(&mut self.found), blobs)
    }
}

impl Compiler {
    /// Where a file or directory is; else where it was looked for.
    pub(super) fn locate(
        &self,
        path: &str,
        place: Place,
        roots: &[PathBuf],
        dir: &Path,
        playbook_dir: &Path,
    ) -> Result<PathBuf, Vec<String>> {
        let candidates = candidates(path, place, roots, dir, playbook_dir);
        match candidates.iter().find(|candidate| candidate.exists()) {
            Some(found) => Ok(found.clone()),
            None => Err(candidates.iter().map(|path| path.display().to_string()).collect()),
        }
    }

    /// Where a file of tasks is; else where it was looked for.
    pub(super) fn find_tasks(
        &self,
        file: &str,
        kind: &str,
        scope: &Scope,
        playbook_dir: &Path,
    ) -> Result<PathBuf, Vec<String>> {
        let file = Path::new(file);
        let mut places = vec![scope.dir.join(file)];
        if let Some(role) = scope.roots.first() {
            places.push(role.join(kind).join(file));
            places.push(role.join("tasks").join(file));
            places.push(role.join(file));
        }
        places.push(playbook_dir.join(file));
        places.push(playbook_dir.join("tasks").join(file));
        let places = without_repeats(places);
        match places.iter().find(|path| path.is_file()) {
            Some(found) => Ok(found.clone()),
            None => Err(places.iter().map(|path| path.display().to_string()).collect()),
        }
    }

    /// A file or directory without its contents.
    ///
    /// # Errors
    /// It cannot be read or decrypted; one sentence.
    pub(super) fn tree(&self, path: &Path) -> Result<Tree, String> {
        let meta = std::fs::metadata(path).map_err(|error| wrong(path, &error))?;
        let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = full.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut tree =
            Tree { name, path: full.display().to_string(), directory: meta.is_dir(), entries: Vec::new() };
        if meta.is_dir() {
            self.walk(path, "", &mut tree.entries, &mut Vec::new())?;
        } else {
            let (sha256, size) = self.digest(path)?;
            let mode = mode_of(&meta);
            tree.entries.push(TreeEntry { path: String::new(), kind: TreeKind::File { sha256, size }, mode });
        }
        Ok(tree)
    }

    /// A link is followed by what it leads to, under the same path: whether it counts or its target is for the host to
    /// say. `within` are the directories around, as links may lead back to them.
    fn walk(
        &self,
        root: &Path,
        below: &str,
        entries: &mut Vec<TreeEntry>,
        within: &mut Vec<PathBuf>,
    ) -> Result<(), String> {
        let directory = root.join(below);
        if within.len() > 64 || entries.len() > MAX_ENTRIES {
            return Err(format!("{} holds more than can be copied", root.display()));
        }
        within.push(directory.canonicalize().map_err(|error| wrong(&directory, &error))?);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(|error| wrong(&directory, &error))? {
            names.push(entry.map_err(|error| wrong(&directory, &error))?.file_name());
        }
        names.sort();
        for name in names {
            let path = directory.join(&name);
            let Some(name) = name.to_str() else {
                return Err(format!("{} has a name that is not UTF-8", path.display()));
            };
            let below = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            let meta = std::fs::symlink_metadata(&path).map_err(|error| wrong(&path, &error))?;
            let mode = mode_of(&meta);
            if meta.is_symlink() {
                let target = std::fs::read_link(&path).map_err(|error| wrong(&path, &error))?;
                let target = target.to_string_lossy().into_owned();
                entries.push(TreeEntry { path: below.clone(), kind: TreeKind::Link(target), mode });
            }
            // Of a link to nowhere only the link is there.
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let mode = mode_of(&meta);
            if meta.is_dir() {
                if path.canonicalize().is_ok_and(|real| within.contains(&real)) {
                    continue;
                }
                entries.push(TreeEntry { path: below.clone(), kind: TreeKind::Directory, mode });
                self.walk(root, &below, entries, within)?;
            } else if meta.is_file() {
                let (sha256, size) = self.digest(&path)?;
                entries.push(TreeEntry { path: below, kind: TreeKind::File { sha256, size }, mode });
            }
        }
        within.pop();
        Ok(())
    }

    /// Digest and length of a file, decrypted if it is a vault; from memory if the file did not change.
    fn digest(&self, path: &Path) -> Result<(String, u64), String> {
        let meta = std::fs::metadata(path).map_err(|error| wrong(path, &error))?;
        let modified = meta.modified().unwrap_or(std::time::SystemTime::UNIX_EPOCH);
        {
            let held = self.held();
            if let Some((time, length, sha256, size)) = held.files.get(path)
                && (*time, *length) == (modified, meta.len())
            {
                return Ok((sha256.clone(), *size));
            }
        }
        let (sha256, size, content) = self.read_for_digest(path, meta.len())?;
        let mut held = self.held();
        held.content.insert(sha256.clone(), content);
        held.files.insert(path.to_owned(), (modified, meta.len(), sha256.clone(), size));
        Ok((sha256, size))
    }

    fn read_for_digest(&self, path: &Path, length: u64) -> Result<(String, u64, Content), String> {
        use std::io::Read;
        let mut file = std::fs::File::open(path).map_err(|error| wrong(path, &error))?;
        let mut buffer = vec![0; 256 << 10];
        let mut read = read_some(&mut file, &mut buffer).map_err(|error| wrong(path, &error))?;
        if is_vault(buffer.get(..read).unwrap_or_default()) && length <= MAX_VAULT {
            let mut sealed = buffer.get(..read).unwrap_or_default().to_vec();
            file.read_to_end(&mut sealed).map_err(|error| wrong(path, &error))?;
            let plain = self
                .vault
                .decrypt(&sealed)
                .map_err(|error| format!("{}: {}", path.display(), error.message))?;
            let size = plain.len() as u64;
            return Ok((hex(&Sha256::digest(&plain)), size, Content::Memory(plain.into())));
        }
        let mut digest = Sha256::new();
        let mut size = 0;
        while read > 0 {
            digest.update(buffer.get(..read).unwrap_or_default());
            size += read as u64;
            read = read_some(&mut file, &mut buffer).map_err(|error| wrong(path, &error))?;
        }
        Ok((hex(&digest.finalize()), size, Content::Disk(path.to_owned())))
    }

    /// Opens content that was found before.
    ///
    /// # Errors
    /// It was never found, or its file is gone.
    pub(super) fn open(&self, sha256: &str) -> Result<Box<dyn std::io::Read + Send>, String> {
        let content = self.held().content.get(sha256).cloned();
        match content {
            Some(Content::Memory(bytes)) => Ok(Box::new(std::io::Cursor::new(bytes))),
            Some(Content::Disk(path)) => match std::fs::File::open(&path) {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(wrong(&path, &error)),
            },
            None => Err(format!("no file with the digest {sha256} was found before")),
        }
    }

    /// The whole content of a small file that was found before.
    pub(super) fn small(&self, sha256: &str, size: u64) -> Option<Arc<[u8]>> {
        use std::io::Read;
        let mut bytes = Vec::with_capacity(size as usize);
        self.open(sha256).ok()?.take(size + 1).read_to_end(&mut bytes).ok()?;
        // A file that changed since is asked for when it is needed, and found to differ then.
        (hex(&Sha256::digest(&bytes)) == sha256).then(|| bytes.into())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.store.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_some(file: &mut std::fs::File, buffer: &mut [u8]) -> std::io::Result<usize> {
    std::io::Read::read(file, buffer)
}

fn mode_of(meta: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o7777
}

fn wrong(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
        std::io::ErrorKind::PermissionDenied => format!("you may not read {}", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Where a path may be, in Ansible's order (`DataLoader.path_dwim_relative_stack`).
fn candidates(path: &str, place: Place, roots: &[PathBuf], dir: &Path, playbook_dir: &Path) -> Vec<PathBuf> {
    let expanded = expand_home(path);
    if expanded.is_absolute() {
        return vec![expanded];
    }
    let kind = match place {
        Place::Files => "files",
        Place::Templates => "templates",
        Place::Vars => "vars",
        Place::Tasks => "tasks",
    };
    let within = expanded.components().next() == Some(Component::Normal(kind.as_ref()));
    let mut places = Vec::new();
    let mut add = |root: &Path| {
        if !within {
            places.push(root.join(kind).join(&expanded));
        }
        places.push(root.join(&expanded));
    };
    roots.iter().for_each(|root| add(root));
    add(dir);
    add(playbook_dir);
    without_repeats(places)
}

fn without_repeats(places: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = std::collections::HashSet::new();
    places.into_iter().filter(|path| seen.insert(path.clone())).collect()
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// Where a role may be.
pub(super) fn role_places(
    name: &str,
    playbook_dir: &Path,
    roots: &[PathBuf],
    roles_path: &[PathBuf],
) -> Vec<PathBuf> {
    let expanded = expand_home(name);
    if expanded.is_absolute() {
        return vec![expanded];
    }
    let mut places = vec![playbook_dir.join("roles").join(name)];
    // Roles beside the one that asks.
    places.extend(roots.iter().filter_map(|root| Some(root.parent()?.join(name))));
    places.extend(roles_path.iter().map(|path| path.join(name)));
    places.push(playbook_dir.join(name));
    without_repeats(places)
}

/// `main.yml` and the like, or the named file; with `all`, the files of a directory `main/` too.
pub(super) fn role_files(directory: &Path, named: Option<&str>, all: bool) -> Vec<PathBuf> {
    let base = directory.join(named.unwrap_or("main"));
    let extensions: &[&str] =
        if named.is_some() { &["", ".yml", ".yaml", ".json"] } else { &[".yml", ".yaml", ".json", ""] };
    for extension in extensions {
        let mut name = base.clone().into_os_string();
        name.push(extension);
        let path = PathBuf::from(name);
        if path.is_file() {
            return vec![path];
        }
        if all && path.is_dir() {
            return yaml_files_below(&path, 0);
        }
    }
    Vec::new()
}

fn yaml_files_below(directory: &Path, depth: usize) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory)
        .map(|dir| dir.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    names.sort();
    let mut files = Vec::new();
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if path.is_dir() && depth < 16 {
            files.extend(yaml_files_below(&path, depth + 1));
        } else if path.extension().is_none_or(|e| e == "yml" || e == "yaml" || e == "json") && path.is_file()
        {
            files.push(path);
        }
    }
    files
}

/// Names of the directories in a directory, for suggestions.
pub(super) fn directory_names(path: &Path) -> Vec<String> {
    names_in(path, |entry| entry.path().is_dir())
}

/// Names of the files in a directory without their extensions, for suggestions.
pub(super) fn file_stems(path: &Path) -> Vec<String> {
    let names = names_in(path, |entry| entry.path().is_file());
    names.into_iter().map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect()
}

fn names_in(path: &Path, wanted: impl Fn(&std::fs::DirEntry) -> bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .take(10_000)
        .filter(|e| wanted(e))
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}
