//! `state: directory`: with its parents, and with everything below it.

use std::path::{Path, PathBuf};

use debark_value::{Map, map};

use super::{Task, resolve, state_diff, word};
use crate::atomic::{parent_of, write_failure};
use crate::file_args::{Attrs, FileKind, Stat, path_value};
use crate::plan::{Diff, Failure};
use crate::{Host, Plan};

pub(super) fn plan(host: &Host, task: Task) -> Result<Plan, Failure> {
    let path = match task.now {
        Some(now) if now.kind == FileKind::Link && task.params.follow => resolve(&task.path),
        _ => task.path.clone(),
    };
    let result = map! { "path" => path_value(&path) };
    match Stat::of(&path)? {
        None => make(host, &task, &path, result),
        Some(now) if now.kind == FileKind::Directory => mend(host, &task, &path, &now, result),
        now => Err(Failure::new(format!("{} exists and is a {}", path.display(), word(now.as_ref())))
            .with(map! { "path" => path_value(&path), "state" => word(now.as_ref()) })),
    }
}

/// Makes the directory and its missing parents; owner and mode apply to those that were missing, and to no other.
fn make(host: &Host, task: &Task, path: &Path, mut result: Map) -> Result<Plan, Failure> {
    let mut missing: Vec<PathBuf> = Vec::new();
    for dir in path.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
        match Stat::followed(dir)? {
            Some(stat) if stat.kind == FileKind::Directory => break,
            Some(_) => return Err(Failure::new(format!("{} is not a directory", dir.display()))),
            // A dangling link cannot become a directory.
            None if Stat::of(dir)?.is_some() => {
                return Err(Failure::new(format!("{} is a link to what does not exist", dir.display())));
            }
            None => missing.push(dir.to_path_buf()),
        }
    }
    missing.reverse();
    let top = missing.first().map_or(path, |first| parent_of(first)).to_path_buf();
    let fresh = Stat::fresh(FileKind::Directory, &top);
    let wanted = task.wanted.clone();
    let last = wanted.diff(host, path, &fresh, false)?;
    last.after(&fresh).report(&mut result);
    result.insert("state".into(), "directory".into());
    result.shift_remove("size");
    let diff = missing.iter().map(|dir| state_diff(dir, "absent", "directory")).collect();
    let (times, path) = (task.times, path.to_path_buf());
    Ok(Plan::change(result, diff, move |host| {
        for dir in &missing {
            crate::guard::keep(dir)?;
            match std::fs::create_dir(dir) {
                Ok(()) => {}
                // A parent that somebody made meanwhile is as they want it.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && dir.is_dir() => {
                    if dir != &path {
                        continue;
                    }
                }
                Err(error) => return Err(write_failure(dir, error)),
            }
            let Some(now) = Stat::of(dir)? else { continue };
            wanted.diff(host, dir, &now, true)?.apply(host)?;
        }
        times.diff(&path, true)?.apply()?;
        crate::file_args::report(&path)
    }))
}

fn mend(host: &Host, task: &Task, path: &Path, now: &Stat, mut result: Map) -> Result<Plan, Failure> {
    let own = task.wanted.diff(host, path, now, true)?;
    own.after(now).report(&mut result);
    let mut diff = own.diffs();
    let mut all = vec![own];
    let mut times = vec![task.times.diff(path, true)?];
    if task.params.recurse {
        let mut found = Below { follow: task.params.follow, seen: vec![now.id], paths: Vec::new() };
        found.walk(path, 0)?;
        for (below, stat) in found.paths {
            let attrs = task.wanted.diff(host, &below, &stat, true)?;
            diff.extend(attrs.diffs());
            all.push(attrs);
            if stat.kind != FileKind::Link {
                times.push(task.times.diff(&below, true)?);
            }
        }
    }
    all.retain(|attrs: &Attrs| !attrs.is_empty());
    times.retain(super::times::TimesDiff::changes);
    diff.extend(times.iter().flat_map(|times| times.diff.clone()).collect::<Vec<Diff>>());
    if all.is_empty() && times.is_empty() {
        return Ok(Plan::ok(result));
    }
    let path = path.to_path_buf();
    Ok(Plan::change(result, diff, move |host| {
        all.iter().try_for_each(|attrs| attrs.apply(host))?;
        times.iter().try_for_each(super::times::TimesDiff::apply)?;
        crate::file_args::report(&path)
    }))
}

/// Everything below a directory. Links are entered only if they are to be followed, and no directory twice.
struct Below {
    follow: bool,
    seen: Vec<(u64, u64)>,
    paths: Vec<(PathBuf, Stat)>,
}

impl Below {
    fn walk(&mut self, dir: &Path, depth: usize) -> Result<(), Failure> {
        // PATH_MAX / 2 levels: deeper paths cannot be named to the kernel anyway.
        if depth > 2048 {
            return Err(Failure::new(format!("{} is nested too deeply", dir.display())));
        }
        let entries = std::fs::read_dir(dir).map_err(|e| Failure::io("cannot list", dir, e))?;
        for entry in entries {
            let path = entry.map_err(|e| Failure::io("cannot list", dir, e))?.path();
            let Some(stat) = Stat::of(&path)? else { continue };
            self.paths.push((path.clone(), stat));
            let (path, stat) = match stat.kind {
                FileKind::Link if self.follow => match Stat::followed(&path) {
                    Ok(Some(target)) => {
                        let real = resolve(&path);
                        self.paths.push((real.clone(), target));
                        (real, target)
                    }
                    _ => continue,
                },
                _ => (path, stat),
            };
            if stat.kind == FileKind::Directory && !self.seen.contains(&stat.id) {
                if stat.nlink != 1 {
                    self.seen.push(stat.id);
                }
                self.walk(&path, depth + 1)?;
            }
        }
        Ok(())
    }
}
