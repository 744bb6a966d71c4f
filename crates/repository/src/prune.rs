//! Pruning: what is no longer wanted goes from the indices first, and from the store once no root lists it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use debark_order::Digest;

use crate::backend::Object;
use crate::error::{Error, Result};
use crate::index::State;
use crate::packages::{Entry, Packages, compare_versions};
use crate::store::{Keys, Seal, Store};

/// Publishers that are at it give up after an hour; what nothing lists and is older belongs to nobody.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Old indices that are kept, for readers that have read their root and not yet them.
const GENERATIONS: usize = 5;

/// What is to be kept.
#[derive(Debug, Clone, Default)]
pub struct Prune {
    /// Of each package and architecture, as many as were published last; at least 1.
    pub keep: u32,
    /// Digests that are kept whatever their age, and where they are needed: `live in prod`.
    pub pinned: BTreeMap<Digest, String>,
    /// Change nothing.
    pub dry_run: bool,
}

/// Why a version is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is one of those that were published last.
    Recent,
    /// It is needed, there.
    Pinned(String),
    /// It is the highest version: what apt installs if nobody says which.
    Highest,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Recent => to.write_str("published last"),
            Self::Pinned(place) => to.write_str(place),
            Self::Highest => to.write_str("the highest version"),
        }
    }
}

/// What was pruned, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What is kept, and why.
    pub kept: Vec<(Entry, Vec<Kept>)>,
    /// What is listed no more.
    pub removed: Vec<Entry>,
    /// Packages and their provenance that are removed, those of dead publishers among them; paths.
    pub objects: Vec<String>,
    /// Old indices that are removed; paths.
    pub indices: Vec<String>,
    /// What that frees, in bytes.
    pub freed: u64,
}

impl Store {
    /// Removes versions that nobody needs, and what dead publishers have left.
    ///
    /// # Errors
    /// The root is not to be trusted; the store cannot be reached or written to. What was not removed by then is by the
    /// next call.
    pub fn prune(
        &self,
        prune: &Prune,
        keys: &dyn Keys,
        seal: &dyn Seal,
        valid_for: Duration,
    ) -> Result<Pruned> {
        let Some(state) = State::read(self, keys)? else { return Ok(Pruned::default()) };
        let architectures: Vec<String> = state.root.architectures().into_iter().collect();
        let mut pruned = Pruned::default();
        let mut change = |indices: &mut BTreeMap<String, Packages>| {
            pruned = Pruned::default();
            for packages in indices.values_mut() {
                let entries =
                    packages.entries().map_err(|why| Error::damaged("an index", &self.name, why))?;
                let (kept, removed) = choose(entries, prune);
                let gone: BTreeSet<Digest> = removed.iter().map(|entry| entry.digest).collect();
                packages.retain(|entry| !gone.contains(&entry.digest));
                pruned.kept.extend(kept);
                pruned.removed.extend(removed);
            }
            Ok(!pruned.removed.is_empty() && !prune.dry_run)
        };
        self.change(&architectures, keys, seal, valid_for, &mut change)?;
        self.sweep(prune, keys, &mut pruned)?;
        Ok(pruned)
    }

    /// Removes objects that no root lists.
    fn sweep(&self, prune: &Prune, keys: &dyn Keys, pruned: &mut Pruned) -> Result<()> {
        let now = SystemTime::now();
        let old = |object: &Object| now.duration_since(object.modified).is_ok_and(|age| age > GRACE);
        let removed: BTreeSet<String> =
            pruned.removed.iter().flat_map(|entry| [entry.path.clone(), entry.provenance()]).collect();
        let pool = self.backend.list("pool/")?;
        // Other suites may list what this one does not.
        let mut listed = self.listed_elsewhere(keys)?;
        // Read after the listing: what is published in between is in it.
        let state = State::read(self, keys)?;
        if let Some(state) = &state {
            listed.extend(self.listed_by(state)?);
        }
        if prune.dry_run {
            listed.retain(|path| !removed.contains(path));
        }
        for object in pool {
            if !listed.contains(&object.path) && (removed.contains(&object.path) || old(&object)) {
                self.discard(&object, prune, keys, &mut pruned.freed)?;
                pruned.objects.push(object.path);
            }
        }
        if let Some(state) = &state {
            for object in self.old_indices(state)? {
                if old(&object) {
                    self.discard(&object, prune, keys, &mut pruned.freed)?;
                    pruned.indices.push(object.path);
                }
            }
        }
        if prune.dry_run { Ok(()) } else { self.backend.sweep() }
    }

