//! Packages from the artifact store.

use std::path::PathBuf;

use debark_artifact::Keyring;
use debark_artifact::provenance::Envelope;
use debark_order::{Digest, PackageName, PackageVersion};
use debark_project::{Environment, StoreLocation, TestGate};
use debark_repository::{Entry, Store};

use super::context::Problem;
use super::desk::Desk;
use super::problem::store as problem;
use crate::drive::cache_dir;

/// A package that the store has.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Found {
    /// Its version.
    pub version: PackageVersion,
    /// Of the .deb.
    pub digest: Digest,
    /// Of the .deb, in bytes.
    pub size: u64,
    /// The git commit.
    pub commit: Option<String>,
    /// What its provenance says of tests: whether all passed, or those that the environment names;
    /// `None` if it says nothing.
    pub tests_passed: Option<bool>,
}

fn open(environment: &Environment) -> Result<(Store, Keyring), Problem> {
    let store = Store::open(&environment.store.location, &environment.store.suite).map_err(problem)?;
    let trust = &environment.trust;
    let keyring = Keyring::load(&trust.build_keys, &trust.revoked)
        .map_err(|error| Problem::input(error.to_string()))?;
    Ok((store, keyring))
}

fn entry(
    store: &Store,
    keyring: &Keyring,
    package: &PackageName,
    version: Option<&PackageVersion>,
) -> Result<Entry, Problem> {
    match version {
        Some(version) => store.find(keyring, package, version).map_err(problem),
        None => store.index(keyring).map_err(problem)?.newest(package).cloned().ok_or_else(|| {
            Problem::input(format!("the store {} has nothing of {package}", store.name()))
                .hint("debark build, then debark publish")
        }),
    }
}

/// As [`find`]; for a plan, by what is known on this machine: of a store in a bucket, what it said last counts.
///
/// # Errors
/// As for [`find`].
pub fn found(
    desk: &Desk,
    environment: &Environment,
    package: &PackageName,
    version: Option<&PackageVersion>,
    plan: bool,
) -> Result<Found, Problem> {
    let remote = !matches!(environment.store.location, StoreLocation::Directory(_));
    let known = memory(environment, package, version);
    if plan
        && remote
        && let Ok(text) = std::fs::read(&known)
        && let Ok(found) = serde_json::from_slice::<Found>(&text)
    {
        let age = std::fs::metadata(&known).and_then(|known| known.modified()).ok();
        let age = age.and_then(|time| time.elapsed().ok()).unwrap_or_default();
        let age = debark_ledger::policy::duration(age.as_secs());
        anstream::eprintln!("note: the store {} was asked {age} ago", environment.store.location);
        return Ok(found);
    }
    if plan && remote {
        anstream::eprintln!("note: nothing is known here of that version: the store is asked");
    }
    let found = find(desk, environment, package, version)?;
    if remote {
        remember(environment, package, version, &found);
    }
    Ok(found)
}

/// Where it is remembered what a store in a bucket said.
fn memory(environment: &Environment, package: &PackageName, version: Option<&PackageVersion>) -> PathBuf {
    let store = &environment.store;
    let question = format!("{:?} {} {:?}", store.location, store.suite, environment.gates.tests);
    let version = version.map_or("newest", PackageVersion::as_str);
    cache_dir()
        .join("stores")
        .join(Digest::of(question.as_bytes()).short())
        .join(format!("{package}_{}.json", version.replace(':', "%3a")))
}

/// Only for plans: without it there is none until the store was asked.
fn remember(
    environment: &Environment,
    package: &PackageName,
    version: Option<&PackageVersion>,
    found: &Found,
) {
    for version in [version, Some(&found.version)] {
        let path = memory(environment, package, version);
        let text = serde_json::to_vec(found).unwrap_or_default();
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = std::fs::write(path, text);
    }
}

