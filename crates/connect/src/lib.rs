//! How to reach a host: OpenSSH sessions and the agent's upload. Fails closed.
//!
//! One ssh process and one channel per host and run. Its remote command starts the cached agent or receives it first
//! ([`bootstrap`](crate::bootstrap_command)); what fails is told apart ([`ProblemKind`]) in words that help.

mod agents;
mod bootstrap;
pub mod certificate;
pub mod enroll;
mod greeting;
pub mod guard;
mod hostkey;
mod kept;
pub mod known;
mod outgoing;
mod package;
mod problem;
mod refusal;
mod scan;
mod session;
mod talk;
mod target;
mod through;
mod ways;

pub use agents::{Agent, Agents};
pub use bootstrap::command as bootstrap_command;
pub use debark_tunnel::Vpn;
pub use hostkey::fingerprint;
pub use problem::{Problem, ProblemKind, UNREACHABLE, exit_code, join};
pub use refusal::{ca_file, revocation_list};
pub use scan::{Greeting, Shown, Sshfp};
pub use session::{Incoming, Session, frame};
pub use talk::{SshTalk, VPN_FAILURE};
pub use target::{SshCommand, Target};
pub use ways::{CONNECT, VaultOpener, Ways};
