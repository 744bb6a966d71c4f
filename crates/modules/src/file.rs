//! `file`: files, directories, links and their owner, mode and times; and their absence.

mod directory;
mod links;
#[cfg(test)]
mod tests;
mod times;

use std::path::{Path, PathBuf};

use debark_value::{Map, map};

use crate::editing::resolve;
use crate::file_args::{FileArgs, FileKind, Stat, Wanted, path_value};
use crate::param::NO_RULES;
use crate::plan::{Diff, Failure};
use crate::{Host, Plan, choices, params};
use times::Times;

choices! {
    /// What should be at the path.
    pub enum State {
        File = "file", Directory = "directory", Link = "link", Hard = "hard", Touch = "touch", Absent = "absent",
    }
}

params! {
    /// Sets owner, mode and times of files, and makes or removes directories, links and empty files.
    pub struct Params for "ansible.builtin.file" {
        /// The path to be managed.
        path | dest | name: PathBuf,
        /// What should be there; without it, what is there, or `file` (`directory` with `recurse`).
        state: Option<State>,
        /// What a link points to: for `link` as it is written into the link, relative to the link's directory.
        src: Option<PathBuf>,
        /// Set owner, group, mode and attributes of everything below a directory too.
        recurse: bool = false,
        /// Make links to what does not exist, and replace files by links.
        force: bool = false,
        /// Follow a link at the path.
        follow: bool = true,
        /// `preserve`, `now` or a time in `modification_time_format`.
        modification_time: Option<String>,
        /// How `modification_time` is written, as strptime(3).
        modification_time_format: String = "%Y%m%d%H%M.%S".to_owned(),
        /// `preserve`, `now` or a time in `access_time_format`.
        access_time: Option<String>,
        /// How `access_time` is written, as strptime(3).
        access_time_format: String = "%Y%m%d%H%M.%S".to_owned(),
    }
    common file: FileArgs;
    rules NO_RULES
}

/// What all states work with.
struct Task {
    path: PathBuf,
    now: Option<Stat>,
    wanted: Wanted,
    times: Times,
    params: Params,
}

/// Observes the path and computes what its state needs.
///
/// # Errors
/// Something else is at the path, parameters do not go together, or the host refuses to tell.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let mut path = params.path.clone();
    let directory = Stat::followed(&path)?.is_some_and(|stat| stat.kind == FileKind::Directory);
    if directory && !matches!(params.state, Some(State::Link | State::Absent)) {
        // As documented for `src`: with a directory as path, its namesake within is meant.
        path.extend(params.src.as_deref().and_then(Path::file_name));
    }
    let now = Stat::of(&path)?;
    let state = params.state.unwrap_or_else(|| match now.map(|stat| stat.state()) {
        Some("directory") => State::Directory,
        Some("link") => State::Link,
        Some("hard") => State::Hard,
        None if params.recurse => State::Directory,
        _ => State::File,
    });
    if params.recurse && state != State::Directory {
        return Err(Failure::new("`recurse` needs `state: directory`"));
    }
    if params.src.is_some() && !matches!(state, State::Link | State::Hard) {
        return Err(Failure::new("`src` needs `state: link` or `state: hard`"));
    }
    let wanted = if state == State::Absent { Wanted::default() } else { params.file.resolve(host)? };
    let times = Times::read(&params, state)?;
    let task = Task { path, now, wanted, times, params };
    match state {
        State::Absent => absent(host, &task),
        State::Touch => touch(host, task),
        State::File => existing(host, task),
        State::Directory => directory::plan(host, task),
        State::Link => links::soft(host, task),
        State::Hard => links::hard(host, task),
    }
}

/// The word for what is there.
fn word(now: Option<&Stat>) -> &'static str {
    now.map_or("absent", Stat::state)
}

fn state_diff(path: &Path, before: &str, after: &str) -> Diff {
    Diff::property(path.display(), "state", before, after)
}

