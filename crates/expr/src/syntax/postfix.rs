//! What follows a value in an expression: attributes, subscripts, calls, filters, tests.

use std::sync::Arc;

use debark_value::Value;

use super::ast::{CallArgs, Expr, Kind};
use super::lexer::Tok;
use super::parser::{DEEPEST, Parsed, Parser};

impl Parser<'_> {
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
