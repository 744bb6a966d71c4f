//! The many small families.

use std::path::Path;

use super::{names, program, text};
use crate::accounts;
use crate::exec::Cmd;
use crate::{Host, Map, Value, map};

pub(super) fn selinux(map: &mut Map) {
    let mode = |enforce: &str| if enforce == "1" { "enforcing" } else { "permissive" };
    let facts = match text("/sys/fs/selinux/enforce") {
        None => map! { "status" => "disabled" },
        Some(enforce) => {
            let config = text("/etc/selinux/config").unwrap_or_default();
            let setting = |key: &str| {
                let line = config.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
                line.map_or("unknown", str::trim).to_owned()
            };
            let version = text("/sys/fs/selinux/policyvers").and_then(|v| v.parse::<i64>().ok());
            map! {
                "status" => "enabled", "policyvers" => version, "config_mode" => setting("SELINUX"),
                "mode" => mode(&enforce), "type" => setting("SELINUXTYPE"),
            }
        }
    };
    map.insert("selinux_python_present".into(), true.into());
    map.insert("selinux".into(), facts.into());
}

pub(super) fn apparmor(map: &mut Map) {
    let enabled = Path::new("/sys/kernel/security/apparmor").exists();
    let status = if enabled { "enabled" } else { "disabled" };
    map.insert("apparmor".into(), map! { "status" => status }.into());
}

pub(super) fn chroot(map: &mut Map) {
    use std::os::unix::fs::MetadataExt;
    let place = |path: &str| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    let named = std::env::var_os("debian_chroot").is_some_and(|name| !name.is_empty());
    let inside = match (place("/"), place("/proc/1/root/.")) {
        (own, Some(first)) => own != Some(first),
        // Without root's rights: a file system's root is inode 2, or 256 on btrfs and 128 on xfs.
        (Some((_, inode)), None) => ![2, 128, 256].contains(&inode),
        (None, None) => false,
    };
    map.insert("is_chroot".into(), (named || inside).into());
}

pub(super) fn fips(map: &mut Map) {
    map.insert("fips".into(), (text("/proc/sys/crypto/fips_enabled").as_deref() == Some("1")).into());
}

