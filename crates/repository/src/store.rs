//! The store, and what it is asked.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use debark_order::{Digest, PackageName, PackageVersion};
use debark_project::StoreLocation;
use sha2::Digest as _;

use crate::backend::Backend;
use crate::bucket::Bucket;
use crate::directory::Directory;
use crate::error::{Error, ErrorKind, Result};
use crate::index::State;
use crate::packages::{Entry, compare_versions};

/// The largest provenance that is read.
const MAX_PROVENANCE: u64 = 16 << 20;

/// What was signed, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The text, with line feeds.
    pub text: String,
    /// Fingerprint of the key, in upper-case hexadecimal digits.
    pub key: String,
}

/// Whose word is taken: build keys that are trusted and not revoked.
pub trait Keys {
    /// Checks an OpenPGP cleartext signature (RFC 9580, 7).
    ///
    /// # Errors
    /// No trusted key signed it; why.
    fn open(&self, message: &str) -> Result<Signed, String>;
}

/// Who signs the root of the repository.
pub trait Seal {
    /// Makes an OpenPGP cleartext signature (RFC 9580, 7).
    ///
    /// # Errors
    /// The key does not sign; why.
    fn seal(&self, text: &str) -> Result<String, String>;
}

/// An artifact store.
pub struct Store {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) name: String,
    pub(crate) suite: String,
}

/// What a store had at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// By package, then version, then architecture.
    pub entries: Vec<Entry>,
    /// Of the root: one more with each change.
    pub generation: u64,
    /// When the root was signed, in seconds since 1970.
    pub date: i64,
    /// Until when apt takes it, in seconds since 1970.
    pub valid_until: i64,
    /// Fingerprint of the key that signed the root.
    pub key: String,
}

impl Index {
    /// A version of a package; of several architectures the one given, or any.
    pub fn find(
        &self,
        package: &PackageName,
        version: &PackageVersion,
        architecture: Option<&str>,
    ) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            entry.package == *package
                && compare_versions(entry.version.as_str(), version.as_str()).is_eq()
                && architecture.is_none_or(|name| name == entry.architecture || entry.architecture == "all")
        })
    }

    /// The highest version of a package.
    pub fn newest(&self, package: &PackageName) -> Option<&Entry> {
        let of_it = self.entries.iter().filter(|entry| entry.package == *package);
        of_it.max_by(|a, b| compare_versions(a.version.as_str(), b.version.as_str()))
    }
}

