//! Templates and expressions: are they well-formed, and can they be rendered without a host.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use debark_expr::{Engine, LayerKind, Scope, Services, SyntaxError, TemplateOptions};
use debark_value::{Map, Value};

use super::context::Ctx;
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::yaml::{Kind, Node, Style, Tag};

/// Whether text holds a template.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Whether anything within a value is a template.
pub(super) fn has_template(value: &Value) -> bool {
    match value {
        Value::Str(text) => is_template(text),
        Value::List(items) => items.iter().any(has_template),
        Value::Map(map) => map.iter().any(|(key, item)| is_template(key) || has_template(item)),
        _ => false,
    }
}

impl Ctx<'_> {
    /// Reports malformed templates anywhere within a node.
    pub fn check_templates(&mut self, node: &Node) {
        match &node.kind {
            Kind::Scalar(Value::Str(text), _) if node.tag != Some(Tag::Unsafe) && is_template(text) => {
                if let Err(error) = debark_expr::check_str(text) {
                    self.syntax_error(error, text, node);
                }
            }
            Kind::Scalar(..) => {}
            Kind::Seq(items) => items.iter().for_each(|item| self.check_templates(item)),
            Kind::Map(entries) => entries.iter().for_each(|(_, value)| self.check_templates(value)),
        }
    }

    /// Reports a malformed expression.
    pub fn check_condition(&mut self, node: &Node) {
        match &node.kind {
            Kind::Scalar(Value::Str(text), _) => {
                if let Err(error) = debark_expr::check_expr(text) {
                    self.syntax_error(error, text, node);
                }
            }
            Kind::Scalar(..) => {}
            Kind::Seq(items) => items.iter().for_each(|item| self.check_condition(item)),
            Kind::Map(_) => self.report(
                Diagnostic::error("a condition is an expression, got a mapping")
                    .at(node.span)
                    .hint("quote it if it holds `: `"),
            ),
        }
    }

    /// Reports what is wrong with a template file; yields the templates that it includes.
    pub fn check_template_text(&mut self, text: &str, file: u32) -> BTreeSet<Arc<str>> {
        match debark_expr::check_template(text, &TemplateOptions::default()) {
            Ok(mentions) => mentions.templates,
            Err(error) => {
                let start = error.offset.min(text.len());
                let span = Span {
                    file,
                    line: error.line as u32,
                    column: error.column as u32,
                    start: start as u32,
                    end: start as u32 + 1,
                };
                self.report_syntax(error, span);
                BTreeSet::new()
            }
        }
    }

    /// The syntax of a template by Tera.
    pub fn check_tera_text(&mut self, text: &str, file: u32) -> BTreeSet<Arc<str>> {
        let Err(problem) = debark_tera::check("", text) else {
            return debark_tera::references(text).into_iter().map(Arc::from).collect();
        };
        let start = problem.offset.min(text.len());
        let span = Span {
            file,
            line: problem.line as u32,
            column: problem.column as u32,
            start: start as u32,
            end: start as u32 + 1,
        };
        self.report(Diagnostic::error(problem.message).at(span));
        BTreeSet::new()
    }

    fn syntax_error(&mut self, error: SyntaxError, text: &str, node: &Node) {
        let span = node
            .span_within(error.offset, 1)
            .or_else(|| self.in_block(&error, text, node))
            .unwrap_or(node.span);
        self.report_syntax(error, span);
    }

    fn report_syntax(&mut self, error: SyntaxError, span: Span) {
        // A project's own plugin rather than a typing error.
        let plugin = error.missing.and_then(|(kind, name)| self.python_plugin(kind, &name, span.file));
        self.report(Diagnostic::error(error.message).at(span).maybe_hint(plugin.or(error.hint)));
    }

    /// The place in a `|` text: its lines are the source's, but for indentation.
    fn in_block(&self, error: &SyntaxError, text: &str, node: &Node) -> Option<Span> {
        if !matches!(node.kind, Kind::Scalar(_, Style::Block)) {
            return None;
        }
        let source = self.compiler.sources.get(node.span.file)?;
        let wanted = text.lines().nth(error.line.checked_sub(1)?)?;
        let first = node.span.start as usize;
        let mut start = source.text.get(..first)?.rfind('\n').map_or(0, |at| at + 1);
        // The span begins at the content, or at the `|` above it.
        let header = usize::from(source.text.get(first..)?.starts_with(['|', '>']));
        let down = error.line - 1 + header;
        for _ in 0..down {
            start += source.text.get(start..)?.find('\n')? + 1;
        }
        let line = source.text.get(start..)?.lines().next()?;
        let indent = line.len().checked_sub(wanted.len()).filter(|_| line.ends_with(wanted))?;
        let before: usize = wanted.chars().take(error.column.saturating_sub(1)).map(char::len_utf8).sum();
        let at = start + indent + before;
        Some(Span {
            file: node.span.file,
            line: node.span.line + down as u32,
            column: (indent + error.column) as u32,
            start: at as u32,
            end: at as u32 + 1,
        })
    }
}

/// Answers nothing: what needs a host or the controller's files is not known before a run.
struct Nothing;

impl Services for Nothing {
    fn lookup(&self, name: &str, _: &[Value], _: &Map, _: &Scope) -> Result<Value, String> {
        Err(format!("the lookup {name} is not known before the run"))
    }
    fn hostvars(&self, _: &str) -> Result<Option<Value>, String> {
        Ok(None)
    }
    fn file(&self, path: &str) -> Result<String, String> {
        Err(format!("{path} is not known before the run"))
    }
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(Arc::new(Nothing)));

/// The text rendered by variables that are known without a host; `None` if that is not enough.
pub(super) fn render_static(text: &str, vars: &Map) -> Option<String> {
    if !is_template(text) {
        return Some(text.to_owned());
    }
    let mut scope = Scope::new();
    scope.push(Arc::new(vars.clone()), LayerKind::Templated);
    ENGINE.render_str(text, &scope).ok()?.to_text().ok()
}
