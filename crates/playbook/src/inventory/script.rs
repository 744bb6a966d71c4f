//! Executable inventories: `--list` prints groups as JSON, `_meta.hostvars` or else `--host NAME` the hosts' variables.

use std::path::Path;
use std::time::{Duration, Instant};

use debark_value::{Map, Value, from_json};

use super::data::{Data, HostId, Var};
use crate::Diagnostic;
use crate::command::{Failure, Limits, run};
use crate::source::{SourceMap, Span};
use crate::vault::Vault;

/// No inventory is larger.
const MOST_OUTPUT: usize = 256 << 20;

/// What a script is read with.
pub struct Reader<'a> {
    /// Where its hosts come from.
    pub source: u32,
    /// The script.
    pub path: &'a Path,
    /// Keeps its output, for places in errors.
    pub sources: &'a SourceMap,
    /// Opens `__ansible_vault` values.
    pub vault: &'a Vault,
    /// How long all calls may take together.
    pub timeout: Duration,
}

/// Whether the failure means that the file is no program, for all its mode says.
pub fn is_no_program(failure: &Failure) -> bool {
    // ENOEXEC, or a `#!` file without the permission.
    matches!(failure, Failure::Start(error) if error.raw_os_error() == Some(8)
        || error.kind() == std::io::ErrorKind::PermissionDenied)
}

