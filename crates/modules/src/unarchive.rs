//! `unarchive`: what an archive holds, unpacked on the host.
//!
//! The host's own tar(1), unzip(1) and zipinfo(1) read the archives, as under Ansible: they know formats, sparse
//! files and hard links, and their comparison (`tar --diff`) tells whether anything is left to be done.

mod source;
mod tar;
#[cfg(test)]
mod tests;
mod zip;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::exec::Cmd;
use crate::file_args::{Attrs, FileArgs, Stat, Wanted, path_value};
use crate::param::{NO_RULES, Rules};
use crate::plan::Action;
use crate::{Diff, Failure, Host, Map, Plan, Value, map, params};
use source::Source;

params! {
    /// Unpacks an archive: tar, plain or packed with gzip, bzip2, xz or zstd, or zip.
    pub struct Params for "ansible.builtin.unarchive" {
        /// The archive: beside the playbook, or with `remote_src` on the host or an address (`https://...`).
        src: String,
        /// Where to; the directory must be there.
        dest: PathBuf,
        /// `src` is on the host or is an address.
        remote_src: bool = false,
        /// The opposite of `remote_src`, in old playbooks.
        copy: Option<bool>,
        /// If this exists, nothing is unpacked.
        creates: Option<PathBuf>,
        /// Return the names of all files in the archive as `files`.
        list_files: bool = false,
        /// Names and patterns of what to leave out.
        exclude: Vec<String>,
        /// Names and patterns of all that is to be unpacked.
        include: Vec<String>,
        /// Keep files on the host that are newer than those of the archive.
        keep_newer: bool = false,
        /// More options for tar(1) or unzip(1).
        extra_opts: Vec<String>,
        /// The server's certificate must be valid, where `src` is an address.
        validate_certs: bool = true,
        /// Accepted and without effect: files are read in pieces of a fixed size.
        io_buffer_size: i64 = 65536,
        /// Accepted; vault-encrypted archives always arrive decrypted.
        decrypt: bool = true,
    }
    common file: FileArgs;
    rules Rules { exclusive: &[&["include", "exclude"], &["copy", "remote_src"]], ..NO_RULES }
}

/// An archive and where it is to be unpacked.
struct Job<'a> {
    params: &'a Params,
    source: &'a Source,
    /// Absolute.
    dest: PathBuf,
    wanted: Wanted,
}

/// What an archive holds, and how that differs from what is there.
struct Observed {
    /// Ansible's name for what unpacks it.
    handler: &'static str,
    /// What it holds, below the destination.
    members: Vec<String>,
    /// Whether it is to be unpacked.
    differs: bool,
    /// The differences, a line each.
    diff: String,
    /// What unpacks it.
    extract: Cmd,
}

/// Compares the archive with what is there.
///
/// # Errors
/// The archive or the destination is missing, the archive cannot be read with the programs of the host, or holds a
/// path that leads out of the destination.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    if let Some(path) = params.creates.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
        return Ok(Plan::skip(format!("skipped, since {} exists", path.display())));
    }
    let dest =
        std::path::absolute(&params.dest).map_err(|e| Failure::io("cannot look at", &params.dest, e))?;
    if !dest.is_dir() {
        return Err(Failure::new(format!("{} must be a directory that is there", dest.display()))
            .hint("make it with a task of `file: state=directory` before this one"));
    }
    let source = Source::open(&params, host)?;
    let job = Job { wanted: params.file.resolve(host)?, params: &params, source: &source, dest };
    let seen = if source.is_zip()? { zip::observe(&job, host)? } else { tar::observe(&job, host)? };
    safe(&job, &seen.members)?;
    let mut result = map! {
        "dest" => path_value(&job.dest), "src" => source.shown.clone(), "handler" => seen.handler,
    };
    if params.list_files {
        let names = seen.members.iter().map(|name| Value::from(name.as_str()));
        result.insert("files".into(), Value::from(names.collect::<Vec<_>>()));
    }
    let attrs = if seen.differs { Vec::new() } else { attributes(&job, &seen.members, host)? };
    let mut diff: Vec<Diff> = attrs.iter().flat_map(Attrs::diffs).collect();
    if seen.differs {
        diff.push(Diff::text(job.dest.display(), "", seen.diff.clone()));
    }
    if let Some(stat) = Stat::followed(&job.dest)? {
        stat.report(&mut result);
    }
    if !seen.differs && attrs.is_empty() {
        return Ok(Plan::ok(result));
    }
    let Job { dest, wanted, .. } = job;
    let action = Action::Change(Box::new(move |host| {
        let job = Job { params: &params, source: &source, dest, wanted };
        let mut more = Map::new();
        if seen.differs {
            more = unpack(&job, &seen, host)?;
        }
        for attrs in attributes(&job, &seen.members, host)? {
            attrs.apply(host)?;
        }
        if let Some(stat) = Stat::followed(&job.dest)? {
            stat.report(&mut more);
        }
        // Whatever was unpacked, accounts and units among them, is not what was read before.
        host.forget_all();
        Ok(more)
    }));
    Ok(Plan { result, diff, action })
}

