//! The repository: objects, trees, branches.

use std::collections::BTreeMap;
use std::path::Path;

use debark_order::Environment;
use git2::{ErrorCode, ObjectType, Oid, Repository, Signature, Time, Tree};

use crate::entry::{Entry, MAX_ENTRY};
use crate::error::{AppendError, LedgerError};
use crate::files;
use crate::state::State;

/// The branch of an environment's chain.
pub(crate) fn branch(environment: &Environment) -> String {
    format!("refs/heads/env/{environment}")
}

/// The branch of an environment's lease.
pub(crate) fn lease_branch(environment: &Environment) -> String {
    format!("refs/heads/lease/{environment}")
}

/// Where the last known tip of a branch at the remote is remembered.
pub(crate) fn tracking(environment: &Environment) -> String {
    format!("refs/remotes/origin/env/{environment}")
}

/// The tip that was verified last: what is below it may not go away.
pub(crate) fn seen(environment: &Environment) -> String {
    format!("refs/debark/seen/{environment}")
}

/// What a fetch brings, before it is looked at.
pub(crate) fn incoming(environment: &Environment) -> String {
    format!("refs/debark/incoming/env/{environment}")
}

/// As [`incoming`], a lease.
pub(crate) fn incoming_lease(environment: &Environment) -> String {
    format!("refs/debark/incoming/lease/{environment}")
}

/// Opens the repository, or makes it.
pub(crate) fn open(path: &Path) -> Result<Repository, LedgerError> {
    let failed = |error: &git2::Error| LedgerError::Repository {
        path: path.display().to_string(),
        why: error.message().to_owned(),
    };
    match Repository::open_bare(path) {
        Ok(repository) => return durable(repository),
        Err(error) if error.code() == ErrorCode::NotFound => {}
        Err(error) => return Err(failed(&error)),
    }
    // Made elsewhere and moved there whole: another process that opens it finds all of it or nothing.
    let io = |error: std::io::Error| LedgerError::Repository {
        path: path.display().to_string(),
        why: error.to_string(),
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(io)?;
    let new = tempfile::Builder::new().prefix(".ledger-").tempdir_in(parent).map_err(io)?;
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).external_template(false).initial_head("main");
    let repository = Repository::init_opts(new.path(), &options).map_err(|error| failed(&error))?;
    let settings = [
        // As below, for git itself.
        ("core.fsync", "committed,reference"),
        ("core.logAllRefUpdates", "true"),
        // Should it be somebody's remote: chains only grow.
        ("receive.denyDeletes", "true"),
        ("receive.fsckObjects", "true"),
    ];
    let mut config = repository.config().map_err(|error| failed(&error))?;
    for (name, value) in settings {
        config.set_str(name, value).map_err(|error| failed(&error))?;
    }
    drop((config, repository));
    std::fs::write(new.path().join(DURABLE), "[core]\n\tfsyncObjectFiles = true\n").map_err(io)?;
    let new = new.keep();
    if let Err(error) = std::fs::rename(&new, path) {
        let removed = std::fs::remove_dir_all(&new);
        // Another process was faster.
        if Repository::open_bare(path).is_err() {
            return Err(io(removed.err().unwrap_or(error)));
        }
    }
    durable(Repository::open_bare(path).map_err(|error| failed(&error))?)
}

/// Settings for libgit2 alone: git warns of this name on every call.
const DURABLE: &str = "config.libgit2";

/// Objects and references are on the disk before an append is reported.
fn durable(repository: Repository) -> Result<Repository, LedgerError> {
    let file = repository.path().join(DURABLE);
    // A repository that others made is as durable as they made it.
    if file.is_file() {
        repository
            .config()
            .and_then(|mut config| config.add_file(&file, git2::ConfigLevel::App, true))
            .map_err(|error| failed(&repository, &error))?;
    }
    Ok(repository)
}

pub(crate) fn failed(repository: &Repository, error: &git2::Error) -> LedgerError {
    LedgerError::Repository { path: repository.path().display().to_string(), why: error.message().to_owned() }
}

