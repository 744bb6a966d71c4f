//! The writing half of [`super`].

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::Owner;
use crate::{Failure, Host};

pub(super) fn replace(
    _: &Host,
    path: &Path,
    after: &str,
    owner: Owner,
    backup: bool,
) -> Result<Option<PathBuf>, Failure> {
    let failed = |e: std::io::Error| Failure::io("cannot write", path, e);
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let old = std::fs::metadata(path).ok();
    let mut kept = None;
    if backup && old.is_some() {
        let stamp = crate::clock::stamp(std::time::SystemTime::now());
        let stamp = stamp.split('.').next().unwrap_or_default().replace(' ', "@");
        let copy = beside(&format!(".{}.{stamp}~", std::process::id()));
        std::fs::copy(path, &copy).map_err(|e| Failure::io("cannot back up", path, e))?;
        kept = Some(copy);
    }
    let temporary = beside(&format!(".debark-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(after.as_bytes())?;
        let ids = owner.ids.or_else(|| old.as_ref().map(|old| (old.uid(), old.gid())));
        if let Some((uid, gid)) = ids {
            chown(&temporary, Some(uid), Some(gid))?;
        }
        let mode = owner.mode.or_else(|| old.as_ref().map(|old| old.mode() & 0o7777)).unwrap_or(0o644);
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    if let Err(error) = write() {
        let _ = std::fs::remove_file(&temporary);
        return Err(failed(error));
    }
    Ok(kept)
}
