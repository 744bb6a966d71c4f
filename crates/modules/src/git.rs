//! `git`: a working copy (or bare copy) of a repository, with the host's own git.
//!
//! What a run would do is told by `git ls-remote`: it asks the repository which commit a branch or tag is, without
//! fetching anything. A copy that has it already is left alone.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use crate::exec::{Cmd, Output};
use crate::http::url::{Url, without_login};
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Map, Plan, Value, map, params};

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

/// What a repository says of a version.
#[derive(Debug, Clone, PartialEq, Default)]
struct Remote {
    /// The branch that HEAD is.
    head_branch: Option<String>,
    branch: Option<String>,
    tag: Option<String>,
    head: Option<String>,
}

/// Reads `git ls-remote --symref REPO HEAD refs/heads/V refs/tags/V refs/tags/V^{}`.
fn read_remote(out: &str, version: &str) -> Remote {
    let mut remote = Remote::default();
    for line in out.lines() {
        let Some((what, name)) = line.split_once('\t') else { continue };
        if let Some(branch) = what.strip_prefix("ref: refs/heads/").filter(|_| name == "HEAD") {
            remote.head_branch = Some(branch.to_owned());
        } else if name == "HEAD" {
            remote.head = Some(what.to_owned());
        } else if name.strip_prefix("refs/heads/") == Some(version) {
            remote.branch = Some(what.to_owned());
        } else if name.strip_prefix("refs/tags/") == Some(version) {
            remote.tag.get_or_insert_with(|| what.to_owned());
        } else if name.strip_prefix("refs/tags/").and_then(|n| n.strip_suffix("^{}")) == Some(version) {
            // The commit that an annotated tag is of.
            remote.tag = Some(what.to_owned());
        }
    }
    remote
}

/// The user and password of an http URL, where git's helper for credentials finds them (gitcredentials(7)): arguments and environment
/// are for all to see, the copy's configuration stays. Memory that belongs to this process is for its user alone, and gone with it.
struct Login {
    options: [String; 2],
    /// Open for as long as git may ask.
    _memory: std::fs::File,
}

impl Login {
    /// `None`: the URL has no password.
    fn of(repo: &str) -> Result<Option<Self>, Failure> {
        let scheme = repo.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return Ok(None);
        }
        // What a slash in a password makes of a URL would have the password among git's arguments.
        let url = Url::parse(repo).map_err(|failure| {
            failure
                .hint("a password in a URL has to be escaped: {{ token | urlencode | replace('/', '%2F') }}")
        })?;
        let Some((user, password)) = url.login.as_ref().filter(|(_, password)| !password.is_empty()) else {
            return Ok(None);
        };
        if user.contains(['\n', '\0']) || password.contains(['\n', '\0']) {
            return Err(Failure::new("git: a line break is in the URL's login"));
        }
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let memory = rustix::fs::memfd_create("git", flags).map_err(std::io::Error::from);
        let written = memory.and_then(|memory| {
            let mut memory = std::fs::File::from(memory);
            memory.write_all(format!("username={user}\npassword={password}\n").as_bytes())?;
            Ok(memory)
        });
        let memory = written.map_err(|e| Failure::new(format!("git: no memory for the URL's login: {e}")))?;
        let scheme = if url.tls { "https" } else { "http" };
        // No other helper is asked, or told to keep it. What git wants (`get`, `store`) follows as a word.
        let helper = format!(
            "credential.{scheme}://{}.helper=!cat /proc/{}/fd/{} #",
            url.authority(),
            std::process::id(),
            memory.as_raw_fd()
        );
        Ok(Some(Self { options: ["credential.helper=".to_owned(), helper], _memory: memory }))
    }
}

/// The program with what all its calls share.
struct Git<'a> {
    params: &'a Params,
    umask: Option<u32>,
    login: Option<Login>,
}

impl<'a> Git<'a> {
    fn new(params: &'a Params, umask: Option<u32>) -> Result<Self, Failure> {
        Ok(Self { params, umask, login: Login::of(&params.repo)? })
    }

    fn cmd(&self, words: &[&str]) -> Cmd {
        let p = self.params;
        let program = p.executable.clone().unwrap_or_else(|| "git".into());
        let mut ssh = "ssh -o BatchMode=yes".to_owned();
        if let Some(key) = &p.key_file {
            ssh += &format!(" -i {} -o IdentitiesOnly=yes", quote(&key.to_string_lossy()));
        }
        if let Some(options) = &p.ssh_opts {
            ssh += &format!(" {options}");
        }
        if p.accept_hostkey {
            ssh += " -o StrictHostKeyChecking=no";
        } else if p.accept_newhostkey {
            ssh += " -o StrictHostKeyChecking=accept-new";
        }
        let login = self.login.iter().flat_map(|login| &login.options).flat_map(|option| ["-c", option]);
        let mut cmd =
            Cmd::new(program).args(login).args(words).env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
        cmd = cmd.env("GIT_SSH_COMMAND", ssh);
        cmd.umask = self.umask;
        cmd
    }

    fn in_dest(&self, words: &[&str]) -> Cmd {
        let cmd = self.cmd(words);
        match &self.params.dest {
            Some(dest) => cmd.cwd(dest),
            None => cmd,
        }
    }

    fn run(&self, host: &Host, words: &[&str]) -> Result<Output, Failure> {
        host.exec_ok(&self.in_dest(words)).map_err(|f| Failure { msg: without_login(&f.msg), ..f })
    }

    /// The commit that a name is in the copy.
    fn commit(&self, host: &Host, name: &str) -> Option<String> {
        let output = host
            .exec(&self.in_dest(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]))
            .ok()?;
        (output.rc == 0).then(|| output.out().trim().to_owned())
    }

    fn remote(&self, host: &Host, repo: &str) -> Result<Remote, Failure> {
        let v = &self.params.version;
        let refs = [
            "HEAD".to_owned(),
            format!("refs/heads/{v}"),
            format!("refs/tags/{v}"),
            format!("refs/tags/{v}^{{}}"),
        ];
        let mut words = vec!["ls-remote", "--symref", "--", repo];
        words.extend(refs.iter().map(String::as_str));
        let output = host.exec_ok(&self.cmd(&words)).map_err(|failure| {
            let why = failure.msg.clone();
            Failure { msg: format!("cannot ask {}: {why}", without_login(repo)), ..failure }
        })?;
        Ok(read_remote(&output.out(), v))
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
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
        false if git.login.is_some() => without_login(&params.repo),
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

fn clone(git: &Git<'_>, host: &Host, repo: &str, remote: &Remote) -> Result<(), Failure> {
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

fn fetch(git: &Git<'_>, host: &Host, remote: &Remote) -> Result<(), Failure> {
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
fn finish_version(git: &Git<'_>, host: &Host, remote: &Remote) -> Result<(), Failure> {
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
fn finish(git: &Git<'_>, host: &Host) -> Result<Map, Failure> {
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

fn archive(git: &Git<'_>, host: &Host) -> Result<(), Failure> {
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
