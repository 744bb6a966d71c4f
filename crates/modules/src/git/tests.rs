//! With the real git, on repositories made here.

use super::*;
use crate::Action;
use crate::exec::Cmd;

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn host() -> Host {
    Host::new(std::rc::Rc::new(crate::upstream::NoUpstream))
}

fn git(dir: &Path, words: &str) -> String {
    let cmd = Cmd::new("git").args(words.split(' ')).cwd(dir);
    let cmd = ["AUTHOR", "COMMITTER"].iter().fold(cmd, |cmd, who| {
        cmd.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@example.org")
    });
    host().exec_ok(&cmd).unwrap().out().trim().to_owned()
}

fn repository(name: &str) -> (Dir, PathBuf) {
    let dir = std::env::temp_dir().join(format!("debark-git-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    let repo = dir.join("repo");
    std::fs::create_dir_all(&repo).unwrap();
    git(&repo, "init -q -b main");
    commit(&repo, "one");
    git(&repo, "tag -a v1 -m v1");
    commit(&repo, "two");
    git(&repo, "branch side");
    (Dir(dir), repo)
}

fn commit(repo: &Path, text: &str) -> String {
    std::fs::write(repo.join("file"), text).unwrap();
    git(repo, "add file");
    git(repo, &format!("commit -q -m {text}"));
    git(repo, "rev-parse HEAD")
}

/// What check mode predicts and what the run then yields: changed, commit, and that a second run changes nothing.
fn apply(args: &Map) -> (bool, String) {
    let host = host();
    let planned = plan(Params::parse(args).unwrap(), &host).unwrap();
    let predicted = planned.result["after"].to_string();
    match planned.action {
        Action::Change(apply) => {
            let done = apply(&host).unwrap();
            if predicted.len() == 40 {
                assert_eq!(done["after"].to_string(), predicted);
            }
            let again = plan(Params::parse(args).unwrap(), &host).unwrap();
            assert!(!again.changes(), "{:?}", again.diff);
            (true, done["after"].to_string())
        }
        _ => (false, predicted),
    }
}

#[test]
fn follows_branches_tags_and_commits() {
    let (dir, repo) = repository("versions");
    let path = |p: &Path| p.to_str().unwrap().to_owned();
    let dest = dir.0.join("copy");
    let args = |version: &str| map! { "repo" => path(&repo), "dest" => path(&dest), "version" => version };
    let two = git(&repo, "rev-parse HEAD");
    let one = git(&repo, "rev-parse v1^{commit}");
    let mut asked = args("HEAD");
    asked.insert("clone".into(), false.into());
    let planned = plan(Params::parse(&asked).unwrap(), &host()).unwrap();
    let Action::Change(only_told) = planned.action else { panic!("told as a change") };
    only_told(&host()).unwrap();
    assert_eq!((planned.result["after"].to_string(), dest.exists()), (two.clone(), false));
    assert_eq!(apply(&args("HEAD")), (true, two.clone()));
    assert_eq!(apply(&args("v1")), (true, one.clone()));
    assert_eq!(std::fs::read_to_string(dest.join("file")).unwrap(), "one");
    assert_eq!(apply(&args("side")), (true, two.clone()));
    assert_eq!(apply(&args(&one)), (true, one.clone()));
    assert_eq!(apply(&args(&one[..10])), (false, one.clone()));
    let three = commit(&repo, "three");
    assert_eq!(apply(&args("main")), (true, three.clone()));
    let error = plan(Params::parse(&args("nope")).unwrap(), &host()).err().unwrap();
    assert!(error.msg.ends_with("has no branch or tag nope"), "{}", error.msg);
}

#[test]
fn local_changes_need_force() {
    let (dir, repo) = repository("force");
    let dest = dir.0.join("copy");
    let mut args = map! { "repo" => repo.to_str().unwrap(), "dest" => dest.to_str().unwrap() };
    apply(&args);
    std::fs::write(dest.join("file"), "mine").unwrap();
    let error = plan(Params::parse(&args).unwrap(), &host()).err().unwrap();
    assert!(error.msg.ends_with("has local changes"), "{}", error.msg);
    args.insert("force".into(), true.into());
    assert!(apply(&args).0);
    assert_eq!(std::fs::read_to_string(dest.join("file")).unwrap(), "two");
    args.insert("update".into(), false.into());
    commit(&repo, "three");
    assert!(!apply(&args).0);
}

#[test]
fn shallow_bare_and_single() {
    let (dir, repo) = repository("kinds");
    let three = commit(&repo, "three");
    for (name, extra) in [
        ("shallow", map! { "depth" => 1, "version" => "main" }),
        ("bare", map! { "bare" => true }),
        ("single", map! { "single_branch" => true, "version" => "side" }),
        ("tag", map! { "depth" => 1, "version" => "v1" }),
    ] {
        let mut args =
            map! { "repo" => repo.to_str().unwrap(), "dest" => dir.0.join(name).to_str().unwrap() };
        args.extend(extra);
        assert!(apply(&args).0, "{name}");
    }
    assert_eq!(git(&dir.0.join("shallow"), "rev-list --count HEAD"), "1");
    let four = commit(&repo, "four");
    let args = map! { "repo" => repo.to_str().unwrap(), "dest" => dir.0.join("shallow").to_str().unwrap(), "depth" => 1 };
    assert_eq!(apply(&args), (true, four.clone()));
    let args = map! { "repo" => repo.to_str().unwrap(), "dest" => dir.0.join("single").to_str().unwrap(), "version" => "main" };
    assert_eq!(apply(&args), (true, four));
    let bare = map! { "repo" => repo.to_str().unwrap(), "dest" => dir.0.join("bare").to_str().unwrap(), "bare" => true };
    assert!(apply(&bare).0);
    assert_ne!(git(&dir.0.join("bare"), "rev-parse main"), three);
}

#[test]
fn keys_and_options_reach_ssh() {
    let params = Params::parse(&map! {
        "repo" => "git@h:x", "dest" => "/x", "key_file" => "/k y", "accept_newhostkey" => true,
    })
    .unwrap();
    let cmd = Git::new(&params, None).unwrap().cmd(&["fetch"]);
    let ssh = cmd.env.iter().find(|(name, _)| name == "GIT_SSH_COMMAND").unwrap();
    assert_eq!(
        ssh.1,
        "ssh -o BatchMode=yes -i '/k y' -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new"
    );
}

#[test]
fn a_password_is_no_argument() {
    let args = map! { "repo" => "https://al%40ice:s3cr%2Ft@git.example.org:8443/a/b.git", "dest" => "/d" };
    let params = Params::parse(&args).unwrap();
    let git = Git::new(&params, None).unwrap();
    let cmd = git.cmd(&["fetch"]);
    let words: Vec<_> = cmd.argv.iter().map(|word| word.to_string_lossy()).collect();
    assert!(!format!("{words:?} {:?}", cmd.env).contains("s3cr"), "{words:?}");
    let helper = words[4].strip_prefix("credential.https://git.example.org:8443.helper=!").unwrap();
    // As git calls it (gitcredentials(7)): by a shell, with the operation behind it.
    let said = host().exec_ok(&Cmd::new("sh").args(["-c", &format!("{helper} get")])).unwrap().out();
    assert_eq!(said, "username=al@ice\npassword=s3cr/t\n");
    for bad in ["https://u:a%0Ahost=evil@h/", "HTTPS://u:s3cr/t@h/a.git"] {
        let params = Params::parse(&map! { "repo" => bad, "dest" => "/d" }).unwrap();
        let refused = Git::new(&params, None).err().unwrap();
        assert!(!refused.msg.contains("s3cr"), "{}", refused.msg);
    }
}
