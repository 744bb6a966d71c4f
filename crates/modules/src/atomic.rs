//! Replaces a file as a whole or not at all.
//!
//! The new content is written to a temporary file in the same directory, gets owner, mode and extended attributes
//! (access control lists are such) of the file it replaces, is checked by the task's `validate` command, synced, and
//! renamed over it. Whatever fails before the rename leaves the host as it was.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use debark_value::map;

use crate::Host;
use crate::exec::Cmd;
use crate::file_args::{Attrs, FileKind, Stat, Wanted};
use crate::plan::Failure;

/// One replacement: what, over what, and what has to hold.
#[derive(Debug, Clone)]
pub struct Replace {
    /// The path that gets the content; if it is a link, the link itself is replaced.
    pub dest: PathBuf,
    /// What was there when the change was computed.
    pub seen: Option<Stat>,
    /// Owner and mode before `wanted` is applied: those of the replaced file, or of a new one.
    pub base: Stat,
    /// Owner, group, mode and attributes that it should have.
    pub wanted: Wanted,
    /// A command that must accept the new content; `%s` is the temporary file.
    pub validate: Option<String>,
    /// Keep a copy of what was there.
    pub backup: bool,
    /// Write in place where the file cannot be replaced.
    pub unsafe_writes: bool,
}

/// What gives the content.
pub type Fill<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<(), Failure>;

impl Replace {
    /// A replacement of what is at `dest` now.
    ///
    /// # Errors
    /// It cannot be told what is there, or it is neither file nor link.
    pub fn observe(dest: &Path) -> Result<Self, Failure> {
        let seen = Stat::of(dest)?;
        let base = match seen {
            Some(stat) if stat.kind == FileKind::File => stat,
            Some(stat) if matches!(stat.kind, FileKind::Directory | FileKind::Other) => {
                let what = if stat.kind == FileKind::Directory { "a directory" } else { "no regular file" };
                return Err(Failure::new(format!("{} is {what}", dest.display())));
            }
            _ => Stat::fresh(FileKind::File, parent_of(dest)),
        };
        Ok(Self {
            dest: dest.to_path_buf(),
            seen,
            base,
            wanted: Wanted::default(),
            validate: None,
            backup: false,
            unsafe_writes: false,
        })
    }

    /// How owner, mode and attributes of the result differ from those that it would get without `wanted`.
    ///
    /// # Errors
    /// The attributes of the file system cannot be read.
    pub fn attrs(&self, host: &Host) -> Result<Attrs, Failure> {
        self.wanted.diff(host, &self.dest, &self.base, self.seen.is_some())
    }

    /// Writes the content and puts it in place. Yields the path of the backup, if one was made.
    ///
    /// # Errors
    /// The file was changed by someone else since it was observed, `validate` refuses, the disk is full, ...: then
    /// the host is as it was.
    pub fn commit(self, host: &Host, fill: Fill<'_>) -> Result<Option<PathBuf>, Failure> {
        self.unchanged()?;
        let attrs = self.attrs(host)?;
        let temp = Temp::beside(&self.dest, self.unsafe_writes)?;
        let mut sink = Sink { file: &temp.file, error: None };
        if let Err(failure) = fill(&mut sink) {
            return Err(sink.error.take().map_or(failure, |error| write_failure(&self.dest, error)));
        }
        self.dress(&temp, &attrs)?;
        self.validated(host, &temp.path)?;
        temp.file.sync_all().map_err(|error| write_failure(&self.dest, error))?;
        let saved = match self.seen {
            Some(stat) if self.backup && stat.kind == FileKind::File => Some(backup(&self.dest)?),
            _ => None,
        };
        let kept = crate::guard::keep(&self.dest);
        if let Err(failure) = kept.and_then(|()| self.unchanged()).and_then(|()| self.place(temp)) {
            if let Some(saved) = &saved {
                let _ = std::fs::remove_file(saved);
            }
            return Err(failure);
        }
        attrs.apply_flags(host)?;
        Ok(saved)
    }

    /// Gives the temporary file what the file it replaces had, and then what is wanted.
    fn dress(&self, temp: &Temp, attrs: &Attrs) -> Result<(), Failure> {
        let kept = self.seen.filter(|stat| stat.kind == FileKind::File);
        let made = temp.file.metadata().map_err(|e| Failure::io("cannot look at", &temp.path, e))?;
        let made = Stat::from_metadata(&made);
        if (made.uid, made.gid) != (self.base.uid, self.base.gid) {
            // An unprivileged agent cannot give files away; the owner then is the agent's, as with any editor.
            let _ = std::os::unix::fs::fchown(&temp.file, Some(self.base.uid), Some(self.base.gid));
        }
        if kept.is_some() {
            copy_xattrs(&self.dest, &temp.path)?;
        }
        crate::file_args::chmod(&temp.path, self.base.mode)?;
        attrs.apply_to(&temp.path)
    }

