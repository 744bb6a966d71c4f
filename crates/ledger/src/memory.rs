//! What was verified, so that the next verification has only what is new to look at.
//!
//! It is remembered in a directory of the user's own, and not beside the ledger: whoever can write there could vouch for what they
//! forged. Each file says by itself what it is about, and a commit's name is made from all that is below it; so what a file says stays true
//! wherever it is moved to, and only who can write as the user can write a false one.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use debark_order::{Digest, Environment};
use git2::Oid;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Longer than any file of this kind.
const LIMIT: u64 = 4096;

/// A file in a directory of the user's own.
pub(crate) struct Note {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) name: String,
}

/// A ledger by one name, however it was called.
pub(crate) fn place(repository: &Path) -> Digest {
    let repository = repository.canonicalize().unwrap_or_else(|_| repository.to_owned());
    Digest::of(repository.as_os_str().as_encoded_bytes())
}

/// One chain, as one content of the allowed signers file lets it be verified.
pub(crate) struct Memory {
    note: Note,
    /// All of the file but the commit.
    about: String,
}

impl Memory {
    pub(crate) fn new(
        directory: Option<&Path>,
        repository: &Path,
        signers: Digest,
        environment: &Environment,
    ) -> Self {
        Self {
            note: Note {
                directory: directory.map(Path::to_owned),
                name: format!("{}-{}-{environment}", place(repository).short(), signers.short()),
            },
            about: format!("debark verified 1\nsigners {}\nenvironment {environment}\ntip ", signers.hex()),
        }
    }

    /// The tip that was verified last.
    pub(crate) fn recall(&self) -> Option<Oid> {
        let text = self.note.read()?;
        let tip = text.strip_prefix(&self.about)?.strip_suffix('\n')?;
        // Less than that would be the beginning of a name that was not written to its end.
        if tip.len() == 40 { Oid::from_str(tip).ok() } else { None }
    }

    /// Without it the next verification takes longer: nothing that goes wrong here is told.
    pub(crate) fn remember(&self, tip: Oid) {
        let _ = self.note.write(&format!("{}{tip}\n", self.about));
    }
}

impl Note {
    pub(crate) fn read(&self) -> Option<String> {
        let directory = own(self.directory.as_deref()?).ok()??;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, self.name.as_str(), flags, Mode::empty()).ok()?;
        let mut text = String::new();
        std::fs::File::from(file).take(LIMIT).read_to_string(&mut text).ok()?;
        Some(text)
    }

    pub(crate) fn path(&self) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(&self.name))
    }

    pub(crate) fn write(&self, text: &str) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let Some(path) = self.directory.as_deref() else { return Ok(()) };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let Ok(Some(directory)) = own(path) else { return Ok(()) };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, self.name.as_str(), flags, Mode::from_raw_mode(0o600))?;
        // In one write, so that who reads at the same time finds all of it or something too short.
        std::fs::File::from(file).write_all(text.as_bytes())
    }
}

/// Opens the directory if it is the user's own; why not, if somebody else can write to it. None: there is none.
pub(crate) fn own(path: &Path) -> Result<Option<OwnedFd>, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(format!("{} is no directory", path.display())),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let found = rustix::fs::fstat(&directory).map_err(|error| format!("{}: {error}", path.display()))?;
    if found.st_uid != rustix::process::geteuid().as_raw() {
        return Err(format!("{} belongs to another user", path.display()));
    }
    if found.st_mode & 0o022 != 0 {
        return Err(format!("{} can be written to by others", path.display()));
    }
    Ok(Some(directory))
}
