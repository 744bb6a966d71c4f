//! What a host is, as two provisioners should leave it: files, packages, units, accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use debark_lab::Host;

/// The directories that are compared.
const ROOTS: &[&str] = &[
    "etc",
    "home",
    "root",
    "opt",
    "srv",
    "usr/local",
    "var/spool/cron",
    "var/lib/systemd",
    "var/www",
    "var/tmp",
];

/// Paths that differ for reasons of their own, with what is below them.
const IGNORED: &[&str] = &[
    // Each host's identity: the lab makes its keys.
    "etc/machine-id",
    "etc/ssh/ssh_host_",
    "root/.ssh/authorized_keys",
    // What the provisioners keep for themselves.
    "root/.ansible",
    "home/debian/.ansible",
    "var/tmp/ansible",
    // Written by the machine as time goes by.
    "etc/ld.so.cache",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/.pwd.lock",
    "etc/.updated",
    "var/lib/systemd/timers",
    "var/lib/systemd/timesync",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/pstore",
    "var/lib/systemd/linger",
    "var/tmp/systemd-private-",
    // A symbolic link's target in it is a random name.
    "etc/mtab",
];

/// Files that a time stamp is part of the name of: backups. Compared with the stamp cut off.
const BACKUPS: &str = "~";

/// One thing in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `file`, `directory`, `link`, ...
    pub kind: &'static str,
    /// Permission bits; 0 for links.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// A file's content with what names the host itself taken out, or a link's target.
    pub content: Vec<u8>,
}

/// A host at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By path, without the leading slash.
    pub files: BTreeMap<String, Entry>,
    /// Lines of what commands on the host say, by what they are about.
    pub state: BTreeMap<&'static str, BTreeSet<String>>,
}

/// What commands are asked, and what for. Units that come and go by themselves are left out.
const STATE: &[(&str, &str)] = &[
    (
        "packages",
        "dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Want} ${db:Status-Status}\\n'",
    ),
    ("manual packages", "apt-mark showmanual"),
    ("unit files", "systemctl list-unit-files --plain --no-legend | grep -v '^session-'"),
    (
        "active units",
        "systemctl list-units --type=service,timer,socket,path --state=active,failed --plain --no-legend \
         | awk '{ print $1, $3, $4 }' | grep -Ev '^(user@|user-runtime-dir@|ssh@|run-|debark-|systemd-(hostnamed|timedated|localed|tmpfiles|update-utmp|journal-flush|machine-id|timesyncd|networkd))'",
    ),
    ("users", "getent passwd"),
    ("groups", "getent group"),
    ("passwords", "getent shadow | cut -d: -f1,2,4-"),
    ("host name", "hostname"),
    ("time zone", "readlink -f /etc/localtime"),
    ("debconf", "debconf-show tzdata 2>/dev/null"),
];

impl Snapshot {
    /// Takes it. `own` are texts that name this host and no other, each with what stands for it.
    ///
    /// # Panics
    /// When the host cannot be asked.
    pub fn take(host: &Host<'_>, own: &[(&str, &str)]) -> Self {
        let mut snapshot = Self::default();
        let root = host.rootfs_path();
        for dir in ROOTS {
            snapshot.walk(&root, dir, own);
        }
        for (about, command) in STATE {
            let output = host.exec(&["sh", "-c", command]).unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            snapshot.state.insert(about, lines.collect());
        }
        snapshot
    }

    fn walk(&mut self, root: &Path, path: &str, own: &[(&str, &str)]) {
        if IGNORED.iter().any(|ignored| path.starts_with(ignored)) {
            return;
        }
        let full = root.join(path);
        let Ok(meta) = fs::symlink_metadata(&full) else { return };
        let kind = meta.file_type();
        let (kind, content) = if kind.is_dir() {
            ("directory", Vec::new())
        } else if kind.is_symlink() {
            ("link", fs::read_link(&full).unwrap().into_os_string().into_encoded_bytes())
        } else if kind.is_file() {
            ("file", plain(fs::read(&full).unwrap(), path, own))
        } else if kind.is_fifo() {
            ("fifo", Vec::new())
        } else {
            ("other", Vec::new())
        };
        let mode = if kind == "link" { 0 } else { meta.mode() & 0o7777 };
        self.files
            .insert(without_stamp(path), Entry { kind, mode, uid: meta.uid(), gid: meta.gid(), content });
        if kind == "directory" {
            for entry in fs::read_dir(&full).unwrap().flatten() {
                self.walk(root, &format!("{path}/{}", entry.file_name().to_string_lossy()), own);
            }
        }
    }