fn unpack(job: &Job, seen: &Observed, host: &Host) -> Result<Map, Failure> {
    let output = host.exec(&seen.extract)?;
    let words = seen.extract.argv.iter().map(|word| Value::from(word.to_string_lossy().as_ref()));
    let results = map! {
        "cmd" => words.collect::<Vec<_>>(), "rc" => output.rc, "out" => output.out(), "err" => output.err(),
    };
    let result = map! { "extract_results" => results };
    if output.rc == 0 {
        return Ok(result);
    }
    let why = reason(&output.err()).map(|why| format!(": {why}")).unwrap_or_default();
    let mut failure =
        Failure::new(format!("cannot unpack {} to {}{why}", job.source.shown, job.dest.display()));
    failure.hint = missing_program(&output.err());
    let dest = path_value(&job.dest);
    Err(failure
        .with(result)
        .with(map! { "dest" => dest, "src" => job.source.shown.clone(), "handler" => seen.handler }))
}

/// The first line that tells more than that something went wrong.
fn reason(err: &str) -> Option<&str> {
    let told = |line: &&str| {
        !["Error is not recoverable", "Child returned status", "Exiting with failure"]
            .iter()
            .any(|empty| line.contains(empty))
    };
    err.lines().map(str::trim).filter(|line| !line.is_empty()).find(told)
}

/// Which Debian package has the program that tar(1) says it lacks.
fn missing_program(err: &str) -> Option<String> {
    let line = err.lines().find(|line| line.contains("Cannot exec"))?;
    let program = line.trim_start_matches("tar (child): ").split(':').next()?;
    let package = match program {
        "xz" | "lzma" => "xz-utils",
        "compress" => "ncompress",
        other => other,
    };
    Some(format!("install the Debian package `{package}` on the host"))
}

/// Refuses names that lead out of the destination, by themselves or through links that are there.
fn safe(job: &Job, members: &[String]) -> Result<(), Failure> {
    let outside = |member: &str, why: &str| {
        Failure::new(format!("{} holds {member:?}, which {why} {}", job.source.shown, job.dest.display()))
    };
    let mut parents = BTreeSet::new();
    for member in members {
        let path = Path::new(member);
        if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(outside(member, "is not below"));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            parents.insert((parent, member));
        }
    }
    // This option says that links to directories are meant to be followed.
    if job.params.extra_opts.iter().any(|option| option == "--keep-directory-symlink") {
        return Ok(());
    }
    let root = job.dest.canonicalize().map_err(|e| Failure::io("cannot look at", &job.dest, e))?;
    let mut last = None;
    for (parent, member) in parents {
        if last.replace(parent) == Some(parent) {
            continue;
        }
        // What is not there yet is below the deepest directory that is.
        let real = parent.ancestors().find_map(|dir| job.dest.join(dir).canonicalize().ok());
        if real.is_some_and(|real| !real.starts_with(&root)) {
            return Err(outside(member, "would be written through a link to outside"));
        }
    }
    Ok(())
}

/// What is still to be changed of owner, group, mode and attributes of what the archive holds.
fn attributes(job: &Job, members: &[String], host: &Host) -> Result<Vec<Attrs>, Failure> {
    let mut found = Vec::new();
    if job.wanted.is_empty() {
        return Ok(found);
    }
    // A directory that only its files name is among what is unpacked as well.
    let tops = members.iter().filter_map(|name| name.split_once('/')).map(|(top, _)| top);
    let paths: BTreeSet<PathBuf> =
        members.iter().map(String::as_str).chain(tops).map(|name| job.dest.join(name)).collect();
    for path in paths {
        let path: PathBuf = path.components().collect();
        let Some(stat) = Stat::of(&path)? else { continue };
        let attrs = job.wanted.diff(host, &path, &stat, true)?;
        if !attrs.is_empty() {
            found.push(attrs);
        }
    }
    Ok(found)
}
