//! What hosts ask for while they run: includes by computed names, variables, files and their contents.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use debark_value::{Map, Value};
use debark_wire as wire;
use wire::{Included, Next, Place, Tree};

use super::Compiler;
use super::context::{Ctx, Scope};
use super::role_ref::RoleRef;
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// Who asks for an include.
#[derive(Debug, Clone)]
pub struct Asking<'a> {
    /// Directory of the playbook.
    pub playbook_dir: &'a Path,
    /// The play's `collections`.
    pub collections: &'a [String],
    /// Directory of the role of the task that asks.
    pub role_path: Option<&'a Path>,
    /// Index of that role.
    pub role: Option<u32>,
    /// File of the task that asks.
    pub from: &'a str,
    /// Tags that what comes inherits.
    pub tags: &'a [String],
    /// Whether it becomes handlers.
    pub handlers: bool,
    /// Where numbers start.
    pub next: Next,
    /// Variables without templates that names of imports within may use.
    pub vars: Map,
}

impl Asking<'_> {
    fn ctx<'a>(&self, compiler: &'a Compiler) -> Ctx<'a> {
        let mut ctx = Ctx::new(compiler, self.playbook_dir, self.next);
        ctx.collections = self.collections.to_vec();
        ctx
    }
}

impl Compiler {
    /// `include_tasks` of a rendered name.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn include_tasks(&self, asking: &Asking<'_>, file: &str) -> Result<Included, Vec<Diagnostic>> {
        let mut ctx = asking.ctx(self);
        let mut scope = self.asking_scope(asking);
        scope.handlers = asking.handlers;
        let tasks = match self.find_tasks(
            file.trim(),
            if asking.handlers { "handlers" } else { "tasks" },
            &scope,
            asking.playbook_dir,
        ) {
            Ok(path) => ctx.task_file(&path, self.nowhere(&path)?, &scope),
            Err(tried) => {
                return Err(vec![
                    Diagnostic::error(format!("there is no file `{file}` to take tasks from"))
                        .hint(format!("looked for {}", tried.join(", "))),
                ]);
            }
        };
        finish(ctx, tasks)
    }

    /// `include_role` of a rendered name; `vars` are its parameters.
    ///
    /// # Errors
    /// Everything that is wrong with the role.
    pub fn include_role(
        &self,
        asking: &Asking<'_>,
        name: &str,
        options: &Map,
        vars: &Map,
    ) -> Result<Included, Vec<Diagnostic>> {
        let mut ctx = asking.ctx(self);
        let mut scope = self.asking_scope(asking);
        let file = self.sources.add(Path::new(asking.from), "", false);
        let span = Span::start_of(file);
        let mut reference = RoleRef::new(name.to_owned(), span);
        reference.from_imports = true;
        // As `include_role` has it, unless it says otherwise.
        reference.allow_duplicates = Some(true);
        reference.params = vars.clone();
        reference.set_public(false);
        for (key, value) in options {
            reference
                .option(key, value, |text| Some(text.to_owned()))
                .map_err(|why| vec![Diagnostic::error(format!("`{key}` of `include_role` {why}"))])?;
        }
        // The role of the task that asks is the host's; it is not among those compiled here.
        scope.role = None;
        let tasks = ctx.role_block(&reference, wire::Keywords::default(), span, &scope);
        finish(ctx, tasks.into_iter().collect())
    }

    /// A file or directory for a task of a host.
    ///
    /// # Errors
    /// One sentence that lists where it was looked for.
    pub fn find(
        &self,
        path: &str,
        place: Place,
        playbook_dir: &Path,
        role_path: Option<&Path>,
        task_dir: Option<&Path>,
    ) -> Result<Tree, String> {
        let roots: Vec<PathBuf> = role_path.map(Path::to_owned).into_iter().collect();
        match self.locate(path, place, &roots, task_dir.unwrap_or(playbook_dir), playbook_dir) {
            Ok(found) => self.tree(&found),
            Err(tried) => {
                Err(format!("there is no `{path}` on the controller; looked for {}", tried.join(", ")))
            }
        }
    }

    /// The content with that digest, as far as [`Compiler::find`] or a play named it.
    ///
    /// # Errors
    /// One sentence.
    pub fn content(&self, sha256: &str) -> Result<Box<dyn std::io::Read + Send>, String> {
        self.open(sha256)
    }

    fn asking_scope(&self, asking: &Asking<'_>) -> Scope {
        let mut vars = asking.vars.clone();
        vars.insert("playbook_dir".into(), Value::from(asking.playbook_dir.display().to_string()));
        if let Some(role) = asking.role_path {
            vars.insert("role_path".into(), Value::from(role.display().to_string()));
        }
        vars.extend(self.options.extra_vars.clone());
        let dir = crate::source::directory_of(Path::new(asking.from));
        let mut scope = Scope::new(&dir, Arc::new(vars));
        scope.tags = asking.tags.to_vec();
        scope.role = asking.role;
        scope.roots = asking.role_path.map(Path::to_owned).into_iter().collect();
        scope
    }

    fn nowhere(&self, path: &Path) -> Result<Span, Vec<Diagnostic>> {
        self.sources.load(path).map(Span::start_of).map_err(|error| vec![error])
    }
}

fn finish(mut ctx: Ctx<'_>, tasks: Vec<wire::Node>) -> Result<Included, Vec<Diagnostic>> {
    if ctx.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(ctx.diagnostics);
    }
    let (found, blobs) = ctx.prefetch.take();
    let mut handlers = std::mem::take(&mut ctx.role_handlers);
    handlers.append(&mut ctx.handlers);
    Ok(Included {
        tasks,
        handlers,
        roles: std::mem::take(&mut ctx.roles),
        next_task: ctx.next_task,
        files: ctx.file_names(),
        blobs,
        found,
    })
}
