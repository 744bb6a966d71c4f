//! A host's disk: an overlay on its base system, with what makes it this host written on top.

use std::ffi::CString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::base::{self, remove_tree};
use crate::command::Cmd;
use crate::error::{Error, Result};
use crate::names::{Names, PROXY_PORT, Range};
use crate::state::HostState;
use crate::store::{HostDir, LabDir, make_dir};

/// The users that the lab's key opens, with their numbers.
pub const USERS: &[(&str, &str, u32)] =
    &[("root", "root", 0), ("debian", "home/debian", 1000), ("plain", "home/plain", 1001)];

/// The options of the overlay mount. `volatile`: the host's syncs cost nothing, and nothing outlives a crash anyway.
/// `redirect_dir`: directories of the base can be renamed, as on a real disk.
fn options(base: &Path, dir: &HostDir) -> String {
    format!(
        "lowerdir={},upperdir={},workdir={},volatile,redirect_dir=on",
        base::rootfs(base).display(),
        dir.upper().display(),
        dir.work().display()
    )
}

/// Whether the host's root file system is mounted.
pub fn is_mounted(dir: &HostDir) -> bool {
    let (Ok(root), Ok(parent)) = (fs::metadata(dir.rootfs()), fs::metadata(&dir.path)) else { return false };
    root.dev() != parent.dev()
}

/// Mounts the host's disk as it is.
pub fn mount(base: &Path, dir: &HostDir) -> Result<()> {
    for path in [dir.upper(), dir.work(), dir.rootfs()] {
        make_dir(&path)?;
    }
    let upper = dir.upper();
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).map_err(Error::file("open up", &upper))?;
    // An overlay that was volatile says so in its work directory, and would refuse to be mounted again.
    remove_tree(&dir.work().join("work"))?;
    let options = CString::new(options(base, dir)).unwrap_or_default();
    rustix::mount::mount("debark-lab", dir.rootfs(), "overlay", MountFlags::empty(), options.as_c_str())
        .map_err(|errno| match errno {
            rustix::io::Errno::INVAL => Error::Machine {
                what: format!("no overlay can be mounted on {}", dir.path.display()),
                hint: "set DEBARK_LAB_DIR to a directory on ext4, xfs or tmpfs".into(),
            },
            other => Error::errno("mount", &dir.rootfs())(other),
        })
}

/// Unmounts the host's disk and removes what systemd-nspawn keeps by its inode; fine if it is not mounted.
pub fn unmount(dir: &HostDir) -> Result<()> {
    while is_mounted(dir) {
        if let Ok(meta) = fs::metadata(dir.rootfs()) {
            let _ = fs::remove_file(format!("/run/systemd/nspawn/locks/inode-{}:{}", meta.dev(), meta.ino()));
        }
        rustix::mount::unmount(dir.rootfs(), UnmountFlags::DETACH)
            .map_err(Error::errno("unmount", &dir.rootfs()))?;
    }
    Ok(())
}

/// Forgets everything that the host changed. Its disk must be unmounted.
pub fn wipe(dir: &HostDir) -> Result<()> {
    remove_tree(&dir.upper())?;
    remove_tree(&dir.work())
}

/// Makes the host's key unless it has one: before it boots, so that its key is known before the first connection.
pub fn ensure_host_key(dir: &HostDir, host: &str) -> Result<()> {
    make_key(&dir.host_key(), &format!("root@{host}"))
}

/// Makes an Ed25519 key without passphrase unless it is there.
pub fn make_key(path: &Path, comment: &str) -> Result<()> {
    if path.exists() && path.with_extension("pub").exists() {
        return Ok(());
    }
    let draft = path.with_extension("draft");
    for old in [draft.clone(), draft.with_extension("draft.pub")] {
        let _ = fs::remove_file(old);
    }
    Cmd::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).arg(&draft).run()?;
    let public = draft.with_extension("draft.pub");
    fs::rename(&public, path.with_extension("pub")).map_err(Error::file("make", path))?;
    fs::rename(&draft, path).map_err(Error::file("make", path))
}

