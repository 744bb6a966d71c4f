//! `find`: files and directories below some paths that meet all criteria.

use std::fs::{DirEntry, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use debark_value::{Map, Value, map};

use crate::file_args::{FileKind, Stat, path_value, umask};
use crate::hash::{self, Algorithm};
use crate::mode::Mode;
use crate::param::{NO_RULES, Rules};
use crate::plan::Failure;
use crate::pyre::Pattern;
use crate::{Host, Plan, choices, fnmatch, params};

mod content;

choices! {
    /// What is looked for.
    pub enum Type { Any = "any", Directory = "directory", File = "file", Link = "link" }
}
choices! {
    /// The time that `age` is about.
    pub enum Stamp { Accessed = "atime", Changed = "ctime", Modified = "mtime" }
}

params! {
    /// Lists files and directories that meet all criteria.
    pub struct Params for "ansible.builtin.find" {
        /// Directories to look in.
        paths | path | name: Vec<PathBuf>,
        /// Shell patterns, or regular expressions with `use_regex`; the name must match one of them.
        patterns | pattern: Vec<String>,
        /// Patterns of names to leave out.
        excludes | exclude: Vec<String>,
        /// A regular expression that a line must match from its beginning.
        contains: Option<String>,
        /// Look for `contains` anywhere in the whole file.
        read_whole_file: bool = false,
        /// What to look for.
        file_type: Type = Type::File,
        /// At least that old (at most, if negative): seconds, or with a unit s, m, h, d, w.
        age: Option<String>,
        /// Which time `age` is about.
        age_stamp: Stamp = Stamp::Modified,
        /// At least that large (at most, if negative): bytes, or with a unit b, k, m, g, t.
        size: Option<String>,
        /// Look in directories below, too.
        recurse: bool = false,
        /// List names that start with a dot, too.
        hidden: bool = false,
        /// Look in directories that links lead to.
        follow: bool = false,
        /// Report a digest of regular files.
        get_checksum: bool = false,
        /// The digest's algorithm: md5, sha1, sha224, sha256, sha384 or sha512.
        checksum_algorithm | checksum | checksum_algo: String = "sha1".to_owned(),
        /// Patterns are regular expressions, matched from the beginning of the name.
        use_regex: bool = false,
        /// How many levels to go down; any number without it.
        depth: Option<i64>,
        /// Permission bits.
        mode: Option<Mode>,
        /// The bits must be exactly these; without it one of them is enough.
        exact_mode: bool = true,
        /// Encoding of files that `contains` reads: utf-8, ascii or latin-1.
        encoding: Option<String>,
        /// Stop after that many.
        limit: Option<i64>,
    }
    rules Rules { one_of: &[&["paths"]], ..NO_RULES }
}

/// More matches than this would not fit the memory that an agent may take.
const MATCHES: usize = 100_000;
/// Directories are not nested deeper than a path can be long (`PATH_MAX`).
const DEPTH: usize = 2048;

/// Lists what is there; a check does the same.
///
/// # Errors
/// A criterion cannot be read, or more is found than fits the memory.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    if params.paths.is_empty() {
        return Err(Failure::new("find needs the parameter `paths`"));
    }
    let mut search = Search::new(&params)?;
    for path in &params.paths {
        search.below(path)?;
    }
    let msg = match (search.warnings.is_empty(), search.full()) {
        (false, _) => "Not all paths examined, check warnings for details",
        (true, true) => "Limit of matches reached",
        (true, false) => "All paths examined",
    };
    let mut result = map! {
        "msg" => msg, "matched" => search.found.len() as u64, "examined" => search.examined,
        "files" => Value::list(search.found), "skipped_paths" => search.skipped,
    };
    if !search.warnings.is_empty() {
        result.insert("warnings".into(), Value::list(search.warnings));
    }
    Ok(Plan::ok(result))
}

/// One directory on the way down.
struct Dir {
    path: PathBuf,
    /// 0 for where the search starts.
    level: usize,
    /// Device and inode of the directories above and of this one; only kept where links are followed.
    above: Option<Rc<Above>>,
}

struct Above {
    id: (u64, u64),
    above: Option<Rc<Above>>,
}

impl Above {
    fn holds(above: &Option<Rc<Self>>, id: (u64, u64)) -> bool {
        let mut next = above.as_ref();
        while let Some(dir) = next {
            if dir.id == id {
                return true;
            }
            next = dir.above.as_ref();
        }
        false
    }
}

struct Search<'a> {
    params: &'a Params,
    patterns: Names,
    excludes: Names,
    contains: Option<content::Contains>,
    algorithm: Algorithm,
    age: Option<i64>,
    size: Option<i64>,
    mode: Option<u32>,
    limit: Option<usize>,
    depth: usize,
    now: f64,
    examined: u64,
    found: Vec<Map>,
    skipped: Map,
    warnings: Vec<String>,
}

