//! What goes wrong, in one sentence each.

use std::fmt;
use std::sync::Arc;

/// What kind of thing went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// A variable, attribute or item that does not exist was used.
    Undefined {
        /// Its full path, as it is written in the template (`db.host`).
        name: String,
    },
    /// The text is not Jinja2.
    Syntax,
    /// An operation on values that do not support it.
    Type,
    /// A filter, test, function or method refused what it was given (until it is named, then `Type`).
    Call,
    /// A lookup failed.
    Lookup,
    /// Variables that are defined by one another.
    Recursion,
    /// The template ran for too long.
    Fuel,
    /// The result became too large.
    Size,
    /// The result depends on something that only a run can tell. The public functions turn this one into
    /// [`Value::Unknown`](debark_value::Value::Unknown), except where the result must be text.
    Unknown {
        /// Which task check mode left out.
        reason: Arc<str>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    line: Option<usize>,
    via: Vec<Arc<str>>,
}

/// Why an expression or template has no result: one lower-case sentence, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None, line: None, via: Vec::new() }))
    }

    pub(crate) fn kind_of(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Type, message)
    }

    pub(crate) fn call(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Call, message)
    }

    pub(crate) fn unknown(reason: &Arc<str>) -> Self {
        Self::new(
            ErrorKind::Unknown { reason: reason.clone() },
            format!("depends on what is only known after a run ({reason})"),
        )
    }

    pub(crate) fn undefined(name: &str, hint: Option<String>) -> Self {
        let mut error =
            Self::new(ErrorKind::Undefined { name: name.to_owned() }, format!("'{name}' is undefined"));
        error.0.hint = hint;
        error
    }

    pub(crate) fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert(hint.into());
        self
    }

    pub(crate) fn at_line(mut self, line: usize) -> Self {
        self.0.line.get_or_insert(line);
        self
    }

    /// Marks that the error came up while the variable of that name was rendered.
    pub(crate) fn through(mut self, variable: &Arc<str>) -> Self {
        // A line counts within the text it belongs to; seen from outside it would mislead.
        if self.0.via.is_empty() {
            self.0.line = None;
        }
        self.0.via.insert(0, variable.clone());
        self
    }

    /// Puts who refused before the sentence of a filter, test or function, which starts with a verb.
    pub(crate) fn by(mut self, what: &str, name: &str) -> Self {
        if self.0.kind == ErrorKind::Call {
            self.0.message = format!("{what} '{name}' {}", self.0.message);
            self.0.kind = ErrorKind::Type;
        }
        self
    }

    /// Replaces the sentence.
    pub(crate) fn saying(mut self, message: &str) -> Self {
        self.0.message = message.to_owned();
        self
    }

    /// Says which expressions the sentence is about.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.0.message = format!("{} (of {what})", self.0.message);
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The sentence, without the variables that led to it.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        let usual = matches!(self.0.kind, ErrorKind::Undefined { .. })
            .then_some("define it, or say what to use instead: `| default(...)`");
        self.0.hint.as_deref().or(usual)
    }

    /// The line within the rendered text, from 1; none where the text has one line only.
    pub fn line(&self) -> Option<usize> {
        self.0.line
    }

    /// The variables through which the error was reached, outermost first.
    pub fn via(&self) -> &[Arc<str>] {
        &self.0.via
    }

    pub(crate) fn unknown_reason(&self) -> Option<&Arc<str>> {
        match &self.0.kind {
            ErrorKind::Unknown { reason } => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.via.is_empty() {
            f.write_str(" in variable ")?;
            for (index, name) in self.0.via.iter().enumerate() {
                write!(f, "{}'{name}'", if index > 0 { " -> " } else { "" })?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// A text that is not Jinja2, or that names a filter or test which does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// One lower-case sentence.
    pub message: String,
    /// The line within the text, from 1.
    pub line: usize,
    /// The column within that line in characters, from 1.
    pub column: usize,
    /// The byte offset within the text.
    pub offset: usize,
    /// What to do about it.
    pub hint: Option<String>,
    /// The `filter` or `test` that does not exist: which of the two, and its name.
    pub missing: Option<(&'static str, String)>,
}

impl SyntaxError {
    pub(crate) fn new(message: impl Into<String>, source: &str, offset: usize) -> Self {
        let mut offset = offset.min(source.len());
        while !source.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = source.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { message: message.into(), line, column, offset, hint: None, missing: None }
    }

    pub(crate) fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}

impl From<SyntaxError> for Error {
    fn from(error: SyntaxError) -> Self {
        let line = error.line;
        let mut new = Self::new(ErrorKind::Syntax, error.message).at_line(line);
        new.0.hint = error.hint;
        new
    }
}

/// The result of everything that evaluates.
pub(crate) type Res<T> = Result<T, Error>;

/// The name among `names` that was probably meant by `wrong`.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match wrong.chars().count() {
        0..=1 => 0,
        2..=3 => 1,
        4..=5 => 2,
        _ => 3,
    };
    names
        .filter(|name| *name != wrong)
        .map(|name| (distance(wrong, name, limit), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits (with swaps of neighbours as one edit) between two names; more than `limit` counts as `limit + 1`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let width = b.len() + 1;
    let mut rows = vec![0usize; (a.len() + 1) * width];
    let cell = |i: usize, j: usize| i * width + j;
    // Indices stay below (a.len() + 1) * (b.len() + 1), which is the length of `rows`.
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[cell(i, j)] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (rows[cell(i - 1, j)] + 1)
                    .min(rows[cell(i, j - 1)] + 1)
                    .min(rows[cell(i - 1, j - 1)] + same);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[cell(i - 2, j - 2)] + 1);
                }
                best
            };
        }
    }
    rows[cell(a.len(), b.len())]
}
