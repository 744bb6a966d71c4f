use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::rc::Rc;

use super::*;
use crate::upstream::NoUpstream;

fn shell(dir: &Path, script: &str) {
    let done = Command::new("sh").arg("-ec").arg(script).current_dir(dir).status().unwrap();
    assert!(done.success(), "{script}");
}

/// A directory with `in/` (a small tree) and `out/`.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    shell(
        dir.path(),
        "umask 022; mkdir -p in/top/sub out; echo one > in/top/a; echo two > in/top/sub/b; ln -s a in/top/l; chmod 755 in/top/a;
         touch -d '2024-01-02 03:04:06' in/top/a in/top/sub/b",
    );
    dir
}

fn args(dir: &Path, archive: &str) -> Map {
    map! { "src" => path_value(&dir.join(archive)), "dest" => path_value(&dir.join("out")), "remote_src" => true }
}

fn with(mut args: Map, key: &str, value: impl Into<Value>) -> Map {
    args.insert(key.into(), value.into());
    args
}

fn try_run(args: &Map) -> Result<(bool, Map), Failure> {
    let host = Host::new(Rc::new(NoUpstream));
    let plan = plan(Params::parse(args)?, &host)?;
    let changes = plan.changes();
    let mut result = plan.result;
    if let Action::Change(apply) = plan.action {
        result.extend(apply(&host)?);
    }
    Ok((changes, result))
}

fn run(args: &Map) -> (bool, Map) {
    try_run(args).unwrap()
}

#[test]
fn tars_of_all_kinds_are_unpacked_once() {
    let dir = tree();
    for (option, name, handler) in [
        ("", "a.tar", "TarArchive"),
        ("-z", "a.tgz", "TgzArchive"),
        ("-j", "a.tar.bz2", "TarArchive"),
        ("-J", "a.tar.xz", "TarArchive"),
        ("--zstd", "a.tar.zst", "TarArchive"),
    ] {
        shell(dir.path(), &format!("rm -rf out; mkdir out; tar -C in {option} -cf {name} top"));
        let args = with(args(dir.path(), name), "list_files", true);
        let (changed, result) = run(&args);
        assert!(changed, "{name}");
        assert_eq!(result.get("handler"), Some(&handler.into()));
        assert_eq!(result.get("state"), Some(&"directory".into()));
        let files = result.get("files").and_then(|v| v.as_list()).map(<[Value]>::len);
        assert_eq!(files, Some(5), "{name}");
        assert_eq!(std::fs::read_to_string(dir.path().join("out/top/sub/b")).unwrap(), "two\n");
        assert!(!run(&args).0, "{name} again");
        std::fs::write(dir.path().join("out/top/a"), "other").unwrap();
        assert!(run(&args).0, "{name} after a change");
    }
}

#[test]
fn zips_are_unpacked_once() {
    let dir = tree();
    shell(dir.path(), "cd in && zip -qry ../a.zip top");
    let all = with(args(dir.path(), "a.zip"), "list_files", true);
    let (changed, result) = run(&all);
    assert!(changed);
    assert_eq!(result.get("handler"), Some(&"ZipArchive".into()));
    assert_eq!(result.get("files").and_then(|v| v.as_list()).map(<[Value]>::len), Some(5));
    assert_eq!(std::fs::read_to_string(dir.path().join("out/top/a")).unwrap(), "one\n");
    assert!(dir.path().join("out/top/l").is_symlink());
    assert!(!run(&all).0);
    // The same length and time, another content.
    shell(dir.path(), "echo eno > out/top/a; touch -r in/top/a out/top/a");
    assert!(run(&all).0);
    // What is newer on the host stays.
    shell(dir.path(), "echo new > out/top/a");
    assert!(!run(&with(all.clone(), "keep_newer", true)).0);
    assert!(run(&all).0);
    shell(dir.path(), "chmod 600 out/top/a");
    assert!(run(&all).0);
}

#[test]
fn parts_are_chosen() {
    let dir = tree();
    shell(dir.path(), "tar -C in -czf a.tgz top; cd in && zip -qry ../a.zip top");
    for archive in ["a.tgz", "a.zip"] {
        let some = with(args(dir.path(), archive), "exclude", vec![Value::from("top/sub/*")]);
        assert!(run(&some).0);
        assert!(dir.path().join("out/top/a").exists() && !dir.path().join("out/top/sub/b").exists());
        shell(dir.path(), "rm -r out/top");
        let one = with(args(dir.path(), archive), "include", vec![Value::from("top/sub/b")]);
        assert!(run(&one).0 && !run(&one).0);
        assert!(dir.path().join("out/top/sub/b").exists() && !dir.path().join("out/top/a").exists());
        shell(dir.path(), "rm -r out/top");
    }
    let stripped = with(args(dir.path(), "a.tgz"), "extra_opts", vec![Value::from("--strip-components=1")]);
    assert!(run(&stripped).0 && !run(&stripped).0);
    assert!(dir.path().join("out/sub/b").exists());
}

#[test]
fn modes_are_set_and_kept() {
    let dir = tree();
    shell(dir.path(), "tar -C in -czf a.tgz top; cd in && zip -qry ../a.zip top");
    for archive in ["a.tgz", "a.zip"] {
        let args = with(args(dir.path(), archive), "mode", "0750");
        assert!(run(&args).0 && !run(&args).0);
        let file = dir.path().join("out/top/sub/b");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o750);
        crate::file_args::chmod(&file, 0o700).unwrap();
        assert!(run(&args).0);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o750);
        shell(dir.path(), "rm -r out/top");
    }
}

#[test]
fn nothing_is_written_outside() {
    let dir = tree();
    shell(dir.path(), "cd in/top && tar -czPf ../../up.tgz ../top/a && tar -C .. -czf ../../a.tgz top/a");
    let failure = try_run(&args(dir.path(), "up.tgz")).unwrap_err().msg;
    assert!(failure.contains("\"../top/a\", which is not below"), "{failure}");
    std::fs::create_dir(dir.path().join("else")).unwrap();
    symlink(dir.path().join("else"), dir.path().join("out/top")).unwrap();
    let failure = try_run(&args(dir.path(), "a.tgz")).unwrap_err().msg;
    assert!(failure.contains("through a link to outside"), "{failure}");
    assert!(!dir.path().join("else/a").exists());
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tree();
    shell(
        dir.path(),
        "tar -C in -czf a.tgz top; echo nonsense > bad.tar; : > empty.tar; printf 'PK\\003\\004xx' > bad.zip",
    );
    let message = |args: Map| try_run(&args).unwrap_err().msg;
    assert!(message(args(dir.path(), "none.tar")).contains("there is no /"));
    assert!(message(args(dir.path(), "empty.tar")).ends_with("is no archive: it is empty"));
    assert!(message(args(dir.path(), "bad.tar")).contains("This does not look like a tar archive"));
    assert!(message(args(dir.path(), "bad.zip")).contains("unzip cannot read"));
    let nowhere = with(args(dir.path(), "a.tgz"), "dest", "/nonexistent/x");
    assert_eq!(message(nowhere), "/nonexistent/x must be a directory that is there");
    let host = Host::new(Rc::new(NoUpstream));
    let made = with(args(dir.path(), "a.tgz"), "creates", "/etc/passwd");
    assert!(matches!(plan(Params::parse(&made).unwrap(), &host).unwrap().action, Action::Skip(_)));
    assert_eq!(
        missing_program("tar (child): xz: Cannot exec: No such file or directory\n").unwrap(),
        "install the Debian package `xz-utils` on the host"
    );
}
