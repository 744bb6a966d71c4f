//! Facts: what a host says about itself, under the names that Ansible's `setup` gives it.
//!
//! Everything is read from `/proc`, `/sys`, `/etc` and the kernel's routing socket, so that gathering costs
//! milliseconds and needs no programs. Facts come in [`Family`]s, so that a play that mentions only
//! `ansible_default_ipv4` pays for the network and for nothing else.

mod date_time;
mod devices;
mod distribution;
mod hardware;
mod local;
mod misc;
mod mounts;
mod netlink;
mod network;
mod platform;
mod subset;
mod virt;

use std::path::Path;

use crate::{Failure, Host, Map};

pub use subset::families_of;

/// Where a host keeps facts of its own (`ansible_local`).
pub const FACT_PATH: &str = "/etc/ansible/facts.d";

/// Facts that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Family {
    Platform,
    Fqdn,
    Distribution,
    Lsb,
    Selinux,
    Apparmor,
    Chroot,
    Fips,
    Caps,
    PkgMgr,
    ServiceMgr,
    Cmdline,
    DateTime,
    Env,
    Loadavg,
    SshKeys,
    User,
    Systemd,
    Virtual,
    Cpu,
    Memory,
    Dmi,
    Devices,
    Uptime,
    Lvm,
    Mounts,
    Dns,
    FibreChannel,
    Network,
    Iscsi,
    Nvme,
    Local,
}

type Reader = fn(&mut Map, &Host, &Path) -> Result<(), Failure>;

/// One row per family: how it is read and which variables it yields. A name that ends in `*` is a prefix.
static FAMILIES: &[(Family, Reader, &[&str])] = &[
    (
        Family::Platform,
        |map, _, _| Ok(platform::platform(map)),
        &[
            "system",
            "kernel",
            "kernel_version",
            "machine",
            "architecture",
            "userspace_bits",
            "userspace_architecture",
            "machine_id",
            "nodename",
            "hostname",
        ],
    ),
    (Family::Fqdn, |map, host, _| Ok(platform::fqdn(map, host)), &["fqdn", "domain"]),
    (
        Family::Distribution,
        |map, _, _| Ok(distribution::distribution(map)),
        &["distribution", "distribution_*", "os_family"],
    ),
    (Family::Lsb, |map, _, _| Ok(distribution::lsb(map)), &["lsb"]),
    (Family::Selinux, |map, _, _| Ok(misc::selinux(map)), &["selinux", "selinux_python_present"]),
    (Family::Apparmor, |map, _, _| Ok(misc::apparmor(map)), &["apparmor"]),
    (Family::Chroot, |map, _, _| Ok(misc::chroot(map)), &["is_chroot"]),
    (Family::Fips, |map, _, _| Ok(misc::fips(map)), &["fips"]),
    (Family::Caps, |map, _, _| Ok(misc::caps(map)), &["system_capabilities", "system_capabilities_enforced"]),
    (Family::PkgMgr, |map, _, _| Ok(misc::pkg_mgr(map)), &["pkg_mgr"]),
    (Family::ServiceMgr, |map, _, _| Ok(misc::service_mgr(map)), &["service_mgr"]),
    (Family::Cmdline, |map, _, _| Ok(misc::cmdline(map)), &["cmdline", "proc_cmdline"]),
    (Family::DateTime, |map, _, _| Ok(date_time::date_time(map)), &["date_time"]),
    (Family::Env, |map, _, _| Ok(misc::env(map)), &["env"]),
    (Family::Loadavg, |map, _, _| Ok(misc::loadavg(map)), &["loadavg"]),
    (Family::SshKeys, |map, _, _| Ok(misc::ssh_keys(map)), &["ssh_host_key_*", "ssh_host_pub_keys"]),
    (
        Family::User,
        |map, _, _| Ok(misc::user(map)),
        &[
            "user_id",
            "user_uid",
            "user_gid",
            "user_gecos",
            "user_dir",
            "user_shell",
            "real_user_id",
            "effective_user_id",
            "real_group_id",
            "effective_group_id",
        ],
    ),
    (Family::Systemd, |map, host, _| Ok(misc::systemd(map, host)), &["systemd"]),
    (Family::Virtual, |map, _, _| Ok(virt::virtualization(map)), &["virtualization_*"]),
    (Family::Cpu, |map, _, _| Ok(hardware::cpu(map)), &["processor", "processor_*", "flags"]),
    (
        Family::Memory,
        |map, _, _| Ok(hardware::memory(map)),
        &["memory_mb", "memtotal_mb", "memfree_mb", "swaptotal_mb", "swapfree_mb"],
    ),
    (
        Family::Dmi,
        |map, _, _| Ok(hardware::dmi(map)),
        &["bios_*", "board_*", "chassis_*", "form_factor", "product_*", "system_vendor"],
    ),
    (Family::Devices, |map, _, _| Ok(devices::devices(map)), &["devices", "device_links"]),
    (Family::Uptime, |map, _, _| Ok(hardware::uptime(map)), &["uptime_seconds"]),
    (Family::Lvm, |map, host, _| hardware::lvm(map, host), &["lvm"]),
    (Family::Mounts, |map, _, _| Ok(mounts::mounts(map)), &["mounts"]),
    (Family::Dns, |map, _, _| Ok(misc::dns(map)), &["dns"]),
    (Family::FibreChannel, |map, _, _| Ok(misc::fibre_channel(map)), &["fibre_channel_wwn"]),
    (
        Family::Network,
        |map, _, _| Ok(network::network(map)),
        &[
            "interfaces",
            "default_ipv4",
            "default_ipv6",
            "all_ipv4_addresses",
            "all_ipv6_addresses",
            "locally_reachable_ips",
        ],
    ),
    (Family::Iscsi, |map, _, _| Ok(misc::iscsi(map)), &["iscsi_iqn"]),
    (Family::Nvme, |map, _, _| Ok(misc::nvme(map)), &["hostnqn"]),
    (Family::Local, local::local, &["local"]),
];