impl<'a> Search<'a> {
    fn new(params: &'a Params) -> Result<Self, Failure> {
        let amount = |name: &str, text: &Option<String>, units: &[(char, i64)]| match text {
            None => Ok(None),
            Some(text) => scaled(text, units).map(Some).ok_or_else(|| {
                let letters: Vec<String> = units.iter().map(|(unit, _)| unit.to_string()).collect();
                Failure::new(format!("find: parameter `{name}` is no amount: {text:?}"))
                    .hint(format!("a whole number, with one of the units {} or none", letters.join(", ")))
                    .with(Map::from_iter([(name.into(), text.as_str().into())]))
            }),
        };
        let limit = match params.limit {
            None => None,
            Some(limit) => Some(usize::try_from(limit).ok().filter(|limit| *limit > 0).ok_or_else(|| {
                Failure::new(format!("find: parameter `limit` is {limit}, which would find nothing"))
            })?),
        };
        let algorithm = Algorithm::of(&params.checksum_algorithm).ok_or_else(|| {
            Failure::new(format!("there is no checksum algorithm {:?}", params.checksum_algorithm))
        })?;
        Ok(Self {
            params,
            patterns: Names::new("patterns", &params.patterns, params.use_regex)?,
            excludes: Names::new("excludes", &params.excludes, params.use_regex)?,
            contains: content::Contains::new(params)?,
            algorithm,
            age: amount(
                "age",
                &params.age,
                &[('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)],
            )?,
            size: amount(
                "size",
                &params.size,
                &[('b', 1), ('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)],
            )?,
            mode: params.mode.as_ref().map(|mode| mode.resolve(0, false, umask())),
            limit,
            // 0 is no limit, as in Ansible; nothing is less than one level deep.
            depth: match params.depth {
                _ if !params.recurse => 1,
                None | Some(0) => usize::MAX,
                Some(depth) => usize::try_from(depth).unwrap_or(0),
            },
            now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
            examined: 0,
            found: Vec::new(),
            skipped: Map::new(),
            warnings: Vec::new(),
        })
    }

    fn full(&self) -> bool {
        self.limit.is_some_and(|limit| self.found.len() >= limit)
    }

    fn below(&mut self, root: &Path) -> Result<(), Failure> {
        if !root.is_dir() {
            self.skip(root, format!("{} is not a directory", root.display()));
            return Ok(());
        }
        let above = self.params.follow.then(|| Stat::followed(root).ok().flatten()).flatten();
        let above = above.map(|stat| Rc::new(Above { id: stat.id, above: None }));
        // Depth first, a directory's own files before what is below it: only names of directories are kept.
        let mut todo = vec![Dir { path: root.to_path_buf(), level: 0, above }];
        while let Some(dir) = todo.pop() {
            if self.full() {
                break;
            }
            let first = todo.len();
            self.list(&dir, &mut todo)?;
            if let Some(new) = todo.get_mut(first..) {
                new.reverse();
            }
        }
        Ok(())
    }

    /// Looks at one directory; those in it are added to `todo`.
    fn list(&mut self, dir: &Dir, todo: &mut Vec<Dir>) -> Result<(), Failure> {
        let entries = match std::fs::read_dir(&dir.path) {
            Ok(entries) => entries,
            // Ansible counts these as skipped, but does not warn.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                self.skipped.insert(dir.path.to_string_lossy().as_ref().into(), error.to_string().into());
                return Ok(());
            }
            // It was removed since its parent was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.skip(&dir.path, error.to_string());
                return Ok(());
            }
        };
        let mut dirs = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.skip(&dir.path, error.to_string());
                    break;
                }
            };
            self.examined += 1;
            let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let directory =
                if link { entry.path().is_dir() } else { entry.file_type().is_ok_and(|kind| kind.is_dir()) };
            if directory {
                dirs.push((entry, link));
            } else {
                self.look(dir, &entry)?;
            }
            if self.full() {
                return Ok(());
            }
        }
        for (entry, link) in dirs {
            self.look(dir, &entry)?;
            if self.full() {
                return Ok(());
            }
            let level = dir.level + 1;
            if level >= self.depth || level > DEPTH || (link && !self.params.follow) {
                continue;
            }
            let mut above = None;
            if self.params.follow {
                let Ok(Some(stat)) = Stat::followed(&entry.path()) else { continue };
                if Above::holds(&dir.above, stat.id) {
                    continue;
                }
                above = Some(Rc::new(Above { id: stat.id, above: dir.above.clone() }));
            }
            todo.push(Dir { path: entry.path(), level, above });
        }
        Ok(())
    }

    /// Adds one entry, if it meets the criteria.
    fn look(&mut self, dir: &Dir, entry: &DirEntry) -> Result<(), Failure> {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if dir.level >= self.depth || (name.starts_with('.') && !self.params.hidden) || !self.named(&name)? {
            return Ok(());
        }
        let path = entry.path();
        let meta = match std::fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) => {
                self.skip(&path, error.to_string());
                return Ok(());
            }
        };
        let stat = Stat::from_metadata(&meta);
        let wanted = match self.params.file_type {
            Type::Any => true,
            Type::Directory => stat.kind == FileKind::Directory,
            Type::File => stat.kind == FileKind::File,
            Type::Link => stat.kind == FileKind::Link,
        };
        if !wanted || !self.meets(&stat, &meta) {
            return Ok(());
        }
        if let (Some(contains), Type::File) = (&self.contains, self.params.file_type) {
            match contains.is_in(&path) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(failure) => {
                    self.skip(&path, failure.msg);
                    return Ok(());
                }
            }
        }
        if self.found.len() >= MATCHES {
            return Err(Failure::new(format!(
                "more than {MATCHES} files match below {}",
                dir.path.display()
            ))
            .hint("narrow the search with `patterns`, or end it with `limit`"));
        }
        let mut file = map! { "path" => path_value(&normal(&path)) };
        file.extend(crate::stat::describe(&stat, &meta));
        for key in ["blocks", "block_size", "device_type"] {
            file.shift_remove(key);
        }
        for key in ["pw_name", "gr_name"] {
            file.entry(key.into()).or_insert_with(|| "".into());
        }
        if self.params.get_checksum && stat.kind == FileKind::File {
            match hash::file(&path, &[self.algorithm]) {
                Ok(mut digests) => drop(file.insert("checksum".into(), digests.pop().into())),
                Err(failure) => {
                    self.skip(&path, failure.msg);
                    return Ok(());
                }
            }
        }
        self.found.push(file);
        Ok(())
    }

    fn named(&self, name: &str) -> Result<bool, Failure> {
        Ok((self.patterns.is_empty() || self.patterns.matches(name)?) && !self.excludes.matches(name)?)
    }

    /// Age, mode, and the size of regular files.
    fn meets(&self, stat: &Stat, meta: &Metadata) -> bool {
        let (seconds, nanos) = match self.params.age_stamp {
            Stamp::Accessed => (meta.atime(), meta.atime_nsec()),
            Stamp::Changed => (meta.ctime(), meta.ctime_nsec()),
            Stamp::Modified => (meta.mtime(), meta.mtime_nsec()),
        };
        let since = self.now - (seconds as f64 + nanos as f64 / 1e9);
        let old = match self.age {
            None => true,
            Some(age) if age < 0 => since <= age.unsigned_abs() as f64,
            Some(age) => since >= age as f64,
        };
        let large = match self.size.filter(|_| stat.kind == FileKind::File) {
            None => true,
            Some(size) if size < 0 => stat.size <= size.unsigned_abs(),
            Some(size) => stat.size >= size.unsigned_abs(),
        };
        let mode = match self.mode {
            None => true,
            Some(mode) if self.params.exact_mode => stat.mode == mode,
            Some(mode) => stat.mode & mode != 0,
        };
        old && large && mode
    }

    fn skip(&mut self, path: &Path, why: String) {
        // A thousand reasons are enough to see what is wrong.
        if self.warnings.len() < 1000 {
            self.warnings.push(format!("skipped {}: {why}", path.display()));
            self.skipped.insert(path.to_string_lossy().as_ref().into(), why.into());
        }
    }
}

