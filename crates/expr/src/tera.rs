//! Templates whose sources end in `.tera`: rendered elsewhere, from what is sent along.

use std::sync::Arc;

use debark_value::{Map, Value, map};

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Res};
use crate::eval::Ctx;
use crate::scope::Scope;
use crate::syntax::ast::Template;

/// The lookup that renders: its arguments are those of an order of `debark-tera`, and its answer is an outcome.
pub const TERA: &str = "tera:render";

/// Questions for more files and variables: a file that is included may include another.
const ROUNDS: usize = 64;

/// Whether a template of this name is Tera's.
pub fn is_tera(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| extension == "tera")
}

impl Engine {
    /// Renders a source by Tera with the variables that it mentions.
    ///
    /// # Errors
    /// Tera's, with the place in front; one of a variable; [`Unknown`](ErrorKind::Unknown) if it mentions what is unknown.
    pub fn render_tera(&self, name: &str, source: &str, scope: &Scope) -> Result<String, Error> {
        let template = Template { source: "".into(), body: Vec::new(), blocks: Vec::new() };
        render(&mut Ctx::new(self, scope, Arc::new(template)), name, source)
    }
}

pub(crate) fn render(ctx: &mut Ctx<'_>, name: &str, source: &str) -> Res<String> {
    let lookup = |reason: String| Error::new(ErrorKind::Lookup, reason);
    let mut files = map! { name => source };
    let mut vars = Map::new();
    for _ in 0..ROUNDS {
        let order = map! { "main" => name, "files" => files.clone(), "vars" => vars.clone() };
        let answer = ctx
            .engine
            .services()
            .lookup(TERA, &[Value::from(order)], &Map::new(), ctx.scope)
            .map_err(lookup)?;
        if let Some(text) = answer.get("text").and_then(Value::as_str) {
            return Ok(text.to_owned());
        }
        if let Some(wrong) = answer.get("wrong") {
            let text = |key: &str| wrong.get(key).and_then(Value::as_str);
            let error = lookup(text("message").unwrap_or_default().to_owned());
            return Err(match text("hint") {
                Some(hint) => error.hinted(hint),
                None => error,
            });
        }
        for path in names(&answer, "files") {
            let found = ctx.engine.services().file(&path).map_or(Value::Null, Value::from);
            files.insert(path, found);
        }
        for variable in names(&answer, "vars") {
            let value = match ctx.variable(&variable)? {
                Some(value) => Some(ctx.force(value)?),
                None => None,
            };
            if let Some(reason) = value.as_ref().and_then(Value::unknown) {
                return Err(Error::unknown(reason));
            }
            vars.insert(
                variable,
                Value::from(value.into_iter().filter(|v| *v != Value::Omit).collect::<Vec<_>>()),
            );
        }
    }
    Err(lookup(format!("{name}: it includes too many templates one after the other")))
}

fn names(answer: &Value, key: &str) -> Vec<Arc<str>> {
    let names = answer.get(key).and_then(Value::as_list).unwrap_or_default();
    names.iter().filter_map(|name| name.as_str().map(Arc::from)).collect()
}
