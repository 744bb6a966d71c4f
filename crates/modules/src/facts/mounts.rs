//! Mounted file systems and their sizes.

use std::collections::HashSet;

use crate::{Map, Value, map};

/// Undoes the octal escapes of fstab(5) (`\040` is a space).
pub(crate) fn unescape(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        let digits = rest.get(..3).filter(|d| first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        match digits {
            Some([a, b, c]) => {
                let code = u32::from(a - b'0') * 64 + u32::from(b - b'0') * 8 + u32::from(c - b'0');
                out.push((code & 0xff) as u8);
                bytes = rest.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(first);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub(super) fn mounts(map: &mut Map) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let uuids = uuids();
    let list = table(&mounts, &info).into_iter().map(|mut entry| {
        let text = |key: &str| entry.get(key).map(Value::to_string).unwrap_or_default();
        let device = text("device");
        let sizes = rustix::fs::statvfs(text("mount").as_str());
        let real = std::fs::canonicalize(&device).ok();
        let uuid = uuids.iter().find(|(node, _)| Some(node) == real.as_ref()).map(|(_, uuid)| uuid.as_str());
        entry.insert("uuid".into(), uuid.unwrap_or("N/A").into());
        if let Ok(s) = sizes {
            entry.extend(map! {
                "size_total" => s.f_frsize.saturating_mul(s.f_blocks),
                "size_available" => s.f_frsize.saturating_mul(s.f_bavail),
                "block_size" => s.f_bsize,
                "block_total" => s.f_blocks,
                "block_available" => s.f_bavail,
                "block_used" => s.f_blocks.saturating_sub(s.f_bavail),
                "inode_total" => s.f_files,
                "inode_available" => s.f_favail,
                "inode_used" => s.f_files.saturating_sub(s.f_favail),
            });
        }
        Value::from(entry)
    });
    map.insert("mounts".into(), Value::list(list));
}

/// Device nodes and the UUIDs of the file systems on them, as udev links them.
fn uuids() -> Vec<(std::path::PathBuf, String)> {
    let dir = std::path::Path::new("/dev/disk/by-uuid");
    super::names(dir)
        .into_iter()
        .filter_map(|uuid| Some((dir.join(&uuid).canonicalize().ok()?, uuid)))
        .collect()
}

/// Mounts of real devices and of network file systems; of several on one directory the last, which is the one seen.
fn table(mounts: &str, info: &str) -> Vec<Map> {
    // The root of a bind mount within its file system is not `/`.
    let binds: HashSet<String> = info
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(3);
            let (root, target) = (words.next()?, words.next()?);
            (root != "/").then(|| unescape(target))
        })
        .collect();
    let mut found: indexmap::IndexMap<String, Map> = indexmap::IndexMap::new();
    for line in mounts.lines() {
        let words: Vec<String> = line.split_whitespace().map(unescape).collect();
        let [device, mount, fstype, options, dump, passno] = words.as_slice() else { continue };
        let real = device.starts_with(['/', '\\']) || device.contains(":/");
        if !real || fstype == "none" {
            continue;
        }
        let bind = if binds.contains(mount) { ",bind" } else { "" };
        let entry = map! {
            "mount" => mount.as_str(), "device" => device.as_str(), "fstype" => fstype.as_str(),
            "options" => format!("{options}{bind}"), "dump" => dump.parse().unwrap_or(0i64),
            "passno" => passno.parse().unwrap_or(0i64),
        };
        found.insert(mount.clone(), entry);
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_file_systems_and_bind_mounts() {
        let mounts = "proc /proc proc rw 0 0\n/dev/vda1 / ext4 rw,relatime 0 1\n/dev/vda1 /srv/a\\040b ext4 rw 0 0\nnas:/x /mnt nfs4 rw 0 0\n";
        let info =
            "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n30 22 254:1 /data /srv/a\\040b rw - ext4 /dev/vda1 rw\n";
        let table = table(mounts, info);
        let names: Vec<String> = table.iter().map(|m| m["mount"].to_string()).collect();
        assert_eq!(names, ["/", "/srv/a b", "/mnt"]);
        assert_eq!(table[1]["options"], Value::from("rw,bind"));
        assert_eq!(table[0]["passno"], Value::Int(1));
    }
}
