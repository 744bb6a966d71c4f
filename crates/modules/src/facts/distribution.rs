//! Which distribution, which release: from os-release(5) and `/etc/debian_version`.

use std::path::Path;

use super::text;
use crate::{Map, Value};

/// Distributions whose `os_family` is Debian.
const DEBIAN_FAMILY: [&str; 12] = [
    "Debian",
    "Ubuntu",
    "Raspbian",
    "KDE neon",
    "Linux Mint",
    "SteamOS",
    "Devuan",
    "Kali",
    "Cumulus Linux",
    "Pop!_OS",
    "Parrot",
    "Deepin",
];

fn os_release() -> (Option<&'static str>, Map) {
    let path = ["/etc/os-release", "/usr/lib/os-release"].into_iter().find(|path| Path::new(path).exists());
    let content = path.and_then(text).unwrap_or_default();
    (path, parse(&content))
}

/// Reads `KEY=value` lines as os-release(5) has them: shell quotes, comments.
fn parse(content: &str) -> Map {
    content
        .lines()
        .filter_map(|line| {
            let (key, value) = line.trim().split_once('=').filter(|(key, _)| !key.starts_with('#'))?;
            let value = value.trim();
            let inner = value
                .strip_prefix('"')
                .and_then(|v| v.strip_suffix('"'))
                .or_else(|| value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')));
            let value =
                inner.map_or_else(|| value.to_owned(), |v| v.replace("\\\"", "\"").replace("\\$", "$"));
            Some((key.into(), value.into()))
        })
        .collect()
}

fn field(release: &Map, key: &str) -> Option<String> {
    release.get(key).map(Value::to_string).filter(|text| !text.is_empty())
}

pub(super) fn distribution(map: &mut Map) {
    let (path, release) = os_release();
    let version = text("/etc/debian_version").unwrap_or_default();
    describe(map, path.unwrap_or("/etc/os-release"), &release, &version);
}

fn describe(map: &mut Map, path: &str, release: &Map, debian_version: &str) {
    let id = field(release, "ID").unwrap_or_default();
    let name = match id.as_str() {
        "debian" => "Debian".into(),
        "raspbian" => "Debian".into(),
        "ubuntu" => "Ubuntu".into(),
        "devuan" => "Devuan".into(),
        "kali" => "Kali".into(),
        "linuxmint" => "Linux Mint".into(),
        "parrot" => "Parrot".into(),
        "" => "OtherLinux".into(),
        _ => field(release, "NAME").unwrap_or(id.clone()),
    };
    let mut version = field(release, "VERSION_ID").unwrap_or_default();
    let numeric =
        |text: &str| text.split('.').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    // os-release has only `12`; point releases are in /etc/debian_version, which says `trixie/sid` before a release.
    let minor = debian_version.split_once('.').filter(|_| numeric(debian_version)).map(|(_, minor)| minor);
    if id == "debian" && minor.is_some() {
        debian_version.clone_into(&mut version);
    }
    if id == "debian" && version.is_empty() {
        debian_version.clone_into(&mut version);
    }
    let codename = field(release, "VERSION_CODENAME")
        .or_else(|| field(release, "UBUNTU_CODENAME"))
        .or_else(|| {
            let pretty = field(release, "PRETTY_NAME")?;
            let (_, rest) = pretty.split_once('(')?;
            rest.split_once(')').map(|(inner, _)| inner.to_owned())
        })
        .or_else(|| {
            let pretty = field(release, "PRETTY_NAME")?;
            pretty.rsplit([' ', '/']).nth(1).map(str::to_owned)
        });
    let family = if DEBIAN_FAMILY.contains(&name.as_str()) { "Debian".to_owned() } else { name.clone() };
    let major = version.split('.').next().filter(|major| !major.is_empty()).unwrap_or("NA");
    map.insert("distribution".into(), name.into());
    map.insert("distribution_release".into(), codename.unwrap_or_else(|| "NA".into()).into());
    map.insert("distribution_major_version".into(), major.into());
    map.insert("distribution_version".into(), if version.is_empty() { "NA".into() } else { version.into() });
    map.insert("distribution_file_path".into(), path.into());
    map.insert("distribution_file_variety".into(), "Debian".into());
    map.insert("distribution_file_parsed".into(), true.into());
    if let Some(minor) = minor {
        map.insert("distribution_minor_version".into(), minor.split('.').next().unwrap_or(minor).into());
    }
    map.insert("os_family".into(), family.into());
}

/// What lsb_release(1) says. Debian's program only repeats os-release since bookworm, so it is not run; without the
/// program Ansible has only what `/etc/lsb-release` holds.
pub(super) fn lsb(map: &mut Map) {
    let mut lsb = Map::new();
    if super::program("lsb_release").is_some() {
        let (_, release) = os_release();
        let mut id = field(&release, "ID").unwrap_or_else(|| "n/a".into());
        if let Some(first) = id.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        if let Some(name) = field(&release, "NAME").filter(|name| name.eq_ignore_ascii_case(&id)) {
            id = name;
        }
        for (fact, key) in
            [("description", "PRETTY_NAME"), ("release", "VERSION_ID"), ("codename", "VERSION_CODENAME")]
        {
            let value = field(&release, key).unwrap_or_else(|| "n/a".into());
            lsb.insert(fact.into(), value.into());
        }
        lsb.insert("id".into(), id.into());
    } else {
        let release = parse(&text("/etc/lsb-release").unwrap_or_default());
        for fact in ["id", "release", "description", "codename"] {
            if let Some(value) = field(&release, &format!("DISTRIB_{}", fact.to_ascii_uppercase())) {
                lsb.insert(fact.into(), value.into());
            }
        }
    }
    if let Some(major) = lsb.get("release").and_then(Value::as_str).and_then(|r| r.split('.').next()) {
        let major: Value = major.into();
        lsb.insert("major_release".into(), major);
    }
    map.insert("lsb".into(), lsb.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(release: &str, debian_version: &str) -> Vec<String> {
        let mut map = Map::new();
        describe(&mut map, "/etc/os-release", &parse(release), debian_version);
        let names = ["distribution", "version", "major_version", "minor_version", "release"];
        let name = |n: &str| if n == "distribution" { n.to_owned() } else { format!("distribution_{n}") };
        let mut out: Vec<String> =
            names.iter().map(|n| map.get(name(n).as_str()).map_or("-".into(), Value::to_string)).collect();
        out.push(map["os_family"].to_string());
        out
    }

    #[test]
    fn releases_of_debian_and_its_kin() {
        let bookworm = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(facts(bookworm, "12.11"), ["Debian", "12.11", "12", "11", "bookworm", "Debian"]);
        let trixie = "PRETTY_NAME=\"Debian GNU/Linux trixie/sid\"\nNAME=\"Debian GNU/Linux\"\nVERSION_CODENAME=trixie\nID=debian\n";
        assert_eq!(
            facts(trixie, "trixie/sid"),
            ["Debian", "trixie/sid", "trixie/sid", "-", "trixie", "Debian"]
        );
        let noble =
            "NAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n";
        assert_eq!(facts(noble, "trixie/sid"), ["Ubuntu", "24.04", "24", "-", "noble", "Debian"]);
    }
}