/// Patterns of names.
enum Names {
    Shell(Vec<String>),
    Regex(Vec<Pattern>),
}

impl Names {
    fn new(parameter: &str, patterns: &[String], regex: bool) -> Result<Self, Failure> {
        if !regex {
            return Ok(Self::Shell(patterns.to_vec()));
        }
        let compiled = patterns.iter().map(|pattern| Pattern::new(parameter, &anchored(pattern), ""));
        compiled.collect::<Result<_, _>>().map(Self::Regex)
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Shell(patterns) => patterns.is_empty(),
            Self::Regex(patterns) => patterns.is_empty(),
        }
    }

    fn matches(&self, name: &str) -> Result<bool, Failure> {
        match self {
            Self::Shell(patterns) => Ok(patterns.iter().any(|pattern| fnmatch::matches(pattern, name))),
            Self::Regex(patterns) => {
                for pattern in patterns {
                    if pattern.search(name, 0)?.is_some() {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// What Python's `re.match` does: the match starts where the text does.
fn anchored(pattern: &str) -> String {
    format!("\\A(?:{pattern})")
}

/// A whole number with one of the units (of either case) or none.
fn scaled(text: &str, units: &[(char, i64)]) -> Option<i64> {
    let text = text.to_ascii_lowercase();
    let unit = units.iter().find(|(unit, _)| text.ends_with(*unit));
    let (digits, factor) = unit
        .map_or((text.as_str(), 1), |(unit, factor)| (text.strip_suffix(*unit).unwrap_or(&text), *factor));
    // No plus sign, no blanks.
    let plain = digits.strip_prefix('-').unwrap_or(digits);
    if plain.is_empty() || !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(factor)
}

/// A path without `.`, `..` and doubled slashes, without asking the file system, as Python's `normpath`.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => drop(out.pop()),
                Some(Component::RootDir) => {}
                _ => out.push(".."),
            },
            other => out.push(other),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

#[cfg(test)]
mod tests;