    /// Where another host differs.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut paths: BTreeSet<&String> = self.files.keys().collect();
        paths.extend(other.files.keys());
        for path in paths {
            let (left, right) = (self.files.get(path), other.files.get(path));
            if left != right {
                found.push(Difference {
                    what: format!("/{path}"),
                    left: show(left, right),
                    right: show(right, left),
                });
            }
        }
        for (about, left) in &self.state {
            let nothing = BTreeSet::new();
            let right = other.state.get(about).unwrap_or(&nothing);
            let only = |one: &BTreeSet<String>, two: &BTreeSet<String>| {
                one.difference(two).cloned().collect::<Vec<_>>().join("\n")
            };
            if left != right {
                found.push(Difference {
                    what: (*about).to_owned(),
                    left: only(left, right),
                    right: only(right, left),
                });
            }
        }
        found
    }
}

/// One difference of two hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// A path, or what a command was asked about.
    pub what: String,
    /// How it is on the first host.
    pub left: String,
    /// How it is on the second.
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        for (mark, text) in [("-", &self.left), ("+", &self.right)] {
            for line in text.lines() {
                writeln!(f, "  {mark} {line}")?;
            }
        }
        Ok(())
    }
}

/// An entry in words; its content only where the other's differs.
fn show(entry: Option<&Entry>, other: Option<&Entry>) -> String {
    let Some(entry) = entry else { return "absent".to_owned() };
    let mut text = format!("{} {:04o} {}:{}", entry.kind, entry.mode, entry.uid, entry.gid);
    let same = other.is_some_and(|other| other.content == entry.content);
    if !same && !entry.content.is_empty() {
        let content = String::from_utf8_lossy(&entry.content);
        text.push_str(&format!(" ({} bytes)\n", entry.content.len()));
        let theirs: BTreeSet<Vec<u8>> = other
            .map(|other| other.content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
            .unwrap_or_default();
        let lines = content.lines().filter(|line| !theirs.contains(line.as_bytes()));
        text.push_str(&lines.take(12).map(|line| format!("{line:?}")).collect::<Vec<_>>().join("\n"));
    }
    text
}

/// Takes the day of the last password change out of shadow, and the host's own names out of everything.
fn plain(bytes: Vec<u8>, path: &str, own: &[(&str, &str)]) -> Vec<u8> {
    let Ok(mut text) = String::from_utf8(bytes.clone()) else { return bytes };
    if path == "etc/shadow" {
        let without_day = |line: &str| {
            let mut fields: Vec<&str> = line.split(':').collect();
            if let Some(day) = fields.get_mut(2) {
                *day = "";
            }
            fields.join(":") + "\n"
        };
        text = text.lines().map(without_day).collect();
    }
    if path.starts_with("var/spool/cron/crontabs/") {
        // crontab(1) notes when it was run, and on which temporary file.
        let stamp = |line: &&str| !(line.starts_with("# (") && line.contains(" installed on "));
        text = text.lines().filter(stamp).map(|line| line.to_owned() + "\n").collect();
    }
    for (name, stand_in) in own {
        text = text.replace(name, stand_in);
    }
    text.into_bytes()
}

/// `issue.312.2026-01-02@03:04:05~` is a backup of `issue`, whichever the process and second.
fn without_stamp(path: &str) -> String {
    let Some(stem) = path.strip_suffix(BACKUPS) else { return path.to_owned() };
    let mut parts: Vec<&str> = stem.split('.').collect();
    if parts.len() > 2 && parts.last().is_some_and(|last| last.contains('@')) {
        parts.truncate(parts.len() - 2);
        return format!("{}.backup~", parts.join("."));
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_known_without_its_stamp() {
        assert_eq!(without_stamp("etc/issue.312.2026-01-02@03:04:05~"), "etc/issue.backup~");
        assert_eq!(without_stamp("etc/a.b.312.2026-01-02@03:04:05~"), "etc/a.b.backup~");
        assert_eq!(without_stamp("etc/mine~"), "etc/mine~");
    }

    #[test]
    fn differences_show_what_differs_and_only_that() {
        let entry = |mode, content: &str| Entry {
            kind: "file",
            mode,
            uid: 0,
            gid: 0,
            content: content.as_bytes().to_vec(),
        };
        let with = |entries: &[(&str, Entry)]| Snapshot {
            files: entries.iter().map(|(path, entry)| ((*path).to_owned(), entry.clone())).collect(),
            ..Snapshot::default()
        };
        let one = with(&[("etc/a", entry(0o644, "x\ny\n")), ("etc/b", entry(0o644, "same"))]);
        let two = with(&[("etc/a", entry(0o600, "x\nz\n")), ("etc/b", entry(0o644, "same"))]);
        let found = one.differences(&two);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "/etc/a\n  - file 0644 0:0 (4 bytes)\n  - \"y\"\n  + file 0600 0:0 (4 bytes)\n  + \"z\"\n"
        );
        assert!(one.differences(&one).is_empty());
    }

    #[test]
    fn shadow_is_compared_without_its_days() {
        assert_eq!(
            plain(b"ada:!:20000:0:99999:7:::\n".to_vec(), "etc/shadow", &[]),
            b"ada:!::0:99999:7:::\n"
        );
        assert_eq!(plain(b"at 10.0.0.1".to_vec(), "etc/x", &[("10.0.0.1", "ADDRESS")]), b"at ADDRESS");
    }
}
