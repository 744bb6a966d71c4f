//! The door: renders values, texts and template files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use debark_value::{Map, Value};

use crate::error::{Error, Res, SyntaxError};
use crate::eval::Ctx;
use crate::exec::Out;
use crate::names::has_template;
use crate::scope::Scope;
use crate::syntax::ast::{Stmt, Template};
use crate::syntax::{literal, parse_expression, parse_template};
use crate::value::V;

/// Parsed texts that are kept; when there are more, all are forgotten.
const CACHED: usize = 2048;

/// What only the caller can answer.
pub trait Services: Send + Sync {
    /// A lookup that is not answered within this crate (`file`, `env`, `pipe`, ...): a list of results where the
    /// plugin yields several, otherwise the single result. The name comes without `ansible.builtin.`.
    ///
    /// # Errors
    /// One sentence; also for a lookup that does not exist.
    fn lookup(&self, name: &str, args: &[Value], kwargs: &Map, scope: &Scope) -> Result<Value, String>;

    /// The variables of another host, rendered; none if there is no such host.
    ///
    /// # Errors
    /// One sentence.
    fn hostvars(&self, host: &str) -> Result<Option<Value>, String>;

    /// The source of a template that is included, imported or extended.
    ///
    /// # Errors
    /// One sentence, if there is no such file.
    fn file(&self, path: &str) -> Result<String, String>;
}

/// How a template file is read: the parameters of the `template` module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateOptions {
    /// Whether the newline after a block goes.
    pub trim_blocks: bool,
    /// Whether the blanks before a block at the start of a line go.
    pub lstrip_blocks: bool,
    /// Whether newlines at the end of the source are kept, as the `template` module does.
    pub keep_trailing_newline: bool,
    /// What a newline becomes.
    pub newline_sequence: String,
    /// `{{`
    pub variable_start: String,
    /// `}}`
    pub variable_end: String,
    /// `{%`
    pub block_start: String,
    /// `%}`
    pub block_end: String,
    /// `{#`
    pub comment_start: String,
    /// `#}`
    pub comment_end: String,
    /// Whether a backslash within quotes within `{{ }}` stands for itself, as it does in a playbook.
    pub literal_backslashes: bool,
}

impl Default for TemplateOptions {
    fn default() -> Self {
        Self {
            trim_blocks: true,
            lstrip_blocks: false,
            keep_trailing_newline: true,
            newline_sequence: "\n".into(),
            variable_start: "{{".into(),
            variable_end: "}}".into(),
            block_start: "{%".into(),
            block_end: "%}".into(),
            comment_start: "{#".into(),
            comment_end: "#}".into(),
            literal_backslashes: false,
        }
    }
}

impl TemplateOptions {
    /// As the texts of a playbook are read.
    pub(crate) fn text() -> Self {
        Self { literal_backslashes: true, ..Self::default() }
    }

    /// Takes over what a first line `#jinja2: name:value, ...` says, and cuts that line off.
    pub(crate) fn header<'s>(&self, source: &'s str) -> Res<(Self, &'s str)> {
        let mut options = self.clone();
        let Some(rest) = source.strip_prefix("#jinja2:") else { return Ok((options, source)) };
        let (line, body) = rest.split_once('\n').unwrap_or((rest, ""));
        // A delimiter may hold a comma or a colon: entries are split where a name follows.
        for entry in line.trim().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let bad = |what: &str| {
                Error::from(SyntaxError::new(format!("the '#jinja2:' line {what} '{entry}'"), source, 0))
            };
            let (name, value) = entry.split_once(':').ok_or_else(|| bad("has no value in"))?;
            let value = value.trim();
            let unquoted = value.trim_matches(['\'', '"']).to_owned();
            let flag = matches!(unquoted.to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "1");
            match name.trim() {
                "trim_blocks" => options.trim_blocks = flag,
                "lstrip_blocks" => options.lstrip_blocks = flag,
                "keep_trailing_newline" => options.keep_trailing_newline = flag,
                "newline_sequence" => {
                    options.newline_sequence = unquoted.replace("\\r", "\r").replace("\\n", "\n")
                }
                "variable_start_string" => options.variable_start = unquoted,
                "variable_end_string" => options.variable_end = unquoted,
                "block_start_string" => options.block_start = unquoted,
                "block_end_string" => options.block_end = unquoted,
                "comment_start_string" => options.comment_start = unquoted,
                "comment_end_string" => options.comment_end = unquoted,
                _ => return Err(bad("has an unknown option in")),
            }
        }
        Ok((options, body))
    }
}

/// The truth of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Only a run can tell: the reason names the task that check mode left out.
    Unknown(Arc<str>),
}

/// Renders; reusable, and from several threads at once.
pub struct Engine {
    services: Arc<dyn Services>,
    texts: Cache,
    expressions: Cache,
    files: Cache,
}

