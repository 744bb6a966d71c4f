use std::rc::Rc;

use super::*;
use crate::upstream::NoUpstream;

fn run(args: &Map) -> Option<Map> {
    let host = Host::new(Rc::new(NoUpstream));
    let plan = plan(Params::parse(args).unwrap(), &host).unwrap();
    match plan.action {
        Action::Change(apply) => {
            let mut result = plan.result;
            result.extend(apply(&host).unwrap());
            Some(result)
        }
        _ => None,
    }
}

#[test]
fn content_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let args = map! { "content" => "hi\n", "dest" => path_value(&path), "mode" => "0640" };
    let result = run(&args).unwrap();
    assert_eq!(result.get("checksum"), Some(&"55ca6286e3e4f4fba5d0448333fa99fc5a404a73".into()));
    assert_eq!(result.get("mode"), Some(&"0640".into()));
    assert!(run(&args).is_none());
    let other = map! { "content" => "no", "dest" => path_value(&path), "force" => false };
    assert!(run(&other).is_none());
}

#[test]
fn a_tree_of_the_host_is_copied_with_and_without_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let src = dir.path().join("src");
    std::fs::create_dir_all(src.join("x")).unwrap();
    std::fs::write(src.join("x/f"), "1").unwrap();
    crate::file_args::chmod(&src.join("x/f"), 0o700).unwrap();
    for (slash, file) in [("", "d/src/x/f"), ("/", "e/x/f")] {
        let top = file.get(..1).unwrap();
        let args = map! {
            "src" => format!("{}{slash}", src.display()), "dest" => path_value(&dir.path().join(top)),
            "remote_src" => true, "mode" => "preserve",
        };
        assert!(run(&args).is_some());
        assert_eq!(Stat::of(&dir.path().join(file)).unwrap().unwrap().mode, 0o700);
        assert!(run(&args).is_none());
    }
}

#[test]
fn a_missing_directory_fails_a_run_but_not_a_check() {
    let args = map! { "content" => "x", "dest" => "/nonexistent/f" };
    let host = Host::new(Rc::new(NoUpstream));
    let failure = plan(Params::parse(&args).unwrap(), &host).err().unwrap();
    assert_eq!(failure.msg, "/nonexistent/f cannot be made: the directory /nonexistent does not exist");
    host.options.borrow_mut().check = true;
    host.options.borrow_mut().foreseen = true;
    assert!(plan(Params::parse(&args).unwrap(), &host).unwrap().changes());
}
