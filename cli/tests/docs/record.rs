//! The record of what shows what (`docs/tests`): what it names is there.
//!
//! A page that says "shown by" is believed; a test that was renamed or dropped must not leave its promise behind. That the
//! test shows the promise, only a reader can tell.

use std::fs;
use std::path::Path;

use super::root;

/// What is wrong with a page, by line.
fn complaints(root: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        fenced ^= line.trim_start().starts_with("```");
        // Four spaces are an example, as on the page that explains the form.
        if fenced || !line.starts_with('|') {
            continue;
        }
        let cells = cells(line);
        let [_, shown] = cells.as_slice() else {
            wrong.push(format!("{number}: {} cells instead of two", cells.len()));
            continue;
        };
        if shown == "Shown by" || shown.chars().all(|c| "-: ".contains(c)) {
            continue;
        }
        wrong.extend(unshown(root, shown).into_iter().map(|complaint| format!("{number}: {complaint}")));
    }
    wrong
}

/// The cells of a row; a bar behind a backslash is part of its cell.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').replace("\\|", "\u{0}");
    let inner = inner.strip_suffix('|').unwrap_or(&inner);
    inner.split('|').map(|cell| cell.replace('\u{0}', "|").trim().to_owned()).collect()
}

/// What a cell names that is not there: each text in backticks is a path, or a function in the path before it.
fn unshown(root: &Path, cell: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut sources: Option<String> = None;
    for named in cell.split('`').skip(1).step_by(2) {
        if named.contains(['/', '.']) {
            let path = root.join(named);
            if path.exists() {
                sources = Some(source(&path));
            } else {
                wrong.push(format!("{named} does not exist"));
                // Its functions would be missed too, and say nothing more.
                sources = Some(String::new());
            }
        } else if let Some(text) = &sources {
            let defined = |after| text.contains(&format!("fn {named}{after}"));
            if !text.is_empty() && !defined('(') && !defined('<') {
                wrong.push(format!("there is no fn {named}"));
            }
        } else {
            wrong.push(format!("{named} stands behind no path"));
        }
    }
    if sources.is_none() {
        wrong.push("nothing shows it".into());
    }
    wrong
}

/// The text of a file, or of all Rust files below a directory.
fn source(path: &Path) -> String {
    if path.is_file() {
        return String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let relevant =
        entries.filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"));
    // A directory without any is one of playbooks, say: there is text, and no function in it.
    relevant.map(|path| source(&path)).fold("\n".to_owned(), |all, text| all + &text)
}

#[test]
fn what_the_record_names_is_there() {
    for entry in fs::read_dir(root().join("docs/tests")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let wrong = complaints(root(), &text);
        assert!(wrong.is_empty(), "{}:\n{}", path.display(), wrong.join("\n"));
    }
}

#[test]
fn wrong_names_in_a_record_are_found() {
    let page = "
| Promise | Shown by |
|---|---|
| A file and a directory | `cli/tests/docs.rs`: `root`, `pages`; `cli/tests/docs/`: `unshown` |
| A bench, and a \\| bar | `benches/peers` ([figures](../benchmarks.md)) |
| A name that is gone | `cli/tests/docs.rs`: `pages`, `gone`; `cli/tests/docs`: `pages` |
| Half a name | `cli/tests/docs.rs`: `page` |
| A path that is gone | `cli/tests/gone.rs`: `pages` |
| No path | `pages` |
| Nothing | by hand |
| One | too | many |

    | An example | `gone.rs` |
";
    let wrong = [
        "6: there is no fn gone",
        "6: there is no fn pages",
        "7: there is no fn page",
        "8: cli/tests/gone.rs does not exist",
        "9: pages stands behind no path",
        "9: nothing shows it",
        "10: nothing shows it",
        "11: 3 cells instead of two",
    ];
    assert_eq!(complaints(root(), page), wrong);
}