/// Looks a version up, or the newest one.
///
/// # Errors
/// The store cannot be reached, or has no such version.
pub fn find(
    _desk: &Desk,
    environment: &Environment,
    package: &PackageName,
    version: Option<&PackageVersion>,
) -> Result<Found, Problem> {
    let (store, keyring) = open(environment)?;
    let entry = entry(&store, &keyring, package, version)?;
    let now = debark_release::now();
    // Provenance that nobody trusted has signed, or that is of another file, says nothing.
    let provenance = store.provenance(&entry).map_err(problem)?.and_then(|bytes| {
        let (provenance, _) = Envelope::parse(&bytes).ok()?.verify(&keyring, now).ok()?;
        (provenance.digest == entry.digest).then_some(provenance)
    });
    Ok(Found {
        version: entry.version.clone(),
        digest: entry.digest,
        size: entry.size,
        commit: provenance.as_ref().map(|provenance| provenance.commit.clone()).or(entry.commit),
        tests_passed: provenance.filter(|provenance| !provenance.tests.is_empty()).map(|provenance| {
            let passed =
                |name: &String| provenance.tests.iter().any(|test| test.name == *name && test.passed);
            match &environment.gates.tests {
                TestGate::Named(names) => names.iter().all(passed),
                TestGate::None | TestGate::All => provenance.tests.iter().all(|test| test.passed),
            }
        }),
    })
}

/// What the store has as provenance.
///
/// # Errors
/// The store cannot be reached, or has no such version.
pub fn provenance(
    _desk: &Desk,
    environment: &Environment,
    package: &PackageName,
    version: &PackageVersion,
) -> Result<Option<Vec<u8>>, Problem> {
    let (store, keyring) = open(environment)?;
    let entry = entry(&store, &keyring, package, Some(version))?;
    store.provenance(&entry).map_err(problem)
}

/// The package as the store has it now, in a file that is gone with the value.
///
/// # Errors
/// The store cannot be reached, or has another package under that name; one sentence.
pub fn fresh(
    _desk: &Desk,
    environment: &Environment,
    package: &PackageName,
    version: &PackageVersion,
    digest: Digest,
) -> Result<Fresh, String> {
    let (store, entry) = listed(environment, package, version, digest)?;
    download(&store, &entry)
}

fn listed(
    environment: &Environment,
    package: &PackageName,
    version: &PackageVersion,
    digest: Digest,
) -> Result<(Store, Entry), String> {
    let words = |problem: Problem| problem.message();
    let (store, keyring) = open(environment).map_err(words)?;
    let entry = entry(&store, &keyring, package, Some(version)).map_err(words)?;
    if entry.digest != digest {
        return Err(format!("the store has {package} {version} as {}, and not as {digest}", entry.digest));
    }
    Ok((store, entry))
}

fn download(store: &Store, entry: &Entry) -> Result<Fresh, String> {
    let directory = cache_dir().join("packages");
    std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let path = directory.join(format!(".{}-{}.deb", entry.digest.hex(), std::process::id()));
    let _ = std::fs::remove_file(&path);
    store.download(entry, &path).map_err(|error| error.to_string())?;
    Ok(Fresh(path))
}

/// A file that is removed when it is dropped.
#[derive(Debug)]
pub struct Fresh(PathBuf);

impl Fresh {
    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The file of a package: the store's own, if that is a directory; else one that is kept for the next deployment of the same.
///
/// # Errors
/// The store cannot be reached, or has another package under that name; one sentence.
pub fn package(
    _desk: &Desk,
    environment: &Environment,
    package: &PackageName,
    version: &PackageVersion,
    digest: Digest,
) -> Result<PathBuf, String> {
    let path = cache_dir().join("packages").join(format!("{}.deb", digest.hex()));
    if debark_repository::is(&path, digest) {
        return Ok(path);
    }
    let (store, entry) = listed(environment, package, version, digest)?;
    if let Some(path) = store.file(&entry) {
        return Ok(path);
    }
    let fresh = download(&store, &entry)?;
    std::fs::rename(fresh.path(), &path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}
