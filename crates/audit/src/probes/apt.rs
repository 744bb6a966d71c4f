//! apt: updates, sources, packages of nowhere.

use debark_value::{Map, Value, map};

use super::Around;

/// What an upgrade would install, without doing so (apt-get(8), -s), and whether a reboot is due.
pub const UPDATES: &str =
    "export LC_ALL=C; apt-get -s -o Debug::NoLocking=1 dist-upgrade 2>&1 | sed -n '/^Inst/p; s/^E: /!/p'
[ -e /run/reboot-required ] && { echo '@reboot'; cat /run/reboot-required.pkgs 2>/dev/null; }; :";

/// `pending`, `security`: names of packages; `reboot_required`, `reboot_for`.
pub fn updates(output: &str, _: &Around) -> Map {
    let (mut pending, mut security, mut reboot_for, mut reboot) = (Vec::new(), Vec::new(), Vec::new(), false);
    for line in output.lines() {
        match line.strip_prefix("Inst ") {
            // Inst openssl [3.0.1] (3.0.2 Debian-Security:12/stable-security [amd64])
            // New kernels come as new packages.
            Some(rest) if !reboot => {
                let name = rest.split_whitespace().next().unwrap_or_default();
                if rest.contains("-security") || rest.contains("Debian-Security:") {
                    security.push(name);
                }
                pending.push(name);
            }
            Some(_) => {}
            None if line == "@reboot" => reboot = true,
            None if reboot => reboot_for.push(line.trim()),
            None => {}
        }
    }
    map! {
        "pending" => Value::list(pending), "security" => Value::list(security), "reboot_required" => reboot,
        "reboot_for" => Value::list(reboot_for),
    }
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

/// Installed packages that no source has.
pub const PACKAGES: &str = "export LC_ALL=C; command -v apt >/dev/null || { echo '!there is no apt'; exit; }
set -- /var/lib/apt/lists/*_Packages*; [ -e \"$1\" ] || { echo '!apt has no lists of packages: apt-get update has to be run'; exit; }
apt list --installed 2>/dev/null | grep ',local\\]\\|\\[installed,local'; :";

/// `local`: names and versions.
pub fn packages(output: &str, _: &Around) -> Map {
    let local = output.lines().filter_map(|line| {
        let (name, rest) = line.split_once('/')?;
        Some(format!("{name} {}", rest.split_whitespace().nth(1)?))
    });
    map! { "local" => Value::list(local.collect::<Vec<_>>()) }
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
    fn updates_and_reboots() {
        let text = "Inst openssl [3.0.1-1] (3.0.2-1 Debian-Security:12/stable-security [amd64])\n\
                    Inst vim [1] (2 Debian:12.5/stable [amd64])\nInst new (1 Debian:12.5/stable [amd64])\n@reboot\nlinux-image-amd64\n";
        let found = updates(text, &Around::default());
        assert_eq!(found["security"], Value::list(["openssl"]));
        assert_eq!(found["pending"], Value::list(["openssl", "vim", "new"]));
        assert_eq!(
            (&found["reboot_required"], &found["reboot_for"]),
            (&Value::from(true), &Value::list(["linux-image-amd64"]))
        );
        let local = packages("shop/now 1.2 amd64 [installed,local]\n", &Around::default());
        assert_eq!(local["local"], Value::list(["shop 1.2"]));
    }
}
