//! Roles: their files, their dependencies, and the block that their tasks become.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use debark_value::{Map, Value, map};
use debark_wire as wire;

use super::context::{Ctx, Scope};
use super::keyword::shared;
use super::role_ref::{DEFAULTS, HANDLERS, RoleRef, TASKS, VARS};
use super::{collection, files, syntax};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::keywords::{self, on};
use crate::source::Span;
use crate::yaml::Node;

/// Roles within roles; more is a mistake.
const MAX_DEPTH: usize = 64;

impl Ctx<'_> {
    /// Reads an entry of `roles` or of a role's dependencies, with its keywords.
    pub fn role_entry(&mut self, node: &Node, scope: &Scope) -> Option<(RoleRef, wire::Keywords)> {
        let Some(entries) = node.as_map() else {
            let Some(name) = node.as_str() else {
                self.error(node.span, format!("a role is a name or a mapping, got {}", node.describe()));
                return None;
            };
            let name = self.role_name(name, node.span, scope)?;
            return Some((RoleRef::new(name, node.span), wire::Keywords::default()));
        };
        let named = ["role", "name", "src"].iter().find_map(|key| node.get(key));
        let Some((name, span)) = named.and_then(|node| Some((node.as_str()?, node.span))) else {
            self.report(
                Diagnostic::error("this entry names no role").at(node.span).hint("write `role: name`"),
            );
            return None;
        };
        let name = self.role_name(name, span, scope)?;
        let mut reference = RoleRef::new(name, span);
        let keywords = self.keywords(entries, on::ROLE);
        for (key, value) in entries {
            if keywords::find(&key.name, on::ROLE).is_some()
                || matches!(&*key.name, "src" | "version" | "scm")
            {
                continue;
            }
            // Anything else is a parameter: `{role: web, port: 80}`.
            self.check_templates(value);
            reference.params.insert(key.name.clone(), value.to_value());
        }
        reference.inline = keywords.vars.clone();
        Some((reference, wire::Keywords { vars: Map::new(), ..keywords }))
    }

    fn role_name(&mut self, text: &str, span: Span, scope: &Scope) -> Option<String> {
        let name = syntax::render_static(text.trim(), &scope.vars);
        if name.is_none() {
            self.report(
                Diagnostic::error(format!("the role's name `{text}` is not known before the run"))
                    .at(span)
                    .hint("use `include_role` for names that depend on the host"),
            );
        }
        name
    }

    /// Compiles a use of a role to a block.
    pub fn role_block(
        &mut self,
        reference: &RoleRef,
        keywords: wire::Keywords,
        at: Span,
        scope: &Scope,
    ) -> Option<wire::Node> {
        let path = self.find_role(reference, scope)?;
        let scope = if scope.chain.len() < MAX_DEPTH {
            self.enter_role(&path, reference, scope)?
        } else {
            return None;
        };
        let meta = self.meta(&path);
        let duplicates = reference.allow_duplicates.unwrap_or(meta.allow_duplicates);
        let once = if duplicates { None } else { self.runs_once(&path, reference, &keywords, &scope)? };

        let defaults = self.role_vars(&path, "defaults", reference, DEFAULTS);
        let vars = self.role_vars(&path, "vars", reference, VARS);
        let index = self.next_role();
        let collection = collection::of(&path);
        let name = match &collection {
            Some(_) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            None => reference.name.clone(),
        };
        let mut parents: Vec<String> = Vec::new();
        if let Some(parent) = scope.role.and_then(|role| self.role(role)).filter(|_| reference.from_imports) {
            parents.push(parent.full_name().into_owned());
            parents.extend(parent.parents.iter().cloned());
        }
        self.roles.push(wire::Role {
            name,
            collection,
            path: path.display().to_string(),
            defaults: shared(defaults),
            vars: shared(vars),
            inline: shared(reference.inline.clone()),
            params: shared(reference.params.clone()),
            included: reference.from_imports,
            parents,
            dependencies: Vec::new(),
            public: reference.public,
        });
        let mut inner = scope.clone();
        inner.role = Some(index);
        inner.roots.insert(0, path.clone());
        inner.dir = path.join("tasks");
        if let Some(role) = self.role(index).cloned() {
            inner.add_vars(&role.defaults);
            inner.add_vars(&role.vars);
            inner.add_vars(&role.inline);
            inner.add_vars(&role.params);
            inner.add_vars(&map! { "role_path" => role.path.as_str(), "role_name" => role.name.as_str() });
        }
        let mut block = self.dependencies(&meta, index, &inner);
        self.role_handlers_of(&path, reference, &inner);
        block.extend(self.argument_spec(&path, &meta, reference, &inner));
        if let Some(tasks) = self.role_file(&path, "tasks", reference, TASKS) {
            block.extend(self.task_file(&tasks, reference.span, &inner));
        }
        self.prefetch_role(index, &path);
        if block.is_empty() {
            return None;
        }
        Some(wire::Node::Block(Box::new(wire::Block {
            span: self.span(at),
            keywords,
            role: Some(index),
            once,
            block,
            ..wire::Block::default()
        })))
    }

    fn enter_role(&mut self, path: &Path, reference: &RoleRef, scope: &Scope) -> Option<Scope> {
        // A role may import other files of its own; it may not bring itself in again.
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let same = scope.chain.iter().filter(|(other, _)| *other == canonical).count();
        if same > 0 && reference.from.iter().all(Option::is_none) {
            return self.enter(path, reference.span, scope);
        }
        let mut inner = scope.clone();
        inner.chain.push((canonical, reference.span));
        Some(inner)
    }

    pub fn find_role(&mut self, reference: &RoleRef, scope: &Scope) -> Option<PathBuf> {
        let name = &reference.name;
        let options = &self.compiler.options;
        let qualified = collection::is_qualified(name);
        // Roles of a collection name each other without it.
        let own = scope.roots.first().and_then(|root| collection::of(root));
        let listed: Vec<String> = own.into_iter().chain(self.collections.iter().cloned()).collect();
        let mut places = collection::role_places(name, &listed, self.compiler.collections());
        places.extend(files::role_places(name, &self.playbook_dir, &scope.roots, &options.roles_path));
        if let Some(found) = places.iter().find(|path| path.is_dir()) {
            return Some(found.clone());
        }
        let hint = if qualified {
            let collection = name.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
            format!(
                "install its collection: `ansible-galaxy collection install {collection} -p collections` beside the playbook"
            )
        } else {
            let known = places
                .iter()
                .filter_map(|path| path.parent())
                .flat_map(files::directory_names)
                .collect::<Vec<_>>();
            did_you_mean(name, known.iter().map(String::as_str)).unwrap_or_else(|| {
                let tried: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
                format!("looked for {}", tried.join(", "))
            })
        };
        self.report(Diagnostic::error(format!("there is no role `{name}`")).at(reference.span).hint(hint));
        None
    }

    /// `None`: it ran already. `Some(Some(n))`: the host decides.
    fn runs_once(
        &mut self,
        path: &Path,
        reference: &RoleRef,
        keywords: &wire::Keywords,
        scope: &Scope,
    ) -> Option<Option<u32>> {
        let when: Vec<_> = keywords.when.iter().map(|condition| condition.value.to_string()).collect();
        let key = format!("{}|{}|{when:?}|{:?}", path.display(), reference.identity(), keywords.tags);
        // Tags decide before conditions do: a use that tags leave out has not run.
        if !self.compiler.options.selection.selects(&self.rendered_tags(scope)) {
            return Some(None);
        }
        let number = self.compiler.number_of_role(&key);
        match self.ran.get(&key) {
            Some(false) => None,
            Some(true) => Some(Some(number)),
            None => {
                self.ran.insert(key, scope.conditional);
                Some(Some(number))
            }
        }
    }

    fn dependencies(&mut self, meta: &Meta, index: u32, scope: &Scope) -> Vec<wire::Node> {
        let mut block = Vec::new();
        for entry in &meta.dependencies {
            let Some((reference, keywords)) = self.role_entry(entry, scope) else { continue };
            let mut inner = scope.under(&keywords);
            inner.dir = self.playbook_dir.clone();
            let first = self.next_role();
            block.extend(self.role_block(&reference, keywords, entry.span, &inner));
            let last = self.next_role();
            if let Some(role) = self.role_mut(index) {
                role.dependencies.extend(first..last);
            }
        }
        block
    }

    fn role_handlers_of(&mut self, path: &Path, reference: &RoleRef, scope: &Scope) {
        let Some(file) = self.role_file(path, "handlers", reference, HANDLERS) else { return };
        let mut inner = scope.clone();
        inner.handlers = true;
        inner.notify = Vec::new();
        inner.dir = path.join("handlers");
        let handlers = self.task_file(&file, reference.span, &inner);
        let span = self.span(Span { file: reference.span.file, ..reference.span });
        if handlers.is_empty() {
            return;
        }
        let block = wire::Node::Block(Box::new(wire::Block {
            span,
            role: scope.role,
            block: handlers,
            ..wire::Block::default()
        }));
        if reference.from_imports { self.handlers.push(block) } else { self.role_handlers.push(block) }
    }

    /// The file of a role's directory: `main.yml`, or what `*_from` names.
    fn role_file(
        &mut self,
        path: &Path,
        directory: &str,
        reference: &RoleRef,
        from: usize,
    ) -> Option<PathBuf> {
        let named = reference.from.get(from).and_then(Option::as_deref);
        let file = files::role_files(&path.join(directory), named, false).into_iter().next();
        if file.is_none() {
            self.missing_from(path, directory, named, reference);
        }
        file
    }

    fn missing_from(&mut self, path: &Path, directory: &str, named: Option<&str>, reference: &RoleRef) {
        let Some(named) = named else { return };
        let place = path.join(directory);
        let known = files::file_stems(&place);
        let hint = did_you_mean(named, known.iter().map(String::as_str))
            .unwrap_or_else(|| format!("looked in {}", place.display()));
        self.report(
            Diagnostic::error(format!("the role `{}` has no file `{directory}/{named}`", reference.name))
                .at(reference.span)
                .hint(hint),
        );
    }

    fn role_vars(&mut self, path: &Path, directory: &str, reference: &RoleRef, from: usize) -> Map {
        let named = reference.from.get(from).and_then(Option::as_deref);
        let files = files::role_files(&path.join(directory), named, true);
        if files.is_empty() {
            self.missing_from(path, directory, named, reference);
        }
        let mut vars = Map::new();
        for file in files {
            vars.extend(self.load_vars(&file, Some(reference.span)));
        }
        vars
    }

    fn meta(&mut self, path: &Path) -> Meta {
        let mut meta = Meta::default();
        let Some(file) = files::role_files(&path.join("meta"), None, false).into_iter().next() else {
            return meta;
        };
        let Some(node) = self.load(&file, None) else { return meta };
        if node.as_map().is_none() {
            self.error(node.span, format!("a role's meta is a mapping, got {}", node.describe()));
        }
        if let Some(list) = node.get("dependencies").filter(|list| !list.is_null()) {
            match list.as_seq() {
                Some(items) => meta.dependencies = items.to_vec(),
                None => {
                    self.error(list.span, format!("`dependencies` wants a list, got {}", list.describe()))
                }
            }
        }
        if let Some(flag) = node.get("allow_duplicates").filter(|flag| !flag.is_null()) {
            match flag.to_value().to_bool() {
                Ok(flag) => meta.allow_duplicates = flag,
                Err(why) => self.error(flag.span, format!("`allow_duplicates` {why}")),
            }
        }
        meta.specs = node.get("argument_specs").cloned();
        meta
    }

    /// The task that checks the role's parameters, if the role describes them.
    fn argument_spec(
        &mut self,
        path: &Path,
        meta: &Meta,
        reference: &RoleRef,
        scope: &Scope,
    ) -> Option<wire::Node> {
        if !reference.validate {
            return None;
        }
        let specs = ["argument_specs.yml", "argument_specs.yaml"]
            .iter()
            .map(|name| path.join("meta").join(name))
            .find(|file| file.is_file())
            .and_then(|file| self.load(&file, None))
            .and_then(|node| node.get("argument_specs").cloned())
            .or_else(|| meta.specs.clone())?;
        let entry = reference.from.first().and_then(Option::as_deref).unwrap_or("main");
        let entry = entry.trim_end_matches(".yml").trim_end_matches(".yaml");
        let spec = specs.get(entry)?;
        let mut name = format!("Validating arguments against arg spec '{entry}'");
        if let Some(text) = spec.get("short_description").and_then(Node::as_str) {
            name = format!("{name} - {text}");
        }
        let mut inner = scope.clone();
        inner.tags.push("always".to_owned());
        if !self.compiler.options.selection.selects(&self.rendered_tags(&inner)) {
            return None;
        }
        let args = map! {
            "argument_spec" => spec.get("options").map_or_else(|| Value::from(Map::new()), Node::to_value),
            "provided_arguments" => reference.given(),
            "validate_args_context" => map! {
                "type" => "role",
                "name" => reference.name.as_str(),
                "argument_spec_name" => entry,
                "path" => path.display().to_string(),
            },
        };
        Some(wire::Node::Task(Box::new(wire::Task {
            id: self.task_id(),
            span: self.span(spec.span),
            name,
            action: "validate_argument_spec".to_owned(),
            args,
            keywords: wire::Keywords { tags: vec!["always".to_owned()], ..wire::Keywords::default() },
            role: scope.role,
            ..wire::Task::default()
        })))
    }

    /// Names that handlers can be notified by.
    pub fn handler_names(&self) -> HashSet<String> {
        let mut names = HashSet::new();
        for node in self.role_handlers.iter().chain(&self.handlers) {
            handler_names(node, &self.roles, self.base.role, &mut names);
        }
        names
    }
}

#[derive(Default)]
struct Meta {
    dependencies: Vec<Node>,
    allow_duplicates: bool,
    specs: Option<Node>,
}

/// Collects names, `role : name` and topics.
pub(super) fn handler_names(node: &wire::Node, roles: &[wire::Role], base: u32, names: &mut HashSet<String>) {
    match node {
        wire::Node::Block(block) => {
            block.block.iter().for_each(|node| handler_names(node, roles, base, names))
        }
        wire::Node::Task(task) => {
            let role = task.role.and_then(|role| roles.get(role.checked_sub(base)? as usize));
            let name = if task.name.is_empty() { &task.action } else { &task.name };
            if let Some(role) = role {
                names.insert(format!("{} : {name}", role.name));
                names.insert(format!("{} : {name}", role.full_name()));
            }
            names.insert(name.clone());
            names.extend(task.listen.iter().cloned());
        }
    }
}
