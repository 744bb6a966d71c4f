//! Owner, group, mode and attributes: what all modules that make files share.
//!
//! [`FileArgs`] is what the task says, [`Wanted`] the same with names looked up, [`Attrs`] the difference from one
//! path as it is. All three look at a path without following it: who wants a link's target resolves the link first.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use debark_value::{Map, Value};

use crate::exec::Cmd;
use crate::mode::Mode;
use crate::param::{Field, Kind, Spec, take};
use crate::plan::{Diff, Failure};
use crate::{Host, accounts};

/// What a task says about owner, group, mode and attributes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileArgs {
    /// Permission bits.
    pub mode: Option<Mode>,
    /// Name or number of the owner.
    pub owner: Option<String>,
    /// Name or number of the group.
    pub group: Option<String>,
    /// Flags as chattr(1) takes them.
    pub attributes: Option<String>,
    /// Write in place where a file cannot be replaced (a bind mount).
    pub unsafe_writes: bool,
}

macro_rules! field {
    ($name:literal, $aliases:expr, $kind:expr, $doc:literal) => {
        Field {
            name: $name,
            aliases: $aliases,
            kind: $kind,
            required: false,
            default: "",
            doc: if cfg!(feature = "docs") { $doc } else { "" },
        }
    };
}

impl FileArgs {
    /// The parameters as users see them.
    pub const FIELDS: &'static [Field] = &[
        field!("mode", &[], Kind::Mode, "Permission bits: octal text or number, or symbolic as in chmod(1)."),
        field!("owner", &[], Kind::Str, "Name or number of the user that owns it."),
        field!("group", &[], Kind::Str, "Name or number of the group that owns it."),
        field!("attributes", &["attr"], Kind::Str, "Flags as chattr(1) takes them, after `=`, `+` or `-`."),
        field!(
            "unsafe_writes",
            &[],
            Kind::Bool,
            "Write in place where the file cannot be replaced atomically."
        ),
        field!("seuser", &[], Kind::Str, "Accepted and without effect: Debian hosts run without SELinux."),
        field!("serole", &[], Kind::Str, "Accepted and without effect: Debian hosts run without SELinux."),
        field!("setype", &[], Kind::Str, "Accepted and without effect: Debian hosts run without SELinux."),
        field!("selevel", &[], Kind::Str, "Accepted and without effect: Debian hosts run without SELinux."),
    ];

    /// Reads them from normalised arguments.
    ///
    /// # Errors
    /// A value of the wrong type.
    pub fn take(spec: &Spec, args: &Map) -> Result<Self, Failure> {
        let attributes: Option<String> = take(spec, args, "attributes", None)?;
        if let Some(flags) = &attributes
            && !flags.trim_start_matches(['+', '-', '=']).bytes().all(|b| b.is_ascii_alphabetic())
        {
            return Err(Failure::new(format!(
                "{}: parameter `attributes` wants letters of chattr(1), got {flags:?}",
                spec.name
            )));
        }
        Ok(Self {
            mode: take(spec, args, "mode", None)?,
            owner: take(spec, args, "owner", None)?,
            group: take(spec, args, "group", None)?,
            attributes,
            unsafe_writes: take(spec, args, "unsafe_writes", Some(false))?,
        })
    }

    /// Looks up owner and group. In check mode a name that is unknown stays open: a task before this one may be
    /// about to make it.
    ///
    /// # Errors
    /// A name is unknown.
    pub fn resolve(&self, host: &Host) -> Result<Wanted, Failure> {
        let find = |what: &str, name: &Option<String>, look: &dyn Fn(&str) -> Option<u32>| {
            let Some(name) = name.as_ref().filter(|name| !name.is_empty()) else { return Ok(None) };
            let id = look(name).or_else(|| name.parse().ok());
            if id.is_none() && !host.may_come() {
                return Err(Failure::new(format!("there is no {what} `{name}` on the host")));
            }
            Ok(Some(Owner { id, name: name.clone() }))
        };
        Ok(Wanted {
            owner: find("user", &self.owner, &|name| accounts::user(name).map(|user| user.uid))?,
            group: find("group", &self.group, &|name| accounts::group(name).map(|group| group.gid))?,
            mode: self.mode.clone(),
            attributes: self.attributes.clone().filter(|flags| !flags.is_empty()),
        })
    }
}

