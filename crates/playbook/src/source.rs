//! Source files: loaded once, kept for the snippets in diagnostics, known by number in spans.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::diagnostic::Diagnostic;

/// The largest text file that is read: far beyond any playbook, far below what would exhaust memory.
pub const MAX_BYTES: u64 = 32 << 20;

/// A stretch of a source file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Number of the file in its [`SourceMap`].
    pub file: u32,
    /// Line of the start, from 1.
    pub line: u32,
    /// Column of the start in characters, from 1.
    pub column: u32,
    /// Byte offset of the start.
    pub start: u32,
    /// Byte offset behind the end.
    pub end: u32,
}

impl Span {
    /// The place as the agent knows it.
    pub fn wire(self) -> debark_wire::Span {
        debark_wire::Span { file: self.file, line: self.line, column: self.column }
    }

    /// The very start of a file.
    pub fn start_of(file: u32) -> Self {
        Self { file, line: 1, column: 1, start: 0, end: 0 }
    }

    /// A part of a one-line text that starts here: `offset` and `len` in bytes, `chars` the offset in characters.
    #[must_use]
    pub fn within(self, offset: usize, chars: usize, len: usize) -> Self {
        let start = self.start.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX));
        Self {
            column: self.column.saturating_add(u32::try_from(chars).unwrap_or(u32::MAX)),
            start,
            end: start.saturating_add(u32::try_from(len).unwrap_or(u32::MAX)),
            ..self
        }
    }
}

/// A source file.
#[derive(Debug)]
pub struct Source {
    /// Where it is on disk; empty for text that is not from a file.
    pub path: PathBuf,
    /// What a user would call it.
    pub name: String,
    /// Its text, without a byte order mark.
    pub text: Arc<str>,
    /// Whether it came out of a vault: then it is never quoted.
    pub secret: bool,
}

#[derive(Default)]
struct Inner {
    files: Vec<Arc<Source>>,
    by_path: HashMap<PathBuf, u32>,
}

/// All source files of a run. Shared between threads; numbers stay valid.
#[derive(Default)]
pub struct SourceMap {
    inner: RwLock<Inner>,
}

impl std::fmt::Debug for SourceMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceMap({} files)", self.len())
    }
}

impl SourceMap {
    /// The file's number; it is read if it was not yet.
    ///
    /// # Errors
    /// It cannot be read, is larger than [`MAX_BYTES`], or is not UTF-8 text.
    pub fn load(&self, path: &Path) -> Result<u32, Diagnostic> {
        if let Some(file) = self.read(|inner| inner.by_path.get(path).copied()) {
            return Ok(file);
        }
        let text = match read_text(path) {
            Ok(text) => text,
            Err(Unreadable::No(error)) => return Err(error),
            Err(Unreadable::Garbled(bytes, at)) => return Err(self.garbled(path, &bytes, at)),
        };
        Ok(self.insert(Source { path: path.to_owned(), name: display_name(path), text, secret: false }))
    }

    /// Adds text that is known already (decrypted, generated, from a script) under a name.
    pub fn add(&self, path: &Path, text: &str, secret: bool) -> u32 {
        let text = Arc::from(text.strip_prefix('\u{feff}').unwrap_or(text));
        self.insert(Source { path: path.to_owned(), name: display_name(path), text, secret })
    }

    /// Files may have changed: they are read anew when they are loaded next. Numbers given so far stay valid.
    pub fn forget(&self) {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).by_path.clear();
    }

    /// The file of that number.
    pub fn get(&self, file: u32) -> Option<Arc<Source>> {
        self.read(|inner| inner.files.get(file as usize).cloned())
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.read(|inner| inner.files.len())
    }

    /// Whether nothing was loaded yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `file:line:column` as a user reads it.
    pub fn place(&self, span: Span) -> String {
        let name = self.get(span.file).map_or_else(String::new, |source| source.name.clone());
        format!("{name}:{}:{}", span.line, span.column)
    }

    /// Shows where a file stops being UTF-8: its line is quoted with marks in place of what cannot be shown.
    fn garbled(&self, path: &Path, bytes: &[u8], at: usize) -> Diagnostic {
        let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or_default());
        let (line, column) =
            (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default());
        let name = display_name(path);
        // Quoting a large binary file would cost more than it tells.
        let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(at + 256)).unwrap_or_default());
        let file = self.add_quoted(Source {
            path: path.to_owned(),
            name: name.clone(),
            text: text.into(),
            secret: false,
        });
        let start = u32::try_from(at).unwrap_or(u32::MAX);
        let column = u32::try_from(column.chars().count() + 1).unwrap_or(u32::MAX);
        let span =
            Span { file, line: u32::try_from(line).unwrap_or(u32::MAX), column, start, end: start + 1 };
        Diagnostic::error(format!(
            "{name} is not UTF-8 text: no UTF-8 text has the byte {:#04x} here",
            bytes.get(at).copied().unwrap_or_default()
        ))
        .at(span)
        .hint("save it as UTF-8; a binary file cannot be read here")
    }

    /// Keeps a source only for what is said about it: whoever loads its path reads it anew.
    fn add_quoted(&self, source: Source) -> u32 {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.files.push(Arc::new(source));
        inner.files.len() as u32 - 1
    }

    fn insert(&self, source: Source) -> u32 {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        // Fewer than 2^32 files: each holds memory of its own.
        let file = inner.files.len() as u32;
        inner.by_path.insert(source.path.clone(), file);
        inner.files.push(Arc::new(source));
        file
    }

    fn read<T>(&self, f: impl FnOnce(&Inner) -> T) -> T {
        f(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The directory of a file, from the root: what is found from there is named alike wherever debark was started.
pub fn directory_of(path: &Path) -> PathBuf {
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned())
}

/// Files below the current directory are called as seen from there.
fn display_name(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path);
    let here = std::env::current_dir().ok().filter(|here| here.parent().is_some());
    let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    path.display().to_string()
}

enum Unreadable {
    No(Diagnostic),
    /// It has a byte that no UTF-8 text has, at that offset.
    Garbled(Vec<u8>, usize),
}

fn read_text(path: &Path) -> Result<Arc<str>, Unreadable> {
    let bytes = read_bytes(path, MAX_BYTES).map_err(Unreadable::No)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let name = display_name(path);
        return Err(Unreadable::No(
            Diagnostic::error(format!("{name} is UTF-16 text")).hint("save it as UTF-8"),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Arc::from(text.strip_prefix('\u{feff}').unwrap_or(&text))),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            Err(Unreadable::Garbled(error.into_bytes(), at))
        }
    }
}

/// Reads a whole file that may have at most `limit` bytes.
///
/// # Errors
/// It cannot be read, is no regular file or pipe, or is longer.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Diagnostic> {
    use std::io::Read;
    let name = display_name(path);
    let wrong = |error: std::io::Error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "you may not read it".to_owned(),
            std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
            _ => error.to_string(),
        };
        Diagnostic::error(format!("cannot read {name}: {why}"))
    };
    let file = std::fs::File::open(path).map_err(wrong)?;
    let too_long = |size: u64| {
        Diagnostic::error(format!(
            "{name} is too large: {} MiB, and {} MiB is the most that is read",
            size.div_ceil(1 << 20),
            limit >> 20
        ))
    };
    let size = file.metadata().map_err(wrong)?.len();
    if size > limit {
        return Err(too_long(size));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // A pipe or a file in /proc has no size beforehand.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > limit {
        return Err(too_long(bytes.len() as u64));
    }
    Ok(bytes)
}
