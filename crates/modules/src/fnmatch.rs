//! Shell patterns as Python's `fnmatch` and `glob` read them: `*`, `?`, `[abc]`, `[!abc]`, no escapes.

use debark_value::Order;
use std::path::{Path, PathBuf};

/// Whether the text has a character that makes it a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether the whole text matches the pattern.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // One position to return to is enough: a later `*` makes earlier ones irrelevant, so time stays quadratic.
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                back = Some((p, t));
                p += 1;
                continue;
            }
            Some(_) => text.get(t).and_then(|c| match_one(&pattern, p, *c)),
            None => None,
        };
        match (step, back) {
            (Some(next), _) => {
                p = next;
                t += 1;
            }
            (None, Some((star, from))) => {
                back = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|c| *c == '*'))
}

/// Where the pattern goes on if its element at `at` takes the character.
fn match_one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => match class(pattern, at) {
            Some((items, negated, next)) => (in_class(items, c) != negated).then_some(next),
            None => (c == '[').then_some(at + 1),
        },
        plain => (*plain == c).then_some(at + 1),
    }
}

/// The items of the class that opens at `at`, whether it is negated, and where the pattern goes on.
fn class(pattern: &[char], at: usize) -> Option<(&[char], bool, usize)> {
    let negated = pattern.get(at + 1) == Some(&'!');
    let start = at + 1 + usize::from(negated);
    // A `]` that comes first is an item.
    let length = pattern.get(start + 1..)?.iter().position(|c| *c == ']')? + 1;
    Some((pattern.get(start..start + length)?, negated, start + length + 1))
}

fn in_class(mut items: &[char], c: char) -> bool {
    loop {
        items = match items {
            [] => return false,
            [low, '-', high, rest @ ..] => {
                if (low..=high).contains(&&c) {
                    return true;
                }
                rest
            }
            [one, rest @ ..] => {
                if *one == c {
                    return true;
                }
                rest
            }
        };
    }
}

/// The existing paths that match, sorted. Hidden names need a pattern that starts with a dot.
pub fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        if !is_pattern(&name) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let list = |dir: PathBuf| {
            let here = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.clone() };
            let entries = std::fs::read_dir(here).into_iter().flatten().filter_map(Result::ok);
            let names = entries.map(|entry| entry.file_name()).collect::<Vec<_>>();
            names.into_iter().map(move |name| dir.join(name))
        };
        found = found
            .into_iter()
            .flat_map(list)
            .filter(|path| {
                let last = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                matches(&name, &last) && (!last.starts_with('.') || name.starts_with('.'))
            })
            .collect();
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.order();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_python_does() {
        for (pattern, text) in [
            ("a*c", "abbc"),
            ("*", ""),
            ("1.*", "1.2-3"),
            ("[a-c]x", "bx"),
            ("[!a]", "b"),
            ("[]]", "]"),
            ("a?", "ab"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a*c", "ab"), ("?", ""), ("[a-c]x", "dx"), ("[!a]", "a"), ("", "a"), ("a", "")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!(matches("[a", "[a"));
        assert!(!matches(&"*a".repeat(40), &"a".repeat(2000).replace('a', "b")));
    }

    #[test]
    fn globs_existing_paths() {
        assert_eq!(glob(Path::new("/etc/pass[w]d")), [PathBuf::from("/etc/passwd")]);
        assert!(glob(Path::new("/etc/no-such-*")).is_empty());
        assert_eq!(glob(Path::new("/etc/passwd")).len(), 1);
    }
}
