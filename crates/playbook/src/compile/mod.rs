//! From playbooks to compiled plays.
//!
//! [`Compiler`] holds what a whole run shares: sources, options, found files. It is asked once for the plays and
//! then, while hosts run them, for what they include by computed names. All of it works on `&self`, as many hosts
//! ask at the same time.

mod action;
mod actions;
mod block;
mod collection;
mod context;
mod files;
mod guard;
mod imports;
mod keyword;
mod list;
mod mentions;
mod play;
mod playbook;
mod prefetch;
mod python;
mod role;
mod role_ref;
mod runtime;
mod spec;
mod start;
mod syntax;
mod tags;
mod task;
mod vars;
mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use debark_value::{Map, Value};
use debark_wire::Play;

pub use list::{ListedPlay, ListedTask, foreseeable};
pub use mentions::Mentions;
pub use runtime::Asking;
pub use tags::Selection;
pub use vars::IncludedVars;

use crate::diagnostic::Diagnostic;
use crate::source::{SourceMap, Span};
use crate::yaml::Decrypt;

/// What a run asks for.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// `--tags` and `--skip-tags`.
    pub selection: Selection,
    /// `--start-at-task`: a task's name, also with `*`.
    pub start_at_task: Option<String>,
    /// `-e`.
    pub extra_vars: Map,
    /// Where roles are looked for besides `roles/` beside the playbook: see [`roles_path`](crate::vars::config::roles_path).
    pub roles_path: Vec<PathBuf>,
    /// Where collections are looked for besides `collections/` beside the playbook: see
    /// [`collections_path`](crate::vars::config::collections_path).
    pub collections_path: Vec<PathBuf>,
    /// Where Ansible looks for modules, filters and tests in Python besides those beside the playbook and in roles: see
    /// [`plugin_paths`](crate::vars::config::plugin_paths). They are looked for to be named in errors.
    pub plugin_paths: Vec<PathBuf>,
    /// `--force-handlers`.
    pub force_handlers: bool,
    /// Facts are gathered only where a play says so.
    pub gather_explicitly: bool,
    /// For plays without one of their own.
    pub strategy: Option<String>,
    /// Whether somebody sits at a terminal, whom the task debugger can ask.
    pub attended: bool,
}

/// A compiled play and what the controller itself needs of it.
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledPlay {
    /// What hosts get.
    pub play: Play,
    /// Where it is.
    pub span: Span,
    /// Host patterns, to be joined by `:`; may hold templates.
    pub hosts: Vec<String>,
    /// Where each of them is.
    pub host_spans: Vec<Span>,
    /// `serial`: sizes of batches, the last one repeated; numbers, percentages or templates. Empty: all at once.
    pub serial: Vec<Value>,
    /// `order`.
    pub order: Option<Value>,
    /// `strategy`.
    pub strategy: Option<Value>,
    /// `max_fail_percentage`.
    pub max_fail_percentage: Option<Value>,
    /// `any_errors_fatal` of the play.
    pub any_errors_fatal: Option<Value>,
    /// `vars` of the play (and of the imports around it).
    pub vars: Map,
    /// `vars_files` in order.
    pub vars_files: Vec<VarsFile>,
    /// `vars_prompt` in order.
    pub vars_prompt: Vec<Prompt>,
    /// Directory of the playbook file.
    pub playbook_dir: PathBuf,
    /// `collections`: where roles are looked for that are named without one.
    pub collections: Vec<String>,
    /// Names of the roles in `roles`, in order.
    pub role_names: Vec<String>,
}

impl CompiledPlay {
    /// Counts the facts that a value mentions (variables of the inventory, of a prompt) among those to gather.
    pub fn mention(&mut self, value: &Value) {
        let mut mentions = Mentions::default();
        mentions.scan_value(value);
        self.play.share_vars |= mentions.hostvars();
        let known = self.play.gather.mentions.take();
        self.play.gather.mentions = known.zip(mentions.names()).map(|(mut known, more)| {
            known.extend(more);
            known.sort_unstable();
            known.dedup();
            known
        });
    }
}

