//! Which module a task runs, and with what: `module: {...}`, `module: k=v`, `action:`, `local_action:`, `args:`
//! (Ansible's `parsing.mod_args`).

use debark_value::Value;

use super::actions::{self, Free, Resolved};
use super::context::Ctx;
use super::{syntax, words};
use crate::diagnostic::{Diagnostic, closest, did_you_mean};
use crate::keywords;
use crate::source::Span;
use crate::yaml::{Key, Kind, Node, Style};

/// A task's module with its parameters as written.
pub(super) struct Action {
    pub resolved: Resolved,
    /// The module's name as written, if debark does not have it; and what is to be said if a host needs it.
    pub foreign: Option<(String, Diagnostic)>,
    /// Where the module is named.
    pub span: Span,
    /// Parameters with their places; aliases as written.
    pub args: Vec<(Key, Node)>,
    /// `args: "{{ options }}"`.
    pub template: Option<Value>,
    /// `local_action`.
    pub local: bool,
}

/// What is left of parameters when they are one template.
enum Given {
    Pairs(Vec<(Key, Node)>),
    Template(Value),
}

impl Ctx<'_> {
    /// Finds a task's module; reports if there is none, or more than one, or what is no keyword.
    pub fn action(&mut self, task: &Node, level: u8) -> Option<Action> {
        let entries = task.as_map().unwrap_or_default();
        let unknown: Vec<&(Key, Node)> = entries
            .iter()
            .filter(|(key, _)| keywords::find(&key.name, level).is_none() && !key.name.starts_with("with_"))
            .collect();
        let old = entries.iter().find(|(key, _)| matches!(&*key.name, "action" | "local_action"));
        if let Some((key, node)) = old {
            for (key, _) in unknown {
                self.conflict(key, &entries_key(entries, "action"));
            }
            return self.old_style(task, key, node);
        }
        let (known, rest): (Vec<_>, Vec<_>) =
            unknown.into_iter().partition(|(key, _)| actions::resolve(&key.name).is_ok());
        let Some(((key, node), more)) = known.split_first() else {
            if let [(key, node)] = rest[..]
                && let Some(missing) = self.foreign(key)
            {
                let given = self.parameters(&actions::FOREIGN, key.span, node)?;
                let action = self.finish_action(task, actions::FOREIGN, key.span, given, false)?;
                return Some(Action { foreign: Some((key.name.to_string(), missing)), ..action });
            }
            self.no_module(task, &rest, level);
            return None;
        };
        for (other, _) in more {
            self.conflict(other, &key.name);
        }
        for (key, _) in rest {
            self.unknown_key("a task", key, level);
        }
        let resolved = actions::resolve(&key.name).ok()?;
        let given = self.parameters(&resolved, key.span, node)?;
        self.finish_action(task, resolved, key.span, given, false)
    }

    /// What is to be said of a module that exists, but not here.
    fn foreign(&self, key: &Key) -> Option<Diagnostic> {
        let error = match self.python_module(&key.name, key.span.file) {
            Some(file) => Diagnostic::error(format!("there is no module `{}`", key.name)).hint(format!(
                "{} is a module in Python, which debark does not run: do it with `command` or `script`, or put it under a condition that no host of the play meets",
                file.display()
            )),
            None if actions::is_foreign(&key.name) => actions::resolve(&key.name).err()?,
            None => return None,
        };
        Some(error.at(key.span))
    }

    fn conflict(&mut self, key: &Key, other: &str) {
        self.report(
            Diagnostic::error(format!(
                "a task runs one module, and this one names `{other}` and `{}`",
                key.name
            ))
            .at(key.span)
            .hint("is a `- ` missing before it?"),
        );
    }

    fn no_module(&mut self, task: &Node, unknown: &[&(Key, Node)], level: u8) {
        // The most likely name of a module is the key that is least like a keyword.
        let is_typo = |key: &Key| closest(&key.name, keywords::names(level)).is_some();
        let candidate = unknown
            .iter()
            .find(|(key, _)| closest(debark_modules::short_name(&key.name), actions::names()).is_some())
            .or_else(|| unknown.iter().find(|(key, _)| !is_typo(key) || key.name.contains('.')))
            .or_else(|| unknown.first());
        let Some((candidate, _)) = candidate else {
            self.report(
                Diagnostic::error("this task names no module")
                    .at(task.span)
                    .hint("write `module: parameters`"),
            );
            return;
        };
        if let Err(error) = actions::resolve(&candidate.name) {
            let keyword = did_you_mean(&candidate.name, keywords::names(level));
            let error = if error.hint.is_none() { error.maybe_hint(keyword) } else { error };
            self.report(error.at(candidate.span));
        }
        for (key, _) in unknown.iter().filter(|(key, _)| key != candidate) {
            self.unknown_key("a task", key, level);
        }
    }

    /// `action: copy src=a dest=b`, `action: {module: copy, src: a}`, and `local_action` alike.
    fn old_style(&mut self, task: &Node, key: &Key, node: &Node) -> Option<Action> {
        let local = &*key.name == "local_action";
        let find = |ctx: &mut Self, name: &str| match actions::resolve(name) {
            Ok(resolved) => Some(resolved),
            Err(error) => {
                ctx.report(error.at(node.span));
                None
            }
        };
        if let Some(text) = node.as_str() {
            let (name, rest) = words::first_word(text);
            let resolved = find(self, name)?;
            let given = self.text_parameters(&resolved, node, rest)?;
            return self.finish_action(task, resolved, node.span, given, local);
        }
        let Some((_, module)) = node.entry("module") else {
            self.report(
                Diagnostic::error(format!("`{}` wants a module", key.name))
                    .at(node.span)
                    .hint("write `module: name` in it, or text such as `copy src=a dest=b`"),
            );
            return None;
        };
        let (name, rest) = words::first_word(module.as_str().unwrap_or_default());
        let resolved = find(self, name)?;
        let mut pairs = match self.text_parameters(&resolved, module, rest)? {
            Given::Pairs(pairs) => pairs,
            Given::Template(_) => Vec::new(),
        };
        for (key, value) in node.as_map().unwrap_or_default() {
            match (&*key.name, value.as_map()) {
                ("module", _) => {}
                ("args", Some(inner)) => pairs.extend(inner.iter().cloned()),
                _ => pairs.push((key.clone(), value.clone())),
            }
        }
        self.finish_action(task, resolved, module.span, Given::Pairs(pairs), local)
    }

    fn parameters(&mut self, resolved: &Resolved, key: Span, node: &Node) -> Option<Given> {
        match &node.kind {
            Kind::Map(entries) => Some(Given::Pairs(entries.clone())),
            Kind::Scalar(Value::Null, _) => Some(Given::Pairs(Vec::new())),
            Kind::Scalar(Value::Str(text), _) => {
                let text = text.clone();
                self.text_parameters(resolved, node, &text)
            }
            // `command: 5`, `pause: true`: text for those who take text.
            Kind::Scalar(value, _) if resolved.free != Free::Pairs => {
                let text = value.to_string();
                self.text_parameters(resolved, node, &text)
            }
            _ => {
                self.report(
                    Diagnostic::error(format!(
                        "`{}` wants its parameters as a mapping, got {}",
                        resolved.name,
                        node.describe()
                    ))
                    .at(if node.span.start == 0 { key } else { node.span })
                    .hint("write `parameter: value`, one below the other"),
                );
                None
            }
        }
    }

    fn text_parameters(&mut self, resolved: &Resolved, node: &Node, text: &str) -> Option<Given> {
        let command = resolved.free == Free::Command;
        let Ok(found) = words::key_values(text, command) else {
            self.report(
                Diagnostic::error(format!(
                    "a quote or a `{{{{` in the parameters of `{}` is not closed",
                    resolved.name
                ))
                .at(node.span)
                .hint("write the parameters as a mapping, then nothing needs quotes"),
            );
            return None;
        };
        let mut pairs = Vec::with_capacity(found.pairs.len() + 1);
        let whole = node.as_str().unwrap_or_default();
        for (name, value) in found.pairs {
            let at = whole.find(&format!("{name}=")).and_then(|at| node.span_within(at, name.len()));
            let span = at.unwrap_or(node.span);
            let value = Node { span, tag: node.tag, kind: Kind::Scalar(Value::from(value), Style::Block) };
            pairs.push((Key { name: name.into(), span }, value));
        }
        match (found.raw, resolved.free) {
            (Some(raw), Free::Command | Free::Text) if !raw.trim().is_empty() => {
                // As a whole it keeps its style, so that places within it are known.
                let kind = if raw == whole {
                    node.kind.clone()
                } else {
                    Kind::Scalar(Value::from(raw), Style::Block)
                };
                let value = Node { span: node.span, tag: node.tag, kind };
                pairs.push((Key { name: "_raw_params".into(), span: node.span }, value));
            }
            (Some(raw), Free::Pairs) if syntax::is_template(&raw) && pairs.is_empty() => {
                return Some(Given::Template(Value::from(raw.trim())));
            }
            (Some(raw), Free::Pairs) if !raw.trim().is_empty() => {
                self.report(
                    Diagnostic::error(format!(
                        "`{}` takes no free text, got `{}`",
                        resolved.name,
                        short(raw.trim())
                    ))
                    .at(node.span)
                    .hint("write `parameter: value` below the module's name"),
                );
            }
            _ => {}
        }
        Some(Given::Pairs(pairs))
    }

    /// Lays `args:` below the parameters.
    fn finish_action(
        &mut self,
        task: &Node,
        resolved: Resolved,
        span: Span,
        given: Given,
        local: bool,
    ) -> Option<Action> {
        let (mut args, mut template) = match given {
            Given::Pairs(pairs) => (pairs, None),
            Given::Template(template) => (Vec::new(), Some(template)),
        };
        if let Some(extra) = task.get("args").filter(|extra| !extra.is_null()) {
            match &extra.kind {
                Kind::Map(entries) => {
                    for (key, value) in entries {
                        if !args.iter().any(|(given, _)| given.name == key.name) {
                            args.push((key.clone(), value.clone()));
                        }
                    }
                }
                Kind::Scalar(Value::Str(text), _) if syntax::is_template(text) => {
                    template = Some(extra.to_value())
                }
                _ => self.report(
                    Diagnostic::error(format!("`args` wants a mapping, got {}", extra.describe()))
                        .at(extra.span)
                        .hint("write `parameter: value`, or one template in quotes"),
                ),
            }
        }
        Some(Action { resolved, foreign: None, span, args, template, local })
    }
}

fn entries_key(entries: &[(Key, Node)], fallback: &str) -> String {
    entries
        .iter()
        .find(|(key, _)| matches!(&*key.name, "action" | "local_action"))
        .map_or_else(|| fallback.to_owned(), |(key, _)| key.name.to_string())
}

fn short(text: &str) -> String {
    let mut out: String = text.chars().take(40).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}
