//! What a place has to be able to do, so that a store can be there.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::error::Result;

/// An object's content, and what tells it from what comes to its place.
pub(crate) struct Found {
    pub bytes: Vec<u8>,
    pub tag: String,
}

/// An object of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub path: String,
    pub size: u64,
    pub modified: SystemTime,
}

/// A place for objects. Paths are relative, with slashes, and have been checked.
pub(crate) trait Backend: Send + Sync {
    /// An object of at most `limit` bytes; `None` if there is none.
    fn read(&self, path: &str, limit: u64) -> Result<Option<Found>>;
    /// The file that an object is on this machine, if it is one.
    fn file(&self, _path: &str) -> Option<PathBuf> {
        None
    }
    /// Hands an object over piece by piece; false if there is none.
    fn stream(&self, path: &str, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool>;
    /// Makes an object, at once and durably; false if there is one already.
    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool>;
    /// Makes or replaces an object, at once and durably.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<()>;
    /// Replaces an object that still has this tag (`None`: that is not there) at once and durably; false if it has not.
    fn replace(&self, path: &str, bytes: &[u8], expected: Option<&str>) -> Result<bool>;
    /// All objects below a prefix, which ends with a slash.
    fn list(&self, prefix: &str) -> Result<Vec<Object>>;
    /// Removes an object, if it is there.
    fn remove(&self, path: &str) -> Result<()>;
    /// Removes what dead publishers have left half written.
    fn sweep(&self) -> Result<()>;
}
