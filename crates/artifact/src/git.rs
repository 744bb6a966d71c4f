//! The source of a package: one commit of a git repository, written out as it is recorded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, UNIX_EPOCH};

use debark_order::{PackageName, PackageVersion};
use debark_project::Source;
use git2::{ErrorCode, ObjectType, Repository, Status, StatusOptions};

mod files;
mod objects;
#[cfg(test)]
mod same;
#[cfg(test)]
pub(crate) mod testing;
mod worktree;

pub use objects::Objects;

/// Files that a commit may have.
const MAX_FILES: usize = 1_000_000;
/// How deep directories may nest.
const MAX_DEPTH: usize = 256;

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// A sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

fn error(message: impl Into<String>) -> SourceError {
    SourceError { message: message.into(), hint: None }
}

impl SourceError {
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A commit of a repository.
pub struct Checkout {
    repository: Repository,
    /// The clone of a repository elsewhere, as long as it is needed.
    _clone: Option<tempfile::TempDir>,
    /// Of the source within the repository; empty: its top.
    below: PathBuf,
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// Its tree.
    pub tree: String,
    /// Its time, in seconds since 1970.
    pub epoch: u64,
    /// Where the repository is, without a password: the remote `origin`, or the directory.
    pub url: String,
    /// Whether what the user's working tree holds matters.
    tidy: bool,
}

impl Checkout {
    /// Finds a commit; `revision` as in gitrevisions(7), `HEAD` if there is none.
    ///
    /// # Errors
    /// There is no repository or no such commit, or it cannot be cloned.
    pub fn open(source: &Source, revision: Option<&str>) -> Result<Self, SourceError> {
        let (repository, clone, below, url) = match source {
            Source::Directory(directory) => {
                let repository = Repository::discover(directory).map_err(|_| {
                    error(format!("{} is in no git repository", directory.display()))
                        .hint("packages are built from commits: `git init` and commit the source")
                })?;
                let workdir = repository.workdir().and_then(|path| path.canonicalize().ok());
                let workdir = workdir
                    .ok_or_else(|| error(format!("{} is in a bare repository", directory.display())))?;
                let real = directory
                    .canonicalize()
                    .map_err(|why| error(format!("{}: {why}", directory.display())))?;
                let below = real.strip_prefix(&workdir).unwrap_or(Path::new("")).to_owned();
                let origin = repository
                    .find_remote("origin")
                    .ok()
                    .and_then(|remote| remote.url().ok().map(str::to_owned));
                (repository, None, below, origin.unwrap_or_else(|| workdir.display().to_string()))
            }
            Source::Repository(url) => {
                let (repository, clone) = self::clone(url)?;
                (repository, Some(clone), PathBuf::new(), url.clone())
            }
        };
        let (commit, tree, epoch) = {
            let revision = revision.unwrap_or("HEAD");
            let object = repository
                .revparse_single(revision)
                .or_else(|_| repository.revparse_single(&format!("origin/{revision}")));
            let commit = object.and_then(|object| object.peel_to_commit()).map_err(|why| {
                if why.code() == ErrorCode::UnbornBranch || revision == "HEAD" {
                    error(format!("{} has no commit yet", clean(&url))).hint("commit the source first")
                } else {
                    error(format!("there is no commit {revision:?} in {}", clean(&url)))
                }
            })?;
            let epoch = u64::try_from(commit.time().seconds()).unwrap_or(0);
            (commit.id().to_string(), commit.tree_id().to_string(), epoch)
        };
        // Only if what is built is what it is at.
        let tidy = matches!(source, Source::Directory(_)) && revision.is_none();
        Ok(Self { repository, _clone: clone, below, commit, tree, epoch, url: clean(&url), tidy })
    }

    /// Files that differ from the commit, in the user's working tree; none if another commit was asked for.
    ///
    /// # Errors
    /// The working tree cannot be read.
    pub fn dirty(&self) -> Result<Vec<String>, SourceError> {
        if self.tidy { dirty(&self.repository, &self.below) } else { Ok(Vec::new()) }
    }

