//! `group_vars` and `host_vars`: which files belong to a name, and what they hold.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::layer::{Layer, Set};
use crate::Diagnostic;
use crate::inventory::data::{Var, Vars};
use crate::source::SourceMap;
use crate::vault::Vault;
use crate::yaml::{Decrypt, Node};

/// Ends of variable files; the first that exists counts, and none comes first.
const ENDS: [&str; 4] = ["", ".yml", ".yaml", ".json"];

/// Directories may hold directories, but not without end (a link may point upwards).
const DEEPEST: usize = 16;

type Loaded = Result<Arc<Vars>, Diagnostic>;

/// Reads variable files when they are asked for, each once.
#[derive(Debug)]
pub struct VarFiles {
    sources: Arc<SourceMap>,
    vault: Arc<Vault>,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    /// Names within `group_vars` and `host_vars` directories.
    listed: HashMap<PathBuf, Arc<HashSet<String>>>,
    loaded: HashMap<PathBuf, Loaded>,
}

impl VarFiles {
    /// Nothing is read yet.
    pub fn new(sources: Arc<SourceMap>, vault: Arc<Vault>) -> Self {
        Self { sources, vault, cache: Mutex::default() }
    }

    /// Files may have changed: they are read anew.
    pub fn forget(&self) {
        *self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Cache::default();
    }

    /// What the files of a group or host hold, in order. `kind` is `group_vars` or `host_vars`.
    pub fn find(&self, dir: &Path, kind: &str, name: &str) -> Vec<Loaded> {
        // A name that is a path (a chroot's, say) has no files.
        if name.is_empty() || name.contains('/') {
            return Vec::new();
        }
        let dir = dir.join(kind);
        let listed = self.list(&dir);
        let Some(file) = ENDS.iter().map(|end| format!("{name}{end}")).find(|file| listed.contains(file))
        else {
            return Vec::new();
        };
        let mut paths = Vec::new();
        collect(&dir.join(file), 0, &mut paths);
        paths.iter().map(|path| self.load(path)).collect()
    }

    /// As [`VarFiles::find`], as sets of a layer.
    pub fn add(
        &self,
        dir: &Path,
        kind: &str,
        name: &Arc<str>,
        layer: Layer,
        sets: &mut Vec<Set<'_>>,
        errors: &mut Vec<Diagnostic>,
    ) {
        for loaded in self.find(dir, kind, name) {
            match loaded {
                Ok(vars) => sets.push(Set::shared(layer, name.clone(), vars)),
                Err(error) => errors.push(error),
            }
        }
    }

    /// What a file holds.
    ///
    /// # Errors
    /// It cannot be read or opened, or holds anything but variables.
    pub fn load(&self, path: &Path) -> Loaded {
        if let Some(loaded) = self.lock().loaded.get(path) {
            return loaded.clone();
        }
        let loaded = read(&self.sources, path, &*self.vault).map(Arc::new);
        self.lock().loaded.insert(path.to_owned(), loaded.clone());
        loaded
    }

    fn list(&self, dir: &Path) -> Arc<HashSet<String>> {
        if let Some(listed) = self.lock().listed.get(dir) {
            return listed.clone();
        }
        // No such directory: no files.
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let listed: Arc<HashSet<String>> =
            Arc::new(names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect());
        self.lock().listed.insert(dir.to_owned(), listed.clone());
        listed
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file, or the files below the directory, sorted.
fn collect(path: &Path, depth: usize, paths: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        paths.push(path.to_owned());
        return;
    }
    if depth > DEEPEST {
        return;
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let end = entry.extension().map(|end| format!(".{}", end.to_string_lossy())).unwrap_or_default();
        let hidden = name.starts_with('.') || name.ends_with('~');
        let wanted = if entry.is_dir() { end.is_empty() } else { ENDS.contains(&end.as_str()) };
        if !hidden && wanted {
            collect(&entry, depth + 1, paths);
        }
    }
}

/// Reads a file of variables (`group_vars`, `vars_files`, `-e @file`).
///
/// # Errors
/// It cannot be read or opened, or holds anything but a mapping.
pub fn read(sources: &SourceMap, path: &Path, vault: &dyn Decrypt) -> Result<Vars, Diagnostic> {
    let (file, parsed) = crate::yaml::load(sources, path, vault)?;
    let secret = sources.get(file).is_some_and(|source| source.secret);
    match parsed.single()?.0 {
        Some(node) => of_node(&node, secret, &path.display().to_string()),
        None => Ok(Vars::new()),
    }
}

/// The variables of a mapping.
///
/// # Errors
/// It is none.
pub fn of_node(node: &Node, secret: bool, name: &str) -> Result<Vars, Diagnostic> {
    if node.is_null() {
        return Ok(Vars::new());
    }
    let Some(entries) = node.as_map() else {
        return Err(Diagnostic::error(format!(
            "{name} must hold a mapping of variables, and this is {}",
            node.describe()
        ))
        .at(node.span));
    };
    let var = |(key, node): &(crate::yaml::Key, Node)| -> (Arc<str>, Var) {
        (key.name.clone(), crate::inventory::yaml_var(key, node, secret))
    };
    Ok(entries.iter().map(var).collect())
}
