//! The host's Python, if it has one: roles choose packages by its version.

use super::program;
use crate::exec::Cmd;
use crate::{Host, Map, map};

/// `python` and `python_version`, as Ansible's collector of that name has them; nothing on a host without Python.
pub(super) fn python(map: &mut Map, host: &Host) {
    let Some(path) = program("python3") else { return };
    // By its own name (python3.11), as Ansible's discovery finds it.
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    let Some(executable) = path.to_str() else { return };
    let Ok(done) = host.exec(&Cmd::new(executable).arg("-V")) else { return };
    let Some(version) = Version::of(&done.out()) else { return };
    let Version { major, minor, micro, level, serial } = version;
    map.insert("python_version".into(), format!("{major}.{minor}.{micro}").into());
    let python = map! {
        "version" => map! {
            "major" => major, "minor" => minor, "micro" => micro, "releaselevel" => level, "serial" => serial,
        },
        "version_info" => vec![major.into(), minor.into(), micro.into(), level.into(), serial.into()],
        "executable" => executable,
        "has_sslcontext" => true,
        "type" => "cpython",
    };
    map.insert("python".into(), python.into());
}

/// Python's `sys.version_info`.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    major: i64,
    minor: i64,
    micro: i64,
    level: &'static str,
    serial: i64,
}

impl Version {
    /// Reads what `python3 -V` prints: `Python 3.11.2`, `Python 3.14.0rc2`.
    fn of(line: &str) -> Option<Self> {
        let mut parts = line.trim().strip_prefix("Python ")?.split('.');
        let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let last = parts.next()?;
        let digits = last.find(|c: char| !c.is_ascii_digit()).unwrap_or(last.len());
        let (micro, rest) = last.split_at_checked(digits)?;
        let (level, serial) = [("rc", "candidate"), ("a", "alpha"), ("b", "beta")]
            .iter()
            .find_map(|(sign, level)| Some((*level, rest.strip_prefix(sign)?)))
            .unwrap_or(("final", "0"));
        let serial = serial.trim_end_matches('+').parse().unwrap_or(0);
        Some(Self { major, minor, micro: micro.parse().ok()?, level, serial })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        let version = |line: &str| Version::of(line).map(|v| (v.major, v.minor, v.micro, v.level, v.serial));
        assert_eq!(version("Python 3.11.2\n"), Some((3, 11, 2, "final", 0)));
        assert_eq!(version("Python 3.14.0rc2"), Some((3, 14, 0, "candidate", 2)));
        assert_eq!(version("Python 3.15.0a1+"), Some((3, 15, 0, "alpha", 1)));
        for line in
            ["", "Python", "Python 3", "Python 3.11.", "Jython 2.7.1", "Python 99999999999999999999.1.1"]
        {
            assert_eq!(version(line), None, "{line}");
        }
    }
}
