//! INI inventories, as ansible-core's `ini` plugin reads them.
//!
//! ```ini
//! bastion ansible_port=2222
//! [web]
//! web[01:20].example.com  weight=10
//! [web:vars]
//! docroot=/srv/www
//! [site:children]
//! web
//! ```
//!
//! The text is read line by line into [`Data`] without any structure in between: ten thousand hosts take some tens
//! of milliseconds.

use std::sync::Arc;

use super::data::{Data, GroupId, UNGROUPED, Var};
use super::{address, literal, shlex};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::source::Span;

#[derive(Clone, Copy)]
enum Section {
    Hosts,
    Vars,
    Children,
}

/// Reads the text of source `source` into `data`. `file` is its number for places, `secret` whether it came out of a
/// vault.
///
/// # Errors
/// The first line that is wrong.
pub fn read(data: &mut Data, text: &str, source: u32, file: u32, secret: bool) -> Result<(), Diagnostic> {
    let mut reader =
        Reader { data, source, secret, group: UNGROUPED, section: Section::Hosts, pending: Vec::new() };
    let mut start = 0;
    for (index, raw) in text.split_inclusive('\n').enumerate() {
        let line = raw.trim();
        let indent = raw.len() - raw.trim_start().len();
        let span = Span {
            file,
            line: u32::try_from(index + 1).unwrap_or(u32::MAX),
            column: u32::try_from(indent + 1).unwrap_or(u32::MAX),
            start: u32::try_from(start + indent).unwrap_or(u32::MAX),
            end: u32::try_from(start + indent + line.len()).unwrap_or(u32::MAX),
        };
        start += raw.len();
        if !line.is_empty() && !line.starts_with(['#', ';']) {
            reader.line(line, span)?;
        }
    }
    reader.finish()
}

/// A group that was mentioned before it was declared.
struct Pending {
    group: String,
    span: Span,
    /// Groups that list it; none: its `:vars` came first.
    parents: Vec<GroupId>,
}

