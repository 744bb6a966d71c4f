//! `copy`: content, files and directories from the controller or the host itself.

mod place;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use debark_value::{Map, map};

use crate::file_args::{FileArgs, FileKind, Stat, path_value};
use crate::mode::Mode;
use crate::param::{NO_RULES, Rules};
use crate::plan::{Action, Failure};
use crate::upstream::{EntryKind, Search};
use crate::{Host, Plan, params};
pub(crate) use place::{Item, What, file};

params! {
    /// Copies files and directories to the host, or writes text into a file.
    pub struct Params for "ansible.builtin.copy" {
        /// File or directory beside the playbook, or on the host with `remote_src`. A directory with a trailing
        /// slash gives its contents, without one itself.
        src: Option<String>,
        /// Text to write; mappings and lists are written as JSON.
        content: Option<String>,
        /// Where to: a file, or a directory if it is one or ends in a slash.
        dest: PathBuf,
        /// Replace what differs; without it only what is missing is made.
        force: bool = true,
        /// Take `src` from the host.
        remote_src: bool = false,
        /// Keep a dated copy of what is replaced.
        backup: bool = false,
        /// Mode of directories that are made.
        directory_mode: Option<Mode>,
        /// Follow a link at the destination.
        follow: bool = false,
        /// Follow links in the source.
        local_follow: bool = true,
        /// SHA-1 that the source must have.
        checksum: Option<String>,
        /// Accepted; vault-encrypted files always arrive decrypted.
        decrypt: bool = true,
        /// A command that must accept the new content; `%s` is the file.
        validate: Option<String>,
    }
    common file: FileArgs;
    rules Rules {
        exclusive: &[&["src", "content"]],
        one_of: &[&["src", "content"]],
        ..NO_RULES
    }
}

/// Compares source and destination by digest, without fetching what is already there.
///
/// # Errors
/// The source is missing, the destination cannot be made, or a name is unknown.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let Some(src) = params.src.clone().filter(|_| params.content.is_none()) else {
        let bytes = params.content.clone().unwrap_or_default().into_bytes();
        if params.dest.as_os_str().to_string_lossy().ends_with('/') || params.dest.is_dir() {
            return Err(Failure::new(format!(
                "`content` needs a file as `dest`, {} is a directory",
                params.dest.display()
            )));
        }
        return file(host, &params, &params.dest, Item::bytes(bytes), true);
    };
    let (name, directory, items) =
        if params.remote_src { here(&params, &src)? } else { there(host, &params, &src)? };
    let dest_dir = params.dest.as_os_str().to_string_lossy().ends_with('/') || params.dest.is_dir();
    if !directory {
        let item = items.into_iter().next().ok_or_else(|| Failure::new(format!("{src} is empty")))?;
        let dest = if dest_dir { params.dest.join(&name) } else { params.dest.clone() };
        let plan = match dest_dir && !params.dest.is_dir() {
            true => together(vec![
                place::directory(host, &params, &params.dest, None)?,
                file(host, &params, &dest, item, false)?,
            ]),
            false => file(host, &params, &dest, item, true)?,
        };
        return Ok(plan.with("src", src).with("dest", path_value(&dest)));
    }
    let root = if src.ends_with('/') { params.dest.clone() } else { params.dest.join(&name) };
    // The directory that stands for the source has its mode, as of Ansible's copytree; any other that is made does not.
    let own = params.remote_src && src.ends_with('/') != dest_dir;
    let mode = if own { Stat::followed(&crate::paths::expand(&src))?.map(|stat| stat.mode) } else { None };
    let mut plans = Vec::new();
    if dest_dir && !src.ends_with('/') {
        plans.push(place::directory(host, &params, &params.dest, None)?);
    }
    plans.push(place::directory(host, &params, &root, mode)?);
    for item in items {
        let dest = root.join(&item.path);
        plans.push(match &item.what {
            What::Directory => {
                place::directory(host, &params, &dest, params.remote_src.then_some(item.mode))?
            }
            What::Link(target) => place::link(&dest, target)?,
            What::File { .. } => file(host, &params, &dest, item, false)?,
        });
    }
    let mut plan = together(plans);
    // As Ansible's action tells it, and as its module does.
    let told = if params.remote_src { &root } else { &params.dest };
    plan.result = map! { "src" => src, "dest" => path_value(told) };
    if let Some(stat) = Stat::of(&root)? {
        stat.report(&mut plan.result);
    }
    if let Action::Change(apply) = plan.action {
        plan.action = Action::Change(Box::new(move |host| {
            let mut more = apply(host)?;
            more.extend(crate::file_args::report(&root)?);
            Ok(more)
        }));
    }
    Ok(plan)
}

