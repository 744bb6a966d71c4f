//! The reference of the project file is what reading it goes by.

use std::path::Path;

const HEAD: &str = "# Project file

`debark.yml` describes a project: packages, environments, how to deploy. `debark init` writes a working one; the commands about releases
look for it here and in the directories above, or take `--project FILE`. `debark schema project` prints a JSON Schema for editors.

Paths begin at the file's directory. Durations are written as `500ms`, `30s`, `5m`, `1h30m`, `2d`. Everything that is wrong is told at
once, with its place and what to do. This page is made from the tables that reading goes by.
";

fn reference() -> String {
    let mut text = HEAD.to_owned();
    for (what, keys) in debark_project::schema::keys() {
        let mut title = what.replace('`', "");
        if let Some(first) = title.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        text.push_str(&format!("\n## {title}\n\n| key | |\n|---|---|\n"));
        for (name, doc) in keys {
            text.push_str(&format!("| `{name}` | {doc} |\n"));
        }
    }
    text
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/project-file.md");
    let text = reference();
    if std::env::var_os("INSTA_UPDATE").is_some_and(|value| value == "always") {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "write {} anew: INSTA_UPDATE=always cargo test -p debark-project", path.display());
}