/// An owner or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The number; none if the name is unknown (check mode only).
    pub id: Option<u32>,
    /// What the task calls it.
    pub name: String,
}

/// Owner, group, mode and attributes that a path should have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// The owner.
    pub owner: Option<Owner>,
    /// The group.
    pub group: Option<Owner>,
    /// The permission bits.
    pub mode: Option<Mode>,
    /// Flags as chattr(1) takes them.
    pub attributes: Option<String>,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FileKind {
    File,
    Directory,
    Link,
    Other,
}

/// What is known of a path without reading it, its last component not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Length in bytes.
    pub size: u64,
    /// Number of names it has.
    pub nlink: u64,
    /// Device and inode.
    pub id: (u64, u64),
    /// Time of the last change of content, in seconds and nanoseconds.
    pub mtime: (i64, i64),
}

impl Stat {
    /// What is at a path; nothing if it is absent.
    ///
    /// # Errors
    /// It cannot be told (a directory on the way is not accessible).
    pub fn of(path: &Path) -> Result<Option<Self>, Failure> {
        Self::from_io(path, std::fs::symlink_metadata(path))
    }

    /// What is at the end of the links at a path; nothing if it is absent.
    ///
    /// # Errors
    /// It cannot be told, or the links go round.
    pub fn followed(path: &Path) -> Result<Option<Self>, Failure> {
        Self::from_io(path, std::fs::metadata(path))
    }

    fn from_io(path: &Path, found: std::io::Result<std::fs::Metadata>) -> Result<Option<Self>, Failure> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        match found {
            Ok(meta) => Ok(Some(Self::from_metadata(&meta))),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
            Err(error) => Err(Failure::io("cannot look at", path, error)),
        }
    }

    /// From what the standard library found.
    pub fn from_metadata(meta: &std::fs::Metadata) -> Self {
        let kind = match meta.file_type() {
            t if t.is_file() => FileKind::File,
            t if t.is_dir() => FileKind::Directory,
            t if t.is_symlink() => FileKind::Link,
            _ => FileKind::Other,
        };
        Self {
            kind,
            uid: meta.uid(),
            gid: meta.gid(),
            mode: meta.mode() & 0o7777,
            size: meta.size(),
            nlink: meta.nlink(),
            id: (meta.dev(), meta.ino()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
        }
    }

    /// What a file or directory gets when this process makes it in `parent`: umask, and the group of a setgid
    /// directory.
    pub fn fresh(kind: FileKind, parent: &Path) -> Self {
        let setgid = std::fs::metadata(parent).ok().filter(|meta| meta.mode() & 0o2000 != 0);
        let mode = match kind {
            FileKind::Directory => 0o777 & !umask() | if setgid.is_some() { 0o2000 } else { 0 },
            FileKind::Link => 0o777,
            _ => 0o666 & !umask(),
        };
        Self {
            kind,
            uid: rustix::process::geteuid().as_raw(),
            gid: setgid.map_or_else(|| rustix::process::getegid().as_raw(), |meta| meta.gid()),
            mode,
            size: 0,
            nlink: 1,
            id: (0, 0),
            mtime: (0, 0),
        }
    }

    /// Ansible's word for it: `file`, `hard`, `directory`, `link`.
    pub fn state(&self) -> &'static str {
        match self.kind {
            FileKind::Link => "link",
            FileKind::Directory => "directory",
            _ if self.nlink > 1 => "hard",
            _ => "file",
        }
    }

    /// The return values `uid`, `gid`, `owner`, `group`, `mode`, `state`, `size`.
    pub fn report(&self, result: &mut Map) {
        let owner = accounts::user_by_id(self.uid).map_or_else(|| self.uid.to_string(), |user| user.name);
        let group = accounts::group_by_id(self.gid).map_or_else(|| self.gid.to_string(), |group| group.name);
        result.extend(debark_value::map! {
            "uid" => self.uid, "gid" => self.gid, "owner" => owner, "group" => group,
            "mode" => octal(self.mode), "state" => self.state(), "size" => self.size,
        });
    }
}