    /// The version that the commit's tag gives a package: `NAME-1.4.2`, `NAME/v1.4.2`, `v1.4.2` or `1.4.2`; behind a tag, so
    /// many commits and the commit are added: `1.4.2+3.g0123abc`.
    ///
    /// # Errors
    /// There is no such tag.
    pub fn version(&self, package: &PackageName) -> Result<PackageVersion, SourceError> {
        let oid = git2::Oid::from_str(&self.commit).map_err(|why| error(why.message()))?;
        let mut found: Vec<(usize, PackageVersion)> = Vec::new();
        let names = self.repository.tag_names(None).map_err(|why| error(why.message()))?;
        for name in names.iter().flatten().flatten() {
            let Some(version) = tag_version(name, package) else { continue };
            let target = self.repository.revparse_single(&format!("refs/tags/{name}"));
            let Ok(commit) = target.and_then(|object| object.peel_to_commit()) else { continue };
            // Only what the commit descends from.
            if let Ok((ahead, 0)) = self.repository.graph_ahead_behind(oid, commit.id()) {
                found.push((ahead, version));
            }
        }
        // The nearest; of several at one commit the last by name, whatever order the repository lists them in.
        found.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
        match found.into_iter().next() {
            Some((0, version)) => Ok(version),
            Some((ahead, version)) => {
                let short = self.commit.get(..7).unwrap_or(&self.commit);
                format!("{version}+{ahead}.g{short}").parse().map_err(|why| error(format!("{why}")))
            }
            None => {
                Err(error(format!("the commit {} has no tag that gives {package} a version", self.short()))
                    .hint("tag it (`git tag v1.0.0`), set `version` in the project file, or use `--version`"))
            }
        }
    }

    /// The first 12 digits of the commit.
    pub fn short(&self) -> &str {
        self.commit.get(..12).unwrap_or(&self.commit)
    }

    /// Writes the commit's files below `to`, which has to be empty; all with the commit's time. Nothing is filtered or
    /// converted.
    ///
    /// # Errors
    /// The commit is damaged, has a submodule, or `to` cannot be written to.
    pub fn export(&self, to: &Path) -> Result<(), SourceError> {
        let found = self.found()?;
        for directory in &found.directories {
            let path = to.join(directory);
            fs::create_dir(&path).map_err(|why| error(format!("{}: {why}", path.display())))?;
        }
        let time = UNIX_EPOCH + Duration::from_secs(self.epoch);
        files::write(self.repository.path(), &found.files, to, time).map_err(error)
    }

    /// The same commit, for another thread; gone with this one.
    ///
    /// # Errors
    /// The repository cannot be opened again.
    pub fn again(&self) -> Result<Self, SourceError> {
        let repository = Repository::open(self.repository.path()).map_err(|why| error(why.message()))?;
        Ok(Self {
            repository,
            _clone: None,
            below: self.below.clone(),
            commit: self.commit.clone(),
            tree: self.tree.clone(),
            url: self.url.clone(),
            ..*self
        })
    }

    /// The commit's files, without a checkout; until it has `stopped`.
    ///
    /// # Errors
    /// As for [`Self::export`], and if it is not certain that a checkout would give the same.
    pub fn objects(&self, stopped: Arc<AtomicBool>) -> Result<Objects, SourceError> {
        let found = self.found()?;
        Objects::new(&self.repository, &self.below, &found, stopped).map_err(|why| error(why.to_string()))
    }

    fn found(&self) -> Result<Found, SourceError> {
        let oid = git2::Oid::from_str(&self.commit).map_err(|why| error(why.message()))?;
        let failed = |why: git2::Error| {
            error(format!("the commit {} cannot be read: {}", self.short(), why.message()))
        };
        let commit = self.repository.find_commit(oid).map_err(failed)?;
        let mut tree = commit.tree().map_err(failed)?;
        if !self.below.as_os_str().is_empty() {
            let entry = tree.get_path(&self.below);
            let below = entry
                .and_then(|entry| entry.to_object(&self.repository))
                .and_then(|object| object.peel_to_tree());
            tree = below.map_err(|_| {
                error(format!("the commit {} has no directory {}", self.short(), self.below.display()))
            })?;
        }
        let mut found = Found::default();
        self.find(&tree, Path::new(""), 0, &mut found)?;
        Ok(found)
    }

