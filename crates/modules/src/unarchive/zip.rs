//! Archives that unzip(1) reads.
//!
//! zipinfo(1) tells types, modes, lengths and times, `unzip -v` the checksums. With these every file on the host is
//! compared, because unzip has nothing like `tar --diff`.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use super::{Job, Observed, reason};
use crate::exec::Cmd;
use crate::facts::date_time::zone;
use crate::file_args::{FileKind, Stat, umask};
use crate::{Failure, Host, fnmatch};

/// Compares what zipinfo(1) lists with what is there.
pub(super) fn observe(job: &Job, host: &Host) -> Result<Observed, Failure> {
    let (info, handler) = zipinfo(job)?;
    let sums = checksums(job, host)?;
    let crcs: HashMap<&str, u32> = sums.iter().map(|(name, crc)| (name.as_str(), *crc)).collect();
    let output = host.exec(&info)?;
    let mut newer = Vec::new();
    let mut diff = String::new();
    for entry in output.out().lines().filter_map(Entry::parse) {
        if job.params.exclude.contains(&entry.name) {
            continue;
        }
        match entry.compare(job, &crcs)? {
            State::Same => {}
            State::Newer => newer.push(entry.name.clone()),
            State::Differs(how) => diff.push_str(&format!("{} {}\n", how, entry.name)),
        }
    }
    let wanted = |name: &&String| match job.params.include.as_slice() {
        [] => !job.params.exclude.iter().any(|pattern| fnmatch::matches(pattern, name)),
        include => include.iter().any(|pattern| fnmatch::matches(pattern, name)),
    };
    let mut extract = Cmd::new("unzip").arg("-o").args(&job.params.extra_opts).arg(&job.source.path);
    let exclude: Vec<&String> = job.params.exclude.iter().chain(&newer).collect();
    if !exclude.is_empty() {
        extract = extract.arg("-x").args(exclude);
    }
    extract = extract.args(&job.params.include).arg("-d").arg(&job.dest).env("LC_ALL", "C.UTF-8");
    let members = sums.iter().map(|(name, _)| name).filter(wanted).cloned().collect();
    Ok(Observed { handler, members, differs: output.rc != 0 || !diff.is_empty(), diff, extract })
}

