//! `state: link` and `state: hard`.

use std::path::Path;
use std::path::PathBuf;

use debark_value::{Map, map};

use super::{Task, resolve, state_diff, word};
use crate::atomic::{need_parent, parent_of, sync_dir};
use crate::file_args::{FileKind, Stat, path_value};
use crate::plan::{Apply, Diff, Failure};
use crate::{Host, Plan};

pub(super) fn soft(host: &Host, task: Task) -> Result<Plan, Failure> {
    let path = task.path.clone();
    let old = task.now.filter(|now| now.kind == FileKind::Link).and_then(|_| std::fs::read_link(&path).ok());
    let Some(src) = task.params.src.clone().or_else(|| old.clone()) else {
        return Err(Failure::new(format!("{} needs `src` to become a link", path.display())));
    };
    let target = match task.now {
        Some(now) if now.kind == FileKind::Directory => path.join(&src),
        _ => parent_of(&path).join(&src),
    };
    let target_stat = Stat::followed(&target).unwrap_or_default();
    if !task.params.force && task.params.src.is_some() && target_stat.is_none() && !host.may_come() {
        return Err(Failure::new(format!(
            "{} cannot link to {}: it does not exist",
            path.display(),
            target.display()
        ))
        .hint("`force: true` makes the link all the same"));
    }
    let refuse = |why: &str| {
        Failure::new(format!(
            "{} is a {} and was not replaced by a link{why}",
            path.display(),
            word(task.now.as_ref())
        ))
    };
    match task.now.map(|now| now.kind) {
        Some(FileKind::Directory) if !task.params.force => return Err(refuse("")),
        Some(FileKind::Directory) if std::fs::read_dir(&path).is_ok_and(|mut dir| dir.next().is_some()) => {
            return Err(refuse(": it is not empty"));
        }
        Some(FileKind::File | FileKind::Other) if !task.params.force => {
            return Err(refuse("").hint("`force: true` replaces it"));
        }
        _ => {}
    }
    let result = map! { "dest" => path_value(&path), "src" => path_value(&src) };
    let relink = old.as_deref() != Some(src.as_path());
    let mut diff = Vec::new();
    let mut first: Option<Apply> = None;
    if relink {
        need_parent(host, &path)?;
        diff.push(match &old {
            Some(old) => Diff::property(path.display(), "src", old.display(), src.display()),
            None => state_diff(&path, word(task.now.as_ref()), "link"),
        });
        let (path, src, now) = (path.clone(), src.clone(), task.now);
        first = Some(Box::new(move |_| {
            put(&path, now, &|temp| std::os::unix::fs::symlink(&src, temp))?;
            Ok(Map::new())
        }));
    }
    let link = match task.now {
        Some(now) if !relink => now,
        _ => Stat { size: src.as_os_str().len() as u64, ..Stat::fresh(FileKind::Link, parent_of(&path)) },
    };
    // Owner and mode are meant for what the link leads to, unless it is not to be followed.
    if task.params.follow {
        let mut result = result;
        link.report(&mut result);
        let Some(target_stat) = target_stat else {
            return Ok(match first {
                None => Plan::ok(result),
                Some(first) => Plan::change(result, diff, move |host| {
                    first(host)?;
                    crate::file_args::report(&path)
                }),
            });
        };
        let real = resolve(&target);
        let mut plan = task.attributes(host, &real, &target_stat, Map::new(), diff, first)?;
        plan.result = result;
        // What is reported is the link, not what it leads to.
        if let crate::plan::Action::Change(apply) = plan.action {
            plan.action = crate::plan::Action::Change(Box::new(move |host| {
                apply(host)?;
                crate::file_args::report(&path)
            }));
        }
        return Ok(plan);
    }
    task.attributes(host, &path, &link, result, diff, first)
}

pub(super) fn hard(host: &Host, task: Task) -> Result<Plan, Failure> {
    let path = task.path.clone();
    let result = match &task.params.src {
        Some(src) => map! { "dest" => path_value(&path), "src" => path_value(src) },
        None => map! { "dest" => path_value(&path) },
    };
    let Some(src) = task.params.src.clone() else {
        return match task.now {
            Some(now) if now.state() == "hard" => {
                task.attributes(host, &path, &now, result, Vec::new(), None)
            }
            _ => Err(Failure::new(format!("{} needs `src` to become a hard link", path.display()))),
        };
    };
    let src = if task.params.follow { resolve(&src) } else { src };
    let Some(source) = Stat::of(&src)? else {
        if host.may_come() {
            let diff = vec![state_diff(&path, word(task.now.as_ref()), "hard")];
            return Ok(Plan::change(result, diff, |_| Ok(Map::new())));
        }
        return Err(Failure::new(format!(
            "{} cannot link to {}: it does not exist",
            path.display(),
            src.display()
        )));
    };
    match task.now {
        Some(now) if now.id == source.id => {
            return task.attributes(host, &path, &now, result, Vec::new(), None);
        }
        Some(now) if now.kind == FileKind::Directory => {
            return Err(Failure::new(format!(
                "{} is a directory and was not replaced by a link",
                path.display()
            )));
        }
        Some(now) if !task.params.force && now.kind != FileKind::Link => {
            return Err(Failure::new(format!(
                "{} is another file and was not replaced by a link",
                path.display()
            ))
            .hint("`force: true` replaces it"));
        }
        _ => {}
    }
    need_parent(host, &path)?;
    let diff = vec![state_diff(&path, word(task.now.as_ref()), "hard")];
    let (dest, now) = (path.clone(), task.now);
    let first: Apply = Box::new(move |_| {
        put(&dest, now, &|temp| std::fs::hard_link(&src, temp))?;
        Ok(Map::new())
    });
    let linked = Stat { nlink: source.nlink + 1, ..source };
    task.attributes(host, &path, &linked, result, diff, Some(first))
}

/// Makes a link under another name and renames it: the path is never without one.
fn put(path: &Path, now: Option<Stat>, make: &dyn Fn(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
    let failed = |error| Failure::io("cannot make the link", path, error);
    crate::guard::keep_all(path)?;
    if now.is_none() {
        return make(path).map_err(failed);
    }
    let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos());
    let temp: PathBuf = parent_of(path).join(format!(".debark-{}-{nanos}", std::process::id()));
    make(&temp).map_err(failed)?;
    if now.is_some_and(|now| now.kind == FileKind::Directory) {
        // Only an empty one: rmdir(2) refuses any other.
        std::fs::remove_dir(path).map_err(|error| {
            let _ = std::fs::remove_file(&temp);
            failed(error)
        })?;
    }
    std::fs::rename(&temp, path).map_err(|error| {
        let _ = std::fs::remove_file(&temp);
        failed(error)
    })?;
    sync_dir(parent_of(path));
    Ok(())
}
