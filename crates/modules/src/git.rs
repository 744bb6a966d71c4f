//! `git`: a working copy (or bare copy) of a repository, with the host's own git.
//!
//! What a run would do is told by `git ls-remote`: it asks the repository which commit a branch or tag is, without
//! fetching anything. A copy that has it already is left alone.

mod copy;
mod program;

use std::path::{Path, PathBuf};

use crate::http::url::without_login;
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Map, Plan, Value, map, params};
use copy::{archive, clone, fetch, finish, finish_version};
use program::{Git, Remote};

params! {
    /// Keeps a copy of a git repository.
    pub struct Params for "ansible.builtin.git" {
        /// The repository.
        repo | name: String,
        /// Where the copy is.
        dest: Option<PathBuf>,
        /// Branch, tag or commit; `HEAD` for what the repository points to.
        version: String = "HEAD".to_owned(),
        /// What the copy calls the repository.
        remote: String = "origin".to_owned(),
        /// One more refspec to fetch.
        refspec: Option<String>,
        /// A repository on the host to borrow objects from.
        reference: Option<String>,
        /// Throw away local changes.
        force: bool = false,
        /// How much history to fetch.
        depth: Option<i64>,
        /// Make the copy if it is not there.
        clone: bool = true,
        /// Bring a copy that is there up to date.
        update: bool = true,
        /// The commit must be signed by a key that is trusted.
        verify_commit: bool = false,
        /// Fingerprints of the keys that are.
        gpg_allowlist | gpg_whitelist: Vec<String>,
        /// Trust whatever host key the server has.
        accept_hostkey: bool = false,
        /// Trust the server's host key if none is known.
        accept_newhostkey: bool = false,
        /// The SSH key to use.
        key_file: Option<PathBuf>,
        /// Further options for ssh.
        ssh_opts: Option<String>,
        /// The git program.
        executable: Option<PathBuf>,
        /// The copy has no working tree.
        bare: bool = false,
        /// Submodules too.
        recursive: bool = true,
        /// Fetch only the branch that is asked for.
        single_branch: bool = false,
        /// Submodules follow their branches.
        track_submodules: bool = false,
        /// File mode creation mask, octal.
        umask: Option<String>,
        /// Also write an archive; its name tells the format.
        archive: Option<PathBuf>,
        /// What is before names in the archive.
        archive_prefix: Option<String>,
        /// Where git's own data are, beside the working tree.
        separate_git_dir: Option<PathBuf>,
    }
    rules Rules {
        exclusive: &[&["separate_git_dir", "bare"], &["accept_hostkey", "accept_newhostkey"]],
        ..NO_RULES
    }
}

