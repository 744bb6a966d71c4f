//! From what the user names with `-i` to hosts: files, scripts, directories of both, lists of names.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::data::{Data, UNGROUPED};
use super::{Options, address, ini, script, yaml};
use crate::Diagnostic;
use crate::source::SourceMap;

/// Names in an inventory directory that are never read.
const IGNORED: [&str; 3] = ["host_vars", "group_vars", "vars_plugins"];
const IGNORED_ENDS: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];

/// Directories may hold directories, but not without end (a link may point upwards).
const DEEPEST: usize = 16;

/// Reads sources one after the other.
pub struct Loader<'a> {
    /// Where hosts and groups go.
    pub data: &'a mut Data,
    /// How to read.
    pub options: &'a Options,
    /// What is wrong, so far.
    pub errors: Vec<Diagnostic>,
    /// What is odd, so far.
    pub warnings: Vec<Diagnostic>,
}

impl Loader<'_> {
    /// Reads one source as the user names it.
    pub fn source(&mut self, text: &str) {
        let path = Path::new(text);
        if text.contains(',') && !path.exists() {
            return self.list(text);
        }
        match std::fs::metadata(path) {
            Ok(_) => self.path(path, 0),
            Err(error) => {
                let why = match error.kind() {
                    std::io::ErrorKind::NotFound => "there is no such file or directory".to_owned(),
                    _ => error.to_string(),
                };
                let error = Diagnostic::error(format!("cannot read inventory {text}: {why}"));
                let is_name = !text.contains('/') && address::parse(text).is_some();
                self.errors.push(if is_name {
                    error.hint(format!("for a host of that name, add a comma: -i {text},"))
                } else {
                    error
                });
            }
        }
    }

    fn list(&mut self, text: &str) {
        let source = self.add_source(text);
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            // Ranges too, which Ansible reads with another plugin.
            let added = address::expand(name).and_then(|(names, port)| {
                names.iter().try_for_each(|name| {
                    if self.data.host_id(name).is_some() {
                        return Ok(());
                    }
                    self.data.add_listed(name, UNGROUPED, port, source, None, &[]).map(|_| ())
                })
            });
            if let Err(why) = added {
                self.errors.push(Diagnostic::error(why));
            }
        }
    }

    fn path(&mut self, path: &Path, depth: usize) {
        if path.is_dir() {
            return self.directory(path, depth);
        }
        if let Err(error) = self.file(path) {
            let error = if depth > 0 && error.hint.is_none() {
                error.hint(
                    "a file in an inventory directory that is no inventory must end in .txt, .md or the like",
                )
            } else {
                error
            };
            self.errors.push(error);
        }
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        if depth > DEEPEST {
            self.errors.push(Diagnostic::error(format!(
                "inventory directories nest too deeply at {}",
                path.display()
            )));
            return;
        }
        let mut names: Vec<PathBuf> = match std::fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) => {
                self.errors
                    .push(Diagnostic::error(format!("cannot read directory {}: {error}", path.display())));
                return;
            }
        };
        names.sort();
        for entry in names {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let ignored = name.starts_with('.')
                || IGNORED.contains(&name.as_str())
                || IGNORED_ENDS.iter().any(|end| name.ends_with(end));
            if !ignored {
                self.path(&entry, depth + 1);
            }
        }
    }

    fn add_source(&mut self, name: &str) -> u32 {
        self.data.sources.push(name.to_owned());
        (self.data.sources.len() - 1) as u32
    }

    fn file(&mut self, path: &Path) -> Result<(), Diagnostic> {
        let source = self.add_source(&path.to_string_lossy());
        if is_script(path) {
            let reader = script::Reader {
                source,
                path: &absolute(path),
                sources: &self.options.sources,
                vault: &self.options.vault,
                timeout: self.options.script_timeout,
            };
            if reader.read(self.data)?.is_some() {
                return Ok(());
            }
        }
        let sources: &SourceMap = &self.options.sources;
        let mut file = match sources.load(path) {
            Ok(file) => file,
            Err(error) => crate::yaml::load_binary(sources, path, &*self.options.vault)?.ok_or(error)?,
        };
        let mut text = sources.get(file).map(|source| source.text.clone()).unwrap_or_default();
        let mut secret = sources.get(file).is_some_and(|source| source.secret);
        if crate::yaml::is_vault(text.as_bytes()) {
            let plain = self.options.vault.decrypt_text(text.as_bytes(), &path.display().to_string())?;
            file = sources.add(path, &plain, true);
            text = plain.as_str().into();
            secret = true;
        }
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("toml") => Err(Diagnostic::error(format!(
                "{} is a TOML inventory, which debark does not read",
                path.display()
            ))
            .hint("`ansible-inventory --list --yaml --export` turns it into YAML")),
            Some("yml" | "yaml" | "json") if !begins_with_section(&text) => self.yaml(source, file, secret),
            None if looks_like_yaml(&text) => {
                let before = self.data.clone();
                self.yaml(source, file, secret).or_else(|yaml| {
                    *self.data = before;
                    // It may still be INI; if it is neither, what YAML has to say is more to the point.
                    ini::read(self.data, &text, source, file, secret).map_err(|_| yaml)
                })
            }
            _ => ini::read(self.data, &text, source, file, secret),
        }
    }

    fn yaml(&mut self, source: u32, file: u32, secret: bool) -> Result<(), Diagnostic> {
        let parsed = crate::yaml::parse(&self.options.sources, file, &*self.options.vault)?;
        let (node, warnings) = parsed.single()?;
        self.warnings.extend(warnings);
        if let Some(node) = node {
            self.warnings.extend(yaml::read(self.data, &node, source, secret)?);
        }
        Ok(())
    }
}

fn is_script(path: &Path) -> bool {
    let executable =
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    executable
        || crate::source::read_bytes(path, crate::source::MAX_BYTES)
            .is_ok_and(|bytes| bytes.starts_with(b"#!"))
}

/// The path from the root, not following links.
pub fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn significant(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

fn begins_with_section(text: &str) -> bool {
    significant(text).is_some_and(|line| line.starts_with('[') && line.ends_with(']'))
}

/// A file without an extension: a mapping in YAML or JSON starts unlike any INI inventory.
fn looks_like_yaml(text: &str) -> bool {
    significant(text).is_some_and(|line| {
        let line = line.split(" #").next().unwrap_or_default().trim_end();
        line.starts_with("---")
            || line.starts_with(['{', '%', '"', '\''])
            || line.ends_with(':')
            || line.contains(": ")
    })
}
