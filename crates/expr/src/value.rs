//! What an expression can evaluate to: data, and the things that live only while a template runs.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use debark_value::{Map, Value};
use indexmap::IndexMap;

use crate::error::{Error, Res};
use crate::eval::Args;
use crate::syntax::ast;
use crate::time::Date;

/// A value during evaluation.
#[derive(Clone)]
pub(crate) enum V {
    /// Plain data.
    Data(Value),
    /// A list or map of a templated layer: the texts within are templates that were not rendered yet.
    Lazy(Value),
    /// A list with members that are not data (undefined ones, tuples).
    Seq(Arc<Vec<V>>),
    /// A tuple: a list that prints and formats differently.
    Tuple(Arc<Vec<V>>),
    /// Does not exist; an error only where it is used.
    Undef(Arc<Undef>),
    /// Everything that is not data.
    Thing(Arc<Thing>),
}

pub(crate) struct Undef {
    pub name: String,
    /// An inline `if` without `else` whose condition is false: prints as nothing.
    pub soft: bool,
    pub hint: Option<String>,
}

impl Undef {
    pub fn error(&self) -> Error {
        Error::undefined(&self.name, self.hint.clone())
    }
}

pub(crate) type GlobalFn = fn(&mut crate::eval::Ctx<'_>, &Args) -> Res<V>;

pub(crate) enum Thing {
    Namespace(Mutex<IndexMap<Arc<str>, V>>),
    Loop(Loop),
    Macro(MacroThing),
    Module(Arc<Module>),
    Global(&'static str, GlobalFn),
    Cycler(Vec<V>, AtomicUsize),
    Joiner(String, AtomicBool),
    /// `hostvars`: answered host by host.
    HostVars,
    /// `vars`: the variables of the scope itself.
    Vars,
    /// The host's own entry in `hostvars`.
    Own,
    Date(Date),
    /// A span of time in microseconds.
    Delta(i64),
    /// What `groupby` yields: a pair whose parts are also `grouper` and `list`.
    Group(Value, Value),
    /// `super()` within the block of that name, so many levels up.
    Super(Arc<str>, usize),
    /// `self`, whose attributes are the blocks.
    Blocks,
}

pub(crate) struct Loop {
    pub index: usize,
    pub items: Arc<Vec<V>>,
    pub depth: usize,
    pub node: Arc<ast::For>,
    pub last_seen: Arc<Mutex<Option<Value>>>,
}

pub(crate) struct MacroThing {
    pub def: Arc<ast::Macro>,
    pub template: Arc<ast::Template>,
    /// Where it was imported from; without one it sees the variables of the template it stands in.
    pub module: Option<Weak<Module>>,
    /// For the body of `{% call %}`: the variables where it stands.
    pub frames: Option<Vec<Frame>>,
}

/// An imported template.
pub(crate) struct Module {
    pub frame: OnceLock<Frame>,
}

/// The variables of one block, innermost last.
pub(crate) type Frame = Vec<(Arc<str>, V)>;

impl From<Value> for V {
    fn from(value: Value) -> Self {
        Self::Data(value)
    }
}

impl From<bool> for V {
    fn from(flag: bool) -> Self {
        Self::Data(Value::Bool(flag))
    }
}

impl From<i64> for V {
    fn from(number: i64) -> Self {
        Self::Data(Value::Int(number))
    }
}

impl From<f64> for V {
    fn from(number: f64) -> Self {
        Self::Data(Value::Float(number))
    }
}

impl From<&str> for V {
    fn from(text: &str) -> Self {
        Self::Data(Value::from(text))
    }
}

impl From<String> for V {
    fn from(text: String) -> Self {
        Self::Data(Value::from(text))
    }
}

impl From<Map> for V {
    fn from(map: Map) -> Self {
        Self::Data(Value::from(map))
    }
}

impl From<Vec<Value>> for V {
    fn from(items: Vec<Value>) -> Self {
        Self::Data(Value::from(items))
    }
}

impl V {
    pub const NULL: Self = Self::Data(Value::Null);

    pub fn thing(thing: Thing) -> Self {
        Self::Thing(Arc::new(thing))
    }

    pub fn undef(name: impl Into<String>) -> Self {
        Self::Undef(Arc::new(Undef { name: name.into(), soft: false, hint: None }))
    }

    pub fn tuple(items: Vec<V>) -> Self {
        Self::Tuple(Arc::new(items))
    }

    /// A list, as data where all its members are data.
    pub fn list(items: Vec<V>) -> Self {
        if items.iter().all(|item| matches!(item, Self::Data(_))) {
            let items = items.into_iter().filter_map(|item| match item {
                Self::Data(value) => Some(value),
                _ => None,
            });
            return Self::from(items.collect::<Vec<_>>());
        }
        Self::Seq(Arc::new(items))
    }

    pub fn is_undef(&self) -> bool {
        matches!(self, Self::Undef(_))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Data(Value::Null))
    }

    /// The reason, if this is unknown itself (not something within it).
    pub fn unknown(&self) -> Option<&Arc<str>> {
        match self {
            Self::Data(Value::Unknown(reason)) => Some(reason),
            _ => None,
        }
    }

    /// The error that a use of this value is: undefined, or only known after a run.
    pub fn usable(&self) -> Res<()> {
        match self {
            Self::Undef(undef) if !undef.soft => Err(undef.error()),
            Self::Data(Value::Unknown(reason)) => Err(Error::unknown(reason)),
            _ => Ok(()),
        }
    }

    /// The type as Ansible users know it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Data(value) | Self::Lazy(value) => value.type_name(),
            Self::Seq(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Undef(_) => "undefined",
            Self::Thing(thing) => match &**thing {
                Thing::Namespace(_) => "namespace",
                Thing::Loop(_) => "loop",
                Thing::Macro(_) => "macro",
                Thing::Module(_) => "module",
                Thing::Global(..) => "function",
                Thing::Cycler(..) => "cycler",
                Thing::Joiner(..) => "joiner",
                Thing::HostVars | Thing::Vars | Thing::Own => "dict",
                Thing::Date(_) => "datetime",
                Thing::Delta(_) => "timedelta",
                Thing::Group(..) => "tuple",
                Thing::Super(..) | Thing::Blocks => "block",
            },
        }
    }
}
