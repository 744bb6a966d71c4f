//! The machine's own apt sources: where base systems come from, and what hosts may install from.

use std::path::{Path, PathBuf};

use crate::command::Cmd;
use crate::state::Suite;

/// One archive, as a line of sources.list(5) would name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The archive's address.
    pub uri: String,
    /// `bookworm`, `bookworm-updates`, ...
    pub suite: String,
    /// `main`, `contrib`, ...
    pub components: Vec<String>,
}

impl Source {
    /// As a one-line source.
    pub fn line(&self) -> String {
        format!("deb {} {} {}", self.uri, self.suite, self.components.join(" "))
    }

    /// The address by which hosts ask the proxy for it: always plain http, because it is the proxy that talks to the
    /// archive, and signatures are checked either way.
    pub fn host_uri(&self) -> String {
        match self.uri.strip_prefix("https://") {
            Some(rest) => format!("http://{rest}"),
            None => self.uri.clone(),
        }
    }

    /// As a stanza for hosts.
    pub fn stanza(&self) -> String {
        let uri = self.host_uri();
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {}\nComponents: {}\nSigned-By: {KEYRING}\n",
            self.suite,
            self.components.join(" ")
        )
    }
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The machine's Debian archives, with `suite` in the place of the machine's own release. On a machine that has none
/// (another distribution, say), Debian's own.
pub fn for_suite(suite: Suite) -> Vec<Source> {
    let codename = codename(&std::fs::read_to_string("/etc/os-release").unwrap_or_default());
    let mut found = Vec::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let parsed = if path.extension().is_some_and(|ext| ext == "sources") {
            parse_deb822(&text)
        } else {
            parse_lines(&text)
        };
        found.extend(parsed);
    }
    let sources = translate(found, codename.as_deref().unwrap_or_default(), suite);
    if sources.is_empty() { fallback(suite) } else { sources }
}

/// The proxy that the machine's apt is told to use, if any.
pub fn machine_proxy() -> Option<String> {
    let text = Cmd::new("apt-config").args(["shell", "P", "Acquire::http::Proxy"]).run().ok()?;
    let value = text.trim().strip_prefix("P='")?.strip_suffix('\'')?;
    value.starts_with("http").then(|| value.to_owned())
}

fn files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = std::fs::read_dir(Path::new("/etc/apt/sources.list.d")).into_iter().flatten();
    let mut parts: Vec<_> = parts
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "list" || ext == "sources"))
        .collect();
    parts.sort();
    files.extend(parts);
    files
}

fn codename(os_release: &str) -> Option<String> {
    let line = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(line.trim_matches('"').to_owned())
}

fn fallback(suite: Suite) -> Vec<Source> {
    let main = |uri: &str, suite: String| Source { uri: uri.into(), suite, components: vec!["main".into()] };
    vec![
        main("http://deb.debian.org/debian", suite.to_string()),
        main("http://deb.debian.org/debian", format!("{suite}-updates")),
        main("http://deb.debian.org/debian-security", format!("{suite}-security")),
    ]
}

fn translate(found: Vec<Source>, codename: &str, suite: Suite) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for mut source in found {
        let Some(rest) = source.suite.strip_prefix(codename) else { continue };
        if codename.is_empty() || !["", "-updates", "-security"].contains(&rest) {
            continue;
        }
        if !source.uri.starts_with("http://") && !source.uri.starts_with("https://") {
            continue;
        }
        source.suite = format!("{suite}{rest}");
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    let has_release = sources.iter().any(|source| source.suite == suite.as_str());
    if has_release { sources } else { Vec::new() }
}

/// One-line style, sources.list(5): `deb [options] uri suite component...`.
fn parse_lines(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else {
            continue;
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            sources.push(Source { uri, suite, components: words.collect() });
        }
    }
    sources
}

/// deb822 style, sources.list(5).
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let text: String =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    for stanza in text.split("\n\n") {
        let words = |field: &str| -> Vec<String> {
            let mut values = Vec::new();
            let mut inside = false;
            for line in stanza.lines() {
                if line.starts_with([' ', '\t']) {
                    if inside {
                        values.extend(line.split_whitespace().map(str::to_owned));
                    }
                    continue;
                }
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                inside = name.trim().eq_ignore_ascii_case(field);
                if inside {
                    values.extend(value.split_whitespace().map(str::to_owned));
                }
            }
            values
        };
        let off = words("Enabled").first().is_some_and(|value| value == "no");
        if off || !words("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        for uri in words("URIs") {
            for suite in words("Suites") {
                sources.push(Source { uri: uri.clone(), suite, components: words("Components") });
            }
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n bookworm-backports\nComponents: main contrib\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/\nSuites: bookworm\nComponents: main\n";

    #[test]
    fn both_styles_say_the_same() {
        let one = parse_deb822(DEB822);
        let lines = "deb [signed-by=/k arch=amd64] http://mirror.example/debian bookworm main contrib # x\n\
                     deb-src http://mirror.example/debian bookworm main\n";
        assert_eq!(one.len(), 3);
        assert_eq!(one[0], parse_lines(lines)[0]);
        assert_eq!(parse_lines(lines).len(), 1);
    }

    #[test]
    fn the_release_is_exchanged_and_the_rest_dropped() {
        let mut found = parse_deb822(DEB822);
        found.push(Source { uri: "file:/srv".into(), suite: "bookworm".into(), components: vec![] });
        found.push(Source {
            uri: "http://node.example".into(),
            suite: "nodistro".into(),
            components: vec![],
        });
        let suites: Vec<_> =
            translate(found, "bookworm", Suite::Trixie).into_iter().map(|source| source.suite).collect();
        assert_eq!(suites, ["trixie", "trixie-updates"]);
    }

    #[test]
    fn a_machine_without_debian_sources_falls_back() {
        assert!(translate(parse_lines("deb http://a/ubuntu noble main"), "", Suite::Bookworm).is_empty());
        assert_eq!(fallback(Suite::Bookworm)[0].line(), "deb http://deb.debian.org/debian bookworm main");
    }

    #[test]
    fn https_archives_are_fetched_by_the_proxy() {
        let source = Source {
            uri: "https://m.example/d".into(),
            suite: "trixie".into(),
            components: vec!["main".into()],
        };
        assert!(source.stanza().contains("URIs: http://m.example/d\n"));
    }
}
