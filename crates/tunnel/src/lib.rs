//! WireGuard and TCP/IP inside the process: a tunnel without root, without a TUN device, without a change to the machine.
//!
//! boringtun seals and opens packets, smoltcp makes connections of them, and one thread ([`Tunnel`]) moves bytes between
//! UDP sockets and the sockets of those who use it. Nothing of a tunnel falls back to the machine's own network: what
//! cannot go through fails, and says at which [`Stage`].

mod advance;
mod callers;
mod cidr;
mod config;
mod conn;
mod declared;
mod device;
mod dial;
mod engine;
mod failure;
mod hello;
mod key;
mod message;
mod mtu;
mod names;
mod pace;
mod peer;
mod route;
mod sealed;
mod served;
mod status;
mod tunnel;
mod wire;

pub use cidr::Cidr;
pub use config::{Config, ConfigError, Endpoint, PeerConfig};
pub use declared::Vpn;
pub use dial::{check as check_route, dial, dial_by};
pub use failure::{Failure, Stage};
pub use hello::{Hello, Request};
pub use key::{Public, SecretKey};
pub use sealed::OpenVault;
pub use served::{Served, clean_up};
pub use status::{PeerStatus, Status};
pub use tunnel::Tunnel;