/// What a reference points to.
pub(crate) fn tip(repository: &Repository, name: &str) -> Result<Option<Oid>, LedgerError> {
    match repository.refname_to_id(name) {
        Ok(oid) => Ok(Some(oid)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(failed(repository, &error)),
    }
}

/// Moves a reference from `old` to `new`; false if it is elsewhere.
pub(crate) fn swap(
    repository: &Repository,
    name: &str,
    old: Option<Oid>,
    new: Oid,
    why: &str,
) -> Result<bool, LedgerError> {
    // libgit2 compares under the reference's lock; zero stands for "there is none".
    match repository.reference_matching(name, new, true, old.unwrap_or(Oid::ZERO_SHA1), why) {
        Ok(_) => Ok(true),
        Err(error)
            if matches!(
                error.code(),
                ErrorCode::Modified | ErrorCode::Locked | ErrorCode::Exists | ErrorCode::NotFound
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(failed(repository, &error)),
    }
}

/// Bytes of an object that is no longer than `limit`.
fn blob(repository: &Repository, oid: Oid, limit: usize) -> Result<Vec<u8>, String> {
    let odb = repository.odb().map_err(|error| error.message().to_owned())?;
    let (size, kind) = odb.read_header(oid).map_err(|error| error.message().to_owned())?;
    if kind != ObjectType::Blob || size > limit {
        return Err(format!("a file has {size} bytes, or is none"));
    }
    let object = odb.read(oid).map_err(|error| error.message().to_owned())?;
    Ok(object.data().to_vec())
}

/// A file of a tree; none if there is no such path.
pub(crate) fn file(
    repository: &Repository,
    tree: &Tree<'_>,
    path: &str,
    limit: usize,
) -> Result<Option<Vec<u8>>, String> {
    match tree.get_path(Path::new(path)) {
        Ok(entry) => blob(repository, entry.id(), limit).map(Some).map_err(|why| format!("{path}: {why}")),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// What is wrong with a commit's entry or state.
pub(crate) fn broken(environment: &Environment, commit: Oid, why: String) -> LedgerError {
    let commit = commit.to_string().chars().take(12).collect();
    LedgerError::Broken { environment: environment.to_string(), commit, why }
}

/// The entry of a commit.
pub(crate) fn entry(repository: &Repository, commit: Oid) -> Result<Entry, String> {
    let commit = repository.find_commit(commit).map_err(|error| error.message().to_owned())?;
    let tree = commit.tree().map_err(|error| error.message().to_owned())?;
    let bytes = file(repository, &tree, files::ENTRY, MAX_ENTRY)?.ok_or("it has no entry.json")?;
    Entry::from_json(&bytes)
}

/// The state in a commit's tree.
pub(crate) fn state(
    repository: &Repository,
    environment: &Environment,
    commit: Oid,
) -> Result<State, String> {
    let tree = repository
        .find_commit(commit)
        .and_then(|commit| commit.tree())
        .map_err(|error| error.message().to_owned())?;
    let mut packages = Vec::new();
    if let Some(entry) = tree.get_name("packages") {
        let below = repository.find_tree(entry.id()).map_err(|error| error.message().to_owned())?;
        packages.extend(below.iter().map(|entry| String::from_utf8_lossy(entry.name_bytes()).into_owned()));
    }
    let mut read = |path: &str| file(repository, &tree, path, files::MAX_FILE);
    let mut state = files::read(environment, &packages, &mut read)?;
    state.tip = Some(commit.to_string());
    Ok(state)
}

/// Puts an object's kind and bytes somewhere, and gives its id.
pub(crate) type Put<'a> = dyn FnMut(ObjectType, &[u8]) -> Result<Oid, git2::Error> + 'a;

/// A tree of files, written to the repository or only named: `put` gets each object's kind and bytes and gives its id.
pub(crate) fn tree(files: &BTreeMap<String, Oid>, put: &mut Put<'_>) -> Result<Oid, git2::Error> {
    let mut below: BTreeMap<&str, BTreeMap<String, Oid>> = BTreeMap::new();
    let mut entries: Vec<(String, &str, Oid)> = Vec::new();
    for (path, oid) in files {
        match path.split_once('/') {
            Some((directory, rest)) => {
                below.entry(directory).or_default().insert(rest.to_owned(), *oid);
            }
            None => entries.push((path.clone(), "100644", *oid)),
        }
    }
    for (directory, files) in below {
        entries.push((directory.to_owned(), "40000", tree(&files, put)?));
    }
    // git orders directories as if their names ended with a slash.
    let key = |(name, mode, _): &(String, &str, Oid)| {
        if *mode == "40000" { format!("{name}/") } else { name.clone() }
    };
    entries.sort_by_key(key);
    let mut bytes = Vec::new();
    for (name, mode, oid) in &entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(oid.as_bytes());
    }
    put(ObjectType::Tree, &bytes)
}

/// The text of a commit that is to be signed.
pub(crate) fn commit_text(
    repository: &Repository,
    parent: Option<Oid>,
    tree: Oid,
    actor: &str,
    time: u64,
    message: &str,
) -> Result<Vec<u8>, git2::Error> {
    let time = Time::new(i64::try_from(time).unwrap_or(i64::MAX), 0);
    let who = Signature::new(actor, actor, &time)?;
    let tree = repository.find_tree(tree)?;
    let parent = parent.map(|parent| repository.find_commit(parent)).transpose()?;
    let parents: Vec<_> = parent.iter().collect();
    Ok(repository.commit_create_buffer(&who, &who, message, &tree, &parents)?.to_vec())
}

/// Commits from `tip` down to the first, newest first, by first parents; at most `limit`.
pub(crate) fn chain(
    repository: &Repository,
    tip: Oid,
    stop: Option<Oid>,
    limit: usize,
) -> Result<Vec<Oid>, LedgerError> {
    let mut commits = Vec::new();
    let mut next = Some(tip);
    while let Some(oid) = next.filter(|oid| Some(*oid) != stop && commits.len() < limit) {
        commits.push(oid);
        let commit = repository.find_commit(oid).map_err(|error| failed(repository, &error))?;
        next = commit.parent_id(0).ok();
    }
    Ok(commits)
}

/// How many commits `one` has that `other` has not, and the reverse.
pub(crate) fn ahead(
    repository: &Repository,
    one: Oid,
    other: Option<Oid>,
) -> Result<(usize, usize), LedgerError> {
    match other {
        Some(other) => repository.graph_ahead_behind(one, other).map_err(|error| failed(repository, &error)),
        None => Ok((chain(repository, one, None, usize::MAX)?.len(), 0)),
    }
}

/// Environments that have a branch whose name begins so, by name.
pub(crate) fn environments(repository: &Repository, prefix: &str) -> Result<Vec<Environment>, LedgerError> {
    let found =
        repository.references_glob(&format!("{prefix}*")).map_err(|error| failed(repository, &error))?;
    let mut names = Vec::new();
    for reference in found {
        let reference = reference.map_err(|error| failed(repository, &error))?;
        let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
        names.extend(name.strip_prefix(prefix).and_then(|name| name.parse::<Environment>().ok()));
    }
    names.sort();
    Ok(names)
}

pub(crate) fn broken_text(error: &std::str::Utf8Error) -> AppendError {
    AppendError::Rejected(format!("the commit is no text: {error}"))
}

pub(crate) fn append_failed(repository: &Repository, error: &git2::Error) -> AppendError {
    AppendError::Ledger(failed(repository, error))
}