fn is_hash(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether there is a copy: a working tree with `.git`, or git's data themselves.
fn is_copy(dest: &Path, bare: bool) -> bool {
    if bare {
        dest.join("config").is_file() && dest.join("objects").is_dir()
    } else {
        dest.join(".git").exists()
    }
}

/// Compares the copy with the repository.
///
/// # Errors
/// The repository cannot be asked, has no such version, or the copy has local changes and `force` is off.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let umask = params.umask.as_ref().map(|mask| u32::from_str_radix(mask, 8)).transpose();
    let umask = umask.map_err(|_| Failure::new("git: umask wants an octal number such as \"022\""))?;
    if params.version.starts_with('-') || params.remote.starts_with('-') || params.version.is_empty() {
        return Err(Failure::new(format!("git: {:?} is no version", params.version)));
    }
    // A depth needs a transport: git takes a plain path as something to hard-link.
    let git = Git::new(&params, umask)?;
    let repo = match params.repo.starts_with('/') {
        true => format!("file://{}", params.repo),
        false if git.logs_in() => without_login(&params.repo),
        false => params.repo.clone(),
    };
    let dest = params.dest.clone().filter(|dest| is_copy(dest, params.bare));
    let Some(dest) = dest else {
        if params.dest.is_none() && params.clone {
            return Err(Failure::new("git needs the parameter `dest`, unless `clone: false`"));
        }
        let remote = git.remote(host, &repo)?;
        let after = target(&params, &remote).ok_or_else(|| missing(&params))?;
        let result = map! { "before" => Value::Null, "after" => after.clone(), "warnings" => Value::list([] as [&str; 0]) };
        if !params.clone {
            // As with ansible-core it is told as a change, though nothing is ever made.
            return Ok(Plan::change(result, Vec::new(), |_| Ok(Map::new())));
        }
        let path = params.dest.clone().unwrap_or_default();
        if path.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Failure::new(format!("{} is not empty and no copy of a repository", path.display())));
        }
        let diff = vec![Diff::property(path.display(), "commit", "none", &after)];
        return Ok(Plan::change(result, diff, move |host| {
            let git = Git::new(&params, umask)?;
            clone(&git, host, &repo, &remote)?;
            finish(&git, host)
        }));
    };
    let before = git.commit(host, "HEAD");
    let shown = Value::from(before.clone());
    if !params.update {
        let result = map! { "before" => shown.clone(), "after" => shown, "remote_url_changed" => false };
        return Ok(archive_only(params, umask, result));
    }
    let modified = !params.bare
        && git.run(host, &["status", "--porcelain"])?.out().lines().any(|line| !line.starts_with("??"));
    if modified && !params.force {
        return Err(Failure::new(format!("{} has local changes", dest.display()))
            .hint("`force: true` throws them away")
            .with(map! { "before" => shown }));
    }
    let url = host.exec(&git.in_dest(&["remote", "get-url", "--", &params.remote]))?;
    let url = (url.rc == 0).then(|| url.out().trim().to_owned());
    let moved = url.as_deref() != Some(&repo);
    let remote = git.remote(host, &repo)?;
    let known = || git.commit(host, &params.version).filter(|full| full.starts_with(&params.version));
    let after = target(&params, &remote).map(|t| known().filter(|_| is_hash(&t)).unwrap_or(t));
    let after = after.ok_or_else(|| missing(&params))?;
    let submodules = params.recursive && !params.bare && dest.join(".gitmodules").is_file() && {
        let status = git.run(host, &["submodule", "status", "--recursive"])?.out();
        status.lines().any(|line| !line.starts_with(' ')) || params.track_submodules
    };
    let result = map! { "before" => shown, "after" => after.clone(), "remote_url_changed" => moved };
    if before.as_deref() == Some(&after) && !modified && !moved && !submodules {
        return Ok(archive_only(params, umask, result));
    }
    let mut diff = Vec::new();
    let title = dest.display();
    if before.as_deref() != Some(&after) {
        diff.push(Diff::property(&title, "commit", before.unwrap_or_default(), &after));
    }
    if moved {
        // A copy that has the password in its configuration loses it.
        let old = without_login(&url.clone().unwrap_or_default());
        diff.push(Diff::property(&title, "repository", old, without_login(&repo)));
    }
    if modified {
        diff.push(Diff::property(&title, "local changes", "some", "none"));
    }
    if submodules {
        diff.push(Diff::property(&title, "submodules", "differ", "updated"));
    }
    Ok(Plan::change(result, diff, move |host| {
        let git = Git::new(&params, umask)?;
        if modified {
            git.run(host, &["reset", "--hard", "HEAD"])?;
        }
        if moved {
            let verb = if url.is_some() { "set-url" } else { "add" };
            git.run(host, &["remote", verb, "--", &params.remote, &repo])?;
        }
        fetch(&git, host, &remote)?;
        finish_version(&git, host, &remote)?;
        let mut result = finish(&git, host)?;
        if submodules {
            result.insert("submodules_changed".into(), true.into());
        }
        Ok(result)
    }))
}

fn target(params: &Params, remote: &Remote) -> Option<String> {
    if params.version == "HEAD" {
        return remote.head.clone();
    }
    let named = remote.branch.clone().or_else(|| remote.tag.clone());
    // A commit cannot be asked for; neither can what another refspec brings.
    named.or_else(|| (is_hash(&params.version) || params.refspec.is_some()).then(|| params.version.clone()))
}

fn missing(params: &Params) -> Failure {
    let repo = without_login(&params.repo);
    Failure::new(format!("{repo} has no branch or tag {}", params.version))
}

/// The copy is as declared; a missing archive of it is still written.
fn archive_only(params: Params, umask: Option<u32>, result: Map) -> Plan {
    match &params.archive {
        Some(file) if !file.exists() => {
            let diff = vec![Diff::property(file.display(), "state", "absent", "file")];
            Plan::change(result, diff, move |host| {
                archive(&Git::new(&params, umask)?, host)?;
                Ok(map! {})
            })
        }
        _ => Plan::ok(result),
    }
}

#[cfg(test)]
mod tests;
