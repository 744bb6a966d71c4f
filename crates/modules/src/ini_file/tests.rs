use std::rc::Rc;

use super::*;
use crate::upstream::NoUpstream;

fn task(path: &Path, mut args: Map) -> (bool, String) {
    args.insert("path".into(), path_value(path));
    let host = Host::new(Rc::new(NoUpstream));
    let planned = plan(Params::parse(&args).unwrap(), &host).unwrap();
    let (changes, msg) = (planned.changes(), planned.result.get("msg").unwrap().to_text().unwrap());
    if let Action::Change(apply) = planned.action {
        apply(&host).unwrap();
    }
    (changes, msg)
}

/// The file after the task, and the task's message; planned again, the task must find nothing to do.
fn run(before: &str, args: Map) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, before).unwrap();
    let (_, msg) = task(&path, args.clone());
    assert!(!task(&path, args).0);
    (std::fs::read_to_string(&path).unwrap(), msg)
}

fn edit(before: &str, args: Map) -> String {
    run(before, args).0
}

/// Option `o` of section `s`, and more.
fn o(more: Map) -> Map {
    map! { "section" => "s", "option" => "o" }.into_iter().chain(more).collect()
}

#[test]
fn sets_options_where_they_belong() {
    let args = o(map! { "value" => "v" });
    assert_eq!(run("[s]\no=x\n", args.clone()), ("[s]\no = v\n".into(), "option changed".into()));
    assert_eq!(run("[s]\n#o = 1\n\n[t]\n", args.clone()).0, "[s]\no = v\n\n[t]\n");
    assert_eq!(run("[s]\na=1\n\n# c\n[t]\n", args.clone()).1, "option added");
    assert_eq!(edit("[s]\na=1\n\n# c\n[t]\n", args.clone()), "[s]\na=1\no = v\n\n# c\n[t]\n");
    assert_eq!(run("[t]\no=x", args.clone()).0, "[t]\no=x\n[s]\no = v\n");
    assert_eq!(run("[ s ] # c\no = v\n", args), ("[ s ] # c\no = v\n".into(), "OK".into()));
    assert_eq!(edit("a=1\n[s]\n", map! { "option" => "b", "value" => "2" }), "a=1\nb = 2\n[s]\n");
    assert_eq!(edit("[s]\n", map! { "option" => "b", "value" => "2" }), "b = 2\n[s]\n");
}

#[test]
fn spaces_and_comments_as_told() {
    let tight = o(map! { "value" => "v", "no_extra_spaces" => true });
    assert_eq!(edit("[s]\no = v\n", tight.clone()), "[s]\no=v\n");
    let lenient = tight.into_iter().chain(map! { "ignore_spaces" => true }).collect();
    assert_eq!(edit("[s]\no = v\n", lenient), "[s]\no = v\n");
    let active = o(map! { "value" => "v", "modify_inactive_option" => false });
    assert_eq!(edit("[s]\n;o = 1\n", active), "[s]\no = v\n;o = 1\n");
    // A comment that is only the option's name is prose.
    assert_eq!(edit("[s]\n; o\no=1\n", o(map! { "value" => "v" })), "[s]\n; o\no = v\n");
}

#[test]
fn several_values() {
    let both: Vec<Value> = vec!["1".into(), "2".into()];
    let exclusive = o(map! { "values" => both.clone() });
    assert_eq!(edit("[s]\no=2\no=3\no=4\n", exclusive), "[s]\no = 2\no = 1\n");
    let shared = o(map! { "values" => both, "exclusive" => false });
    assert_eq!(edit("[s]\no = 3\n", shared.clone()), "[s]\no = 3\no = 1\no = 2\n");
    let gone = shared.into_iter().chain(map! { "state" => "absent" }).collect();
    assert_eq!(edit("[s]\no = 3\no=1\n", gone), "[s]\no = 3\n");
}

#[test]
fn options_without_value() {
    let bare = o(map! { "allow_no_value" => true });
    assert_eq!(edit("[s]\no = 1\n", bare.clone()), "[s]\no\n");
    assert_eq!(edit("[s]\na\n", bare.clone()), "[s]\na\no\n");
    assert_eq!(run("", bare), ("\n[s]\no\n".into(), "section and option added".into()));
    let empty = map! { "section" => "s", "allow_no_value" => true };
    assert_eq!(run("", empty).1, "only section added");
    let params = Params::parse(&o(map! { "path" => "/x" })).unwrap();
    assert!(plan(params, &Host::new(Rc::new(NoUpstream))).err().unwrap().msg.contains("`values`"));
}

#[test]
fn removes_options_and_sections() {
    let gone = map! { "state" => "absent" };
    assert_eq!(edit("[s]\no=1\n#o=2\n[t]\no=1\n", o(gone)), "[s]\n#o=2\n[t]\no=1\n");
    let section = map! { "section" => "s", "state" => "absent" };
    assert_eq!(run("a=1\n[s]\no=1\n[t]\n", section.clone()), ("a=1\n[t]\n".into(), "section removed".into()));
    assert_eq!(edit("[t]\n", section), "[t]\n");
    // What precedes the first section goes, but not that section's header.
    assert_eq!(edit("a=1\n[s]\n", map! { "state" => "absent" }), "[s]\n");
}

#[test]
fn the_section_that_has_values() {
    let has = |ip: &str| vec![Value::from(map! { "option" => "ip", "value" => ip })];
    let text = "[s]\nip = 1\no = a\n[s]\nip = 2\no = b\n";
    let args = o(map! { "value" => "c", "section_has_values" => has("2") });
    assert_eq!(edit(text, args), "[s]\nip = 1\no = a\n[s]\nip = 2\no = c\n");
    let args = map! { "section" => "s", "state" => "absent", "section_has_values" => has("1") };
    assert_eq!(edit(text, args), "[s]\nip = 2\no = b\n");
    let args = o(map! { "value" => "c", "section_has_values" => has("3") });
    assert_eq!(edit("[s]\nip = 1\n", args), "[s]\nip = 1\n[s]\nip = 3\no = c\n");
    assert!(Condition::from_value(&map! { "value" => "1" }.into()).unwrap_err().contains("`option`"));
}

#[test]
fn what_stays_keeps_its_bytes_and_what_changes_is_plain() {
    let args = o(map! { "value" => "v" });
    assert_eq!(edit("\u{feff}[s]\r\no = v\r\n", args.clone()), "\u{feff}[s]\r\no = v\r\n");
    assert_eq!(edit("\u{feff}[s]\r\na = 1\r\n", args), "[s]\na = 1\no = v\n");
}

#[test]
fn files_links_and_absence() {
    let dir = tempfile::tempdir().unwrap();
    let args = o(map! { "value" => "v" });
    let path = dir.path().join("new/f");
    assert!(!task(&path, map! { "section" => "s", "state" => "absent" }).0);
    assert!(task(&path, args.clone()).0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "\n[s]\no = v\n");
    let link = dir.path().join("l");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(!task(&link, args.clone()).0);
    assert!(task(&link, o(map! { "value" => "w", "follow" => true })).0);
    assert!(link.is_symlink());
    assert!(task(&link, o(map! { "value" => "x", "backup" => true })).0);
    assert!(!link.is_symlink());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "\n[s]\no = w\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
}
