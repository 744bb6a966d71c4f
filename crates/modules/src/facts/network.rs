//! Interfaces, addresses, default routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::netlink::{self, Address, Route};
use super::{names, text};
use crate::{Map, Value, map};

/// Where `ansible_default_ipv4` leads: the addresses that Ansible asks the route to.
const FAR_V4: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0x2404, 0x6800, 0x400a, 0x800, 0, 0, 0, 0x1012);

pub(super) fn network(map: &mut Map) {
    let addresses = netlink::addresses();
    let mut interfaces: indexmap::IndexMap<String, Map> = indexmap::IndexMap::new();
    let mut indices = Vec::new();
    for device in names("/sys/class/net") {
        let dir = Path::new("/sys/class/net").join(&device);
        if !dir.is_dir() {
            continue;
        }
        if let Some(index) = text(dir.join("ifindex")).and_then(|i| i.parse::<u32>().ok()) {
            indices.push((index, device.clone()));
        }
        interfaces.insert(device.clone(), interface(&device, &dir));
    }
    let name_of = |index: u32| indices.iter().find(|(i, _)| *i == index).map(|(_, name)| name.clone());
    let mut defaults = [default(netlink::route_to(FAR_V4.into())), default(netlink::route_to(FAR_V6.into()))];
    let [(v4_index, v4), (v6_index, v6)] = &mut defaults;
    for (index, default) in [(v4_index, &mut *v4), (v6_index, &mut *v6)] {
        if let Some(name) = index.and_then(name_of) {
            default.insert("interface".into(), name.into());
        }
    }
    let (mut all_v4, mut all_v6) = (Vec::new(), Vec::new());
    // Interface by interface, as Ansible lists them, rather than in the kernel's order.
    for (index, device) in &indices {
        // Ansible asks for primary addresses, then for secondary ones.
        let own =
            |secondary: bool| addresses.iter().filter(move |a| a.index == *index && a.secondary == secondary);
        for address in own(false).chain(own(true)) {
            let hardware = text(Path::new("/sys/class/net").join(device).join("address")).unwrap_or_default();
            let link = interfaces.get(device).map(|i| {
                map! {
                    "macaddress" => hardware.clone(), "mtu" => i.get("mtu").cloned().unwrap_or_default(),
                    "type" => i.get("type").cloned().unwrap_or_else(|| "unknown".into()),
                }
            });
            match address.address {
                IpAddr::V4(ip) => {
                    let entry = describe_v4(ip, address);
                    let label = address.label.as_deref().unwrap_or(device);
                    if v4.get("address").and_then(Value::as_str) == Some(&ip.to_string()) {
                        v4.extend(
                            entry
                                .iter()
                                .filter(|(k, _)| &***k != "address")
                                .map(|(k, v)| (k.clone(), v.clone())),
                        );
                        v4.extend(link.unwrap_or_default());
                        v4.insert("alias".into(), label.into());
                    }
                    if !ip.is_loopback() {
                        all_v4.push(Value::from(ip.to_string()));
                    }
                    add_v4(&mut interfaces, device, label, entry, address.secondary);
                }
                IpAddr::V6(ip) => {
                    let entry = map! {
                        "address" => ip.to_string(), "prefix" => address.prefix.to_string(),
                        "scope" => scope(address.scope),
                    };
                    if v6.get("address").and_then(Value::as_str) == Some(&ip.to_string()) {
                        v6.extend(entry.iter().skip(1).map(|(k, v)| (k.clone(), v.clone())));
                        v6.extend(link.unwrap_or_default());
                    }
                    if !ip.is_loopback() {
                        all_v6.push(Value::from(ip.to_string()));
                    }
                    if let Some(interface) = interfaces.get_mut(device) {
                        push(interface, "ipv6", entry);
                    }
                }
            }
        }
    }
    let [(_, v4), (_, v6)] = defaults;
    // Colons and dashes are hard to use in templates: `ansible_eth0_1`, as the variables are named.
    let listed = Value::list(interfaces.keys().map(|name| name.replace(':', "_")));
    for (name, interface) in interfaces {
        map.insert(name.replace([':', '-'], "_").into(), interface.into());
    }
    let [reach_v4, reach_v6] = netlink::local_destinations();
    map.insert("interfaces".into(), listed);
    map.insert("default_ipv4".into(), v4.into());
    map.insert("default_ipv6".into(), v6.into());
    map.insert("all_ipv4_addresses".into(), all_v4.into());
    map.insert("all_ipv6_addresses".into(), all_v6.into());
    map.insert(
        "locally_reachable_ips".into(),
        map! { "ipv4" => Value::list(reach_v4), "ipv6" => Value::list(reach_v6) }.into(),
    );
}

fn default(route: Option<Route>) -> (Option<u32>, Map) {
    let Some(route) = route else { return (None, Map::new()) };
    let mut default = Map::new();
    for (name, address) in [("gateway", route.gateway), ("address", route.source)] {
        if let Some(address) = address {
            default.insert(name.into(), address.to_string().into());
        }
    }
    (route.index, default)
}

fn describe_v4(ip: Ipv4Addr, address: &Address) -> Map {
    let mask = u32::MAX.checked_shl(32 - u32::from(address.prefix.min(32))).unwrap_or(0);
    map! {
        "address" => ip.to_string(),
        "broadcast" => address.broadcast.map(|b| b.to_string()).unwrap_or_default(),
        "netmask" => Ipv4Addr::from(mask).to_string(),
        "network" => Ipv4Addr::from(u32::from(ip) & mask).to_string(),
        "prefix" => address.prefix.to_string(),
    }
}

