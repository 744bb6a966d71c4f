//! The order that a host obeys, and its signature.

use serde::{Deserialize, Serialize};

use crate::{Check, Digest, Environment, Identity, PackageName, PackageVersion, Sequence};

/// The namespace of an order's signature (ssh-keygen(1), `-n`).
pub const NAMESPACE: &str = "order@debark";
/// The longest order that is read, in bytes.
pub const MAX_ORDER: usize = 256 << 10;

/// What an order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A version is to be live; not one older than what is installed.
    Deploy,
    /// An earlier version is to be live again: the only order by which a version may go down.
    Rollback,
    /// A deployment that was begun and will not be finished is to be undone on the host.
    Abort,
}

/// An order: one version of one package for one environment. It is signed as the bytes of its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Version of this format: 1.
    pub format: u32,
    /// The environment that the host belongs to.
    pub environment: Environment,
    /// The fencing token: the number of the ledger's entry. A host obeys no order whose number is below one it has seen.
    pub sequence: Sequence,
    /// What for.
    pub action: Action,
    /// The package.
    pub package: PackageName,
    /// Its version, as in its control file.
    pub version: PackageVersion,
    /// Of the whole .deb.
    pub digest: Digest,
    /// Of the .deb, in bytes.
    pub size: u64,
    /// Who ordered it; has to be the principal of the signature.
    pub actor: Identity,
    /// When, in seconds since 1970.
    pub issued: u64,
    /// From when on it is not to be begun, in seconds since 1970.
    pub expires: u64,
    /// What to check on the host once it is installed, in this order.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Versions that the host keeps, the live one included; at least 2.
    pub keep: u32,
    /// Seconds after which the host goes back by itself if nobody has confirmed.
    pub confirm_within: u32,
    /// Seconds that a maintainer script or apt may take altogether.
    pub install_within: u32,
}

/// An order as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedOrder {
    /// The order's JSON: the bytes that were signed.
    pub text: String,
    /// The signature, armored (PROTOCOL.sshsig).
    pub signature: String,
}

impl SealedOrder {
    /// Reads the order, **without** looking at the signature.
    ///
    /// # Errors
    /// It is too long, or no order.
    pub fn order(&self) -> Result<Order, String> {
        if self.text.len() > MAX_ORDER {
            return Err(format!("the order has {} bytes, more than {MAX_ORDER}", self.text.len()));
        }
        let order: Order = serde_json::from_str(&self.text).map_err(|error| format!("no order: {error}"))?;
        if order.format != 1 {
            return Err(format!("an order of format {}, and this reads format 1", order.format));
        }
        Ok(order)
    }

    /// What tells one sealed order from another: the digest of its text.
    pub fn id(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}