impl Reader<'_> {
    /// Runs the script and reads what it prints into `data`; nothing if it cannot be run as a program at all.
    ///
    /// # Errors
    /// It fails, hangs, prints too much or something else than an inventory.
    pub fn read(&self, data: &mut Data) -> Result<Option<()>, Diagnostic> {
        let deadline = Instant::now() + self.timeout;
        let listed = match self.call(&["--list"], deadline) {
            Ok(listed) => listed,
            Err(Ok(())) => return Ok(None),
            Err(Err(error)) => return Err(error),
        };
        let Value::Map(groups) = listed.0 else {
            return Err(self
                .wrong("printed no JSON object")
                .hint("`--list` must print {\"GROUP\": {\"hosts\": [...]}}"));
        };
        let span = Span::start_of(listed.1);
        let mut named: Vec<HostId> = Vec::new();
        for (name, group) in groups.iter().filter(|(name, _)| &***name != "_meta") {
            self.group(data, name, group, span, &mut named)?;
        }
        let meta = groups.get("_meta").and_then(|meta| meta.get("hostvars"));
        for id in named {
            let name = data.host(id).name.clone();
            let vars = match meta {
                Some(hostvars) => hostvars.get(&name).cloned().unwrap_or_default(),
                None => match self.call(&["--host", &name], deadline) {
                    Ok((vars, _)) => vars,
                    Err(Ok(())) => Value::Null,
                    Err(Err(error)) => return Err(error),
                },
            };
            match vars {
                Value::Map(vars) => self.vars(&vars, span, |key, var| {
                    data.set_host_var(id, key, var);
                    Ok(())
                })?,
                Value::Null => {}
                other => {
                    return Err(self
                        .wrong(&format!("gives {} for the variables of host `{name}`", other.type_name())));
                }
            }
        }
        Ok(Some(()))
    }

    fn group(
        &self,
        data: &mut Data,
        name: &str,
        content: &Value,
        span: Span,
        named: &mut Vec<HostId>,
    ) -> Result<(), Diagnostic> {
        if name.is_empty() {
            return Err(self.wrong("names a group with an empty name"));
        }
        let group = data.add_group(name);
        let mut add = |data: &mut Data, name: &str| -> Result<(), Diagnostic> {
            if name.is_empty() {
                return Err(self.wrong("names a host with an empty name"));
            }
            let host = data.add_host(name, Some(self.source)).map_err(|why| self.wrong(&why))?;
            data.enroll(group, host);
            named.push(host);
            Ok(())
        };
        let plain = |item: &Value, what: &str| match item {
            Value::Str(text) => Ok(text.clone()),
            other => {
                Err(self.wrong(&format!("has {} among the {what} of group `{name}`", other.type_name())))
            }
        };
        let known = |map: &Map| ["hosts", "vars", "children"].iter().any(|key| map.contains_key(*key));
        match content {
            Value::List(hosts) => {
                for host in hosts.iter() {
                    add(data, &plain(host, "hosts")?)?;
                }
            }
            // Without any of those keys it is one host with its variables.
            Value::Map(vars) if !known(vars) => {
                add(data, name)?;
                self.vars(vars, span, |key, var| data.set_group_var(group, key, var))?;
            }
            Value::Map(map) => {
                for host in self.list(map, "hosts", name)? {
                    add(data, &plain(&host, "hosts")?)?;
                }
                match map.get("vars") {
                    Some(Value::Map(vars)) => {
                        self.vars(vars, span, |key, var| data.set_group_var(group, key, var))?
                    }
                    None | Some(Value::Null) => {}
                    Some(_) => {
                        return Err(self.wrong(&format!("has no object for the vars of group `{name}`")));
                    }
                }
                for child in self.list(map, "children", name)? {
                    let child = data.add_group(&plain(&child, "children")?);
                    data.link(group, child);
                }
            }
            _ => return Err(self.wrong(&format!("has neither an object nor a list for group `{name}`"))),
        }
        Ok(())
    }

    fn list(&self, map: &Map, key: &str, group: &str) -> Result<Vec<Value>, Diagnostic> {
        match map.get(key) {
            None => Ok(Vec::new()),
            Some(Value::List(items)) => Ok(items.to_vec()),
            Some(_) => Err(self.wrong(&format!("has no list for the {key} of group `{group}`"))),
        }
    }

    fn vars(
        &self,
        vars: &Map,
        span: Span,
        mut set: impl FnMut(&str, Var) -> Result<(), String>,
    ) -> Result<(), Diagnostic> {
        for (key, value) in vars {
            let (value, secret) = match value.get("__ansible_vault").and_then(Value::as_str) {
                Some(text) => {
                    let name = format!("variable `{key}` of {}", self.path.display());
                    (Value::from(self.vault.decrypt_text(text.as_bytes(), &name)?.as_str()), true)
                }
                None => (value.clone(), false),
            };
            set(key, Var { value, span: Some(span), secret })
                .map_err(|why| self.wrong(&format!("is wrong: {why}")))?;
        }
        Ok(())
    }

    /// What a call prints, and the number of that text. `Err(Ok(()))`: the file is no program.
    fn call(&self, args: &[&str], deadline: Instant) -> Result<(Value, u32), Result<(), Diagnostic>> {
        let limits = Limits {
            timeout: deadline.saturating_duration_since(Instant::now()),
            output: MOST_OUTPUT,
            interactive: false,
        };
        let output = run(self.path, args, limits).map_err(|failure| {
            if is_no_program(&failure) {
                return Ok(());
            }
            Err(match failure {
                Failure::Timeout(_) => {
                    let hint = format!(
                        "run `{} {}` by itself, or raise DEBARK_INVENTORY_TIMEOUT (seconds)",
                        self.path.display(),
                        args.join(" ")
                    );
                    self.wrong(&Failure::Timeout(self.timeout).describe()).hint(hint)
                }
                Failure::Start(error) if error.kind() == std::io::ErrorKind::NotFound => self
                    .wrong("cannot be run: the program that its first line names does not exist")
                    .hint("correct its `#!` line, or install that program"),
                other => self.wrong(&other.describe()),
            })
        })?;
        if !output.status.success() {
            let end = match output.status.code() {
                Some(code) => format!("ended with exit code {code}"),
                None => format!("ended by {}", output.status),
            };
            let error = self.wrong(&end);
            return Err(Err(if output.stderr.is_empty() {
                error
            } else {
                error.hint(format!("it said: {}", output.stderr))
            }));
        }
        let text = String::from_utf8(output.stdout)
            .map_err(|_| Err(self.wrong("printed something that is not UTF-8 text")))?;
        if text.trim().is_empty() && args.first() == Some(&"--host") {
            return Ok((Value::Null, 0));
        }
        if text.trim().is_empty() {
            return Err(Err(self
                .wrong("printed nothing")
                .hint("`--list` must print a JSON object, at least {}")));
        }
        let file = self.sources.add(self.path, &text, false);
        match serde_json::from_str(&text) {
            Ok(json) => Ok((from_json(json), file)),
            Err(error) => {
                let line = u32::try_from(error.line()).unwrap_or(1).max(1);
                let column = u32::try_from(error.column()).unwrap_or(1).max(1);
                let start = text.split_inclusive('\n').take(line as usize - 1).map(str::len).sum::<usize>();
                let at = u32::try_from(start + column as usize - 1).unwrap_or(u32::MAX);
                let span = Span { file, line, column, start: at, end: at };
                // The place is shown below, not in the sentence.
                let why = error.to_string();
                let why = why.split(" at line ").next().unwrap_or_default();
                Err(Err(self.wrong(&format!("printed something that is not JSON: {why}")).at(span)))
            }
        }
    }

    fn wrong(&self, what: &str) -> Diagnostic {
        Diagnostic::error(format!("inventory script {} {what}", self.path.display()))
    }
}
