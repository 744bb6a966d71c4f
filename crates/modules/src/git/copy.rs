//! What makes a copy and brings it up to date.

use std::path::Path;

use super::program::{Git, Remote};
use crate::exec::Cmd;
use crate::{Failure, Host, Map, Value, map};

pub(super) fn clone(git: &Git<'_>, host: &Host, repo: &str, remote: &Remote) -> Result<(), Failure> {
    let p = git.params;
    let dest = p.dest.clone().unwrap_or_default();
    if let Some(parent) = dest.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Failure::io("cannot create", parent, e))?;
    }
    host.exec_ok(&clone_command(git, repo, remote, &dest))?;
    if p.bare && p.remote != "origin" {
        git.run(host, &["remote", "add", "--", &p.remote, repo])?;
    }
    if let Some(refspec) = &p.refspec {
        let depth = p.depth.map(|depth| format!("--depth={depth}"));
        let words: Vec<&str> =
            ["fetch"].into_iter().chain(depth.as_deref()).chain(["--", &p.remote, refspec]).collect();
        git.run(host, &words)?;
    }
    if p.version == "HEAD" { verify(git, host) } else { finish_version(git, host, remote) }
}

fn clone_command(git: &Git<'_>, repo: &str, remote: &Remote, dest: &Path) -> Cmd {
    let p = git.params;
    let mut words: Vec<String> = vec!["clone".into()];
    if p.bare {
        words.push("--bare".into());
    } else {
        words.extend(["--origin".into(), p.remote.clone()]);
    }
    let named = remote.branch.is_some() || remote.tag.is_some();
    if let Some(depth) = p.depth.filter(|_| p.version == "HEAD" || p.refspec.is_some() || named) {
        words.extend(["--depth".into(), depth.to_string()]);
    }
    if p.single_branch {
        words.push("--single-branch".into());
    }
    if named && p.version != "HEAD" && (p.single_branch || p.depth.is_some()) {
        words.extend(["--branch".into(), p.version.clone()]);
    }
    if let Some(reference) = &p.reference {
        words.extend(["--reference".into(), reference.clone()]);
    }
    if let Some(dir) = &p.separate_git_dir {
        words.push(format!("--separate-git-dir={}", dir.display()));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    git.cmd(&words).arg("--").arg(repo).arg(dest)
}

pub(super) fn fetch(git: &Git<'_>, host: &Host, remote: &Remote) -> Result<(), Failure> {
    let p = git.params;
    let v = if p.version == "HEAD" {
        remote.head_branch.as_deref().unwrap_or("HEAD")
    } else {
        p.version.as_str()
    };
    let is_branch = p.version == "HEAD" || remote.branch.is_some();
    let mut refs: Vec<String> = Vec::new();
    let mut words = vec!["fetch".to_owned()];
    if is_branch && !p.bare {
        // A copy that was made of one branch alone has to learn of another.
        let key = format!("remote.{}.fetch", p.remote);
        let known = host.exec(&git.in_dest(&["config", "--get-all", &key]))?.out();
        if !known.contains("refs/heads/*:") && !known.contains(&format!("refs/heads/{v}:")) {
            git.run(host, &["remote", "set-branches", "--add", &p.remote, v])?;
        }
    }
    let shallow = p.depth.filter(|_| is_branch || remote.tag.is_some() || p.refspec.is_some());
    if p.bare {
        refs.extend(["+refs/heads/*:refs/heads/*".to_owned(), "+refs/tags/*:refs/tags/*".to_owned()]);
    } else if shallow.is_some() && is_branch {
        refs.push(format!("+refs/heads/{v}:refs/remotes/{}/{v}", p.remote));
    } else if shallow.is_some() && remote.tag.is_some() {
        refs.push(format!("+refs/tags/{v}:refs/tags/{v}"));
    } else {
        words.push("--tags".into());
        if is_branch {
            refs.push(format!("+refs/heads/{v}:refs/remotes/{}/{v}", p.remote));
        } else {
            refs.push(format!("+refs/heads/*:refs/remotes/{}/*", p.remote));
        }
    }
    if let Some(depth) = shallow {
        words.push(format!("--depth={depth}"));
    }
    if p.force {
        words.push("--force".into());
    }
    words.extend(["--".into(), p.remote.clone()]);
    words.extend(refs.into_iter().chain(p.refspec.clone()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    git.run(host, &words).map(drop)
}

/// Checks out what was asked for.
pub(super) fn finish_version(git: &Git<'_>, host: &Host, remote: &Remote) -> Result<(), Failure> {
    let p = git.params;
    if p.bare {
        return Ok(());
    }
    let branch = if p.version == "HEAD" {
        remote.head_branch.clone()
    } else {
        remote.branch.as_ref().map(|_| p.version.clone())
    };
    match branch {
        Some(branch) => {
            let from = format!("{}/{branch}", p.remote);
            git.run(host, &["checkout", "--force", "-B", &branch, "--track", &from, "--"])?;
        }
        None => {
            git.run(host, &["checkout", "--force", &p.version, "--"])?;
        }
    }
    verify(git, host)
}

/// The signature of commit or tag; with an allowlist its key must be on it.
fn verify(git: &Git<'_>, host: &Host) -> Result<(), Failure> {
    let p = git.params;
    if !p.verify_commit {
        return Ok(());
    }
    let kind = git.run(host, &["cat-file", "-t", &p.version]).map(|o| o.out()).unwrap_or_default();
    let verb = if kind.trim() == "tag" { "verify-tag" } else { "verify-commit" };
    let output = git.run(host, &[verb, "--raw", &p.version])?;
    let err = output.err();
    let signer = err.lines().find_map(|line| line.strip_prefix("[GNUPG:] VALIDSIG "));
    let keys: Vec<&str> = signer.map(|line| line.split_whitespace().collect()).unwrap_or_default();
    // The first word is the signing key, the last the primary key that it belongs to.
    let allowed = |key: &&&str| p.gpg_allowlist.iter().any(|known| known == **key);
    if p.gpg_allowlist.is_empty() || keys.first().iter().chain(keys.last().iter()).any(allowed) {
        return Ok(());
    }
    Err(Failure::new(format!("the signature of {} is of a key that gpg_allowlist does not have", p.version)))
}

/// Submodules and archive; yields the commit that the copy has now.
pub(super) fn finish(git: &Git<'_>, host: &Host) -> Result<Map, Failure> {
    let p = git.params;
    let dest = p.dest.clone().unwrap_or_default();
    if p.recursive && !p.bare && dest.join(".gitmodules").is_file() {
        let mut words = vec!["submodule", "update", "--init", "--recursive"];
        if p.track_submodules {
            words.push("--remote");
        }
        if p.force {
            words.push("--force");
        }
        git.run(host, &["submodule", "sync", "--recursive"])?;
        git.run(host, &words)?;
    }
    if p.archive.is_some() {
        archive(git, host)?;
    }
    let after = git.commit(host, "HEAD");
    Ok(map! { "after" => Value::from(after) })
}

pub(super) fn archive(git: &Git<'_>, host: &Host) -> Result<(), Failure> {
    let Some(file) = &git.params.archive else { return Ok(()) };
    let prefix = git.params.archive_prefix.as_ref().map(|prefix| format!("--prefix={prefix}"));
    let output = format!("--output={}", file.display());
    let words: Vec<&str> = ["archive"]
        .into_iter()
        .chain(prefix.as_deref())
        .chain([output.as_str(), git.params.version.as_str(), "--"])
        .collect();
    git.run(host, &words).map(drop)
}
