use std::rc::Rc;

use super::*;
use crate::file_args::path_value;
use crate::plan::Action;
use crate::upstream::NoUpstream;
use crate::{Map, Value};

/// The file after the task, and the task's message.
fn run(before: &[u8], mut args: Map) -> (Vec<u8>, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, before).unwrap();
    args.insert("path".into(), path_value(&path));
    let host = Host::new(Rc::new(NoUpstream));
    let planned = plan(Params::parse(&args).unwrap(), &host).unwrap();
    assert_eq!(planned.result.get("rc"), Some(&Value::from(0)));
    let message = planned.result.get("msg").unwrap().to_text().unwrap();
    if let Action::Change(apply) = planned.action {
        apply(&host).unwrap();
    }
    (std::fs::read(&path).unwrap(), message)
}

fn edit(before: &str, args: Map) -> String {
    String::from_utf8(run(before.as_bytes(), args).0).unwrap()
}

#[test]
fn replaces_all_matches() {
    let args = map! { "regexp" => r"^(a)(\d)$", "replace" => r"\2\g<1>" };
    assert_eq!(run(b"a1\nb\na2", args.clone()), (b"1a\nb\n2a".to_vec(), "2 replacements made".into()));
    assert_eq!(run(b"1a\nb\n", args), (b"1a\nb\n".to_vec(), String::new()));
    assert_eq!(edit("x #c\ny\n", map! { "regexp" => r"\s*#.*$" }), "x\ny\n");
    assert_eq!(edit("a\n", map! { "regexp" => "(?P<w>a)", "replace" => r"\g<w>\n\g<w>" }), "a\na\n");
}

#[test]
fn the_same_text_again_is_no_change() {
    assert_eq!(run(b"a\n", map! { "regexp" => "a", "replace" => "a" }).1, "");
}

#[test]
fn empty_matches_are_as_in_python() {
    assert_eq!(edit("abxd", map! { "regexp" => "x*", "replace" => "-" }), "-a-b--d-");
    assert_eq!(edit("a\nö\n", map! { "regexp" => "^", "replace" => "#" }), "#a\n#ö\n#");
}

#[test]
fn only_between_after_and_before() {
    let text = "x\n[a]\nx\nx\n[b]\nx\n[b]\nx\n";
    let x = |more: Map| Map::from_iter(map! { "regexp" => "^x$", "replace" => "y" }.into_iter().chain(more));
    assert_eq!(edit(text, x(map! { "after" => r"\[a\]" })), "x\n[a]\ny\ny\n[b]\ny\n[b]\ny\n");
    assert_eq!(edit(text, x(map! { "before" => r"\[b\]" })), "y\n[a]\ny\ny\n[b]\ny\n[b]\nx\n");
    let both = x(map! { "after" => r"(?m)^\[(a)\]$", "before" => r"\[b\]" });
    assert_eq!(edit(text, both), "x\n[a]\ny\ny\n[b]\nx\n[b]\nx\n");
    let (same, message) = run(text.as_bytes(), x(map! { "after" => "no", "before" => "thing" }));
    assert_eq!(same, text.as_bytes());
    assert!(message.ends_with("did not match the given file: no(?P<subsection>.*?)thing"), "{message}");
}

#[test]
fn encodings() {
    let latin = map! { "regexp" => "ä", "replace" => "ö", "encoding" => "ISO-8859-1" };
    assert_eq!(run(b"\xe4\xff\n", latin).0, b"\xf6\xff\n");
    assert_eq!(run(b"\xff\xe4a\n", map! { "regexp" => "a", "replace" => "ä" }).0, b"\xff\xe4\xc3\xa4\n");
    let wide = map! { "regexp" => "a", "replace" => "b", "encoding" => "utf-16-le" };
    assert_eq!(run(b"a\0\n\0", wide).0, b"b\0\n\0");
    assert!(Encoding::Ascii.encode("ä").is_err());
    assert!(Encoding::named("klingon").is_err());
}

#[test]
fn a_missing_file_is_an_error_and_open_in_a_check() {
    let host = Host::new(Rc::new(NoUpstream));
    let planned = |path: &str| {
        let params = Params::parse(&map! { "path" => path, "regexp" => "a" }).unwrap();
        plan(params, &host)
    };
    assert_eq!(planned("/nonexistent/f").err().unwrap().result.get("rc"), Some(&257.into()));
    assert_eq!(planned("/tmp").err().unwrap().result.get("rc"), Some(&256.into()));
    host.options.borrow_mut().check = true;
    host.options.borrow_mut().foreseen = true;
    assert!(matches!(planned("/nonexistent/f").unwrap().action, Action::Run(_)));
}
