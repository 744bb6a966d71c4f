//! What is wrong with the user's files, and how it is shown: file, line, column, the source line, a caret, a hint.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::source::{Source, SourceMap, Span};

/// As many are shown at once; more would bury the first.
pub const MOST_SHOWN: usize = 20;

/// A longer source line is not quoted.
const LONGEST_LINE: usize = 240;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing can run.
    Error,
    /// It runs, and probably not as meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// One lower-case sentence that names the thing, without a full stop.
    pub message: String,
    /// Where; `None` when no source file is to blame.
    pub span: Option<Span>,
    /// What to say at the caret; empty: nothing.
    pub label: Box<str>,
    /// What to do about it.
    pub hint: Option<Box<str>>,
    /// Other places that matter, each with what is there.
    pub related: Vec<(Span, String)>,
}

impl Diagnostic {
    /// Something that prevents a run.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: Box::default(),
            hint: None,
            related: Vec::new(),
        }
    }

    /// Something that does not.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// With a place.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// With a place, unless it has a more exact one already.
    #[must_use]
    pub fn or_at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    /// With words at the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<Box<str>>) -> Self {
        self.label = label.into();
        self
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With advice, if there is any.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        if hint.is_some() {
            self.hint = hint.map(Into::into);
        }
        self
    }

    /// With another place that matters.
    #[must_use]
    pub fn related(mut self, span: Span, text: impl Into<String>) -> Self {
        self.related.push((span, text.into()));
        self
    }

    /// Whether it prevents a run.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// As one line: `file:line:column: message`.
    pub fn one_line(&self, sources: &SourceMap) -> String {
        match self.span {
            Some(span) => format!("{}: {}", sources.place(span), self.message),
            None => self.message.clone(),
        }
    }
}

/// Several diagnostics as text, errors first, at most [`MOST_SHOWN`], then how many more there are. `styled` adds
/// colours.
pub fn render(diagnostics: &[Diagnostic], sources: &SourceMap, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| diagnostic.severity);
    let mut out = String::new();
    for diagnostic in sorted.iter().take(MOST_SHOWN) {
        out.push_str(&renderer.render(&[group(diagnostic, sources)]));
        out.push_str("\n\n");
    }
    if let Some(more) = sorted.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        out.push_str(&format!("and {more} more\n"));
    } else if out.ends_with("\n\n") {
        out.pop();
    }
    out
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &SourceMap) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(printable(&diagnostic.message)));
    let places = diagnostic.span.iter().map(|span| (*span, &*diagnostic.label, AnnotationKind::Primary));
    let related =
        diagnostic.related.iter().map(|(span, text)| (*span, text.as_str(), AnnotationKind::Context));
    for (span, text, kind) in places.chain(related) {
        let Some(source) = sources.get(span.file) else { continue };
        group = match quoted(&source, span) {
            Some((line, range)) => {
                let annotation = kind.span(range);
                let annotation = if text.is_empty() { annotation } else { annotation.label(printable(text)) };
                group.element(
                    Snippet::source(line)
                        .line_start(span.line as usize)
                        .path(source.name.clone())
                        .annotation(annotation),
                )
            }
            None => group.element(
                Origin::path(source.name.clone()).line(span.line as usize).char_column(span.column as usize),
            ),
        };
    }
    match &diagnostic.hint {
        Some(hint) => group.element(Level::HELP.with_name("hint").message(printable(hint))),
        None => group,
    }
}

/// The line of a span and the span's part of it; nothing if it must not or cannot well be shown.
fn quoted(source: &Source, span: Span) -> Option<(String, std::ops::Range<usize>)> {
    if source.secret {
        return None;
    }
    let text = &*source.text;
    let start = span.start as usize;
    let before = text.get(..start)?;
    let begin = before.rfind('\n').map_or(0, |at| at + 1);
    let end = text.get(start..)?.find('\n').map_or(text.len(), |at| start + at);
    let line = text.get(begin..end)?.trim_end_matches('\r');
    if line.chars().count() > LONGEST_LINE || line.trim().is_empty() {
        return None;
    }
    let from = (start - begin).min(line.len());
    let shown = line.get(from..)?.trim_end().len();
    let len = (span.end as usize).saturating_sub(start).min(shown).max(usize::from(from < line.len()));
    let mut to = from + len;
    while !line.is_char_boundary(to) {
        to += 1;
    }
    Some((line.to_owned(), from..to))
}

/// The text without control characters, which could steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Nobody types a longer word by mistake.
const LONGEST: usize = 64;

/// The known word that was probably meant, if one is close.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let length = word.chars().count();
    let most = match length {
        0..=3 => 1,
        4..=5 => 2,
        _ => 3,
    };
    // Each comparison takes the product of the lengths, and an inventory may have a million names: none that cannot be near.
    let comparable =
        |candidate: &str| length <= LONGEST && candidate.chars().count().abs_diff(length) <= most;
    let own_words = words(&lower);
    known
        .into_iter()
        .filter_map(|candidate| {
            let distance = match comparable(candidate) {
                true => strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                false => usize::MAX,
            };
            // `update_cach` and `cache_update` alike: letters may be off, words may be swapped.
            let near = distance <= most && distance < candidate.chars().count();
            let same_words = candidate.len().abs_diff(lower.len()) <= 2
                && own_words == words(candidate)
                && !lower.is_empty();
            (near || same_words).then_some((if same_words { 0 } else { distance }, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split(['_', '-', '.', ' ']).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words
}

/// `did you mean ...?` for a word that is not known, if one that is known is close.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, known).map(|candidate| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn shows_place_line_caret_and_hint() {
        let sources = SourceMap::default();
        let file = sources.add(Path::new("site.yml"), "- hosts: all\n  taks: []\n", false);
        let span = Span { file, line: 2, column: 3, start: 15, end: 19 };
        let diagnostic =
            Diagnostic::error("a play has no keyword `taks`").at(span).hint("did you mean `tasks`?");
        insta::assert_snapshot!(render(&[diagnostic], &sources, false));
    }

    #[test]
    fn counts_what_it_does_not_show() {
        let many: Vec<_> = (0..25).map(|n| Diagnostic::error(format!("number {n}"))).collect();
        let text = render(&many, &SourceMap::default(), false);
        assert!(text.contains("number 19") && !text.contains("number 20"), "{text}");
        assert!(text.ends_with("and 5 more\n"), "{text}");
    }

    #[test]
    fn never_quotes_what_came_out_of_a_vault() {
        let sources = SourceMap::default();
        let file = sources.add(Path::new("vault.yml"), "password: hunter2\n", true);
        let span = Span { file, line: 1, column: 11, start: 10, end: 17 };
        let text = render(&[Diagnostic::error("bad").at(span)], &sources, false);
        assert!(text.contains("vault.yml:1:11") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn suggests_what_is_near() {
        let known = ["update_cache", "name", "state"];
        assert_eq!(closest("update_cahce", known), Some("update_cache"));
        assert_eq!(closest("cache_update", known), Some("update_cache"));
        assert_eq!(closest("nmae", known), Some("name"));
        assert_eq!(closest("upgrade", known), None);
        // 10,000 million steps, were they compared.
        let (long, other) = ("a".repeat(100_000), "b".repeat(100_000));
        assert_eq!(closest(&long, [&*other]), None);
    }
}