impl Task {
    /// Owner, mode, attributes and times of what is at `path` (`now`, or what a step before has made there).
    fn attributes(
        &self,
        host: &Host,
        path: &Path,
        now: &Stat,
        mut result: Map,
        mut diff: Vec<Diff>,
        first: Option<crate::plan::Apply>,
    ) -> Result<Plan, Failure> {
        let exists = Stat::followed(path).is_ok_and(|found| found.is_some());
        let attrs = self.wanted.diff(host, path, now, exists)?;
        let times = self.times.diff(path, exists)?;
        attrs.after(now).report(&mut result);
        diff.extend(attrs.diffs());
        diff.extend(times.diff.clone());
        if first.is_none() && attrs.is_empty() && !times.changes() {
            return Ok(Plan::ok(result));
        }
        let path = path.to_path_buf();
        Ok(Plan::change(result, diff, move |host| {
            let mut more = match first {
                Some(first) => first(host)?,
                None => Map::new(),
            };
            attrs.apply(host)?;
            times.apply()?;
            more.extend(crate::file_args::report(&path)?);
            Ok(more)
        }))
    }
}

fn absent(host: &Host, task: &Task) -> Result<Plan, Failure> {
    let path = task.path.clone();
    let result = map! { "path" => path_value(&path), "state" => "absent" };
    let Some(now) = task.now else { return Ok(Plan::ok(result)) };
    let diff = if host.wants_diff() || !host.is_check() {
        vec![state_diff(&path, word(Some(&now)), "absent")]
    } else {
        Vec::new()
    };
    Ok(Plan::change(result, diff, move |_| {
        crate::guard::keep_all(&path)?;
        let removed = match now.kind {
            // The standard library's removal goes by directory descriptors: it never follows a link.
            FileKind::Directory => std::fs::remove_dir_all(&path),
            _ => std::fs::remove_file(&path),
        };
        match removed {
            Ok(()) => Ok(Map::new()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
            Err(error) => Err(Failure::io("cannot remove", &path, error)),
        }
    }))
}

fn touch(host: &Host, task: Task) -> Result<Plan, Failure> {
    let followed = if task.params.follow { resolve(&task.path) } else { task.path.clone() };
    let result = map! { "dest" => path_value(&task.path) };
    if let Some(now) = Stat::of(&followed)? {
        return task.attributes(host, &followed, &now, result, Vec::new(), None);
    }
    crate::atomic::need_parent(host, &followed)?;
    let fresh = Stat::fresh(FileKind::File, crate::atomic::parent_of(&followed));
    let diff = vec![state_diff(&followed, "absent", "touch")];
    let path = followed.clone();
    let make: crate::plan::Apply = Box::new(move |_| {
        crate::guard::keep(&path)?;
        let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        made.map(|_| Map::new()).map_err(|error| crate::atomic::write_failure(&path, error))
    });
    task.attributes(host, &followed, &fresh, result, diff, Some(make))
}

fn existing(host: &Host, task: Task) -> Result<Plan, Failure> {
    let path = match task.now {
        Some(now) if now.kind == FileKind::Link && task.params.follow => resolve(&task.path),
        _ => task.path.clone(),
    };
    let result = map! { "path" => path_value(&path) };
    match Stat::of(&path)? {
        Some(now) if matches!(now.kind, FileKind::File | FileKind::Other) => {
            task.attributes(host, &path, &now, result, Vec::new(), None)
        }
        // A task before this one may be about to make it; what it will be like is not known.
        None if host.may_come() => Ok(Plan::change(result, vec![], |_| Ok(Map::new()))),
        None => Err(Failure::new(format!("{} does not exist", path.display()))
            .hint("`state: touch` makes an empty file; copy and template make files with content")
            .with(map! { "path" => path_value(&path), "state" => "absent" })),
        now => Err(Failure::new(format!("{} is a {}, not a file", path.display(), word(now.as_ref())))
            .with(map! { "path" => path_value(&path), "state" => word(now.as_ref()) })),
    }
}
