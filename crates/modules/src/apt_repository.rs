//! `apt_repository`: archives as lines of sources.list(5).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::mode::Mode;
use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Map, Plan, Value, apt, choices, map, params, textfile};

choices! {
    /// What should hold.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Adds archives to apt in the one-line format.
    pub struct Params for "ansible.builtin.apt_repository" {
        /// The line: `deb [options] URL SUITE COMPONENTS`.
        repo: String,
        /// What should hold.
        state: State = State::Present,
        /// The mode of a file that is written.
        mode: Option<Mode>,
        /// Whether the lists of packages are fetched after a change.
        update_cache | "update-cache": bool = true,
        /// How often fetching the lists is tried.
        update_cache_retries: i64 = 5,
        /// The longest pause between tries, in seconds.
        update_cache_retry_max_delay: i64 = 12,
        /// The file in /etc/apt/sources.list.d, without `.list`; else it is called after the URL.
        filename: Option<String>,
        /// For PPAs, which are Ubuntu's.
        codename: Option<String>,
        /// Accepted; nothing needs to be installed for this.
        install_python_apt: bool = true,
        /// Accepted; concerns PPAs.
        validate_certs: bool = true,
    }
    rules NO_RULES
}

const MAIN: &str = "/etc/apt/sources.list";
const PARTS: &str = "/etc/apt/sources.list.d";

/// A line as it counts: the source with single blanks, whether it is switched on, and its comment.
struct Line {
    source: String,
    enabled: bool,
    comment: String,
}

/// Reads a line; none if it is no source, not even a switched-off one.
fn parse(line: &str) -> Option<Line> {
    let line = line.trim();
    let (enabled, rest) = match line.strip_prefix('#') {
        Some(rest) => (false, rest),
        None => (true, line),
    };
    let (source, comment) = rest.split_once('#').unwrap_or((rest, ""));
    let words: Vec<&str> = source.split_whitespace().collect();
    matches!(words.first(), Some(&"deb" | &"deb-src")).then(|| Line {
        source: words.join(" "),
        enabled,
        comment: comment.trim().to_owned(),
    })
}

impl Line {
    fn text(&self) -> String {
        if self.comment.is_empty() {
            self.source.clone()
        } else {
            format!("{} # {}", self.source, self.comment)
        }
    }
}

/// The file a line goes to: its URL without scheme, user and anything but letters and digits.
fn file_name(source: &str, given: Option<&str>) -> Result<String, Failure> {
    if let Some(name) = given {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Failure::new(format!("apt_repository: `filename` is no plain file name: {name:?}")));
        }
        // What already has the ending would get it twice in Ansible; apt reads either.
        return Ok(format!("{name}.list"));
    }
    let mut rest = source.to_owned();
    while let Some((before, options)) = rest.split_once('[') {
        let Some((_, after)) = options.split_once(']') else { break };
        rest = format!("{before}{after}");
    }
    let words: Vec<&str> =
        rest.split_whitespace().filter(|word| !matches!(*word, "deb" | "deb-src")).collect();
    let address = words.first().copied().unwrap_or_default();
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.split_once('@').map_or(address, |(_, rest)| rest);
    let parts: Vec<&str> =
        address.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err(Failure::new(format!("apt_repository: {source:?} names no address")));
    }
    Ok(format!("{}.list", parts.join("_")))
}

/// All files with lines of sources, and their texts.
fn files() -> Result<BTreeMap<PathBuf, String>, Failure> {
    let parts =
        std::fs::read_dir(PARTS).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let parts = parts.filter(|path| path.extension().is_some_and(|end| end == "list"));
    let mut files = BTreeMap::new();
    for path in parts.chain([PathBuf::from(MAIN)]) {
        if let Some(text) = textfile::read_text(&path)? {
            files.insert(path, text);
        }
    }
    Ok(files)
}

/// Looks for the line in all files.
///
/// # Errors
/// The line is no source, or a file cannot be read.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    if params.repo.starts_with("ppa:") {
        return Err(Failure::new(format!(
            "{} is a PPA: those are built for Ubuntu, and Debian hosts cannot use them",
            params.repo
        ))
        .hint("look for a repository of the project for Debian, and add it with deb822_repository"));
    }
    let Some(wanted) = parse(&params.repo).filter(|line| line.enabled) else {
        return Err(Failure::new(format!("Invalid repository string: {}", params.repo))
            .hint("it has the form `deb [options] URL SUITE COMPONENTS`"));
    };
    let old = files()?;
    let new = match params.state {
        State::Present => {
            add(&old, &wanted, Path::new(PARTS).join(file_name(&wanted.source, params.filename.as_deref())?))
        }
        State::Absent => remove(&old, &wanted),
    };
    let changed: Vec<(PathBuf, Option<String>, Option<String>)> = new
        .into_iter()
        .filter_map(|(path, text)| {
            let before = old.get(&path).cloned();
            (before.as_deref().unwrap_or_default() != text)
                // A file without any line left is removed, as in Ansible.
                .then(|| (path, before, (!text.trim().is_empty()).then_some(text)))
        })
        .collect();
    let names = |wanted: fn(&Option<String>, &Option<String>) -> bool| {
        Value::list(
            changed.iter().filter(|(_, a, b)| wanted(a, b)).map(|(path, ..)| path.display().to_string()),
        )
    };
    let result = map! {
        "repo" => params.repo.as_str(), "state" => params.state.word(),
        "sources_added" => names(|before, _| before.is_none()),
        "sources_removed" => names(|_, after| after.is_none()),
    };
    if changed.is_empty() {
        return Ok(Plan::ok(result));
    }
    let diff = changed
        .iter()
        .map(|(path, before, after)| {
            Diff::text(path.display(), before.clone().unwrap_or_default(), after.clone().unwrap_or_default())
        })
        .collect();
    Ok(Plan::change(result, diff, move |host| apply(&params, &changed, host)))
}

