//! Choosing hosts: the pattern of a play, narrowed by `--limit`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::Inventory;
use super::data::HostId;
use super::pattern::{evaluate, split};
use crate::Diagnostic;
use crate::source::Span;

/// A retry file is a list of names.
const MOST_LIMIT: u64 = 64 << 20;

/// What `--limit` allows.
#[derive(Debug, Clone, Default)]
pub struct Limit(Option<Vec<String>>);

impl Limit {
    /// From the option's text; `@FILE` stands for the lines of a file (such as a retry file).
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn parse(text: Option<&str>) -> Result<Self, Diagnostic> {
        let Some(text) = text else { return Ok(Self(None)) };
        let mut parts = Vec::new();
        for part in split(text) {
            match part.strip_prefix('@') {
                Some(path) => {
                    let bytes = crate::source::read_bytes(Path::new(path), MOST_LIMIT)?;
                    let text = String::from_utf8(bytes)
                        .map_err(|_| Diagnostic::error(format!("limit file {path} is not UTF-8 text")))?;
                    parts.extend(
                        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned),
                    );
                }
                None => parts.push(part),
            }
        }
        Ok(Self(Some(parts)))
    }
}

/// The hosts of a pattern.
#[derive(Debug, Default)]
pub struct Selection {
    /// Their names in the order of the inventory, each once.
    pub hosts: Vec<Arc<str>>,
    /// Names that match nothing.
    pub warnings: Vec<Diagnostic>,
}

impl Inventory {
    /// The hosts that a pattern means, as far as the limit allows. `localhost` is there even if no source names it.
    ///
    /// # Errors
    /// A pattern that is malformed.
    pub fn select(&self, pattern: &str, limit: &Limit) -> Result<Selection, Diagnostic> {
        let mut warnings = Vec::new();
        let mut hosts = self.matching(&split(pattern), &mut warnings)?;
        if let Some(parts) = &limit.0 {
            let allowed: HashSet<HostId> = self.matching(parts, &mut warnings)?.into_iter().collect();
            hosts.retain(|id| allowed.contains(id));
        }
        let state = self.lock();
        Ok(Selection {
            hosts: hosts.into_iter().map(|id| state.data.host(id).name.clone()).collect(),
            warnings,
        })
    }

    /// What a play's `hosts` names and the inventory does not know, each at its place. Parts that are templates are
    /// left out.
    pub fn unmatched(&self, patterns: &[String], spans: &[Span]) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        let state = self.lock();
        for (pattern, span) in patterns.iter().zip(spans).filter(|(pattern, _)| !pattern.contains("{{")) {
            // What is malformed is refused when the play begins.
            let Ok(matched) = evaluate(&state.data, &split(pattern)) else { continue };
            warnings.extend(matched.warnings.into_iter().map(|warning| warning.or_at(*span)));
        }
        warnings
    }

    fn matching(&self, parts: &[String], warnings: &mut Vec<Diagnostic>) -> Result<Vec<HostId>, Diagnostic> {
        let mut state = self.lock();
        let mut matched = evaluate(&state.data, parts)?;
        if let Some(name) = matched.implicit.take() {
            let excluded = parts.iter().any(|part| part.strip_prefix(['!', '&']) == Some(&name));
            if !excluded {
                matched.hosts.push(state.data.add_implicit(&name));
            }
        }
        warnings.append(&mut matched.warnings);
        Ok(matched.hosts)
    }
}
