//! YAML as Ansible reads it: version 1.1 scalars, merge keys, `!vault` and `!unsafe`, with the place of every key and
//! value.
//!
//! The tree is built from parser events rather than through serde: spans, tags, duplicate keys and "this was a bare
//! `{{ x }}`" are all gone by the time a deserializer would see them.

mod build;
mod explain;
mod scalar;

use std::path::Path;
use std::sync::Arc;

use debark_value::{Map, Value};

pub(crate) use scalar::inert;

use crate::diagnostic::Diagnostic;
use crate::source::{SourceMap, Span};

/// How deep collections may nest.
pub const MAX_DEPTH: usize = 128;

/// How many nodes aliases and merge keys may add to a file.
pub const MAX_ALIASED: usize = 200_000;

/// Opens vault texts.
pub trait Decrypt: Send + Sync {
    /// The plaintext of a vault text, header line included. What is inside counts as secret from then on: keeping
    /// note of it is the implementation's matter.
    ///
    /// # Errors
    /// There is no password, none fits, or the text is damaged.
    fn decrypt(&self, vault: &[u8]) -> Result<Vec<u8>, DecryptError>;

    /// As [`Decrypt::decrypt`], of a text that has a name: whoever is asked for a passphrase is told it.
    ///
    /// # Errors
    /// As [`Decrypt::decrypt`].
    fn decrypt_named(&self, vault: &[u8], _: &str) -> Result<Vec<u8>, DecryptError> {
        self.decrypt(vault)
    }

    /// Why a single value is better left encrypted until it is used: there is no password that could be for it.
    fn closed(&self, _: &[u8]) -> Option<String> {
        None
    }
}

/// Why a vault text stays closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecryptError {
    /// One lower-case sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Has no password: every vault text is an error.
pub struct NoVault;

impl Decrypt for NoVault {
    fn decrypt(&self, _: &[u8]) -> Result<Vec<u8>, DecryptError> {
        Err(DecryptError {
            message: "this is encrypted, and nothing that opens it was given".into(),
            hint: Some("give `--vault-password-file`, `--ask-vault-pass` or `--age-identity`".into()),
        })
    }
}

/// Whether text or a file's content is encrypted, by ansible-vault or by age.
pub fn is_vault(bytes: &[u8]) -> bool {
    bytes.starts_with(b"$ANSIBLE_VAULT;") || debark_age::is_sealed(bytes)
}

/// A file that is encrypted as a whole and is no text at that: nothing if it is another.
///
/// # Errors
/// It cannot be opened, or holds no text.
pub(crate) fn load_binary(
    sources: &SourceMap,
    path: &Path,
    vault: &dyn Decrypt,
) -> Result<Option<u32>, Diagnostic> {
    let bytes = crate::source::read_bytes(path, crate::source::MAX_BYTES)?;
    if !debark_age::is_sealed(&bytes) || debark_age::is_armored(&bytes) {
        return Ok(None);
    }
    let name = path.display().to_string();
    let plain = vault
        .decrypt_named(&bytes, &name)
        .map_err(|error| Diagnostic::error(error.message).maybe_hint(error.hint))?;
    let text = String::from_utf8(plain)
        .map_err(|_| Diagnostic::error(format!("{name} holds something other than UTF-8 text")))?;
    Ok(Some(sources.add(path, &text, true)))
}

/// A YAML node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it is.
    pub span: Span,
    /// A tag that matters.
    pub tag: Option<Tag>,
    /// What it is.
    pub kind: Kind,
}

/// A tag that Ansible knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// `!vault`; the scalar is the plaintext already.
    Vault,
    /// `!unsafe`: never a template.
    Unsafe,
}

/// The three kinds of node.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A scalar by YAML 1.1's rules.
    Scalar(Value, Style),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping in the order of the source, each key once.
    Map(Vec<(Key, Node)>),
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single or double quotes.
    Quoted,
    /// `|` or `>`.
    Block,
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its text; `1:` and `true:` are keys `1` and `True`.
    pub name: Arc<str>,
    /// Where it is.
    pub span: Span,
}

impl Node {
    /// A scalar that is in no file.
    pub fn scalar(value: impl Into<Value>, span: Span) -> Self {
        Self { span, tag: None, kind: Kind::Scalar(value.into(), Style::Plain) }
    }

