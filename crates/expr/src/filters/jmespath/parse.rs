//! Reads JMESPath.

use debark_value::{Value, from_json};

use crate::error::{Error, Res};
use crate::ops;

/// Deeper nesting is refused: it costs stack.
const DEEPEST: usize = 64;

pub(super) enum Node {
    Current,
    Literal(Value),
    Field(String),
    Index(i64),
    Slice([Option<i64>; 3]),
    /// The second of what the first is.
    Then(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Token, Box<Node>, Box<Node>),
    /// The items of the first, each as the second has it, without nulls.
    Each(Items, Box<Node>, Box<Node>),
    List(Vec<Node>),
    Dict(Vec<(String, Node)>),
    Call(String, Vec<Node>),
    /// `&expression`, for functions that apply it.
    Reference(Box<Node>),
}

pub(super) enum Items {
    List,
    Flat,
    Values,
    If(Box<Node>),
}

#[derive(Clone, PartialEq)]
pub(super) enum Token {
    End,
    Name(String),
    Quoted(String),
    Literal(Value),
    Number(i64),
    /// Anything of one or two signs.
    Sign(&'static str),
}

const SIGNS: [&str; 25] = [
    "||", "&&", "==", "!=", "<=", ">=", "[?", "[]", "<", ">", "!", "|", "&", "[", "]", "{", "}", "(", ")",
    ".", ",", ":", "*", "@", "?",
];

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    levels: usize,
}

pub(super) fn wrong(what: &str) -> Error {
    Error::call(format!("does not understand its query: {what}"))
}

/// The text up to the sign that closes it, and how many bytes that took.
fn until(text: &str, close: char) -> Res<(&str, usize)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == close && !escaped {
            return Ok((text.get(..at).unwrap_or_default(), at + 1));
        }
        escaped = c == '\\' && !escaped;
    }
    Err(wrong(&format!("a closing {close} is missing")))
}

pub(super) fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().map(from_json)
}