/// Whether a file can be read and has that digest.
pub fn is(path: &Path, digest: Digest) -> bool {
    let Ok(mut file) = std::fs::File::open(path) else { return false };
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Digest::from_bytes(hash.finalize().into()) == digest,
            Ok(read) => hash.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

impl Store {
    /// Where it is. Nothing is contacted yet.
    ///
    /// # Errors
    /// A bucket without credentials, or with settings that cannot be.
    pub fn open(location: &StoreLocation, suite: &str) -> Result<Self> {
        let backend: Arc<dyn Backend> = match location {
            StoreLocation::Directory(path) => Arc::new(Directory::new(path.clone())),
            StoreLocation::S3 { bucket, prefix, endpoint, region } => {
                Arc::new(Bucket::open(bucket, prefix, endpoint.as_deref(), region.as_deref())?)
            }
        };
        Ok(Self { backend, name: location.to_string(), suite: suite.to_owned() })
    }

    pub(crate) fn with_suite(&self, suite: &str) -> Self {
        Self { backend: self.backend.clone(), name: self.name.clone(), suite: suite.to_owned() }
    }

    /// For messages: `/srv/packages`, `s3://bucket/prefix`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All that it has. The root's signature is checked, and the indices' digests.
    ///
    /// # Errors
    /// It cannot be reached, nobody trusted has signed the root, or an index is not as the root says. A store that nothing has
    /// been published to is empty, if it can be reached.
    pub fn index(&self, keys: &dyn Keys) -> Result<Index> {
        let Some(state) = State::read(self, keys)? else {
            return Ok(Index { entries: vec![], generation: 0, date: 0, valid_until: 0, key: String::new() });
        };
        let mut entries = Vec::new();
        for architecture in state.root.architectures() {
            let packages = state.packages(self, &architecture)?;
            let found = packages.entries().map_err(|why| Error::damaged("an index", &self.name, why))?;
            entries.extend(found);
        }
        entries.sort_by(|a, b| {
            let versions = compare_versions(a.version.as_str(), b.version.as_str());
            a.package.cmp(&b.package).then(versions).then_with(|| a.architecture.cmp(&b.architecture))
        });
        Ok(Index {
            entries,
            generation: state.root.generation,
            date: state.root.date,
            valid_until: state.root.valid_until,
            key: state.key,
        })
    }

    /// A version of a package, for [`Index::find`]; an error names those that there are.
    ///
    /// # Errors
    /// As for [`Self::index`]; or there is no such version.
    pub fn find(&self, keys: &dyn Keys, package: &PackageName, version: &PackageVersion) -> Result<Entry> {
        let index = self.index(keys)?;
        if let Some(entry) = index.find(package, version, None) {
            return Ok(entry.clone());
        }
        let error = Error::new(
            ErrorKind::Missing,
            format!("there is no {package} {version} in the store {}", self.name),
        );
        Err(match index.newest(package) {
            Some(newest) => {
                error.hint(format!("the newest is {}; `debark releases {package}` shows all", newest.version))
            }
            None => {
                error.hint(format!("nothing of {package} is published there; `debark publish` does that"))
            }
        })
    }

    /// Writes a package to a file that must not exist, while it is hashed. Nothing is left if it is not what it should be.
    ///
    /// # Errors
    /// It is gone, or its digest is another; the store cannot be reached; the file cannot be written.
    pub fn download(&self, entry: &Entry, to: &Path) -> Result<()> {
        let cannot = |error: std::io::Error| {
            Error::new(ErrorKind::Failed, format!("cannot write {}: {error}", to.display()))
        };
        let mut file = std::fs::File::options().write(true).create_new(true).open(to).map_err(cannot)?;
        let mut hash = sha2::Sha256::new();
        let mut size = 0_u64;
        let mut each = |bytes: &[u8]| {
            size += bytes.len() as u64;
            if size > entry.size {
                return Err(self.not_as_listed(entry));
            }
            hash.update(bytes);
            file.write_all(bytes).map_err(cannot)
        };
        let done = self.backend.stream(&entry.path, &mut each).and_then(|there| {
            if !there {
                let what = format!("{} is listed and is not there, in the store {}", entry.path, self.name);
                return Err(Error::new(ErrorKind::Damaged, what)
                    .hint("publish the same file again: that puts it back"));
            }
            if Digest::from_bytes(hash.finalize().into()) != entry.digest {
                return Err(self.not_as_listed(entry));
            }
            // It has not to outlast a crash: whoever finds it later hashes it first.
            Ok(())
        });
        if done.is_err() {
            let _ = std::fs::remove_file(to);
        }
        done
    }

    /// The package itself, if it is a file of this machine that still is what it should be.
    pub fn file(&self, entry: &Entry) -> Option<PathBuf> {
        let path = self.backend.file(&entry.path)?;
        is(&path, entry.digest).then_some(path)
    }

    fn not_as_listed(&self, entry: &Entry) -> Error {
        Error::damaged(&entry.path, &self.name, format!("it does not have the digest {}", entry.digest))
            .hint("somebody has changed it; publish the same file again: that puts it back")
    }

    /// The provenance of a version, as it was published; `None` if it has none. It is **not** checked here.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn provenance(&self, entry: &Entry) -> Result<Option<Vec<u8>>> {
        Ok(self.backend.read(&entry.provenance(), MAX_PROVENANCE)?.map(|found| found.bytes))
    }
}