/// Permission bits as Ansible reports them: `0644`.
pub fn octal(mode: u32) -> String {
    format!("0{mode:03o}")
}

/// The mask that this process makes files with.
pub fn umask() -> u32 {
    // umask(2) can only be read by setting it; the agent's own thread that makes files is this one.
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

/// What is to be changed of a path's owner, group, mode and attributes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attrs {
    path: PathBuf,
    owner: Option<Owner>,
    group: Option<Owner>,
    mode: Option<u32>,
    remode: bool,
    flags: Option<String>,
    /// `(property, before, after)`.
    pub changes: Vec<(&'static str, String, String)>,
}

impl Wanted {
    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares with what is (or will be, after a step before this one) at a path. `exists` says whether the path
    /// is there now, so that its attributes can be asked for.
    ///
    /// # Errors
    /// The file system's attributes cannot be read.
    pub fn diff(&self, host: &Host, path: &Path, now: &Stat, exists: bool) -> Result<Attrs, Failure> {
        let mut attrs = Attrs { path: path.to_path_buf(), ..Attrs::default() };
        if let Some(owner) = self.owner.as_ref().filter(|owner| owner.id != Some(now.uid)) {
            let shown = owner.id.map_or_else(|| owner.name.clone(), |id| id.to_string());
            attrs.changes.push(("owner", now.uid.to_string(), shown));
            attrs.owner = Some(owner.clone());
        }
        if let Some(group) = self.group.as_ref().filter(|group| group.id != Some(now.gid)) {
            let shown = group.id.map_or_else(|| group.name.clone(), |id| id.to_string());
            attrs.changes.push(("group", now.gid.to_string(), shown));
            attrs.group = Some(group.clone());
        }
        // A link has no mode of its own on Linux.
        if let Some(mode) = self.mode.as_ref().filter(|_| now.kind != FileKind::Link) {
            let mode = mode.resolve(now.mode, now.kind == FileKind::Directory, umask());
            // chown(2) clears setuid and setgid: the mode is set again after it.
            attrs.remode = attrs.owner.is_some() || attrs.group.is_some();
            if mode != now.mode {
                attrs.changes.push(("mode", octal(now.mode), octal(mode)));
            }
            attrs.mode = Some(mode);
            attrs.remode |= mode != now.mode;
        }
        if let Some(flags) = self.attributes.as_ref().filter(|_| now.kind != FileKind::Link) {
            let current = if exists { read_flags(host, path)? } else { String::new() };
            if flags_differ(&current, flags) {
                attrs.changes.push(("attributes", current, flags.clone()));
                attrs.flags = Some(flags.clone());
            }
        }
        Ok(attrs)
    }
}

/// The flags that lsattr(1) shows; none where the file system has no such flags.
pub fn read_flags(host: &Host, path: &Path) -> Result<String, Failure> {
    let output = host.exec(&Cmd::new("lsattr").arg("-d").arg("--").arg(path))?;
    let flags = output.out();
    let flags = if output.rc == 0 { flags.split_whitespace().next().unwrap_or_default() } else { "" };
    Ok(flags.chars().filter(|c| *c != '-').collect())
}

fn flags_differ(current: &str, wanted: &str) -> bool {
    // The kernel sets these itself (extents, inline data, encrypted, verity); chattr cannot.
    const FIXED: &str = "eNEVI";
    match wanted.split_at_checked(1) {
        Some(("+", flags)) => flags.chars().any(|flag| !current.contains(flag)),
        Some(("-", flags)) => flags.chars().any(|flag| current.contains(flag)),
        _ => {
            let flags = wanted.trim_start_matches('=');
            flags.chars().any(|flag| !current.contains(flag))
                || current.chars().any(|flag| !flags.contains(flag) && !FIXED.contains(flag))
        }
    }
}

impl Attrs {
    /// Whether the path is as wanted.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The differences as `--diff` shows them.
    pub fn diffs(&self) -> Vec<Diff> {
        let mut diffs = Vec::new();
        for (name, before, after) in &self.changes {
            diffs.push(Diff::property(self.path.display(), name, before, after));
        }
        diffs
    }

    /// What the path is like afterwards.
    #[must_use]
    pub fn after(&self, now: &Stat) -> Stat {
        let id = |owner: &Option<Owner>, now| owner.as_ref().and_then(|owner| owner.id).unwrap_or(now);
        let mode = self.mode.unwrap_or(now.mode);
        Stat { uid: id(&self.owner, now.uid), gid: id(&self.group, now.gid), mode, ..*now }
    }

    /// Sets owner, group and mode on a path (another than it was compared with, if that is to be renamed onto it),
    /// but no attributes: an immutable file could not be renamed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn apply_to(&self, path: &Path) -> Result<(), Failure> {
        let id = |owner: &Option<Owner>| match owner {
            None => Ok(None),
            Some(Owner { id: Some(id), .. }) => Ok(Some(*id)),
            Some(Owner { name, .. }) => Err(Failure::new(format!("there is no `{name}` on the host"))),
        };
        let (uid, gid) = (id(&self.owner)?, id(&self.group)?);
        if uid.is_some() || gid.is_some() {
            std::os::unix::fs::lchown(path, uid, gid)
                .map_err(|e| Failure::io("cannot change the owner of", path, e))?;
        }
        match self.mode {
            Some(mode) if self.remode => chmod(path, mode),
            _ => Ok(()),
        }
    }

    /// Sets the attributes.
    ///
    /// # Errors
    /// chattr(1) is missing or refuses.
    pub fn apply_flags(&self, host: &Host) -> Result<(), Failure> {
        let Some(flags) = &self.flags else { return Ok(()) };
        let word = if flags.starts_with(['+', '-', '=']) { flags.clone() } else { format!("={flags}") };
        host.exec_ok(&Cmd::new("chattr").arg(word).arg(&self.path)).map(drop)
    }

    /// Sets everything.
    ///
    /// # Errors
    /// The kernel or chattr(1) refuses.
    pub fn apply(&self, host: &Host) -> Result<(), Failure> {
        crate::guard::keep(&self.path)?;
        self.apply_to(&self.path)?;
        self.apply_flags(host)
    }
}

