//! Names of packages as tasks give them, and what they need.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::policy::{self, Policy};
use super::{Params, State, get};
use crate::dpkg::{self, Database, version};
use crate::{Failure, Host, fnmatch};
use debark_value::Order;

/// How the version is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound<'a> {
    Any,
    /// `=`, with patterns.
    Equal(&'a str),
    /// `>=`.
    AtLeast(&'a str),
}

impl Bound<'_> {
    fn holds(self, version: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Equal(wanted) => wanted == version || fnmatch::matches(wanted, version),
            Self::AtLeast(least) => version::compare(version, least) != Ordering::Less,
        }
    }
}

/// `name`, `name=version` or `name>=version`.
fn split(spec: &str) -> (&str, Bound<'_>) {
    if let Some((name, version)) = spec.split_once(">=") {
        (name.trim(), Bound::AtLeast(version.trim()))
    } else if let Some((name, version)) = spec.split_once('=') {
        (name.trim(), Bound::Equal(version.trim()))
    } else {
        (spec, Bound::Any)
    }
}

/// What apt-get is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Words for `apt-get install`.
    pub(super) install: Vec<String>,
    /// Packages that are there but marked as installed automatically.
    pub(super) unmark: Vec<String>,
}

/// What is missing of the named packages.
pub(super) fn to_install(
    params: &Params,
    specs: &[String],
    db: &Database,
    host: &Host,
) -> Result<Needs, Failure> {
    let specs = expand(specs, || get::names(host), host)?;
    let latest = params.state == State::Latest;
    // Only for these apt has to be asked; a plain name that is there or not is no question.
    let questions: Vec<&str> = specs
        .iter()
        .map(|spec| split(spec))
        .filter(|(name, bound)| match installed(db, name) {
            Some(version) => latest || !bound.holds(version) && !is_exact(*bound),
            None if params.only_upgrade => false,
            None => !is_exact(*bound) && *bound != Bound::Any || db.provider(name).is_some(),
        })
        .map(|(name, _)| name)
        .collect();
    let policies = if questions.is_empty() {
        HashMap::new()
    } else {
        policy::ask(&questions, params.default_release.as_deref(), host)?
    };
    let auto = host.cached(|_| Ok(AutoMarks::read()))?;
    let mut needs = Needs::default();
    for spec in &specs {
        let (name, _) = split(spec);
        match decide(spec, params, db, &policies) {
            Ok(Some(word)) => needs.install.push(word),
            Ok(None) if auto.0.contains(name) && installed(db, name).is_some() => {
                needs.unmark.push(name.to_owned())
            }
            Ok(None) => {}
            Err(failure) if failure.hint.is_none() => return Err(failure.hint(get::suggestion(name, host))),
            Err(failure) => return Err(failure),
        }
    }
    Ok(needs)
}

fn is_exact(bound: Bound<'_>) -> bool {
    matches!(bound, Bound::Equal(version) if !fnmatch::is_pattern(version))
}

fn installed<'a>(db: &'a Database, name: &str) -> Option<&'a str> {
    db.get(name).filter(dpkg::Package::is_installed).map(|package| package.version())
}

/// The word for `apt-get install`, if one is needed.
fn decide(
    spec: &str,
    params: &Params,
    db: &Database,
    policies: &HashMap<String, Rc<Policy>>,
) -> Result<Option<String>, Failure> {
    let (name, bound) = split(spec);
    let here = installed(db, name);
    let policy = policies.get(name);
    let fits = here.is_some_and(|version| bound.holds(version));
    if here.is_none() && params.only_upgrade {
        return Ok(None);
    }
    if fits && params.state != State::Latest {
        return Ok(None);
    }
    match bound {
        Bound::Equal(version) if is_exact(bound) => {
            let here = here.is_some_and(|here| here == version);
            Ok((!here).then(|| format!("{name}={version}")))
        }
        Bound::Any => {
            let candidate = policy.and_then(|policy| policy.candidate.as_deref());
            match (here, candidate) {
                (Some(here), Some(best)) => Ok((here != best).then(|| name.to_owned())),
                // An installed package that no archive has is as new as it gets.
                (Some(_), None) => Ok(None),
                // Some installed package provides it, and there is none of that name itself.
                (None, None) if policy.is_some() => Ok(None),
                (None, _) => Ok(Some(name.to_owned())),
            }
        }
        Bound::Equal(_) | Bound::AtLeast(_) => {
            let candidate = policy.and_then(|policy| policy.candidate.as_ref());
            let others = policy.map(|policy| policy.versions.as_slice()).unwrap_or_default();
            // As in Ansible, `>=` takes only what would be installed anyway.
            let others = if matches!(bound, Bound::Equal(_)) { others } else { &[] };
            let best = candidate.into_iter().chain(others).find(|version| bound.holds(version));
            match best {
                Some(best) if here == Some(best) => Ok(None),
                Some(best) => Ok(Some(format!("{name}={best}"))),
                None if fits => Ok(None),
                None => Err(no_candidate(spec, policy)),
            }
        }
    }
}

fn no_candidate(spec: &str, policy: Option<&Rc<Policy>>) -> Failure {
    let failure = Failure::new(format!("no available installation candidate for {spec}"));
    match policy {
        Some(policy) if !policy.versions.is_empty() => {
            failure.hint(format!("apt has {}", policy.versions.join(", ")))
        }
        _ => failure,
    }
}

