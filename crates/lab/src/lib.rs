//! Throwaway real Debian hosts in containers with their own network namespaces.
//!
//! A host is a systemd-nspawn container on an overlay over a base system that mmdebstrap made once: real systemd,
//! sshd, apt, dpkg and PAM. It has a network namespace of its own, joined by a veth pair to a bridge in the
//! *controller's* namespace; hosts can be reached from there and from nowhere else, and reach nothing but the lab's
//! own apt proxy.
//!
//! ```no_run
//! use debark_lab::{Lab, Options};
//!
//! let lab = Lab::up(Options::new("try", 2))?;
//! println!("{}", lab.host("h1")?.sh("systemctl is-system-running")?);
//! let status = lab.controller_command("ansible").args(["all", "-i"]).arg(lab.inventory_path()).status();
//! # Ok::<(), debark_lab::Error>(())
//! ```
//!
//! Hosts know three users, all opened by the lab's key: `root`; `debian`, who may do everything by sudo without a
//! password; and `plain`, whose sudo asks for [`PLAIN_PASSWORD`].

pub mod background;
mod base;
mod boot;
mod cgroup;
mod command;
mod disk;
mod error;
mod gateway;
mod host;
mod inventory;
mod lab;
mod names;
mod network;
mod nspawn;
mod process;
mod proxy;
mod relay;
mod remove;
mod sources;
mod state;
mod store;
mod supervise;
mod tools;

pub use base::PLAIN_PASSWORD;
pub use error::{Error, Result};
pub use host::Host;
pub use lab::{Lab, Options, Say};
pub use network::enter as enter_namespace;
pub use process::Process;
pub use state::{DelayState, HostState, State, Suite};