/// What lists the archive, and Ansible's name for the pair of programs.
fn zipinfo(job: &Job) -> Result<(Cmd, &'static str), Failure> {
    if !on_path("unzip") {
        return Err(Failure::new(format!("{} is a zip file, and the host has no unzip", job.source.shown))
            .hint("install the Debian package `unzip` on the host"));
    }
    let (cmd, handler) = match on_path("zipinfo") {
        true => (Cmd::new("zipinfo"), "ZipArchive"),
        false => (Cmd::new("unzip").arg("-Zl"), "ZipZArchive"),
    };
    let mut cmd = cmd.arg("-T").arg("-s").arg(&job.source.path).env("LC_ALL", "C.UTF-8");
    if !job.params.exclude.is_empty() {
        cmd = cmd.arg("-x").args(&job.params.exclude);
    }
    Ok((cmd.args(&job.params.include), handler))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Name and CRC-32 of all files, in the archive's order.
fn checksums(job: &Job, host: &Host) -> Result<Vec<(String, u32)>, Failure> {
    let cmd = Cmd::new("unzip").arg("-v").arg(&job.source.path).env("LC_ALL", "C.UTF-8");
    let output = host.exec(&cmd)?;
    // 1 is a warning.
    if output.rc > 1 {
        let err = output.err();
        let why = reason(&err).unwrap_or("it is damaged");
        return Err(
            Failure::new(format!("unzip cannot read {}: {why}", job.source.shown)).with(output.result())
        );
    }
    Ok(output.out().lines().filter_map(checksum).collect())
}

/// `    12  Stored       12   0% 2024-01-01 10:10 3bb935c6  name`
fn checksum(line: &str) -> Option<(String, u32)> {
    let mut rest = line;
    let mut crc = "";
    for _ in 0..7 {
        let start = rest.trim_start();
        let (field, tail) = start.split_once(' ')?;
        (crc, rest) = (field, tail);
    }
    let crc = u32::from_str_radix(crc, 16).ok().filter(|_| crc.len() == 8)?;
    Some((rest.strip_prefix(' ')?.to_owned(), crc))
}

/// A line of zipinfo(1).
struct Entry {
    /// `d`, `l`, `-` or `?`.
    kind: char,
    /// What follows it: nine characters of a Unix mode, six or seven of FAT attributes.
    permissions: String,
    size: u64,
    /// Seconds since 1970.
    time: i64,
    name: String,
}

enum State {
    Same,
    /// Newer on the host, and to be kept.
    Newer,
    /// How, as rsync(1) itemises it.
    Differs(String),
}

impl Entry {
    /// `-rw-r--r--  3.0 unx       12 tx stor 20240101.101010 name`
    fn parse(line: &str) -> Option<Self> {
        let mut rest = line;
        let mut fields = [""; 7];
        for field in &mut fields {
            let (word, tail) = rest.trim_start().split_once(' ')?;
            (*field, rest) = (word, tail);
        }
        let [permissions, _, _, size, _, _, time] = fields;
        if !matches!(permissions.len(), 7 | 8 | 10)
            || time.len() != 15
            || !permissions.starts_with(['d', 'l', '-', '?'])
        {
            return None;
        }
        let mut letters = permissions.chars();
        let kind = letters.next()?;
        Some(Self {
            kind,
            permissions: letters.collect(),
            size: size.parse().ok()?,
            time: seconds(time)?,
            name: rest.to_owned(),
        })
    }

    fn is_dir(&self) -> bool {
        self.name.ends_with('/')
    }

    /// The mode that unzip(1) gives it.
    fn mode(&self) -> u32 {
        if self.permissions.len() == 9 {
            let bits = self.permissions.bytes().rev().zip(0..9);
            return bits
                .filter(|(letter, _)| b"rwxst".contains(letter))
                .fold(0, |mode, (_, bit)| mode | 1 << bit);
        }
        let runs = self.is_dir() || matches!(self.permissions.as_str(), "rwx---" | "rwxa---");
        (if runs { 0o777 } else { 0o666 }) & !umask()
    }

    fn compare(&self, job: &Job, crcs: &HashMap<&str, u32>) -> Result<State, Failure> {
        let path = job.dest.join(self.name.trim_end_matches('/'));
        let letter = match self.kind {
            _ if self.is_dir() => 'd',
            'l' => 'L',
            _ => 'f',
        };
        let kind = match letter {
            'd' => FileKind::Directory,
            'L' => FileKind::Link,
            _ => FileKind::File,
        };
        let Some(stat) = Stat::of(&path)? else { return Ok(State::Differs(format!(">{letter}++++++.??"))) };
        if stat.kind != kind {
            return Ok(State::Differs(format!("c{letter}++++++.??")));
        }
        let mut how: Vec<char> = format!(".{letter}.......??").chars().collect();
        let mut mark = |at: usize, letter: char| how.get_mut(at).map(|place| *place = letter);
        let mut differs = false;
        if kind == FileKind::File {
            let now = stat.mtime.0;
            if job.params.keep_newer && self.time < now {
                return Ok(State::Newer);
            }
            let here = crc32(&path)?;
            let other = crcs.get(self.name.as_str()).is_some_and(|crc| *crc != here);
            for (at, letter, found) in
                [(4, 't', self.time != now), (3, 's', self.size != stat.size), (2, 'c', other)]
            {
                if found {
                    differs = mark(at, letter).is_some();
                }
            }
        }
        let mode = match &job.wanted.mode {
            Some(mode) => mode.resolve(stat.mode, kind == FileKind::Directory, umask()),
            None => self.mode(),
        };
        if kind != FileKind::Link && mode != stat.mode {
            differs = mark(5, 'p').is_some();
        }
        let (uid, gid) = owners(job);
        if uid.is_some_and(|uid| uid != stat.uid) {
            differs = mark(6, 'o').is_some();
        }
        if gid.is_some_and(|gid| gid != stat.gid) {
            differs = mark(6, 'g').is_some();
        }
        Ok(if differs { State::Differs(how.into_iter().collect()) } else { State::Same })
    }
}

/// Who owns what is unpacked; nothing if a name is not known yet.
fn owners(job: &Job) -> (Option<u32>, Option<u32>) {
    let uid = match &job.wanted.owner {
        Some(owner) => owner.id,
        None => Some(rustix::process::geteuid().as_raw()),
    };
    let gid = match &job.wanted.group {
        Some(group) => group.id,
        None => Some(rustix::process::getegid().as_raw()),
    };
    (uid, gid)
}

/// `20240101.101010`, in the host's zone; within the years that zip files can hold.
fn seconds(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i8>().ok();
    let year: i16 = text.get(..4)?.parse().ok()?;
    let time = match year {
        ..1980 => jiff::civil::DateTime::new(1980, 1, 1, 0, 0, 0, 0),
        2108.. => jiff::civil::DateTime::new(2107, 12, 31, 23, 59, 59, 0),
        year => jiff::civil::DateTime::new(
            year,
            number(4, 6)?,
            number(6, 8)?,
            number(9, 11)?,
            number(11, 13)?,
            number(13, 15)?,
            0,
        ),
    };
    Some(zone().to_timestamp(time.ok()?).ok()?.as_second())
}

/// The checksum of zip files (APPNOTE 4.4.7), over a file on the host.
fn crc32(path: &Path) -> Result<u32, Failure> {
    let mut file = std::fs::File::open(path).map_err(|e| Failure::io("cannot read", path, e))?;
    let mut hasher = flate2::Crc::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer).map_err(|e| Failure::io("cannot read", path, e))?;
        match buffer.get(..count) {
            Some(bytes) if !bytes.is_empty() => hasher.update(bytes),
            _ => return Ok(hasher.sum()),
        }
    }
}
