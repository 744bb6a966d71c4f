//! What a host is told to do with a package: as it is signed, and as it is sent.
//!
//! Everything here is plain data that the controller and the gate on the host agree on, and the way both check
//! signatures: OpenSSH's `ssh-keygen -Y`, which every host that can be reached has.

pub mod check;
pub mod frame;
pub mod gate;
pub mod names;
pub mod order;
pub mod sshsig;

pub use check::{Check, Probe};
pub use names::{Digest, Environment, Identity, InvalidName, PackageName, PackageVersion, Sequence};
pub use order::{Action, Order, SealedOrder};
