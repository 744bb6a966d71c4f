//! Whether a package's files are what the package has, down to the executables that run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use debark_order::gate::{FailureKind, FileReport};
use debark_order::{Digest, PackageName};
use sha2::Digest as _;

use crate::dpkg::{self, Database};
use crate::failure::{Result, fail};
use crate::state::State;
use crate::{status, store, trust, units};

/// More differences are not told.
const MAX_WRONG: usize = 200;

/// A file as the package has it.
enum Wanted {
    Content { sha256: Digest, mode: u32, links_to: Option<PathBuf> },
    Link(PathBuf),
    Directory,
}

/// Compares.
///
/// # Errors
/// The package is not installed, or dpkg's database cannot be read.
pub fn report(package: &PackageName) -> Result<FileReport> {
    let database = Database::read()?;
    let state = State::load()?;
    let Some(stanza) = database.package(package).filter(|stanza| stanza.is_present()) else {
        return Err(fail(FailureKind::Protocol, format!("{package} is not installed")));
    };
    let live = status::live(&database, &state, package);
    let mut report = FileReport {
        live: status::found(&database, &state, package),
        kept_is_whole: None,
        files: 0,
        wrong: Vec::new(),
        configuration: Vec::new(),
        processes: Vec::new(),
        running: 0,
        unknown: Vec::new(),
    };
    let digest = live.and_then(|live| live.digest);
    let kept = match &digest {
        Some(digest) => match store::verified(digest, &trust::keyring()?, None) {
            Ok(kept) => {
                report.kept_is_whole = Some(true);
                Some(kept)
            }
            Err(failure) if failure.kind == FailureKind::NotKept => None,
            Err(failure) => {
                report.kept_is_whole = Some(false);
                report.wrong.push(failure.message);
                None
            }
        },
        None => None,
    };
    let conffiles: BTreeMap<String, String> =
        stanza.conffiles().into_iter().filter(|one| !one.obsolete).map(|one| (one.path, one.md5)).collect();
    match &kept {
        Some(kept) => against_package(&store::path(&kept.digest), &conffiles, &mut report)?,
        None => against_sums(package, database.architecture(), &mut report),
    }
    for (path, md5) in &conffiles {
        match md5_of(Path::new(path)) {
            Ok(found) if found == *md5 => {}
            Ok(_) => report.configuration.push(format!("{path} was changed on this host")),
            Err(error) => report.configuration.push(format!("{path}: {error}")),
        }
    }
    processes(package, database.architecture(), &mut report);
    if report.wrong.len() > MAX_WRONG {
        let more = report.wrong.len() - MAX_WRONG;
        report.wrong.truncate(MAX_WRONG);
        report.wrong.push(format!("and {more} more"));
    }
    Ok(report)
}

/// Against the kept .deb: content by SHA-256, permissions, links.
fn against_package(deb: &Path, conffiles: &BTreeMap<String, String>, report: &mut FileReport) -> Result<()> {
    let failed = |error: io::Error| fail(FailureKind::Internal, format!("{}: {error}", deb.display()));
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let read = (|| {
        let mut archive = tar::Archive::new(io::BufReader::with_capacity(256 << 10, stdout));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let Some(path) = absolute(&entry.path()?) else { continue };
            let kind = entry.header().entry_type();
            let target = entry.link_name()?.map(std::borrow::Cow::into_owned);
            let wanted = match kind {
                tar::EntryType::Directory => Wanted::Directory,
                tar::EntryType::Symlink => Wanted::Link(target.unwrap_or_default()),
                tar::EntryType::Link => Wanted::Content {
                    sha256: Digest::of(b""),
                    mode: 0,
                    links_to: target.as_deref().and_then(absolute),
                },
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let mode = entry.header().mode()? & 0o7777;
                    Wanted::Content { sha256: sha256(&mut entry)?, mode, links_to: None }
                }
                _ => continue,
            };
            if path.to_str().is_some_and(|path| conffiles.contains_key(path)) {
                continue;
            }
            report.files += u64::from(!matches!(wanted, Wanted::Directory));
            if let Some(problem) = differs(&path, &wanted) {
                report.wrong.push(format!("{}: {problem}", path.display()));
            }
        }
        Ok(())
    })();
    let _ = child.kill();
    let _ = child.wait();
    read.map_err(failed)
}

/// A path of an archive as one of the host; `None` for what does not stay below the root.
fn absolute(path: &Path) -> Option<PathBuf> {
    let mut found = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => found.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(found)
}

