//! What compiling one play carries along, and what surrounds each task.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use debark_value::{Map, Value};
use debark_wire as wire;

use super::files::Prefetch;
use super::{Compiler, Mentions};
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::yaml::{self, Node};

/// The state of compiling a play, or a dynamic include.
pub(super) struct Ctx<'a> {
    pub compiler: &'a Compiler,
    pub diagnostics: Vec<Diagnostic>,
    /// Directory of the playbook: the last place where anything is looked for.
    pub playbook_dir: PathBuf,
    /// Collections in which roles are looked for that are named without one.
    pub collections: Vec<String>,
    /// Where numbers start.
    pub base: wire::Next,
    pub next_task: u32,
    pub roles: Vec<wire::Role>,
    /// Files of spans, by their number in the source map.
    pub files: Vec<u32>,
    pub mentions: Mentions,
    pub prefetch: Prefetch,
    /// Handlers of roles that stand in `roles:`; those come first.
    pub role_handlers: Vec<wire::Node>,
    /// All others.
    pub handlers: Vec<wire::Node>,
    pub notified: Vec<(String, Span)>,
    /// Names of handlers that dynamic includes will bring.
    pub later_handlers: HashSet<String>,
    /// Handlers may come that are not known yet.
    pub open_handlers: bool,
    /// Roles that ran, so that they run once; whether that hangs on a condition.
    pub ran: HashMap<String, bool>,
    /// Files of dynamic includes that were looked at.
    pub seen: HashSet<PathBuf>,
    /// Files that were scanned for facts.
    pub scanned: HashSet<u32>,
    /// Whether anything asks for `any_errors_fatal` or the like.
    pub lockstep: bool,
}

/// What surrounds a task.
#[derive(Clone)]
pub(super) struct Scope {
    /// Index of the role.
    pub role: Option<u32>,
    /// Directories of the role and of those that pulled it in, innermost first.
    pub roots: Vec<PathBuf>,
    /// Directory of the file that the task is in.
    pub dir: PathBuf,
    /// Tags that it inherits.
    pub tags: Vec<String>,
    /// `notify` that it inherits.
    pub notify: Vec<Value>,
    /// Whether these are handlers.
    pub handlers: bool,
    /// Whether a guard is around it.
    pub guarded: bool,
    /// Imports around it, outermost first.
    pub chain: Vec<(PathBuf, Span)>,
    /// Whether it stands under a condition.
    pub conditional: bool,
    /// Modules and `group/x` that `module_defaults` around it names.
    pub defaults: Vec<Arc<str>>,
    /// Variables known without a host, for names of imports.
    pub vars: Arc<Map>,
}

impl Scope {
    pub fn new(dir: &Path, vars: Arc<Map>) -> Self {
        Self {
            role: None,
            roots: Vec::new(),
            dir: dir.to_owned(),
            tags: Vec::new(),
            notify: Vec::new(),
            handlers: false,
            guarded: false,
            chain: Vec::new(),
            conditional: false,
            defaults: Vec::new(),
            vars,
        }
    }

    /// The scope within something that has these keywords.
    pub fn under(&self, keywords: &wire::Keywords) -> Self {
        let mut inner = self.clone();
        for tag in &keywords.tags {
            if !inner.tags.contains(tag) {
                inner.tags.push(tag.clone());
            }
        }
        inner.conditional |= !keywords.when.is_empty();
        inner.defaults.extend(keywords.module_defaults.iter().map(|(name, _)| Arc::from(name.as_str())));
        inner.add_vars(&keywords.vars);
        inner
    }

    /// Variables that names of imports may use.
    pub fn add_vars(&mut self, vars: &Map) {
        if !vars.is_empty() {
            let all = Arc::make_mut(&mut self.vars);
            all.extend(vars.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }
}

impl<'a> Ctx<'a> {
    pub fn new(compiler: &'a Compiler, playbook_dir: &Path, base: wire::Next) -> Self {
        Self {
            compiler,
            diagnostics: Vec::new(),
            playbook_dir: playbook_dir.to_owned(),
            collections: Vec::new(),
            base,
            next_task: base.task,
            roles: Vec::new(),
            files: Vec::new(),
            mentions: Mentions::default(),
            prefetch: Prefetch::default(),
            role_handlers: Vec::new(),
            handlers: Vec::new(),
            notified: Vec::new(),
            later_handlers: HashSet::new(),
            open_handlers: false,
            ran: HashMap::new(),
            seen: HashSet::new(),
            scanned: HashSet::new(),
            lockstep: false,
        }
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        // The same file may be read for several plays; a flood need not be free of repeats.
        if self.diagnostics.len() > 500 || !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.report(Diagnostic::error(message).at(span));
    }

    /// The place as the agent knows it.
    pub fn span(&mut self, span: Span) -> wire::Span {
        let at = match self.files.iter().rposition(|file| *file == span.file) {
            Some(at) => at,
            None => {
                self.files.push(span.file);
                self.files.len() - 1
            }
        };
        wire::Span { file: self.base.file + at as u32, ..span.wire() }
    }

    /// Names of the files that spans refer to.
    pub fn file_names(&self) -> Vec<String> {
        let sources = &self.compiler.sources;
        self.files
            .iter()
            .map(|file| sources.get(*file).map_or_else(String::new, |s| s.name.clone()))
            .collect()
    }

    pub fn task_id(&mut self) -> u32 {
        let id = self.next_task;
        self.next_task += 1;
        id
    }

    /// The index that the next role gets.
    pub fn next_role(&self) -> u32 {
        self.base.role + self.roles.len() as u32
    }

    pub fn role(&self, index: u32) -> Option<&wire::Role> {
        self.roles.get(index.checked_sub(self.base.role)? as usize)
    }

    pub fn role_mut(&mut self, index: u32) -> Option<&mut wire::Role> {
        self.roles.get_mut(index.checked_sub(self.base.role)? as usize)
    }

    /// Loads a file that holds at most one document; what is wrong is reported, at `from` if the file itself is.
    pub fn load(&mut self, path: &Path, from: Option<Span>) -> Option<Node> {
        let loaded = yaml::load(&self.compiler.sources, path, &*self.compiler.vault)
            .and_then(|(file, parsed)| parsed.single().map(|single| (file, single)));
        match loaded {
            Ok((file, (node, warnings))) => {
                self.diagnostics.extend(warnings);
                if self.scanned.insert(file)
                    && let Some(source) = self.compiler.sources.get(file)
                {
                    self.mentions.scan(&source.text);
                }
                node.filter(|node| !node.is_null())
            }
            Err(error) => {
                self.report(match from {
                    Some(span) => error.or_at(span),
                    None => error,
                });
                None
            }
        }
    }

    /// Loads a file of variables.
    pub fn load_vars(&mut self, path: &Path, from: Option<Span>) -> Map {
        match self.load(path, from) {
            Some(node) if node.as_map().is_some() => {
                // Unlike those of `vars`, names in files may be anything; some are only ever looked up by text.
                self.check_templates(&node);
                node.to_map()
            }
            Some(node) => {
                self.report(
                    Diagnostic::error(format!("a file of variables is a mapping, got {}", node.describe()))
                        .at(node.span)
                        .hint("write `name: value`"),
                );
                Map::new()
            }
            None => Map::new(),
        }
    }
}