/// Names by bit, capabilities(7).
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Ansible reads `capsh --print` and has `N/A` without it; its list is the tail of capsh's text, this one holds names.
pub(super) fn caps(map: &mut Map) {
    let (mut enforced, mut list): (Value, Value) = ("N/A".into(), "N/A".into());
    let status = text("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|l| u64::from_str_radix(l.strip_prefix("CapEff:")?.trim(), 16).ok());
    if let (Some(bits), true) = (bits, program("capsh").is_some()) {
        let last: u32 = text("/proc/sys/kernel/cap_last_cap").and_then(|n| n.parse().ok()).unwrap_or(40);
        let full = 1u64.checked_shl(last + 1).map_or(u64::MAX, |bit| bit - 1);
        let own = CAPABILITIES.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
        enforced = if bits == full { "False" } else { "True" }.into();
        list = if bits == full {
            Value::from(Vec::new())
        } else {
            Value::list(own.map(|(_, name)| format!("cap_{name}")))
        };
    }
    map.insert("system_capabilities_enforced".into(), enforced);
    map.insert("system_capabilities".into(), list);
}

pub(super) fn pkg_mgr(map: &mut Map) {
    let found = Path::new("/usr/bin/apt-get").exists();
    map.insert("pkg_mgr".into(), if found { "apt" } else { "unknown" }.into());
}

pub(super) fn service_mgr(map: &mut Map) {
    let first = text("/proc/1/comm").map(|name| match name.as_str() {
        "procd" => "openwrt_init".to_owned(),
        "runit-init" => "runit".into(),
        "svscan" => "svc".into(),
        "openrc-init" => "openrc".into(),
        _ => name,
    });
    // `init` may be anything, and a shell is the first process of a container.
    let named = first.filter(|name| name != "init" && !name.ends_with("sh"));
    let manager = named.unwrap_or_else(|| {
        let has = |path: &str| Path::new(path).exists();
        let init = std::fs::read_link("/sbin/init").unwrap_or_default();
        if program("systemctl").is_some() && (has("/run/systemd/system/") || init.ends_with("systemd")) {
            "systemd"
        } else if has("/sbin/openrc") {
            "openrc"
        } else if has("/etc/init.d/") {
            "sysvinit"
        } else {
            "service"
        }
        .into()
    });
    map.insert("service_mgr".into(), manager.into());
}

pub(super) fn cmdline(map: &mut Map) {
    let Some(line) = text("/proc/cmdline") else { return };
    let (mut last, mut all) = (Map::new(), Map::new());
    for word in words(&line) {
        let (key, value) =
            word.split_once('=').map_or((word.as_str(), Value::Bool(true)), |(k, v)| (k, v.into()));
        last.insert(key.into(), value.clone());
        let together = match (all.get(key), &value) {
            (None, _) | (_, Value::Bool(_)) => value,
            (Some(Value::List(known)), _) => Value::list(known.iter().cloned().chain([value])),
            (Some(known), _) => Value::list([known.clone(), value]),
        };
        all.insert(key.into(), together);
    }
    map.insert("cmdline".into(), last.into());
    map.insert("proc_cmdline".into(), all.into());
}

/// Splits at blanks outside quotes; quotes stay, as Python's `shlex.split(posix=False)` leaves them.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        if quote.is_none() && c.is_whitespace() {
            words.push(String::new());
            continue;
        }
        match quote {
            Some(open) if open == c => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            _ => {}
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

pub(super) fn env(map: &mut Map) {
    let variables = std::env::vars_os()
        .map(|(k, v)| (k.to_string_lossy().into_owned().into(), v.to_string_lossy().into_owned().into()));
    map.insert("env".into(), variables.collect::<Map>().into());
}

pub(super) fn loadavg(map: &mut Map) {
    let loads = rustix::system::sysinfo().loads;
    let [one, five, fifteen] = loads.map(|load| load as f64 / 65536.0);
    map.insert("loadavg".into(), map! { "1m" => one, "5m" => five, "15m" => fifteen }.into());
}

pub(super) fn ssh_keys(map: &mut Map) {
    for dir in ["/etc/ssh", "/etc/openssh", "/etc"] {
        for algorithm in ["dsa", "rsa", "ecdsa", "ed25519"] {
            let fact = format!("ssh_host_key_{algorithm}_public");
            if map.contains_key(fact.as_str()) {
                return;
            }
            let Some(line) = text(Path::new(dir).join(format!("ssh_host_{algorithm}_key.pub"))) else {
                continue;
            };
            let mut words = line.split_whitespace();
            if let (Some(kind), Some(key)) = (words.next(), words.next()) {
                map.insert(fact.as_str().into(), key.into());
                map.insert(format!("{fact}_keytype").into(), kind.into());
            }
        }
    }
}

pub(super) fn user(map: &mut Map) {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // As Python's getpass.getuser: who logged in, or whom sudo made us.
    let named = ["LOGNAME", "USER", "LNAME", "USERNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let own = || accounts::user_by_id(uid);
    let user = named.as_deref().and_then(accounts::user).or_else(own);
    let name =
        named.or_else(|| user.as_ref().map(|user| user.name.clone())).unwrap_or_else(|| uid.to_string());
    map.insert("user_id".into(), name.into());
    if let Some(user) = user {
        map.insert("user_uid".into(), user.uid.into());
        map.insert("user_gid".into(), user.gid.into());
        map.insert("user_gecos".into(), user.gecos.into());
        map.insert("user_dir".into(), user.home.to_string_lossy().into_owned().into());
        map.insert("user_shell".into(), user.shell.into());
    }
    map.insert("real_user_id".into(), uid.into());
    map.insert("effective_user_id".into(), rustix::process::geteuid().as_raw().into());
    map.insert("real_group_id".into(), gid.into());
    map.insert("effective_group_id".into(), gid.into());
}

/// Version and features are in systemd's shared library, under its version's name; asking `systemctl` costs more.
pub(super) fn systemd(map: &mut Map, host: &Host) {
    if program("systemctl").is_none() || !Path::new("/run/systemd/system").exists() {
        return;
    }
    let arch = rustix::system::uname().machine().to_string_lossy().into_owned();
    let dirs =
        [format!("/usr/lib/{arch}-linux-gnu/systemd"), "/usr/lib/systemd".into(), "/lib/systemd".into()];
    let library = dirs.iter().flat_map(|dir| names(dir).into_iter().map(move |name| (dir, name))).find_map(
        |(dir, name)| {
            let version = name
                .strip_prefix("libsystemd-shared-")?
                .strip_suffix(".so")?
                .split(['.', '~', '-'])
                .next()?;
            let bytes = std::fs::read(Path::new(dir).join(&name)).ok()?;
            Some((version.parse::<i64>().ok()?, features_in(&bytes)?))
        },
    );
    let found = library.or_else(|| {
        let out = host.exec(&Cmd::new("systemctl").arg("--version")).ok()?.out();
        Some((out.split(' ').nth(1)?.parse().ok()?, out.lines().nth(1)?.to_owned()))
    });
    if let Some((version, features)) = found {
        map.insert("systemd".into(), map! { "version" => version, "features" => features }.into());
    }
}

fn features_in(library: &[u8]) -> Option<String> {
    let start = library.windows(6).position(|w| matches!(w, [0, b'+' | b'-', b'P', b'A', b'M', b' ']))? + 1;
    let rest = library.get(start..)?;
    let end = rest.iter().take(1024).position(|b| *b == 0)?;
    String::from_utf8(rest.get(..end)?.to_vec()).ok()
}

pub(super) fn dns(map: &mut Map) {
    map.insert("dns".into(), resolv_conf(&text("/etc/resolv.conf").unwrap_or_default()).into());
}

fn resolv_conf(content: &str) -> Map {
    let mut dns = Map::new();
    for line in content.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let known = dns.get("nameservers").and_then(Value::as_list).unwrap_or_default().to_vec();
                let more = words.map(Value::from);
                dns.insert("nameservers".into(), Value::list(known.into_iter().chain(more)));
            }
            Some("domain") => {
                if let Some(domain) = words.next() {
                    dns.insert("domain".into(), domain.into());
                }
            }
            Some(list @ ("search" | "sortlist")) => {
                dns.insert(list.into(), Value::list(words));
            }
            Some("options") => {
                let options = words.map(|word| match word.split_once(':') {
                    Some((name, value)) if !value.is_empty() => (name.into(), value.into()),
                    _ => (word.trim_end_matches(':').into(), true.into()),
                });
                dns.insert("options".into(), options.collect::<Map>().into());
            }
            _ => {}
        }
    }
    dns
}

