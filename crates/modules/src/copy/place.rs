//! One file, directory or link of a copy.

use std::path::{Path, PathBuf};

use debark_value::{Map, map};

use super::Params;
use crate::atomic::{Replace, need_parent, parent_of};
use crate::editing::{self, Source, resolve};
use crate::file_args::{FileKind, Stat, path_value};
use crate::hash::{self, Algorithm};
use crate::mode::Mode;
use crate::plan::{Diff, Failure};
use crate::{Host, Plan, file_diff};

/// Something to be put in place.
pub(crate) struct Item {
    pub path: PathBuf,
    pub mode: u32,
    pub what: What,
}

/// What an [`Item`] is.
pub(crate) enum What {
    File { source: Source, sha256: String, size: u64 },
    Directory,
    Link(PathBuf),
}

impl Item {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        let (sha256, size) = (Algorithm::Sha256.hex(&bytes), bytes.len() as u64);
        Self {
            path: PathBuf::new(),
            mode: 0o644,
            what: What::File { source: Source::Bytes(bytes), sha256, size },
        }
    }

    pub(crate) fn local(real: &Path, path: PathBuf, stat: &Stat) -> Result<Self, Failure> {
        let what = match stat.kind {
            FileKind::Directory => What::Directory,
            FileKind::Link => {
                What::Link(std::fs::read_link(real).map_err(|e| Failure::io("cannot read", real, e))?)
            }
            FileKind::File => {
                let sha256 = hash::file(real, &[Algorithm::Sha256])?.pop().unwrap_or_default();
                What::File { source: Source::File(real.to_path_buf()), sha256, size: stat.size }
            }
            FileKind::Other => return Err(Failure::new(format!("{} is no regular file", real.display()))),
        };
        Ok(Self { path, mode: stat.mode, what })
    }
}

/// The plan for one file. `alone` files need their directory; those of a tree get it from a step before.
pub(crate) fn file(
    host: &Host,
    params: &Params,
    dest: &Path,
    item: Item,
    alone: bool,
) -> Result<Plan, Failure> {
    let What::File { source, sha256, size } = item.what else {
        return Err(Failure::new(format!("{} is not to be a file", dest.display())));
    };
    let dest = if params.follow { resolve(dest) } else { dest.to_path_buf() };
    let mut result = map! { "dest" => path_value(&dest) };
    if !params.force && Stat::followed(&dest)?.is_some() {
        return Ok(Plan::ok(result));
    }
    if alone {
        need_parent(host, &dest)?;
    }
    let mut replace = Replace::observe(&dest)?;
    replace.wanted = params.file.resolve(host)?;
    if replace.wanted.mode == Some(Mode::Preserve) {
        replace.wanted.mode = Some(Mode::Bits(item.mode));
    }
    replace.validate = params.validate.clone();
    replace.backup = params.backup;
    replace.unsafe_writes = params.file.unsafe_writes;
    let old = replace.seen.filter(|stat| stat.kind == FileKind::File);
    let digests = match old {
        // Another length is another content: nothing to read.
        Some(stat) if stat.size == size => {
            hash::file(&dest, &[Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5])?
        }
        _ => Vec::new(),
    };
    let same = digests.first() == Some(&sha256);
    match (&source, digests.as_slice()) {
        (_, [_, sha1, md5]) if same => report(&mut result, sha1.clone(), md5.clone()),
        (Source::Bytes(bytes), _) => {
            report(&mut result, Algorithm::Sha1.hex(bytes), Algorithm::Md5.hex(bytes))
        }
        (Source::File(path), _) => {
            let mut found = hash::file(path, &[Algorithm::Md5, Algorithm::Sha1])?;
            report(&mut result, found.pop().unwrap_or_default(), found.pop().unwrap_or_default());
        }
        _ => {}
    }
    if let Some(wanted) = &params.checksum {
        if let (Source::Controller(sha256), None) = (&source, result.get("checksum")) {
            let mut hasher = Algorithm::Sha1.hasher();
            host.upstream.content(sha256, &mut hasher)?;
            result.insert("checksum".into(), hasher.finish().into());
        }
        let found = result.get("checksum").map(ToString::to_string).unwrap_or_default();
        if !found.eq_ignore_ascii_case(wanted) {
            return Err(Failure::new(format!(
                "the source of {} has the checksum {found}, not {wanted}",
                dest.display()
            ))
            .with(map! { "checksum" => found, "expected_checksum" => wanted.clone() }));
        }
    }
    // What is copied on the host keeps the mode of its source where its content is copied (Ansible's copymode and
    // copystat); in a tree `mode` is not for its files.
    let tree = !item.path.as_os_str().is_empty();
    if params.remote_src && (tree || old.is_some() && replace.wanted.mode.is_none()) {
        replace.wanted.mode = (!same).then_some(Mode::Bits(item.mode));
    }
    let diff = if same { Vec::new() } else { content_diff(host, &dest, old, &source, size)? };
    if same {
        result.insert("path".into(), path_value(&dest));
    }
    let mut plan = editing::plan(host, replace, source, size, same, result, diff)?;
    if !same
        && !plan.result.contains_key("checksum")
        && let crate::plan::Action::Change(apply) = plan.action
    {
        plan.action = crate::plan::Action::Change(Box::new(move |host| {
            let mut more = apply(host)?;
            let mut found = hash::file(&dest, &[Algorithm::Md5, Algorithm::Sha1])?;
            report(&mut more, found.pop().unwrap_or_default(), found.pop().unwrap_or_default());
            Ok(more)
        }));
    }
    Ok(plan)
}

