//! Publishing: packages first, indices then, the root last.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use debark_order::{Digest, PackageName, PackageVersion};
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::index::{State, Written, index_path};
use crate::packages::{Entry, Packages};
use crate::root::Root;
use crate::store::{Keys, Seal, Store};

/// What was written earlier than that might be pruned before it is listed.
const DEADLINE: Duration = Duration::from_secs(60 * 60);
/// How far a clock may be behind that of another publisher, in seconds.
const SKEW: i64 = 300;

/// A package that is to be published. Its signature has been checked.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The whole .deb.
    pub bytes: Vec<u8>,
    /// Its control file.
    pub control: String,
    /// `Package`.
    pub package: PackageName,
    /// `Version`.
    pub version: PackageVersion,
    /// `Architecture`.
    pub architecture: String,
    /// Fingerprint of the key that signed it, in upper-case hexadecimal digits.
    pub key: String,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// When it was built (RFC 3339).
    pub built: Option<String>,
    /// Its provenance, a DSSE envelope.
    pub provenance: Option<Vec<u8>>,
}

/// What came of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// As it is in the store now.
    pub entry: Entry,
    /// Whether it was there already, by the same digest.
    pub already: bool,
}

impl Upload {
    fn entry(&self) -> Result<Entry> {
        let digest = Digest::of(&self.bytes);
        let name = self.package.as_str();
        let known = !self.architecture.is_empty()
            && self.architecture != "source"
            && self
                .architecture
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !known {
            let what = format!("{name} {}: {:?} is no architecture", self.version, self.architecture);
            return Err(Error::new(ErrorKind::BadInput, what));
        }
        // Debian's pool has libraries under four letters.
        let initial = name.get(..if name.starts_with("lib") { 4 } else { 1 }).unwrap_or(name);
        // Colons are left out of file names (Debian Policy 5.6.12 has epochs not in them).
        let version = self.version.as_str().split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        let path =
            format!("pool/main/{initial}/{name}/{}/{name}_{version}_{}.deb", digest.hex(), self.architecture);
        Ok(Entry {
            package: self.package.clone(),
            version: self.version.clone(),
            architecture: self.architecture.clone(),
            digest,
            size: self.bytes.len() as u64,
            path,
            commit: self.commit.clone(),
            built: self.built.clone(),
            published: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            key: self.key.clone(),
        })
    }
}

/// A change to the indices: what it is given is what there is now, by architecture.
type Change<'a> = dyn FnMut(&mut BTreeMap<String, Packages>) -> Result<bool> + 'a;

impl Store {
    /// Publishes packages, all with the same root; without any, the root is signed anew, so that it is valid for longer.
    ///
    /// # Errors
    /// A version is there with another digest; the root is not to be trusted; the store cannot be reached or written to.
    /// Nothing is listed then that was not before.
    pub fn publish(
        &self,
        uploads: &[Upload],
        keys: &dyn Keys,
        seal: &dyn Seal,
        valid_for: Duration,
    ) -> Result<Vec<Outcome>> {
        let started = Instant::now();
        let mut wanted = Vec::new();
        for upload in uploads {
            let entry = upload.entry()?;
            let stanza = entry.stanza(&upload.control).map_err(|why| {
                Error::new(ErrorKind::BadInput, format!("{} {}: {why}", entry.package, entry.version))
            })?;
            wanted.push((upload, entry, stanza));
        }
        let architectures: Vec<String> =
            wanted.iter().map(|(_, entry, _)| entry.architecture.clone()).collect();
        let mut stored = false;
        let mut outcomes = Vec::new();
        let mut change = |indices: &mut BTreeMap<String, Packages>| {
            outcomes.clear();
            if started.elapsed() > DEADLINE {
                let what = format!("publishing to the store {} takes longer than an hour", self.name);
                return Err(Error::new(ErrorKind::Failed, what).hint("publish again"));
            }
            let mut fresh = Vec::new();
            for (upload, entry, stanza) in &wanted {
                match self.there(indices, entry)? {
                    Some(there) if there.digest == entry.digest => {
                        outcomes.push(Outcome { entry: there, already: true });
                    }
                    Some(there) => return Err(self.other_content(&there, entry)),
                    None => fresh.push((*upload, entry, stanza)),
                }
            }
            // Those that are listed are written again as well: it is how one that was lost is put back.
            if !stored {
                for (upload, entry, _) in &wanted {
                    let listed = outcomes.iter().any(|outcome| outcome.entry.digest == entry.digest);
                    if listed && self.is_whole(entry)? {
                        continue;
                    }
                    if let Some(provenance) = &upload.provenance {
                        self.backend.create(&entry.provenance(), provenance)?;
                    }
                    self.put_named(&entry.path, &upload.bytes)?;
                }
                stored = true;
            }
            for (_, entry, stanza) in &fresh {
                let packages = indices.entry(entry.architecture.clone()).or_default();
                if self.there_in(packages, entry)?.is_some() {
                    let what =
                        format!("{} {} is to be published twice at once", entry.package, entry.version);
                    return Err(Error::new(ErrorKind::BadInput, what));
                }
                packages.insert(entry, (*stanza).clone());
                outcomes.push(Outcome { entry: (*entry).clone(), already: false });
            }
            Ok(!fresh.is_empty() || uploads.is_empty())
        };
        self.change(&architectures, keys, seal, valid_for, &mut change)?;
        Ok(outcomes)
    }

