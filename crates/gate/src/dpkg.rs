//! dpkg's database, read as files: a process less per question.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use debark_order::gate::FailureKind;
use debark_order::{Digest, PackageName, PackageVersion};

use crate::failure::{Result, fail, file};

const STATUS: &str = "/var/lib/dpkg/status";
/// What dpkg writes while it works, one stanza a file; merged into the status file by its next run (dpkg's
/// lib/dpkg/dbmodify.c).
const UPDATES: &str = "/var/lib/dpkg/updates";

/// The database at one moment.
#[derive(Debug, Default)]
pub struct Database {
    stanzas: Vec<Stanza>,
    /// Whether dpkg was interrupted, or runs.
    pub interrupted: bool,
}

/// A package of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stanza(HashMap<String, String>);

impl Stanza {
    /// Reads a stanza.
    pub fn parse(text: &str) -> Self {
        let mut fields: HashMap<String, String> = HashMap::new();
        let mut last = String::new();
        for line in text.lines() {
            if line.starts_with([' ', '\t']) {
                if let Some(value) = fields.get_mut(&last) {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                last = name.to_ascii_lowercase();
                fields.insert(last.clone(), value.trim().to_owned());
            }
        }
        Self(fields)
    }

    /// A field; its name in lower case.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The three words of its status.
    fn status(&self) -> (&str, &str, &str) {
        let mut words = self.get("status").unwrap_or_default().split_whitespace();
        (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// Whether any of its files may be unpacked.
    pub fn is_present(&self) -> bool {
        !matches!(self.status().2, "" | "not-installed" | "config-files")
    }

    /// What is wrong, if it is neither installed nor absent as it should be: `half-configured`, `reinstreq half-installed`.
    pub fn trouble(&self) -> Option<String> {
        let (_, flag, state) = self.status();
        let fine = matches!(state, "" | "not-installed" | "config-files" | "installed");
        if flag != "reinstreq" && fine {
            return None;
        }
        Some(if flag == "reinstreq" { format!("reinstreq {state}") } else { state.to_owned() })
    }

    /// Its version.
    pub fn version(&self) -> Option<PackageVersion> {
        self.get("version")?.parse().ok()
    }

    /// Its configuration files: path, MD5 as shipped, and whether the installed version no longer has them.
    pub fn conffiles(&self) -> Vec<Conffile> {
        let lines = self.get("conffiles").unwrap_or_default().lines();
        lines
            .filter_map(|line| {
                let mut words: Vec<&str> = line.split_whitespace().collect();
                let mut obsolete = false;
                while let Some(word @ ("obsolete" | "remove-on-upgrade")) = words.last().copied() {
                    obsolete |= word == "obsolete";
                    words.pop();
                }
                let md5 = words.pop()?;
                // Paths may hold blanks.
                let path = line.trim_start().split(&format!(" {md5}")).next()?.to_owned();
                path.starts_with('/').then(|| Conffile { path, md5: md5.to_owned(), obsolete })
            })
            .collect()
    }
}

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conffile {
    /// Where.
    pub path: String,
    /// Of its content as the package has it.
    pub md5: String,
    /// The installed version does not have it: an earlier one left it.
    pub obsolete: bool,
}

impl Database {
    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read() -> Result<Self> {
        let path = Path::new(STATUS);
        let status = fs::read(path).map_err(|error| file(path, &error))?;
        let updates = Path::new(UPDATES);
        let mut names = Vec::new();
        for entry in fs::read_dir(updates).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
                names.push(name);
            }
        }
        names.sort();
        // dpkg may be at work and merge one under our hands: then it is in the status file of the next look.
        let texts: Vec<_> = names.iter().filter_map(|name| fs::read(updates.join(name)).ok()).collect();
        let mut all = String::from_utf8_lossy(&status).into_owned();
        for text in texts {
            all.push_str("\n\n");
            all.push_str(&String::from_utf8_lossy(&text));
        }
        let mut database = Self::parse(&all);
        database.interrupted = !names.is_empty();
        Ok(database)
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut places: HashMap<(String, String), usize> = HashMap::new();
        let mut stanzas: Vec<Stanza> = Vec::new();
        for text in text.split("\n\n") {
            let stanza = Stanza::parse(text.trim_matches('\n'));
            let Some(name) = stanza.get("package") else { continue };
            let key = (name.to_owned(), stanza.get("architecture").unwrap_or_default().to_owned());
            match places.get(&key).and_then(|place| stanzas.get_mut(*place)) {
                Some(before) => *before = stanza,
                None => {
                    places.insert(key, stanzas.len());
                    stanzas.push(stanza);
                }
            }
        }
        Self { stanzas, interrupted: false }
    }

    /// A package: that of the machine's own architecture, if there are several.
    pub fn package(&self, name: &PackageName) -> Option<&Stanza> {
        let native = self.architecture();
        let all = || self.stanzas.iter().filter(|stanza| stanza.get("package") == Some(name.as_str()));
        let own = all().find(
            |stanza| matches!(stanza.get("architecture"), Some(one) if one == "all" || Some(one) == native),
        );
        own.or_else(|| all().next())
    }

    /// All packages.
    pub fn packages(&self) -> impl Iterator<Item = &Stanza> {
        self.stanzas.iter()
    }

    /// The machine's own architecture: that of dpkg.
    pub fn architecture(&self) -> Option<&str> {
        self.stanzas.iter().find(|stanza| stanza.get("package") == Some("dpkg"))?.get("architecture")
    }

    /// The version that is installed, or half so.
    pub fn version(&self, name: &PackageName) -> Option<PackageVersion> {
        self.package(name).filter(|stanza| stanza.is_present())?.version()
    }

    /// Whether exactly this version is installed, with nothing left to do.
    pub fn is_live(&self, name: &PackageName, version: &PackageVersion) -> bool {
        self.package(name).is_some_and(|stanza| {
            stanza.is_present() && stanza.trouble().is_none() && stanza.version().as_ref() == Some(version)
        })
    }

    /// Whether dpkg has something left to do for packages other than this.
    pub fn others_in_trouble(&self, name: &PackageName) -> bool {
        self.stanzas
            .iter()
            .any(|stanza| stanza.get("package") != Some(name.as_str()) && stanza.trouble().is_some())
    }
}

/// A file of dpkg's about an installed package: `list`, `md5sums`.
pub fn info(name: &PackageName, architecture: Option<&str>, kind: &str) -> Option<String> {
    let plain = format!("/var/lib/dpkg/info/{name}.{kind}");
    let qualified =
        architecture.map(|architecture| format!("/var/lib/dpkg/info/{name}:{architecture}.{kind}"));
    let bytes = fs::read(plain).ok().or_else(|| fs::read(qualified?).ok())?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Kinds of files that dpkg takes over from a package as they are (deb(5)), or makes of its files (`list`, and `md5sums` if it has none).
const TAKEN: [&str; 12] = [
    "list",
    "md5sums",
    "conffiles",
    "preinst",
    "postinst",
    "prerm",
    "postrm",
    "config",
    "templates",
    "triggers",
    "shlibs",
    "symbols",
];

/// What tells two packages of one version: a digest of what dpkg remembers of the .deb that it unpacked last. It is another one if any
/// file or script is; only dpkg changes it. `None`: dpkg knows no such package.
pub fn mark(name: &PackageName, database: &Database) -> Option<Digest> {
    let stanza = database.package(name).filter(|stanza| stanza.is_present())?;
    let mut text = String::new();
    for kind in TAKEN {
        if let Some(content) = info(name, database.architecture(), kind) {
            text.push_str(&format!("{kind} {}\n{content}", content.len()));
        }
    }
    // As the package has them, whatever became of them here.
    for one in stanza.conffiles() {
        text.push_str(&format!("\n{} {}", one.md5, one.path));
    }
    Some(Digest::of(text.as_bytes()))
}

/// Compares versions (deb-version(7)).
pub fn compare(one: &PackageVersion, other: &PackageVersion) -> Ordering {
    fn parts(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
    let (one, other) = (parts(one.as_str()), parts(other.as_str()));
    one.0.cmp(&other.0).then_with(|| part(one.1, other.1)).then_with(|| part(one.2, other.2))
}

fn part(mut one: &str, mut other: &str) -> Ordering {
    // Letters before all else, and '~' before the end.
    fn weight(byte: Option<u8>) -> i32 {
        match byte {
            Some(b'~') => -1,
            None => 0,
            Some(byte) if byte.is_ascii_alphabetic() => byte.into(),
            Some(byte) => i32::from(byte) + 256,
        }
    }
    fn split(text: &str, digits: bool) -> (&str, &str) {
        let end = text.bytes().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
        text.split_at_checked(end).unwrap_or((text, ""))
    }
    while !one.is_empty() || !other.is_empty() {
        let ((word, rest), (other_word, other_rest)) = (split(one, false), split(other, false));
        for index in 0..word.len().max(other_word.len()) {
            let at = |text: &str| weight(text.as_bytes().get(index).copied());
            match at(word).cmp(&at(other_word)) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        let ((number, rest), (other_number, other_rest)) = (split(rest, true), split(other_rest, true));
        let (number, other_number) = (number.trim_start_matches('0'), other_number.trim_start_matches('0'));
        match number.len().cmp(&other_number.len()).then_with(|| number.cmp(other_number)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
        (one, other) = (rest, other_rest);
    }
    Ordering::Equal
}

/// A failure that says in which state a package is.
pub fn not_live(
    name: &PackageName,
    version: &PackageVersion,
    database: &Database,
) -> debark_order::gate::Failure {
    let found = database.package(name);
    let state = found.and_then(|stanza| stanza.get("status")).unwrap_or("not-installed");
    let has = found.and_then(|stanza| stanza.get("version")).unwrap_or("no version");
    fail(FailureKind::Install, format!("{name} {version} is not installed: dpkg has {has}, {state}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let versions = [
            "0", "0~rc1", "1", "1.0", "1.0-1", "1.0~a-1", "1.10", "1.9", "1:0", "1a", "1+b", "1.0.", "01",
            "1-0", "1.0+git",
        ];
        for one in versions {
            for other in versions {
                let ask = |how: &str| {
                    let mut dpkg = std::process::Command::new("dpkg");
                    dpkg.args(["--compare-versions", one, how, other]).status().unwrap().success()
                };
                let wanted = match () {
                    () if ask("lt") => Ordering::Less,
                    () if ask("eq") => Ordering::Equal,
                    () => Ordering::Greater,
                };
                assert_eq!(compare(&one.parse().unwrap(), &other.parse().unwrap()), wanted, "{one} {other}");
            }
        }
    }

    #[test]
    fn later_stanzas_replace_earlier_ones() {
        let text = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\n\n\
            Package: shop\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nConffiles:\n /etc/a b 0123\n /etc/c 4567 obsolete\n\n\n\n\
            Package: shop\nStatus: install reinstreq half-installed\nArchitecture: all\nVersion: 2\n";
        let name: PackageName = "shop".parse().unwrap();
        let first = Database::parse(text.split("\n\n\n").next().unwrap());
        let conffiles = first.package(&name).unwrap().conffiles();
        assert_eq!(conffiles[0], Conffile { path: "/etc/a b".into(), md5: "0123".into(), obsolete: false });
        assert!(conffiles[1].obsolete && conffiles.len() == 2);
        assert!(first.is_live(&name, &"1".parse().unwrap()));
        let database = Database::parse(text);
        assert_eq!(database.package(&name).unwrap().trouble().as_deref(), Some("reinstreq half-installed"));
        assert_eq!(database.version(&name), Some("2".parse().unwrap()));
        assert!(!database.others_in_trouble(&name));
    }
}
