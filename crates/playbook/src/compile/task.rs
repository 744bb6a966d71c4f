//! One task: its keywords, loop and parameters.

use debark_value::{Map, Value};
use debark_wire as wire;

use super::action::Action;
use super::context::{Ctx, Scope};
use super::{keyword, syntax};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::keywords::{self, LOOP_CONTROL, WITH, on};
use crate::yaml::{Key, Node};

impl Ctx<'_> {
    /// Compiles a task. An import becomes a block; one that tags leave out nothing.
    pub fn task(&mut self, node: &Node, scope: &Scope) -> Option<wire::Node> {
        let entries = node.as_map().unwrap_or_default();
        if !entries.iter().any(|(key, _)| &*key.name == "guard") {
            return self.bare_task(node, scope);
        }
        let mut inner = scope.clone();
        let guard = self.guard(entries, &mut inner);
        let task = self.bare_task(node, &inner)?;
        Some(self.guarded(task, guard, node.span, scope))
    }

    fn bare_task(&mut self, node: &Node, scope: &Scope) -> Option<wire::Node> {
        let entries = node.as_map().unwrap_or_default();
        let level = if scope.handlers { on::HANDLER | on::TASK } else { on::TASK };
        let action = self.action(node, level);
        let mut keywords = self.keywords(entries, level);
        let (static_keywords, rest) = self.task_keywords(node, scope);
        let action = action?;
        match action.resolved.name {
            "import_tasks" | "import_role" => {
                return self.import(node, &action, keywords, &static_keywords, scope);
            }
            _ => {}
        }
        if action.local {
            keywords.delegate_to = Some(Value::from("localhost"));
        }
        if action.resolved.name.starts_with("include_") && action.resolved.name != "include_vars" {
            self.check_include_keywords(action.resolved.name, entries);
        }
        let inner = scope.under(&keywords);
        let args = self.checked_args(&action, &inner);
        if let Some((_, missing)) = &action.foreign
            // A loop may be over nothing, a handler never be notified.
            && !(inner.conditional || rest.looping.is_some() || scope.handlers)
        {
            self.report(missing.clone());
        }
        let selected = scope.handlers || self.compiler.options.selection.selects(&self.rendered_tags(&inner));
        if !selected {
            return None;
        }
        let task = wire::Task {
            id: self.task_id(),
            span: self.span(node.span),
            action: match &action.foreign {
                Some((name, _)) => name.clone(),
                None => action.resolved.name.to_owned(),
            },
            args,
            args_template: action.template.clone(),
            keywords,
            role: scope.role,
            ..rest
        };
        self.special(&action, &task, &inner);
        self.prefetch_for(&task, &action, scope);
        Some(wire::Node::Task(Box::new(task)))
    }

    /// Keywords of a dynamic include are its own, and few make sense (Ansible's `TaskInclude`).
    fn check_include_keywords(&mut self, name: &str, entries: &[(Key, Node)]) {
        const ALLOWED: [&str; 15] = [
            "action",
            "local_action",
            "args",
            "collections",
            "debugger",
            "guard",
            "ignore_errors",
            "loop",
            "loop_control",
            "name",
            "no_log",
            "register",
            "run_once",
            "tags",
            "timeout",
        ];
        for (key, _) in entries {
            let known = keywords::find(&key.name, on::TASK | on::HANDLER).is_some();
            if known && !ALLOWED.contains(&&*key.name) && !matches!(&*key.name, "vars" | "when" | "listen") {
                let inherits = keywords::find(&key.name, on::BLOCK).is_some();
                let hint = if inherits {
                    "give it to the included tasks with `apply`, or put a block around"
                } else {
                    "remove it"
                };
                self.report(
                    Diagnostic::error(format!("`{name}` has no keyword `{}`", key.name))
                        .at(key.span)
                        .hint(hint),
                );
            }
        }
    }

    /// Tags with templates rendered where that is possible.
    pub fn rendered_tags(&self, scope: &Scope) -> Vec<String> {
        let mut tags = Vec::with_capacity(scope.tags.len());
        for tag in &scope.tags {
            match syntax::render_static(tag, &scope.vars) {
                Some(text) => tags.extend(text.split(',').map(|tag| tag.trim().to_owned())),
                None => tags.push(tag.clone()),
            }
        }
        tags
    }

    /// What only tasks have. Yields whether a loop was given too, for imports, which cannot loop.
    fn task_keywords(&mut self, node: &Node, scope: &Scope) -> (bool, wire::Task) {
        let mut task = wire::Task { notify: scope.notify.clone(), ..wire::Task::default() };
        for (key, value) in node.as_map().unwrap_or_default() {
            let level = if scope.handlers { on::HANDLER | on::TASK } else { on::TASK };
            if let Some(keyword) = keywords::find(&key.name, level)
                && !self.check_shape(keyword, value)
            {
                continue;
            }
            let given = || (!value.is_null()).then(|| value.to_value());
            match &*key.name {
                "name" => {
                    task.name = value.to_value().to_text().unwrap_or_default();
                    self.check_templates(value);
                }
                "register" => task.register = self.register(value),
                "until" => task.until = self.condition_values(value),
                "changed_when" => task.changed_when = self.condition_values(value),
                "failed_when" => task.failed_when = self.condition_values(value),
                "retries" => task.retries = given(),
                "delay" => task.delay = given(),
                "async" => {
                    if scope.guarded {
                        self.report(
                            Diagnostic::error("a guarded task cannot run in the background")
                                .at(key.span)
                                .hint("a guard must know when the task is over: leave out `async`, or the guard"),
                        );
                    }
                    task.async_seconds = given();
                }
                "poll" => task.poll = given(),
                "notify" => task.notify = self.notify(value),
                "listen" => {
                    task.listen = self.texts("`listen`", value).into_iter().map(|(text, _)| text).collect()
                }
                _ => continue,
            }
            if matches!(&*key.name, "retries" | "delay" | "async" | "poll") {
                self.check_templates(value);
            }
        }
        task.looping = self.looping(node);
        (task.looping.is_some(), task)
    }

    fn register(&mut self, node: &Node) -> Option<String> {
        let name = node.to_value().to_text().ok()?;
        if !keyword::is_identifier(&name) {
            self.report(
                Diagnostic::error(format!("`register` wants the name of a variable, got `{name}`"))
                    .at(node.span)
                    .hint("a name has letters, digits and underscores, without `{{ }}`"),
            );
            return None;
        }
        Some(name)
    }

    /// `notify`: names of handlers; the static ones are checked when all handlers are known.
    pub fn notify(&mut self, node: &Node) -> Vec<Value> {
        self.check_templates(node);
        let texts = self.texts("`notify`", node);
        for (text, span) in &texts {
            if !syntax::is_template(text) {
                self.notified.push((text.clone(), *span));
            }
        }
        texts.into_iter().map(|(text, _)| Value::from(text)).collect()
    }

    fn looping(&mut self, node: &Node) -> Option<wire::Loop> {
        let mut found: Option<wire::Loop> = None;
        for (key, value) in node.as_map().unwrap_or_default() {
            let lookup = match (&*key.name, key.name.strip_prefix("with_")) {
                ("loop", _) => None,
                (_, Some(name)) if WITH.contains(&debark_modules::short_name(name)) => {
                    Some(debark_modules::short_name(name).to_owned())
                }
                (_, Some(name)) => {
                    let hint = did_you_mean(name, WITH.iter().copied())
                        .map(|hint| hint.replace('`', "`with_").replacen("`with_?", "`?", 1));
                    self.report(
                        Diagnostic::error(format!("there is no loop `{}`", key.name))
                            .at(key.span)
                            .maybe_hint(hint),
                    );
                    continue;
                }
                _ => continue,
            };
            if found.is_some() {
                self.error(key.span, "a task has one loop, and this is its second");
                continue;
            }
            if value.is_null() {
                self.error(key.span, format!("`{}` wants items", key.name));
                continue;
            }
            if lookup.is_none()
                && value.as_seq().is_none()
                && !value.as_str().is_some_and(syntax::is_template)
            {
                let hint = match value.as_str() {
                    Some(name) if keyword::is_identifier(name) => {
                        format!("write `\"{{{{ {name} }}}}\"` for the variable")
                    }
                    _ => "write a list, or a template that yields one".to_owned(),
                };
                self.report(
                    Diagnostic::error(format!("`loop` wants a list, got {}", value.describe()))
                        .at(value.span)
                        .hint(hint),
                );
            }
            self.check_templates(value);
            found = Some(wire::Loop {
                lookup,
                items: value.to_value(),
                var: "item".to_owned(),
                index_var: None,
                label: None,
                pause: None,
                extended: false,
                extended_allitems: true,
                break_when: Vec::new(),
            });
        }
        if let Some((key, control)) = node.entry("loop_control") {
            match &mut found {
                Some(looping) => self.loop_control(control, looping),
                None => self.report(
                    Diagnostic::error("`loop_control` stands without a loop")
                        .at(key.span)
                        .hint("add `loop` or remove it"),
                ),
            }
        }
        found
    }

    fn loop_control(&mut self, node: &Node, looping: &mut wire::Loop) {
        let Some(entries) = node.as_map() else {
            if !node.is_null() {
                self.error(node.span, format!("`loop_control` wants a mapping, got {}", node.describe()));
            }
            return;
        };
        for (key, value) in entries {
            let name = |value: &Node, ctx: &mut Self| match value.to_value().to_text() {
                Ok(text) if keyword::is_identifier(&text) || syntax::is_template(&text) => Some(text),
                _ => {
                    ctx.error(value.span, format!("`{}` wants the name of a variable", key.name));
                    None
                }
            };
            let flag = |value: &Node, ctx: &mut Self, default: bool| match value.to_value().to_bool() {
                Ok(flag) => flag,
                Err(why) => {
                    ctx.error(value.span, format!("`{}` {why}", key.name));
                    default
                }
            };
            match &*key.name {
                "loop_var" => looping.var = name(value, self).unwrap_or_else(|| "item".to_owned()),
                "index_var" => looping.index_var = name(value, self),
                "label" => looping.label = Some(value.to_value()),
                "pause" => looping.pause = Some(value.to_value()),
                "extended" => looping.extended = flag(value, self, false),
                "extended_allitems" => looping.extended_allitems = flag(value, self, true),
                "break_when" => looping.break_when = self.condition_values(value),
                other => {
                    let hint = did_you_mean(other, LOOP_CONTROL.iter().copied());
                    self.report(
                        Diagnostic::error(format!("`loop_control` has no key `{other}`"))
                            .at(key.span)
                            .maybe_hint(hint),
                    );
                }
            }
            if &*key.name != "break_when" {
                self.check_templates(value);
            }
        }
    }

    /// What single actions need beyond their parameters.
    fn special(&mut self, action: &Action, task: &wire::Task, scope: &Scope) {
        match &*task.action {
            "include_tasks" => self.look_into_tasks(action, &task.args, task.looping.is_some(), scope),
            "include_role" => self.look_into_role(action, &task.args, task.looping.is_some(), scope),
            "include_vars" => self.look_into_vars(action, task, scope),
            "setup" | "gather_facts" => self.mentions.all(),
            "meta" => self.check_meta(action, &task.args, scope),
            // Other hosts see the groups that come of it from the next task on.
            "add_host" | "group_by" => self.lockstep = true,
            "assert" => self.check_assert(action),
            "set_fact" => self.check_set_fact(action),
            _ => {}
        }
    }

    fn check_meta(&mut self, action: &Action, args: &Map, scope: &Scope) {
        let what = args.get("free_form").and_then(Value::as_str).unwrap_or_default();
        if what == "end_role" && (scope.role.is_none() || scope.handlers) {
            self.error(action.span, "`meta: end_role` stands outside of a role's tasks");
        }
    }

    fn check_assert(&mut self, action: &Action) {
        if let Some((_, that)) = super::spec::arg(&action.args, &["that"]) {
            self.check_condition(that);
        }
    }

    fn check_set_fact(&mut self, action: &Action) {
        for (key, _) in &action.args {
            if !keyword::is_identifier(&key.name) && !syntax::is_template(&key.name) {
                self.error(key.span, format!("`{}` cannot be the name of a variable", key.name));
            }
        }
        if action.args.iter().all(|(key, _)| &*key.name == "cacheable") && action.template.is_none() {
            self.report(
                Diagnostic::error("`set_fact` sets nothing")
                    .at(action.span)
                    .hint("write `name: value` below it"),
            );
        }
    }
}
