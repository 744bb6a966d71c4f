//! What the machine must have before a lab is made: root, and programs from named Debian packages.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Program and Debian package.
const TOOLS: &[(&str, &str)] = &[
    ("mmdebstrap", "mmdebstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("apt-cacher-ng", "apt-cacher-ng"),
    ("ip", "iproute2"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("apt-config", "apt"),
];

/// Refuses, once and in full, a machine that cannot carry a lab.
pub fn check() -> Result<()> {
    let missing: Vec<_> = TOOLS.iter().filter(|(program, _)| find(program).is_none()).collect();
    if !missing.is_empty() {
        let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        packages.dedup();
        return Err(Error::MissingTools {
            programs: missing.iter().map(|(program, _)| *program).collect(),
            packages,
        });
    }
    check_root()
}

/// What a gateway needs beyond.
pub fn check_gateway() -> Result<()> {
    if find("wireguard-go").is_none() {
        return Err(Error::MissingTools { programs: vec!["wireguard-go"], packages: vec!["wireguard-go"] });
    }
    Ok(())
}

/// Refuses anyone but root.
pub fn check_root() -> Result<()> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

/// Where a program is: in `$PATH`, or where Debian keeps those for the administrator.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The executable that a lab starts its background processes with: it answers to `lab background`. That is
/// `$DEBARK_LAB_PROGRAM`, else this executable if it is debark, else the debark beside this (test) executable.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("DEBARK_LAB_PROGRAM").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let here = Path::new("/proc/self/exe");
    let me = std::env::current_exe().map_err(Error::file("read", here))?;
    if me.file_name().is_some_and(|name| name == "debark") {
        return Ok(me);
    }
    let beside = me.ancestors().skip(1).take(2).map(|dir| dir.join("debark")).find(|path| is_program(path));
    beside.ok_or_else(|| Error::Machine {
        what: format!("there is no debark beside {} to watch over the hosts", me.display()),
        hint: "build it first (cargo build -p debark), or name it by DEBARK_LAB_PROGRAM".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_they_are() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-here").is_none());
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let err = Error::MissingTools {
            programs: vec!["mmdebstrap", "systemd-nspawn"],
            packages: vec!["mmdebstrap", "systemd-container"],
        };
        assert_eq!(err.to_string(), "the lab's tools are missing: mmdebstrap, systemd-nspawn");
        assert_eq!(err.hint().unwrap(), "apt-get install mmdebstrap systemd-container");
    }
}
