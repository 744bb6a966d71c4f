use std::rc::Rc;

use super::*;
use crate::mode::Mode;
use crate::upstream::NoUpstream;

fn host() -> Host {
    Host::new(Rc::new(NoUpstream))
}

fn put(replace: Replace, text: &str) -> Result<Option<PathBuf>, Failure> {
    replace
        .commit(&host(), &mut |out| out.write_all(text.as_bytes()).map_err(|e| Failure::new(e.to_string())))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn keeps_owner_mode_and_extended_attributes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "old").unwrap();
    std::os::unix::fs::chown(&path, Some(1), Some(2)).unwrap();
    crate::file_args::chmod(&path, 0o4750).unwrap();
    let has_xattrs = rustix::fs::setxattr(&path, "user.note", b"n", rustix::fs::XattrFlags::empty()).is_ok();
    let mut replace = Replace::observe(&path).unwrap();
    replace.backup = true;
    let saved = put(replace, "new").unwrap().unwrap();
    for (file, text) in [(&path, "new"), (&saved, "old")] {
        let stat = Stat::of(file).unwrap().unwrap();
        assert_eq!((stat.uid, stat.gid, stat.mode), (1, 2, 0o4750), "{}", file.display());
        assert_eq!(std::fs::read_to_string(file).unwrap(), text);
        let mut value = [0u8; 8];
        let read = rustix::fs::getxattr(file, "user.note", value.as_mut_slice());
        assert!(!has_xattrs || read == Ok(1));
    }
    let saved = saved.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(saved.starts_with(&format!("a.{}.20", std::process::id())) && saved.ends_with('~'), "{saved}");
    assert_eq!(names(dir.path()).len(), 2);
}

#[test]
fn a_new_file_gets_the_wanted_mode() {
    let dir = tempfile::tempdir().unwrap();
    let mut replace = Replace::observe(&dir.path().join("n")).unwrap();
    replace.wanted.mode = Some(Mode::Bits(0o640));
    let dest = replace.dest.clone();
    put(replace, "x").unwrap();
    assert_eq!(Stat::of(&dest).unwrap().unwrap().mode, 0o640);
}

#[test]
fn refuses_a_file_that_someone_else_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "old").unwrap();
    let replace = Replace::observe(&path).unwrap();
    std::fs::write(&path, "theirs").unwrap();
    assert!(put(replace, "ours").unwrap_err().msg.ends_with("was changed by someone else in the meantime"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
    assert_eq!(names(dir.path()), ["a"]);
}

#[test]
fn refuses_what_validate_refuses_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "old").unwrap();
    let with = |command: &str| {
        let mut replace = Replace::observe(&path).unwrap();
        replace.validate = Some(command.to_owned());
        replace.backup = true;
        replace
    };
    let failure = put(with("grep -q good '%s'"), "bad").unwrap_err();
    assert_eq!(failure.result.get("exit_status"), Some(&1.into()));
    assert!(put(with("true"), "x").unwrap_err().msg.contains("must contain %s"));
    assert_eq!(
        (names(dir.path()), std::fs::read_to_string(&path).unwrap()),
        (vec!["a".into()], "old".into())
    );
    put(with("grep -q good '%s'"), "good").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "good");
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, c"size=64k").is_err() {
        eprintln!("cannot mount a small file system here: nothing is shown by this test");
        return;
    }
    let path = dir.path().join("a");
    std::fs::write(&path, "old").unwrap();
    let failed = put(Replace::observe(&path).unwrap(), &"x".repeat(1 << 20)).unwrap_err();
    let (left, text) = (names(dir.path()), std::fs::read_to_string(&path).unwrap());
    rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(failed.msg.ends_with("its file system is full"), "{failed}");
    assert_eq!((left, text), (vec!["a".to_owned()], "old".to_owned()));
}

#[test]
fn a_link_is_replaced_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("f"), dir.path().join("l"));
    std::fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    put(Replace::observe(&link).unwrap(), "new").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    assert_eq!(Stat::of(&link).unwrap().unwrap().kind, FileKind::File);
}

#[test]
fn a_busy_mount_point_is_written_in_place_if_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (file, other) = (dir.path().join("f"), dir.path().join("o"));
    std::fs::write(&file, "old").unwrap();
    std::fs::write(&other, "other").unwrap();
    if rustix::mount::mount_bind(&other, &file).is_err() {
        eprintln!("cannot mount here: nothing is shown by this test");
        return;
    }
    let refused = put(Replace::observe(&file).unwrap(), "new");
    let mut replace = Replace::observe(&file).unwrap();
    replace.unsafe_writes = true;
    let allowed = put(replace, "new");
    rustix::mount::unmount(&file, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(refused.unwrap_err().hint.unwrap().contains("unsafe_writes"));
    allowed.unwrap();
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "new");
}
