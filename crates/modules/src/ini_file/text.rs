//! The text of an INI file, line by line.

use super::{Condition, Params, State};

const NOTHING: &str = "OK";

/// A line that holds the option.
struct Found<'a> {
    /// It is commented out.
    comment: bool,
    /// It has a `=`.
    sep: bool,
    /// What follows that.
    value: &'a str,
}

/// The option on a line; `inactive` lines are commented out and count only if asked for.
fn find<'a>(option: &str, line: &'a str, inactive: bool) -> Option<Found<'a>> {
    for start in suffixes(line) {
        let commented = start.strip_prefix(['#', ';']).filter(|_| inactive);
        let inner = commented.and_then(|rest| suffixes(rest).find_map(|rest| split(option, rest)));
        if let Some((sep, value)) = inner {
            return Some(Found { comment: true, sep, value });
        }
        if let Some((sep, value)) = split(option, start) {
            return Some(Found { comment: false, sep, value });
        }
    }
    None
}

/// The text without its blanks at the start, and then with one, two, ... of them: an option may begin with some.
fn suffixes(text: &str) -> impl Iterator<Item = &str> {
    let blanks = text.len() - unindented(text).len();
    (0..=blanks).rev().filter_map(|skip| text.get(skip..))
}

fn unindented(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn split<'a>(option: &str, text: &'a str) -> Option<(bool, &'a str)> {
    let rest = unindented(text.strip_prefix(option)?);
    match rest.strip_prefix('=') {
        Some(value) => Some((true, unindented(value).trim_end_matches('\n'))),
        None => matches!(rest, "" | "\n").then_some((false, "")),
    }
}

fn is_header(line: &str, section: &str) -> bool {
    let inner = line.strip_prefix('[').and_then(|rest| rest.trim_start().strip_prefix(section.trim()));
    inner.is_some_and(|rest| rest.trim_start().starts_with(']'))
}

fn fulfils(conditions: &[Condition], lines: &[String]) -> bool {
    conditions.iter().all(|condition| {
        let fits = |found: Found<'_>| {
            condition.values.is_empty() || condition.values.iter().any(|value| value == found.value)
        };
        lines.iter().any(|line| find(&condition.option, line, true).is_some_and(fits))
    })
}

/// A line of a section, and whether it was dealt with.
struct Line {
    text: String,
    done: bool,
}

/// A section while it is edited; its first line is the header (an empty one before the first section).
struct Section<'a> {
    params: &'a Params,
    option: Option<&'a str>,
    lines: Vec<Line>,
    values: Vec<String>,
    msg: &'static str,
}

/// The text after the task (nothing if it stays as it is), and the message. `\r\n` and `\r` are read as `\n`, and
/// a byte order mark goes, as in Python's text mode with `utf-8-sig`.
pub(super) fn edit(params: &Params, wanted: Vec<String>, text: &str) -> (Option<String>, &'static str) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if lines.is_empty() {
        lines.push("\n".into());
    }
    let mut changed = false;
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push('\n');
        changed = true;
    }
    let mut values: Vec<String> = Vec::new();
    for value in wanted {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let name = params.section.as_deref().filter(|name| !name.is_empty());
    let Some((start, end)) = locate(params, name, &lines) else {
        let msg = match (name, params.state) {
            (Some(name), State::Present) => append(params, name, values, &mut lines),
            _ => NOTHING,
        };
        changed |= msg != NOTHING;
        return (changed.then(|| lines.concat()), msg);
    };
    let after = lines.split_off(end);
    let mut inner = lines.split_off(start);
    if name.is_none() {
        // What precedes the first section has no header; an empty one makes it a section like all others.
        inner.insert(0, String::new());
    }
    let before = inner.clone();
    let mut section = Section {
        params,
        option: params.option.as_deref().filter(|option| !option.is_empty()),
        lines: inner.into_iter().map(|text| Line { text, done: false }).collect(),
        values,
        msg: NOTHING,
    };
    match params.state {
        State::Present => section.present(),
        State::Absent => section.absent(),
    }
    let inner: Vec<String> = section.lines.into_iter().map(|line| line.text).collect();
    changed |= inner != before;
    let text = changed.then(|| [lines, inner, after].concat().concat());
    (text, section.msg)
}

/// The lines of the section, with its header. The part before the first section is always there.
fn locate(params: &Params, name: Option<&str>, lines: &[String]) -> Option<(usize, usize)> {
    let next = |from: usize| {
        let rest = lines.iter().enumerate().skip(from);
        rest.filter(|(_, line)| line.starts_with('[')).map(|(index, _)| index).next().unwrap_or(lines.len())
    };
    let Some(name) = name else { return Some((0, next(0))) };
    let headers = lines.iter().enumerate().filter(|(_, line)| is_header(line, name));
    headers
        .map(|(start, _)| (start, next(start + 1)))
        .find(|(start, end)| fulfils(&params.section_has_values, lines.get(*start..*end).unwrap_or_default()))
}