fn add(old: &BTreeMap<PathBuf, String>, wanted: &Line, default: PathBuf) -> BTreeMap<PathBuf, String> {
    let mut found = false;
    let mut new = edit(old, |line| {
        if line.source != wanted.source {
            return None;
        }
        found = true;
        // A line that is switched off is switched on where it stands.
        (!line.enabled).then(|| Some(line.text()))
    });
    if !found {
        let text =
            new.entry(default.clone()).or_insert_with(|| old.get(&default).cloned().unwrap_or_default());
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&wanted.text());
        text.push('\n');
    }
    new
}

fn remove(old: &BTreeMap<PathBuf, String>, wanted: &Line) -> BTreeMap<PathBuf, String> {
    edit(old, |line| (line.source == wanted.source).then_some(None))
}

/// The files with some lines replaced (`Some(Some(..))`) or left out (`Some(None)`).
fn edit(
    old: &BTreeMap<PathBuf, String>,
    mut change: impl FnMut(&Line) -> Option<Option<String>>,
) -> BTreeMap<PathBuf, String> {
    let mut new = BTreeMap::new();
    for (path, text) in old {
        let mut edited = String::new();
        for line in text.split_inclusive('\n') {
            match parse(line).and_then(|parsed| change(&parsed)) {
                None => edited.push_str(line),
                Some(Some(replacement)) => {
                    edited.push_str(&replacement);
                    edited.push('\n');
                }
                Some(None) => {}
            }
        }
        new.insert(path.clone(), edited);
    }
    new
}

fn apply(
    params: &Params,
    changed: &[(PathBuf, Option<String>, Option<String>)],
    host: &Host,
) -> Result<Map, Failure> {
    for (path, _, after) in changed {
        let current = textfile::mode(path);
        let mode = params.mode.as_ref().map(|mode| mode.resolve(current.unwrap_or(0o644), false, 0o022));
        match after {
            Some(text) => textfile::write(path, text.as_bytes(), mode)?,
            None => textfile::remove(path)?,
        }
    }
    if !params.update_cache {
        return Ok(Map::new());
    }
    let refreshed =
        apt::refresh_patiently(60, params.update_cache_retries, params.update_cache_retry_max_delay, host);
    refreshed.map(|()| Map::new()).map_err(|failure| {
        // A source that cannot be read would break every apt command after us.
        for (path, before, _) in changed {
            if let Err(second) = textfile::restore(path, before.as_deref().map(str::as_bytes)) {
                return second;
            }
        }
        failure.hint("the sources were put back as they were")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_as_ansible_does() {
        let name = |source| file_name(source, None).unwrap();
        assert_eq!(
            name("deb http://archive.canonical.com/ubuntu hardy partner"),
            "archive_canonical_com_ubuntu.list"
        );
        assert_eq!(
            name("deb [arch=amd64 signed-by=/k] https://u:p@d.example.com/x-y stable z"),
            "d_example_com_x_y.list"
        );
        assert_eq!(file_name("deb http://a b c", Some("google")).unwrap(), "google.list");
        assert!(file_name("deb http://a b c", Some("../x")).is_err());
        assert!(file_name("deb", None).is_err());
    }

    #[test]
    fn adds_enables_and_removes() {
        let path = PathBuf::from("/s/a.list");
        let old = BTreeMap::from([(
            path.clone(),
            "# note\n# deb http://a  x main # why\ndeb http://b y main".to_owned(),
        )]);
        let line = |text: &str| parse(text).unwrap();
        let new = add(&old, &line("deb http://a x main"), "/s/n.list".into());
        assert_eq!(new[&path], "# note\ndeb http://a x main # why\ndeb http://b y main");
        let new = add(&old, &line("deb http://c z main"), path.clone());
        assert!(new[&path].ends_with("deb http://b y main\ndeb http://c z main\n"));
        assert_eq!(add(&old, &line("deb  http://b y main"), "/s/n.list".into()), old);
        assert_eq!(
            remove(&old, &line("deb http://b y main"))[&path],
            "# note\n# deb http://a  x main # why\n"
        );
    }

    #[test]
    fn refuses_what_is_no_source() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let message = |repo: &str| {
            plan(Params::parse(&map! { "repo" => repo }).unwrap(), &host).err().map(|f| f.msg).unwrap()
        };
        assert!(message("ppa:x/y").contains("Ubuntu"));
        assert_eq!(message("http://a b"), "Invalid repository string: http://a b");
    }
}