/// Sets permission bits without following a link that someone put in the path's place.
///
/// # Errors
/// It is a link, or the kernel refuses.
pub fn chmod(path: &Path, mode: u32) -> Result<(), Failure> {
    use rustix::fs::{CWD, Mode as Bits, OFlags};
    let failed = |error: &dyn std::fmt::Display| Failure::io("cannot change the mode of", path, error);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Bits::empty()).map_err(|e| failed(&e))?;
    let stat = rustix::fs::fstat(&file).map_err(|e| failed(&e))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Symlink {
        return Err(failed(&"it has become a symbolic link"));
    }
    // A descriptor opened by path only cannot be given to fchmod(2); its name in /proc can be given to chmod(2).
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    rustix::fs::chmod(format!("/proc/self/fd/{fd}"), Bits::from_raw_mode(mode)).map_err(|e| failed(&e))
}

/// The return values about a path as it is now, and nothing if it is absent.
///
/// # Errors
/// It cannot be told what is there.
pub fn report(path: &Path) -> Result<Map, Failure> {
    let mut result = Map::new();
    if let Some(stat) = Stat::of(path)? {
        stat.report(&mut result);
    }
    Ok(result)
}

/// What ansible-core adds to every result that names a path: what is there now, or that nothing is
/// (`AnsibleModule.add_path_info`).
///
/// # Errors
/// It cannot be told what is there.
pub fn path_info(path: &Path) -> Result<Map, Failure> {
    let mut result = debark_value::map! { "state" => "absent" };
    result.extend(report(path)?);
    Ok(result)
}

/// A path as a value.
pub fn path_value(path: &Path) -> Value {
    Value::from(path.to_string_lossy().as_ref())
}

#[cfg(test)]
mod tests;
