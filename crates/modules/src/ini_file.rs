//! `ini_file`: options of a file with sections.

#[cfg(test)]
mod tests;
mod text;

use std::path::{Path, PathBuf};

use crate::atomic::{self, Replace};
use crate::editing::{self, Common, EDIT_LIMIT, Edited, decode, encode};
use crate::file_args::{FileArgs, FileKind, Stat, path_value};
use crate::param::{NO_RULES, Param, Rules};
use crate::plan::{Action, Failure};
use crate::{Host, Map, Plan, Value, choices, edited, map, params};

choices! {
    /// Whether option or section should be there.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Sets and removes options and sections of an INI file. A newline at the end of the file is added if missing.
    pub struct Params for "community.general.ini_file" {
        /// The file.
        path | dest: PathBuf,
        /// The section; without it, what precedes the first section.
        section: Option<String>,
        /// Of several sections with that name, take the first in which each `option` has one of `values` (or
        /// `value`); if there is none, a section with these options is added.
        section_has_values: Vec<Condition>,
        /// The option; without it, the whole section.
        option: Option<String>,
        /// Its value.
        value: Option<String>,
        /// Its values, one line each.
        values: Vec<String>,
        /// Keep a dated copy of what is replaced.
        backup: bool = false,
        /// Whether option or section should be there.
        state: State = State::Present,
        /// Other lines of the option go; otherwise only the given values are added or removed.
        exclusive: bool = true,
        /// Write `=` without spaces around it.
        no_extra_spaces: bool = false,
        /// Leave a line that differs only in spaces around `=`.
        ignore_spaces: bool = false,
        /// An option may have neither `=` nor a value.
        allow_no_value: bool = false,
        /// A commented line of the option is replaced, too.
        modify_inactive_option: bool = true,
        /// Make the file, and directories above it, if it is missing.
        create: bool = true,
        /// Edit what a link leads to; otherwise a file takes the link's place.
        follow: bool = false,
    }
    common file: FileArgs;
    rules Rules { exclusive: &[&["value", "values"]], ..NO_RULES }
}

/// What a section must have.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The option that must be there.
    option: String,
    /// One of these is its value; any, if there are none.
    values: Vec<String>,
}

impl Param for Condition {
    const KIND: crate::param::Kind = crate::param::Kind::Dict;

    fn from_value(value: &Value) -> Result<Self, String> {
        let given = Map::from_value(value)?;
        if let Some(other) = given.keys().find(|key| !["option", "value", "values"].contains(&key.as_ref())) {
            return Err(format!("has no key `{other}`; known are option, value and values"));
        }
        let get = |key: &str| given.get(key).filter(|value| !value.is_null());
        let values = match (get("value"), get("values")) {
            (Some(_), Some(_)) => {
                return Err("has both `value` and `values`, which exclude each other".into());
            }
            (Some(value), None) => vec![String::from_value(value)?],
            (None, Some(values)) => Vec::from_value(values)?,
            (None, None) => Vec::new(),
        };
        let option = get("option").ok_or("needs the key `option`")?;
        Ok(Self { option: String::from_value(option)?, values })
    }
}

/// Computes the file with the option or section.
///
/// # Errors
/// The file is missing and must not be made, or there is no value.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let wanted: Vec<String> = params.value.iter().chain(&params.values).cloned().collect();
    if params.state == State::Present && !params.allow_no_value && wanted.is_empty() {
        return Err(Failure::new("`state: present` needs one of `value` and `values`")
            .hint("`allow_no_value: true` writes an option without one"));
    }
    edited::no_directory(&params.path)?;
    let file = open(host, &params)?;
    if file.before.is_none() && !params.create && !host.may_come() {
        return Err(edited::missing(&params.path).hint("`create: true` makes it"));
    }
    let before = decode(file.before.as_deref().unwrap_or_default());
    let (after, msg) = text::edit(&params, wanted, &before);
    let result = map! { "path" => path_value(&params.path), "msg" => msg };
    let (dest, seen) = (file.replace.dest.clone(), file.replace.seen);
    let link = after.is_some() && seen.is_some_and(|stat| stat.kind == FileKind::Link);
    let plan = match (after, file.before.clone()) {
        (Some(after), _) => in_place_of_link(file, host, encode(&after), result)?,
        (None, Some(before)) => file.plan(host, before, result)?,
        (None, None) => Plan::ok(result),
    };
    let plan = if link && params.backup { with_backup(plan, dest.clone()) } else { plan };
    Ok(edited::with_parents(plan, dest))
}

fn open(host: &Host, params: &Params) -> Result<Edited, Failure> {
    let common = Common { file: params.file.clone(), validate: None, backup: params.backup };
    let path = params.path.as_path();
    if params.follow || Stat::of(path)?.is_none_or(|stat| stat.kind != FileKind::Link) {
        return editing::open(host, path, &common);
    }
    let mut replace = Replace::observe(path)?;
    replace.wanted = common.file.resolve(host)?;
    replace.unsafe_writes = common.file.unsafe_writes;
    let before = match Stat::followed(path)? {
        Some(_) => Some(atomic::read_limited(path, EDIT_LIMIT)?),
        None => None,
    };
    // Unless the link is replaced, owner and mode are compared with its own.
    replace.base = replace.seen.unwrap_or(replace.base);
    Ok(Edited { replace, before })
}

/// The plan for new content. A file that replaces a link gets owner and mode of what the link led to.
fn in_place_of_link(mut file: Edited, host: &Host, after: Vec<u8>, result: Map) -> Result<Plan, Failure> {
    let dest = file.replace.dest.as_path();
    if file.replace.base.kind == FileKind::Link {
        let fresh = || Stat::fresh(FileKind::File, atomic::parent_of(dest));
        file.replace.base = Stat::followed(dest)?.unwrap_or_else(fresh);
    }
    file.plan(host, after, result)
}

/// The plan, made to keep a copy of what a link leads to before the link is replaced.
fn with_backup(plan: Plan, link: PathBuf) -> Plan {
    let Plan { result, diff, action: Action::Change(apply) } = plan else { return plan };
    Plan::change(result, diff, move |host| {
        let saved = link.exists().then(|| atomic::backup(&link)).transpose()?;
        let undo = |_: &Failure| saved.iter().for_each(|copy: &PathBuf| drop(std::fs::remove_file(copy)));
        let mut more = apply(host).inspect_err(undo)?;
        more.extend(saved.as_deref().map(|copy: &Path| ("backup_file".into(), path_value(copy))));
        Ok(more)
    })
}
