//! What can be looked at: scripts for hosts, and what their output means.
//!
//! Scripts are for Debian's `sh` and change nothing. A line that begins with `!` says why nothing can be known.

mod access;
mod apt;
mod network;
mod other;
mod ssh;

use debark_value::{Map, Value};

pub use ssh::{algorithms, weak};

/// What is known beside a script's output.
#[derive(Debug, Default)]
pub struct Around {
    /// `debark_people`: names and their keys or fingerprints.
    pub people: Value,
    /// Seconds since 1970 when the output came.
    pub now: u64,
}

/// A probe of the host itself.
pub struct HostProbe {
    /// Its name.
    pub name: &'static str,
    /// For `sh`; may hold templates.
    pub script: &'static str,
    /// What the output means.
    pub read: fn(&str, &Around) -> Map,
}

/// Probes that look at a host from here: `ssh` (how it greets), `outside` (whether it answers outside of its VPN), `drift` (what the
/// playbook would change).
pub const CONTROLLER: &[&str] = &["ssh", "outside", "drift"];

/// Probes that run on the host.
pub const HOST: &[HostProbe] = &[
    HostProbe { name: "sshd", script: ssh::SCRIPT, read: ssh::read },
    HostProbe { name: "authorized_keys", script: access::SCRIPT, read: access::read },
    HostProbe { name: "listening", script: network::LISTENING, read: network::listening },
    HostProbe { name: "firewall", script: network::FIREWALL, read: network::firewall },
    HostProbe { name: "updates", script: apt::UPDATES, read: apt::updates },
    HostProbe { name: "apt_sources", script: apt::SOURCES, read: apt::sources },
    HostProbe { name: "packages", script: apt::PACKAGES, read: apt::packages },
    HostProbe { name: "time", script: other::TIME, read: other::time },
    HostProbe { name: "backups", script: other::BACKUPS, read: other::backups },
    HostProbe { name: "tls", script: other::TLS, read: other::tls },
];

/// The probe of that name.
pub fn host(name: &str) -> Option<&'static HostProbe> {
    HOST.iter().find(|probe| probe.name == name)
}

impl HostProbe {
    /// What the script's output is evidence of.
    ///
    /// # Errors
    /// Nothing can be known: the script says why.
    pub fn evidence(&self, output: &str, around: &Around) -> Result<Value, String> {
        if let Some(why) = output.lines().find_map(|line| line.strip_prefix('!')) {
            return Err(why.trim().to_owned());
        }
        Ok(Value::from((self.read)(output, around)))
    }
}
