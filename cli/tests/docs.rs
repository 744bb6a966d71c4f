//! The documentation says what is so: its commands are understood, its playbooks are read, its links lead somewhere.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used)]

#[path = "docs/record.rs"]
mod record;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All pages, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut paths = vec![root.join("README.md"), root.join("ARCHITECTURE.md"), root.join("docs/README.md")];
    for dir in ["docs/guide", "docs/reference", "docs/tests"] {
        paths.extend(std::fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().path()));
    }
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The code blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The words of a command line up to its comment, redirection or pipe.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => words.last_mut().unwrap().push(c),
            None if c == '\'' || c == '"' => quote = Some(c),
            None if "#|>".contains(c) => break,
            None if c == ' ' => words.push(String::new()),
            None => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn debark(words: &[String]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_debark")).args(words).env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn commands_in_the_documentation_are_understood() {
    let mut count = 0;
    for (path, text) in pages() {
        for line in blocks(&text, "sh").into_iter().flat_map(str::lines) {
            let all = words(line);
            let Some(("debark", rest)) = all.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
                continue;
            };
            // With --help nothing is run; what belongs to another program must not come before it.
            let own = rest.iter().position(|word| word == "--").unwrap_or(rest.len());
            let own = if rest.starts_with(&["lab".into(), "ssh".into()]) { 3.min(own) } else { own };
            let mut asked = rest[..own].to_vec();
            asked.push("--help".into());
            let output = debark(&asked);
            assert!(output.status.success(), "{}: {line}: {output:?}", path.display());
            // All flags are read, not only those before the first that is wrong.
            assert!(output.stderr.is_empty(), "{}: {line}: {output:?}", path.display());
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn playbooks_in_the_documentation_are_read() {
    let mut count = 0;
    for (path, text) in pages() {
        for block in blocks(&text, "yaml") {
            if !block.contains("hosts:") || block.contains("roles:") || block.contains("  hosts:\n") {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("site.yml"), block).unwrap();
            std::fs::write(dir.path().join("site.conf.j2"), "").unwrap();
            let site = dir.path().join("site.yml").to_string_lossy().into_owned();
            let output = debark(&["run", "-i", "h,", "--syntax-check", &site].map(str::to_owned));
            assert!(output.status.success(), "{}: {block}: {output:?}", path.display());
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    for (path, text) in pages() {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = path.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", path.display());
        }
    }
}
