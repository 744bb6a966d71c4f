//! Parses expressions. The grammar, with its odd places, is that of Jinja2's `parser.py`: `**` binds to the left,
//! filters bind closer than arithmetic, and a unary minus takes its operand's attributes but not its filters.

use std::sync::Arc;

use debark_value::Value;

use super::ast::{BinOp, Block, CmpOp, Expr, Kind, Stmt, Template};
use super::lexer::{self, Tok, Token};
use crate::engine::TemplateOptions;
use crate::error::SyntaxError;

/// Deeper nesting is refused: each level costs stack here and at evaluation.
pub(super) const DEEPEST: usize = 80;

pub(super) type Parsed<T> = Result<T, SyntaxError>;

pub(crate) struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    pub(super) at: usize,
    depth: usize,
    pub(super) loops: usize,
    pub(super) blocks: Vec<Arc<Block>>,
}

/// A bare expression, as in `when`.
pub(crate) fn parse_expression(source: &str) -> Parsed<Template> {
    let mut parser = Parser::new(source, lexer::expression(source)?);
    if parser.peek() == &Tok::End {
        return parser.fail("an expression is missing");
    }
    let expr = parser.tuple(true)?;
    if parser.peek() != &Tok::End {
        return parser.unexpected("the end of the expression");
    }
    Ok(Template { source: source.into(), body: vec![Stmt::Emit(expr)], blocks: Vec::new() })
}

/// A template.
pub(crate) fn parse_template(source: &str, options: &TemplateOptions) -> Parsed<Template> {
    let mut parser = Parser::new(source, lexer::template(source, options)?);
    let body = parser.statements(&[])?;
    Ok(Template { source: source.into(), body, blocks: parser.blocks })
}

impl<'a> Parser<'a> {
    fn new(source: &'a str, tokens: Vec<Token>) -> Self {
        Self { source, tokens, at: 0, depth: 0, loops: 0, blocks: Vec::new() }
    }

    pub(super) fn peek(&self) -> &Tok {
        self.tokens.get(self.at).map_or(&Tok::End, |token| &token.tok)
    }

    pub(super) fn peek_second(&self) -> &Tok {
        self.tokens.get(self.at + 1).map_or(&Tok::End, |token| &token.tok)
    }

    pub(super) fn pos(&self) -> u32 {
        self.tokens.get(self.at).map_or(self.source.len() as u32, |token| token.at)
    }

