//! Facts: what a host says about itself, under the names that Ansible's `setup` gives it.
//!
//! Everything is read from `/proc`, `/sys`, `/etc` and the kernel's routing socket, so that gathering costs
//! milliseconds and needs no programs. Facts come in [`Family`]s, so that a play that mentions only
//! `ansible_default_ipv4` pays for the network and for nothing else.

pub(crate) mod date_time;
mod devices;
mod distribution;
mod hardware;
mod local;
mod misc;
pub(crate) mod mounts;
mod netlink;
mod network;
mod platform;
mod python;
mod subset;
mod virt;

use std::path::Path;
use std::time::Duration;

use crate::{Failure, Host, Map};

pub use subset::families_of;

/// Where a host keeps facts of its own (`ansible_local`).
pub const FACT_PATH: &str = "/etc/ansible/facts.d";

/// How long a program in [`FACT_PATH`] may take if nothing else is said: longer than Ansible's ten seconds for one kind of
/// facts, which do not hold for these programs there.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// `gather_timeout` in seconds as a time; at least one second, at most a day.
pub fn patience(seconds: Option<i64>) -> Duration {
    seconds.map_or(TIMEOUT, |seconds| Duration::from_secs(seconds.clamp(1, 86_400).unsigned_abs()))
}

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
    Python,
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

enum Reader {
    /// Reads files.
    Reads(fn(&mut Map)),
    /// May have to run a program, and does without its answer.
    Asks(fn(&mut Map, &Host)),
    /// Cannot do without the program.
    Fails(fn(&mut Map, &Host) -> Result<(), Failure>),
    /// Reads the given directory.
    Local(fn(&mut Map, &Host, &Path, Duration)),
}

/// One row per family: how it is read and which variables it yields. A name that ends in `*` is a prefix.
static FAMILIES: &[(Family, Reader, &[&str])] = &[
    (
        Family::Platform,
        Reader::Reads(platform::platform),
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
    (Family::Fqdn, Reader::Asks(platform::fqdn), &["fqdn", "domain"]),
    (
        Family::Distribution,
        Reader::Reads(distribution::distribution),
        &["distribution", "distribution_*", "os_family"],
    ),
    (Family::Lsb, Reader::Reads(distribution::lsb), &["lsb"]),
    (Family::Selinux, Reader::Reads(misc::selinux), &["selinux", "selinux_python_present"]),
    (Family::Apparmor, Reader::Reads(misc::apparmor), &["apparmor"]),
    (Family::Chroot, Reader::Reads(misc::chroot), &["is_chroot"]),
    (Family::Fips, Reader::Reads(misc::fips), &["fips"]),
    (Family::Caps, Reader::Reads(misc::caps), &["system_capabilities", "system_capabilities_enforced"]),
    (Family::PkgMgr, Reader::Reads(misc::pkg_mgr), &["pkg_mgr"]),
    (Family::ServiceMgr, Reader::Reads(misc::service_mgr), &["service_mgr"]),
    (Family::Python, Reader::Asks(python::python), &["python", "python_version"]),
    (Family::Cmdline, Reader::Reads(misc::cmdline), &["cmdline", "proc_cmdline"]),
    (Family::DateTime, Reader::Reads(date_time::date_time), &["date_time"]),
    (Family::Env, Reader::Reads(misc::env), &["env"]),
    (Family::Loadavg, Reader::Reads(misc::loadavg), &["loadavg"]),
    (Family::SshKeys, Reader::Reads(misc::ssh_keys), &["ssh_host_key_*", "ssh_host_pub_keys"]),
    (
        Family::User,
        Reader::Reads(misc::user),
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
    (Family::Systemd, Reader::Asks(misc::systemd), &["systemd"]),
    (Family::Virtual, Reader::Reads(virt::virtualization), &["virtualization_*"]),
    (Family::Cpu, Reader::Reads(hardware::cpu), &["processor", "processor_*", "flags"]),
    (
        Family::Memory,
        Reader::Reads(hardware::memory),
        &["memory_mb", "memtotal_mb", "memfree_mb", "swaptotal_mb", "swapfree_mb"],
    ),
    (
        Family::Dmi,
        Reader::Reads(hardware::dmi),
        &["bios_*", "board_*", "chassis_*", "form_factor", "product_*", "system_vendor"],
    ),
    (Family::Devices, Reader::Reads(devices::devices), &["devices", "device_links"]),
    (Family::Uptime, Reader::Reads(hardware::uptime), &["uptime_seconds"]),
    (Family::Lvm, Reader::Fails(hardware::lvm), &["lvm"]),
    (Family::Mounts, Reader::Reads(mounts::mounts), &["mounts"]),
    (Family::Dns, Reader::Reads(misc::dns), &["dns"]),
    (Family::FibreChannel, Reader::Reads(misc::fibre_channel), &["fibre_channel_wwn"]),
    (
        Family::Network,
        Reader::Reads(network::network),
        &[
            "interfaces",
            "default_ipv4",
            "default_ipv6",
            "all_ipv4_addresses",
            "all_ipv6_addresses",
            "locally_reachable_ips",
        ],
    ),
    (Family::Iscsi, Reader::Reads(misc::iscsi), &["iscsi_iqn"]),
    (Family::Nvme, Reader::Reads(misc::nvme), &["hostnqn"]),
    (Family::Local, Reader::Local(local::local), &["local"]),
];

/// All families, in the order in which they are gathered.
pub fn all() -> impl Iterator<Item = Family> {
    FAMILIES.iter().map(|(family, ..)| *family)
}

/// Gathers facts, named without the `ansible_` prefix.
///
/// `filter` holds shell patterns over names, with or without prefix; empty for all. `timeout` is how long each program in
/// `fact_path` may take.
///
/// # Errors
/// A program that a family cannot do without (LVM's) cannot be run. What a host does not have is simply absent.
pub fn gather(
    families: &[Family],
    filter: &[String],
    fact_path: &Path,
    timeout: Duration,
    host: &Host,
) -> Result<Map, Failure> {
    let mut facts = Map::new();
    for (_, read, _) in FAMILIES.iter().filter(|(family, ..)| families.contains(family)) {
        match read {
            Reader::Reads(read) => read(&mut facts),
            Reader::Asks(read) => read(&mut facts, host),
            Reader::Fails(read) => read(&mut facts, host)?,
            Reader::Local(read) => read(&mut facts, host, fact_path, timeout),
        }
    }
    let patterns: Vec<&str> = filter
        .iter()
        .map(|pattern| pattern.strip_prefix("ansible_").unwrap_or(pattern))
        .filter(|pattern| !pattern.is_empty())
        .collect();
    if !patterns.is_empty() {
        facts.retain(|name, _| patterns.iter().any(|pattern| crate::fnmatch::matches(pattern, name)));
    }
    Ok(facts)
}

/// The family that yields a variable (`ansible_default_ipv4`, `ansible_facts.mounts`, or `mounts` alone), if any does.
///
/// A name that no family declares may still be that of an interface (`ansible_eth0`, `ansible_br_lan`): those belong to
/// [`Family::Network`], but only if the name looks like an interface's, as play variables begin with `ansible_` too.
pub fn families_for(variable: &str) -> Option<Family> {
    let name = variable.strip_prefix("ansible_").unwrap_or(variable);
    let name = name.strip_prefix("facts.").unwrap_or(name);
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
