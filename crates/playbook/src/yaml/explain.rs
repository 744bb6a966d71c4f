//! What is wrong with text that is no YAML, in the words of those who write playbooks.

use granit_parser::{ErrorKind, ScanError};

use crate::diagnostic::Diagnostic;
use crate::source::Span;

const QUOTE: &str = "a value that begins with `{{` must be quoted: `\"{{ ... }}\"`";

/// Refuses what the parser would choke on in less clear words.
pub fn before_parsing(text: &str, file: u32) -> Result<(), Diagnostic> {
    if let Some(at) = text.bytes().position(|byte| byte == 0) {
        return Err(Diagnostic::error("there is a NUL byte here; this is not a text file")
            .at(place(text, file, at))
            .hint("save it as UTF-8 text"));
    }
    Ok(())
}

/// The parser's error, reworded.
pub fn scan_error(error: &ScanError, text: &str, file: u32) -> Diagnostic {
    let marker = error.marker();
    let at = marker.byte_offset().unwrap_or(text.len()).min(text.len());
    let mut span = place(text, file, at);
    if let Some(tab) = tab_in_next_line(text, span.start as usize) {
        span = place(text, file, tab);
    }
    let (line, column) = line_around(text, span.start as usize);
    let before = line.get(..column).unwrap_or_default();
    let (message, hint) = words(error, line, before);
    // The unquoted expression is what to look at, not the place where the parser gave up.
    if let Some(offset) = bare_expression(line) {
        span = place(text, file, span.start as usize - column + offset);
        span.end = span.start + 2;
        return Diagnostic::error("a `{{` that is not quoted starts a YAML mapping").at(span).hint(QUOTE);
    }
    // An item or key that is indented unlike its siblings shows itself one line late, as "did not find expected".
    Diagnostic::error(message).at(span).maybe_hint(hint)
}

/// The hint for a mapping or list that is used as a key: `{{ x }}` without quotes.
pub fn complex_key(text: &str, span: Span) -> Diagnostic {
    let here = text.get(span.start as usize..).unwrap_or_default();
    let before = text.get(..span.start as usize).unwrap_or_default();
    if here.starts_with('{') && before.ends_with('{') {
        let outer = Span { start: span.start - 1, end: span.start + 1, column: span.column - 1, ..span };
        return Diagnostic::error("a `{{` that is not quoted starts a YAML mapping").at(outer).hint(QUOTE);
    }
    Diagnostic::error("a list or mapping cannot be a key").at(span).hint("quote it if it is meant as text")
}

fn words(error: &ScanError, line: &str, before: &str) -> (String, Option<String>) {
    use ErrorKind as E;
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    if indent.contains('\t') {
        return ("a tab cannot indent YAML".into(), Some("indent with spaces".into()));
    }
    let some = |text: &str| Some(text.to_owned());
    match error.kind() {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabAtBlockScalarStart
        | E::TabInPlainScalar => ("a tab cannot stand here".into(), some("use spaces")),
        E::UnknownAnchor => (
            "this alias refers to an anchor that does not exist".into(),
            some("a value that begins with `*` must be quoted unless it is an alias"),
        ),
        E::UnclosedQuotedScalar => (
            "a quote is opened and never closed".into(),
            some("close it; inside single quotes write `''` for a quote"),
        ),
        E::UnknownQuotedScalarEscape => (
            "there is no such escape in double quotes".into(),
            some("double the backslash, or use single quotes"),
        ),
        E::InvalidTrailingDoubleQuotedScalar | E::InvalidTrailingSingleQuotedScalar => {
            ("there is text behind a closing quote".into(), some("quote the whole value: `'\"a\" and b'`"))
        }
        E::UnclosedFlowCollection { open } => (format!("`{open}` is opened and never closed"), None),
        E::UnexpectedEofFlowSequence => ("a list `[` is opened and never closed".into(), None),
        E::UnexpectedEofFlowMapping | E::UnexpectedEofImplicitFlowMapping => {
            ("a mapping `{` is opened and never closed".into(), None)
        }
        E::ExpectedFlowMappingSeparator => ("`,` or `}` is missing before this".into(), None),
        E::ExpectedFlowSequenceSeparator => ("`,` or `]` is missing before this".into(), None),
        E::MismatchedFlowCollectionEnd { open, close } => (format!("`{open}` is closed by `{close}`"), None),
        E::MappingValueNotAllowed | E::InvalidColonPlacement if before.contains(':') => (
            "a second `: ` on one line makes no sense to YAML".into(),
            some("quote the value if it holds `: `"),
        ),
        E::MappingValueNotAllowed => (
            "a mapping cannot start here".into(),
            some("check the indentation of this line and of the one above"),
        ),
        E::SimpleKeyExpected | E::InvalidSimpleKey => (
            "this line is neither `key: value` nor a continued text".into(),
            some("a `:` may be missing, or the indentation is off"),
        ),
        E::ExpectedBlockMappingKey
        | E::ExpectedBlockSequenceEntry
        | E::InvalidIndentation
        | E::BlockSequenceEntryNotAllowed
        | E::MappingKeyNotAllowed => (
            "the indentation of this line fits nothing above it".into(),
            some("keys of one mapping and items of one list begin in the same column"),
        ),
        E::RecursionLimitExceeded => ("collections are nested too deeply here".into(), None),
        E::UnexpectedCharacter { character } => {
            (format!("`{character}` cannot begin a value"), some("quote the value"))
        }
        E::CommentNotSeparated => ("a comment needs a space before its `#`".into(), None),
        E::BomInsideDocument => {
            ("there is a byte order mark in the middle of the file".into(), some("remove it"))
        }
        _ => (error.kind().to_string(), None),
    }
}

/// A tab that indents the line behind this one: the parser stops before it.
fn tab_in_next_line(text: &str, at: usize) -> Option<usize> {
    let next = at + text.get(at..)?.find('\n')? + 1;
    let line = text.get(next..)?.split('\n').next()?;
    let indent = line.len() - line.trim_start().len();
    let tab = line.get(..indent)?.find('\t')?;
    (indent < line.len()).then_some(next + tab)
}

/// Where a line has `{{` right behind `: ` or `- `, without quotes.
fn bare_expression(line: &str) -> Option<usize> {
    line.match_indices("{{").map(|(at, _)| at).find(|at| {
        let before = line.get(..*at).unwrap_or_default();
        let trimmed = before.trim_end();
        (trimmed.ends_with(':') || trimmed.ends_with('-'))
            && trimmed.len() < before.len()
            && !trimmed.contains(['"', '\''])
    })
}

/// The line around an offset, and the offset within it.
fn line_around(text: &str, at: usize) -> (&str, usize) {
    let begin = text.get(..at).unwrap_or_default().rfind('\n').map_or(0, |newline| newline + 1);
    let rest = text.get(begin..).unwrap_or_default();
    (rest.split('\n').next().unwrap_or_default(), at - begin)
}

fn place(text: &str, file: u32, at: usize) -> Span {
    let mut at = at.min(text.len());
    // The end of the file is best shown at the end of its last line.
    if at == text.len() {
        at = text.trim_end().len();
    }
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = text.get(..at).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let (_, offset) = line_around(text, at);
    let column = before.get(at - offset..).unwrap_or_default().chars().count() + 1;
    // Files are at most 32 MiB.
    Span { file, line: line as u32, column: column as u32, start: at as u32, end: at as u32 + 1 }
}
