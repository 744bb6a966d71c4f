//! dpkg's database of packages, read straight from its files.
//!
//! A play asks for many packages and mostly nothing is to be done. Reading `/var/lib/dpkg/status` (one megabyte on a
//! large host) takes about a millisecond, any program that does it for us a hundred. The format is that of
//! deb822(5); dpkg writes changes to `/var/lib/dpkg/updates/` first and folds them into `status` later, so those
//! files are read after it and win.

use std::ops::Range;
use std::path::Path;

use memchr::{memchr, memmem};

use crate::{Failure, Host};
use debark_value::Order;

pub mod version;

/// Where dpkg keeps its state.
pub const ADMIN_DIR: &str = "/var/lib/dpkg";

/// What state a package is in; see dpkg(1), "package states".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum State {
    NotInstalled,
    ConfigFiles,
    HalfInstalled,
    Unpacked,
    HalfConfigured,
    TriggersAwaited,
    TriggersPending,
    Installed,
}

impl State {
    fn parse(word: &str) -> Self {
        match word {
            "config-files" => Self::ConfigFiles,
            "half-installed" => Self::HalfInstalled,
            "unpacked" => Self::Unpacked,
            "half-configured" => Self::HalfConfigured,
            "triggers-awaited" => Self::TriggersAwaited,
            "triggers-pending" => Self::TriggersPending,
            "installed" => Self::Installed,
            _ => Self::NotInstalled,
        }
    }
}

/// A stretch of the text; a status file beyond 4 GiB is refused before.
type Span = Range<u32>;

#[derive(Debug, Clone)]
struct Stanza {
    name: Span,
    arch: Span,
    want: Span,
    version: Span,
    provides: Span,
    extra: [Span; 2],
    state: State,
    reinstall: bool,
}

/// One package as dpkg knows it.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    text: &'a str,
    stanza: &'a Stanza,
}

impl<'a> Package<'a> {
    fn at(&self, span: &Span) -> &'a str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Its name, without architecture.
    pub fn name(&self) -> &'a str {
        self.at(&self.stanza.name)
    }

    /// Its architecture; `all` for one that runs anywhere.
    pub fn arch(&self) -> &'a str {
        self.at(&self.stanza.arch)
    }

    /// Its version, empty if it is gone.
    pub fn version(&self) -> &'a str {
        self.at(&self.stanza.version)
    }

    /// What is wanted of it: `install`, `hold`, `deinstall`, `purge` or `unknown`.
    pub fn want(&self) -> &'a str {
        self.at(&self.stanza.want)
    }

    /// Its section (`admin`).
    pub fn section(&self) -> &'a str {
        self.at(&self.stanza.extra[0])
    }

    /// Its source package if that has another name (`glibc`), maybe with a version.
    pub fn source(&self) -> &'a str {
        self.at(&self.stanza.extra[1])
    }

    /// What state it is in.
    pub fn state(&self) -> State {
        self.stanza.state
    }

    /// Whether it is wholly there.
    pub fn is_installed(&self) -> bool {
        self.stanza.state == State::Installed
    }

    /// Whether dpkg cannot go on without unpacking it again (`reinstreq`).
    pub fn must_reinstall(&self) -> bool {
        self.stanza.reinstall
    }

    /// Whether the dpkg run that worked on it did not end.
    pub fn is_broken(&self) -> bool {
        self.stanza.reinstall || (State::HalfInstalled..State::Installed).contains(&self.stanza.state)
    }

    /// The names it provides.
    pub fn provides(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let list = self.at(&self.stanza.provides);
        list.split(',').map(|item| item.split_whitespace().next().unwrap_or_default())
    }
}

/// All packages dpkg knows.
#[derive(Debug, Default)]
pub struct Database {
    text: String,
    /// Sorted by name.
    stanzas: Vec<Stanza>,
    /// Whether `updates/` held something: dpkg was interrupted or is at work.
    pub unmerged: bool,
}

