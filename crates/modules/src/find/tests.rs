use std::rc::Rc;

use super::*;
use crate::upstream::NoUpstream;

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir_all(root.join("sub/deep")).unwrap();
    for (name, content) in [
        ("a.log", "first\nerror: x\n"),
        ("b.txt", "an error\n"),
        (".hidden", "h"),
        ("sub/c.log", "0123456789"),
        ("sub/deep/d.log", ""),
    ] {
        std::fs::write(root.join(name), content).unwrap();
    }
    std::os::unix::fs::symlink("..", root.join("sub/up")).unwrap();
    std::os::unix::fs::symlink("a.log", root.join("link")).unwrap();
    crate::file_args::chmod(&root.join("b.txt"), 0o600).unwrap();
    crate::file_args::chmod(&root.join("a.log"), 0o644).unwrap();
    dir
}

fn find(root: &Path, more: Map) -> Result<Map, Failure> {
    let mut args = map! { "paths" => path_value(root) };
    args.extend(more);
    let host = Host::new(Rc::new(NoUpstream));
    plan(Params::parse(&args)?, &host).map(|plan| plan.result)
}

fn names(root: &Path, more: Map) -> Vec<String> {
    let result = find(root, more).unwrap();
    let mut names: Vec<String> = result["files"]
        .as_list()
        .unwrap()
        .iter()
        .map(|file| file.get("path").unwrap().as_str().unwrap().to_owned())
        .map(|path| path.strip_prefix(&format!("{}/", root.display())).unwrap().to_owned())
        .collect();
    assert_eq!(result["matched"], (names.len() as u64).into());
    names.sort();
    names
}

#[test]
fn names_levels_and_types() {
    let dir = tree();
    let root = dir.path();
    assert_eq!(names(root, map! {}), ["a.log", "b.txt"]);
    assert_eq!(names(root, map! { "hidden" => true }), [".hidden", "a.log", "b.txt"]);
    let logs = map! { "patterns" => "*.log", "recurse" => true };
    assert_eq!(names(root, logs.clone()), ["a.log", "sub/c.log", "sub/deep/d.log"]);
    let two = Map::from_iter(logs.clone().into_iter().chain(map! { "depth" => 2 }));
    assert_eq!(names(root, two), ["a.log", "sub/c.log"]);
    let but = Map::from_iter(logs.clone().into_iter().chain(map! { "excludes" => "c*,d*" }));
    assert_eq!(names(root, but), ["a.log"]);
    let regex = map! { "patterns" => "[ab]", "use_regex" => true };
    assert_eq!(names(root, regex), ["a.log", "b.txt"]);
    assert_eq!(names(root, map! { "patterns" => "log$", "use_regex" => true }), [""; 0]);
    assert_eq!(names(root, map! { "file_type" => "directory", "recurse" => true }), ["sub", "sub/deep"]);
    assert_eq!(names(root, map! { "file_type" => "link", "recurse" => true }), ["link", "sub/up"]);
    assert_eq!(names(root, map! { "file_type" => "any" }), ["a.log", "b.txt", "link", "sub"]);
}

#[test]
fn links_that_go_round_end() {
    let dir = tree();
    let all = map! { "patterns" => "*.log", "recurse" => true, "follow" => true };
    assert_eq!(names(dir.path(), all), ["a.log", "sub/c.log", "sub/deep/d.log"]);
}

#[test]
fn content_size_age_and_mode() {
    let dir = tree();
    let root = dir.path();
    assert_eq!(names(root, map! { "contains" => "error" }), ["a.log"]);
    assert_eq!(names(root, map! { "contains" => "n error", "read_whole_file" => true }), ["b.txt"]);
    let size = |size: &str| names(root, map! { "size" => size, "recurse" => true });
    assert_eq!(size("10"), ["a.log", "sub/c.log"]);
    assert_eq!(size("-9b"), ["b.txt", "sub/deep/d.log"]);
    assert!(size("1k").is_empty());
    assert!(names(root, map! { "age" => "1h" }).is_empty());
    assert_eq!(names(root, map! { "age" => "-1H", "age_stamp" => "ctime" }), ["a.log", "b.txt"]);
    assert_eq!(names(root, map! { "mode" => "0600" }), ["b.txt"]);
    assert_eq!(names(root, map! { "mode" => "o=r", "exact_mode" => false }), ["a.log"]);
}

#[test]
fn values_of_a_file() {
    let dir = tree();
    let result = find(dir.path(), map! { "patterns" => "b.txt", "get_checksum" => true }).unwrap();
    let file = &result["files"].as_list().unwrap()[0];
    assert_eq!(file.get("mode"), Some(&"0600".into()));
    assert_eq!(file.get("size"), Some(&9.into()));
    assert_eq!(file.get("checksum"), Some(&Algorithm::Sha1.hex(b"an error\n").into()));
    assert_eq!(result["msg"], "All paths examined".into());
    let result = find(dir.path(), map! { "limit" => 1, "recurse" => true }).unwrap();
    assert_eq!((&result["matched"], &result["msg"]), (&1.into(), &"Limit of matches reached".into()));
}

#[test]
fn what_cannot_be_searched_is_told() {
    let result = find(Path::new("/nonexistent"), map! {}).unwrap();
    assert_eq!(result["matched"], 0.into());
    let why = result["skipped_paths"].get("/nonexistent").unwrap();
    assert_eq!(why, &Value::from("/nonexistent is not a directory"));
    assert!(result.contains_key("warnings"));
    for wrong in [map! { "age" => "1y" }, map! { "size" => "kk" }, map! { "limit" => 0 }] {
        assert!(find(Path::new("/"), wrong).is_err());
    }
    assert!(find(Path::new("/"), map! { "contains" => "x", "encoding" => "klingon" }).is_err());
}

#[test]
fn paths_without_detours() {
    for (path, wanted) in
        [("/a/../../b//./c/", "/b/c"), ("a/..", "."), ("../a", "../a"), ("../../x/..", "../..")]
    {
        assert_eq!(normal(Path::new(path)), Path::new(wanted));
    }
}