/// An entry of `vars_files`.
#[derive(Debug, Clone, PartialEq)]
pub struct VarsFile {
    /// Where it is named.
    pub span: Span,
    /// Candidates; the first that exists counts. May hold templates.
    pub candidates: Vec<String>,
    /// Its variables, if its name is without templates: it was read already.
    pub loaded: Option<Map>,
}

/// An entry of `vars_prompt`.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The variable.
    pub name: String,
    /// What to show.
    pub prompt: String,
    /// What counts if nothing is typed.
    pub default: Option<Value>,
    /// Whether what is typed stays hidden (the default).
    pub private: bool,
    /// Whether it must be typed twice.
    pub confirm: bool,
    /// Hash to store instead (`sha512_crypt`).
    pub encrypt: Option<String>,
    /// Salt for it.
    pub salt: Option<String>,
    /// Length of a random salt.
    pub salt_size: Option<i64>,
    /// Whether it may hold template text that is not rendered.
    pub unsafe_: bool,
}

/// What [`Compiler::compile`] yields.
#[derive(Debug, Default)]
pub struct Compiled {
    /// The plays in order.
    pub plays: Vec<CompiledPlay>,
    /// What does not prevent a run.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles playbooks, and later what they include.
pub struct Compiler {
    sources: Arc<SourceMap>,
    vault: Arc<dyn Decrypt>,
    options: CompileOptions,
    store: files::Store,
    /// Numbers for roles that run once, the same in what is included later.
    once: Mutex<HashMap<String, u32>>,
    /// Where collections are.
    collections: OnceLock<Vec<PathBuf>>,
    /// Whether anything that was compiled asks for the task debugger.
    debugs: AtomicBool,
}

impl Compiler {
    /// A compiler for one run.
    pub fn new(sources: Arc<SourceMap>, vault: Arc<dyn Decrypt>, options: CompileOptions) -> Self {
        let (store, once) = (files::Store::default(), Mutex::default());
        let (collections, debugs) = (OnceLock::new(), AtomicBool::new(false));
        Self { sources, vault, options, store, once, collections, debugs }
    }

    /// Whether anything that was compiled so far asks for the task debugger.
    pub fn debugs(&self) -> bool {
        self.debugs.load(Ordering::Relaxed)
    }

    fn number_of_role(&self, key: &str) -> u32 {
        let mut numbers = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        let next = numbers.len() as u32;
        *numbers.entry(key.to_owned()).or_insert(next)
    }

    fn collections(&self) -> &[PathBuf] {
        self.collections.get_or_init(|| collection::roots(&[], &self.options.collections_path))
    }

    /// The files that were read so far.
    pub fn sources(&self) -> &SourceMap {
        &self.sources
    }

    /// The options.
    pub fn options(&self) -> &CompileOptions {
        &self.options
    }

    /// Compiles playbooks, one after the other.
    ///
    /// # Errors
    /// Everything that is wrong with them, warnings included.
    pub fn compile(&self, paths: &[PathBuf]) -> Result<Compiled, Vec<Diagnostic>> {
        self.collections.get_or_init(|| collection::roots(paths, &self.options.collections_path));
        playbook::compile(self, paths)
    }

    /// Reads a file of variables, decrypting it if need be.
    ///
    /// # Errors
    /// It cannot be read, is no YAML, or is no mapping.
    pub fn vars_file(&self, path: &Path) -> Result<(Map, Vec<Diagnostic>), Diagnostic> {
        let (file, parsed) = crate::yaml::load(&self.sources, path, &*self.vault)?;
        let (node, warnings) = parsed.single()?;
        match node {
            None => Ok((Map::new(), warnings)),
            Some(node) if node.is_null() => Ok((Map::new(), warnings)),
            Some(node) if node.as_map().is_some() => Ok((node.to_map(), warnings)),
            Some(node) => {
                Err(Diagnostic::error(format!("a file of variables is a mapping, got {}", node.describe()))
                    .at(Span { file, ..node.span })
                    .hint("write `name: value`"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
