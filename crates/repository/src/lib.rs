//! The artifact store, which is an apt repository.
//!
//! ```text
//! pool/main/s/shop/DIGEST/shop_1.4.2_amd64.deb                 a package; never changes
//! pool/main/s/shop/DIGEST/shop_1.4.2_amd64.deb.intoto.json     its provenance
//! dists/stable/main/binary-amd64/by-hash/SHA256/DIGEST         an index; never changes
//! dists/stable/InRelease                                       the signed root, which names the indices
//! dists/stable/main/binary-amd64/Packages.gz                   the latest index, for tools that do not know by-hash
//! ```
//!
//! Everything but the root has its digest in its name, and is there before a root speaks of it. The root is replaced by
//! compare-and-swap: whoever finds that another one was faster reads again, and adds to what is there now. So a publisher may die
//! at any time: what it has written by then is nowhere listed, and the old root goes on to be valid.
//!
//! The store is on a local directory or in an S3-compatible bucket. All calls block.

mod backend;
mod bucket;
mod compress;
mod directory;
mod error;
mod index;
mod openpgp;
mod packages;
mod prune;
mod publish;
mod root;
mod store;

pub use error::{Error, ErrorKind, Result};
pub use packages::{Entry, compare_versions};
pub use prune::{Kept, Prune, Pruned};
pub use publish::{Outcome, Upload};
pub use store::{Index, Keys, Seal, Signed, Store, is};