fn report(result: &mut Map, sha1: String, md5: String) {
    result.insert("checksum".into(), sha1.into());
    result.insert("md5sum".into(), md5.into());
}

fn content_diff(
    host: &Host,
    dest: &Path,
    old: Option<Stat>,
    source: &Source,
    size: u64,
) -> Result<Vec<Diff>, Failure> {
    if !host.wants_diff() {
        return Ok(Vec::new());
    }
    let before = match old {
        Some(stat) if stat.size > file_diff::LIMIT => file_diff::too_large(stat.size),
        Some(_) => file_diff::shown(&crate::atomic::read_limited(dest, editing::EDIT_LIMIT)?),
        None => String::new(),
    };
    let after = match source {
        _ if size > file_diff::LIMIT => file_diff::too_large(size),
        Source::Bytes(bytes) => file_diff::shown(bytes),
        Source::File(path) => file_diff::shown(&crate::atomic::read_limited(path, editing::EDIT_LIMIT)?),
        Source::Controller(sha256) => {
            let mut bytes = Vec::new();
            host.upstream.content(sha256, &mut bytes)?;
            file_diff::shown(&bytes)
        }
    };
    Ok(vec![Diff::text(dest.display(), before, after)])
}

/// The plan for one directory, with its parents. Owner and `directory_mode` are for those that are made.
pub(super) fn directory(
    host: &Host,
    params: &Params,
    dest: &Path,
    mode: Option<u32>,
) -> Result<Plan, Failure> {
    let dest: PathBuf = dest.components().collect();
    if Stat::followed(&dest)?.is_some_and(|stat| stat.kind == FileKind::Directory) {
        return Ok(Plan::ok(Map::new()));
    }
    let mode = params.directory_mode.clone().or_else(|| mode.map(Mode::Bits));
    let file = crate::file_args::FileArgs { mode, ..params.file.clone() };
    let args = map! { "path" => path_value(&dest), "state" => "directory" };
    let mut task = crate::file::Params::parse(&args)?;
    task.file = crate::file_args::FileArgs { attributes: None, ..file };
    crate::file::plan(task, host)
}

/// The plan for one link.
pub(super) fn link(dest: &Path, target: &Path) -> Result<Plan, Failure> {
    if std::fs::read_link(dest).is_ok_and(|now| now == target) {
        return Ok(Plan::ok(Map::new()));
    }
    if Stat::of(dest)?.is_some_and(|stat| stat.kind != FileKind::Link) {
        return Err(Failure::new(format!("{} exists and is no link", dest.display())));
    }
    let diff = Diff::property(dest.display(), "src", "", target.display());
    let (dest, target) = (dest.to_path_buf(), target.to_path_buf());
    Ok(Plan::change(Map::new(), vec![diff], move |_| {
        crate::guard::keep(&dest)?;
        let temp = parent_of(&dest).join(format!(".debark-{}-link", std::process::id()));
        let made = std::os::unix::fs::symlink(&target, &temp).and_then(|()| std::fs::rename(&temp, &dest));
        made.map(|()| Map::new()).map_err(|error| Failure::io("cannot make the link", &dest, error))
    }))
}
