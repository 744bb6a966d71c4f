//! Files of host keys: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
//!
//! Which lines are about a host is asked of ssh-keygen, which knows hashed names and patterns as ssh does. Files are
//! replaced whole, so that no ssh reads half of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::hostkey;
use crate::target::Target;

/// Beyond this a file is surely none of host keys.
const LIMIT: u64 = 16 << 20;

/// What a line says beside names and a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// The key signs certificates of these hosts.
    CertAuthority,
    /// The key counts no more.
    Revoked,
}

/// A line with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// From 1.
    pub line: usize,
    /// `@cert-authority`, `@revoked`.
    pub marker: Option<Marker>,
    /// Names and patterns with commas between them, or a hash.
    pub names: String,
    /// `ssh-ed25519`.
    pub kind: String,
    /// In base64.
    pub key: String,
}

impl Known {
    fn parse(number: usize, text: &str) -> Option<Self> {
        let mut words = text.split_whitespace().filter(|_| !text.trim_start().starts_with('#')).peekable();
        let marker = match *words.peek()? {
            "@cert-authority" => Some(Marker::CertAuthority),
            "@revoked" => Some(Marker::Revoked),
            _ => None,
        };
        if marker.is_some() {
            words.next();
        }
        let (names, kind, key) = (words.next()?, words.next()?, words.next()?);
        Some(Self { line: number, marker, names: names.into(), kind: kind.into(), key: key.into() })
    }

    /// `SHA256:...`.
    pub fn fingerprint(&self) -> Option<String> {
        hostkey::fingerprint(&self.key)
    }

    /// `ssh-ed25519 SHA256:...`.
    pub fn described(&self) -> Option<String> {
        Some(format!("{} {}", self.kind, self.fingerprint()?))
    }
}

impl Target {
    /// The file that the host's key is looked up in and recorded in: `UserKnownHostsFile` of the ssh arguments, or the
    /// inventory's own, or the user's.
    pub fn known_hosts_file(&self) -> PathBuf {
        let text = self.known_hosts_text();
        match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
            (Some(rest), Some(home)) => Path::new(&home).join(rest),
            _ => PathBuf::from(text),
        }
    }

    /// The same, as it was written.
    pub(crate) fn known_hosts_text(&self) -> String {
        self.known_hosts_argument()
            .filter(|file| file != "/dev/null")
            .or_else(|| self.known_hosts.as_ref().map(|path| path.display().to_string()))
            .unwrap_or_else(|| "~/.ssh/known_hosts".into())
    }

    /// The first file of `UserKnownHostsFile` in the user's arguments.
    pub(crate) fn known_hosts_argument(&self) -> Option<String> {
        const NAME: &str = "userknownhostsfile";
        let mut words = self.args.iter();
        while let Some(word) = words.next() {
            let option = match word.strip_prefix("-o") {
                Some("") => words.next()?.as_str(),
                Some(attached) => attached,
                None => continue,
            };
            let option = option.trim_start();
            if option.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
                let value = option.get(NAME.len()..)?.trim_start_matches(['=', ' ', '\t']);
                let file = match value.strip_prefix('"') {
                    Some(quoted) => quoted.split('"').next(),
                    None => value.split_whitespace().next(),
                };
                return file.filter(|file| !file.is_empty()).map(str::to_owned);
            }
        }
        None
    }
}

/// All lines with keys; none if there is no such file.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &Path) -> io::Result<Vec<Known>> {
    let text = text(file)?;
    Ok(text.lines().enumerate().filter_map(|(index, line)| Known::parse(index + 1, line)).collect())
}

/// The key in one line.
pub(crate) fn at(file: &Path, line: usize) -> Option<Known> {
    read(file).ok()?.into_iter().find(|known| known.line == line)
}

