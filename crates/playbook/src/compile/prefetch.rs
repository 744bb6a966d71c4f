//! Finds beforehand the controller files that tasks will ask for: what is missing is reported early, what is found
//! travels with the play, and a normal run asks the controller nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use debark_value::{Map, Value};
use debark_wire as wire;
use wire::{Found, Place, Tree, TreeKind};

use super::action::Action;
use super::context::{Ctx, Scope};
use super::files::{SMALL, SMALL_ROLE};
use super::{spec, syntax};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// A file that a task asks for.
struct Wanted<'a> {
    place: Place,
    span: Span,
    /// Whether the task runs in any case, before anything could make the file.
    sure: bool,
    action: &'a str,
    /// Whether a template has the usual delimiters.
    standard: bool,
}

impl Ctx<'_> {
    /// Finds what the task's `src` names, if it is a file of the controller.
    pub fn prefetch_for(&mut self, task: &wire::Task, action: &Action, scope: &Scope) {
        let (key, place) = match &*task.action {
            "template" => ("src", Place::Templates),
            "copy" | "unarchive" | "assemble" => ("src", Place::Files),
            "script" => ("cmd", Place::Files),
            _ => return,
        };
        let remote = task.args.get("remote_src").is_some_and(|flag| {
            flag.as_str().is_some_and(syntax::is_template) || flag.to_bool().unwrap_or(false)
        });
        // `unarchive` in old playbooks says the opposite.
        let remote = remote
            || task.args.get("copy").is_some_and(|flag| {
                flag.as_str().is_some_and(syntax::is_template) || !flag.to_bool().unwrap_or(true)
            });
        // `assemble` takes its parts from the host unless told otherwise.
        let remote = remote || (task.action == "assemble" && !task.args.contains_key("remote_src"));
        let Some(src) = task.args.get(key).and_then(Value::as_str).filter(|_| !remote) else { return };
        if task.keywords.delegate_to.is_some() && task.action == "script" && src.starts_with('/') {
            return;
        }
        let span = spec::arg(&action.args, &[key, "_raw_params", "free_form"])
            .map_or(action.span, |(_, node)| node.span);
        let src = if task.action == "script" { first_shell_word(src) } else { src.to_owned() };
        let Some(paths) = possible_paths(&src, task) else {
            if place == Place::Templates {
                self.unknown_template(scope);
            }
            return;
        };
        // A condition may keep a task from ever asking for a file that is made by an earlier one.
        let sure = task.keywords.when.is_empty() && !scope.conditional && task.looping.is_none();
        // With other delimiters than the usual ones the text is not what it seems.
        let standard = !task.args.keys().any(|key| key.ends_with("_string"));
        for path in paths {
            self.prefetch_path(&path, &Wanted { place, span, sure, action: &task.action, standard }, scope);
        }
    }

    fn prefetch_path(&mut self, path: &str, wanted: &Wanted<'_>, scope: &Scope) {
        let Wanted { place, span, sure, action, standard } = *wanted;
        if path.is_empty()
            || (action == "unarchive" && path.contains("://"))
            || self.prefetch.has(path, place, scope.role)
        {
            return;
        }
        let found = match self.compiler.locate(path, place, &scope.roots, &scope.dir, &self.playbook_dir) {
            Ok(found) => found,
            Err(tried) => {
                let error = Diagnostic::error(format!("there is no file `{path}` on the controller"))
                    .at(span)
                    .hint(format!("looked for {}", tried.join(", ")));
                // Earlier tasks may make absolute paths (`delegate_to: localhost`); those are checked when needed.
                if sure && !path.starts_with('/') && !path.starts_with('~') {
                    self.report(error);
                }
                return;
            }
        };
        match self.compiler.tree(&found) {
            Ok(tree) => {
                if place == Place::Templates {
                    if tree.directory {
                        self.report(
                            Diagnostic::error(format!("`{path}` is a directory, and a template is a file"))
                                .at(span),
                        );
                        return;
                    }
                    for include in self.check_template_file(&found, standard) {
                        self.prefetch_path(&include, &Wanted { sure: false, ..*wanted }, scope);
                    }
                }
                self.attach(&tree);
                self.prefetch.add(Found { path: path.to_owned(), place, role: scope.role, tree });
            }
            Err(why) => self.error(span, why),
        }
    }

    /// Small files travel with the play.
    fn attach(&mut self, tree: &Tree) {
        for entry in &tree.entries {
            if let TreeKind::File { sha256, size } = &entry.kind
                && *size <= SMALL
                && let Some(bytes) = self.compiler.small(sha256, *size)
            {
                self.prefetch.add_blob(sha256.clone(), bytes);
            }
        }
    }

    /// All of a role's templates, which it may name by computed names, if they are small.
    pub fn prefetch_role(&mut self, index: u32, path: &Path) {
        let directory = path.join("templates");
        if !directory.is_dir() {
            return;
        }
        let Ok(tree) = self.compiler.tree(&directory) else { return };
        let total: u64 = tree
            .entries
            .iter()
            .map(|entry| match entry.kind {
                TreeKind::File { size, .. } => size,
                _ => 0,
            })
            .sum();
        if total > SMALL_ROLE {
            return;
        }
        for entry in tree.entries {
            let TreeKind::File { .. } = entry.kind else { continue };
            let file = directory.join(&entry.path);
            if self.prefetch.has(&entry.path, Place::Templates, Some(index)) {
                continue;
            }
            if let Ok(tree) = self.compiler.tree(&file) {
                self.attach(&tree);
                self.scan_file(&file);
                self.prefetch.add(Found {
                    path: entry.path,
                    place: Place::Templates,
                    role: Some(index),
                    tree,
                });
            }
        }
    }

    /// A template whose name is computed may mention any fact, unless all there are were read.
    fn unknown_template(&mut self, scope: &Scope) {
        let roots = scope.roots.iter().chain([&scope.dir, &self.playbook_dir]);
        let directories: Vec<_> =
            roots.map(|root| root.join("templates")).filter(|dir| dir.is_dir()).collect();
        if directories.is_empty() {
            self.mentions.all();
        }
        for directory in directories {
            let Ok(tree) = self.compiler.tree(&directory) else { continue };
            for entry in tree.entries {
                if matches!(entry.kind, TreeKind::File { size, .. } if size <= SMALL_ROLE) {
                    self.scan_file(&directory.join(&entry.path));
                }
            }
        }
    }

    fn scan_file(&mut self, path: &Path) {
        if let Ok(bytes) = crate::source::read_bytes(path, SMALL_ROLE) {
            self.mentions.scan(&String::from_utf8_lossy(&bytes));
        }
    }

    /// A template's own syntax, and the facts that it mentions.
    fn check_template_file(&mut self, path: &Path, standard: bool) -> BTreeSet<Arc<str>> {
        let nothing = BTreeSet::new();
        let Ok(file) = self.compiler.sources.load(path) else { return nothing };
        let Some(source) = self.compiler.sources.get(file) else { return nothing };
        if !self.scanned.insert(file) || crate::yaml::is_vault(source.text.as_bytes()) {
            return nothing;
        }
        self.mentions.scan(&source.text);
        if path.extension().is_some_and(|extension| extension == "tera") {
            return self.check_tera_text(&source.text, file);
        }
        if !standard {
            return nothing;
        }
        self.check_template_text(&source.text, file)
    }
}

/// The script's name in `script: 'dir/run.sh --flag'`.
fn first_shell_word(text: &str) -> String {
    let text = text.trim();
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            text.get(1..).and_then(|rest| rest.split(quote).next()).unwrap_or_default().to_owned()
        }
        _ => super::words::first_word(text).0.to_owned(),
    }
}

/// The paths that a source may come to: itself, or one per item of a literal list.
fn possible_paths(src: &str, task: &wire::Task) -> Option<Vec<String>> {
    if !syntax::is_template(src) {
        return Some(vec![src.to_owned()]);
    }
    let looping = task.looping.as_ref();
    let items = match looping {
        Some(looping) if matches!(looping.lookup.as_deref(), None | Some("items" | "list" | "flattened")) => {
            looping.items.as_list()?
        }
        _ => return None,
    };
    let var: Arc<str> = looping?.var.as_str().into();
    let mut paths = Vec::new();
    for item in items.iter().take(1000) {
        if syntax::has_template(item) {
            return None;
        }
        // Only the item may decide: any other variable can differ on the host.
        let known = Map::from_iter([(var.clone(), item.clone())]);
        paths.push(syntax::render_static(src, &known)?);
    }
    Some(paths)
}
