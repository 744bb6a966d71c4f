//! Plays.

use std::path::PathBuf;
use std::sync::Arc;

use debark_value::{Map, Value, map};
use debark_wire as wire;

use super::context::{Ctx, Scope};
use super::playbook::Around;
use super::{CompiledPlay, Prompt, VarsFile, syntax};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::keywords::{self, VARS_PROMPT, on};
use crate::source::Span;
use crate::yaml::Node;

impl Ctx<'_> {
    pub(super) fn play(&mut self, node: &Node, around: &Around) -> CompiledPlay {
        let entries = node.as_map().unwrap_or_default();
        for (key, value) in entries {
            match keywords::find(&key.name, on::PLAY) {
                Some(keyword) => drop(self.check_shape(keyword, value)),
                None => self.unknown_key("a play", key, on::PLAY),
            }
        }
        // Facts that this play mentions; files that it reads are scanned as they are loaded.
        if let Some(source) = self.compiler.sources.get(node.span.file) {
            self.mentions
                .scan(source.text.get(node.span.start as usize..node.span.end as usize).unwrap_or_default());
            self.scanned.insert(node.span.file);
        }
        self.mentions.scan_value(&Value::from(self.compiler.options.extra_vars.clone()));

        let mut keywords = self.keywords(entries, on::PLAY);
        keywords.tags.extend(around.tags.iter().cloned());
        let mut vars = std::mem::take(&mut keywords.vars);
        vars.extend(around.vars.clone());
        if let Some(list) = node.get("collections").filter(|list| !list.is_null()) {
            self.collections = self.texts("`collections`", list).into_iter().map(|(text, _)| text).collect();
        }
        let (hosts, host_spans) = self.hosts(node);
        let mut known = vars.clone();
        known.insert("playbook_dir".into(), Value::from(self.playbook_dir.display().to_string()));
        let vars_files = self.vars_files(node, &known);
        for file in &vars_files {
            known.extend(file.loaded.clone().unwrap_or_default());
        }
        known.extend(self.compiler.options.extra_vars.clone());
        let mut scope = Scope::new(&self.playbook_dir.clone(), Arc::new(known)).under(&keywords);
        let when: Vec<_> = around.when.iter().flat_map(|condition| self.conditions(condition)).collect();
        scope.conditional |= !when.is_empty();
        let guard = self.guard(entries, &mut scope);

        let part = |name: &str, ctx: &mut Self| match node.get(name) {
            Some(list) => ctx.node_list(list, &scope),
            None => Vec::new(),
        };
        let pre = part("pre_tasks", self);
        let (roles, role_names) = self.roles(node, &scope);
        let tasks = part("tasks", self);
        let post = part("post_tasks", self);
        let flush_runs =
            keywords.tags.is_empty() || self.compiler.options.selection.selects(&self.rendered_tags(&scope));
        let mut nodes = Vec::new();
        let runs = roles.into_iter().chain(tasks).collect();
        for (part, resume) in [(pre, false), (runs, true), (post, false)] {
            if when.is_empty() || part.is_empty() {
                nodes.extend(part);
            } else {
                let keywords = wire::Keywords { when: when.clone(), ..wire::Keywords::default() };
                nodes.push(wire::Node::Block(Box::new(wire::Block {
                    keywords,
                    block: part,
                    ..wire::Block::default()
                })));
            }
            if flush_runs {
                let flush = self.flush(node.span, resume);
                nodes.push(flush);
            }
        }
        if guard.is_some() {
            let all = wire::Block { span: self.span(node.span), block: nodes, ..wire::Block::default() };
            let unguarded = Scope { guarded: false, ..scope.clone() };
            nodes = vec![self.guarded(wire::Node::Block(Box::new(all)), guard, node.span, &unguarded)];
        }
        if let Some(list) = node.get("handlers") {
            let mut inner = scope.clone();
            inner.handlers = true;
            let own = self.node_list(list, &inner);
            // A play's own handlers come before those that imports brought.
            self.handlers.splice(0..0, own);
        }
        self.check_notified();

        let flag = |name: &str| node.get(name).and_then(|value| value.to_value().to_bool().ok());
        let value = |name: &str| node.get(name).filter(|value| !value.is_null()).map(Node::to_value);
        let strategy = self.strategy(node);
        let free = matches!(strategy.as_deref(), Some("free" | "host_pinned"));
        let debugged = strategy.as_deref() == Some("debug");
        let max_fail_percentage = value("max_fail_percentage");
        let name =
            node.get("name").and_then(|name| name.to_value().to_text().ok()).filter(|name| !name.is_empty());
        let mut handlers = std::mem::take(&mut self.role_handlers);
        handlers.append(&mut self.handlers);
        let (found, blobs) = self.prefetch.take();
        let play = wire::Play {
            index: 0,
            name: name.unwrap_or_else(|| hosts.join(",")),
            gather: self.gather(node, &scope),
            tasks: nodes,
            handlers,
            roles: std::mem::take(&mut self.roles),
            extra_vars: self.compiler.options.extra_vars.clone(),
            next_task: self.next_task,
            force_handlers: flag("force_handlers").unwrap_or(self.compiler.options.force_handlers),
            free,
            debugged,
            lockstep: self.lockstep || max_fail_percentage.is_some() || self.mentions.play_hosts(),
            share_vars: self.mentions.hostvars(),
            blobs,
            found,
            files: self.file_names(),
            keywords: keywords.clone(),
        };
        CompiledPlay {
            span: node.span,
            hosts,
            host_spans,
            serial: match value("serial") {
                Some(Value::List(items)) => items.to_vec(),
                Some(one) => vec![one],
                None => Vec::new(),
            },
            order: self
                .one_of(
                    node,
                    "order",
                    &["inventory", "sorted", "reverse_sorted", "reverse_inventory", "shuffle"],
                )
                .map(Value::from),
            strategy: strategy.map(Value::from),
            max_fail_percentage,
            any_errors_fatal: keywords.any_errors_fatal,
            vars,
            vars_files,
            vars_prompt: self.prompts(node),
            playbook_dir: self.playbook_dir.clone(),
            collections: self.collections.clone(),
            role_names,
            play,
        }
    }

    /// Handlers run; with `resume` also those that an earlier run left.
    fn flush(&mut self, span: Span, resume: bool) -> wire::Node {
        let mut args = map! { "free_form" => "flush_handlers" };
        if resume {
            args.insert("resume".into(), true.into());
        }
        wire::Node::Task(Box::new(wire::Task {
            id: self.task_id(),
            span: self.span(span),
            action: "meta".to_owned(),
            args,
            ..wire::Task::default()
        }))
    }

    fn hosts(&mut self, node: &Node) -> (Vec<String>, Vec<Span>) {
        let Some(hosts) = node.get("hosts") else {
            let hint = match node.as_map().and_then(|entries| entries.first()) {
                Some((key, _)) if super::actions::resolve(&key.name).is_ok() => {
                    "this is a task: it belongs below `tasks:` of a play"
                }
                _ => "write `- hosts: all`",
            };
            self.report(Diagnostic::error("this play names no hosts").at(first_key(node)).hint(hint));
            return (Vec::new(), Vec::new());
        };
        let texts = self.texts("`hosts`", hosts);
        if texts.is_empty() && hosts.as_seq().is_none_or(<[Node]>::is_empty) {
            self.error(hosts.span, "`hosts` is empty");
        }
        self.check_templates(hosts);
        texts.into_iter().unzip()
    }

    fn roles(&mut self, node: &Node, scope: &Scope) -> (Vec<wire::Node>, Vec<String>) {
        let Some(list) = node.get("roles").filter(|list| !list.is_null()) else {
            return (Vec::new(), Vec::new());
        };
        let Some(entries) = list.as_seq() else {
            self.error(list.span, format!("`roles` wants a list, got {}", list.describe()));
            return (Vec::new(), Vec::new());
        };
        let mut nodes = Vec::new();
        let mut names = Vec::new();
        for entry in entries {
            let Some((reference, keywords)) = self.role_entry(entry, scope) else { continue };
            names.push(reference.name.clone());
            let inner = scope.under(&keywords);
            nodes.extend(self.role_block(&reference, keywords, entry.span, &inner));
        }
        (nodes, names)
    }

    fn vars_files(&mut self, node: &Node, known: &Map) -> Vec<VarsFile> {
        let Some(list) = node.get("vars_files").filter(|list| !list.is_null()) else { return Vec::new() };
        let mut files = Vec::new();
        let mut all = known.clone();
        all.extend(self.compiler.options.extra_vars.clone());
        for entry in list.as_seq().unwrap_or(std::slice::from_ref(list)) {
            let candidates: Vec<String> =
                self.texts("`vars_files`", entry).into_iter().map(|(text, _)| text).collect();
            let mut loaded = None;
            // A template may come to something else on a host: what is known here is read here all the same only if
            // it has none.
            if candidates.iter().all(|text| !syntax::is_template(text)) {
                let places: Vec<_> = candidates.iter().map(|text| self.vars_file_path(text)).collect();
                match places.iter().find(|path| path.is_file()) {
                    Some(path) => loaded = Some(self.load_vars(path, Some(entry.span))),
                    None => {
                        let tried: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
                        self.report(
                            Diagnostic::error(format!(
                                "there is no file of variables `{}`",
                                candidates.join("` or `")
                            ))
                            .at(entry.span)
                            .hint(format!("looked for {}", tried.join(", "))),
                        );
                    }
                }
            } else {
                // What it holds is known only with a host.
                self.mentions.all();
            }
            files.push(VarsFile { span: entry.span, candidates, loaded });
        }
        files
    }

    fn vars_file_path(&self, name: &str) -> PathBuf {
        let beside = self.playbook_dir.join(name);
        let within = self.playbook_dir.join("vars").join(name);
        if !beside.is_file() && within.is_file() { within } else { beside }
    }

    fn prompts(&mut self, node: &Node) -> Vec<Prompt> {
        let Some(list) = node.get("vars_prompt").filter(|list| !list.is_null()) else { return Vec::new() };
        let mut prompts = Vec::new();
        for entry in list.as_seq().unwrap_or(std::slice::from_ref(list)) {
            let Some(entries) = entry.as_map() else {
                self.error(
                    entry.span,
                    format!("an entry of `vars_prompt` is a mapping, got {}", entry.describe()),
                );
                continue;
            };
            for (key, _) in entries.iter().filter(|(key, _)| !VARS_PROMPT.contains(&&*key.name)) {
                let hint = did_you_mean(&key.name, VARS_PROMPT.iter().copied());
                let error = Diagnostic::error(format!("`vars_prompt` has no key `{}`", key.name));
                self.report(error.at(key.span).maybe_hint(hint));
            }
            let text = |name: &str| entry.get(name).and_then(|value| value.to_value().to_text().ok());
            let flag = |name: &str, default| {
                entry.get(name).and_then(|v| v.to_value().to_bool().ok()).unwrap_or(default)
            };
            let Some(name) = text("name") else {
                self.error(entry.span, "an entry of `vars_prompt` needs `name`");
                continue;
            };
            prompts.push(Prompt {
                prompt: text("prompt").unwrap_or_else(|| name.clone()),
                name,
                default: entry.get("default").filter(|value| !value.is_null()).map(Node::to_value),
                private: flag("private", true),
                confirm: flag("confirm", false),
                encrypt: text("encrypt"),
                salt: text("salt"),
                salt_size: entry.get("salt_size").and_then(|value| value.to_value().to_int().ok()),
                unsafe_: flag("unsafe", false),
            });
        }
        prompts
    }

    fn strategy(&mut self, node: &Node) -> Option<String> {
        let Some(text) = self.one_of(node, "strategy", &["linear", "free", "host_pinned", "debug"]) else {
            return self.compiler.options.strategy.clone();
        };
        let strategy = debark_modules::short_name(&text);
        if let Some(node) = node.get("strategy").filter(|_| strategy == "debug") {
            self.debugs(node, "strategy: debug");
        }
        Some(strategy.to_owned())
    }

    fn one_of(&mut self, node: &Node, key: &str, words: &[&'static str]) -> Option<String> {
        let value = node.get(key).filter(|value| !value.is_null())?;
        let text = value.to_value().to_text().ok()?;
        if !syntax::is_template(&text) && !words.contains(&debark_modules::short_name(&text)) {
            let hint = did_you_mean(&text, words.iter().copied())
                .unwrap_or_else(|| format!("it is one of {}", words.join(", ")));
            self.report(Diagnostic::error(format!("there is no {key} `{text}`")).at(value.span).hint(hint));
        }
        Some(text)
    }

    fn gather(&self, node: &Node, scope: &Scope) -> wire::Gather {
        let enabled = node
            .get("gather_facts")
            .filter(|flag| !flag.is_null())
            .and_then(|flag| flag.to_value().to_bool().ok());
        let subset = match node.get("gather_subset").map(Node::to_value) {
            Some(Value::List(items)) => items.iter().filter_map(|item| item.to_text().ok()).collect(),
            Some(Value::Str(text)) => text.split(',').map(|word| word.trim().to_owned()).collect(),
            _ => Vec::new(),
        };
        // Unless the play itself has tags, gathering counts as tagged `always`.
        let mut tags = self.rendered_tags(scope);
        if tags.is_empty() {
            tags.push("always".to_owned());
        }
        wire::Gather {
            enabled: enabled.unwrap_or(!self.compiler.options.gather_explicitly)
                && self.compiler.options.selection.selects(&tags),
            subset,
            mentions: self.mentions.names(),
            fact_path: node.get("fact_path").and_then(|path| path.to_value().to_text().ok()),
            timeout: node.get("gather_timeout").and_then(|time| time.to_value().to_int().ok()),
        }
    }

    /// Reports names that no handler has.
    pub fn check_notified(&mut self) {
        let mut known = self.handler_names();
        known.extend(self.later_handlers.iter().cloned());
        if self.open_handlers || known.iter().any(|name| syntax::is_template(name)) {
            return;
        }
        for (name, span) in std::mem::take(&mut self.notified) {
            if !known.contains(&name) {
                let mut names: Vec<_> = known.iter().map(String::as_str).collect();
                names.sort_unstable();
                let hint = did_you_mean(&name, names.iter().copied()).unwrap_or_else(|| match names.len() {
                    0 => "this play has no handlers".to_owned(),
                    _ => "a handler's `name` or `listen` must match exactly".to_owned(),
                });
                self.report(Diagnostic::error(format!("there is no handler `{name}`")).at(span).hint(hint));
            }
        }
    }
}

/// A place small enough to point at.
fn first_key(node: &Node) -> Span {
    node.as_map().and_then(|entries| entries.first()).map_or(node.span, |(key, _)| key.span)
}