fn text(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    match File::open(file) {
        Ok(file) => file.take(LIMIT).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines that are about a host by this name (`[HOST]:PORT` for another port than 22), as ssh-keygen finds them.
///
/// # Errors
/// The file cannot be read, or ssh-keygen cannot be run.
pub fn about(file: &Path, name: &str) -> io::Result<Vec<Known>> {
    let all = read(file)?;
    if all.is_empty() {
        return Ok(all);
    }
    let output = Command::new("ssh-keygen").arg("-F").arg(name).arg("-f").arg(file).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    // "# Host NAME found: line 3 REVOKED" before each line (ssh-keygen(1), -F).
    let lines: Vec<usize> = said
        .lines()
        .filter_map(|line| line.strip_prefix("# Host ")?.rsplit_once(" found: line "))
        .filter_map(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .collect();
    Ok(all.into_iter().filter(|known| lines.contains(&known.line)).collect())
}

/// Adds `keys` (name, type, base64) to a file, after taking `name` out of the lines `gone`. Names are hashed if those
/// of the file are. Other lines stay as they are; the file appears whole or not at all.
///
/// # Errors
/// A sentence that names the file.
pub fn record(file: &Path, keys: &[(String, String, String)], gone: &[Known]) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    // Through a symbolic link it is the file behind it that is replaced.
    let place = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let directory = match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    if !directory.is_dir() {
        fs::DirBuilder::new().recursive(true).create(&directory).map_err(failed)?;
    }
    let held = hold(&place).map_err(failed)?;
    let before = text(&place).map_err(failed)?;
    let hashed =
        before.lines().filter_map(|line| Known::parse(1, line)).any(|known| known.names.starts_with("|1|"));
    let mut after = String::new();
    for (index, line) in before.split_inclusive('\n').enumerate() {
        match gone.iter().find(|known| known.line == index + 1) {
            Some(known) if Known::parse(known.line, line).as_ref() == Some(known) => {
                after.push_str(&without(file, known, line, keys)?);
            }
            Some(_) => return Err(format!("{} was changed by somebody else meanwhile", file.display())),
            None => after.push_str(line),
        }
    }
    if !after.is_empty() && !after.ends_with('\n') {
        after.push('\n');
    }
    let mut new: String = keys.iter().map(|(name, kind, key)| format!("{name} {kind} {key}\n")).collect();
    if hashed {
        new = hash(&new).map_err(failed)?;
    }
    after.push_str(&new);
    replace(&place, &directory, &after).map_err(failed)?;
    drop(held);
    Ok(())
}

/// A line without a name: empty if it was the only one.
fn without(
    file: &Path,
    known: &Known,
    line: &str,
    keys: &[(String, String, String)],
) -> Result<String, String> {
    let own = |name: &str| keys.iter().any(|(key_name, _, _)| key_name == name);
    if known.names.starts_with("|1|") || own(&known.names) {
        return Ok(String::new());
    }
    let rest: Vec<&str> = known.names.split(',').filter(|name| !own(name)).collect();
    let pattern = known.names.contains(['*', '?', '!']) || rest.len() == known.names.split(',').count();
    if pattern {
        return Err(format!(
            "{}:{} is about more hosts by a pattern: change it by hand",
            file.display(),
            known.line
        ));
    }
    Ok(line.replacen(&known.names, &rest.join(","), 1))
}

/// The same lines with hashed names, by ssh-keygen.
fn hash(lines: &str) -> io::Result<String> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("known_hosts");
    fs::write(&path, lines)?;
    let output = Command::new("ssh-keygen").arg("-q").arg("-H").arg("-f").arg(&path).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    fs::read_to_string(&path)
}

/// The file, locked against others that record keys in it.
fn hold(place: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o644).open(place)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        // Whoever had it before has put another file in its place.
        if fs::metadata(place).is_ok_and(|found| found.ino() == file.metadata().map_or(0, |own| own.ino())) {
            return Ok(file);
        }
    }
}

fn replace(place: &Path, directory: &Path, text: &str) -> io::Result<()> {
    let mode = fs::metadata(place)?.permissions().mode() & 0o7777;
    let mut file = tempfile::Builder::new().prefix(".known_hosts-").tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(place).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBvdfVPpTUpUUIqHUeHJKDhXwWkQRiRUzJo7nlU4b7Lw";
    const TWO: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIKwCSJUMQVBvZbDHVXuTGgGzX0ehIxBm1gWvjYNqBWxS";

    fn key(name: &str, key: &str) -> (String, String, String) {
        (name.into(), "ssh-ed25519".into(), key.into())
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        let text = format!(
            "# ours\n@cert-authority *.example.org ssh-ed25519 {ONE}\n\nh1,10.0.0.1 ssh-ed25519 {ONE} note"
        );
        fs::write(&file, &text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        record(&file, &[key("h2", TWO)], &[]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{text}\nh2 ssh-ed25519 {TWO}\n"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        let old = about(&file, "10.0.0.1").unwrap();
        assert_eq!(old.iter().map(|known| known.line).collect::<Vec<_>>(), [4]);
        record(&file, &[key("10.0.0.1", TWO)], &old).unwrap();
        let now = fs::read_to_string(&file).unwrap();
        assert!(now.contains(&format!("\nh1 ssh-ed25519 {ONE} note\n")), "{now}");
        assert!(now.ends_with(&format!("\n10.0.0.1 ssh-ed25519 {TWO}\n")), "{now}");
        let names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["known_hosts"]);
    }

    #[test]
    fn hashed_files_stay_hashed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        fs::write(&file, hash(&format!("h1 ssh-ed25519 {ONE}\n")).unwrap()).unwrap();
        record(&file, &[key("[h2]:2222", TWO)], &[]).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.lines().count() == 2 && text.lines().all(|line| line.starts_with("|1|")), "{text}");
        assert_eq!(about(&file, "[h2]:2222").unwrap()[0].key, TWO);
        let old = about(&file, "h1").unwrap();
        record(&file, &[key("h1", TWO)], &old).unwrap();
        assert_eq!(
            about(&file, "h1").unwrap().iter().map(|known| known.key.as_str()).collect::<Vec<_>>(),
            [TWO]
        );
    }

    #[test]
    fn patterns_and_markers() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        fs::write(&file, format!("@revoked * ssh-ed25519 {ONE}\n*.example.org ssh-ed25519 {TWO}\n")).unwrap();
        let found = about(&file, "a.example.org").unwrap();
        assert_eq!(found[0].marker, Some(Marker::Revoked));
        let error = record(&file, &[key("a.example.org", ONE)], &found[1..]).unwrap_err();
        assert!(error.contains(":2 is about more hosts"), "{error}");
        assert_eq!(read(&directory.path().join("none")).unwrap(), []);
    }

    #[test]
    fn the_file_that_arguments_name() {
        let of = |args: &[&str]| {
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            Target { args, known_hosts: Some("/inventory/known".into()), ..Target::default() }
                .known_hosts_file()
        };
        assert_eq!(of(&["-o", "UserKnownHostsFile=/a /b"]), Path::new("/a"));
        assert_eq!(of(&["-4", "-oUserKnownHostsFile=\"/a b\""]), Path::new("/a b"));
        assert_eq!(of(&["-o", "userknownhostsfile /c"]), Path::new("/c"));
        assert_eq!(of(&["-J", "x"]), Path::new("/inventory/known"));
    }
}
