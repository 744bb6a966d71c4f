//! `guard`: what a play, a block or a task changes is put back, unless it is confirmed in time.

use debark_value::{Value, map};
use debark_wire as wire;

use super::context::{Ctx, Scope};
use super::syntax;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::keywords::GUARD;
use crate::source::Span;
use crate::yaml::{Key, Node};

/// The shortest and the longest time for a confirmation, in seconds: one connection takes a moment, and what is not confirmed
/// within a day is forgotten.
const WITHIN: std::ops::RangeInclusive<u64> = 5..=86_400;

impl Ctx<'_> {
    /// The time of the `guard` among these keywords: a number of seconds, or a template. What `inner` is for is guarded then.
    pub fn guard(&mut self, entries: &[(Key, Node)], inner: &mut Scope) -> Option<Value> {
        let (key, node) = entries.iter().find(|(key, _)| &*key.name == "guard")?;
        if inner.handlers {
            self.report(
                Diagnostic::error("a handler cannot have a guard of its own")
                    .at(key.span)
                    .hint("handlers that a guarded block notifies run at its end, and are guarded with it"),
            );
            return None;
        }
        if std::mem::replace(&mut inner.guarded, true) {
            self.report(
                Diagnostic::error("a guard stands within another guard")
                    .at(key.span)
                    .hint("the outer one covers all that is in it"),
            );
            return None;
        }
        let mut within = Some(node);
        if let Some(entries) = node.as_map() {
            within = node.get("confirm_within");
            for (key, _) in entries.iter().filter(|(key, _)| !GUARD.contains(&&*key.name)) {
                self.report(
                    Diagnostic::error(format!("`guard` has no key `{}`", key.name))
                        .at(key.span)
                        .maybe_hint(did_you_mean(&key.name, GUARD.iter().copied())),
                );
            }
        }
        let text = within.and_then(|within| within.to_value().to_text().ok()).unwrap_or_default();
        if let Some(within) = within.filter(|_| syntax::is_template(&text)) {
            self.check_templates(within);
            return Some(Value::from(text));
        }
        match wire::seconds(&text) {
            Some(seconds) if WITHIN.contains(&seconds) => Some(Value::from(seconds as i64)),
            found => {
                let wrong = match found {
                    Some(_) => format!("`guard` takes from 5 seconds to a day, got `{text}`"),
                    None => "`guard` wants a time".to_owned(),
                };
                self.report(
                    Diagnostic::error(wrong)
                        .at(within.unwrap_or(node).span)
                        .hint("write `guard: 60s`, or `guard: {confirm_within: 60s}`"),
                );
                None
            }
        }
    }

    /// What is guarded, with the task behind it that asks for the confirmation.
    pub fn guarded(
        &mut self,
        node: wire::Node,
        within: Option<Value>,
        at: Span,
        scope: &Scope,
    ) -> wire::Node {
        if within.is_none() {
            return node;
        }
        let span = self.span(at);
        let confirm = wire::Task {
            id: self.task_id(),
            span,
            name: "guard".to_owned(),
            action: "meta".to_owned(),
            args: map! { "free_form" => "guard" },
            role: scope.role,
            ..wire::Task::default()
        };
        wire::Node::Block(Box::new(wire::Block {
            span,
            role: scope.role,
            block: vec![node, wire::Node::Task(Box::new(confirm))],
            guard: within,
            ..wire::Block::default()
        }))
    }
}