    /// The text, if this is a text scalar.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(value, _) => value.as_str(),
            _ => None,
        }
    }

    /// The items, if this is a sequence.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a mapping.
    pub fn as_map(&self) -> Option<&[(Key, Node)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry of that name, if this is a mapping that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, node)| node)
    }

    /// The entry of that name with its key, if this is a mapping that has it.
    pub fn entry(&self, name: &str) -> Option<&(Key, Node)> {
        self.as_map()?.iter().find(|(key, _)| &*key.name == name)
    }

    /// Whether this is an empty or null scalar.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(Value::Null, _))
    }

    /// What this is, in a user's words.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(Value::Null, _) => "nothing",
            Kind::Scalar(Value::Bool(_), _) => "a boolean",
            Kind::Scalar(Value::Int(_) | Value::Float(_), _) => "a number",
            Kind::Scalar(..) => "text",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The value. `!unsafe` text comes out as a template that renders to just that text.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(Value::Str(text), _) if self.tag == Some(Tag::Unsafe) => {
                scalar::inert(text).map_or_else(|| Value::Str(text.clone()), Value::from)
            }
            Kind::Scalar(value, _) => value.clone(),
            Kind::Seq(items) => Value::from(items.iter().map(Self::to_value).collect::<Vec<_>>()),
            Kind::Map(_) => Value::from(self.to_map()),
        }
    }

    /// The entries as values; empty if this is no mapping.
    pub fn to_map(&self) -> Map {
        let entries = self.as_map().unwrap_or_default();
        entries.iter().map(|(key, node)| (key.name.clone(), node.to_value())).collect()
    }

    /// Where the character at byte `offset` of this scalar's text is in the file, if that is certain: text without
    /// escapes on one line.
    pub fn span_within(&self, offset: usize, len: usize) -> Option<Span> {
        let Kind::Scalar(Value::Str(text), style) = &self.kind else { return None };
        let quotes = match style {
            Style::Plain => 0,
            Style::Quoted => 1,
            Style::Block => return None,
        };
        let before = text.get(..offset)?;
        // With an escape or a folded line, text and source differ in length.
        let same = (self.span.end - self.span.start) as usize == text.len() + 2 * quotes;
        same.then(|| self.span.within(offset + quotes, before.chars().count() + quotes, len))
    }
}

/// What a file held.
#[derive(Debug)]
pub struct Parsed {
    /// Its documents that hold anything.
    pub documents: Vec<Node>,
    /// Duplicate keys and the like.
    pub warnings: Vec<Diagnostic>,
}

impl Parsed {
    /// The only document, or nothing for a file without any.
    ///
    /// # Errors
    /// There are several.
    pub fn single(mut self) -> Result<(Option<Node>, Vec<Diagnostic>), Diagnostic> {
        if let Some(second) = self.documents.get(1) {
            return Err(Diagnostic::error("a second YAML document starts here, and only one is read")
                .at(second.span)
                .hint("remove the `---` before it, or move it to a file of its own"));
        }
        Ok((self.documents.pop(), self.warnings))
    }
}

/// Reads a YAML file. One that is encrypted as a whole is opened first, and never quoted in diagnostics.
///
/// # Errors
/// It cannot be read or decrypted, is no YAML, or is beyond the limits.
pub fn load(sources: &SourceMap, path: &Path, vault: &dyn Decrypt) -> Result<(u32, Parsed), Diagnostic> {
    let mut file = match sources.load(path) {
        Ok(file) => file,
        Err(error) => load_binary(sources, path, vault)?.ok_or(error)?,
    };
    let Some(source) = sources.get(file) else {
        return Err(Diagnostic::error(format!("{} is not loaded", path.display())));
    };
    if is_vault(source.text.as_bytes()) {
        let refuse = |message: String| Diagnostic::error(message).at(Span::start_of(file));
        let plain = vault
            .decrypt_named(source.text.as_bytes(), &source.name)
            .map_err(|error| refuse(error.message).maybe_hint(error.hint))?;
        let text = String::from_utf8(plain)
            .map_err(|_| refuse(format!("{} holds something other than UTF-8 text", source.name)))?;
        file = sources.add(path, &text, true);
    }
    Ok((file, parse(sources, file, vault)?))
}

/// Parses a loaded file.
///
/// # Errors
/// It is no YAML, has an unknown tag or alias, a vault text that cannot be opened, or is beyond the limits.
pub fn parse(sources: &SourceMap, file: u32, vault: &dyn Decrypt) -> Result<Parsed, Diagnostic> {
    let Some(source) = sources.get(file) else {
        return Err(Diagnostic::error("this file is not loaded"));
    };
    explain::before_parsing(&source.text, file)?;
    build::build(&source.text, file, vault)
}

#[cfg(test)]
mod tests;