struct Reader<'a> {
    data: &'a mut Data,
    source: u32,
    secret: bool,
    group: GroupId,
    section: Section,
    pending: Vec<Pending>,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, span: Span) -> Result<(), Diagnostic> {
        if line.starts_with('[')
            && let Some(header) = section(line)
        {
            return self.header(header, span);
        }
        if line.starts_with('[') && line.ends_with(']') {
            return Err(Diagnostic::error(format!("`{line}` is not a section header")).at(span).hint(
                "a group's name has no spaces, colons or brackets: [web], [web:vars], [web:children]",
            ));
        }
        match self.section {
            Section::Hosts => self.host(line, span),
            Section::Vars => self.variable(line, span),
            Section::Children => self.child(line, span),
        }
    }

    fn header(&mut self, (name, kind): (&str, Option<&str>), span: Span) -> Result<(), Diagnostic> {
        self.section = match kind {
            None | Some("hosts") => Section::Hosts,
            Some("vars") => Section::Vars,
            Some("children") => Section::Children,
            Some(kind) => {
                return Err(Diagnostic::error(format!("section [{name}:{kind}] is of no known kind"))
                    .at(span)
                    .hint("a section is [GROUP], [GROUP:vars] or [GROUP:children]")
                    .maybe_hint(did_you_mean(kind, ["hosts", "vars", "children"])));
            }
        };
        let known = self.data.group_id(name);
        let waiting = self.pending.iter().position(|pending| pending.group == name);
        if known.is_none() && waiting.is_none() && matches!(self.section, Section::Vars) {
            self.pending.push(Pending { group: name.into(), span, parents: Vec::new() });
        }
        self.group = self.data.add_group(name);
        if let Some(at) = waiting
            && !matches!(self.section, Section::Vars)
        {
            for parent in self.pending.remove(at).parents {
                self.data.link(parent, self.group);
            }
        }
        Ok(())
    }

    fn host(&mut self, line: &str, span: Span) -> Result<(), Diagnostic> {
        let wrong = |why: String| Diagnostic::error(why).at(span);
        let words = shlex::split(line).map_err(|why| {
            wrong(format!("this host line cannot be taken apart: {why}"))
                .hint("put values with spaces or quotes in quotes: motd=\"it's on\"")
        })?;
        let mut words = words.into_iter();
        let Some((_, pattern)) = words.next() else { return Ok(()) };
        let (names, port) = address::expand(&pattern).map_err(wrong)?;
        if pattern.ends_with(':') && port.is_none() {
            return Err(wrong(format!("host `{pattern}` ends in a colon, which starts a port"))
                .hint("if this is YAML, name the file .yml"));
        }
        if names.iter().any(|name| name == "---") {
            return Err(wrong("`---` is not a host".into()).hint("this looks like YAML: name the file .yml"));
        }
        if names.iter().any(String::is_empty) {
            return Err(wrong("a host has an empty name".into()));
        }
        let mut vars: Vec<(Arc<str>, Var)> = Vec::new();
        for (offset, word) in words {
            let Some((name, value)) = word.split_once('=') else {
                return Err(wrong(format!("`{word}` is not a variable: expected name=value"))
                    .hint("quote a value that holds spaces, or put a `#` before a comment"));
            };
            let chars = line.get(..offset).map_or(0, |before| before.chars().count());
            let length =
                line.get(offset..).and_then(|rest| rest.find([' ', '\t'])).unwrap_or(line.len() - offset);
            let place = span.within(offset, chars, length);
            vars.push((self.data.key(name), self.var(value, place)));
        }
        for name in &names {
            self.data.add_listed(name, self.group, port, self.source, Some(span), &vars).map_err(wrong)?;
        }
        Ok(())
    }

    fn variable(&mut self, line: &str, span: Span) -> Result<(), Diagnostic> {
        let Some((name, value)) = line.split_once('=') else {
            let group = self.data.group(self.group).name.clone();
            return Err(Diagnostic::error(format!("`{line}` is not a variable: expected name=value"))
                .at(span)
                .hint(format!("section [{group}:vars] holds variables only")));
        };
        let var = self.var(value.trim(), span);
        self.data.set_group_var(self.group, name.trim(), var).map_err(|why| Diagnostic::error(why).at(span))
    }

    fn child(&mut self, line: &str, span: Span) -> Result<(), Diagnostic> {
        let Some(name) = name_before_comment(line) else {
            return Err(Diagnostic::error(format!("`{line}` is not a group's name"))
                .at(span)
                .hint("a [GROUP:children] section lists one group a line"));
        };
        match self.data.group_id(name) {
            Some(child) if !self.pending.iter().any(|pending| pending.group == name) => {
                self.data.link(self.group, child);
            }
            _ => match self.pending.iter_mut().find(|pending| pending.group == name) {
                Some(pending) => pending.parents.push(self.group),
                None => {
                    let parents = vec![self.group];
                    self.pending.push(Pending { group: name.into(), span, parents });
                }
            },
        }
        Ok(())
    }

    fn var(&self, text: &str, span: Span) -> Var {
        Var { value: literal::parse(text), span: Some(span), secret: self.secret }
    }

    fn finish(self) -> Result<(), Diagnostic> {
        let Some(pending) = self.pending.into_iter().next() else { return Ok(()) };
        let name = &pending.group;
        let what = match pending.parents.last() {
            Some(parent) => {
                format!(
                    "[{}:children] lists group `{name}`, which is not defined",
                    self.data.group(*parent).name
                )
            }
            None => format!("[{name}:vars] is for a group that is not defined"),
        };
        let known = self.data.groups.iter().map(|group| &*group.name).filter(|known| known != name);
        Err(Diagnostic::error(what)
            .at(pending.span)
            .hint(format!("add a section [{name}]"))
            .maybe_hint(did_you_mean(name, known)))
    }
}

/// Name and kind of a section header, which a comment may follow.
fn section(line: &str) -> Option<(&str, Option<&str>)> {
    let (header, rest) = line.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    let (name, kind) = match header.split_once(':') {
        Some((name, kind)) => (name, Some(kind)),
        None => (header, None),
    };
    let word = |kind: &str| !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_');
    let good = !name.is_empty()
        && !name.contains(char::is_whitespace)
        && kind.is_none_or(word)
        && (rest.is_empty() || rest.starts_with('#'));
    good.then_some((name, kind))
}

fn name_before_comment(line: &str) -> Option<&str> {
    let end = line.find(|c: char| c.is_whitespace() || matches!(c, ':' | ']')).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (!name.is_empty() && (rest.is_empty() || rest.starts_with('#'))).then_some(name)
}

#[cfg(test)]
mod tests;
