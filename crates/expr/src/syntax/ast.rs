//! The syntax tree of a template.

use std::sync::Arc;

use debark_value::Value;

#[derive(Debug)]
pub(crate) struct Expr {
    /// Byte offset within the source.
    pub at: u32,
    pub kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Const(Value),
    Name(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attr(Box<Expr>, Arc<str>),
    Index(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, CallArgs),
    /// No input: the filter of a `{% filter %}` block, applied to its body.
    Filter(Option<Box<Expr>>, Arc<str>, CallArgs),
    Test(Box<Expr>, Arc<str>, CallArgs),
    Neg(Box<Expr>),
    Pos(Box<Expr>),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(BinOp, Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(CmpOp, Expr)>),
    Cond(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
}

#[derive(Debug, Default)]
pub(crate) struct CallArgs {
    pub pos: Vec<Expr>,
    pub kw: Vec<(Arc<str>, Expr)>,
    pub star: Option<Box<Expr>>,
    pub star_star: Option<Box<Expr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinOp {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

impl BinOp {
    pub fn text(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::FloorDiv => "//",
            Self::Mod => "%",
            Self::Pow => "**",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

/// What `for`, `set` and `with` assign to.
#[derive(Debug)]
pub(crate) enum Target {
    Name(Arc<str>),
    /// An attribute of a namespace.
    Attr(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(crate) enum Stmt {
    Data(Arc<str>),
    Emit(Expr),
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    For(Arc<For>),
    Set(Target, Expr),
    /// `{% set x %}body{% endset %}`, with the filters it goes through.
    SetBlock(Target, Option<Expr>, Vec<Stmt>),
    Macro(Arc<Macro>),
    CallBlock(Arc<Macro>, Expr),
    FilterBlock(Expr, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    Scoped(Vec<Stmt>),
    Do(Expr),
    Break,
    Continue,
    Include {
        name: Expr,
        ignore_missing: bool,
    },
    Import {
        name: Expr,
        target: Arc<str>,
    },
    FromImport {
        name: Expr,
        names: Vec<(Arc<str>, Arc<str>)>,
    },
    Extends(Expr),
    Block(Arc<Block>),
}

#[derive(Debug)]
pub(crate) struct For {
    pub target: Target,
    pub iter: Expr,
    pub filter: Option<Expr>,
    pub recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
}

#[derive(Debug)]
pub(crate) struct Macro {
    pub name: Arc<str>,
    pub args: Vec<(Arc<str>, Option<Expr>)>,
    pub body: Vec<Stmt>,
}

#[derive(Debug)]
pub(crate) struct Block {
    pub name: Arc<str>,
    pub body: Vec<Stmt>,
    pub required: bool,
}

/// A parsed template or bare expression.
#[derive(Debug)]
pub(crate) struct Template {
    pub source: Arc<str>,
    pub body: Vec<Stmt>,
    /// All blocks, nested ones included.
    pub blocks: Vec<Arc<Block>>,
}

impl Template {
    /// The line of a byte offset, where there is more than one line.
    pub fn line(&self, at: u32) -> Option<usize> {
        let newlines = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
        (newlines(self.source.trim_end()) > 0)
            .then(|| newlines(self.source.get(..at as usize).unwrap_or_default()) + 1)
    }
}

impl Expr {
    /// The expression as a user wrote it, where it is a plain path; used in messages.
    pub fn path(&self) -> Option<String> {
        match &self.kind {
            Kind::Name(name) => Some(name.to_string()),
            Kind::Attr(of, name) => Some(format!("{}.{name}", of.path()?)),
            Kind::Index(of, index) => match &index.kind {
                Kind::Const(Value::Str(text)) => Some(format!("{}.{text}", of.path()?)),
                Kind::Const(Value::Int(number)) => Some(format!("{}[{number}]", of.path()?)),
                _ => Some(format!("{}[{}]", of.path()?, index.path()?)),
            },
            Kind::Call(of, args) if args.pos.is_empty() && args.kw.is_empty() => {
                Some(format!("{}()", of.path()?))
            }
            _ => None,
        }
    }
}
