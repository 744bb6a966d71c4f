//! SSH keys of users, made by ssh-keygen(1).

use std::path::{Path, PathBuf};

use super::Params;
use crate::accounts::User;
use crate::exec::Cmd;
use crate::{Failure, Host, Map, Value, map};

pub(super) fn path(params: &Params, home: &Path) -> PathBuf {
    let default = || PathBuf::from(format!(".ssh/id_{}", params.ssh_key_type));
    home.join(params.ssh_key_file.clone().unwrap_or_else(default))
}

fn public(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Whether a key would be made: there is none, or `force` overwrites it.
pub(super) fn is_wanted(params: &Params, home: &Path) -> bool {
    let key = path(params, home);
    params.force || !(key.exists() || public(&key).exists())
}

pub(super) fn command(params: &Params, key: &Path, hostname: &str) -> Cmd {
    let comment =
        params.ssh_key_comment.clone().unwrap_or_else(|| format!("ansible-generated on {hostname}"));
    let mut cmd = Cmd::new("ssh-keygen").args(["-q", "-t", &params.ssh_key_type]);
    if params.ssh_key_bits > 0 {
        cmd = cmd.arg("-b").arg(params.ssh_key_bits.to_string());
    }
    cmd = cmd.arg("-C").arg(comment).arg("-f").arg(key);
    match &params.ssh_key_passphrase {
        // Without -N the passphrase is read from standard input, twice; askpass programs would be preferred.
        Some(phrase) => cmd.env("SSH_ASKPASS_REQUIRE", "never").stdin(format!("{phrase}\n{phrase}\n")),
        None => cmd.args(["-N", ""]),
    }
}

pub(super) fn generate(params: &Params, home: &Path, user: &User, host: &Host) -> Result<(), Failure> {
    use std::os::unix::fs::{DirBuilderExt, chown};
    let key = path(params, home);
    let own = |path: &Path| {
        chown(path, Some(user.uid), Some(user.gid))
            .map_err(|e| Failure::io("cannot give to its user", path, e))
    };
    if let Some(dir) = key.parent().filter(|dir| !dir.exists()) {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(dir)
            .map_err(|e| Failure::io("cannot create", dir, e))?;
        own(dir)?;
    }
    // ssh-keygen would ask before it overwrites, on the input that holds the passphrase.
    for old in [key.clone(), public(&key)] {
        match std::fs::remove_file(&old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::io("cannot replace", old, error));
            }
            _ => {}
        }
    }
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    host.exec_ok(&command(params, &key, &hostname))?;
    own(&key)?;
    own(&public(&key))
}

/// `ssh_key_file`, `ssh_public_key`, `ssh_fingerprint`.
pub(super) fn facts(params: &Params, home: &Path, host: &Host) -> Map {
    let key = path(params, home);
    let fingerprint = host.exec(&Cmd::new("ssh-keygen").arg("-l").arg("-f").arg(&key));
    let fingerprint = fingerprint.map(|o| if o.rc == 0 { o.out() } else { o.err() }).unwrap_or_default();
    let public = std::fs::read_to_string(public(&key)).ok().map(|text| text.trim().to_owned());
    map! {
        "ssh_key_file" => key.to_string_lossy().into_owned(), "ssh_public_key" => Value::from(public),
        "ssh_fingerprint" => fingerprint.trim(),
    }
}