    fn validated(&self, host: &Host, temp: &Path) -> Result<(), Failure> {
        let Some(command) = &self.validate else { return Ok(()) };
        let cmd = validate_command(command, temp)?;
        let output = host.exec(&cmd)?;
        if output.rc == 0 {
            return Ok(());
        }
        let why = output.failure(&cmd).msg;
        Err(Failure::new(format!("{} would not be valid: {why}", self.dest.display()))
            .hint("nothing was changed; the task's `validate` command refused the new content")
            .with(map! { "exit_status" => output.rc, "stdout" => output.out(), "stderr" => output.err() }))
    }

    /// Fails if the path is not as it was observed.
    fn unchanged(&self) -> Result<(), Failure> {
        let key = |stat: &Stat| (stat.id, stat.size, stat.mtime);
        if Stat::of(&self.dest)?.as_ref().map(key) == self.seen.as_ref().map(key) {
            return Ok(());
        }
        Err(Failure::new(format!("{} was changed by someone else in the meantime", self.dest.display()))
            .hint("it was left as it is now; run again"))
    }

    fn place(&self, mut temp: Temp) -> Result<(), Failure> {
        let renamed = if temp.elsewhere {
            Err(io::Error::from_raw_os_error(rustix::io::Errno::XDEV.raw_os_error()))
        } else {
            std::fs::rename(&temp.path, &self.dest)
        };
        match renamed {
            Ok(()) => {
                temp.placed = true;
                sync_dir(parent_of(&self.dest));
                Ok(())
            }
            Err(_) if self.unsafe_writes => self.overwrite(&temp),
            Err(error) => {
                let failure = Failure::io("cannot replace", &self.dest, &error);
                Err(match error.kind() {
                    io::ErrorKind::ResourceBusy => {
                        failure.hint("it is a mount point; `unsafe_writes: true` writes it in place")
                    }
                    io::ErrorKind::PermissionDenied => failure.hint(
                        "the file may be immutable (see lsattr), or the directory read-only for this user",
                    ),
                    _ => failure,
                })
            }
        }
    }

    fn overwrite(&self, temp: &Temp) -> Result<(), Failure> {
        let failed = |error| write_failure(&self.dest, error);
        let mut from = File::open(&temp.path).map_err(|e| Failure::io("cannot read", &temp.path, e))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut to = options.open(&self.dest).map_err(failed)?;
        io::copy(&mut from, &mut to).map_err(failed)?;
        to.sync_all().map_err(failed)
    }
}

/// The `validate` command with the file's path in place of `%s`.
///
/// # Errors
/// There is no `%s`, or the quoting is wrong.
pub fn validate_command(command: &str, file: &Path) -> Result<Cmd, Failure> {
    if !command.contains("%s") {
        return Err(Failure::new(format!("validate must contain %s, got {command:?}")));
    }
    let words = crate::shlex::split(command).map_err(|why| Failure::new(format!("validate: {why}")))?;
    let file = file.to_string_lossy();
    let mut words = words.into_iter().map(|word| word.replace("%s", &file).replace("%%", "%"));
    Ok(Cmd::new(words.next().unwrap_or_default()).args(words))
}

/// The directory a path is in; `.` for a bare name.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Fails if the directory of a path is missing, unless in check mode a task before this one may be about to make it.
///
/// # Errors
/// The directory is missing.
pub fn need_parent(host: &Host, path: &Path) -> Result<(), Failure> {
    let parent = parent_of(path);
    match Stat::followed(parent)? {
        Some(stat) if stat.kind == FileKind::Directory => Ok(()),
        None if host.may_come() => Ok(()),
        None => Err(Failure::new(format!(
            "{} cannot be made: the directory {} does not exist",
            path.display(),
            parent.display()
        ))),
        Some(_) => Err(Failure::new(format!(
            "{} cannot be made: {} is not a directory",
            path.display(),
            parent.display()
        ))),
    }
}

