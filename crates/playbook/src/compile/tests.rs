use std::path::{Path, PathBuf};
use std::sync::Arc;

use debark_value::{Map, Value};
use debark_wire::{Next, Node, Place, Task};

use super::*;
use crate::diagnostic::render;
use crate::yaml::NoVault;

mod guards;
mod plays;
mod roles;
mod wrong;

/// A directory of files, compiled.
struct Project {
    dir: tempfile::TempDir,
    sources: Arc<SourceMap>,
    options: CompileOptions,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self { dir, sources: Arc::default(), options: CompileOptions::default() }
    }

    fn tags(mut self, only: &[&str], skip: &[&str]) -> Self {
        let own = |list: &[&str]| list.iter().map(|tag| (*tag).to_owned()).collect();
        self.options.selection = Selection { only: own(only), skip: own(skip) };
        self
    }

    fn compiler(&self) -> Compiler {
        Compiler::new(self.sources.clone(), Arc::new(NoVault), self.options.clone())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn compile(&self) -> Vec<CompiledPlay> {
        match self.compiler().compile(&[self.path("site.yml")]) {
            Ok(compiled) => compiled.plays,
            Err(wrong) => panic!("{}", self.shown(&wrong)),
        }
    }

    fn shown(&self, diagnostics: &[Diagnostic]) -> String {
        let root = self.dir.path().display().to_string();
        render(diagnostics, &self.sources, false).replace(&format!("{root}/"), "")
    }

    fn wrong(&self) -> String {
        match self.compiler().compile(&[self.path("site.yml")]) {
            Ok(_) => panic!("this compiles"),
            Err(wrong) => self.shown(&wrong),
        }
    }
}

fn site(text: &str) -> Project {
    Project::new(&[("site.yml", text)])
}

/// All tasks in order, without the flushes between the parts of a play.
fn tasks(nodes: &[Node]) -> Vec<&Task> {
    let mut found = Vec::new();
    for node in nodes {
        match node {
            Node::Task(task) if task.args.get("free_form") == Some(&Value::from("flush_handlers")) => {}
            Node::Task(task) => found.push(&**task),
            Node::Block(block) => {
                for part in [&block.block, &block.rescue, &block.always] {
                    found.extend(tasks(part));
                }
            }
        }
    }
    found
}

fn names(nodes: &[Node]) -> Vec<String> {
    tasks(nodes)
        .iter()
        .map(|task| if task.name.is_empty() { task.action.clone() } else { task.name.clone() })
        .collect()
}
