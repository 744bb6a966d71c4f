//! Processors, memory, firmware tables, uptime, logical volumes.

use std::path::Path;

use super::text;
use crate::exec::Cmd;
use crate::{Failure, Host, Map, Value, map};

pub(super) fn cpu(map: &mut Map) {
    let Some(info) = text("/proc/cpuinfo") else { return };
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    cpu_from(map, &info, &machine);
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        map.insert("processor_nproc".into(), set.count().into());
    }
}

/// Counts as Ansible does, with its quirk: `processor_cores` is that of the first socket.
fn cpu_from(map: &mut Map, info: &str, machine: &str) {
    let mut listed: Vec<Value> = Vec::new();
    let mut sockets: Vec<(String, i64)> = Vec::new();
    let mut cores: Vec<(String, i64)> = Vec::new();
    let (mut vendors, mut models, mut processors) = (0, 0, 0);
    let (mut socket, mut core) = (String::new(), String::new());
    let set = |list: &mut Vec<(String, i64)>, key: &str, value: Option<i64>| {
        let value = value.unwrap_or(1);
        match list.iter_mut().find(|(known, _)| known == key) {
            Some(entry) => entry.1 = value,
            None => list.push((key.to_owned(), value)),
        }
    };
    for line in info.lines() {
        let (key, value) = line.split_once(':').map_or((line.trim(), ""), |(k, v)| (k.trim(), v.trim()));
        match key {
            "flags" => {
                map.insert("flags".into(), Value::list(value.split_whitespace()));
            }
            "model name" | "Processor" | "vendor_id" | "cpu" | "Vendor" | "processor" => {
                listed.push(value.into());
                vendors += i64::from(key == "vendor_id");
                models += i64::from(key == "model name");
                processors += i64::from(key == "processor");
            }
            "physical id" => {
                value.clone_into(&mut socket);
                if !sockets.iter().any(|(known, _)| *known == socket) {
                    set(&mut sockets, value, None);
                }
            }
            "core id" => {
                value.clone_into(&mut core);
                set(&mut cores, value, None);
            }
            "cpu cores" => set(&mut sockets, &socket, value.parse().ok()),
            "siblings" => set(&mut cores, &core, value.parse().ok()),
            _ => {}
        }
    }
    let mut count = listed.len() as i64;
    if vendors > 0 && vendors == models {
        count = vendors;
    }
    if ["armv", "aarch", "ppc"].iter().any(|arch| machine.starts_with(arch)) {
        count = processors;
    }
    let count = if sockets.is_empty() { count } else { sockets.len() as i64 };
    let per_socket = sockets.first().map(|(_, cores)| *cores).filter(|cores| *cores > 0).unwrap_or(1);
    let siblings = cores.first().map_or(1, |(_, siblings)| *siblings);
    // Python rounds halves to even: half a thread per core is none.
    let threads = (siblings as f64 / per_socket as f64).round_ties_even() as i64;
    map.insert("processor".into(), listed.into());
    map.insert("processor_count".into(), count.into());
    map.insert("processor_cores".into(), per_socket.into());
    map.insert("processor_threads_per_core".into(), threads.into());
    map.insert("processor_vcpus".into(), threads.saturating_mul(count).saturating_mul(per_socket).into());
    map.insert("processor_nproc".into(), processors.into());
}

pub(super) fn memory(map: &mut Map) {
    let Some(info) = text("/proc/meminfo") else { return };
    let mb = |wanted: &str| -> Option<i64> {
        let line = info.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<i64>().ok().map(|kb| kb / 1024)
    };
    let (total, free) = (mb("MemTotal"), mb("MemFree"));
    let (swap, swap_free) = (mb("SwapTotal"), mb("SwapFree"));
    let minus = |a: Option<i64>, b: Option<i64>| Some(a? - b?);
    let uncached = (|| Some(mb("Cached")? + free? + mb("Buffers")?))();
    for (name, value) in
        [("memtotal_mb", total), ("memfree_mb", free), ("swaptotal_mb", swap), ("swapfree_mb", swap_free)]
    {
        if let Some(value) = value {
            map.insert(name.into(), value.into());
        }
    }
    map.insert(
        "memory_mb".into(),
        map! {
            "real" => map! { "total" => total, "used" => minus(total, free), "free" => free },
            "nocache" => map! { "free" => uncached, "used" => minus(total, uncached) },
            "swap" => map! {
                "total" => swap, "free" => swap_free, "used" => minus(swap, swap_free),
                "cached" => mb("SwapCached"),
            },
        }
        .into(),
    );
}

/// Chassis types by number, DSP0134 (SMBIOS) table "System Enclosure or Chassis Types".
const FORM_FACTORS: [&str; 37] = [
    "Unknown",
    "Other",
    "Unknown",
    "Desktop",
    "Low Profile Desktop",
    "Pizza Box",
    "Mini Tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand Held",
    "Docking Station",
    "All In One",
    "Sub Notebook",
    "Space-saving",
    "Lunch Box",
    "Main Server Chassis",
    "Expansion Chassis",
    "Sub Chassis",
    "Bus Expansion Chassis",
    "Peripheral Chassis",
    "RAID Chassis",
    "Rack Mount Chassis",
    "Sealed-case PC",
    "Multi-system",
    "CompactPCI",
    "AdvancedTCA",
    "Blade",
    "Blade Enclosure",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT Gateway",
    "Embedded PC",
    "Mini PC",
    "Stick PC",
];

