//! The container of a host: systemd-nspawn in the host's network namespace, without machined and without a unit,
//! because the machine's own first process need not be systemd.

use std::path::Path;

use crate::command::Cmd;
use crate::network;

/// The exit status by which a container asks to be started again (systemd-nspawn(1), reboot).
pub const REBOOT: i32 = 133;

/// The command that runs a host until it is switched off or reboots. `notify` is the socket that learns of it.
pub fn command(rootfs: &Path, namespace: &str, host: &str, bare: bool, notify: &str) -> Cmd {
    let cmd = Cmd::new("systemd-nspawn")
        .args(["--quiet", "--register=no", "--keep-unit", "--directory"])
        .arg(rootfs)
        .arg(format!("--machine={namespace}"))
        .arg(format!("--hostname={host}"))
        .arg(format!("--network-namespace-path={}", network::path(namespace).display()))
        .arg("--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_NICE")
        .args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"])
        .env("NOTIFY_SOCKET", notify)
        // Network sysctls can be set, for this namespace only.
        .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
        // /tmp is what the release makes of it: a directory on disk before trixie.
        .env("SYSTEMD_NSPAWN_TMPFS_TMP", "0")
        // trixie's systemd refuses version 1 control groups, and real hosts of both releases have version 2.
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    if bare {
        cmd.args(["--as-pid2", "/usr/local/sbin/lab-init"])
    } else {
        cmd.args(["--boot", "--notify-ready=yes", "--kill-signal=SIGRTMIN+3"])
    }
}

/// What a message on the notify socket says (sd_notify(3)).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// The host has booted to the end.
    pub ready: bool,
    /// The host's first process, as the machine numbers it.
    pub leader: Option<u32>,
}

/// Reads one message.
pub fn parse_notice(message: &str) -> Notice {
    let mut notice = Notice::default();
    for line in message.lines() {
        match line.split_once('=') {
            Some(("READY", "1")) => notice.ready = true,
            Some(("X_NSPAWN_LEADER_PID", pid)) => notice.leader = pid.parse().ok(),
            _ => {}
        }
    }
    notice
}

/// Removes what systemd-nspawn keeps of a machine that was killed.
pub fn forget(namespace: &str) {
    for kind in ["propagate", "unix-export"] {
        let path = Path::new("/run/systemd/nspawn").join(kind).join(namespace);
        if kind == "unix-export" {
            let _ = rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH);
        }
        // It holds nothing but mount points, and what is not empty is somebody's.
        let _ = std::fs::remove_dir(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_this() {
        let full = command(Path::new("/r"), "debark-x.h1", "h1", false, "@n").line();
        assert_eq!(
            full,
            "systemd-nspawn --quiet --register=no --keep-unit --directory /r --machine=debark-x.h1 --hostname=h1 \
             --network-namespace-path=/run/netns/debark-x.h1 --capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_NICE \
             --resolv-conf=off --timezone=off --link-journal=no --boot --notify-ready=yes --kill-signal=SIGRTMIN+3"
        );
        let bare = command(Path::new("/r"), "debark-x.h1", "h1", true, "@n").line();
        assert!(bare.ends_with("--as-pid2 /usr/local/sbin/lab-init"), "{bare}");
    }

    #[test]
    fn notices_are_read_line_by_line() {
        assert_eq!(
            parse_notice("X_NSPAWN_LEADER_PID=42\nSTATUS=up"),
            Notice { ready: false, leader: Some(42) }
        );
        assert_eq!(parse_notice("READY=1"), Notice { ready: true, leader: None });
        assert_eq!(parse_notice("rubbish\nREADY=0\n=\n"), Notice::default());
    }
}
