//! Control groups: every background process of a lab is in the lab's own group, so one write kills them all and a
//! reused process number can never be hit.
//!
//! On a machine with the hybrid layout the group is made in the version 2 tree and in systemd's named version 1 tree,
//! because systemd-nspawn uses both; hosts themselves see a pure version 2 tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// The trees in which a lab has its groups; the version 2 tree first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trees {
    mounts: Vec<PathBuf>,
}

impl Trees {
    /// Finds them among the machine's mounts.
    pub fn find() -> Result<Self> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
        let mounts = parse_mounts(&text);
        if mounts.is_empty() {
            return Err(Error::Machine {
                what: "no cgroup version 2 tree is mounted".into(),
                hint: "mount -t cgroup2 cgroup2 /sys/fs/cgroup".into(),
            });
        }
        Ok(Self { mounts })
    }

    /// Makes a group.
    pub fn make(&self, group: &str) -> Result<()> {
        for mount in &self.mounts {
            let path = mount.join(group);
            fs::create_dir_all(&path).map_err(Error::file("make", &path))?;
        }
        Ok(())
    }

    /// Makes a group and moves this process into it.
    pub fn enter(&self, group: &str) -> Result<()> {
        self.make(group)?;
        for mount in &self.mounts {
            let path = mount.join(group).join("cgroup.procs");
            fs::write(&path, "0").map_err(Error::file("write", &path))?;
        }
        Ok(())
    }

    /// Whether any process is in the group or below it.
    pub fn is_populated(&self, group: &str) -> bool {
        self.mounts.iter().any(|mount| !processes(&mount.join(group)).is_empty())
    }

    /// Kills everything in a group and below, and removes the groups. Fine if there is no such group.
    pub fn kill(&self, group: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut left = 0;
            for mount in &self.mounts {
                let top = mount.join(group);
                // The kernel's own sweep also catches what forks meanwhile; the version 1 tree has none.
                if fs::write(top.join("cgroup.kill"), "1").is_err() {
                    for process in processes(&top) {
                        process.kill();
                    }
                }
                left += processes(&top).len();
            }
            if left == 0 && self.mounts.iter().all(|mount| remove(&mount.join(group))) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Machine {
                    what: format!("{left} processes of the control group {group} do not die"),
                    hint: "look for processes in state D, and run the command again".into(),
                });
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

/// Mount points of version 2 trees and of systemd's named version 1 tree (proc_pid_mountinfo(5)).
fn parse_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let mut found: Vec<(bool, PathBuf)> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut right = right.split(' ');
        let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
        let named = kind == "cgroup" && options.split(',').any(|option| option == "name=systemd");
        if kind != "cgroup2" && !named {
            continue;
        }
        let mut left = left.split(' ');
        let (root, point) = (left.nth(3), left.next());
        // A bind mount of a part of the tree is not the tree.
        if let (Some("/"), Some(point)) = (root, point)
            && !found.iter().any(|(kind, _)| *kind == named)
        {
            found.push((named, PathBuf::from(point)));
        }
    }
    found.sort();
    if found.first().is_none_or(|(named, _)| *named) {
        Vec::new()
    } else {
        found.into_iter().map(|(_, p)| p).collect()
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn processes(dir: &Path) -> Vec<crate::process::Process> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<_> =
        text.lines().filter_map(|line| crate::process::Process::of(line.parse().ok()?)).collect();
    for child in children(dir) {
        found.extend(processes(&child));
    }
    found
}

fn remove(dir: &Path) -> bool {
    let below = children(dir).iter().all(|child| remove(child));
    below
        && match fs::remove_dir(dir) {
            Ok(()) => true,
            Err(err) => err.kind() == std::io::ErrorKind::NotFound,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 30 0:29 /sub /elsewhere rw - cgroup2 cgroup2 rw
";

    #[test]
    fn the_hybrid_layout_has_two_trees() {
        let paths = parse_mounts(HYBRID);
        assert_eq!(paths, [Path::new("/sys/fs/cgroup/unified"), Path::new("/sys/fs/cgroup/systemd")]);
    }

    #[test]
    fn the_unified_layout_has_one_and_version_1_alone_none() {
        assert_eq!(parse_mounts("1 0 0:2 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw").len(), 1);
        assert!(parse_mounts("32 30 0:28 / /x rw - cgroup cgroup rw,name=systemd").is_empty());
    }
}
