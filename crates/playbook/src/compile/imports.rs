//! `import_tasks` and `import_role`, which are resolved here, and a look into what `include_tasks` and `include_role`
//! will bring, as far as their names are known.

use std::path::{Path, PathBuf};

use debark_value::{Map, Value};
use debark_wire as wire;

use super::action::Action;
use super::context::{Ctx, Scope};
use super::role::handler_names;
use super::role_ref::RoleRef;
use super::spec::arg;
use super::syntax;
use crate::diagnostic::{Diagnostic, Severity};
use crate::source::Span;
use crate::yaml::Node;

/// Imports within imports; more is a mistake even if no file comes twice.
const MAX_CHAIN: usize = 64;

impl Ctx<'_> {
    /// Compiles `import_tasks` or `import_role` to a block with the import's keywords.
    pub fn import(
        &mut self,
        node: &Node,
        action: &Action,
        keywords: wire::Keywords,
        looping: &bool,
        scope: &Scope,
    ) -> Option<wire::Node> {
        let name = action.resolved.name;
        if *looping {
            let other = name.replace("import", "include");
            self.report(
                Diagnostic::error(format!("`{name}` cannot loop"))
                    .at(action.span)
                    .hint(format!("use `{other}`")),
            );
        }
        self.checked_args(action, scope);
        let mut inner = scope.under(&keywords);
        if let Some(notify) = node.get("notify") {
            inner.notify = self.notify(notify);
        }
        let block = if name == "import_tasks" {
            let (file, span) = self.static_name(action, &["file", "_raw_params"], &inner)?;
            let path = self.find_tasks(&file, span, &inner)?;
            let inner = self.enter(&path, span, &inner)?;
            self.task_file(&path, span, &inner)
        } else {
            let (role, span) = self.static_name(action, &["name", "role", "_raw_params"], &inner)?;
            if scope.handlers {
                self.error(action.span, "`import_role` cannot be a handler");
                return None;
            }
            let mut reference = RoleRef::new(role, span);
            reference.inline = keywords.vars.clone();
            reference.from_imports = true;
            reference.read_options(self, &action.args, &inner);
            return self.role_block(&reference, keywords, node.span, &inner);
        };
        if block.is_empty() {
            return None;
        }
        Some(wire::Node::Block(Box::new(wire::Block {
            span: self.span(node.span),
            keywords,
            role: scope.role,
            block,
            ..wire::Block::default()
        })))
    }

    /// The import's name, rendered by variables that are known without a host.
    fn static_name(&mut self, action: &Action, names: &[&str], scope: &Scope) -> Option<(String, Span)> {
        let module = action.resolved.name;
        let Some((_, node)) = arg(&action.args, names) else {
            self.error(
                action.span,
                format!("`{module}` names no {}", names.first().copied().unwrap_or("file")),
            );
            return None;
        };
        let Ok(text) = node.to_value().to_text() else {
            self.error(node.span, format!("`{module}` wants a name, got {}", node.describe()));
            return None;
        };
        match syntax::render_static(text.trim(), &scope.vars) {
            Some(name) if !name.is_empty() => Some((name, node.span)),
            _ => {
                let other = module.replace("import", "include");
                self.report(
                    Diagnostic::error(format!("the name `{text}` is not known before the run"))
                        .at(node.span)
                        .hint(format!(
                            "an import may use variables of the play and `-e` only; use `{other}` for others"
                        )),
                );
                None
            }
        }
    }

    /// The scope within an import; an error if the file imports itself.
    pub fn enter(&mut self, path: &Path, span: Span, scope: &Scope) -> Option<Scope> {
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let again = scope.chain.iter().position(|(other, _)| *other == canonical);
        if again.is_some() || scope.chain.len() >= MAX_CHAIN {
            let mut error = Diagnostic::error(format!("{} imports itself", path.display())).at(span);
            for (_, via) in scope.chain.iter().skip(again.unwrap_or(0) + 1).take(5) {
                error = error.related(*via, "by way of this");
            }
            let hint = match path.is_dir() {
                true => "take the role out of its own dependencies",
                false => "use `include_tasks` with a condition if it is meant to repeat",
            };
            self.report(error.hint(hint));
            return None;
        }
        let mut inner = scope.clone();
        inner.chain.push((canonical, span));
        Some(inner)
    }

    /// Where a file of tasks is: beside the file that names it, in the role, beside the playbook.
    pub fn find_tasks(&mut self, file: &str, span: Span, scope: &Scope) -> Option<PathBuf> {
        let kind = if scope.handlers { "handlers" } else { "tasks" };
        match self.compiler.find_tasks(file, kind, scope, &self.playbook_dir) {
            Ok(path) => Some(path),
            Err(tried) => {
                self.report(
                    Diagnostic::error(format!("there is no file `{file}` to take tasks from"))
                        .at(span)
                        .hint(format!("looked for {}", tried.join(", "))),
                );
                None
            }
        }
    }

    /// `include_tasks` with a known name: what is wrong in there is reported now, and facts that it mentions are
    /// gathered. The tasks themselves come at run time.
    pub fn look_into_tasks(&mut self, action: &Action, args: &Map, looping: bool, scope: &Scope) {
        let Some((_, node)) = arg(&action.args, &["file", "_raw_params"]) else {
            return;
        };
        self.check_apply(action);
        let name = args.get("file").and_then(Value::as_str).map(str::to_owned);
        let Some(name) = name.filter(|name| !syntax::is_template(name)) else {
            self.unknown_include();
            return;
        };
        let reported = self.diagnostics.len();
        let Some(path) = self.find_tasks(name.trim(), node.span, scope) else {
            self.may_never_be_included(reported, looping, scope);
            return;
        };
        if self.seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            let mut inner = scope.clone();
            inner.chain.clear();
            self.aside(|ctx| drop(ctx.task_file(&path, node.span, &inner)));
        }
    }

    /// A condition or an empty loop may keep something from ever being included: that it is not there is no error yet.
    fn may_never_be_included(&mut self, reported: usize, looping: bool, scope: &Scope) {
        if scope.conditional || looping {
            let new = self.diagnostics.iter_mut().skip(reported);
            new.for_each(|error| error.severity = Severity::Warning);
        }
    }

    /// The same for `include_role`.
    pub fn look_into_role(&mut self, action: &Action, args: &Map, looping: bool, scope: &Scope) {
        let Some((_, node)) = arg(&action.args, &["name", "role", "_raw_params"]) else {
            return;
        };
        self.check_apply(action);
        if scope.handlers {
            self.error(action.span, "`include_role` cannot be a handler");
        }
        let name = args.get("name").or_else(|| args.get("role")).and_then(Value::as_str).map(str::to_owned);
        let dynamic = args.iter().any(|(_, value)| syntax::has_template(value));
        let Some(name) = name.filter(|_| !dynamic) else {
            self.unknown_include();
            return;
        };
        let mut reference = RoleRef::new(name, node.span);
        reference.read_options(self, &action.args, scope);
        let reported = self.diagnostics.len();
        if self.find_role(&reference, scope).is_none() {
            self.may_never_be_included(reported, looping, scope);
            return;
        }
        let key = PathBuf::from(format!("role:{}", reference.identity()));
        if self.seen.insert(key) {
            let mut inner = scope.clone();
            inner.chain.clear();
            self.aside(|ctx| drop(ctx.role_block(&reference, wire::Keywords::default(), node.span, &inner)));
        }
    }

    /// `include_vars` with a known name: what is wrong in there is reported now, facts that it mentions are gathered.
    pub fn look_into_vars(&mut self, action: &Action, task: &wire::Task, scope: &Scope) {
        let named = task.args.get("file").or_else(|| task.args.get("_raw_params")).and_then(Value::as_str);
        let Some(name) = named.filter(|name| !syntax::is_template(name)) else {
            self.mentions.all();
            return;
        };
        let span = arg(&action.args, &["file", "_raw_params"]).map_or(action.span, |(_, node)| node.span);
        match self.compiler.locate(
            name.trim_end(),
            wire::Place::Vars,
            &scope.roots,
            &scope.dir,
            &self.playbook_dir,
        ) {
            Ok(path) => drop(self.load_vars(&path, Some(span))),
            // Under a condition the file may be absent by design, or made by an earlier task.
            Err(tried) if !scope.conditional && task.looping.is_none() && !name.starts_with('/') => self
                .report(
                    Diagnostic::error(format!("there is no file of variables `{}`", name.trim_end()))
                        .at(span)
                        .hint(format!("looked for {}", tried.join(", "))),
                ),
            Err(_) => {}
        }
    }

    /// Compiles something only to learn what is wrong with it and what it mentions.
    fn aside(&mut self, look: impl FnOnce(&mut Self)) {
        let next_task = self.next_task;
        let (roles, handlers, role_handlers) =
            (self.roles.len(), self.handlers.len(), self.role_handlers.len());
        let ran = self.ran.clone();
        look(self);
        // Its handlers exist by the time that anything notifies them.
        for node in self.handlers.iter().skip(handlers).chain(self.role_handlers.iter().skip(role_handlers)) {
            handler_names(node, &self.roles, self.base.role, &mut self.later_handlers);
        }
        self.next_task = next_task;
        self.roles.truncate(roles);
        self.handlers.truncate(handlers);
        self.role_handlers.truncate(role_handlers);
        self.ran = ran;
        self.prefetch.forget_roles(self.base.role + roles as u32);
    }

    fn unknown_include(&mut self) {
        self.mentions.all();
        self.open_handlers = true;
    }

    fn check_apply(&mut self, action: &Action) {
        let Some((_, apply)) = arg(&action.args, &["apply"]) else { return };
        let Some(entries) = apply.as_map() else {
            if !apply.is_null() && !apply.as_str().is_some_and(syntax::is_template) {
                self.error(
                    apply.span,
                    format!("`apply` wants a mapping of keywords, got {}", apply.describe()),
                );
            }
            return;
        };
        let level = crate::keywords::on::BLOCK | crate::keywords::on::TASK;
        for (key, _) in entries {
            if crate::keywords::find(&key.name, level).is_none() {
                self.unknown_key("`apply`", key, level);
            }
        }
        drop(self.keywords(entries, level));
    }
}
