//! Artifacts: a .deb built once from a commit, its provenance and its signature.
//!
//! [`build::Builder`] goes the whole way. [`deb`] writes packages of its own making reproducibly, and reads any without
//! trust; [`key`] and [`keyring`] are OpenPGP; [`provenance`] says where a package comes from.

pub mod build;
pub mod deb;
pub mod git;
pub mod key;
pub mod keyring;
pub mod program;
pub mod provenance;

pub use deb::{Deb, DebError};
pub use key::{BuildKey, KeyError};
pub use keyring::{Distrust, Keyring, PublicKey};
