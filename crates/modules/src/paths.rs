//! Paths as Ansible's `path` type reads them.

use std::path::PathBuf;

/// Expands a leading `~` (the agent's own user) and `$VAR`, `${VAR}` from the agent's environment, as Python's
/// `os.path.expanduser(os.path.expandvars(path))` does: unknown variables stay as they are.
pub fn expand(text: &str) -> PathBuf {
    let text = expand_vars(text);
    let home = || std::env::var("HOME").ok().filter(|home| !home.is_empty());
    match text.strip_prefix('~') {
        Some("") => home().unwrap_or(text).into(),
        Some(rest) if rest.starts_with('/') => match home() {
            Some(home) => format!("{home}{rest}").into(),
            None => text.into(),
        },
        Some(rest) => {
            let (user, below) = rest.split_once('/').map_or((rest, ""), |(user, below)| (user, below));
            match crate::accounts::home_of(user) {
                Some(home) if below.is_empty() => home,
                Some(home) => home.join(below),
                None => text.into(),
            }
        }
        None => text.into(),
    }
}

/// Expands a leading `~` and variables, with the variables of a task before the agent's own.
pub fn expand_text(text: &str, environment: &[(String, String)]) -> String {
    let lookup = |name: &str| {
        let own = environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        own.or_else(|| std::env::var(name).ok())
    };
    let text = expand_with(text, &lookup);
    match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match lookup("HOME") {
            Some(home) => format!("{home}{rest}"),
            None => text,
        },
        Some(_) => expand(&text).to_string_lossy().into_owned(),
        None => text,
    }
}

/// Expands `$VAR` and `${VAR}` from the agent's environment.
pub fn expand_vars(text: &str) -> String {
    expand_with(text, &|name| std::env::var(name).ok())
}

fn expand_with(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, tail, written) = if let Some(inner) = after.strip_prefix('{') {
            match inner.split_once('}') {
                Some((name, tail)) => (name, tail, format!("${{{name}}}")),
                None => ("", after, "$".into()),
            }
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            (name, tail, format!("${name}"))
        };
        match lookup(name) {
            Some(value) if !name.is_empty() => out.push_str(&value),
            _ => out.push_str(&written),
        }
        rest = tail;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_home_and_variables() {
        let home = std::env::var("HOME").unwrap();
        assert_eq!(expand("~/a"), PathBuf::from(format!("{home}/a")));
        assert_eq!(expand("$HOME/a/${HOME}"), PathBuf::from(format!("{home}/a/{home}")));
        assert_eq!(expand("/a/$nope_x/${nope_x}$"), PathBuf::from("/a/$nope_x/${nope_x}$"));
        assert_eq!(expand("~root/x"), PathBuf::from("/root/x"));
        assert_eq!(expand("~no-such-user/x"), PathBuf::from("~no-such-user/x"));
    }
}
