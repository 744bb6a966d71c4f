//! apt: updates, sources, packages of nowhere.

use debark_value::{Map, Value, map};

use super::Around;

/// What apt knows of each installed package that has a newer version or no source, by one `apt-cache policy`: a simulated upgrade
/// takes a host 20 times as long, and `apt list` 10 times. `@date`: when each list was made; `@security`: the lists of security archives.
pub const POLICY: &str = "export LC_ALL=C; command -v apt-cache >/dev/null || { echo '!there is no apt'; exit; }
cd /var/lib/apt/lists 2>/dev/null; set -- *_Packages*; [ -e \"$1\" ] || { echo '!apt has no lists of packages: apt-get update has to be run'; exit; }
grep -hm1 '^Date: ' ./*Release 2>/dev/null | cut -c 7- | date -f - '+@date %s' 2>/dev/null
grep -lm1 '^Label: Debian-Security\\|^Suite: .*-security\\|^Codename: .*-security' ./*Release 2>/dev/null | sed 's/^../@security /'
apt-cache policy $(dpkg-query -Wf '${db:Status-Status} ${binary:Package}\\n' | sed -n 's/^installed //p') 2>&1 | awk '
function end() { if (keep || own && from < 2) printf(\"%s\", text); text = \"\"; keep = above = own = from = 0 }
/^E: / { print \"!\" $0; next }
/^[^ ]/ { end() }
{ text = text $0 \"\\n\" }
/^  Installed: / { installed = $2 }
/^  Candidate: / { if ($2 != installed) keep = 1 }
/^     [^ ]/ { if (own == 1) own = 2; if (!own) above = 1 }
/^ [*][*][*] / { own = 1; if (above) keep = 1 }
/^        / { if (own == 1) from++ }
END { end() }'";

/// Lists that were made so many days ago say nothing of updates: some archive of Debian's is made anew every few days.
const DAYS: u64 = 14;

/// A package as `apt-cache policy` shows it.
#[derive(Default)]
struct Policy<'a> {
    name: &'a str,
    installed: &'a str,
    candidate: &'a str,
    /// Where newer versions than the installed one are.
    newer: Vec<&'a str>,
    /// Where the installed one is.
    own: Vec<&'a str>,
}

/// apt_preferences(5) shows the format: versions from the newest on, the installed one after `***`, below each its sources.
fn policies(output: &str) -> Vec<Policy<'_>> {
    let mut found: Vec<Policy<'_>> = Vec::new();
    let (mut in_own, mut above) = (false, true);
    for line in output.lines().filter(|line| !line.starts_with('@')) {
        if !line.starts_with(' ') {
            found.push(Policy { name: line.trim_end_matches(':'), ..Policy::default() });
            (in_own, above) = (false, true);
            continue;
        }
        let Some(package) = found.last_mut() else { continue };
        if let Some(version) = line.strip_prefix("  Installed: ") {
            package.installed = version;
        } else if let Some(version) = line.strip_prefix("  Candidate: ") {
            package.candidate = version;
        } else if line.starts_with(" *** ") {
            (in_own, above) = (true, false);
        } else if let Some(source) = line.strip_prefix("        ") {
            let source = source.trim_start().split_once(' ').map_or("", |(_, source)| source);
            if in_own {
                package.own.push(source);
            } else if above {
                package.newer.push(source);
            }
        } else if line.starts_with("     ") {
            in_own = false;
        }
    }
    found
}

/// Whether a source, as `URI SUITE/COMPONENT ...`, has one of these lists, which apt names after URI and suite.
fn is_of(source: &str, lists: &[&str]) -> bool {
    let mut words = source.split_whitespace();
    let (Some(uri), Some(suite)) = (words.next(), words.next()) else { return false };
    let suite = suite.rsplit_once('/').map_or(suite, |(suite, _)| suite);
    let uri = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let uri = uri.strip_prefix("//").unwrap_or(uri).trim_end_matches('/');
    let file = |text: &str| text.replace('_', "%5f").replace('/', "_");
    let start = format!("{}_dists_{}_", file(uri), file(suite));
    suite.contains("-security") || lists.iter().any(|list| list.starts_with(&start))
}

/// `pending`, `security`: names of packages. A newer version in a security archive counts even if the package is held.
///
/// # Errors
/// The lists are old, or no security archive is among them.
pub fn updates(output: &str, around: &Around) -> Result<Map, String> {
    let lists: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("@security ")).collect();
    let dates = output.lines().filter_map(|line| line.strip_prefix("@date ")?.parse::<u64>().ok());
    let days = around.now.saturating_sub(dates.max().unwrap_or(0)) / 86_400;
    if days >= DAYS {
        return Err(format!(
            "the newest of apt's lists was made {days} days ago: apt-get update has to be run"
        ));
    }
    if lists.is_empty() {
        return Err("no security archive is among apt's sources".into());
    }
    let (mut pending, mut security) = (Vec::new(), Vec::new());
    for package in policies(output) {
        if package.newer.iter().any(|source| is_of(source, &lists)) {
            security.push(package.name);
        }
        if package.candidate != package.installed {
            pending.push(package.name);
        }
    }
    Ok(map! { "pending" => Value::list(pending), "security" => Value::list(security) })
}

/// `local`: names and versions of installed packages that no source has.
pub fn packages(output: &str, _: &Around) -> Map {
    let local = policies(output).into_iter().filter(|package| package.own.len() < 2);
    let local = local.map(|package| format!("{} {}", package.name, package.installed));
    map! { "local" => Value::list(local.collect::<Vec<_>>()) }
}

/// Whether a reboot is due, and for what (needrestart(1) and Debian's kernels leave the file).
pub const REBOOT: &str =
    "[ -e /run/reboot-required ] && { echo '@reboot'; cat /run/reboot-required.pkgs 2>/dev/null; }; :";

/// `reboot_required`, `reboot_for`.
pub fn reboot(output: &str, _: &Around) -> Map {
    let mut lines = output.lines();
    let required = lines.next() == Some("@reboot");
    map! { "reboot_required" => required, "reboot_for" => Value::list(lines.map(str::trim)) }
}

/// All files with sources, and what apt is told to let pass.
pub const SOURCES: &str = "export LC_ALL=C; for f in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
[ -f \"$f\" ] && { echo \"@file $f\"; cat \"$f\"; echo; }; done
apt-config dump 2>/dev/null | grep -i 'Allow\\(Unauthenticated\\|InsecureRepositories\\)\\|GPGV::TrustedKeyring' | sed 's/^/@conf /'; :";

fn yes(word: &str) -> bool {
    matches!(word.trim().trim_matches(['"', ';']), "yes" | "true" | "1" | "on" | "with" | "enable")
}

/// `uris`; `unsigned`: what is taken without a signature, and where that is said; `unpinned`: sources without `Signed-By`.
pub fn sources(output: &str, _: &Around) -> Map {
    let (mut uris, mut unsigned, mut unpinned) = (Vec::new(), Vec::new(), Vec::new());
    let mut file = String::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    let mut number = 0usize;
    let mut start = 1usize;
    for line in output.lines().chain(["@file "]) {
        if let Some(text) = line.strip_prefix("@conf ") {
            if text.split_once(' ').is_some_and(|(_, value)| yes(value)) {
                unsigned.push(text.trim_end_matches(';').to_owned());
            }
            continue;
        }
        let next = line.strip_prefix("@file ");
        if next.is_some() || line.trim().is_empty() {
            deb822(&file, start, &stanza, &mut uris, &mut unsigned, &mut unpinned);
            stanza.clear();
            start = number + 2;
        }
        if let Some(path) = next {
            (file, number, start) = (path.to_owned(), 0, 1);
            continue;
        }
        number += 1;
        let place = format!("{file}:{number}");
        if file.ends_with(".list") {
            one_line(line, &place, &mut uris, &mut unsigned, &mut unpinned);
        } else if file.ends_with(".sources") && !line.starts_with('#') {
            match line.split_once(':').filter(|_| !line.starts_with([' ', '\t'])) {
                Some((name, value)) => stanza.push((name.trim().to_lowercase(), value.trim().to_owned())),
                None => {
                    if let Some((_, value)) = stanza.last_mut() {
                        value.push(' ');
                        value.push_str(line.trim());
                    }
                }
            }
        }
    }
    uris.sort();
    uris.dedup();
    map! { "uris" => Value::list(uris), "unsigned" => Value::list(unsigned), "unpinned" => Value::list(unpinned) }
}

/// sources.list(5), ONE-LINE-STYLE FORMAT.
fn one_line(
    line: &str,
    place: &str,
    uris: &mut Vec<String>,
    unsigned: &mut Vec<String>,
    unpinned: &mut Vec<String>,
) {
    let line = line.split('#').next().unwrap_or_default().trim();
    let Some((kind, rest)) = line.split_once(char::is_whitespace) else { return };
    if kind != "deb" && kind != "deb-src" {
        return;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((options, rest)) => (options, rest),
        None => ("", rest),
    };
    let uri = rest.split_whitespace().next().unwrap_or_default().to_owned();
    let option = |name: &str| {
        options
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
    };
    for name in ["trusted", "allow-insecure"] {
        if option(name).is_some_and(|(_, value)| yes(value)) {
            unsigned.push(format!("{place} {uri} {name}=yes"));
        }
    }
    if option("signed-by").is_none() {
        unpinned.push(format!("{place} {uri}"));
    }
    uris.push(uri);
}

/// sources.list(5), DEB822-STYLE FORMAT.
fn deb822(
    file: &str,
    line: usize,
    stanza: &[(String, String)],
    uris: &mut Vec<String>,
    unsigned: &mut Vec<String>,
    unpinned: &mut Vec<String>,
) {
    let field = |name: &str| stanza.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let Some(list) = field("uris") else { return };
    if field("enabled").is_some_and(|word| matches!(word, "no" | "false" | "0" | "off")) {
        return;
    }
    for name in ["trusted", "allow-insecure"] {
        if field(name).is_some_and(yes) {
            unsigned.push(format!("{file}:{line} {list} {name}: yes"));
        }
    }
    if field("signed-by").is_none() {
        unpinned.push(format!("{file}:{line} {list}"));
    }
    uris.extend(list.split_whitespace().map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_in_both_formats() {
        let text = "@file /etc/apt/sources.list\n# deb http://old x main\ndeb [trusted=yes arch=amd64] http://a.example.org/ ./\n\n\
                    deb [signed-by=/k] https://b.example.org stable main\n\n@file /etc/apt/sources.list.d/x.sources\nTypes: deb\n\
                    URIs: https://c.example.org\nSigned-By:\n -----BEGIN\n .\n\nTypes: deb\nURIs: http://d.example.org\nTrusted: yes\n\n\
                    Enabled: no\nURIs: http://e\nTrusted: yes\n\n@conf APT::Get::AllowUnauthenticated \"true\";\n@conf Acquire::AllowInsecureRepositories \"0\";\n";
        let found = sources(text, &Around::default());
        assert_eq!(
            found["unsigned"],
            Value::list([
                "/etc/apt/sources.list:2 http://a.example.org/ trusted=yes",
                "/etc/apt/sources.list.d/x.sources:7 http://d.example.org trusted: yes",
                "APT::Get::AllowUnauthenticated \"true\"",
            ])
        );
        let uris = [
            "http://a.example.org/",
            "http://d.example.org",
            "https://b.example.org",
            "https://c.example.org",
        ];
        assert_eq!(found["uris"], Value::list(uris));
    }

    #[test]
    fn updates_and_local_packages() {
        let text = "@date 1000000\n@date 500000\n@security mirror.example.org_sec_dists_bookworm_InRelease\n\
                    openssl:\n  Installed: 3.0.1-1\n  Candidate: 3.0.1-1\n  Version table:\n     3.0.2-1 500\n        500 http://mirror.example.org/sec bookworm/main amd64 Packages\n\
                    \x20*** 3.0.1-1 500\n        500 http://deb.debian.org/debian bookworm/main amd64 Packages\n        100 /var/lib/dpkg/status\n\
                    vim:\n  Installed: 1\n  Candidate: 2\n  Version table:\n     2 500\n        500 http://deb.debian.org/debian bookworm/main amd64 Packages\n\
                    \x20*** 1 100\n        100 /var/lib/dpkg/status\n     0 500\n        500 http://deb.debian.org/debian-security bookworm-security/main amd64 Packages\n\
                    shop:\n  Installed: 1.2\n  Candidate: 1.2\n  Version table:\n *** 1.2 100\n        100 /var/lib/dpkg/status\n";
        let at = |now: u64| Around { now, ..Around::default() };
        let found = updates(text, &at(1_000_000)).unwrap();
        assert_eq!(found["security"], Value::list(["openssl"]), "also a held one; older ones do not count");
        assert_eq!(found["pending"], Value::list(["vim"]));
        assert_eq!(packages(text, &at(0))["local"], Value::list(["vim 1", "shop 1.2"]));
        let late = updates(text, &at(1_000_000 + 15 * 86_400)).unwrap_err();
        assert!(late.contains("made 15 days ago"), "{late}");
        assert!(updates("@date 1000000\n", &at(1_000_000)).unwrap_err().contains("no security archive"));
        let due = reboot("@reboot\nlinux-image-amd64\n", &at(0));
        assert_eq!(
            (&due["reboot_required"], &due["reboot_for"]),
            (&Value::from(true), &Value::list(["linux-image-amd64"]))
        );
        assert_eq!(reboot("", &at(0))["reboot_required"], Value::from(false));
    }
}
