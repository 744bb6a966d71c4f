//! Home directories that useradd did not make.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Params;
use crate::accounts::User;
use crate::exec::Cmd;
use crate::shadow::login_def;
use crate::{Failure, Host};

/// Copies the skeleton, then sets owner and mode as useradd does.
pub(super) fn create(params: &Params, home: &Path, user: &User, host: &Host) -> Result<(), Failure> {
    let skeleton = params.skeleton.clone().unwrap_or_else(|| "/etc/skel".into());
    if let Some(parent) = home.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Failure::io("cannot create", parent, e))?;
    }
    if Path::new(&skeleton).is_dir() {
        host.exec_ok(&Cmd::new("cp").args(["-r", "-T", "--preserve=mode,links", "--", &skeleton]).arg(home))?;
    } else {
        std::fs::create_dir_all(home).map_err(|e| Failure::io("cannot create", home, e))?;
    }
    let octal = |text: &String| u32::from_str_radix(text, 8).ok();
    let masked = |mask: u32| 0o777 & !mask;
    let mode = params.umask.as_ref().and_then(octal).map(masked);
    let mode = mode.or_else(|| login_def("HOME_MODE").as_ref().and_then(octal));
    let mode = mode.or_else(|| login_def("UMASK").as_ref().and_then(octal).map(masked)).unwrap_or(0o755);
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(mode))
        .map_err(|e| Failure::io("cannot set the mode of", home, e))?;
    host.exec_ok(&Cmd::new("chown").args(["-hR", &format!("{}:{}", user.uid, user.gid), "--"]).arg(home))?;
    Ok(())
}
