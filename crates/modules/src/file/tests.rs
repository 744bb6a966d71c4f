use std::rc::Rc;

use super::*;
use crate::plan::Action;
use crate::upstream::NoUpstream;

/// Plans, applies, compares the prediction with what came, plans again and expects nothing to do.
fn twice(args: Map) -> Map {
    let host = Host::new(Rc::new(NoUpstream));
    let first = plan(Params::parse(&args).unwrap(), &host).unwrap();
    let predicted = first.result;
    let Action::Change(apply) = first.action else { panic!("nothing to change for {args:?}") };
    let real = apply(&host).unwrap();
    for (key, value) in predicted.iter().filter(|(key, _)| *key != &"size".into()) {
        assert_eq!(real.get(key).unwrap_or(value), value, "{key}");
    }
    let second = plan(Params::parse(&args).unwrap(), &host).unwrap();
    assert!(!second.changes(), "changes again: {:?}", second.diff);
    real
}

fn fails(args: Map) -> String {
    plan(Params::parse(&args).unwrap(), &Host::new(Rc::new(NoUpstream))).err().unwrap().msg
}

#[test]
fn a_directory_with_parents_gets_its_mode_and_leaves_others() {
    let dir = tempfile::tempdir().unwrap();
    let (top, leaf) = (dir.path().join("a"), dir.path().join("a/b/c"));
    std::fs::create_dir(&top).unwrap();
    crate::file_args::chmod(&top, 0o711).unwrap();
    twice(
        map! { "path" => path_value(&leaf), "state" => "directory", "mode" => "0700", "owner" => "daemon" },
    );
    let mode = |path: &Path| Stat::of(path).unwrap().unwrap();
    assert_eq!((mode(&top).mode, mode(&top).uid), (0o711, 0));
    assert_eq!((mode(leaf.parent().unwrap()).mode, mode(&leaf).uid), (0o700, 1));
    std::fs::write(leaf.join("f"), "").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", leaf.join("l")).unwrap();
    let before = Stat::of(Path::new("/etc/hostname")).unwrap();
    twice(map! { "path" => path_value(&top), "recurse" => true, "mode" => "u=rwX,go=", "follow" => false });
    assert_eq!((mode(&leaf.join("f")).mode, mode(&leaf).mode), (0o600, 0o700));
    assert_eq!(Stat::of(Path::new("/etc/hostname")).unwrap(), before);
}

#[test]
fn absent_never_follows_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (keep, gone) = (dir.path().join("keep"), dir.path().join("gone"));
    std::fs::create_dir_all(keep.join("x")).unwrap();
    std::fs::create_dir(&gone).unwrap();
    std::os::unix::fs::symlink(&keep, gone.join("l")).unwrap();
    twice(map! { "path" => path_value(&gone), "state" => "absent" });
    assert!(keep.join("x").is_dir() && !gone.exists());
}

#[test]
fn links_are_made_replaced_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("f"), dir.path().join("l"));
    std::fs::write(&file, "x").unwrap();
    twice(map! { "src" => "f", "dest" => path_value(&link), "state" => "link" });
    assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("f"));
    assert!(
        fails(map! { "src" => "nope", "dest" => path_value(&link), "state" => "link" })
            .contains("does not exist")
    );
    twice(map! { "src" => "nope", "dest" => path_value(&link), "state" => "link", "force" => true });
    assert!(
        fails(map! { "src" => "l", "dest" => path_value(&file), "state" => "link", "follow" => false })
            .contains("l: it does not")
            || fails(map! { "src" => "/", "dest" => path_value(&file), "state" => "link" })
                .contains("is a file")
    );
    let hard = dir.path().join("h");
    let made = twice(map! { "src" => path_value(&file), "dest" => path_value(&hard), "state" => "hard" });
    assert_eq!(made.get("state"), Some(&"hard".into()));
}

#[test]
fn touch_with_preserved_times_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let args = map! {
        "path" => path_value(&path), "state" => "touch", "mode" => "0640",
        "access_time" => "preserve", "modification_time" => "202001020304.05",
    };
    twice(args);
    let host = Host::new(Rc::new(NoUpstream));
    let again = map! { "path" => path_value(&path), "state" => "touch" };
    assert!(plan(Params::parse(&again).unwrap(), &host).unwrap().changes());
}

#[test]
fn a_missing_file_fails_a_run_but_not_a_check() {
    let args = map! { "path" => "/nonexistent/f", "mode" => "0600" };
    assert_eq!(fails(args.clone()), "/nonexistent/f does not exist");
    let host = Host::new(Rc::new(NoUpstream));
    host.options.borrow_mut().check = true;
    host.options.borrow_mut().foreseen = true;
    assert!(plan(Params::parse(&args).unwrap(), &host).unwrap().changes());
}
