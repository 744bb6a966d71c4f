use std::rc::Rc;

use super::*;
use crate::map;
use crate::upstream::NoUpstream;

fn host() -> Host {
    Host::new(Rc::new(NoUpstream))
}

const SPEC: Spec =
    Spec { name: "t", doc: "", fields: &[], common: FileArgs::FIELDS, rules: crate::param::NO_RULES };

fn args(given: Map) -> FileArgs {
    FileArgs::take(&SPEC, &SPEC.normalise(&given).unwrap()).unwrap()
}

#[test]
fn changes_owner_and_mode_and_then_is_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "x").unwrap();
    let wanted = args(map! { "mode" => "u=rws,g=r,o=", "owner" => "daemon", "group" => "1" })
        .resolve(&host())
        .unwrap();
    let now = Stat::of(&path).unwrap().unwrap();
    let attrs = wanted.diff(&host(), &path, &now, true).unwrap();
    assert_eq!(attrs.changes.len(), 3);
    attrs.apply(&host()).unwrap();
    let after = Stat::of(&path).unwrap().unwrap();
    assert_eq!((after.uid, after.gid, after.mode), (1, 1, 0o4640));
    assert_eq!(attrs.after(&now).mode, after.mode);
    assert!(wanted.diff(&host(), &path, &after, true).unwrap().is_empty());
}

#[test]
fn an_unknown_owner_fails_a_run_and_is_a_change_in_check_mode() {
    let given = args(map! { "owner" => "no-such-user-here" });
    assert_eq!(given.resolve(&host()).unwrap_err().msg, "there is no user `no-such-user-here` on the host");
    let host = host();
    host.options.borrow_mut().check = true;
    host.options.borrow_mut().foreseen = true;
    let wanted = given.resolve(&host).unwrap();
    let now = Stat::of(Path::new("/")).unwrap().unwrap();
    assert!(!wanted.diff(&host, Path::new("/"), &now, true).unwrap().is_empty());
}

#[test]
fn chmod_refuses_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("f"), dir.path().join("l"));
    std::fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let before = Stat::of(&file).unwrap();
    assert!(chmod(&link, 0o777).is_err());
    assert_eq!(Stat::of(&file).unwrap(), before);
}

#[test]
fn flags_compare_as_sets() {
    assert!(!flags_differ("ie", "i"));
    assert!(!flags_differ("ie", "=i"));
    assert!(flags_differ("e", "+i"));
    assert!(!flags_differ("e", "-i"));
    assert!(flags_differ("aie", "i"));
}

#[test]
fn a_setgid_directory_gives_its_group() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::lchown(dir.path(), None, Some(2)).unwrap();
    chmod(dir.path(), 0o2755).unwrap();
    let predicted = Stat::fresh(FileKind::Directory, dir.path());
    std::fs::create_dir(dir.path().join("d")).unwrap();
    let real = Stat::of(&dir.path().join("d")).unwrap().unwrap();
    assert_eq!((predicted.gid, predicted.mode), (real.gid, real.mode));
}

#[test]
fn bad_attributes_are_named() {
    let given = map! { "attributes" => "+i; rm" };
    assert!(FileArgs::take(&SPEC, &given).unwrap_err().msg.contains("attributes"));
}
