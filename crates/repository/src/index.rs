//! From the root to the indices, and back.

use std::collections::BTreeMap;

use debark_order::Digest;

use crate::compress::{gunzip, gzip, xz};
use crate::error::{Error, ErrorKind, Result};
use crate::packages::Packages;
use crate::root::{Listed, Root};
use crate::store::{Keys, Store};

const MAX_ROOT: u64 = 4 << 20;
/// 200,000 versions.
const MAX_INDEX: u64 = 256 << 20;

/// The root as it was read.
pub(crate) struct State {
    pub root: Root,
    /// Fingerprint of the key that signed it.
    pub key: String,
    /// What it is compared by when it is swapped.
    pub tag: String,
}

/// Where an architecture's index is, below `dists/SUITE`.
pub(crate) fn index_path(architecture: &str, suffix: &str) -> String {
    format!("main/binary-{architecture}/Packages{suffix}")
}

impl Store {
    pub(crate) fn in_suite(&self, path: &str) -> String {
        format!("dists/{}/{path}", self.suite)
    }

    pub(crate) fn by_hash(&self, architecture: &str, digest: &Digest) -> String {
        self.in_suite(&format!("main/binary-{architecture}/by-hash/SHA256/{}", digest.hex()))
    }
}

impl State {
    /// Reads the root and checks its signature; `None` if there is none.
    pub(crate) fn read(store: &Store, keys: &dyn Keys) -> Result<Option<Self>> {
        let path = store.in_suite("InRelease");
        let Some(found) = store.backend.read(&path, MAX_ROOT)? else { return Ok(None) };
        let damaged = |why: String| Error::damaged(&path, &store.name, why);
        let text = String::from_utf8(found.bytes).map_err(|_| damaged("it is no UTF-8".into()))?;
        let signed = keys.open(&text).map_err(|why| {
            Error::new(
                ErrorKind::Refused,
                format!("{path} in the store {} is not to be trusted: {why}", store.name),
            )
            .hint("either somebody has changed it, or its key is not trusted here: see `debark keys list`")
        })?;
        let root = Root::parse(&signed.text).map_err(damaged)?;
        if root.suite != store.suite {
            return Err(damaged(format!("it is that of the suite {}", root.suite)));
        }
        Ok(Some(Self { root, key: signed.key, tag: found.tag }))
    }

    /// An architecture's index, checked against the root; empty if there is none.
    pub(crate) fn packages(&self, store: &Store, architecture: &str) -> Result<Packages> {
        let listed = |suffix: &str| self.root.files.get(&index_path(architecture, suffix));
        let (Some(packed), Some(plain)) = (listed(".gz"), listed("")) else { return Ok(Packages::default()) };
        let path = store.by_hash(architecture, &packed.digest);
        let damaged =
            |why: String| Error::damaged(&path, &store.name, why).hint("restore it from a copy of the store");
        let bytes = match store.backend.read(&path, MAX_INDEX)? {
            Some(found) if Digest::of(&found.bytes) == packed.digest => found.bytes,
            Some(_) => return Err(damaged("it does not have the digest that is its name".into())),
            None => return Err(damaged("it is gone".into())),
        };
        let text = gunzip(&bytes, plain.size.min(MAX_INDEX)).map_err(damaged)?;
        Packages::parse(text).map_err(damaged)
    }
}

/// An index as it is written.
pub(crate) struct Written {
    architecture: String,
    /// By suffix: `.gz`, `.xz`.
    packed: Vec<(&'static str, Vec<u8>, Digest)>,
    plain: Listed,
}

impl Written {
    pub(crate) fn new(architecture: &str, packages: &Packages) -> Self {
        let text = packages.text();
        let text = text.as_bytes();
        let (gz, xz, digest) = std::thread::scope(|scope| {
            let xz = scope.spawn(|| xz(text));
            let (gz, digest) = (gzip(text), Digest::of(text));
            (gz, xz.join().unwrap_or_default(), digest)
        });
        let packed = [(".gz", gz), (".xz", xz)].into_iter().filter(|(_, bytes)| !bytes.is_empty());
        let packed = packed.map(|(suffix, bytes)| {
            let digest = Digest::of(&bytes);
            (suffix, bytes, digest)
        });
        Self {
            architecture: architecture.to_owned(),
            packed: packed.collect(),
            plain: Listed { digest, size: text.len() as u64 },
        }
    }

    /// Puts it where its digest says, and lists it.
    pub(crate) fn store(&self, store: &Store, files: &mut BTreeMap<String, Listed>) -> Result<()> {
        for (suffix, bytes, digest) in &self.packed {
            let path = index_path(&self.architecture, suffix);
            let listed = Listed { digest: *digest, size: bytes.len() as u64 };
            if files.insert(path, listed) != Some(listed) {
                store.put_named(&store.by_hash(&self.architecture, digest), bytes)?;
            }
        }
        files.insert(index_path(&self.architecture, ""), self.plain);
        Ok(())
    }

    /// Puts it where tools look that do not know by-hash.
    pub(crate) fn store_latest(&self, store: &Store) -> Result<()> {
        for (suffix, bytes, _) in &self.packed {
            store.backend.put(&store.in_suite(&index_path(&self.architecture, suffix)), bytes)?;
        }
        Ok(())
    }
}

impl Store {
    /// Puts an object whose name tells its content. One that is there already is written again: that is to no harm, heals
    /// one that was damaged, and makes it young, so that nobody prunes it before a root lists it.
    pub(crate) fn put_named(&self, path: &str, bytes: &[u8]) -> Result<()> {
        if self.backend.create(path, bytes)? { Ok(()) } else { self.backend.put(path, bytes) }
    }
}