pub(super) fn dmi(map: &mut Map) {
    const NAMES: [&str; 18] = [
        "bios_date",
        "bios_vendor",
        "bios_version",
        "board_asset_tag",
        "board_name",
        "board_serial",
        "board_vendor",
        "board_version",
        "chassis_asset_tag",
        "chassis_serial",
        "chassis_vendor",
        "chassis_version",
        "form_factor",
        "product_name",
        "product_serial",
        "product_uuid",
        "product_version",
        "system_vendor",
    ];
    for name in NAMES {
        let file = match name {
            "form_factor" => "chassis_type",
            "system_vendor" => "sys_vendor",
            other => other,
        };
        let value = text(Path::new("/sys/devices/virtual/dmi/id").join(file));
        let value = match (name, value) {
            (_, None) => "NA".to_owned(),
            ("form_factor", Some(number)) => {
                let known = number.parse::<usize>().ok().and_then(|n| FORM_FACTORS.get(n));
                known.map_or_else(|| format!("unknown ({number})"), |name| (*name).to_owned())
            }
            (_, Some(value)) => value,
        };
        map.insert(name.into(), value.into());
    }
}

pub(super) fn uptime(map: &mut Map) {
    let seconds = text("/proc/uptime").and_then(|t| t.split(['.', ' ']).next()?.parse::<i64>().ok());
    if let Some(seconds) = seconds {
        map.insert("uptime_seconds".into(), seconds.into());
    }
}

/// Logical volumes: the one family that only a program can tell, so it is asked only where LVM is installed.
pub(super) fn lvm(map: &mut Map, host: &Host) -> Result<(), Failure> {
    let Some(vgs) = super::program("vgs") else {
        map.insert("lvm".into(), "N/A".into());
        return Ok(());
    };
    if !rustix::process::geteuid().is_root() {
        map.insert("lvm".into(), "N/A".into());
        return Ok(());
    }
    let rows = |program: &Path| -> Result<Vec<Vec<String>>, Failure> {
        let cmd = Cmd::new(program)
            .args(["--noheadings", "--nosuffix", "--units", "g", "--separator", ","])
            .timeout(std::time::Duration::from_secs(10));
        let out = host.exec(&cmd)?.out();
        Ok(out.lines().map(|line| line.trim().split(',').map(str::to_owned).collect()).collect())
    };
    let column = |row: &[String], at: usize| Value::from(row.get(at).cloned().unwrap_or_default());
    let sibling = |name: &str| vgs.with_file_name(name);
    let mut tables = [Map::new(), Map::new(), Map::new()];
    let [groups, volumes, physical] = &mut tables;
    for row in rows(&vgs)?.iter().filter(|row| row.len() >= 7) {
        let entry = map! {
            "size_g" => column(row, 5), "free_g" => column(row, 6), "num_lvs" => column(row, 2),
            "num_pvs" => column(row, 1),
        };
        groups.insert(column(row, 0).to_string().into(), entry.into());
    }
    for row in rows(&sibling("lvs"))?.iter().filter(|row| row.len() >= 4) {
        let entry = map! { "size_g" => column(row, 3), "vg" => column(row, 1) };
        volumes.insert(column(row, 0).to_string().into(), entry.into());
    }
    for row in rows(&sibling("pvs"))?.iter().filter(|row| row.len() >= 6) {
        let entry = map! { "size_g" => column(row, 4), "free_g" => column(row, 5), "vg" => column(row, 1) };
        physical.insert(column(row, 0).to_string().into(), entry.into());
    }
    let [groups, volumes, physical] = tables;
    map.insert("lvm".into(), map! { "lvs" => volumes, "vgs" => groups, "pvs" => physical }.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_processors_as_ansible_does() {
        // Two sockets of two cores with two threads each.
        let mut info = String::new();
        for n in 0..8 {
            info += &format!(
                "processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\nphysical id\t: {}\nsiblings\t: 4\ncore id\t\t: {}\ncpu cores\t: 2\nflags\t\t: fpu vme\n\n",
                n / 4,
                n % 2
            );
        }
        let mut map = Map::new();
        cpu_from(&mut map, &info, "x86_64");
        let number = |name: &str| map[format!("processor_{name}").as_str()].as_int().unwrap();
        assert_eq!((number("count"), number("cores"), number("nproc")), (2, 2, 8));
        assert_eq!((number("threads_per_core"), number("vcpus")), (2, 8));
        assert_eq!(map["processor"].as_list().unwrap().len(), 24);
        assert_eq!(map["flags"], Value::list(["fpu", "vme"]));
    }

    #[test]
    fn arm_has_no_vendor_lines() {
        let mut map = Map::new();
        cpu_from(&mut map, "processor : 0\nBogoMIPS : 48\n\nprocessor : 1\nBogoMIPS : 48\n", "aarch64");
        assert_eq!(map["processor_count"], Value::Int(2));
        assert_eq!(map["processor_vcpus"], Value::Int(2));
    }
}
