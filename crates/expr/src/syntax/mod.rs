//! Templates as trees: lexer and parser of Jinja2.

pub(crate) mod ast;
pub(crate) mod lexer;
mod parser;
mod postfix;
mod statements;

pub(crate) use parser::{parse_expression, parse_template};
pub(crate) use statements::literal;
