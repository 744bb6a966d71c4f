//! Parses what stands between `{%` and `%}`.

use std::sync::Arc;

use debark_value::Value;

use super::ast::{Block, Expr, For, Kind, Macro, Stmt, Target};
use super::lexer::Tok;
use super::parser::{Parsed, Parser};
use crate::error::{SyntaxError, nearest};

const TAGS: [&str; 20] = [
    "if",
    "for",
    "set",
    "macro",
    "call",
    "filter",
    "with",
    "include",
    "import",
    "from",
    "extends",
    "block",
    "do",
    "break",
    "continue",
    "raw",
    "autoescape",
    "endif",
    "endfor",
    "endset",
];

impl Parser<'_> {
    /// Statements up to (not including) a tag whose name is in `ends`; up to the end if there are none.
    pub(super) fn statements(&mut self, ends: &[&str]) -> Parsed<Vec<Stmt>> {
        let mut body = Vec::new();
        loop {
            match self.peek().clone() {
                Tok::Data(text) => {
                    self.next();
                    body.push(Stmt::Data(text));
                }
                Tok::EmitBegin => {
                    self.next();
                    if self.peek() == &Tok::EmitEnd {
                        return self.fail("an expression is missing between '{{' and '}}'");
                    }
                    body.push(Stmt::Emit(self.tuple(true)?));
                    if self.next() != Tok::EmitEnd {
                        return self.back_unexpected("'}}'");
                    }
                }
                Tok::BlockBegin => {
                    let open = self.pos();
                    self.next();
                    let Tok::Name(tag) = self.peek().clone() else {
                        return self.unexpected("the name of a tag");
                    };
                    if ends.contains(&&*tag) {
                        return Ok(body);
                    }
                    self.next();
                    let statement = self.deeper(|parser| parser.statement(&tag, open))?;
                    body.push(statement);
                }
                _ if ends.is_empty() => return Ok(body),
                _ => {
                    let end = ends.last().copied().unwrap_or_default();
                    return self.fail(format!("'{{% {end} %}}' is missing"));
                }
            }
        }
    }

    fn back_unexpected<T>(&mut self, wanted: &str) -> Parsed<T> {
        self.step_back();
        self.unexpected(wanted)
    }

    fn end_tag(&mut self) -> Parsed<()> {
        if self.peek() == &Tok::BlockEnd {
            self.next();
            return Ok(());
        }
        self.unexpected("'%}'")
    }

    /// The body up to `{% END %}`, after the `%}` that is still to come.
    fn body(&mut self, end: &str) -> Parsed<Vec<Stmt>> {
        self.end_tag()?;
        let body = self.statements(&[end])?;
        self.next();
        // `{% endblock name %}` may repeat the name.
        if end != "endif" && matches!(self.peek(), Tok::Name(_)) {
            self.next();
        }
        self.end_tag()?;
        Ok(body)
    }

    fn statement(&mut self, tag: &str, open: u32) -> Parsed<Stmt> {
        let statement = match tag {
            "if" => return self.if_(),
            "for" => return self.for_(),
            "set" => return self.set(),
            "macro" => {
                let name = self.name("the name of the macro")?;
                let args = self.signature()?;
                let body = self.isolated("endmacro")?;
                return Ok(Stmt::Macro(Arc::new(Macro { name, args, body })));
            }
            "call" => {
                let args = if self.is_op("(") { self.signature()? } else { Vec::new() };
                let call = self.expr()?;
                if !matches!(call.kind, Kind::Call(..)) {
                    return self.fail_at("'{% call %}' needs a call of a macro", call.at);
                }
                let body = self.isolated("endcall")?;
                let caller = Macro { name: "caller".into(), args, body };
                return Ok(Stmt::CallBlock(Arc::new(caller), call));
            }
            "filter" => {
                let filter = self.filter(None)?;
                let filter = self.filters(filter)?;
                return Ok(Stmt::FilterBlock(filter, self.body("endfilter")?));
            }
            "with" => {
                let mut values = Vec::new();
                while self.peek() != &Tok::BlockEnd {
                    let target = self.target()?;
                    self.expect_op("=")?;
                    values.push((target, self.expr()?));
                    if !self.skip_op(",") {
                        break;
                    }
                }
                return Ok(Stmt::With(values, self.body("endwith")?));
            }
            "autoescape" => {
                self.expr()?;
                return Ok(Stmt::Scoped(self.body("endautoescape")?));
            }
            "block" => return self.block(),
            "include" => self.include()?,
            "import" => {
                let name = self.expr()?;
                if !self.skip_name("as") {
                    return self.unexpected("'as'");
                }
                let target = self.name("a name for the import")?;
                self.context();
                Stmt::Import { name, target }
            }
            "from" => self.names_import()?,
            "extends" => Stmt::Extends(self.expr()?),
            "do" => Stmt::Do(self.tuple(true)?),
            "break" | "continue" => {
                if self.loops == 0 {
                    return self.fail_at(format!("'{{% {tag} %}}' is outside of a loop"), open);
                }
                if tag == "break" { Stmt::Break } else { Stmt::Continue }
            }
            _ => {
                self.step_back();
                let error = match self.fail::<()>(format!("there is no tag '{tag}'")) {
                    Err(error) => error,
                    Ok(()) => SyntaxError::new("", "", 0),
                };
                return Err(match nearest(tag, TAGS.into_iter()) {
                    Some(near) => error.hinted(format!("did you mean '{near}'?")),
                    None if tag.starts_with("end") || tag == "else" || tag == "elif" => {
                        error.hinted("it ends or continues a block that was never begun here")
                    }
                    None => error,
                });
            }
        };
        self.end_tag()?;
        Ok(statement)
    }

    fn if_(&mut self) -> Parsed<Stmt> {
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        let mut test = self.tuple(true)?;
        loop {
            self.end_tag()?;
            let body = self.statements(&["elif", "else", "endif"])?;
            branches.push((test, body));
            if self.skip_name("elif") {
                test = self.tuple(true)?;
                continue;
            }
            if self.skip_name("else") {
                self.end_tag()?;
                otherwise = self.statements(&["endif"])?;
            }
            self.next();
            self.end_tag()?;
            return Ok(Stmt::If(branches, otherwise));
        }
    }

    fn for_(&mut self) -> Parsed<Stmt> {
        let target = self.target()?;
        if !self.skip_name("in") {
            return self.unexpected("'in'");
        }
        let iter = self.tuple(false)?;
        let filter = if self.skip_name("if") { Some(self.expr()?) } else { None };
        let recursive = self.skip_name("recursive");
        self.end_tag()?;
        self.loops += 1;
        let body = self.statements(&["else", "endfor"])?;
        self.loops -= 1;
        let mut otherwise = Vec::new();
        if self.skip_name("else") {
            self.end_tag()?;
            otherwise = self.statements(&["endfor"])?;
        }
        self.next();
        self.end_tag()?;
        Ok(Stmt::For(Arc::new(For { target, iter, filter, recursive, body, otherwise })))
    }

    fn set(&mut self) -> Parsed<Stmt> {
        let target = self.target()?;
        if self.skip_op("=") {
            let value = self.tuple(true)?;
            self.end_tag()?;
            return Ok(Stmt::Set(target, value));
        }
        let filter = if self.skip_op("|") {
            let filter = self.filter(None)?;
            Some(self.filters(filter)?)
        } else {
            None
        };
        Ok(Stmt::SetBlock(target, filter, self.body("endset")?))
    }

    fn target(&mut self) -> Parsed<Target> {
        let mut targets = Vec::new();
        let mut tuple = false;
        loop {
            targets.push(if self.skip_op("(") {
                let inner = self.deeper(Self::target)?;
                self.expect_op(")")?;
                inner
            } else {
                let name = self.name("a name to assign to")?;
                if matches!(&*name, "true" | "false" | "none" | "True" | "False" | "None") {
                    return self.fail(format!("'{name}' cannot be assigned to"));
                }
                if self.skip_op(".") {
                    Target::Attr(name, self.name("an attribute")?)
                } else {
                    Target::Name(name)
                }
            });
            if !self.skip_op(",") {
                break;
            }
            tuple = true;
            if !matches!(self.peek(), Tok::Name(_) | Tok::Op("(")) || self.is_name("in") {
                break;
            }
        }
        match targets.pop() {
            Some(only) if !tuple => Ok(only),
            Some(last) => {
                targets.push(last);
                Ok(Target::Tuple(targets))
            }
            None => self.unexpected("a name to assign to"),
        }
    }

    fn signature(&mut self) -> Parsed<Vec<(Arc<str>, Option<Expr>)>> {
        self.expect_op("(")?;
        let mut args: Vec<(Arc<str>, Option<Expr>)> = Vec::new();
        while !self.is_op(")") {
            let name = self.name("the name of an argument")?;
            let default = if self.skip_op("=") { Some(self.expr()?) } else { None };
            if default.is_none() && args.last().is_some_and(|(_, default)| default.is_some()) {
                return self.fail("an argument without a default cannot follow one with a default");
            }
            args.push((name, default));
            if !self.skip_op(",") {
                break;
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    /// A body that a `break` within cannot leave.
    fn isolated(&mut self, end: &str) -> Parsed<Vec<Stmt>> {
        let loops = std::mem::take(&mut self.loops);
        let body = self.body(end);
        self.loops = loops;
        body
    }

    fn block(&mut self) -> Parsed<Stmt> {
        let at = self.pos();
        let name = self.name("the name of the block")?;
        if self.blocks.iter().any(|block| block.name == name) {
            return self.fail_at(format!("block '{name}' is defined twice"), at);
        }
        let mut required = false;
        while let Tok::Name(modifier) = self.peek().clone() {
            required |= &*modifier == "required";
            self.next();
        }
        let body = self.isolated("endblock")?;
        let block = Arc::new(Block { name, body, required });
        self.blocks.push(block.clone());
        Ok(Stmt::Block(block))
    }

    fn include(&mut self) -> Parsed<Stmt> {
        let name = self.expr()?;
        let mut ignore_missing = false;
        if self.skip_name("ignore") {
            if !self.skip_name("missing") {
                return self.unexpected("'missing'");
            }
            ignore_missing = true;
        }
        self.context();
        Ok(Stmt::Include { name, ignore_missing })
    }

    fn context(&mut self) {
        if self.is_name("with") || self.is_name("without") {
            self.next();
            self.skip_name("context");
        }
    }

    fn names_import(&mut self) -> Parsed<Stmt> {
        let name = self.expr()?;
        if !self.skip_name("import") {
            return self.unexpected("'import'");
        }
        let mut names = Vec::new();
        loop {
            if self.is_name("with") || self.is_name("without") {
                self.context();
                break;
            }
            let imported = self.name("a name to import")?;
            let target =
                if self.skip_name("as") { self.name("a name for the import")? } else { imported.clone() };
            names.push((imported, target));
            if !self.skip_op(",") {
                self.context();
                break;
            }
        }
        Ok(Stmt::FromImport { name, names })
    }
}

/// The value of an expression that is made of literals only, as Python's `ast.literal_eval` reads it.
pub(crate) fn literal(expr: &Expr) -> Option<Value> {
    Some(match &expr.kind {
        Kind::Const(value) => value.clone(),
        Kind::Name(name) if &**name == "null" => Value::Null,
        Kind::List(items) | Kind::Tuple(items) => {
            Value::from(items.iter().map(literal).collect::<Option<Vec<_>>>()?)
        }
        Kind::Dict(entries) => {
            let mut map = debark_value::Map::with_capacity(entries.len());
            for (key, value) in entries {
                let key = match literal(key)? {
                    Value::Str(text) => text,
                    key @ (Value::Int(_) | Value::Float(_) | Value::Bool(_)) => key.to_string().into(),
                    _ => return None,
                };
                map.insert(key, literal(value)?);
            }
            Value::from(map)
        }
        Kind::Neg(inner) => match literal(inner)? {
            Value::Int(number) => Value::Int(number.checked_neg()?),
            Value::Float(number) => Value::Float(-number),
            _ => return None,
        },
        _ => return None,
    })
}
