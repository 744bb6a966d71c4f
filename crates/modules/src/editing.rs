//! From "this content belongs at that path" to a plan: what copy, template, lineinfile and their like share.

use std::fs::File;
use std::path::{Path, PathBuf};

use debark_value::Map;

use crate::atomic::{Replace, parent_of, write_failure};
use crate::file_args::{FileArgs, FileKind, Stat, path_value};
use crate::plan::{Diff, Failure};
use crate::{Host, Plan};

/// Files beyond this are not edited line by line: the agent would hold them in memory several times.
pub const EDIT_LIMIT: u64 = 256 << 20;

/// Where content comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// It is here.
    Bytes(Vec<u8>),
    /// A file of the host.
    File(PathBuf),
    /// The controller has it under this SHA-256.
    Controller(String),
}

impl Source {
    fn pour(&self, host: &Host, dest: &Path, out: &mut dyn std::io::Write) -> Result<(), Failure> {
        match self {
            Self::Bytes(bytes) => out.write_all(bytes).map_err(|error| write_failure(dest, error)),
            Self::File(path) => {
                let mut file = File::open(path).map_err(|error| Failure::io("cannot read", path, error))?;
                std::io::copy(&mut file, out).map(drop).map_err(|error| write_failure(dest, error))
            }
            Self::Controller(sha256) => host.upstream.content(sha256, out),
        }
    }
}

/// A plan that puts `source` (of `size` bytes) in place, or only mends owner and mode if the content is the `same`.
///
/// # Errors
/// The attributes of the file system cannot be read.
pub fn plan(
    host: &Host,
    replace: Replace,
    source: Source,
    size: u64,
    same: bool,
    result: Map,
    mut diff: Vec<Diff>,
) -> Result<Plan, Failure> {
    let attrs = replace.attrs(host)?;
    let mut result = result;
    let told = result.contains_key("backup");
    let nlink = if same { replace.base.nlink } else { 1 };
    Stat { size, nlink, kind: FileKind::File, ..attrs.after(&replace.base) }.report(&mut result);
    diff.extend(attrs.diffs());
    if same && attrs.is_empty() {
        return Ok(Plan::ok(result));
    }
    Ok(Plan::change(result, diff, move |host| {
        let dest = replace.dest.clone();
        let mut more = Map::new();
        if same {
            attrs.apply(host)?;
        } else {
            let saved = replace.commit(host, &mut |out| source.pour(host, &dest, out))?;
            if let Some(saved) = saved {
                more.insert("backup_file".into(), path_value(&saved));
                // lineinfile has a name of its own for it.
                if told {
                    more.insert("backup".into(), path_value(&saved));
                }
            }
        }
        more.extend(crate::file_args::report(&dest)?);
        Ok(more)
    }))
}

/// A file that is about to be edited: its content and how it will be replaced.
pub struct Edited {
    /// The replacement.
    pub replace: Replace,
    /// What is there; nothing if it is absent.
    pub before: Option<Vec<u8>>,
}

/// Parameters that every editing module has.
#[derive(Debug, Clone)]
pub struct Common {
    /// Owner, group, mode and attributes.
    pub file: FileArgs,
    /// The command that must accept the new content.
    pub validate: Option<String>,
    /// Keep a copy of what was there.
    pub backup: bool,
}

/// Reads a file for editing; links are followed.
///
/// # Errors
/// It is a directory, or cannot be read.
pub fn open(host: &Host, path: &Path, common: &Common) -> Result<Edited, Failure> {
    let real = resolve(path);
    let mut replace = Replace::observe(&real)?;
    let before = match replace.seen {
        Some(_) => Some(crate::atomic::read_limited(&real, EDIT_LIMIT)?),
        None => None,
    };
    replace.wanted = common.file.resolve(host)?;
    replace.unsafe_writes = common.file.unsafe_writes;
    replace.validate = common.validate.clone();
    replace.backup = common.backup;
    Ok(Edited { replace, before })
}

impl Edited {
    /// The plan that gives the file this content.
    ///
    /// # Errors
    /// The attributes of the file system cannot be read.
    pub fn plan(self, host: &Host, after: Vec<u8>, result: Map) -> Result<Plan, Failure> {
        let same = self.before.as_ref() == Some(&after);
        let diff = match same {
            true => Vec::new(),
            false => crate::file_diff::content(
                host,
                &self.replace.dest,
                self.before.as_deref().unwrap_or_default(),
                &after,
            ),
        };
        let size = after.len() as u64;
        plan(host, self.replace, Source::Bytes(after), size, same, result, diff)
    }
}

/// Where links at a path lead: the path itself if it is none, the missing target of a dangling one.
pub fn resolve(path: &Path) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(path) {
        return real;
    }
    match std::fs::read_link(path) {
        Ok(target) => parent_of(path).join(target),
        Err(_) => path.to_path_buf(),
    }
}

/// Text that need not be UTF-8, without loss: bytes that are not become the last 128 code points of Unicode
/// (a private use area), and turn back into those bytes.
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if u32::from(c) >= BYTES {
                let mut raw = [0; 4];
                text.extend(c.encode_utf8(&mut raw).bytes().filter_map(stand_in));
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().iter().filter_map(|byte| stand_in(*byte)));
    }
    text
}

/// The bytes that [`decode`] made the text from.
pub fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(BYTES).and_then(|low| u8::try_from(low + 0x80).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Where the bytes 0x80 to 0xff are put.
const BYTES: u32 = 0x10_ff80;

fn stand_in(byte: u8) -> Option<char> {
    char::from_u32(BYTES + u32::from(byte).checked_sub(0x80)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive() {
        let all: Vec<u8> = (0..=255).chain("äöü\u{10ff80}\u{10ffff}\u{10ff7f}".bytes()).collect();
        assert_eq!(encode(&decode(&all)), all);
        assert_eq!(decode("äé".as_bytes()), "äé");
    }
}
