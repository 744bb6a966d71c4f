//! `assemble`: one file from the fragments in a directory.

use std::path::{Path, PathBuf};

use debark_value::Order;
use debark_value::map;

use crate::atomic::{need_parent, read_limited};
use crate::editing::{self, Common, EDIT_LIMIT};
use crate::file_args::{FileArgs, FileKind, Stat, path_value};
use crate::hash::Algorithm;
use crate::param::NO_RULES;
use crate::plan::Failure;
use crate::pyre::Pattern;
use crate::upstream::{EntryKind, Search};
use crate::{Host, Plan, params};

params! {
    /// Joins the files of a directory, in the order of their names, into one file.
    pub struct Params for "ansible.builtin.assemble" {
        /// The directory, on the host or, without `remote_src`, beside the playbook.
        src: String,
        /// The file to make.
        dest: PathBuf,
        /// Keep a dated copy of what is replaced.
        backup: bool = false,
        /// What stands between fragments; `\n` and the like are understood.
        delimiter: Option<String>,
        /// The directory is on the host.
        remote_src: bool = true,
        /// Only fragments whose name this regular expression is found in.
        regexp: Option<String>,
        /// Leave out names that start with a dot.
        ignore_hidden: bool = false,
        /// A command that must accept the new content; `%s` is the file.
        validate: Option<String>,
        /// Accepted; vault-encrypted files always arrive decrypted.
        decrypt: bool = true,
    }
    common file: FileArgs;
    rules NO_RULES
}

/// Joins the fragments and compares.
///
/// # Errors
/// The directory is missing or cannot be read, the regular expression is wrong, or all together is too large.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let chosen = match &params.regexp {
        Some(regexp) => Some(Pattern::new("regexp", regexp, "")?),
        None => None,
    };
    let wanted = |name: &str| -> Result<bool, Failure> {
        if params.ignore_hidden && name.starts_with('.') {
            return Ok(false);
        }
        chosen.as_ref().map_or(Ok(true), |pattern| Ok(pattern.search(name, 0)?.is_some()))
    };
    let delimiter = params.delimiter.as_deref().map(unescape).unwrap_or_default();
    let mut joined = Joined { delimiter, bytes: Vec::new(), first: true, open: false };
    if params.remote_src {
        let dir = crate::paths::expand(&params.src);
        match Stat::followed(&dir)? {
            Some(stat) if stat.kind == FileKind::Directory => {}
            Some(_) => return Err(Failure::new(format!("{} is not a directory", dir.display()))),
            // A task before this one may be about to make it.
            None if host.may_come() => {
                return Ok(Plan::run(move |_| {
                    Err(Failure::new(format!("there is no directory {} on the host", dir.display())))
                }));
            }
            None => return Err(Failure::new(format!("there is no directory {} on the host", dir.display()))),
        }
        here(&dir, &wanted, &mut joined)?;
    } else {
        there(host, &params.src, &wanted, &mut joined)?;
    }
    need_parent(host, &params.dest)?;
    let common =
        Common { file: params.file.clone(), validate: params.validate.clone(), backup: params.backup };
    let result = map! {
        "src" => params.src.clone(), "dest" => path_value(&params.dest), "msg" => "OK",
        "checksum" => Algorithm::Sha1.hex(&joined.bytes), "md5sum" => Algorithm::Md5.hex(&joined.bytes),
    };
    editing::open(host, &params.dest, &common)?.plan(host, joined.bytes, result)
}

type Wanted<'a> = &'a dyn Fn(&str) -> Result<bool, Failure>;

fn here(dir: &Path, wanted: Wanted<'_>, joined: &mut Joined) -> Result<(), Failure> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Failure::io("cannot list", dir, e))? {
        names.push(entry.map_err(|e| Failure::io("cannot list", dir, e))?.file_name());
    }
    names.order();
    for name in names {
        let path = dir.join(&name);
        if wanted(&name.to_string_lossy())? && path.is_file() {
            joined.add(&path, &read_limited(&path, joined.room())?)?;
        }
    }
    Ok(())
}

fn there(host: &Host, src: &str, wanted: Wanted<'_>, joined: &mut Joined) -> Result<(), Failure> {
    let tree = host.upstream.find(src, Search::Files)?;
    if !tree.directory {
        return Err(Failure::new(format!("{src} is not a directory")));
    }
    let mut fragments = tree.entries(true);
    fragments.retain(|entry| entry.path.components().count() == 1);
    fragments.order_by(|a, b| a.path.cmp(&b.path));
    for entry in fragments {
        if !wanted(&entry.path.to_string_lossy())? {
            continue;
        }
        if let EntryKind::Link(target) = &entry.kind {
            let link = entry.path.display();
            return Err(Failure::new(format!(
                "the fragment {link} of {src} is a link to {}",
                target.display()
            )));
        }
        if let EntryKind::File { sha256, size } = &entry.kind {
            if *size > joined.room() {
                return Err(too_large(&entry.path));
            }
            let mut bytes = Vec::new();
            host.upstream.content(sha256, &mut bytes)?;
            joined.add(&entry.path, &bytes)?;
        }
    }
    Ok(())
}

