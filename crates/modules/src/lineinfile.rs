//! `lineinfile`: one line of a text file.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use debark_value::map;

use crate::edited::{missing, with_parents};
use crate::editing::{self, Common, decode, encode};
use crate::file_args::{FileArgs, path_value};
use crate::param::{NO_RULES, Rules};
use crate::plan::Failure;
use crate::pyre::Pattern;
use crate::{Host, Plan, choices, params};

choices! {
    /// Whether the line should be there.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Ensures that a line is in a file, replaces it, or removes it.
    pub struct Params for "ansible.builtin.lineinfile" {
        /// The file; links are followed.
        path | dest | destfile | name: PathBuf,
        /// Python regular expression of the line to replace (the last match) or of the lines to remove.
        regexp | regex: Option<String>,
        /// Text within the line to replace or within the lines to remove.
        search_string: Option<String>,
        /// Whether the line should be there.
        state: State = State::Present,
        /// The line.
        line | value: Option<String>,
        /// Fill groups of `regexp` into `line`; without a match nothing changes.
        backrefs: bool = false,
        /// `EOF`, or a regular expression of the line (the last match) after which a new line goes.
        insertafter: Option<String>,
        /// `BOF`, or a regular expression of the line (the last match) before which a new line goes.
        insertbefore: Option<String>,
        /// Make the file if it is missing.
        create: bool = false,
        /// Take first matches instead of last ones.
        firstmatch: bool = false,
        /// Keep a dated copy of what is replaced.
        backup: bool = false,
        /// A command that must accept the new content; `%s` is the file.
        validate: Option<String>,
    }
    common file: FileArgs;
    rules Rules {
        exclusive: &[
            &["insertbefore", "insertafter"], &["regexp", "search_string"], &["backrefs", "search_string"],
        ],
        ..NO_RULES
    }
}

/// Computes the file with the line.
///
/// # Errors
/// The file is missing, a pattern is wrong, or parameters are missing.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let common =
        Common { file: params.file.clone(), validate: params.validate.clone(), backup: params.backup };
    let file = editing::open(host, &params.path, &common)?;
    let path = path_value(&params.path);
    if params.state == State::Absent {
        if params.regexp.is_none() && params.search_string.is_none() && params.line.is_none() {
            return Err(Failure::new("`state: absent` needs one of `line`, `search_string` or `regexp`"));
        }
        let Some(before) = &file.before else {
            return Ok(Plan::ok(map! { "path" => path, "found" => 0, "msg" => "file not present" }));
        };
        let mut lines = split(&decode(before));
        let all = lines.len();
        let pattern = params.regexp.as_ref().map(|text| Pattern::new("regexp", text, "")).transpose()?;
        let mut kept = Vec::new();
        for line in lines.drain(..) {
            let gone = match (&pattern, &params.search_string) {
                (Some(pattern), _) => pattern.search(&line, 0)?.is_some(),
                (None, Some(text)) => line.contains(text.as_str()),
                _ => Some(bare(&line)) == params.line.as_deref(),
            };
            if !gone {
                kept.push(line);
            }
        }
        let found = all - kept.len();
        let msg = if found > 0 { format!("{found} line(s) removed") } else { String::new() };
        return file.plan(
            host,
            encode(&kept.concat()),
            map! { "path" => path, "found" => found, "msg" => msg, "backup" => "" },
        );
    }
    let Some(line) = &params.line else {
        return Err(Failure::new("`state: present` needs the parameter `line`"));
    };
    if params.backrefs && params.regexp.is_none() {
        return Err(Failure::new("`backrefs` needs the parameter `regexp`"));
    }
    if file.before.is_none() && !params.create && !host.may_come() {
        return Err(missing(&params.path).hint("`create: true` makes it"));
    }
    let dest = file.replace.dest.clone();
    let mut lines = split(&decode(file.before.as_deref().unwrap_or_default()));
    let msg = present(&params, line, &mut lines)?;
    // A file that is made is a change, even without a line in it (`backrefs`).
    let result = map! { "path" => path, "msg" => msg, "backup" => "" };
    Ok(with_parents(file.plan(host, encode(&lines.concat()), result)?, dest))
}

/// Lines with their ends; only `\n` ends one.
fn split(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

fn bare(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

fn present(params: &Params, line: &str, lines: &mut Vec<String>) -> Result<&'static str, Failure> {
    let pattern = params.regexp.as_ref().map(|text| Pattern::new("regexp", text, "")).transpose()?;
    let (after, before) = (params.insertafter.as_deref(), params.insertbefore.as_deref());
    let place = match (after, before) {
        (Some(text), _) if text != "EOF" && text != "BOF" => Some(Pattern::new("insertafter", text, "")?),
        (None, Some(text)) if text != "BOF" => Some(Pattern::new("insertbefore", text, "")?),
        _ => None,
    };
    let (mut found, mut spot, mut replaced) = (None, None, None);
    for (index, current) in lines.iter().enumerate() {
        let new = match (&pattern, &params.search_string) {
            (Some(pattern), _) => match pattern.search(current, 0)? {
                Some(groups) if params.backrefs => Some(pattern.expand(line, &groups)?),
                Some(_) => Some(line.to_owned()),
                None => None,
            },
            (None, Some(text)) if current.contains(text.as_str()) => Some(line.to_owned()),
            _ => None,
        };
        if new.is_some() {
            (found, replaced) = (Some(index), new);
            if params.firstmatch {
                break;
            }
        }
    }
    if found.is_none() {
        for (index, current) in lines.iter().enumerate() {
            if bare(current) == line {
                found = Some(index);
            } else if let Some(place) = &place
                && place.search(current, 0)?.is_some()
            {
                spot = Some(if after.is_some() { index + 1 } else { index });
                if params.firstmatch {
                    break;
                }
            }
        }
    }
    let mut new = replaced.unwrap_or_else(|| line.to_owned());
    if !new.ends_with('\n') {
        new.push('\n');
    }
    if let Some(current) = found.and_then(|index| lines.get_mut(index)) {
        if *current == new {
            return Ok("");
        }
        *current = new;
        return Ok("line replaced");
    }
    if params.backrefs {
        return Ok("");
    }
    let index = match spot {
        _ if before == Some("BOF") || after == Some("BOF") => 0,
        Some(index) if index < lines.len() || after.is_none() => index,
        _ => {
            if let Some(last) = lines.last_mut().filter(|last| !last.ends_with(['\n', '\r'])) {
                last.push('\n');
            }
            lines.len()
        }
    };
    let new = format!("{line}\n");
    if after.is_some() && spot == Some(index) && lines.get(index).is_some_and(|next| bare(next) == line) {
        return Ok("");
    }
    lines.insert(index.min(lines.len()), new);
    Ok("line added")
}
