//! Rendering without limits but for the size of the text.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::Value;
use tera::{Context, Error, ErrorKind, Tera};

use crate::{Order, Outcome};

/// The longest text, in bytes: as for Jinja2.
const LONGEST: usize = 64 << 20;

const DEFINE: &str = "define it, or say what to use instead: `| default(value=...)`";

/// What is wrong with a source, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// One sentence.
    pub message: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Where in the source, in bytes.
    pub offset: usize,
}

/// Finds what is not Tera in a source, whatever it extends or includes.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(name: &str, source: &str) -> Result<(), Problem> {
    let mut tera = Tera::new();
    match tera.add_raw_template(name, source) {
        Err(error) => match error.kind() {
            ErrorKind::SyntaxError(report) => Err(Problem {
                message: sentence(report.message()),
                line: report.span().start_line,
                column: report.span().start_col + 1,
                offset: report.span().range.start,
            }),
            _ => Ok(()),
        },
        Ok(()) => Ok(()),
    }
}

/// The text, or what is missing for it.
pub(crate) fn answer(order: &Order) -> Outcome {
    let mut wanted = BTreeSet::new();
    for source in order.files.values().filter_map(Value::as_str) {
        wanted.extend(references(source).into_iter().filter(|name| !order.files.contains_key(name)));
    }
    if !wanted.is_empty() {
        return Outcome::Files(wanted.into_iter().collect());
    }
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<String>::new());
    tera.register_filter("json_encode", json_encode);
    let sources = order.files.iter().filter_map(|(name, source)| Some((name.as_str(), source.as_str()?)));
    if let Err(error) = tera.add_raw_templates(sources) {
        return wrong(&order.main, &error);
    }
    let names = match tera.get_template_variables(&order.main) {
        Ok(names) => names,
        Err(error) => return wrong(&order.main, &error),
    };
    let unknown: BTreeSet<String> = names
        .into_iter()
        .filter(|name| !name.starts_with("__tera") && !order.vars.contains_key(*name))
        .map(str::to_owned)
        .collect();
    if !unknown.is_empty() {
        return Outcome::Vars(unknown.into_iter().collect());
    }
    let mut context = Context::new();
    for (name, value) in &order.vars {
        if let Some(value) = value.get(0) {
            context.insert(name.clone(), value);
        }
    }
    let mut out = Bounded(Vec::new());
    match tera.render_to(&order.main, &context, &mut out) {
        Ok(()) => match String::from_utf8(out.0) {
            Ok(text) => Outcome::Text(text),
            Err(_) => Outcome::wrong(format!("{}: the text is not UTF-8", order.main), None),
        },
        Err(error) => wrong(&order.main, &error),
    }
}

/// `json_encode(pretty=true)`, which Tera 1 had and configuration files need.
fn json_encode(value: &tera::Value, kwargs: tera::Kwargs, _: &tera::State) -> tera::TeraResult<String> {
    let text = if kwargs.get::<bool>("pretty")?.unwrap_or_default() {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    text.map_err(Error::message)
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tags `extends` and `include` of a source name. One within a comment may be among them: it is only asked for.
pub fn references(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("{%") {
        let Some(tag) = source.get(at + 2..) else { continue };
        let tag = tag.strip_prefix('-').unwrap_or(tag).trim_start();
        let Some(rest) = tag.strip_prefix("include").or_else(|| tag.strip_prefix("extends")) else {
            continue;
        };
        let rest = rest.trim_start();
        let Some(quote) = rest.chars().next().filter(|first| matches!(first, '"' | '\'' | '`')) else {
            continue;
        };
        if let Some((name, _)) = rest.get(1..).and_then(|rest| rest.split_once(quote)) {
            found.push(name.to_owned());
        }
    }
    found
}

fn wrong(main: &str, error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
            let (line, column) = (report.span().start_line, report.span().start_col + 1);
            let message = sentence(report.message());
            let hint = hint(&message);
            Outcome::wrong(format!("{}:{line}:{column}: {message}", report.filename()), hint)
        }
        ErrorKind::Io(io::ErrorKind::FileTooLarge) => {
            Outcome::wrong(format!("{main}: the text is larger than {} MiB", LONGEST >> 20), None)
        }
        _ => {
            let text = error.to_string();
            let (message, place) = reported(&text);
            let message = sentence(message);
            let hint = hint(&message);
            Outcome::wrong(format!("{}: {message}", place.unwrap_or(main)), hint)
        }
    }
}

