//! Lookups of files.

use std::path::{Path, PathBuf};

use debark_playbook::vault::is_vault;
use debark_value::{Map, Value};

use super::Around;

fn places(name: &str, around: Around<'_>) -> Vec<PathBuf> {
    places_in("files", name, around)
}

fn places_in(subdirectory: &str, name: &str, around: Around<'_>) -> Vec<PathBuf> {
    if Path::new(name).is_absolute() {
        return vec![name.into()];
    }
    // Beside a role's files stand those beside its tasks.
    let tasks = around.role_path.map(|role| role.join("tasks"));
    let roots = around.role_path.into_iter().chain(tasks.as_deref()).chain([around.playbook_dir]);
    roots.flat_map(|root| [root.join(subdirectory).join(name), root.join(name)]).collect()
}

/// A file's text; blanks at its end go unless `rstrip=false`.
pub(super) fn file(term: &str, kwargs: &Map, around: Around<'_>) -> Result<Value, String> {
    let text = read(term, around)?;
    let is = |name: &str, default: bool| kwargs.get(name).map_or(default, Value::truthy);
    let text = if is("rstrip", true) { text.trim_end() } else { &text };
    Ok(Value::from(if is("lstrip", false) { text.trim_start() } else { text }))
}

/// A file's text, decrypted if it is a vault.
pub(super) fn read(term: &str, around: Around<'_>) -> Result<String, String> {
    let places = places(term, around);
    let path = places.iter().find(|path| path.is_file()).ok_or_else(|| missing(term, &places))?;
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match around.vault.filter(|_| is_vault(&bytes)) {
        Some(vault) => {
            let plain = vault.decrypt(&bytes, &path.display().to_string()).map_err(|error| error.message)?;
            Ok(String::from_utf8_lossy(&plain).into_owned())
        }
        None => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Files whose names match; the pattern is in the last part of the path only.
pub(super) fn fileglob(terms: &[String], around: Around<'_>) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    for term in terms {
        for place in places(term, around) {
            let (Some(directory), Some(pattern)) = (place.parent(), place.file_name()) else { continue };
            let Ok(entries) = std::fs::read_dir(directory) else { continue };
            let mut names: Vec<PathBuf> = entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|path| path.is_file())
                .filter(|path| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    debark_modules::fnmatch::matches(&pattern.to_string_lossy(), &name)
                })
                .collect();
            names.sort();
            if !names.is_empty() {
                found.extend(names.iter().map(|path| Value::from(path.to_string_lossy().into_owned())));
                break;
            }
        }
    }
    Ok(found)
}

/// The first file that exists; with `skip` none is no error.
pub(super) fn first_found(args: &[Value], kwargs: &Map, around: Around<'_>) -> Result<Vec<Value>, String> {
    let list = |value: Option<&Value>| -> Vec<String> {
        match value {
            Some(Value::List(items)) => items.iter().map(Value::to_string).collect(),
            Some(Value::Null) | None => Vec::new(),
            Some(other) => other.to_string().split([',', ';']).map(|part| part.trim().to_owned()).collect(),
        }
    };
    // `with_first_found` looks where the task's action has its files.
    let subdirectory = kwargs.get("_subdir").and_then(Value::as_str);
    let subdirectory = subdirectory.filter(|name| matches!(*name, "templates" | "vars")).unwrap_or("files");
    let mut tried = Vec::new();
    let mut skip = kwargs.get("skip").is_some_and(Value::truthy);
    let flat = args.iter().flat_map(|arg| arg.as_list().map_or_else(|| vec![arg.clone()], <[Value]>::to_vec));
    for term in flat.chain((!kwargs.is_empty()).then(|| Value::from(kwargs.clone()))) {
        let (files, paths) = match &term {
            Value::Map(options) => {
                skip |= options.get("skip").is_some_and(Value::truthy);
                (list(options.get("files")), list(options.get("paths")))
            }
            other => (vec![other.to_string()], Vec::new()),
        };
        let bases = if paths.is_empty() { vec![String::new()] } else { paths };
        for name in bases.iter().flat_map(|base| files.iter().map(move |file| Path::new(base).join(file))) {
            let candidates = places_in(subdirectory, &name.to_string_lossy(), around);
            if let Some(path) = candidates.iter().find(|path| path.exists()) {
                return Ok(vec![Value::from(path.to_string_lossy().into_owned())]);
            }
            tried.extend(candidates);
        }
    }
    if skip { Ok(Vec::new()) } else { Err(missing("none of the files", &tried)) }
}

fn missing(what: &str, tried: &[PathBuf]) -> String {
    let tried: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
    format!("{what} is not there; looked for {}", tried.join(", "))
}
