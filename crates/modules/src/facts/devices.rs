//! Block devices and their partitions, from `/sys/block` and the links that udev keeps.

use std::collections::BTreeMap;
use std::path::Path;

use super::{names, text};
use crate::{Map, Value, map};
use debark_value::Order;

type Links = Vec<(&'static str, BTreeMap<String, Vec<String>>)>;

pub(super) fn devices(map: &mut Map) {
    let links: Links = vec![
        ("ids", links_in("/dev/disk/by-id")),
        ("uuids", links_in("/dev/disk/by-uuid")),
        ("labels", links_in("/dev/disk/by-label")),
        ("masters", owners()),
    ];
    let mut found = Map::new();
    for name in names("/sys/block") {
        found.insert(name.as_str().into(), device(&name, &links).into());
    }
    let all = links.iter().map(|(kind, by_device)| {
        let by_device: Map =
            by_device.iter().map(|(d, l)| (d.as_str().into(), Value::list(l.clone()))).collect();
        ((*kind).into(), by_device.into())
    });
    map.insert("device_links".into(), all.collect::<Map>().into());
    map.insert("devices".into(), found.into());
}

fn links_in(dir: &str) -> BTreeMap<String, Vec<String>> {
    let mut links: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in names(dir) {
        let target = std::fs::read_link(Path::new(dir).join(&entry)).ok();
        if let Some(name) = target.as_deref().and_then(Path::file_name).and_then(|n| n.to_str()) {
            links.entry(name.to_owned()).or_default().push(entry);
        }
    }
    links.values_mut().for_each(|list| list.order());
    links
}

/// Which devices are built on which: `/sys/block/md0/slaves/sda1`.
fn owners() -> BTreeMap<String, Vec<String>> {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for device in names("/sys/block") {
        for below in names(format!("/sys/block/{device}/slaves")) {
            owners.entry(below).or_default().push(device.clone());
        }
    }
    owners.values_mut().for_each(|list| list.order());
    owners
}

fn links_of(name: &str, links: &Links) -> Value {
    let lists = links.iter().map(|(kind, by_device)| {
        ((*kind).into(), Value::list(by_device.get(name).cloned().unwrap_or_default()))
    });
    lists.collect::<Map>().into()
}

fn holders(dir: &Path) -> Value {
    let holders = names(dir.join("holders")).into_iter().filter(|name| name.starts_with("dm-"));
    Value::list(holders.map(|name| text(dir.join("holders").join(&name).join("dm/name")).unwrap_or(name)))
}

fn device(name: &str, links: &Links) -> Map {
    let dir = Path::new("/sys/block").join(name);
    let optional = |path: &str| Value::from(text(dir.join(path)));
    let mut d = map! { "virtual" => 1, "links" => links_of(name, links) };
    for key in ["vendor", "model", "sas_address", "sas_device_handle"] {
        d.insert(key.into(), optional(&format!("device/{key}")));
    }
    if let Some(serial) = text(dir.join("device/serial")) {
        d.insert("serial".into(), serial.into());
    }
    d.insert("removable".into(), optional("removable"));
    let no_discard = text(dir.join("queue/discard_max_hw_bytes")).as_deref() == Some("0");
    let discard = if no_discard { "0".into() } else { optional("queue/discard_granularity") };
    d.insert("support_discard".into(), discard);
    let wwn = links.first().and_then(|(_, ids)| ids.get(name)).into_iter().flatten();
    if let Some(wwn) = wwn.filter_map(|id| id.strip_prefix("wwn-")).next_back() {
        d.insert("wwn".into(), wwn.into());
    }
    let partitions: Map = names(&dir)
        .into_iter()
        .filter(|folder| {
            let digits = folder.strip_prefix(name).map(|rest| rest.strip_prefix('p').unwrap_or(rest));
            digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
        })
        .map(|part| (part.as_str().into(), partition(&dir.join(&part), &part, links).into()))
        .collect();
    d.insert("partitions".into(), partitions.into());
    d.insert("rotational".into(), optional("queue/rotational"));
    let scheduler = text(dir.join("queue/scheduler")).unwrap_or_default();
    let chosen =
        scheduler.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(word, _)| word);
    d.insert("scheduler_mode".into(), chosen.into());
    size(&mut d, &dir);
    d.insert("host".into(), "".into());
    d.insert("holders".into(), holders(&dir));
    d
}

fn partition(dir: &Path, name: &str, links: &Links) -> Map {
    let mut part = map! { "links" => links_of(name, links) };
    part.insert("start".into(), text(dir.join("start")).map_or(Value::Int(0), Value::from));
    size(&mut part, dir);
    let uuid = links.get(1).and_then(|(_, uuids)| uuids.get(name)?.first().cloned());
    part.insert("uuid".into(), uuid.into());
    part.insert("holders".into(), holders(dir));
    part
}

/// `sectors` counts the device's own sectors, while sysfs counts 512 bytes each.
fn size(entry: &mut Map, dir: &Path) {
    let sector =
        text(dir.join("queue/logical_block_size")).or_else(|| text(dir.join("queue/hw_sector_size")));
    let bytes = sector.as_deref().and_then(|s| s.parse::<u64>().ok()).filter(|b| *b > 0).unwrap_or(512);
    let raw: u64 = text(dir.join("size")).and_then(|s| s.parse().ok()).unwrap_or(0);
    let sectors = raw.saturating_mul(512) / bytes;
    entry.insert("sectorsize".into(), sector.map_or(Value::Int(512), Value::from));
    entry.insert("sectors".into(), sectors.into());
    entry.insert("size".into(), human(sectors as f64 * bytes as f64).into());
}

/// Bytes for people, as Ansible's `human_readable`.
fn human(size: f64) -> String {
    const UNITS: [&str; 8] = ["YB", "ZB", "EB", "PB", "TB", "GB", "MB", "KB"];
    let powers = (1..=8i32).rev().map(|power| 1024f64.powi(power));
    let unit = UNITS.iter().zip(powers).find(|(_, limit)| size >= *limit);
    unit.map_or_else(|| format!("{size:.2} Bytes"), |(unit, limit)| format!("{:.2} {unit}", size / limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!(human(0.0), "0.00 Bytes");
        assert_eq!(human(536_870_912.0 * 512.0), "256.00 GB");
        assert_eq!(human(1536.0), "1.50 KB");
    }
}