/// Adds a section at the end, with the options by which it will be known.
fn append(params: &Params, name: &str, mut values: Vec<String>, lines: &mut Vec<String>) -> &'static str {
    let option = params.option.as_deref().filter(|option| !option.is_empty());
    lines.push(format!("[{name}]\n"));
    for condition in &params.section_has_values {
        if Some(condition.option.as_str()) != option {
            if condition.values.is_empty() && params.allow_no_value {
                lines.push(format!("{}\n", condition.option));
            }
            lines.extend(condition.values.iter().map(|value| params.line(&condition.option, value)));
        } else if !params.exclusive {
            for value in &condition.values {
                if !values.contains(value) {
                    values.push(value.clone());
                }
            }
        }
    }
    let Some(option) = option else { return "only section added" };
    if values.is_empty() {
        lines.push(format!("{option}\n"));
    }
    lines.extend(values.iter().map(|value| params.line(option, value)));
    "section and option added"
}

impl Params {
    fn line(&self, option: &str, value: &str) -> String {
        let sep = if self.no_extra_spaces { "=" } else { " = " };
        format!("{option}{sep}{value}\n")
    }
}

impl Section<'_> {
    fn present(&mut self) {
        let Some(option) = self.option else { return };
        let bare = self.match_values(option);
        if self.params.exclusive && !self.params.allow_no_value {
            self.replace_others(option);
        }
        let new: Vec<String> = if !self.values.is_empty() {
            self.values.iter().map(|value| self.params.line(option, value)).collect()
        } else if self.params.allow_no_value && !bare {
            vec![format!("{option}\n")]
        } else {
            return;
        };
        // After the last line that is neither empty nor a comment; the header at least is none of these.
        let last = self.lines.iter().rposition(|line| {
            let text = unindented(&line.text);
            !matches!(text, "" | "\n") && !text.starts_with(['#', ';'])
        });
        let at = last.map_or(usize::from(!self.lines.is_empty()), |index| index + 1);
        self.lines.splice(at..at, new.into_iter().map(|text| Line { text, done: true }));
        self.msg = "option added";
    }

    /// Writes lines that have a wanted value as they should be written. Yields whether the option is there without
    /// a value, as it should be.
    fn match_values(&mut self, option: &str) -> bool {
        let mut bare = false;
        for index in 0..self.lines.len() {
            let Some(line) = self.lines.get(index) else { break };
            let Some(found) = find(option, &line.text, self.params.modify_inactive_option) else { continue };
            if let Some(known) = self.values.iter().position(|value| value == found.value) {
                let value = self.values.remove(known);
                let without = value.is_empty() && self.params.allow_no_value;
                bare |= without;
                let new = if without { format!("{option}\n") } else { self.params.line(option, &value) };
                self.update(index, option, new);
            } else if self.values.is_empty() && self.params.allow_no_value {
                self.update(index, option, format!("{option}\n"));
                return true;
            }
        }
        bare
    }

    /// Gives other lines of the option the values that are left, and removes those that are left then. A comment
    /// that merely consists of the option's name is prose.
    fn replace_others(&mut self, option: &str) {
        let inactive = self.params.modify_inactive_option;
        let other = |line: &Line| {
            !line.done && find(option, &line.text, inactive).is_some_and(|found| !found.comment || found.sep)
        };
        for index in 0..self.lines.len() {
            if !self.values.is_empty() && self.lines.get(index).is_some_and(other) {
                let value = self.values.remove(0);
                self.update(index, option, self.params.line(option, &value));
            }
        }
        let all = self.lines.len();
        self.lines.retain(|line| !other(line));
        if self.lines.len() < all {
            self.msg = "option changed";
        }
    }

    fn update(&mut self, index: usize, option: &str, new: String) {
        let Some(line) = self.lines.get_mut(index) else { return };
        line.done = true;
        let old = find(option, &line.text, true).filter(|old| self.params.ignore_spaces && !old.comment);
        let differs = match (old, find(option, &new, true)) {
            (Some(old), Some(new)) => old.value != new.value,
            _ => line.text != new,
        };
        if differs {
            line.text = new;
            self.msg = "option changed";
        }
    }

    fn absent(&mut self) {
        let Some(option) = self.option else {
            // Empty lines alone are no section.
            if self.lines.iter().any(|line| !line.text.trim().is_empty()) {
                self.lines.clear();
                self.msg = "section removed";
            }
            return;
        };
        let (exclusive, values, all) = (self.params.exclusive, &self.values, self.lines.len());
        self.lines.retain(|line| match find(option, &line.text, false) {
            Some(found) => !exclusive && !values.iter().any(|value| value == found.value),
            None => true,
        });
        if self.lines.len() < all {
            self.msg = "option changed";
        }
    }
}
