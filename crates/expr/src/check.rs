//! Finds what is wrong with a text, and what it mentions, before anything runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use debark_value::Value;

use crate::engine::{TemplateOptions, is_template, normalize};
use crate::error::SyntaxError;
use crate::syntax::ast::{CallArgs, Expr, Kind, Macro, Stmt, Target, Template};
use crate::syntax::{parse_expression, parse_template};
use crate::{filters, globals, tests_};

/// What a text mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    /// The variables it uses, without those it sets itself and without functions.
    pub variables: BTreeSet<Arc<str>>,
    /// The filters it applies.
    pub filters: BTreeSet<Arc<str>>,
    /// The tests it applies.
    pub tests: BTreeSet<Arc<str>>,
    /// The lookups it makes, where they are named by a plain text.
    pub lookups: BTreeSet<Arc<str>>,
    /// The templates it includes, imports or extends, where they are named by a plain text.
    pub templates: BTreeSet<Arc<str>>,
}

impl Mentions {
    /// Adds what another text mentions.
    pub fn extend(&mut self, other: Self) {
        self.variables.extend(other.variables);
        self.filters.extend(other.filters);
        self.tests.extend(other.tests);
        self.lookups.extend(other.lookups);
        self.templates.extend(other.templates);
    }
}

/// Checks a text of a playbook.
///
/// # Errors
/// It is not Jinja2, or it names a filter or test that does not exist.
pub fn check_str(text: &str) -> Result<Mentions, SyntaxError> {
    if !is_template(text) {
        return Ok(Mentions::default());
    }
    walk(&parse_template(text, &TemplateOptions::text())?)
}

/// Checks a bare expression, as in `when`. One with braces around it is checked as a text.
///
/// # Errors
/// It is not Jinja2, or it names a filter or test that does not exist.
pub fn check_expr(text: &str) -> Result<Mentions, SyntaxError> {
    if is_template(text) {
        return check_str(text);
    }
    walk(&parse_expression(text)?)
}

/// Checks the source of a template file.
///
/// # Errors
/// It is not Jinja2, or it names a filter or test that does not exist.
pub fn check_template(source: &str, options: &TemplateOptions) -> Result<Mentions, SyntaxError> {
    let (options, body) =
        options.header(source).map_err(|error| SyntaxError::new(error.message().to_owned(), source, 0))?;
    let shift = source.len() - body.len();
    let normal = normalize(body);
    let result = parse_template(&normal, &options).and_then(|template| walk(&template));
    result.map_err(|mut error| {
        if shift > 0 {
            error.line += 1;
            error.offset += shift;
        }
        error
    })
}

fn walk(template: &Template) -> Result<Mentions, SyntaxError> {
    let mut walker =
        Walker { source: &template.source, found: Mentions::default(), scopes: vec![Vec::new()] };
    walker.body(&template.body)?;
    Ok(walker.found)
}

struct Walker<'a> {
    source: &'a str,
    found: Mentions,
    /// The names each block has set so far.
    scopes: Vec<Vec<Arc<str>>>,
}

type Checked = Result<(), SyntaxError>;