fn differs(path: &Path, wanted: &Wanted) -> Option<String> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("missing".into()),
        Err(error) => return Some(error.to_string()),
    };
    match wanted {
        // A directory may be a link on the host: /lib is one where /usr is merged.
        Wanted::Directory => (!path.is_dir()).then(|| "no directory".into()),
        Wanted::Link(target) => match fs::read_link(path) {
            Ok(to) if to == *target => None,
            Ok(to) => Some(format!("leads to {} and not to {}", to.display(), target.display())),
            Err(_) => Some("no symbolic link".into()),
        },
        Wanted::Content { links_to: Some(other), .. } => {
            let same = fs::symlink_metadata(other)
                .is_ok_and(|other| (other.dev(), other.ino()) == (found.dev(), found.ino()));
            (!same).then(|| format!("not the same file as {}", other.display()))
        }
        Wanted::Content { sha256: wanted, mode, links_to: None } => {
            if !found.is_file() {
                return Some("no regular file".into());
            }
            match File::open(path).and_then(|mut file| sha256(&mut file)) {
                Err(error) => Some(error.to_string()),
                Ok(found) if found != *wanted => Some("other content than in the package".into()),
                Ok(_) if found.mode() & 0o7777 != *mode => {
                    Some(format!("mode {:04o} instead of {mode:04o}", found.mode() & 0o7777))
                }
                Ok(_) => None,
            }
        }
    }
}

/// Against dpkg's own MD5 sums: the .deb is not kept.
fn against_sums(package: &PackageName, architecture: Option<&str>, report: &mut FileReport) {
    let Some(sums) = dpkg::info(package, architecture, "md5sums") else {
        report.wrong.push(
            "neither the .deb is kept nor does dpkg have sums of its files: nothing can be compared".into(),
        );
        return;
    };
    for (sum, name) in sums.lines().filter_map(|line| line.split_once("  ")) {
        let Some(path) = absolute(Path::new(name)) else { continue };
        report.files += 1;
        match md5_of(&path) {
            Ok(found) if found == sum => {}
            Ok(_) => report.wrong.push(format!("{}: other content than in the package", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                report.wrong.push(format!("{}: missing", path.display()))
            }
            Err(error) => report.wrong.push(format!("{}: {error}", path.display())),
        }
    }
}

/// Whether the processes of the package's units run the files that are there now.
fn processes(package: &PackageName, architecture: Option<&str>, report: &mut FileReport) {
    let list = dpkg::info(package, architecture, "list").unwrap_or_default();
    for unit in units::states(&units::of_package(package, architecture)) {
        let (Some(pid), Some(executable)) = (unit.pid, unit.executable) else { continue };
        let own = executable.strip_suffix(" (deleted)").unwrap_or(&executable);
        let own = own.strip_suffix(".dpkg-tmp").unwrap_or(own);
        if !list.lines().any(|line| line == own) {
            report.unknown.push(format!(
                "{}: process {pid} runs {own}, which is not of {package}: what it has read cannot be told",
                unit.unit
            ));
            continue;
        }
        let running = hash_of(Path::new(&format!("/proc/{pid}/exe")));
        let there = hash_of(Path::new(own));
        if matches!((running, there), (Ok(running), Ok(there)) if running == there) {
            report.running += 1;
        } else {
            report
                .processes
                .push(format!("{}: process {pid} runs another {own} than the one that is there", unit.unit));
        }
    }
}

fn hash_of(path: &Path) -> io::Result<Digest> {
    sha256(&mut File::open(path)?)
}

fn sha256(from: &mut impl Read) -> io::Result<Digest> {
    let mut hash = sha2::Sha256::new();
    let mut buffer = [0; 64 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hash.finalize().into())),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn md5_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = md5::Md5::new();
    let mut buffer = [0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => md5::Digest::update(&mut hash, buffer.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(absolute(Path::new("./usr/bin/a")), Some("/usr/bin/a".into()));
        assert_eq!(absolute(Path::new("./")), Some("/".into()));
        assert_eq!(absolute(Path::new("./usr/../../etc/shadow")), None);
    }

    #[test]
    fn differences_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let wanted = Wanted::Content { sha256: Digest::of(b"abc"), mode: 0o644, links_to: None };
        assert_eq!(differs(&path, &wanted).as_deref(), Some("missing"));
        fs::write(&path, "abd").unwrap();
        assert_eq!(differs(&path, &wanted).as_deref(), Some("other content than in the package"));
        fs::write(&path, "abc").unwrap();
        let other = Wanted::Content { sha256: Digest::of(b"abc"), mode: 0o4755, links_to: None };
        assert!(differs(&path, &other).unwrap().ends_with("instead of 4755"));
        assert_eq!(md5_of(&path).unwrap(), "900150983cd24fb0d6963f7d28e17f72");
    }
}
