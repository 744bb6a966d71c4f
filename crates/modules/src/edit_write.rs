//! The writing half of [`super`].

use std::path::{Path, PathBuf};

use super::Owner;
use crate::atomic::{self, Replace};
use crate::file_args::{self, Wanted};
use crate::mode::Mode;
use crate::{Failure, Host};

pub(super) fn replace(
    host: &Host,
    path: &Path,
    after: &str,
    owner: Owner,
    backup: bool,
) -> Result<Option<PathBuf>, Failure> {
    atomic::need_parent(host, path)?;
    let mut replace = Replace::observe(path)?;
    let id = |id: u32| file_args::Owner { id: Some(id), name: id.to_string() };
    let mode = owner.mode.or_else(|| replace.seen.is_none().then_some(0o644));
    replace.wanted = Wanted {
        owner: owner.ids.map(|(uid, _)| id(uid)),
        group: owner.ids.map(|(_, gid)| id(gid)),
        mode: mode.map(Mode::Bits),
        attributes: None,
    };
    replace.backup = backup;
    replace.commit(host, &mut |out| {
        out.write_all(after.as_bytes()).map_err(|e| Failure::io("cannot write", path, e))
    })
}