fn push(interface: &mut Map, list: &str, entry: Map) {
    let mut items = interface.get(list).and_then(Value::as_list).unwrap_or_default().to_vec();
    items.push(entry.into());
    interface.insert(list.into(), items.into());
}

/// An alias (`eth0:1`) is an interface of its own in facts; its address also counts as the device's second.
fn add_v4(
    interfaces: &mut indexmap::IndexMap<String, Map>,
    device: &str,
    label: &str,
    entry: Map,
    secondary: bool,
) {
    if label != device {
        interfaces.insert(label.to_owned(), Map::new());
    }
    if let Some(interface) = interfaces.get_mut(label) {
        if !secondary && !interface.contains_key("ipv4") {
            interface.insert("ipv4".into(), entry.clone().into());
        } else {
            push(interface, "ipv4_secondaries", entry.clone());
        }
    }
    if secondary
        && label != device
        && let Some(interface) = interfaces.get_mut(device)
    {
        push(interface, "ipv4_secondaries", entry);
    }
}

fn scope(scope: u8) -> String {
    match scope {
        0 => "global".into(),
        200 => "site".into(),
        253 => "link".into(),
        254 => "host".into(),
        255 => "nowhere".into(),
        other => other.to_string(),
    }
}

fn interface(device: &str, dir: &Path) -> Map {
    let read = |file: &str| text(dir.join(file));
    let mut facts = map! { "device" => device };
    if let Some(address) = read("address").filter(|a| a != "00:00:00:00:00:00") {
        facts.insert("macaddress".into(), address.into());
    }
    if let Some(mtu) = read("mtu").and_then(|m| m.parse::<i64>().ok()) {
        facts.insert("mtu".into(), mtu.into());
    }
    if let Some(state) = read("operstate") {
        facts.insert("active".into(), (state != "down").into());
    }
    let file_name = |path: std::path::PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
    if let Some(module) = std::fs::canonicalize(dir.join("device/driver/module")).ok().and_then(file_name) {
        facts.insert("module".into(), module.into());
    }
    if let Some(kind) = read("type") {
        let kind = match kind.as_str() {
            "1" => "ether",
            "32" => "infiniband",
            "512" => "ppp",
            "772" => "loopback",
            "65534" => "tunnel",
            _ => "unknown",
        };
        facts.insert("type".into(), kind.into());
    }
    if dir.join("bridge").exists() {
        facts.insert("type".into(), "bridge".into());
        facts.insert("interfaces".into(), Value::list(names(dir.join("brif"))));
        if let Some(id) = read("bridge/bridge_id") {
            facts.insert("id".into(), id.into());
        }
        if let Some(stp) = read("bridge/stp_state") {
            facts.insert("stp".into(), (stp == "1").into());
        }
    }
    if dir.join("bonding").exists() {
        facts.insert("type".into(), "bonding".into());
        let slaves = read("bonding/slaves").unwrap_or_default();
        facts.insert("slaves".into(), Value::list(slaves.split_whitespace()));
        for name in ["mode", "miimon", "lacp_rate"] {
            let value = read(&format!("bonding/{name}")).unwrap_or_default();
            facts.insert(name.into(), value.split_whitespace().next().unwrap_or_default().into());
        }
        if let Some(primary) = read("bonding/primary") {
            facts.insert("primary".into(), primary.into());
            if let Some(all) = read("bonding/all_slaves_active") {
                facts.insert("all_slaves_active".into(), (all == "1").into());
            }
        }
    }
    if let Some(address) = read("bonding_slave/perm_hwaddr") {
        facts.insert("perm_macaddress".into(), address.into());
    }
    if let Some(id) = std::fs::read_link(dir.join("device")).ok().and_then(file_name) {
        facts.insert("pciid".into(), id.into());
    }
    // A link that is down has no speed: reading it is an error.
    if let Some(speed) = read("speed").and_then(|s| s.parse::<i64>().ok()) {
        facts.insert("speed".into(), speed.into());
    }
    if let Some(flags) = read("flags") {
        let bits = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
        facts.insert("promisc".into(), (bits & 0x100 != 0).into());
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_networks() {
        let address = Address {
            index: 1,
            address: Ipv4Addr::new(192, 0, 2, 9).into(),
            prefix: 28,
            broadcast: None,
            label: None,
            secondary: false,
            scope: 0,
        };
        let facts = describe_v4(Ipv4Addr::new(192, 0, 2, 25), &address);
        assert_eq!(facts["netmask"], Value::from("255.255.255.240"));
        assert_eq!(facts["network"], Value::from("192.0.2.16"));
    }

    #[test]
    fn an_alias_is_an_interface_of_its_own() {
        let mut interfaces = indexmap::IndexMap::from([("eth0".to_owned(), Map::new())]);
        add_v4(&mut interfaces, "eth0", "eth0", map! { "address" => "192.0.2.1" }, false);
        add_v4(&mut interfaces, "eth0", "eth0:1", map! { "address" => "192.0.2.2" }, true);
        assert_eq!(interfaces["eth0"]["ipv4"].get("address"), Some(&"192.0.2.1".into()));
        assert_eq!(interfaces["eth0"]["ipv4_secondaries"].as_list().unwrap().len(), 1);
        assert!(interfaces["eth0:1"].contains_key("ipv4_secondaries"));
    }
}
