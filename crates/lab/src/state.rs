//! What a lab remembers of itself, as JSON in its directory.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::Range;
use crate::store::write_file;

/// A Debian release that a host can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Debian 12.
    #[default]
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Suite {
    /// All of them, oldest first.
    pub const ALL: [Self; 2] = [Self::Bookworm, Self::Trixie];

    /// Its code name, as in a sources list.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

impl std::fmt::Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Suite {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "bookworm" | "12" => Ok(Self::Bookworm),
            "trixie" | "13" => Ok(Self::Trixie),
            _ => Err(Error::input(
                format!("`{}` is not a suite that a lab can boot", text.escape_debug()),
                "use bookworm or trixie",
            )),
        }
    }
}

/// One host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// Its number, from 1.
    pub number: usize,
    /// Its address on the lab's bridge.
    pub address: Ipv4Addr,
    /// The release it runs.
    pub suite: Suite,
    /// The hash that names its base system.
    pub base: String,
    /// Whether it runs sshd without systemd.
    pub bare: bool,
    /// Packages in its base system beyond the usual ones.
    pub packages: Vec<String>,
    /// The network namespace, which is also the machine's name.
    pub namespace: String,
}

/// A TCP proxy in front of a host that holds every byte back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayState {
    /// The host behind it.
    pub host: String,
    /// Where it listens, in the controller's namespace.
    pub listen: SocketAddr,
    /// The round trip it adds, in milliseconds.
    pub round_trip_ms: u64,
}

/// One lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Which address range it has: the third byte.
    pub range: u8,
    /// The controller's network namespace.
    pub controller: String,
    /// Its hosts by name.
    pub hosts: BTreeMap<String, HostState>,
    /// Its delaying proxies.
    #[serde(default)]
    pub delays: Vec<DelayState>,
    /// Whether a WireGuard gateway stands between the controller and the hosts.
    #[serde(default)]
    pub gateway: bool,
}

impl State {
    /// The namespace of the hosts' bridge: the gateway's, if there is one.
    pub fn bridge(&self) -> String {
        if self.gateway { format!("{}.gw", self.controller) } else { self.controller.clone() }
    }

    pub(crate) fn range(&self) -> Range {
        Range(self.range)
    }

    /// The hosts in the order of their numbers: `h2` before `h10`.
    pub fn in_order(&self) -> Vec<(&String, &HostState)> {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_by_key(|(_, host)| host.number);
        hosts
    }

    /// Reads it; `None` if there is no such file or an `up` was killed before it was written.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(Error::file("read", path)(err)),
        };
        serde_json::from_str(&text).map(Some).map_err(|err| Error::Machine {
            what: format!("{} is not a lab's state: {err}", path.display()),
            hint: "remove the lab with `debark lab down --name NAME`: that does not need the file".into(),
        })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|err| Error::Machine {
            what: format!("{} cannot be written: {err}", path.display()),
            hint: "report this".into(),
        })?;
        write_file(path, &(text + "\n"))
    }
}

/// What the supervisor of a host says about it, in `boot.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// How often it was booted, reboots included.
    pub count: u32,
    /// The supervisor.
    pub supervisor: Option<crate::process::Process>,
    /// The host's first process.
    pub leader: Option<crate::process::Process>,
    /// Whether it has booted to the end and its sshd answers.
    pub ready: bool,
}

impl Boot {
    /// Reads it; a missing or half-written file is a host that is not up.
    pub(crate) fn read(path: &Path) -> Self {
        std::fs::read_to_string(path)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        write_file(path, &serde_json::to_string(self).unwrap_or_default())
    }

    /// Whether the host is up and watched.
    pub(crate) fn is_up(&self) -> bool {
        let alive = |process: Option<crate::process::Process>| process.is_some_and(|p| p.is_alive());
        self.ready && alive(self.supervisor) && alive(self.leader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let host = |number: usize| HostState {
            number,
            address: Range(4).host(number),
            suite: Suite::Trixie,
            base: "abc".into(),
            bare: false,
            packages: vec!["python3".into()],
            namespace: format!("debark-x.h{number}"),
        };
        State {
            name: "x".into(),
            range: 4,
            controller: "debark-x".into(),
            hosts: [1, 2, 10].into_iter().map(|n| (format!("h{n}"), host(n))).collect(),
            delays: Vec::new(),
            gateway: false,
        }
    }

    #[test]
    fn the_state_survives_its_file() {
        let path = std::env::temp_dir().join(format!("debark-lab-state-{}.json", std::process::id()));
        state().write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), Some(state()));
        std::fs::write(&path, "{\"name\":").unwrap();
        let err = State::read(&path).unwrap_err();
        assert!(err.hint().unwrap().contains("lab down"), "{err}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), None);
    }

    #[test]
    fn hosts_come_in_the_order_of_their_numbers() {
        let state = state();
        let names: Vec<_> = state.in_order().into_iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["h1", "h2", "h10"]);
    }

    #[test]
    fn suites_have_names_and_numbers() {
        assert_eq!("13".parse::<Suite>().unwrap(), Suite::Trixie);
        assert!("sid".parse::<Suite>().is_err());
    }

    #[test]
    fn a_host_whose_processes_are_gone_is_not_up() {
        let gone = crate::process::Process { pid: 1, start: 1 };
        let here = crate::process::Process::of(std::process::id()).unwrap();
        let boot = |leader| Boot { count: 1, supervisor: Some(here), leader: Some(leader), ready: true };
        assert!(boot(here).is_up());
        assert!(!boot(gone).is_up());
    }
}