/// The names that are there and have to go.
pub(super) fn to_remove(specs: &[String], purge: bool, db: &Database) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for spec in specs {
        let (name, bound) = split(spec);
        let found: Vec<String> = if fnmatch::is_pattern(name) {
            let matching = db.packages().filter(|package| fnmatch::matches(name, package.name()));
            matching.map(|package| package.name().to_owned()).collect()
        } else {
            vec![name.to_owned()]
        };
        names.extend(found.into_iter().filter(|name| match db.get(name) {
            Some(package) if package.state() == dpkg::State::ConfigFiles => purge,
            Some(package) if package.state() == dpkg::State::NotInstalled => false,
            Some(package) => bound.holds(package.version()),
            None => false,
        }));
    }
    names.dedup();
    Ok(names)
}

/// Puts the names that match in the place of patterns.
fn expand(
    specs: &[String],
    names: impl Fn() -> Result<String, Failure>,
    host: &Host,
) -> Result<Vec<String>, Failure> {
    if !specs.iter().any(|spec| fnmatch::is_pattern(split(spec).0)) {
        return Ok(specs.to_vec());
    }
    let names = names()?;
    let mut all: Vec<String> = Vec::new();
    for spec in specs {
        let (pattern, _) = split(spec);
        if !fnmatch::is_pattern(pattern) {
            all.push(spec.clone());
            continue;
        }
        let before = all.len();
        all.extend(names.lines().filter(|name| fnmatch::matches(pattern, name)).map(str::to_owned));
        if all.len() == before {
            return Err(Failure::new(format!("No package(s) matching '{pattern}' available"))
                .hint(get::suggestion(pattern.trim_end_matches('*'), host)));
        }
        if let Some(found) = all.get_mut(before..) {
            found.order();
        }
    }
    Ok(all)
}

/// Packages that apt installed for others' sake.
struct AutoMarks(HashSet<String>);

impl AutoMarks {
    /// Reads apt's own list; without one nothing is marked.
    fn read() -> Self {
        let text = std::fs::read_to_string("/var/lib/apt/extended_states").unwrap_or_default();
        Self(Self::parse(&text))
    }

    fn parse(text: &str) -> HashSet<String> {
        let marked = |stanza: &str| {
            let field =
                |name: &str| stanza.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
            (field("Auto-Installed:")? == "1").then(|| field("Package:"))?
        };
        text.split("\n\n").filter_map(marked).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map;

    const STATUS: &str = "\
Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21

Package: mawk
Status: install ok installed
Architecture: amd64
Version: 1.3-1
Provides: awk

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
";

    fn needs(spec: &str, state: &str) -> Result<Option<String>, String> {
        let db = Database::parse(STATUS.into()).unwrap();
        let params = Params::parse(&map! { "name" => spec, "state" => state }).unwrap();
        let policy = |candidate: Option<&str>, versions: &[&str]| {
            Rc::new(Policy {
                candidate: candidate.map(str::to_owned),
                versions: versions.iter().map(|v| (*v).to_owned()).collect(),
            })
        };
        let policies = HashMap::from([
            ("mawk".to_owned(), policy(Some("1.4-1"), &["1.4-1", "1.3-1"])),
            ("new".to_owned(), policy(Some("2.0"), &["3.0", "2.0", "1.9"])),
            ("awk".to_owned(), policy(None, &[])),
        ]);
        decide(spec, &params, &db, &policies).map_err(|failure| failure.msg)
    }

    #[test]
    fn what_is_there_needs_nothing() {
        for spec in ["mawk", "mawk=1.3-1", "mawk=1.3*", "mawk>=1.2", "awk"] {
            assert_eq!(needs(spec, "present"), Ok(None), "{spec}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let word = |word: &str| Ok(Some(word.to_owned()));
        assert_eq!(needs("new", "present"), word("new"));
        assert_eq!(needs("mawk", "latest"), word("mawk"));
        assert_eq!(needs("mawk=1.4-1", "present"), word("mawk=1.4-1"));
        assert_eq!(needs("mawk=1.*", "latest"), word("mawk=1.4-1"));
        assert_eq!(needs("new=1.*", "present"), word("new=1.9"));
        assert_eq!(needs("new>=1.5", "present"), word("new=2.0"));
        assert_eq!(needs("gone", "present"), word("gone"));
        let error = needs("new>=2.5", "present").unwrap_err();
        assert_eq!(error, "no available installation candidate for new>=2.5");
    }

    #[test]
    fn removal_finds_what_is_left() {
        let db = Database::parse(STATUS.into()).unwrap();
        let remove = |spec: &str, purge| to_remove(&[spec.to_owned()], purge, &db).unwrap();
        assert_eq!(remove("m*", false), ["mawk"]);
        assert_eq!(remove("mawk=2", false), [""; 0]);
        assert_eq!(remove("gone", false), [""; 0]);
        assert_eq!(remove("gone", true), ["gone"]);
        assert_eq!(remove("no-such", true), [""; 0]);
    }

    #[test]
    fn reads_marks() {
        let text = "Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: b\nAuto-Installed: 0\n";
        assert_eq!(AutoMarks::parse(text), HashSet::from(["a".to_owned()]));
    }
}