fn too_large(path: &Path) -> Failure {
    Failure::new(format!("the fragments up to {} have more than {EDIT_LIMIT} bytes", path.display()))
}

struct Joined {
    delimiter: Vec<u8>,
    bytes: Vec<u8>,
    first: bool,
    /// The last fragment did not end its line; an empty one has not either.
    open: bool,
}

impl Joined {
    fn room(&self) -> u64 {
        EDIT_LIMIT.saturating_sub(self.bytes.len() as u64)
    }

    /// Fragments never run together in one line, and neither do they with a delimiter.
    fn add(&mut self, path: &Path, fragment: &[u8]) -> Result<(), Failure> {
        if fragment.len() as u64 > self.room() {
            return Err(too_large(path));
        }
        if !self.first {
            if self.open {
                self.bytes.push(b'\n');
            }
            if !self.delimiter.is_empty() {
                self.bytes.extend_from_slice(&self.delimiter);
                if !self.delimiter.ends_with(b"\n") {
                    self.bytes.push(b'\n');
                }
            }
        }
        self.bytes.extend_from_slice(fragment);
        self.first = false;
        self.open = !fragment.ends_with(b"\n");
        Ok(())
    }
}

/// Backslash escapes as in Python's byte strings; what is none stays as it is.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let digits = |from: &[u8], radix: u32, most: usize| {
            let count = from.iter().take(most).take_while(|c| char::from(**c).is_digit(radix)).count();
            let number = std::str::from_utf8(from.get(..count).unwrap_or_default()).unwrap_or_default();
            (u32::from_str_radix(number, radix).ok().map(|number| number.to_le_bytes()), count)
        };
        let (byte, used) = match rest {
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'r', ..] => (b'\r', 1),
            [b'a', ..] => (7, 1),
            [b'b', ..] => (8, 1),
            [b'f', ..] => (12, 1),
            [b'v', ..] => (11, 1),
            [quoted @ (b'\\' | b'\'' | b'"'), ..] => (*quoted, 1),
            [b'x', hex @ ..] => match digits(hex, 16, 2) {
                (Some([byte, ..]), 2) => (byte, 3),
                _ => (b'\\', 0),
            },
            [b'0'..=b'7', ..] => match digits(rest, 8, 3) {
                (Some([byte, ..]), count) => (byte, count),
                _ => (b'\\', 0),
            },
            _ => (b'\\', 0),
        };
        out.push(byte);
        rest = rest.get(used..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::upstream::NoUpstream;
    use crate::{Action, Map};

    fn run(args: Map) -> Result<Option<Map>, Failure> {
        let host = Host::new(Rc::new(NoUpstream));
        let plan = plan(Params::parse(&args)?, &host)?;
        let Action::Change(apply) = plan.action else { return Ok(None) };
        let mut result = plan.result;
        result.extend(apply(&host)?);
        Ok(Some(result))
    }

    #[test]
    fn fragments_in_order_with_what_stands_between() {
        let dir = tempfile::tempdir().unwrap();
        let (src, dest) = (dir.path().join("parts"), dir.path().join("whole"));
        std::fs::create_dir_all(src.join("05-dir")).unwrap();
        for (name, text) in [("10-b", "b"), ("01-a", "a\n"), (".20-c", "c\n"), ("30-d", "d\n")] {
            std::fs::write(src.join(name), text).unwrap();
        }
        let args = map! { "src" => path_value(&src), "dest" => path_value(&dest), "mode" => "0600" };
        let with = |more: Map| Map::from_iter(args.clone().into_iter().chain(more));
        let result = run(args.clone()).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), "c\na\nb\nd\n");
        assert_eq!(result["checksum"], Algorithm::Sha1.hex(b"c\na\nb\nd\n").into());
        assert_eq!(result["mode"], "0600".into());
        assert!(run(args.clone()).unwrap().is_none());
        let result = run(with(map! {
            "delimiter" => "\\x23--\\t", "ignore_hidden" => true, "regexp" => "-[ab]$", "backup" => true,
        }));
        assert!(result.unwrap().unwrap().contains_key("backup_file"));
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), "a\n#--\t\nb");
        assert!(run(with(map! { "validate" => "/bin/false %s" })).is_err());
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), "a\n#--\t\nb");
    }

    #[test]
    fn escapes_as_python_reads_them() {
        assert_eq!(unescape(r"a\n\x41\101\\\q\x4"), b"a\nAA\\\\q\\x4");
        assert_eq!(unescape("\\"), b"\\");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let failure = run(map! { "src" => "/nonexistent", "dest" => "/tmp/x" }).unwrap_err();
        assert_eq!(failure.msg, "there is no directory /nonexistent on the host");
    }
}
