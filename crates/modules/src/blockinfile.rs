//! `blockinfile`: a block of lines between two marker lines of a text file.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::editing::{self, Common, decode, encode};
use crate::file_args::FileArgs;
use crate::param::{NO_RULES, Rules};
use crate::plan::Failure;
use crate::pyre::Pattern;
use crate::{Host, Map, Plan, choices, edited, map, params};

choices! {
    /// Whether the block should be there.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Ensures that a block of lines, between marker lines, is in a file, or removes it.
    pub struct Params for "ansible.builtin.blockinfile" {
        /// The file; links are followed.
        path | dest | destfile | name: PathBuf,
        /// Whether the block should be there.
        state: State = State::Present,
        /// The lines around the block; `{mark}` becomes `marker_begin` in the first and `marker_end` in the last.
        marker: String = "# {mark} ANSIBLE MANAGED BLOCK".into(),
        /// The lines of the block; without any, the block is removed.
        block | content: String = String::new(),
        /// `EOF`, or a regular expression of the line (the last match) after which a new block goes; with `(?m)`
        /// it is searched for in the whole file, and the first match counts.
        insertafter: Option<String>,
        /// `BOF`, or a regular expression as for `insertafter` before which a new block goes.
        insertbefore: Option<String>,
        /// Make the file if it is missing.
        create: bool = false,
        /// Keep a dated copy of what is replaced.
        backup: bool = false,
        /// A command that must accept the new content; `%s` is the file.
        validate: Option<String>,
        /// What `{mark}` is in the line before the block.
        marker_begin: String = "BEGIN".into(),
        /// What `{mark}` is in the line after the block.
        marker_end: String = "END".into(),
        /// Have an empty line after the block, unless the file ends there.
        append_newline: bool = false,
        /// Have an empty line before the block, unless the file begins there.
        prepend_newline: bool = false,
    }
    common file: FileArgs;
    rules Rules { exclusive: &[&["insertbefore", "insertafter"]], ..NO_RULES }
}

/// Computes the file with the block.
///
/// # Errors
/// The file is missing, or a pattern is wrong.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let path = &params.path;
    edited::no_directory(path)?;
    let common =
        Common { file: params.file.clone(), validate: params.validate.clone(), backup: params.backup };
    let file = editing::open(host, path, &common)?;
    if file.before.is_none() {
        // A check cannot tell whether a task before this one would have made the file.
        if !params.create && !host.may_come() {
            return Err(edited::missing(path).hint("`create: true` makes it"));
        }
        if params.state == State::Absent {
            return Ok(Plan::ok(map! { "msg" => format!("File {} not present", path.display()) }));
        }
    }
    let text = decode(file.before.as_deref().unwrap_or_default());
    let block = block(&params);
    let after = encode(&place(&params, &text, &block)?);
    let message = match &file.before {
        Some(before) if *before == after => "",
        None => "File created",
        Some(_) if block.is_empty() => "Block removed",
        Some(_) => "Block inserted",
    };
    edited::plan(file, host, after, message, Map::new())
}

/// The block with its markers; nothing if it should not be there.
fn block(params: &Params) -> Vec<String> {
    if params.state == State::Absent || params.block.is_empty() {
        return Vec::new();
    }
    let mut text = params.block.clone();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let [begin, end] = markers(params);
    std::iter::once(begin).chain(lines(&text)).chain([end]).collect()
}

fn markers(params: &Params) -> [String; 2] {
    [&params.marker_begin, &params.marker_end]
        .map(|word| format!("{}\n", params.marker.replace("{mark}", word)))
}

/// Lines with their ends, as Python's `bytes.splitlines` takes them: `\n`, `\r\n` or a lone `\r` ends one.
fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for part in text.split_inclusive('\n') {
        let body = part.strip_suffix("\r\n").unwrap_or(part);
        let end = part.get(body.len()..).unwrap_or_default();
        lines.extend(body.split_inclusive('\r').map(str::to_owned));
        match lines.last_mut().filter(|_| !body.is_empty() && !body.ends_with('\r')) {
            Some(last) => last.push_str(end),
            None if !end.is_empty() => lines.push(end.to_owned()),
            None => {}
        }
    }
    lines
}

/// The text with the block in its place, and nowhere else.
fn place(params: &Params, text: &str, block: &[String]) -> Result<String, Failure> {
    let mut lines = lines(text);
    let [begin, end] = markers(params);
    let last = |marker: &String| lines.iter().rposition(|line| line == marker);
    let mut at = match (last(&begin), last(&end)) {
        (Some(one), Some(other)) => {
            let first = one.min(other);
            lines.drain(first..=one.max(other));
            first
        }
        _ => spot(params, text, &lines)?.min(lines.len()),
    };
    let present = params.state == State::Present;
    if let Some(previous) = at.checked_sub(1).and_then(|index| lines.get_mut(index)) {
        if !previous.ends_with('\n') {
            previous.push('\n');
        }
        if params.prepend_newline && present && previous != "\n" {
            lines.insert(at, "\n".into());
            at += 1;
        }
    }
    lines.splice(at..at, block.iter().cloned());
    let next = at + block.len();
    if params.append_newline && present && lines.get(next).is_some_and(|line| line != "\n") {
        lines.insert(next, "\n".into());
    }
    Ok(lines.concat())
}

/// Before which line a new block goes; the number of lines for the end.
fn spot(params: &Params, text: &str, lines: &[String]) -> Result<usize, Failure> {
    let end = lines.len();
    let (pattern, after) = match (params.insertafter.as_deref(), params.insertbefore.as_deref()) {
        (None | Some("EOF"), None) => return Ok(end),
        (Some("EOF"), Some(_)) | (None, Some("BOF")) => return Ok(0),
        (Some(source), _) => (Pattern::new("insertafter", source, "")?, true),
        (None, Some(source)) => (Pattern::new("insertbefore", source, "")?, false),
    };
    let mut found = None;
    if pattern.is_multiline() {
        let at = pattern.search(text, 0)?.and_then(|groups| groups.get(0).map(|all| all.range()));
        let at = at.map(|range| if after { range.end } else { range.start });
        found = at.and_then(|at| text.get(..at)).map(|head| head.matches('\n').count());
    } else {
        for (index, line) in lines.iter().enumerate() {
            if pattern.search(line, 0)?.is_some() {
                found = Some(index);
            }
        }
    }
    Ok(found.map_or(end, |index| index + usize::from(after)))
}