impl Walker<'_> {
    fn body(&mut self, body: &[Stmt]) -> Checked {
        body.iter().try_for_each(|statement| self.statement(statement))
    }

    fn scoped(&mut self, names: Vec<Arc<str>>, body: &[Stmt]) -> Checked {
        self.scopes.push(names);
        let result = self.body(body);
        self.scopes.pop();
        result
    }

    fn bind(&mut self, target: &Target) {
        let mut names = Vec::new();
        collect(target, &mut names);
        if let Some(scope) = self.scopes.last_mut() {
            scope.append(&mut names);
        }
    }

    fn makro(&mut self, def: &Macro) -> Checked {
        for default in def.args.iter().filter_map(|(_, default)| default.as_ref()) {
            self.expr(default)?;
        }
        let mut names: Vec<Arc<str>> = def.args.iter().map(|(name, _)| name.clone()).collect();
        names.extend(["varargs", "kwargs", "caller"].map(Arc::from));
        self.scoped(names, &def.body)
    }

    fn statement(&mut self, statement: &Stmt) -> Checked {
        match statement {
            Stmt::Data(_) | Stmt::Break | Stmt::Continue => Ok(()),
            Stmt::Emit(expr) | Stmt::Do(expr) => self.expr(expr),
            Stmt::If(branches, otherwise) => {
                for (test, body) in branches {
                    self.expr(test)?;
                    self.body(body)?;
                }
                self.body(otherwise)
            }
            Stmt::For(node) => {
                self.expr(&node.iter)?;
                let mut names = vec![Arc::from("loop")];
                collect(&node.target, &mut names);
                self.scopes.push(names);
                let result = node.filter.iter().try_for_each(|filter| self.expr(filter));
                let result = result.and_then(|()| self.body(&node.body));
                self.scopes.pop();
                result?;
                self.scoped(Vec::new(), &node.otherwise)
            }
            Stmt::Set(target, expr) => {
                self.expr(expr)?;
                self.bind(target);
                Ok(())
            }
            Stmt::SetBlock(target, filter, body) => {
                filter.iter().try_for_each(|filter| self.expr(filter))?;
                self.scoped(Vec::new(), body)?;
                self.bind(target);
                Ok(())
            }
            Stmt::Macro(def) => {
                self.bind(&Target::Name(def.name.clone()));
                self.makro(def)
            }
            Stmt::CallBlock(def, call) => {
                self.expr(call)?;
                self.makro(def)
            }
            Stmt::FilterBlock(filter, body) => {
                self.expr(filter)?;
                self.scoped(Vec::new(), body)
            }
            Stmt::With(values, body) => {
                let mut names = Vec::new();
                for (target, expr) in values {
                    self.expr(expr)?;
                    collect(target, &mut names);
                }
                self.scoped(names, body)
            }
            Stmt::Scoped(body) => self.scoped(Vec::new(), body),
            Stmt::Include { name, .. } | Stmt::Extends(name) => self.template(name),
            Stmt::Import { name, target } => {
                self.template(name)?;
                self.bind(&Target::Name(target.clone()));
                Ok(())
            }
            Stmt::FromImport { name, names } => {
                self.template(name)?;
                for (_, target) in names {
                    self.bind(&Target::Name(target.clone()));
                }
                Ok(())
            }
            Stmt::Block(block) => self.scoped(vec!["super".into(), "self".into()], &block.body),
        }
    }

    fn template(&mut self, name: &Expr) -> Checked {
        if let Kind::Const(Value::Str(path)) = &name.kind {
            self.found.templates.insert(path.clone());
        }
        self.expr(name)
    }

    fn args(&mut self, args: &CallArgs) -> Checked {
        let named = args.kw.iter().map(|(_, expr)| expr);
        let stars = args.star.iter().chain(&args.star_star).map(|expr| &**expr);
        args.pos.iter().chain(named).chain(stars).try_for_each(|expr| self.expr(expr))
    }

    fn known(&self, what: &'static str, name: &str, at: u32, known: bool, near: Option<String>) -> Checked {
        if known {
            return Ok(());
        }
        let mut error = SyntaxError::new(format!("there is no {what} '{name}'"), self.source, at as usize);
        error.missing = Some((what, name.to_owned()));
        Err(match near {
            Some(near) => error.hinted(near),
            None => error,
        })
    }

    fn expr(&mut self, expr: &Expr) -> Checked {
        match &expr.kind {
            Kind::Const(_) => Ok(()),
            Kind::Name(name) => {
                let local = self.scopes.iter().flatten().any(|known| known == name);
                if !local && (globals::find(name).is_none() && !matches!(&**name, "omit" | "self")) {
                    self.found.variables.insert(name.clone());
                }
                Ok(())
            }
            Kind::List(items) | Kind::Tuple(items) | Kind::Concat(items) => {
                items.iter().try_for_each(|item| self.expr(item))
            }
            Kind::Dict(entries) => entries.iter().try_for_each(|(key, value)| {
                self.expr(key)?;
                self.expr(value)
            }),
            Kind::Attr(of, name) => {
                // `vars.x` and `hostvars` are ways to name a variable.
                if matches!(&of.kind, Kind::Name(vars) if &**vars == "vars") {
                    self.found.variables.insert(name.clone());
                }
                self.expr(of)
            }
            Kind::Index(of, index) => {
                if let (Kind::Name(vars), Kind::Const(Value::Str(name))) = (&of.kind, &index.kind)
                    && &**vars == "vars"
                {
                    self.found.variables.insert(name.clone());
                }
                self.expr(of)?;
                self.expr(index)
            }
            Kind::Slice(of, parts) => {
                self.expr(of)?;
                parts.iter().flatten().try_for_each(|part| self.expr(part))
            }
            Kind::Call(callee, args) => {
                if let Kind::Name(name) = &callee.kind
                    && matches!(&**name, "lookup" | "query" | "q")
                    && let Some(Expr { kind: Kind::Const(Value::Str(lookup)), .. }) = args.pos.first()
                {
                    let short = crate::lookups::short(lookup);
                    let known = crate::lookups::KNOWN.contains(&short);
                    let near = crate::error::nearest(short, crate::lookups::KNOWN.iter().copied());
                    let near = near.map(|near| format!("did you mean '{near}'?"));
                    let at = args.pos.first().map_or(expr.at, |name| name.at);
                    self.known("lookup", lookup, at, known, near)?;
                    self.found.lookups.insert(short.into());
                    if short == "vars" {
                        for arg in args.pos.iter().skip(1) {
                            if let Kind::Const(Value::Str(name)) = &arg.kind {
                                self.found.variables.insert(name.clone());
                            }
                        }
                    }
                }
                self.expr(callee)?;
                self.args(args)
            }
            Kind::Filter(input, name, args) => {
                self.known("filter", name, expr.at, filters::find(name).is_some(), filters::suggest(name))?;
                self.found.filters.insert(filters::short(name).into());
                self.by_name(name, args, expr.at)?;
                input.iter().try_for_each(|input| self.expr(input))?;
                self.args(args)
            }
            Kind::Test(input, name, args) => {
                self.known("test", name, expr.at, tests_::find(name).is_some(), tests_::suggest(name))?;
                self.found.tests.insert(filters::short(name).into());
                self.expr(input)?;
                self.args(args)
            }
            Kind::Neg(inner) | Kind::Pos(inner) | Kind::Not(inner) => self.expr(inner),
            Kind::And(left, right) | Kind::Or(left, right) | Kind::Binary(_, left, right) => {
                self.expr(left)?;
                self.expr(right)
            }
            Kind::Compare(first, rest) => {
                self.expr(first)?;
                rest.iter().try_for_each(|(_, expr)| self.expr(expr))
            }
            Kind::Cond(test, then, otherwise) => {
                self.expr(test)?;
                self.expr(then)?;
                otherwise.iter().try_for_each(|expr| self.expr(expr))
            }
        }
    }

    /// `map('name')` and `select('name')` name a filter or a test within a text.
    fn by_name(&mut self, filter: &str, args: &CallArgs, at: u32) -> Checked {
        let place = match filters::short(filter) {
            "map" | "select" | "reject" => 0,
            "selectattr" | "rejectattr" => 1,
            _ => return Ok(()),
        };
        let Some(Expr { kind: Kind::Const(Value::Str(name)), .. }) = args.pos.get(place) else {
            return Ok(());
        };
        if filters::short(filter) == "map" {
            self.found.filters.insert(filters::short(name).into());
            return self.known("filter", name, at, filters::find(name).is_some(), filters::suggest(name));
        }
        self.found.tests.insert(filters::short(name).into());
        self.known("test", name, at, tests_::find(name).is_some(), tests_::suggest(name))
    }
}

fn collect(target: &Target, names: &mut Vec<Arc<str>>) {
    match target {
        Target::Name(name) => names.push(name.clone()),
        Target::Attr(..) => {}
        Target::Tuple(targets) => targets.iter().for_each(|target| collect(target, names)),
    }
}
