//! `-e`: variables on the command line, as `key=value` words, YAML, JSON or `@file`.

use std::path::Path;

use super::files;
use crate::Diagnostic;
use crate::inventory::data::{Var, Vars};
use crate::source::SourceMap;
use crate::yaml::Decrypt;

/// The variables of all `-e` options together; later ones win.
///
/// # Errors
/// Everything that is wrong with them.
pub fn parse(options: &[String], sources: &SourceMap, vault: &dyn Decrypt) -> Result<Vars, Vec<Diagnostic>> {
    let mut vars = Vars::new();
    let mut errors = Vec::new();
    for option in options {
        match one(option, sources, vault) {
            Ok(more) => vars.extend(more),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(vars) } else { Err(errors) }
}

fn one(option: &str, sources: &SourceMap, vault: &dyn Decrypt) -> Result<Vars, Diagnostic> {
    let text = option.trim();
    if let Some(path) = text.strip_prefix('@') {
        return files::read(sources, Path::new(path), vault);
    }
    match text.chars().next() {
        None => Ok(Vars::new()),
        Some('/' | '.') => Err(Diagnostic::error(format!("`-e {text}` is neither a variable nor YAML"))
            .hint(format!("for a file of variables, put an @ before its name: -e @{text}"))),
        Some('{' | '[') => {
            let file = sources.add("(command line, -e)".as_ref(), text, false);
            match crate::yaml::parse(sources, file, vault)?.single()?.0 {
                Some(node) => files::of_node(&node, false, "-e"),
                None => Ok(Vars::new()),
            }
        }
        Some(_) => pairs(text),
    }
}

/// `key=value` words; values are text, and quotes hold words together.
fn pairs(text: &str) -> Result<Vars, Diagnostic> {
    let mut vars = Vars::new();
    for word in words(text) {
        let Some((key, value)) = word.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            return Err(Diagnostic::error(format!("`-e {text}`: `{word}` is not key=value"))
                .hint("quote a value with spaces: -e 'motd=\"hello world\"'"));
        };
        let value = value.trim();
        let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        vars.insert(key.trim().into(), Var { value: value.into(), span: None, secret: false });
    }
    Ok(vars)
}

/// Words, with quotes left in them; `{{ }}` holds words together as well.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quote, mut depth) = (None, 0usize);
    let mut before = ' ';
    for c in text.chars() {
        match (quote, c) {
            (None, '"' | '\'') if before != '\\' => quote = Some(c),
            (Some(open), c) if open == c && before != '\\' => quote = None,
            (None, '{') if before == '{' => depth += 1,
            (None, '}') if before == '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match words.last_mut() {
            Some(word) if !(c.is_whitespace() && quote.is_none() && depth == 0) => word.push(c),
            _ => words.push(String::new()),
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::NoVault;

    fn shown(options: &[&str]) -> String {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let vars = parse(&options, &SourceMap::default(), &NoVault).unwrap();
        vars.iter().map(|(key, var)| format!("{key}={:?};", var.value.to_string())).collect()
    }

    #[test]
    fn words_yaml_and_files() {
        assert_eq!(shown(&["a=1 b='x y' c={{ d + 1 }}"]), r#"a="1";b="x y";c="{{ d + 1 }}";"#);
        assert_eq!(shown(&[r#"{"a": [1, 2], b: yes}"#, "a=3"]), r#"a="3";b="True";"#);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.yml");
        std::fs::write(&path, "k: v\n").unwrap();
        assert_eq!(shown(&[&format!("@{}", path.display())]), r#"k="v";"#);
        let wrong =
            parse(&["vars.yml".into(), "./vars.yml".into()], &SourceMap::default(), &NoVault).unwrap_err();
        assert_eq!(wrong[0].message, "`-e vars.yml`: `vars.yml` is not key=value");
        assert!(wrong[1].hint.as_deref().unwrap().ends_with("-e @./vars.yml"));
    }
}