pub(super) fn fibre_channel(map: &mut Map) {
    let ports = names("/sys/class/fc_host").into_iter().filter_map(|host| {
        let name = text(format!("/sys/class/fc_host/{host}/port_name"))?;
        name.get(2..).map(str::to_owned)
    });
    map.insert("fibre_channel_wwn".into(), Value::list(ports));
}

pub(super) fn iscsi(map: &mut Map) {
    let content = text("/etc/iscsi/initiatorname.iscsi").unwrap_or_default();
    let name = content.lines().find_map(|line| line.strip_prefix("InitiatorName="));
    map.insert("iscsi_iqn".into(), name.unwrap_or_default().into());
}

pub(super) fn nvme(map: &mut Map) {
    let content = text("/etc/nvme/hostnqn").unwrap_or_default();
    let name = content.lines().find(|line| line.starts_with("nqn."));
    map.insert("hostnqn".into(), name.unwrap_or_default().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_resolv_conf() {
        let dns = resolv_conf(
            "# x\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch a.example b.example\noptions ndots:2 rotate\n",
        );
        assert_eq!(dns["nameservers"], Value::list(["192.0.2.1", "192.0.2.2"]));
        assert_eq!(dns["options"].get("ndots"), Some(&"2".into()));
        assert_eq!(dns["options"].get("rotate"), Some(&true.into()));
    }

    #[test]
    fn finds_features_in_a_library() {
        assert_eq!(
            features_in(b"xx\0+PAM +AUDIT default-hierarchy=unified\0y").unwrap(),
            "+PAM +AUDIT default-hierarchy=unified"
        );
        assert_eq!(features_in(b"nothing"), None);
    }

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words("a=1  b=\"x y\" c"), ["a=1", "b=\"x y\"", "c"]);
    }
}
