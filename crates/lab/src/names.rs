//! Every name and address that a lab uses, computed from its name, so that `down` finds all of it even when the
//! lab's own files are lost.

use std::net::Ipv4Addr;

use crate::error::{Error, Result};

/// The port on the bridge where hosts find the caching proxy of the lab.
pub const PROXY_PORT: u16 = 3142;
/// The most hosts that one lab holds: a /24 less the bridge and some room.
pub const MAX_HOSTS: usize = 240;
const FIRST_HOST: u8 = 10;
/// The gateway, where a host's name would be.
const GATEWAY: &str = "gw";
const MAX_NAME: usize = 20;

/// Checks a lab's name: 1 to 20 of `a-z 0-9 -`, a letter first, because it becomes part of machine names (64
/// characters at most) and paths.
pub fn check_lab(name: &str) -> Result<()> {
    let ok = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if ok {
        return Ok(());
    }
    Err(Error::input(
        format!("`{}` cannot be the name of a lab", name.escape_debug()),
        format!("use a letter, then letters, digits and `-`, all lower case, at most {MAX_NAME}"),
    ))
}

/// The name of the host with this number: `h1`, `h2`, ...
pub fn host_name(number: usize) -> String {
    format!("h{number}")
}

/// The number of a host's name, if it is one that a lab could have.
pub fn host_number(name: &str) -> Option<usize> {
    let number: usize = name.strip_prefix('h')?.parse().ok()?;
    ((1..=MAX_HOSTS).contains(&number) && host_name(number) == name).then_some(number)
}

/// The kernel-side names of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
    lab: String,
}

impl Names {
    /// `prefix` tells labs of different state directories apart.
    pub fn new(prefix: &str, lab: &str) -> Self {
        Self { prefix: prefix.to_owned(), lab: lab.to_owned() }
    }

    /// The network namespace where the controller runs.
    pub fn controller(&self) -> String {
        format!("{}-{}", self.prefix, self.lab)
    }

    /// The network namespace and machine name of a host. The dot keeps it apart from every lab's own name.
    pub fn host(&self, host: &str) -> String {
        format!("{}-{}.{host}", self.prefix, self.lab)
    }

    /// The network namespace of the gateway.
    pub fn gateway(&self) -> String {
        format!("{}.{GATEWAY}", self.controller())
    }

    /// The gateway's WireGuard interface, whose name is the machine's business: wireguard-go has one directory of sockets
    /// for all namespaces. FNV-1a keeps it below the 15 characters of an interface's name.
    pub fn tunnel(&self) -> String {
        let hash = self.controller().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("dbwg{:08x}", hash & 0xffff_ffff)
    }

    /// Whether a network namespace or machine of this name belongs to this lab.
    pub fn owns(&self, name: &str) -> bool {
        name == self.controller()
            || name
                .strip_prefix(&self.controller())
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|host| host == GATEWAY || host_number(host).is_some())
    }

    /// The lab's control group, below the root of a hierarchy.
    pub fn cgroup(&self) -> String {
        format!("{}/{}", self.prefix, self.lab)
    }

    /// The domain of its hosts.
    pub fn domain(&self) -> String {
        format!("{}.lab", self.lab)
    }
}

/// The address range of a lab: `10.213.INDEX.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range(pub u8);

impl Range {
    /// The bridge: the hosts' default gateway, and the controller's own address.
    pub fn bridge(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.0, 1)
    }

    /// The address of the host with this number, which is between 1 and [`MAX_HOSTS`].
    pub fn host(self, number: usize) -> Ipv4Addr {
        let last = u8::try_from(number).unwrap_or(u8::MAX).saturating_add(FIRST_HOST);
        Ipv4Addr::new(10, 213, self.0, last)
    }

    /// The gateway on the link between it and the controller.
    pub fn gateway_outside(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.0, 1)
    }

    /// The controller on that link.
    pub fn controller_outside(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 214, self.0, 2)
    }

    /// The gateway inside the tunnel.
    pub fn gateway_inside(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 215, self.0, 1)
    }

    /// The controller inside the tunnel.
    pub fn controller_inside(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 215, self.0, 2)
    }

    /// The smallest range that is not taken.
    pub fn free(taken: &[u8]) -> Result<Self> {
        (0..=u8::MAX).find(|index| !taken.contains(index)).map(Self).ok_or_else(|| {
            Error::input(
                "all 256 address ranges are taken by labs",
                "remove some with `debark lab down --name X`",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        for name in ["", "..", "a/b", "-x", "Lab", "a b", "_proxy", "1a", "abcdefghijklmnopqrstu"] {
            assert!(check_lab(name).is_err(), "{name}");
        }
        for name in ["a", "default", "ci-2", "abcdefghijklmnopqrst"] {
            assert!(check_lab(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn host_names_and_numbers_agree() {
        assert_eq!(host_number("h12"), Some(12));
        for name in ["h0", "h01", "h241", "x1", "h", "h1x", "h+1"] {
            assert_eq!(host_number(name), None, "{name}");
        }
    }

    #[test]
    fn a_lab_owns_its_own_namespaces_only() {
        let names = Names::new("debark", "a");
        assert!(names.owns("debark-a") && names.owns("debark-a.gw") && names.owns("debark-a.h3"));
        for other in ["debark-a-b", "debark-ab", "debark-a-b.h1", "debark-a.x", "debark"] {
            assert!(!names.owns(other), "{other}");
        }
    }

    #[test]
    fn ranges_do_not_overlap_and_fill_holes() {
        assert_eq!(Range::free(&[0, 1, 3]).unwrap(), Range(2));
        assert_eq!(Range(2).host(1), Ipv4Addr::new(10, 213, 2, 11));
        assert_eq!(Range(2).host(MAX_HOSTS), Ipv4Addr::new(10, 213, 2, 250));
        assert!(Range::free(&(0..=255).collect::<Vec<u8>>()).is_err());
    }
}