    fn there_in(&self, packages: &Packages, entry: &Entry) -> Result<Option<Entry>> {
        let found = packages.find(&entry.package, &entry.version);
        found.map_err(|why| Error::damaged("an index", &self.name, why))
    }

    fn there(&self, indices: &BTreeMap<String, Packages>, entry: &Entry) -> Result<Option<Entry>> {
        indices.get(&entry.architecture).map_or(Ok(None), |packages| self.there_in(packages, entry))
    }

    fn is_whole(&self, entry: &Entry) -> Result<bool> {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new();
        let there = self.backend.stream(&entry.path, &mut |bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        Ok(there && Digest::from_bytes(hash.finalize().into()) == entry.digest)
    }

    fn other_content(&self, there: &Entry, entry: &Entry) -> Error {
        let what = format!(
            "{} {} is in the store {} already, with the digest {} and not {}",
            there.package,
            there.version,
            self.name,
            there.digest.short(),
            entry.digest.short()
        );
        Error::new(ErrorKind::Refused, what)
            .hint("what is published never changes: build it under a new version")
    }

    /// Reads, changes, writes; again, if another publisher was faster. `change` says whether there is anything to write.
    pub(crate) fn change(
        &self,
        architectures: &[String],
        keys: &dyn Keys,
        seal: &dyn Seal,
        valid_for: Duration,
        change: &mut Change<'_>,
    ) -> Result<()> {
        let root_path = self.in_suite("InRelease");
        let mut tries = 0_u32;
        loop {
            let state = match State::read(self, keys) {
                // The first publication makes the directory.
                Err(error) if error.kind == ErrorKind::Unreachable && self.can_be_made() => None,
                state => state?,
            };
            let mut indices = BTreeMap::new();
            for architecture in architectures {
                if !indices.contains_key(architecture) {
                    let packages = match &state {
                        Some(state) => state.packages(self, architecture)?,
                        None => Packages::default(),
                    };
                    indices.insert(architecture.clone(), packages);
                }
            }
            if !change(&mut indices)? {
                return Ok(());
            }
            let root = self.next_root(state.as_ref().map(|state| &state.root), valid_for)?;
            let (root, written) = self.write_indices(root, indices)?;
            let message = seal.seal(&root.text()).map_err(|why| {
                Error::new(
                    ErrorKind::Failed,
                    format!("cannot sign {root_path} for the store {}: {why}", self.name),
                )
            })?;
            let tag = state.as_ref().map(|state| state.tag.as_str());
            if self.backend.replace(&root_path, message.as_bytes(), tag)? {
                return self.settle(&root, &written, keys);
            }
            tries += 1;
            pause(tries);
        }
    }

    fn can_be_made(&self) -> bool {
        std::path::Path::new(&self.name).is_absolute()
    }

    fn next_root(&self, before: Option<&Root>, valid_for: Duration) -> Result<Root> {
        let now = Timestamp::now().as_second();
        let mut root =
            before.cloned().unwrap_or_else(|| Root { suite: self.suite.clone(), ..Root::default() });
        if root.date > now + SKEW {
            let what = format!(
                "the root of the store {} is dated {} seconds in the future: the clock of this machine or of its publisher is wrong",
                self.name,
                root.date - now
            );
            return Err(Error::new(ErrorKind::Refused, what).hint("set the clock, and publish again"));
        }
        // apt takes no root that is older than the one it has.
        root.date = root.date.max(now);
        root.valid_until =
            root.date.saturating_add(i64::try_from(valid_for.as_secs()).unwrap_or(i64::MAX / 4));
        root.generation += 1;
        Ok(root)
    }

    fn write_indices(
        &self,
        mut root: Root,
        mut indices: BTreeMap<String, Packages>,
    ) -> Result<(Root, Vec<Written>)> {
        for architecture in root.architectures() {
            if !root.files.contains_key(&index_path(&architecture, "")) {
                indices.entry(architecture).or_default();
            }
        }
        let mut written = Vec::new();
        for (architecture, packages) in &indices {
            let index = Written::new(architecture, packages);
            index.store(self, &mut root.files)?;
            written.push(index);
        }
        Ok((root, written))
    }

    /// Puts the latest indices where tools look that do not know by-hash. Whoever comes last does so last: it looks whether
    /// its root is still the latest, and if not, it writes those of the one that is.
    fn settle(&self, root: &Root, written: &[Written], keys: &dyn Keys) -> Result<()> {
        let mut generation = root.generation;
        for index in written {
            index.store_latest(self)?;
        }
        while let Some(state) = State::read(self, keys)?.filter(|state| state.root.generation != generation) {
            generation = state.root.generation;
            for architecture in state.root.architectures() {
                Written::new(&architecture, &state.packages(self, &architecture)?).store_latest(self)?;
            }
        }
        Ok(())
    }
}

/// Waits a moment that is another one for each publisher, and longer with each try.
fn pause(tries: u32) {
    let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos());
    let most = 10 * u64::from(tries.min(20));
    std::thread::sleep(Duration::from_millis(u64::from(nanos ^ std::process::id()) % most));
}
