//! Where hosts may write on the controller's disk: only below what `fetch` tasks of the play name.
//!
//! A host that was taken over can send any path it likes. It gets no further than the tasks would have gone.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Destinations of one play; clones share them, as dynamic includes bring more while it runs.
#[derive(Debug, Clone, Default)]
pub struct Fetches(Arc<Mutex<Declared>>);

#[derive(Debug, Default)]
struct Declared {
    /// Where relative destinations start: the playbook's directory.
    base: PathBuf,
    prefixes: BTreeSet<Prefix>,
    /// Tasks whose destination is not known before they run.
    open: BTreeSet<String>,
}

/// A directory, and how the first name in it must begin; with `whole` it must be just that.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix {
    directory: PathBuf,
    begins: String,
    whole: bool,
}

impl Fetches {
    /// Nothing yet; relative paths start at `base`.
    pub fn new(base: &Path) -> Self {
        let declared = Declared {
            base: std::path::absolute(base).unwrap_or_else(|_| base.into()),
            ..Declared::default()
        };
        Self(Arc::new(Mutex::new(declared)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Declared> {
        // Every change is one insertion, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task's destination as far as it is known: all of it with `whole`, else only how it begins. `task` is the
    /// task's place, for errors.
    pub fn declare(&self, literal: &str, whole: bool, task: &str) {
        let mut declared = self.lock();
        let path = normal(literal, &declared.base);
        let inside = !whole && !literal.ends_with('/');
        let begins = path.file_name().filter(|_| whole || inside);
        let prefix = match (path.parent(), begins) {
            (Some(parent), Some(name)) if !literal.is_empty() => {
                Prefix { directory: parent.into(), begins: name.to_string_lossy().into_owned(), whole }
            }
            _ => Prefix { directory: path, begins: String::new(), whole: false },
        };
        // Without a known beginning, or with the root as one, every place on the disk would be open.
        if literal.is_empty() || (prefix.directory == Path::new("/") && prefix.begins.is_empty()) {
            declared.open.insert(task.to_owned());
        } else {
            declared.prefixes.insert(prefix);
        }
    }

    /// The path on this disk that a host means, if the play lets it be written.
    ///
    /// # Errors
    /// A sentence that names the path.
    pub fn allow(&self, dest: &str) -> Result<PathBuf, String> {
        let declared = self.lock();
        if declared.prefixes.is_empty() && declared.open.is_empty() {
            return Err("no task of this play fetches files".into());
        }
        let path = normal(dest, &declared.base);
        let Some(prefix) = declared.prefixes.iter().find(|prefix| prefix.holds(&path)) else {
            let mut why = format!("{} is not where a fetch task of this play puts files", path.display());
            if let Some(task) = declared.open.first() {
                why += &format!(
                    "; the `dest` of the task at {task} must begin with a path that is known beforehand"
                );
            }
            return Err(why);
        };
        match prefix.stays(&path) {
            Ok(true) => Ok(path),
            Ok(false) => Err(format!("{} leads elsewhere through a symbolic link", path.display())),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Whether hosts may have written that file.
    pub fn covers(&self, path: &str) -> bool {
        let declared = self.lock();
        let path = normal(path, &declared.base);
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        declared.prefixes.iter().any(|prefix| {
            let real_prefix = Prefix {
                directory: prefix.directory.canonicalize().unwrap_or_else(|_| prefix.directory.clone()),
                begins: prefix.begins.clone(),
                whole: prefix.whole,
            };
            prefix.holds(&path) || real_prefix.holds(&real)
        })
    }
}

impl Prefix {
    fn holds(&self, path: &Path) -> bool {
        let Ok(rest) = path.strip_prefix(&self.directory) else { return false };
        let Some(Component::Normal(first)) = rest.components().next() else { return false };
        let first = first.to_string_lossy();
        if self.whole { first == self.begins } else { first.starts_with(&self.begins) }
    }

    /// Whether the path is below the directory even when links below it are followed. Links above are the user's
    /// business. That nobody puts a link there in the meantime needs no care: hosts send files only.
    fn stays(&self, path: &Path) -> io::Result<bool> {
        let real = |path: &Path| -> io::Result<Option<PathBuf>> {
            match path.symlink_metadata() {
                Ok(_) => path.canonicalize().map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(root) = real(&self.directory)? else { return Ok(true) };
        for ancestor in path.ancestors().take_while(|ancestor| *ancestor != self.directory) {
            match real(ancestor) {
                Ok(Some(found)) => return Ok(found.starts_with(&root) && found != root),
                Ok(None) => {}
                // A link to nowhere: what is made there is not below.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// An absolute path without `.` and `..`; `~` is the user's home.
fn normal(text: &str, base: &Path) -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    let given = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            home().map_or_else(|| text.into(), |home| home.join(rest.trim_start_matches('/')))
        }
        _ => PathBuf::from(text),
    };
    let mut path = PathBuf::from("/");
    for part in base.join(given).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            _ => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetches(base: &Path, literals: &[(&str, bool)]) -> Fetches {
        let fetches = Fetches::new(base);
        literals.iter().for_each(|(literal, whole)| fetches.declare(literal, *whole, "site.yml:3"));
        fetches
    }

    #[test]
    fn only_below_what_tasks_name() {
        let base = Path::new("/srv/play");
        let some = fetches(base, &[("fetched/", false), ("/backup/host-", false), ("/var/one.txt", true)]);
        for good in ["fetched/web1/etc/motd", "/srv/play/fetched/x", "/backup/host-a/b", "/var/one.txt"] {
            assert!(some.allow(good).is_ok(), "{good}: {:?}", some.allow(good));
        }
        assert_eq!(some.allow("fetched/a/../b").unwrap(), Path::new("/srv/play/fetched/b"));
        for bad in [
            "/etc/passwd",
            "site.yml",
            "fetched",
            "fetched/",
            "fetched/../site.yml",
            "/backup/host-a/../../etc/cron.d/x",
            "/backup/other",
            "/var/one.txt.bak",
            "/srv/play/fetched2/x",
            "~/.ssh/authorized_keys",
            "",
            "/",
        ] {
            let why = some.allow(bad).unwrap_err();
            assert!(why.contains("is not where a fetch task"), "{bad}: {why}");
        }
        assert!(some.allow("/etc/passwd").unwrap_err().starts_with("/etc/passwd"));
        assert!(some.covers("fetched/web1/tasks.yml") && !some.covers("tasks.yml"));
    }

    #[test]
    fn an_unknown_beginning_opens_nothing() {
        let base = Path::new("/srv/play");
        assert_eq!(fetches(base, &[]).allow("x").unwrap_err(), "no task of this play fetches files");
        for literal in ["", "/", "//", "/.."] {
            let why = fetches(base, &[(literal, false)]).allow("/etc/x").unwrap_err();
            assert!(why.contains("site.yml:3"), "{literal}: {why}");
        }
    }

    #[test]
    fn links_lead_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for directory in ["play/fetched/inside", "outside"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(root.join(to), root.join(name)).unwrap();
        link("outside", "play/fetched/out");
        link("play/fetched/inside", "play/fetched/in");
        link("nowhere", "play/fetched/dangling");
        link("outside/file", "play/fetched/file");
        std::fs::write(root.join("outside/file"), "x").unwrap();
        // A link above the destination is how the user laid out the disk.
        link("play", "way");
        for base in ["play", "way"] {
            let some = fetches(&root.join(base), &[("fetched/", false)]);
            assert!(some.allow("fetched/in/x").is_ok());
            assert!(some.allow("fetched/new/x").is_ok());
            for bad in [
                "fetched/out/x",
                "fetched/out/new/x",
                "fetched/dangling/x",
                "fetched/dangling",
                "fetched/file",
            ] {
                assert!(some.allow(bad).unwrap_err().contains("symbolic link"), "{bad}");
            }
        }
    }
}
