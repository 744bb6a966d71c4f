//! Parses expressions. The grammar, with its odd places, is that of Jinja2's `parser.py`: `**` binds to the left,
//! filters bind closer than arithmetic, and a unary minus takes its operand's attributes but not its filters.

use std::sync::Arc;

use debark_value::Value;

use super::ast::{BinOp, Block, CallArgs, CmpOp, Expr, Kind, Stmt, Template};
use super::lexer::{self, Tok, Token};
use crate::engine::TemplateOptions;
use crate::error::SyntaxError;

/// Deeper nesting is refused: each level costs stack here and at evaluation.
const DEEPEST: usize = 80;

pub(super) type Parsed<T> = Result<T, SyntaxError>;

pub(crate) struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    at: usize,
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

    fn peek_second(&self) -> &Tok {
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

    fn primary(&mut self) -> Parsed<Expr> {
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

    pub(super) fn postfix(&mut self, mut node: Expr) -> Parsed<Expr> {
        let mut count = 0;
        loop {
            count += 1;
            if count > DEEPEST {
                return self.fail("this is nested too deeply");
            }
            let at = node.at;
            let kind = if self.skip_op(".") {
                match self.next() {
                    Tok::Name(name) => Kind::Attr(Box::new(node), name),
                    Tok::Int(number) => {
                        let index = Expr { at, kind: Kind::Const(Value::Int(number)) };
                        Kind::Index(Box::new(node), Box::new(index))
                    }
                    // `list.0.1` is read as the number 0.1.
                    Tok::Float(number) => {
                        let text = number.to_string();
                        for part in text.split('.') {
                            let part = part.parse().unwrap_or_default();
                            let index = Box::new(Expr { at, kind: Kind::Const(Value::Int(part)) });
                            node = Expr { at, kind: Kind::Index(Box::new(node), index) };
                        }
                        continue;
                    }
                    _ => {
                        self.at -= 1;
                        return self.unexpected("a name after '.'");
                    }
                }
            } else if self.skip_op("[") {
                let kind = self.subscript(node)?;
                self.expect_op("]")?;
                kind
            } else if self.is_op("(") {
                Kind::Call(Box::new(node), self.call_args()?)
            } else {
                return Ok(node);
            };
            node = Expr { at, kind };
        }
    }

    fn subscript(&mut self, node: Expr) -> Parsed<Kind> {
        let mut parts = [None, None, None];
        let mut place = 0;
        loop {
            if self.is_op("]") {
                break;
            }
            if self.skip_op(":") {
                place += 1;
                if place > 2 {
                    return self.fail("a slice has at most three parts");
                }
                continue;
            }
            let part = if place == 0 { self.tuple(true)? } else { self.expr()? };
            match parts.get_mut(place) {
                Some(slot @ None) => *slot = Some(part),
                _ => return self.unexpected("']'"),
            }
            if !self.is_op(":") {
                break;
            }
        }
        let [start, stop, step] = parts;
        match (start, place) {
            (Some(index), 0) => Ok(Kind::Index(Box::new(node), Box::new(index))),
            (None, 0) => self.unexpected("an index"),
            (start, _) => Ok(Kind::Slice(Box::new(node), Box::new([start, stop, step]))),
        }
    }

    pub(super) fn call_args(&mut self) -> Parsed<CallArgs> {
        self.expect_op("(")?;
        let mut args = CallArgs::default();
        while !self.is_op(")") {
            if self.skip_op("**") {
                args.star_star = Some(Box::new(self.expr()?));
            } else if self.skip_op("*") {
                args.star = Some(Box::new(self.expr()?));
            } else if matches!(self.peek_second(), Tok::Op("="))
                && let Tok::Name(name) = self.peek().clone()
            {
                self.at += 2;
                if args.kw.iter().any(|(known, _)| *known == name) {
                    return self.fail(format!("'{name}' is given twice"));
                }
                args.kw.push((name, self.expr()?));
            } else {
                if !args.kw.is_empty() {
                    return self.fail("an argument without a name cannot follow one with a name");
                }
                args.pos.push(self.expr()?);
            }
            if !self.skip_op(",") {
                break;
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    fn dotted(&mut self, wanted: &str) -> Parsed<Arc<str>> {
        let mut name = self.name(wanted)?;
        while self.skip_op(".") {
            name = format!("{name}.{}", self.name(wanted)?).into();
        }
        Ok(name)
    }

    pub(super) fn filter(&mut self, input: Option<Expr>) -> Parsed<Expr> {
        let at = self.pos();
        let name = self.dotted("the name of a filter")?;
        let args = if self.is_op("(") { self.call_args()? } else { CallArgs::default() };
        Ok(Expr { at, kind: Kind::Filter(input.map(Box::new), name, args) })
    }

    pub(super) fn filters(&mut self, mut node: Expr) -> Parsed<Expr> {
        let mut count = 0;
        loop {
            count += 1;
            if count > DEEPEST {
                return self.fail("this is nested too deeply");
            }
            if self.skip_op("|") {
                node = self.filter(Some(node))?;
            } else if self.is_name("is") {
                self.at += 1;
                node = self.test(node)?;
            } else if self.is_op("(") {
                let at = node.at;
                node = Expr { at, kind: Kind::Call(Box::new(node), self.call_args()?) };
            } else {
                return Ok(node);
            }
        }
    }

    fn test(&mut self, input: Expr) -> Parsed<Expr> {
        let negated = self.skip_name("not");
        let at = self.pos();
        let name = self.dotted("the name of a test")?;
        let args = if self.is_op("(") {
            self.call_args()?
        } else if self.starts_argument() {
            let argument = self.primary()?;
            CallArgs { pos: vec![self.postfix(argument)?], ..CallArgs::default() }
        } else {
            CallArgs::default()
        };
        let test = Expr { at, kind: Kind::Test(Box::new(input), name, args) };
        Ok(if negated { Expr { at, kind: Kind::Not(Box::new(test)) } } else { test })
    }

    fn starts_argument(&self) -> bool {
        match self.peek() {
            Tok::Name(name) => {
                !matches!(&**name, "else" | "or" | "and" | "is" | "if" | "in" | "not" | "recursive")
            }
            Tok::Str(_) | Tok::Int(_) | Tok::Float(_) | Tok::Op("[" | "{") => true,
            _ => false,
        }
    }
}