/// All families, in the order in which they are gathered.
pub fn all() -> impl Iterator<Item = Family> {
    FAMILIES.iter().map(|(family, ..)| *family)
}

/// Gathers facts, named without the `ansible_` prefix.
///
/// `filter` holds shell patterns over names, with or without prefix; empty for all.
///
/// # Errors
/// A program that a family cannot do without (LVM's) cannot be run. What a host does not have is simply absent.
pub fn gather(families: &[Family], filter: &[String], fact_path: &Path, host: &Host) -> Result<Map, Failure> {
    let mut facts = Map::new();
    for (_, read, _) in FAMILIES.iter().filter(|(family, ..)| families.contains(family)) {
        read(&mut facts, host, fact_path)?;
    }
    let patterns: Vec<&str> = filter
        .iter()
        .map(|pattern| pattern.strip_prefix("ansible_").unwrap_or(pattern))
        .filter(|pattern| !pattern.is_empty())
        .collect();
    if !patterns.is_empty() {
        facts.retain(|name, _| patterns.iter().any(|pattern| glob(pattern.as_bytes(), name.as_bytes())));
    }
    Ok(facts)
}

/// The family that yields a variable (`ansible_default_ipv4`, or `mounts` of `ansible_facts`), if any does.
///
/// A name that no family declares may still be that of an interface (`ansible_eth0`, `ansible_br_lan`): those belong to
/// [`Family::Network`], but only if the name looks like an interface's, as play variables begin with `ansible_` too.
pub fn families_for(variable: &str) -> Option<Family> {
    let name = variable.strip_prefix("ansible_").unwrap_or(variable);
    let named = FAMILIES.iter().find(|(_, _, names)| {
        names.iter().any(|known| known.strip_suffix('*').map_or(*known == name, |p| name.starts_with(p)))
    });
    if let Some((family, ..)) = named {
        return Some(*family);
    }
    const DEVICES: [&str; 17] = [
        "eth", "en", "wl", "ww", "br", "bond", "docker", "veth", "vlan", "tun", "tap", "wg", "ppp", "dummy",
        "virbr", "ib", "host",
    ];
    let device = name == "lo" || DEVICES.iter().any(|prefix| name.starts_with(prefix));
    (device && name.len() <= 16).then_some(Family::Network)
}

/// Shell pattern match (`*`, `?`, `[...]`), as Python's fnmatch.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| text.get(skip..).is_some_and(|t| glob(rest, t))),
        Some((b'?', rest)) => text.split_first().is_some_and(|(_, tail)| glob(rest, tail)),
        Some((b'[', rest)) if rest.iter().skip(1).any(|b| *b == b']') => {
            let Some((first, tail)) = text.split_first() else { return false };
            let end = rest.iter().skip(1).position(|b| *b == b']').map_or(0, |at| at + 1);
            let (set, after) = rest.split_at(end);
            let (negated, set) = set.strip_prefix(b"!").map_or((false, set), |set| (true, set));
            let within = set.contains(first)
                || set.windows(3).any(|w| matches!(w, [low, b'-', high] if low <= first && first <= high));
            within != negated && glob(after.get(1..).unwrap_or_default(), tail)
        }
        Some((byte, rest)) => {
            text.split_first().is_some_and(|(first, tail)| first == byte && glob(rest, tail))
        }
    }
}

/// A small text file, trimmed; nothing if it is missing, unreadable or empty.
pub(crate) fn text(path: impl AsRef<Path>) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The names in a directory, in the order of the directory; none if it cannot be read.
pub(crate) fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The program's path, if it is where Debian keeps programs.
pub(crate) fn program(name: &str) -> Option<std::path::PathBuf> {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests;