impl Database {
    /// The host's database, read once per run.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn of(host: &Host) -> Result<std::rc::Rc<Self>, Failure> {
        host.cached(|_| Self::read(Path::new(ADMIN_DIR)))
    }

    /// Reads `status` and `updates/` in a directory.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn read(dir: &Path) -> Result<Self, Failure> {
        let status = dir.join("status");
        let mut bytes = std::fs::read(&status).map_err(|e| Failure::io("cannot read", &status, e))?;
        // Names are numbers; anything else is dpkg's own temporary file.
        let mut updates: Vec<_> = std::fs::read_dir(dir.join("updates"))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| {
                path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
            })
            .collect();
        updates.order();
        for path in &updates {
            bytes.extend_from_slice(b"\n\n");
            bytes.extend(std::fs::read(path).map_err(|e| Failure::io("cannot read", path, e))?);
        }
        let text =
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        let mut database = Self::parse(text)?;
        database.unmerged = !updates.is_empty();
        Ok(database)
    }

    /// Reads the text of a status file.
    ///
    /// # Errors
    /// It is larger than 4 GiB.
    pub fn parse(text: String) -> Result<Self, Failure> {
        if u32::try_from(text.len()).is_err() {
            return Err(Failure::new("dpkg's status file is larger than 4 GiB"));
        }
        let mut stanzas = scan(&text);
        let part = |span: &Span| text.get(span.start as usize..span.end as usize).unwrap_or_default();
        // Stable: of two stanzas for one package the later comes last, and wins.
        stanzas.order_by(|a, b| (part(&a.name), part(&a.arch)).cmp(&(part(&b.name), part(&b.arch))));
        stanzas.dedup_by(|later, earlier| {
            let same = part(&later.name) == part(&earlier.name) && part(&later.arch) == part(&earlier.arch);
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Ok(Self { text, stanzas, unmerged: false })
    }

    /// All packages, by name.
    pub fn packages(&self) -> impl Iterator<Item = Package<'_>> {
        self.stanzas.iter().map(|stanza| Package { text: &self.text, stanza })
    }

    /// The architecture of the host: that of dpkg itself.
    pub fn native(&self) -> &str {
        self.all("dpkg").first().map(|package| package.arch()).unwrap_or_default()
    }

    /// The package of that name; `name:arch` for another architecture than the host's.
    pub fn get(&self, name: &str) -> Option<Package<'_>> {
        let (name, arch) = name.split_once(':').map_or((name, None), |(name, arch)| (name, Some(arch)));
        let native = if name == "dpkg" { "" } else { self.native() };
        let fits = |package: &Package<'_>| match arch {
            Some("any") => true,
            None | Some("native") => [native, "all", ""].contains(&package.arch()) || name == "dpkg",
            Some(arch) => package.arch() == arch || package.arch() == "all" && arch == native,
        };
        let found = self.all(name).into_iter().filter(fits);
        found.max_by_key(Package::state)
    }

    /// The packages of that name, one per architecture.
    pub fn all(&self, name: &str) -> Vec<Package<'_>> {
        let at = |stanza: &Stanza| Package { text: &self.text, stanza }.name().cmp(name);
        let start = self.stanzas.partition_point(|stanza| at(stanza).is_lt());
        let rest = self.stanzas.get(start..).unwrap_or_default();
        let same = rest.iter().take_while(|stanza| at(stanza).is_eq());
        same.map(|stanza| Package { text: &self.text, stanza }).collect()
    }

    /// An installed package that provides that name.
    pub fn provider(&self, name: &str) -> Option<Package<'_>> {
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        // Most stanzas provide nothing: look for the word itself first.
        memmem::find(self.text.as_bytes(), name.as_bytes())?;
        self.packages()
            .find(|package| package.is_installed() && package.provides().any(|given| given == name))
    }

    /// The packages whose installation did not end.
    pub fn broken(&self) -> Vec<Package<'_>> {
        self.packages().filter(Package::is_broken).collect()
    }
}

/// The stanzas in order of the text.
fn scan(text: &str) -> Vec<Stanza> {
    let bytes = text.as_bytes();
    // A stanza takes about a kilobyte.
    let mut stanzas = Vec::with_capacity(bytes.len() / 1024 + 8);
    let mut current = empty();
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let length = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default();
        let next = at + length + 1;
        if line.is_empty() {
            finish(&mut stanzas, &mut current);
        } else if line.starts_with(b"Description:") {
            // The last field that counts in most stanzas is long: jump over it, to the next field or stanza.
            at = next;
            while bytes.get(at) == Some(&b' ') {
                let rest = bytes.get(at..).unwrap_or_default();
                at += memchr(b'\n', rest).unwrap_or(rest.len()) + 1;
            }
            continue;
        } else {
            field(&mut current, line, at, text);
        }
        at = next;
    }
    finish(&mut stanzas, &mut current);
    stanzas
}

fn empty() -> Stanza {
    Stanza {
        name: 0..0,
        arch: 0..0,
        want: 0..0,
        version: 0..0,
        provides: 0..0,
        extra: [0..0, 0..0],
        state: State::NotInstalled,
        reinstall: false,
    }
}

fn finish(stanzas: &mut Vec<Stanza>, current: &mut Stanza) {
    let stanza = std::mem::replace(current, empty());
    if !stanza.name.is_empty() {
        stanzas.push(stanza);
    }
}

fn field(stanza: &mut Stanza, line: &[u8], at: usize, text: &str) {
    let value = |key: usize| {
        let rest = line.get(key..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| **byte == b' ').count();
        let start = at + key + blank;
        start as u32..(at + line.len()) as u32
    };
    match line.first() {
        Some(b'P') if line.starts_with(b"Package:") => stanza.name = value(8),
        Some(b'P') if line.starts_with(b"Provides:") => stanza.provides = value(9),
        Some(b'A') if line.starts_with(b"Architecture:") => stanza.arch = value(13),
        Some(b'V') if line.starts_with(b"Version:") => stanza.version = value(8),
        Some(b'S') if line.starts_with(b"Section:") => stanza.extra[0] = value(8),
        Some(b'S') if line.starts_with(b"Source:") => stanza.extra[1] = value(7),
        Some(b'S') if line.starts_with(b"Status:") => {
            let span = value(7);
            let words = text.get(span.start as usize..span.end as usize).unwrap_or_default();
            let mut parts = words.split(' ');
            let want = parts.next().unwrap_or_default();
            stanza.want = span.start..span.start + want.len() as u32;
            stanza.reinstall = parts.next() == Some("reinstreq");
            stanza.state = State::parse(parts.next().unwrap_or_default());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
