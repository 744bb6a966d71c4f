//! Connections that stay open for the next run, where the user's ssh arguments say `ControlPersist`: OpenSSH's own connection
//! sharing (ssh_config(5)), below sockets that only debark uses.
//!
//! A kept connection was opened by the very same command line and ssh agent, or it is not found: nothing that is fixed for
//! connections is loosened by sharing one. It proves nothing about the next login, so whoever asks whether a host can still
//! be reached does not use it ([`Target::ssh`]).

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use debark_tunnel::Vpn;
use sha2::{Digest as _, Sha256};

use crate::target::{SshCommand, Target};

/// What unix(7) leaves for a path, less the 17 characters that ssh appends while it makes the socket.
const LONGEST: usize = 107 - 17;

impl Target {
    /// As [`ssh`](Self::ssh), but through the connection that an earlier run left open, and leaving one open, if the arguments
    /// ask for that. Through a VPN none is kept: the way ends with the run.
    pub fn shared(&self) -> SshCommand {
        let mut command = self.ssh();
        if !self.keeps() {
            return command;
        }
        match socket(&directory(), &command.argv) {
            Ok(socket) => {
                for word in &mut command.argv {
                    match word.as_str() {
                        "ControlMaster=no" => *word = "ControlMaster=auto".into(),
                        "ControlPath=none" => *word = format!("ControlPath={}", socket.display()),
                        _ => {}
                    }
                }
            }
            Err(why) => command.warnings.push(format!("{}: no connection is kept open: {why}", self.name)),
        }
        command
    }

    /// Lets no later run use the connection that is kept open to this host. It ends by itself.
    pub fn forget_shared(&self) {
        if self.keeps()
            && let Ok(socket) = socket(&directory(), &self.ssh().argv)
        {
            // Without its socket nobody finds it; if there was none, so much the better.
            let _ = std::fs::remove_file(socket);
        }
    }

    fn keeps(&self) -> bool {
        let said = |name: &str| self.option(name).map(|value| value.to_lowercase());
        let no = |value: String| matches!(value.as_str(), "no" | "false");
        let persist = said("controlpersist").is_some_and(|value| !no(value));
        !self.local
            && !self.fresh
            && self.vpn == Vpn::None
            && persist
            && !said("controlmaster").is_some_and(no)
    }

    /// The first value that the user's arguments give an option of ssh_config(5).
    fn option(&self, name: &str) -> Option<&str> {
        let mut words = self.args.iter();
        while let Some(word) = words.next() {
            let text = match word.strip_prefix("-o") {
                Some("") => words.next()?.as_str(),
                Some(attached) => attached,
                None => continue,
            };
            match text.trim().split_once(['=', ' ']) {
                Some((found, value)) if found.trim().eq_ignore_ascii_case(name) => {
                    return Some(value.trim().trim_matches('"'));
                }
                _ => {}
            }
        }
        None
    }
}

/// Where the sockets are: the user's runtime directory, which is in memory and his alone, else one of his own.
fn directory() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute()).map_or_else(
        || PathBuf::from(format!("/tmp/debark-connections-{uid}")),
        |runtime| runtime.join("debark-connections"),
    )
}

/// The socket of a command line in a directory that nobody else may enter; a reason if there is none.
fn socket(directory: &Path, argv: &[String]) -> Result<PathBuf, String> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(directory);
    // A link in its place is none of ours, whatever it leads to.
    let found = directory.symlink_metadata().map_err(|error| {
        let error = made.err().unwrap_or(error);
        format!("{} cannot be made: {error}", directory.display())
    })?;
    let own = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_dir() || !own || found.mode() & 0o077 != 0 {
        return Err(format!("{} is no directory of this user alone", directory.display()));
    }
    let mut hash = Sha256::new();
    for word in argv {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    // Another agent may be another person.
    hash.update(std::env::var_os("SSH_AUTH_SOCK").unwrap_or_default().as_encoded_bytes());
    let name: String = hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let path = directory.join(name);
    let plain = |text: &str| {
        text.len() <= LONGEST && text.chars().all(|c| c.is_ascii_graphic() && !"%\"'\\$".contains(c))
    };
    if path.to_str().is_some_and(plain) {
        Ok(path)
    } else {
        Err(format!("{} cannot be the path of a socket", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(args: &[&str]) -> Target {
        Target {
            name: "web1".into(),
            host: "10.0.0.5".into(),
            timeout: 10,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..Target::default()
        }
    }

    #[test]
    fn connections_are_kept_where_the_arguments_say_so() {
        for args in [
            &["-o", "ControlPersist=60s"][..],
            &["-4", "-oControlPersist 1h"],
            &["-ocontrolpersist=yes", "-o", "ControlMaster=auto"],
        ] {
            assert!(target(args).keeps(), "{args:?}");
        }
        for args in [
            &[][..],
            &["-o", "ControlPersist=no"],
            &["-oControlPersist=9", "-oControlMaster=no"],
            &["-l", "ControlPersist=9"],
            &["-o"],
        ] {
            assert!(!target(args).keeps(), "{args:?}");
        }
        let through = Target { vpn: Vpn::Interface("wg0".into()), ..target(&["-oControlPersist=9"]) };
        assert!(!through.keeps(), "the way through a VPN ends with the run");
    }

    #[test]
    fn sockets_are_told_apart_by_all_that_is_said_to_ssh() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("sockets");
        let of = |target: &Target| socket(&directory, &target.ssh().argv).unwrap();
        let plain = target(&["-oControlPersist=9"]);
        assert_eq!(of(&plain), of(&plain.clone()));
        assert_ne!(of(&plain), of(&Target { user: Some("joe".into()), ..plain.clone() }));
        assert_ne!(of(&plain), of(&Target { known_hosts: Some("/k".into()), ..plain.clone() }));
        assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_that_others_may_enter_holds_no_socket() {
        let place = tempfile::tempdir().unwrap();
        let open = place.path().join("open");
        std::fs::DirBuilder::new().mode(0o755).create(&open).unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.path(), &link).unwrap();
        for path in [open, link] {
            let why = socket(&path, &[]).unwrap_err();
            assert!(why.ends_with("is no directory of this user alone"), "{why}");
        }
        let long = place.path().join("x".repeat(90));
        assert!(socket(&long, &[]).unwrap_err().ends_with("cannot be the path of a socket"));
    }

    /// OpenSSH itself is asked what it makes of the command line.
    #[test]
    fn ssh_agrees() {
        let mut argv = target(&["-oControlPersist=90", "-oControlPath=/tmp/%h"]).shared().argv;
        argv.insert(1, "-G".into());
        let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for line in ["controlmaster auto", "controlpersist 90", "stricthostkeychecking true", "batchmode yes"]
        {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(
            text.lines().any(|line| line.starts_with("controlpath ") && line.contains("debark-connections")),
            "{text}"
        );
    }
}