/// Copies a file beside itself as Ansible names it, with owner, mode and extended attributes.
///
/// # Errors
/// It cannot be read, or the copy cannot be written; a partial copy is removed.
pub fn backup(path: &Path) -> Result<PathBuf, Failure> {
    // `2017-09-29 22:03:48.083128` without its fraction.
    let stamp = crate::clock::stamp(std::time::SystemTime::now()).replace(' ', "@");
    let stamp = stamp.split('.').next().unwrap_or_default();
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.{stamp}~", std::process::id()));
    let copy = PathBuf::from(name);
    crate::guard::keep(&copy)?;
    copy_file(path, &copy).inspect_err(|_| drop(std::fs::remove_file(&copy)))?;
    Ok(copy)
}

/// Copies a regular file with owner, mode, times and extended attributes.
///
/// # Errors
/// It cannot be read or written.
pub fn copy_file(from: &Path, to: &Path) -> Result<(), Failure> {
    let mut source = File::open(from).map_err(|e| Failure::io("cannot read", from, e))?;
    let meta = source.metadata().map_err(|e| Failure::io("cannot read", from, e))?;
    let failed = |error| write_failure(to, error);
    let mut options = OpenOptions::new();
    let mut copy = options.write(true).create(true).truncate(true).mode(0o600).open(to).map_err(failed)?;
    io::copy(&mut source, &mut copy).map_err(failed)?;
    let stat = Stat::from_metadata(&meta);
    let _ = std::os::unix::fs::fchown(&copy, Some(stat.uid), Some(stat.gid));
    copy_xattrs(from, to)?;
    crate::file_args::chmod(to, stat.mode)?;
    if let (Ok(accessed), Ok(modified)) = (meta.accessed(), meta.modified()) {
        let times = std::fs::FileTimes::new().set_accessed(accessed).set_modified(modified);
        copy.set_times(times).map_err(failed)?;
    }
    copy.sync_all().map_err(failed)
}

/// Copies extended attributes as far as both file systems have them.
fn copy_xattrs(from: &Path, to: &Path) -> Result<(), Failure> {
    use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
    // 64 KiB is the kernel's limit for a list of names and for one value (xattr(7)).
    let mut names = vec![0u8; 64 << 10];
    let Ok(length) = llistxattr(from, names.as_mut_slice()) else { return Ok(()) };
    names.truncate(length);
    if names.is_empty() {
        return Ok(());
    }
    let mut value = vec![0u8; 64 << 10];
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let Ok(length) = lgetxattr(from, name, value.as_mut_slice()) else { continue };
        let value = value.get(..length).unwrap_or_default();
        if let Err(error) = lsetxattr(to, name, value, XattrFlags::empty()) {
            // Labels and capabilities may be refused to an unprivileged agent; an access control list never.
            if name.starts_with(b"system.posix_acl") {
                return Err(Failure::io("cannot keep the access control list of", from, error));
            }
        }
    }
    Ok(())
}

/// Syncs a directory, so that a rename in it outlives a power cut. File systems that cannot are left alone.
pub fn sync_dir(dir: &Path) {
    if let Ok(dir) = File::open(dir) {
        let _ = dir.sync_all();
    }
}

/// A failure to write, with what to do about a full or read-only disk.
pub fn write_failure(path: &Path, error: io::Error) -> Failure {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => {
            let what =
                if error.kind() == StorageFull { "its file system is full" } else { "the quota is used up" };
            Failure::new(format!("cannot write {}: {what}", path.display()))
                .hint("nothing was changed; free some space and run again")
        }
        ReadOnlyFilesystem => {
            Failure::new(format!("cannot write {}: its file system is mounted read-only", path.display()))
        }
        _ => Failure::io("cannot write", path, error),
    }
}

struct Temp {
    path: PathBuf,
    file: File,
    placed: bool,
    elsewhere: bool,
}

impl Temp {
    fn beside(dest: &Path, anywhere: bool) -> Result<Self, Failure> {
        match Self::within(parent_of(dest), false) {
            Err(_) if anywhere => Self::within(&std::env::temp_dir(), true),
            made => made,
        }
        .map_err(|error| write_failure(dest, error))
    }

    fn within(dir: &Path, elsewhere: bool) -> io::Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        for _ in 0..16 {
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos());
            // No suffix and a leading dot: nothing that reads `*.conf` or a `.d` directory takes it for its own.
            let path = dir.join(format!(".debark-{}-{count}-{nanos}", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Self { path, file, placed: false, elsewhere }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.placed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Remembers why a write failed: whoever fills may tell it in other words.
struct Sink<'a> {
    file: &'a File,
    error: Option<io::Error>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.error =
                    Some(error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error));
            }
        })
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|e| Failure::io("cannot read", path, e))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Failure::io("cannot read", path, e))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::new(format!("{} is larger than {limit} bytes", path.display())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