type Cache = Mutex<HashMap<Arc<str>, Arc<Template>>>;

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

/// Whether a text contains a template: `{{`, `{%` or `{#`.
pub fn is_template(text: &str) -> bool {
    text.as_bytes().windows(2).any(|pair| matches!(pair, [b'{', b'{' | b'%' | b'#']))
}

/// The list, dictionary or boolean that a text spells as Python (or JSON) does, as `template/native_helpers.py` of
/// ansible-core reads results.
pub(crate) fn safe_eval(text: &str) -> Option<Value> {
    match text {
        "True" => return Some(Value::Bool(true)),
        "False" => return Some(Value::Bool(false)),
        _ if text.starts_with(['{', '[']) => {}
        _ => return None,
    }
    let template = parse_expression(text.trim_end()).ok()?;
    match template.body.first()? {
        Stmt::Emit(expr) => literal(expr),
        _ => None,
    }
}

fn cached(
    cache: &Cache,
    source: &str,
    parse: impl FnOnce() -> Result<Template, SyntaxError>,
) -> Result<Arc<Template>, SyntaxError> {
    if let Some(found) = cache.lock().unwrap_or_else(PoisonError::into_inner).get(source) {
        return Ok(found.clone());
    }
    let template = Arc::new(parse()?);
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= CACHED {
        cache.clear();
    }
    cache.insert(source.into(), template.clone());
    Ok(template)
}

impl Engine {
    /// An engine that asks these services.
    pub fn new(services: Arc<dyn Services>) -> Self {
        Self { services, texts: Cache::default(), expressions: Cache::default(), files: Cache::default() }
    }

    pub(crate) fn services(&self) -> &dyn Services {
        &*self.services
    }

    pub(crate) fn parse_text(&self, text: &str) -> Result<Arc<Template>, SyntaxError> {
        cached(&self.texts, text, || {
            parse_template(text.strip_suffix('\n').unwrap_or(text), &TemplateOptions::text())
        })
    }

    fn parse_expr(&self, text: &str) -> Result<Arc<Template>, SyntaxError> {
        cached(&self.expressions, text, || parse_expression(text))
    }

    pub(crate) fn parse_file(&self, source: &str) -> Result<Arc<Template>, SyntaxError> {
        cached(&self.files, source, || {
            parse_template(source.strip_suffix('\n').unwrap_or(source), &TemplateOptions::default())
        })
    }