    fn find(
        &self,
        tree: &git2::Tree<'_>,
        at: &Path,
        depth: usize,
        found: &mut Found,
    ) -> Result<(), SourceError> {
        for entry in tree {
            found.count += 1;
            let name = entry.name().map_err(|_| error("the commit has a file whose name is not UTF-8"))?;
            if matches!(name, "" | "." | "..")
                || name.contains(['/', '\0'])
                || name.eq_ignore_ascii_case(".git")
            {
                return Err(error(format!("the commit has a file {name:?}, which none may be called")));
            }
            if depth > MAX_DEPTH || found.count > MAX_FILES {
                return Err(error("the commit has too many files, or too deep directories"));
            }
            let path = at.join(name);
            match (entry.kind(), entry.filemode()) {
                (Some(ObjectType::Tree), _) => {
                    let below =
                        entry.to_object(&self.repository).and_then(|object| object.peel_to_tree()).map_err(
                            |why: git2::Error| error(format!("{}: {}", path.display(), why.message())),
                        )?;
                    found.directories.push(path.clone());
                    self.find(&below, &path, depth + 1, found)?;
                }
                (Some(ObjectType::Blob), mode) => {
                    let kind = match mode {
                        0o120_000 => files::Kind::Link,
                        0o100_755 => files::Kind::Program,
                        _ => files::Kind::Plain,
                    };
                    found.files.push(files::Blob { path, kind, oid: entry.id() });
                }
                (Some(ObjectType::Commit), _) => {
                    return Err(error(format!("{name} is a submodule, and a commit alone does not hold it"))
                        .hint("build it as a package of its own, or put its files into the repository"));
                }
                _ => return Err(error(format!("{name} in the commit is of an unknown kind"))),
            }
        }
        Ok(())
    }
}

/// What a commit has.
#[derive(Default)]
struct Found {
    /// Entries of all kinds.
    count: usize,
    /// Each before those that are in it.
    directories: Vec<PathBuf>,
    /// Files and links.
    files: Vec<files::Blob>,
}

/// Files that differ from `HEAD`, below a directory; files that git does not know count as well, ignored ones do not.
fn dirty(repository: &Repository, below: &Path) -> Result<Vec<String>, SourceError> {
    let mut options = StatusOptions::new();
    options.include_untracked(true).include_ignored(false).exclude_submodules(true);
    if let Some(below) = below.to_str().filter(|below| !below.is_empty()) {
        options.pathspec(below).disable_pathspec_match(true);
    }
    let found = repository.statuses(Some(&mut options)).map_err(|why| error(why.message()))?;
    // What debark itself keeps there, a store or a ledger, is no source.
    let own = |entry: &git2::StatusEntry<'_>| {
        let path = String::from_utf8_lossy(entry.path_bytes()).into_owned();
        entry.status() == Status::WT_NEW && (path.starts_with(".debark/") || path.contains("/.debark/"))
    };
    let changed = found
        .iter()
        .filter(|entry| entry.status() != Status::CURRENT && !entry.status().is_ignored() && !own(entry));
    Ok(changed.map(|entry| String::from_utf8_lossy(entry.path_bytes()).into_owned()).take(1000).collect())
}

/// The version in a tag's name.
fn tag_version(tag: &str, package: &PackageName) -> Option<PackageVersion> {
    let own = tag.strip_prefix(package.as_str()).and_then(|rest| rest.strip_prefix(['-', '/', '_']));
    let text = own.unwrap_or(tag);
    text.strip_prefix('v').unwrap_or(text).parse().ok()
}

/// Clones by the git program: it knows the user's credentials and ssh_config.
fn clone(url: &str) -> Result<(Repository, tempfile::TempDir), SourceError> {
    let directory =
        tempfile::Builder::new().prefix("debark-clone-").tempdir().map_err(|why| error(format!("{why}")))?;
    let output = Command::new("git")
        .args(["clone", "--quiet", "--bare", "--no-hardlinks", "--", url])
        .arg(directory.path().join("repository"))
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|why| error(format!("cannot run git: {why}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("git gives no reason");
        return Err(error(format!("cannot clone {}: {}", clean(url), last.trim().replace(url, &clean(url)))));
    }
    let repository =
        Repository::open_bare(directory.path().join("repository")).map_err(|why| error(why.message()))?;
    Ok((repository, directory))
}

/// A URL without what may be a password.
pub fn clean(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_tags() {
        let shop: PackageName = "shop".parse().unwrap();
        let version = |tag: &str| tag_version(tag, &shop).map(|version| version.to_string());
        assert_eq!(version("v1.4.2").as_deref(), Some("1.4.2"));
        assert_eq!(version("shop-1.4.2").as_deref(), Some("1.4.2"));
        assert_eq!(version("shop/v1.4.2-1").as_deref(), Some("1.4.2-1"));
        assert_eq!(version("api-1.4.2"), None);
        assert_eq!(version("nightly"), None);
    }

    #[test]
    fn passwords_are_left_out() {
        assert_eq!(clean("https://me:secret@example.org/x.git"), "https://example.org/x.git");
        assert_eq!(clean("git@example.org:x.git"), "git@example.org:x.git");
        assert_eq!(clean("https://example.org/a@b"), "https://example.org/a@b");
    }
}