impl Parser {
    pub(super) fn new(query: &str) -> Res<Self> {
        let (mut tokens, mut rest) = (Vec::new(), query.trim_start());
        while let Some(first) = rest.chars().next() {
            let tail = rest.get(first.len_utf8()..).unwrap_or_default();
            let (token, length) = match first {
                '"' => {
                    let (text, length) = until(tail, '"')?;
                    let text = json(&format!("\"{text}\"")).ok_or_else(|| wrong("a name is no JSON text"))?;
                    (Token::Quoted(ops::text(&text)?), length + 1)
                }
                '\'' => {
                    let (text, length) = until(tail, '\'')?;
                    (Token::Literal(Value::from(text.replace("\\'", "'"))), length + 1)
                }
                '`' => {
                    let (text, length) = until(tail, '`')?;
                    let text = text.replace("\\`", "`");
                    // A bare word between the signs is a text.
                    let value = json(&text).or_else(|| json(&format!("\"{}\"", text.trim_start())));
                    (Token::Literal(value.ok_or_else(|| wrong(&format!("`{text}` is no JSON")))?), length + 1)
                }
                c if c.is_ascii_digit() || c == '-' => {
                    let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len()) + 1;
                    let number = rest.get(..digits).and_then(|digits| digits.parse().ok());
                    (Token::Number(number.ok_or_else(|| wrong("a number does not fit"))?), digits)
                }
                c if c.is_ascii_alphabetic() || c == '_' => {
                    let end =
                        rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    (Token::Name(rest.get(..end).unwrap_or_default().to_owned()), end)
                }
                _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                    Some(sign) => (Token::Sign(sign), sign.len()),
                    None => return Err(wrong(&format!("'{first}' means nothing"))),
                },
            };
            tokens.push(token);
            rest = rest.get(length..).unwrap_or_default().trim_start();
        }
        Ok(Self { tokens, at: 0, depth: 0, levels: 0 })
    }

    pub(super) fn whole(mut self) -> Res<Node> {
        let node = self.expression(0)?;
        match self.next() {
            Token::End => Ok(node),
            _ => Err(wrong("something follows its end")),
        }
    }

    fn peek(&self) -> Token {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn sees(&self, sign: &str) -> bool {
        matches!(self.tokens.get(self.at), Some(Token::Sign(found)) if *found == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let there = self.sees(sign);
        self.at += usize::from(there);
        there
    }

    fn want(&mut self, sign: &str) -> Res<()> {
        if self.takes(sign) { Ok(()) } else { Err(wrong(&format!("'{sign}' is missing"))) }
    }

    /// How strongly the next sign binds to what stands before it.
    fn power(&self) -> u8 {
        match self.tokens.get(self.at) {
            Some(Token::Sign(sign)) => match *sign {
                "|" => 1,
                "||" => 2,
                "&&" => 3,
                "==" | "!=" | "<" | ">" | "<=" | ">=" => 5,
                "[]" => 9,
                "[?" => 21,
                "." => 40,
                "[" => 55,
                "(" => 60,
                _ => 0,
            },
            _ => 0,
        }
    }

    fn expression(&mut self, above: u8) -> Res<Node> {
        if self.depth >= DEEPEST {
            return Err(wrong("it is nested too deeply"));
        }
        self.depth += 1;
        let mut left = self.first()?;
        while above < self.power() {
            // Each of these is a level of what is evaluated.
            self.levels += 1;
            if self.levels > 4 * DEEPEST {
                return Err(wrong("it is too long"));
            }
            left = self.more(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn boxed(&mut self, above: u8) -> Res<Box<Node>> {
        self.expression(above).map(Box::new)
    }

    fn first(&mut self) -> Res<Node> {
        Ok(match self.next() {
            Token::Name(name) if self.takes("(") => Node::Call(name, self.list(")")?),
            Token::Name(name) | Token::Quoted(name) => Node::Field(name),
            Token::Literal(value) => Node::Literal(value),
            Token::Sign(sign) => match sign {
                "@" => Node::Current,
                "*" | "[?" | "[]" => {
                    self.at -= 1;
                    return self.more(Node::Current);
                }
                "[" => {
                    let indexed = matches!(self.peek(), Token::Number(_)) || self.sees(":");
                    let star =
                        self.sees("*") && matches!(self.tokens.get(self.at + 1), Some(Token::Sign("]")));
                    if indexed || star {
                        self.at -= 1;
                        return self.more(Node::Current);
                    }
                    Node::List(self.list("]")?)
                }
                "{" => self.dict()?,
                "&" => Node::Reference(self.boxed(0)?),
                "!" => Node::Not(self.boxed(45)?),
                "(" => {
                    let inner = self.expression(0)?;
                    self.want(")")?;
                    inner
                }
                _ => return Err(wrong(&format!("'{sign}' has nothing to stand for"))),
            },
            Token::Number(number) => return Err(wrong(&format!("{number} stands alone; write `{number}`"))),
            Token::End => return Err(wrong("it ends too early")),
        })
    }

    /// What follows an expression and belongs to it.
    fn more(&mut self, left: Node) -> Res<Node> {
        let left = Box::new(left);
        let Token::Sign(sign) = self.next() else { return Err(wrong("a sign is missing")) };
        Ok(match sign {
            "." if self.takes("*") => Node::Each(Items::Values, left, self.behind(20)?),
            "." => Node::Then(left, self.member(40)?),
            "*" => Node::Each(Items::Values, left, self.behind(20)?),
            "|" => Node::Then(left, self.boxed(1)?),
            "||" => Node::Or(left, self.boxed(2)?),
            "&&" => Node::And(left, self.boxed(3)?),
            "[]" => Node::Each(Items::Flat, left, self.behind(9)?),
            "[?" => {
                let condition = self.boxed(0)?;
                self.want("]")?;
                let behind = if self.sees("[]") { Box::new(Node::Current) } else { self.behind(21)? };
                Node::Each(Items::If(condition), left, behind)
            }
            "[" if self.takes("*") => {
                self.want("]")?;
                Node::Each(Items::List, left, self.behind(20)?)
            }
            "[" => {
                let (mut parts, mut part) = ([None; 3], 0);
                while !self.takes("]") {
                    match self.next() {
                        Token::Number(number) => match parts.get_mut(part) {
                            Some(slot) => *slot = Some(number),
                            None => return Err(wrong("a slice has three parts")),
                        },
                        Token::Sign(":") => part += 1,
                        _ => return Err(wrong("an index is a number, '*' or a slice")),
                    }
                }
                match (parts, part) {
                    ([Some(index), ..], 0) => Node::Then(left, Box::new(Node::Index(index))),
                    (_, 1 | 2) => {
                        let slice = Node::Then(left, Box::new(Node::Slice(parts)));
                        Node::Each(Items::List, Box::new(slice), self.behind(20)?)
                    }
                    _ => return Err(wrong("an index is a number, '*' or a slice")),
                }
            }
            "(" => return Err(wrong("only a plain name can be called")),
            sign => Node::Compare(Token::Sign(sign), left, self.boxed(5)?),
        })
    }

    /// What is taken of each item.
    fn behind(&mut self, above: u8) -> Res<Box<Node>> {
        if self.power() < 10 {
            return Ok(Box::new(Node::Current));
        }
        if self.takes(".") { self.member(above) } else { self.boxed(above) }
    }

    /// What stands behind a dot.
    fn member(&mut self, above: u8) -> Res<Box<Node>> {
        if self.takes("[") {
            return self.list("]").map(|list| Box::new(Node::List(list)));
        }
        match self.peek() {
            Token::Name(_) | Token::Quoted(_) | Token::Sign("*" | "{") => self.boxed(above),
            _ => Err(wrong("a name is missing behind '.'")),
        }
    }

    fn list(&mut self, close: &str) -> Res<Vec<Node>> {
        let mut list = Vec::new();
        while !self.takes(close) {
            if !list.is_empty() {
                self.want(",")?;
            }
            list.push(self.expression(0)?);
        }
        Ok(list)
    }

    fn dict(&mut self) -> Res<Node> {
        let mut entries = Vec::new();
        while !self.takes("}") {
            if !entries.is_empty() {
                self.want(",")?;
            }
            let (Token::Name(name) | Token::Quoted(name)) = self.next() else {
                return Err(wrong("a key is missing"));
            };
            self.want(":")?;
            entries.push((name, self.expression(0)?));
        }
        Ok(Node::Dict(entries))
    }
}