/// One plan that does all of them in order; its results are the last one's.
fn together(plans: Vec<Plan>) -> Plan {
    let (mut result, mut diff, mut steps) = (Map::new(), Vec::new(), Vec::new());
    for plan in plans {
        result = plan.result;
        diff.extend(plan.diff);
        if let Action::Change(apply) = plan.action {
            steps.push(apply);
        }
    }
    if steps.is_empty() {
        return Plan::ok(result);
    }
    Plan::change(result, diff, move |host| {
        let mut more = Map::new();
        for step in steps {
            more = step(host)?;
        }
        // Steps report their own paths; the task is about the whole.
        more.retain(|key, _| &**key == "backup_file" || &**key == "checksum");
        Ok(more)
    })
}

type Found = (String, bool, Vec<Item>);

fn there(host: &Host, params: &Params, src: &str) -> Result<Found, Failure> {
    let tree = host.upstream.find(src, Search::Files)?;
    let (name, directory) = (tree.name.clone(), tree.directory);
    let items = tree.entries(params.local_follow).into_iter().map(|entry| Item {
        // The controller is trusted, but a path that climbs is a mistake in any case.
        path: entry
            .path
            .components()
            .filter(|part| matches!(part, std::path::Component::Normal(_)))
            .collect(),
        mode: entry.mode & 0o7777,
        what: match entry.kind {
            EntryKind::Directory => What::Directory,
            EntryKind::Link(target) => What::Link(target),
            EntryKind::File { sha256, size } => {
                What::File { source: crate::editing::Source::Controller(sha256.clone()), sha256, size }
            }
        },
    });
    Ok((name, directory, items.collect()))
}

fn here(params: &Params, src: &str) -> Result<Found, Failure> {
    let root = crate::paths::expand(src);
    let name = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match Stat::followed(&root)? {
        None => Err(Failure::new(format!("there is no {src} on the host"))),
        Some(stat) if stat.kind == FileKind::Directory => {
            let mut items = Vec::new();
            walk(&root, Path::new(""), params.local_follow, &mut items)?;
            Ok((name, true, items))
        }
        Some(stat) => Ok((name, false, vec![Item::local(&root, PathBuf::new(), &stat)?])),
    }
}

fn walk(root: &Path, below: &Path, follow: bool, items: &mut Vec<Item>) -> Result<(), Failure> {
    if below.components().count() > 256 {
        return Err(Failure::new(format!("{} is nested too deeply, or its links go round", root.display())));
    }
    let dir = root.join(below);
    for entry in std::fs::read_dir(&dir).map_err(|e| Failure::io("cannot list", &dir, e))? {
        let entry = entry.map_err(|e| Failure::io("cannot list", &dir, e))?;
        let (real, path) = (entry.path(), below.join(entry.file_name()));
        let Some(stat) = (if follow { Stat::followed(&real)? } else { Stat::of(&real)? }) else { continue };
        items.push(Item::local(&real, path.clone(), &stat)?);
        if stat.kind == FileKind::Directory {
            walk(root, &path, follow, items)?;
        }
    }
    Ok(())
}
