//! Kernel, architecture and names of the host.

use std::net::IpAddr;
use std::path::Path;

use super::text;
use crate::exec::Cmd;
use crate::{Host, Map};

pub(super) fn platform(map: &mut Map) {
    let uname = rustix::system::uname();
    let field = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
    let machine = field(uname.machine());
    map.insert("system".into(), field(uname.sysname()).into());
    map.insert("kernel".into(), field(uname.release()).into());
    map.insert("kernel_version".into(), field(uname.version()).into());
    map.insert("machine".into(), machine.clone().into());
    // Debian's user space is 64 bits wide wherever it has a 64-bit loader, whatever the kernel is.
    let wide = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib64/ld64.so.2"];
    let wide = wide.iter().any(|loader| Path::new(loader).exists())
        || ["/lib/ld64.so.1", "/lib/ld-linux-riscv64-lp64d.so.1"].iter().any(|l| Path::new(l).exists());
    let i386 = matches!(machine.as_bytes(), [b'i', b'3'..=b'6', b'8', b'6']);
    map.insert("architecture".into(), if i386 { "i386".into() } else { machine.clone().into() });
    map.insert("userspace_bits".into(), if wide { "64" } else { "32" }.into());
    if machine == "x86_64" || i386 {
        map.insert("userspace_architecture".into(), if wide { "x86_64" } else { "i386" }.into());
    }
    let id = text("/var/lib/dbus/machine-id").or_else(|| text("/etc/machine-id"));
    if let Some(line) = id.as_deref().and_then(|id| id.lines().next()) {
        map.insert("machine_id".into(), line.into());
    }
    let node = field(uname.nodename());
    map.insert("hostname".into(), node.split('.').next().unwrap_or_default().into());
    map.insert("nodename".into(), node.into());
}

pub(super) fn fqdn(map: &mut Map, host: &Host) {
    let uname = rustix::system::uname();
    let node = uname.nodename().to_string_lossy().into_owned();
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let names = match address_of(&hosts, &node) {
        Some(address) => names_of(&hosts, address),
        None => ask(&node, host),
    };
    let fqdn = best(&node, &names);
    map.insert("domain".into(), fqdn.split_once('.').map_or("", |(_, domain)| domain).into());
    map.insert("fqdn".into(), fqdn.into());
}

/// As Python's `socket.getfqdn`: the first of the names that has a dot, else the canonical one, else the host name.
fn best(node: &str, names: &[String]) -> String {
    names.iter().find(|name| name.contains('.')).or(names.first()).cloned().unwrap_or_else(|| node.to_owned())
}

fn entries(hosts: &str) -> impl Iterator<Item = (IpAddr, Vec<&str>)> {
    hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        Some((address, words.collect()))
    })
}

fn address_of(hosts: &str, name: &str) -> Option<IpAddr> {
    let is_named = |names: &[&str]| names.iter().any(|n| n.eq_ignore_ascii_case(name));
    entries(hosts).find(|(_, names)| is_named(names)).map(|(address, _)| address)
}

fn names_of(hosts: &str, address: IpAddr) -> Vec<String> {
    let found = entries(hosts).find(|(other, names)| *other == address && !names.is_empty());
    found.map(|(_, names)| names.into_iter().map(str::to_owned).collect()).unwrap_or_default()
}

/// The names that the resolver knows, where `/etc/hosts` is silent: the agent has no NSS of its own, `getent` has.
fn ask(node: &str, host: &Host) -> Vec<String> {
    let limit = std::time::Duration::from_secs(10);
    let lookup = |database: &str, key: &str| {
        let cmd = Cmd::new("getent").arg(database).arg("--").arg(key).timeout(limit);
        host.exec(&cmd).ok().filter(|output| output.rc == 0).map(|output| output.out())
    };
    let Some(addresses) = lookup("ahosts", node) else { return Vec::new() };
    let Some(address) = addresses.split_whitespace().next() else { return Vec::new() };
    lookup("hosts", address)
        .and_then(|line| {
            let names = line.lines().next()?.split_whitespace().skip(1);
            Some(names.map(str::to_owned).collect())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_host_as_python_does() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1 web1.example.org web1 # own\n::1 ip6-localhost\n";
        let address = address_of(hosts, "web1").unwrap();
        assert_eq!(best("web1", &names_of(hosts, address)), "web1.example.org");
        // A name on the loopback line is found by its address under that line's first name.
        let hosts = "127.0.0.1 localhost\n127.0.0.1 vm\n";
        assert_eq!(best("vm", &names_of(hosts, address_of(hosts, "vm").unwrap())), "localhost");
        assert_eq!(best("vm", &[]), "vm");
    }
}
