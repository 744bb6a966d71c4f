use std::rc::Rc;

use super::*;
use crate::Map;
use crate::plan::Action;
use crate::upstream::NoUpstream;

/// The file after the task; the task is planned again and must then find nothing to do.
fn edit(before: &str, mut args: Map) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, before).unwrap();
    args.insert("path".into(), path_value(&path));
    let host = Host::new(Rc::new(NoUpstream));
    if let Action::Change(apply) = plan(Params::parse(&args).unwrap(), &host).unwrap().action {
        apply(&host).unwrap();
    }
    assert!(!plan(Params::parse(&args).unwrap(), &host).unwrap().changes());
    std::fs::read_to_string(&path).unwrap()
}

#[test]
fn replaces_the_last_match_and_adds_at_the_end() {
    assert_eq!(edit("a=1\nb\na=2\n", map! { "regexp" => "^a=", "line" => "a=3" }), "a=1\nb\na=3\n");
    let first = map! { "regexp" => "^a=", "line" => "a=3", "firstmatch" => true };
    assert_eq!(edit("a=1\na=2\n", first), "a=3\na=2\n");
    assert_eq!(edit("a", map! { "line" => "b" }), "a\nb\n");
    assert_eq!(edit("", map! { "line" => "b" }), "b\n");
}

#[test]
fn makes_the_directories_of_a_file_that_it_makes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/f");
    let args = map! { "path" => path_value(&path), "line" => "x", "create" => true };
    let host = Host::new(Rc::new(NoUpstream));
    let Action::Change(apply) = plan(Params::parse(&args).unwrap(), &host).unwrap().action else {
        panic!("must change");
    };
    apply(&host).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
}

#[test]
fn inserts_where_it_is_told() {
    assert_eq!(edit("a\nb\n", map! { "line" => "x", "insertafter" => "^a" }), "a\nx\nb\n");
    assert_eq!(edit("a\nb\n", map! { "line" => "x", "insertbefore" => "^b" }), "a\nx\nb\n");
    assert_eq!(edit("a\n", map! { "line" => "x", "insertbefore" => "BOF" }), "x\na\n");
    assert_eq!(edit("a\n", map! { "line" => "x", "insertafter" => "nope" }), "a\nx\n");
}

#[test]
fn fills_groups_and_leaves_the_file_without_a_match() {
    let args = map! { "regexp" => "^(k)=old$", "line" => r"\1=new", "backrefs" => true };
    assert_eq!(edit("k=old\n", args.clone()), "k=new\n");
    assert_eq!(edit("z\n", args), "z\n");
}

#[test]
fn removes_all_matches() {
    assert_eq!(edit("a\nb\r\na\n", map! { "line" => "b", "state" => "absent" }), "a\na\n");
    assert_eq!(edit("a\nb\na\n", map! { "regexp" => "^a", "state" => "absent" }), "b\n");
}