    fn discard(&self, object: &Object, prune: &Prune, keys: &dyn Keys, freed: &mut u64) -> Result<()> {
        if !prune.dry_run {
            // Somebody may have published the same file again since.
            let state = State::read(self, keys)?;
            let wanted = match &state {
                Some(state) if object.path.starts_with("pool/") => {
                    self.listed_by(state)?.contains(&object.path)
                }
                _ => false,
            };
            if wanted {
                return Ok(());
            }
            self.backend.remove(&object.path)?;
        }
        *freed += object.size;
        Ok(())
    }

    fn listed_by(&self, state: &State) -> Result<BTreeSet<String>> {
        let mut listed = BTreeSet::new();
        for architecture in state.root.architectures() {
            let entries = state.packages(self, &architecture)?.entries();
            let entries = entries.map_err(|why| Error::damaged("an index", &self.name, why))?;
            listed.extend(entries.iter().flat_map(|entry| [entry.path.clone(), entry.provenance()]));
        }
        Ok(listed)
    }

    fn listed_elsewhere(&self, keys: &dyn Keys) -> Result<BTreeSet<String>> {
        let mut listed = BTreeSet::new();
        for object in self.backend.list("dists/")? {
            let suite = object.path.strip_prefix("dists/").and_then(|path| path.strip_suffix("/InRelease"));
            let Some(suite) = suite.filter(|suite| *suite != self.suite) else { continue };
            let other = self.with_suite(suite);
            if let Some(state) = State::read(&other, keys)? {
                listed.extend(other.listed_by(&state)?);
            }
        }
        Ok(listed)
    }

    /// Indices that the root does not list, but for those of the last few roots.
    fn old_indices(&self, state: &State) -> Result<Vec<Object>> {
        let mut by_directory: BTreeMap<String, Vec<Object>> = BTreeMap::new();
        for object in self.backend.list(&self.in_suite(""))? {
            if let Some((directory, name)) = object.path.rsplit_once('/')
                && directory.ends_with("/by-hash/SHA256")
                && !state.root.files.values().any(|listed| listed.digest.hex() == name)
            {
                by_directory.entry(directory.to_owned()).or_default().push(object);
            }
        }
        let mut old = Vec::new();
        for (_, mut objects) in by_directory {
            objects.sort_by_key(|object| std::cmp::Reverse(object.modified));
            // Two of each root: gz and xz.
            old.extend(objects.into_iter().skip(2 * GENERATIONS));
        }
        Ok(old)
    }
}

/// Of one architecture: what is kept, and why; and what is not.
fn choose(mut entries: Vec<Entry>, prune: &Prune) -> (Vec<(Entry, Vec<Kept>)>, Vec<Entry>) {
    entries.sort_by(|a, b| a.package.cmp(&b.package).then_with(|| b.published.cmp(&a.published)));
    let (mut kept, mut removed) = (Vec::new(), Vec::new());
    for group in entries.chunk_by(|a, b| a.package == b.package) {
        let highest = group.iter().max_by(|a, b| compare_versions(a.version.as_str(), b.version.as_str()));
        for (place, entry) in group.iter().enumerate() {
            let mut why = Vec::new();
            if let Some(place) = prune.pinned.get(&entry.digest) {
                why.push(Kept::Pinned(place.clone()));
            }
            if place < usize::try_from(prune.keep.max(1)).unwrap_or(usize::MAX) {
                why.push(Kept::Recent);
            }
            if highest == Some(entry) {
                why.push(Kept::Highest);
            }
            if why.is_empty() {
                removed.push(entry.clone());
            } else {
                kept.push((entry.clone(), why));
            }
        }
    }
    (kept, removed)
}