    /// Renders every text within a value that is a template. A text that depends on something unknown becomes
    /// [`Value::Unknown`].
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind); unknown is none of them.
    pub fn render_value(&self, value: &Value, scope: &Scope) -> Result<Value, Error> {
        match value {
            Value::Str(text) if is_template(text) => self.render_str(text, scope),
            Value::List(_) | Value::Map(_) if has_template(value) => {
                let template = Template { source: "".into(), body: Vec::new(), blocks: Vec::new() };
                let mut ctx = Ctx::new(self, scope, Arc::new(template));
                ctx.render_members(value)
            }
            other => Ok(other.clone()),
        }
    }

    /// Renders one text. A text that is one expression keeps that expression's type.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind); unknown is none of them.
    pub fn render_str(&self, text: &str, scope: &Scope) -> Result<Value, Error> {
        if !is_template(text) {
            return Ok(Value::from(text));
        }
        let template = self.parse_text(text)?;
        let mut ctx = Ctx::new(self, scope, template);
        let result = ctx.native(text).and_then(|value| ctx.force(value));
        known(result)
    }

    /// Evaluates a bare expression.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind); unknown is none of them.
    pub fn eval(&self, expr: &str, scope: &Scope) -> Result<Value, Error> {
        let template = self.parse_expr(expr)?;
        let Some(Stmt::Emit(expr)) = template.body.first() else {
            return Err(Error::kind_of("an expression is missing"));
        };
        let mut ctx = Ctx::new(self, scope, template.clone());
        let result = ctx.eval(expr).and_then(|value| ctx.force(value));
        known(result)
    }

    /// Evaluates a condition: a boolean, an expression, a template, or a list of which all must hold.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind); unknown is none of them.
    pub fn test(&self, condition: &Value, scope: &Scope) -> Result<Truth, Error> {
        match condition {
            Value::Str(text) if text.trim().is_empty() => Ok(Truth::True),
            Value::Str(text) if is_template(text) => match self.render_str(text, scope)? {
                // A variable may hold an expression.
                Value::Str(text) if !is_template(&text) => self.test_expr(&text, scope),
                value => Ok(truth(&value)),
            },
            Value::Str(text) => self.test_expr(text, scope),
            Value::List(items) => {
                let mut result = Truth::True;
                for item in items.iter() {
                    match self.test(item, scope)? {
                        Truth::True => {}
                        Truth::False => return Ok(Truth::False),
                        unknown => result = unknown,
                    }
                }
                Ok(result)
            }
            Value::Null => Ok(Truth::True),
            other => Ok(truth(other)),
        }
    }

    fn test_expr(&self, text: &str, scope: &Scope) -> Result<Truth, Error> {
        if text.trim().is_empty() {
            return Ok(Truth::True);
        }
        let template = self.parse_expr(text)?;
        let Some(Stmt::Emit(expr)) = template.body.first() else { return Ok(Truth::True) };
        let mut ctx = Ctx::new(self, scope, template.clone());
        let result = ctx.eval(expr).and_then(|value| {
            if let V::Data(Value::Str(inner)) = &value
                && is_template(inner)
            {
                return Err(Error::kind_of("a condition cannot be a text with a template in it"));
            }
            ctx.truthy(&value)
        });
        match result {
            Ok(true) => Ok(Truth::True),
            Ok(false) => Ok(Truth::False),
            Err(error) => match error.unknown_reason() {
                Some(reason) => Ok(Truth::Unknown(reason.clone())),
                None => Err(error),
            },
        }
    }

    /// Renders the source of a template file to text. A first line `#jinja2: ...` overrides the options.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind), [`Unknown`](crate::ErrorKind::Unknown) included.
    pub fn render_template(
        &self,
        source: &str,
        options: &TemplateOptions,
        scope: &Scope,
    ) -> Result<String, Error> {
        let (options, body) = options.header(source)?;
        let normal = normalize(body);
        let parsed = normal.strip_suffix('\n').unwrap_or(&normal);
        let template = if options == TemplateOptions::default() {
            self.parse_file(&normal)?
        } else {
            Arc::new(parse_template(parsed, &options)?)
        };
        let mut ctx = Ctx::new(self, scope, template);
        let mut out = Out::default();
        ctx.run_template(&mut out)?;
        let text = if options.keep_trailing_newline { out.into_file(&normal)? } else { out.into_text()? };
        Ok(if options.newline_sequence == "\n" {
            text
        } else {
            text.replace('\n', &options.newline_sequence)
        })
    }

    /// What an engine that is built without some filters asks its services for, as a lookup by this name.
    pub fn asks_filter(name: &str) -> Option<&'static str> {
        name.strip_prefix(crate::eval::ASKED).and_then(crate::filters::elsewhere)
    }

    /// The answer to it: the filter applied to the first argument.
    ///
    /// # Errors
    /// The filter's.
    pub fn answer_filter(&self, name: &str, args: &[Value], kwargs: &Map) -> Result<Value, Error> {
        let scope = Scope::new();
        let template = Template { source: "".into(), body: Vec::new(), blocks: Vec::new() };
        let mut ctx = Ctx::new(self, &scope, Arc::new(template));
        let mut pos = args.iter().cloned().map(V::Data);
        let input = pos.next().unwrap_or(V::NULL);
        let kw = kwargs.iter().map(|(key, value)| (key.clone(), V::Data(value.clone()))).collect();
        let args = crate::eval::Args { pos: pos.collect(), kw };
        ctx.filter(name, input, args).and_then(|value| ctx.force(value))
    }

    /// The items that `with_NAME: TERMS` loops over. `options` are further named arguments of the lookup.
    ///
    /// # Errors
    /// The lookup's.
    pub fn lookup_list(
        &self,
        name: &str,
        terms: &Value,
        options: Map,
        scope: &Scope,
    ) -> Result<Value, Error> {
        let template = Template { source: "".into(), body: Vec::new(), blocks: Vec::new() };
        let mut ctx = Ctx::new(self, scope, Arc::new(template));
        let terms = match terms {
            // `with_dict: name` and its like may name a variable without braces.
            Value::Str(text) if is_template(text) => self.render_str(text, scope)?,
            Value::List(items) if crate::lookups::short(name) == "first_found" => {
                crate::lookups::defined_members(&mut ctx, items)?
            }
            other => ctx.render_members(other)?,
        };
        known(crate::lookups::with(&mut ctx, name, terms, options))
    }
}

pub(crate) fn normalize(source: &str) -> String {
    if source.contains('\r') { source.replace("\r\n", "\n").replace('\r', "\n") } else { source.to_owned() }
}

fn known(result: Res<Value>) -> Res<Value> {
    match result {
        Err(error) => match error.unknown_reason() {
            Some(reason) => Ok(Value::Unknown(reason.clone())),
            None => Err(error),
        },
        ok => ok,
    }
}

fn truth(value: &Value) -> Truth {
    match value {
        Value::Unknown(reason) => Truth::Unknown(reason.clone()),
        other if other.truthy() => Truth::True,
        _ => Truth::False,
    }
}
