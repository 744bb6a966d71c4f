//! Files and standard streams of `debark vault`: read whole, replaced at once, never half written.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IsTerminal as _, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use debark_playbook::Diagnostic;
use zeroize::Zeroizing;

use super::Outcome;

/// The name of standard input and output.
pub const STDIO: &str = "-";

/// Nothing larger is encrypted or decrypted, in bytes: all of it is in memory.
const LIMIT: u64 = 64 << 20;

/// What a file is called in messages.
pub fn name(path: &Path) -> String {
    if path == Path::new(STDIO) { "standard input".into() } else { path.display().to_string() }
}

fn wrong(what: &str, path: &Path, error: &io::Error) -> Diagnostic {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    };
    Diagnostic::error(format!("cannot {what} {}: {why}", name(path)))
}

/// All of a file, or of standard input.
pub fn read(path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
    let all = |source: &mut dyn Read, size: u64| -> io::Result<Zeroizing<Vec<u8>>> {
        // Room at once: what grows leaves copies behind that nobody wipes.
        let mut bytes = Zeroizing::new(Vec::with_capacity(size.min(LIMIT) as usize + 1));
        source.take(LIMIT + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = if path == Path::new(STDIO) {
        if io::stdin().is_terminal() {
            eprintln!("reading from standard input; Ctrl-D ends it");
        }
        all(&mut io::stdin().lock(), 1 << 20)
    } else {
        File::open(path).and_then(|mut file| {
            let meta = file.metadata()?;
            if meta.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { all(&mut file, meta.len()) }
        })
    };
    let bytes = bytes.map_err(|error| wrong("read", path, &error))?;
    if bytes.len() as u64 > LIMIT {
        return Err(Diagnostic::error(format!("{} holds more than {} MiB", name(path), LIMIT >> 20)));
    }
    Ok(bytes)
}

/// What is written, for its mode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Encrypted: the plaintext that was there is wiped.
    Sealed,
    /// Encrypted, as before.
    Anew,
    /// Decrypted: for nobody but the owner.
    Plain,
}

/// Where something goes.
pub enum Target {
    /// A file.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

impl Target {
    /// `-` is standard output.
    pub fn of(path: &Path) -> Self {
        if path == Path::new(STDIO) { Self::Stdout } else { Self::File(path.to_owned()) }
    }

    /// Writes all of it, at once: whoever reads the file meanwhile sees the old or the new one. Mode and owner stay.
    pub fn write(&self, bytes: &[u8], kind: Kind) -> Outcome {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)
                    .and_then(|()| out.flush())
                    .map_err(|error| Diagnostic::error(format!("cannot write to standard output: {error}")))
            }
            Self::File(path) => replace(path, bytes, kind).map_err(|error| wrong("write", path, &error)),
        }
    }
}

/// A name that nobody else has.
pub fn random() -> io::Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Creates a file that only its owner can read.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

fn replace(path: &Path, bytes: &[u8], kind: Kind) -> io::Result<()> {
    // A link stays one: its target is replaced.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let before = match fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => return Err(io::Error::other("it is no regular file")),
        Ok(meta) => Some(meta),
        Err(_) => None,
    };
    let new =
        directory.join(format!(".{}.{}", path.file_name().unwrap_or_default().to_string_lossy(), random()?));
    let written = (|| {
        let file = create(&new, bytes)?;
        if let Some(before) = &before {
            // Only root may give a file away; others keep their own.
            let _ = std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()));
            let mode = before.mode() & 0o7777;
            let mode = if kind == Kind::Plain { mode & 0o700 } else { mode };
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        file.sync_all()?;
        // What another name holds on to is not ours to wipe.
        let wipe = before.as_ref().filter(|before| kind == Kind::Sealed && before.nlink() == 1);
        let old = wipe.and_then(|_| OpenOptions::new().write(true).open(&path).ok());
        fs::rename(&new, &path)?;
        if let Some(old) = old {
            wiped(old);
        }
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Overwrites a file with zeros, as far as its file system does so in place.
pub fn wiped(mut file: File) {
    let Ok(length) = file.metadata().map(|meta| meta.len()) else { return };
    let from_start = file.seek(SeekFrom::Start(0));
    if from_start.and_then(|_| io::copy(&mut io::repeat(0).take(length), &mut file)).is_ok() {
        let _ = file.sync_all();
    }
}

/// Shows a plaintext: on a terminal through the pager, which gets it by a pipe and keeps no history of it.
pub fn show(plain: &[u8]) -> Outcome {
    if io::stdout().is_terminal() {
        let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
        let words = debark_modules::shlex::split(pager.as_deref().unwrap_or("less")).unwrap_or_default();
        if let Some((program, args)) = words.split_first() {
            let mut command = Command::new(program);
            command.args(args).stdin(Stdio::piped());
            command.env("LESS", "FRSX").env("LESSHISTFILE", "-").env("LESSSECURE", "1");
            if let Ok(mut child) = command.spawn() {
                if let Some(mut input) = child.stdin.take() {
                    // Whoever has seen enough ends the pager.
                    let _ = input.write_all(plain);
                }
                let _ = child.wait();
                return Ok(());
            }
        }
    }
    Target::Stdout.write(plain, Kind::Plain)
}