    pub(super) fn step_back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    pub(super) fn next(&mut self) -> Tok {
        let tok = self.peek().clone();
        self.at += 1;
        tok
    }

    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(SyntaxError::new(message, self.source, self.pos() as usize))
    }

    pub(super) fn fail_at<T>(&self, message: impl Into<String>, at: u32) -> Parsed<T> {
        Err(SyntaxError::new(message, self.source, at as usize))
    }

    pub(super) fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        let found = match self.peek() {
            Tok::Data(_) | Tok::EmitBegin | Tok::BlockBegin | Tok::End => "the end".to_owned(),
            Tok::EmitEnd => "'}}'".to_owned(),
            Tok::BlockEnd => "'%}'".to_owned(),
            Tok::Name(name) => format!("'{name}'"),
            Tok::Str(_) => "a quoted text".to_owned(),
            Tok::Int(number) => format!("'{number}'"),
            Tok::Float(number) => format!("'{number}'"),
            Tok::Op(op) => format!("'{op}'"),
        };
        let error =
            SyntaxError::new(format!("expected {wanted}, found {found}"), self.source, self.pos() as usize);
        Err(match self.peek() {
            Tok::Op("=") => error.hinted("equality is written '=='"),
            Tok::Op("!") => error.hinted("negation is written 'not'"),
            _ => error,
        })
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Tok::Op(found) if *found == op)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Tok::Name(found) if &**found == name)
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Parsed<()> {
        if self.skip_op(op) { Ok(()) } else { self.unexpected(&format!("'{op}'")) }
    }

    pub(super) fn name(&mut self, wanted: &str) -> Parsed<Arc<str>> {
        match self.peek().clone() {
            Tok::Name(name) => {
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected(wanted),
        }
    }

    /// Runs a parser one level deeper.
    pub(super) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail("this is nested too deeply");
        }
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// One expression, or several with commas between them: a tuple.
    pub(super) fn tuple(&mut self, conditional: bool) -> Parsed<Expr> {
        let at = self.pos();
        let first = self.item(conditional)?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_op(",") {
            if self.tuple_ends() {
                break;
            }
            items.push(self.item(conditional)?);
        }
        Ok(Expr { at, kind: Kind::Tuple(items) })
    }

    fn tuple_ends(&self) -> bool {
        matches!(self.peek(), Tok::EmitEnd | Tok::BlockEnd | Tok::End | Tok::Op(")" | "]"))
            || self.is_name("recursive")
            || self.is_name("in")
    }

    fn item(&mut self, conditional: bool) -> Parsed<Expr> {
        if conditional { self.expr() } else { self.deeper(Self::or) }
    }

    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.deeper(|parser| {
            let mut expr = parser.or()?;
            while parser.is_name("if") {
                let at = parser.pos();
                parser.at += 1;
                let test = parser.or()?;
                let otherwise = if parser.skip_name("else") { Some(Box::new(parser.expr()?)) } else { None };
                expr = Expr { at, kind: Kind::Cond(Box::new(test), Box::new(expr), otherwise) };
            }
            Ok(expr)
        })
    }

    fn or(&mut self) -> Parsed<Expr> {
        let mut left = self.and()?;
        while self.is_name("or") {
            let at = self.pos();
            self.at += 1;
            left = Expr { at, kind: Kind::Or(Box::new(left), Box::new(self.and()?)) };
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Expr> {
        let mut left = self.not()?;
        while self.is_name("and") {
            let at = self.pos();
            self.at += 1;
            left = Expr { at, kind: Kind::And(Box::new(left), Box::new(self.not()?)) };
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed<Expr> {
        if !self.is_name("not") {
            return self.compare();
        }
        let at = self.pos();
        self.at += 1;
        self.deeper(|parser| Ok(Expr { at, kind: Kind::Not(Box::new(parser.not()?)) }))
    }

    fn compare(&mut self) -> Parsed<Expr> {
        let at = self.pos();
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let op = match self.peek() {
                Tok::Op("==") => CmpOp::Eq,
                Tok::Op("!=") => CmpOp::Ne,
                Tok::Op("<") => CmpOp::Lt,
                Tok::Op("<=") => CmpOp::Le,
                Tok::Op(">") => CmpOp::Gt,
                Tok::Op(">=") => CmpOp::Ge,
                Tok::Name(name) if &**name == "in" => CmpOp::In,
                Tok::Name(name)
                    if &**name == "not" && matches!(self.peek_second(), Tok::Name(n) if &**n == "in") =>
                {
                    self.at += 1;
                    CmpOp::NotIn
                }
                _ => break,
            };
            self.at += 1;
            rest.push((op, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expr { at, kind: Kind::Compare(Box::new(first), rest) } })
    }

    fn binary(&mut self, ops: &[(&str, BinOp)], operand: fn(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        let mut left = operand(self)?;
        while let Some((_, op)) = ops.iter().find(|(text, _)| self.is_op(text)) {
            let at = self.pos();
            self.at += 1;
            let right = operand(self)?;
            left = Expr { at, kind: Kind::Binary(*op, Box::new(left), Box::new(right)) };
        }
        Ok(left)
    }

    fn sum(&mut self) -> Parsed<Expr> {
        self.binary(&[("+", BinOp::Add), ("-", BinOp::Sub)], Self::concat)
    }

    fn concat(&mut self) -> Parsed<Expr> {
        let at = self.pos();
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_op("~") {
            parts.push(self.product()?);
        }
        Ok(Expr { at, kind: Kind::Concat(parts) })
    }

    fn product(&mut self) -> Parsed<Expr> {
        let ops = [("*", BinOp::Mul), ("//", BinOp::FloorDiv), ("/", BinOp::Div), ("%", BinOp::Mod)];
        self.binary(&ops, Self::power)
    }

    fn power(&mut self) -> Parsed<Expr> {
        self.binary(&[("**", BinOp::Pow)], |parser| parser.unary(true))
    }

    pub(super) fn unary(&mut self, filters: bool) -> Parsed<Expr> {
        let at = self.pos();
        let node = if self.skip_op("-") {
            let operand = self.deeper(|parser| parser.unary(false))?;
            match operand.kind {
                Kind::Const(Value::Int(number)) => {
                    Expr { at, kind: Kind::Const(number.checked_neg().map_or(Value::Null, Value::Int)) }
                }
                _ => Expr { at, kind: Kind::Neg(Box::new(operand)) },
            }
        } else if self.skip_op("+") {
            let operand = self.deeper(|parser| parser.unary(false))?;
            Expr { at, kind: Kind::Pos(Box::new(operand)) }
        } else {
            self.primary()?
        };
        let node = self.postfix(node)?;
        if filters { self.filters(node) } else { Ok(node) }
    }

    pub(super) fn primary(&mut self) -> Parsed<Expr> {
        let at = self.pos();
        let kind = match self.peek().clone() {
            Tok::Name(name) => {
                if matches!(&*name, "if" | "else" | "and" | "or" | "in" | "is") {
                    return self.unexpected("a value");
                }
                self.at += 1;
                match &*name {
                    "true" | "True" => Kind::Const(Value::Bool(true)),
                    "false" | "False" => Kind::Const(Value::Bool(false)),
                    "none" | "None" => Kind::Const(Value::Null),
                    _ => Kind::Name(name),
                }
            }
            Tok::Str(first) => {
                self.at += 1;
                let mut text = first;
                while let Tok::Str(more) = self.peek().clone() {
                    self.at += 1;
                    text = format!("{text}{more}").into();
                }
                Kind::Const(Value::Str(text))
            }
            Tok::Int(number) => {
                self.at += 1;
                Kind::Const(Value::Int(number))
            }
            Tok::Float(number) => {
                self.at += 1;
                Kind::Const(Value::Float(number))
            }
            Tok::Op("(") => {
                self.at += 1;
                if self.skip_op(")") {
                    return Ok(Expr { at, kind: Kind::Tuple(Vec::new()) });
                }
                let inner = self.deeper(|parser| parser.tuple(true))?;
                self.expect_op(")")?;
                return Ok(inner);
            }
            Tok::Op("[") => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.is_op("]") {
                    items.push(self.expr()?);
                    if !self.skip_op(",") {
                        break;
                    }
                }
                self.expect_op("]")?;
                Kind::List(items)
            }
            Tok::Op("{") => {
                self.at += 1;
                let mut entries = Vec::new();
                while !self.is_op("}") {
                    let key = self.expr()?;
                    self.expect_op(":")?;
                    entries.push((key, self.expr()?));
                    if !self.skip_op(",") {
                        break;
                    }
                }
                self.expect_op("}")?;
                Kind::Dict(entries)
            }
            _ => return self.unexpected("a value"),
        };
        Ok(Expr { at, kind })
    }
}
