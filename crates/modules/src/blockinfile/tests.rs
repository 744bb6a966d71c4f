use std::rc::Rc;

use super::*;
use crate::file_args::path_value;
use crate::plan::Action;
use crate::upstream::NoUpstream;

/// The file after the task, and the task's message; planned again, the task must find nothing to do.
fn run(before: Option<&str>, mut args: Map) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/f");
    if let Some(before) = before {
        std::fs::create_dir(dir.path().join("new")).unwrap();
        std::fs::write(&path, before).unwrap();
    }
    args.insert("path".into(), path_value(&path));
    let host = Host::new(Rc::new(NoUpstream));
    let planned = plan(Params::parse(&args).unwrap(), &host).unwrap();
    let message = planned.result.get("msg").unwrap().to_text().unwrap();
    if let Action::Change(apply) = planned.action {
        apply(&host).unwrap();
    }
    assert!(!plan(Params::parse(&args).unwrap(), &host).unwrap().changes());
    (std::fs::read_to_string(&path).unwrap_or_default(), message)
}

fn edit(before: &str, args: Map) -> String {
    run(Some(before), args).0
}

const X: &str = "# BEGIN ANSIBLE MANAGED BLOCK\nx\n# END ANSIBLE MANAGED BLOCK\n";

#[test]
fn goes_where_it_is_told() {
    let x = |more: Map| Map::from_iter(map! { "block" => "x" }.into_iter().chain(more));
    assert_eq!(edit("a\nb", x(map! {})), format!("a\nb\n{X}"));
    assert_eq!(edit("a\n", x(map! { "insertafter" => "EOF" })), format!("a\n{X}"));
    assert_eq!(edit("a\n", x(map! { "insertbefore" => "BOF" })), format!("{X}a\n"));
    assert_eq!(edit("a\na\nb\n", x(map! { "insertafter" => "^a$" })), format!("a\na\n{X}b\n"));
    assert_eq!(edit("a\nb\nb\n", x(map! { "insertbefore" => "^b" })), format!("a\nb\n{X}b\n"));
    assert_eq!(edit("a\n", x(map! { "insertafter" => "nope" })), format!("a\n{X}"));
    assert_eq!(edit("a\nö\nb\nc\n", x(map! { "insertafter" => r"(?m)ö\nb$" })), format!("a\nö\nb\n{X}c\n"));
    assert_eq!(edit("a\nb\nc\n", x(map! { "insertbefore" => r"(?m)^b\nc" })), format!("a\n{X}b\nc\n"));
    // A match that ends with the file's last newline.
    assert_eq!(edit("a\n", x(map! { "insertafter" => r"(?m)a\n" })), format!("a\n{X}"));
}

#[test]
fn replaces_the_block_where_it_is() {
    let old = "a\n# BEGIN ANSIBLE MANAGED BLOCK\nold\n# END ANSIBLE MANAGED BLOCK\nb\n";
    let args = map! { "block" => "x\n", "insertbefore" => "BOF" };
    assert_eq!(run(Some(old), args), (format!("a\n{X}b\n"), "Block inserted".into()));
    // Markers in the wrong order still enclose it.
    let turned = "# END ANSIBLE MANAGED BLOCK\n# BEGIN ANSIBLE MANAGED BLOCK\nb\n";
    assert_eq!(edit(turned, map! { "block" => "x" }), format!("{X}b\n"));
    assert_eq!(run(Some(&format!("{X}b\n")), map! { "block" => "x" }).1, "");
}

#[test]
fn markers_are_as_told() {
    let args = map! {
        "block" => "<p>", "marker" => "<!-- {mark} it -->", "marker_begin" => "from", "marker_end" => "to",
    };
    assert_eq!(edit("", args), "<!-- from it -->\n<p>\n<!-- to it -->\n");
}

#[test]
fn removes_the_block() {
    let with = format!("a\n{X}b\n");
    for args in [map! { "state" => "absent" }, map! { "block" => "" }] {
        assert_eq!(run(Some(&with), args), ("a\nb\n".into(), "Block removed".into()));
    }
    assert_eq!(run(Some("a\n"), map! { "state" => "absent" }), ("a\n".into(), String::new()));
    let (text, message) = run(None, map! { "state" => "absent", "create" => true });
    assert!(text.is_empty() && message.ends_with("/new/f not present"), "{message}");
}

#[test]
fn empty_lines_around() {
    let args =
        map! { "block" => "x", "prepend_newline" => true, "append_newline" => true, "insertafter" => "a" };
    assert_eq!(edit("a\nb\n", args.clone()), format!("a\n\n{X}\nb\n"));
    assert_eq!(edit("a\n\nb\n", args), format!("a\n\n{X}\nb\n"));
    let args = map! { "block" => "x", "prepend_newline" => true, "append_newline" => true };
    assert_eq!(edit("", args), X);
}

#[test]
fn makes_the_file_only_if_told() {
    assert_eq!(run(None, map! { "block" => "x", "create" => true }), (X.into(), "File created".into()));
    let mode = map! { "block" => "x", "create" => true, "mode" => "0600" };
    assert_eq!(run(None, mode).1, "File created and ownership, perms or SE linux context changed");
    let host = Host::new(Rc::new(NoUpstream));
    let failed = |path: &str| {
        let params = Params::parse(&map! { "path" => path, "block" => "x" }).unwrap();
        plan(params, &host).err().unwrap()
    };
    assert_eq!(failed("/nonexistent/f").result.get("rc"), Some(&257.into()));
    assert_eq!(failed("/tmp").result.get("rc"), Some(&256.into()));
}

#[test]
fn any_line_end_ends_a_line() {
    assert_eq!(lines("a\r\nb\rc\n\r\n\n\r"), ["a\r\n", "b\r", "c\n", "\r\n", "\n", "\r"]);
    assert_eq!(lines("\r\r\na\r"), ["\r", "\r\n", "a\r"]);
    assert!(lines("").is_empty());
}