/// The first sentence and place of a report that Tera gives as text: `error: SENTENCE`, ` --> PLACE`.
fn reported(text: &str) -> (&str, Option<&str>) {
    let mut lines = text.lines();
    let Some(first) = lines.find_map(|line| line.strip_prefix("error: ")) else {
        return (text.lines().next().unwrap_or_default(), None);
    };
    (first, lines.next().and_then(|line| line.trim_start().strip_prefix("--> ")))
}

fn hint(message: &str) -> Option<&'static str> {
    if message.contains("not found in context")
        || message.contains("undefined")
        || message.contains("is not defined")
    {
        return Some(DEFINE);
    }
    message
        .starts_with("unknown ")
        .then_some("a .tera template has Tera's own filters, tests and functions, not Jinja2's: see docs/reference/tera.md")
}

/// Tera's messages begin in upper case and may end in a full stop.
fn sentence(message: &str) -> String {
    let message = message.trim().trim_end_matches('.');
    let mut chars = message.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(source: &str, vars: Value) -> Order {
        let Value::Object(vars) = vars else { panic!("no vars") };
        let files = json!({ "t.tera": source });
        Order { main: "t.tera".into(), files: files.as_object().unwrap().clone(), vars }
    }

    fn text(source: &str, vars: Value) -> String {
        match answer(&order(source, vars)) {
            Outcome::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    fn failure(source: &str, vars: Value) -> String {
        match answer(&order(source, vars)) {
            Outcome::Wrong { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tera_renders_in_the_order_of_maps_and_escapes_nothing() {
        let vars = json!({ "m": [{ "z": 1, "a": "<b>" }] });
        assert_eq!(text("{% for k, v in m %}{{ k }}={{ v }};{% endfor %}", vars.clone()), "z=1;a=<b>;");
        assert_eq!(text("{{ m | json_encode }}", vars), r#"{"z":1,"a":"<b>"}"#);
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        assert_eq!(
            answer(&order("{{ a }}{{ b.c }}", json!({}))),
            Outcome::Vars(vec!["a".into(), "b".into()])
        );
        let base = answer(&order("{% extends \"base.tera\" %}{%- include 'part.tera' %}", json!({})));
        assert_eq!(base, Outcome::Files(vec!["base.tera".into(), "part.tera".into()]));
    }

    #[test]
    fn errors_name_the_place() {
        let undefined = failure("a\n  {{ nobody }}\n", json!({ "nobody": [] }));
        assert!(undefined.starts_with("t.tera:2:6: ") && undefined.contains("nobody"), "{undefined}");
        let filter = failure("{{ 1 | to_nice_yaml }}", json!({}));
        assert!(
            filter.starts_with("t.tera:1:") && filter.contains("unknown filter `to_nice_yaml`"),
            "{filter}"
        );
        let problem = check("t.tera", "x\n{% if %}").unwrap_err();
        assert_eq!((problem.line, problem.offset > 2), (2, true), "{problem:?}");
        assert_eq!(check("t.tera", "{% include 'base.tera' %}{{ a | nothing }}"), Ok(()));
        let mut gone = order("{% include 'part.tera' %}", json!({}));
        gone.files.insert("part.tera".into(), Value::Null);
        let Outcome::Wrong { message, .. } = answer(&gone) else { panic!() };
        assert!(message.starts_with("t.tera:1:") && message.contains("part.tera"), "{message}");
    }

    #[test]
    fn a_text_that_grows_ends() {
        let line = "x".repeat(10_000);
        let source = format!("{{% for a in range(end=100000) %}}{line}{{% endfor %}}");
        assert_eq!(failure(&source, json!({})), "t.tera: the text is larger than 64 MiB");
    }
}
