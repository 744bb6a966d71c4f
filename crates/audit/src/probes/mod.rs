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
    /// What the output means, or why it means nothing.
    pub read: fn(&str, &Around) -> Result<Map, String>,
}

/// Probes that look at a host from here: `ssh` (how it greets), `outside` (whether it answers outside of its VPN), `drift` (what the
/// playbook would change).
pub const CONTROLLER: &[&str] = &["ssh", "outside", "drift"];

/// Probes that run on the host. Some read the output of one script.
pub const HOST: &[HostProbe] = &[
    HostProbe { name: "sshd", script: access::SCRIPT, read: |output, _| Ok(ssh::read(output)) },
    HostProbe {
        name: "authorized_keys",
        script: access::SCRIPT,
        read: |output, around| Ok(access::read(output, around)),
    },
    HostProbe {
        name: "listening",
        script: network::LISTENING,
        read: |output, around| Ok(network::listening(output, around)),
    },
    HostProbe {
        name: "firewall",
        script: network::FIREWALL,
        read: |output, around| Ok(network::firewall(output, around)),
    },
    HostProbe { name: "updates", script: apt::POLICY, read: apt::updates },
    HostProbe {
        name: "packages",
        script: apt::POLICY,
        read: |output, around| Ok(apt::packages(output, around)),
    },
    HostProbe { name: "reboot", script: apt::REBOOT, read: |output, around| Ok(apt::reboot(output, around)) },
    HostProbe {
        name: "apt_sources",
        script: apt::SOURCES,
        read: |output, around| Ok(apt::sources(output, around)),
    },
    HostProbe { name: "time", script: other::TIME, read: |output, around| Ok(other::time(output, around)) },
    HostProbe {
        name: "backups",
        script: other::BACKUPS,
        read: |output, around| Ok(other::backups(output, around)),
    },
    HostProbe { name: "tls", script: other::TLS, read: |output, around| Ok(other::tls(output, around)) },
];

/// The probe of that name.
pub fn host(name: &str) -> Option<&'static HostProbe> {
    HOST.iter().find(|probe| probe.name == name)
}

impl HostProbe {
    /// The name of the first probe that has the same script: it need run once only.
    pub fn source(&self) -> &'static str {
        HOST.iter().find(|probe| probe.script == self.script).map_or(self.name, |probe| probe.name)
    }

    /// What the script's output is evidence of.
    ///
    /// # Errors
    /// Nothing can be known: the script says why.
    pub fn evidence(&self, output: &str, around: &Around) -> Result<Value, String> {
        if let Some(why) = output.lines().find_map(|line| line.strip_prefix('!')) {
            return Err(why.trim().to_owned());
        }
        (self.read)(output, around).map(Value::from)
    }
}