/// Writes what makes a clone this host: names, keys, and the proxy of its lab.
pub fn personalise(
    lab: &LabDir,
    dir: &HostDir,
    names: &Names,
    range: Range,
    host: &str,
    state: &HostState,
) -> Result<()> {
    let root = dir.rootfs();
    let read = |path: &Path| fs::read_to_string(path).map_err(Error::file("read", path));
    let put = |name: &str, mode: u32, text: &str| -> Result<()> {
        let path = root.join(name);
        fs::write(&path, text).map_err(Error::file("write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(Error::file("write", &path))
    };
    put("etc/hostname", 0o644, &format!("{host}\n"))?;
    put("etc/hosts", 0o644, &hosts_file(names, host))?;
    put("etc/machine-id", 0o444, &(machine_id()? + "\n"))?;
    put("etc/ssh/ssh_host_ed25519_key", 0o600, &read(&dir.host_key())?)?;
    put("etc/ssh/ssh_host_ed25519_key.pub", 0o644, &read(&dir.host_key().with_extension("pub"))?)?;
    put("etc/apt/apt.conf.d/90lab-proxy", 0o644, &proxy_file(range))?;
    let public = read(&lab.public_key())?;
    for (_, home, uid) in USERS {
        let ssh = root.join(home).join(".ssh");
        if !ssh.exists() {
            fs::create_dir(&ssh).map_err(Error::file("make", &ssh))?;
        }
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).map_err(Error::file("make", &ssh))?;
        put(&format!("{home}/.ssh/authorized_keys"), 0o600, &public)?;
        for path in [ssh.join("authorized_keys"), ssh] {
            std::os::unix::fs::chown(&path, Some(*uid), Some(*uid)).map_err(Error::file("chown", &path))?;
        }
    }
    if state.bare {
        put("usr/local/sbin/lab-init", 0o755, BARE_INIT)?;
    }
    Ok(())
}

/// What a host without systemd runs.
const BARE_INIT: &str = "#!/bin/sh\nmkdir -p /run/sshd\nexec /usr/sbin/sshd -D -e\n";

fn hosts_file(names: &Names, host: &str) -> String {
    format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{host}.{} {host}\n\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
        names.domain()
    )
}

/// How apt finds the archives. What a play serves on the host itself, on the controller or on the first of the other
/// hosts is reached directly: the proxy would not fetch from there.
fn proxy_file(range: Range) -> String {
    let mut text = format!("Acquire::http::Proxy \"http://{}:{PROXY_PORT}\";\n", range.bridge());
    let neighbours = (1..=DIRECT_HOSTS).map(|number| range.host(number)).chain([range.bridge()]);
    let names = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into_iter();
    for name in names.chain(neighbours.map(|address| address.to_string())) {
        let _ = writeln!(text, "Acquire::http::Proxy::{name} \"DIRECT\";");
    }
    text
}

/// How many hosts of a lab can serve packages to the others.
const DIRECT_HOSTS: usize = 10;

/// A new machine-id(5).
fn machine_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    Ok(text.trim().replace('-', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_options_name_all_three_directories() {
        let dir = HostDir { path: "/x/hosts/h1".into() };
        assert_eq!(
            options(Path::new("/x/base/b"), &dir),
            "lowerdir=/x/base/b/rootfs,upperdir=/x/hosts/h1/upper,workdir=/x/hosts/h1/work,volatile,redirect_dir=on"
        );
    }

    #[test]
    fn a_machine_id_is_32_hex_digits_and_never_the_same() {
        let id = machine_id().unwrap();
        assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
        assert_ne!(id, machine_id().unwrap());
    }

    #[test]
    fn a_host_knows_its_own_name() {
        assert!(hosts_file(&Names::new("debark", "web"), "h3").contains("127.0.1.1\th3.web.lab h3\n"));
    }
}
