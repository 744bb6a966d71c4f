//! Whether the host is a guest, and of what.

use std::collections::BTreeSet;
use std::path::Path;

use super::text;
use crate::{Map, Value};

/// The first technology found names the host; all that are found are listed.
#[derive(Default)]
struct Found {
    main: Option<(String, &'static str)>,
    guest: BTreeSet<String>,
    host: BTreeSet<&'static str>,
}

impl Found {
    fn guest(&mut self, kind: &str) {
        self.guest.insert(kind.to_owned());
        self.main.get_or_insert_with(|| (kind.to_owned(), "guest"));
    }

    fn host(&mut self, kind: &'static str) {
        self.host.insert(kind);
        self.main.get_or_insert_with(|| (kind.to_owned(), "host"));
    }
}

pub(super) fn virtualization(map: &mut Map) {
    let mut found = Found::default();
    containers(&mut found);
    firmware(&mut found);
    hypervisors(&mut found);
    let (kind, role) = found.main.unwrap_or_else(|| ("NA".into(), "NA"));
    map.insert("virtualization_type".into(), kind.into());
    map.insert("virtualization_role".into(), role.into());
    map.insert("virtualization_tech_guest".into(), Value::list(found.guest));
    map.insert("virtualization_tech_host".into(), Value::list(found.host));
}

fn containers(found: &mut Found) {
    for line in text("/proc/1/cgroup").unwrap_or_default().lines() {
        let scope = |rest: &str| {
            let id = rest.trim_start_matches(|c: char| c.is_ascii_digit() || ('a'..='f').contains(&c));
            id.len() < rest.len() && id.starts_with(".scope")
        };
        let docker = line
            .split("/docker")
            .skip(1)
            .any(|r| r.starts_with('/') || r.strip_prefix('-').is_some_and(scope));
        if docker {
            found.guest("docker");
        }
        if line.contains("/lxc/") || line.contains("/machine.slice/machine-lxc") {
            found.guest("lxc");
        }
        if line.contains("/system.slice/containerd.service") {
            found.guest("containerd");
        }
    }
    for variable in text("/proc/1/environ").unwrap_or_default().split('\0') {
        if variable.contains("container=lxc") {
            found.guest("lxc");
        }
        if variable.contains("container=podman") {
            found.guest("podman");
        }
        if variable.strip_prefix("container=").is_some_and(|kind| !kind.is_empty()) {
            found.guest("container");
        }
    }
    if Path::new("/proc/vz").exists() && !Path::new("/proc/lve").exists() {
        if Path::new("/proc/bc").exists() {
            found.host("openvz");
        } else {
            found.guest("openvz");
        }
    }
    let systemd = text("/run/systemd/container");
    if let Some(kind) = &systemd {
        found.guest(kind);
    }
    if Path::new("/.dockerenv").exists() || Path::new("/.dockerinit").exists() {
        found.guest("docker");
    }
    let known = ["docker", "lxc", "podman", "openvz", "containerd"];
    if systemd.is_some() || known.iter().any(|kind| found.guest.contains(*kind)) {
        found.guest.insert("container".into());
    }
    if Path::new("/proc/xen").exists() {
        let capabilities = text("/proc/xen/capabilities").unwrap_or_default();
        if capabilities.contains("control_d") {
            found.host("xen");
        } else {
            found.main.get_or_insert_with(|| ("xen".into(), "guest"));
        }
    }
}

fn firmware(found: &mut Found) {
    let dmi = |name: &str| text(Path::new("/sys/devices/virtual/dmi/id").join(name)).unwrap_or_default();
    let (product, vendor, bios) = (dmi("product_name"), dmi("sys_vendor"), dmi("bios_vendor"));
    for kind in guests_by_firmware(&product, &vendor, &dmi("product_family"), &bios) {
        found.guest(kind);
    }
}

fn guests_by_firmware(product: &str, vendor: &str, family: &str, bios: &str) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    if ["KVM", "KVM Server", "Bochs", "AHV"].contains(&product) {
        kinds.push("kvm");
    }
    if vendor == "oVirt" {
        kinds.push("oVirt");
    }
    if vendor == "Red Hat" && family == "RHV" {
        kinds.push("RHV");
    } else if vendor == "Red Hat" && product == "RHEV Hypervisor" {
        kinds.push("RHEV");
    }
    if product.starts_with("VMware") {
        kinds.push("VMware");
    }
    if ["OpenStack Compute", "OpenStack Nova"].contains(&product) {
        kinds.push("openstack");
    }
    kinds.extend(match bios {
        "Xen" => Some("xen"),
        "innotek GmbH" => Some("virtualbox"),
        "Amazon EC2" | "DigitalOcean" | "Hetzner" => Some("kvm"),
        _ => None,
    });
    kinds.extend(match vendor {
        "QEMU" | "Amazon EC2" | "DigitalOcean" | "Google" | "Scaleway" | "Nutanix" => Some("kvm"),
        "KubeVirt" => Some("KubeVirt"),
        "Microsoft Corporation" => Some("VirtualPC"),
        "Parallels Software International Inc." => Some("parallels"),
        "OpenStack Foundation" => Some("openstack"),
        _ => None,
    });
    kinds
}

fn hypervisors(found: &mut Found) {
    for line in text("/proc/cpuinfo").unwrap_or_default().lines() {
        if line.starts_with("model name") && line.contains("QEMU Virtual CPU") {
            found.guest("kvm");
        } else if line.starts_with("vendor_id") && line.contains("User Mode Linux")
            || line.starts_with("model name") && line.contains("UML")
        {
            found.guest("uml");
        } else if line.starts_with("vendor_id") && line.contains("PowerVM Lx86") {
            found.guest("powervm_lx86");
        }
    }
    let modules = text("/proc/modules").unwrap_or_default();
    let loaded = |name: &str| modules.lines().any(|line| line.split(' ').next() == Some(name));
    if loaded("kvm") {
        found.host("kvm");
    }
    if loaded("vboxdrv") {
        found.host("virtualbox");
    }
    if loaded("virtio") {
        // Ansible lists it among hosts and calls it a guest.
        found.host.insert("kvm");
        found.main.get_or_insert_with(|| ("kvm".into(), "guest"));
    }
    if Path::new("/dev/kvm").exists() {
        found.host("kvm");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_names_the_cloud() {
        assert_eq!(guests_by_firmware("Standard PC", "QEMU", "", "SeaBIOS"), ["kvm"]);
        assert_eq!(guests_by_firmware("Droplet", "DigitalOcean", "", "DigitalOcean"), ["kvm", "kvm"]);
        assert_eq!(guests_by_firmware("VMware7,1", "VMware, Inc.", "", ""), ["VMware"]);
        assert!(guests_by_firmware("ThinkPad", "LENOVO", "", "LENOVO").is_empty());
    }

    #[test]
    fn the_first_found_names_the_host() {
        let mut found = Found::default();
        found.guest("docker");
        found.host("kvm");
        assert_eq!(found.main, Some(("docker".into(), "guest")));
        assert!(found.host.contains("kvm"));
    }
}
