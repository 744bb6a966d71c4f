//! Lists of tasks and blocks.

use std::path::Path;

use debark_wire as wire;

use super::context::{Ctx, Scope};
use crate::diagnostic::Diagnostic;
use crate::keywords::{self, on};
use crate::source::Span;
use crate::yaml::Node;

impl Ctx<'_> {
    /// Compiles what is in a file of tasks.
    pub fn task_file(&mut self, path: &Path, from: Span, scope: &Scope) -> Vec<wire::Node> {
        let Some(node) = self.load(path, Some(from)) else { return Vec::new() };
        if node.as_seq().is_none() {
            let mut error = Diagnostic::error(format!("a file of tasks is a list, got {}", node.describe()))
                .at(node.span);
            error = match node.as_map() {
                Some(entries) if entries.iter().any(|(key, _)| matches!(&*key.name, "tasks" | "hosts")) => {
                    error.hint("this looks like a playbook: `import_playbook` takes those")
                }
                _ => error.hint("each task begins with `- `"),
            };
            self.report(error);
            return Vec::new();
        }
        let mut scope = scope.clone();
        scope.dir = crate::source::directory_of(path);
        self.node_list(&node, &scope)
    }

    /// Compiles a list of tasks and blocks; tasks that tags leave out are gone.
    pub fn node_list(&mut self, list: &Node, scope: &Scope) -> Vec<wire::Node> {
        // What is no list was reported where the keyword was read.
        let items = list.as_seq().unwrap_or_default();
        let mut nodes = Vec::with_capacity(items.len());
        for item in items {
            let Some(entries) = item.as_map() else {
                if !item.is_null() {
                    self.report(
                        Diagnostic::error(format!("a task is a mapping, got {}", item.describe()))
                            .at(item.span)
                            .hint("write `- module: parameters`"),
                    );
                }
                continue;
            };
            if entries.iter().any(|(key, _)| matches!(&*key.name, "block" | "rescue" | "always")) {
                nodes.extend(self.block(item, scope));
            } else {
                nodes.extend(self.task(item, scope));
            }
        }
        nodes
    }

    fn block(&mut self, node: &Node, scope: &Scope) -> Option<wire::Node> {
        let entries = node.as_map().unwrap_or_default();
        if scope.handlers {
            self.report(
                Diagnostic::error("a block cannot be a handler")
                    .at(node.span)
                    .hint("let several handlers `listen` to one topic"),
            );
        }
        for (key, _) in entries {
            if keywords::find(&key.name, on::BLOCK).is_none() {
                self.unknown_key("a block", key, on::BLOCK);
            }
        }
        if node.get("block").is_none() {
            self.report(Diagnostic::error("`rescue` and `always` need a `block` beside them").at(node.span));
        }
        let keywords = self.keywords(entries, on::BLOCK);
        let mut inner = scope.under(&keywords);
        let guard = self.guard(entries, &mut inner);
        if let Some(notify) = node.get("notify") {
            inner.notify = self.notify(notify);
        }
        let name = node.get("name").and_then(|name| name.to_value().to_text().ok()).unwrap_or_default();
        let span = self.span(node.span);
        let part = |name: &str, ctx: &mut Self| match node.get(name) {
            Some(list) => ctx.node_list(list, &inner),
            None => Vec::new(),
        };
        let block = part("block", self);
        let rescue = part("rescue", self);
        let always = part("always", self);
        if block.is_empty() && rescue.is_empty() && always.is_empty() {
            return None;
        }
        let block = wire::Node::Block(Box::new(wire::Block {
            span,
            name,
            keywords,
            role: scope.role,
            once: None,
            block,
            rescue,
            always,
            guard: None,
        }));
        Some(self.guarded(block, guard, node.span, scope))
    }
}
