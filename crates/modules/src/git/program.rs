//! The host's own git: how it is called, and what it says of a repository.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use super::Params;
use crate::exec::{Cmd, Output};
use crate::http::url::{Url, without_login};
use crate::{Failure, Host};

/// What a repository says of a version.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Remote {
    /// The branch that HEAD is.
    pub(super) head_branch: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) head: Option<String>,
}

/// Reads `git ls-remote --symref REPO HEAD refs/heads/V refs/tags/V refs/tags/V^{}`.
pub(super) fn read_remote(out: &str, version: &str) -> Remote {
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
pub(super) struct Git<'a> {
    pub(super) params: &'a Params,
    umask: Option<u32>,
    login: Option<Login>,
}

impl<'a> Git<'a> {
    pub(super) fn new(params: &'a Params, umask: Option<u32>) -> Result<Self, Failure> {
        Ok(Self { params, umask, login: Login::of(&params.repo)? })
    }

    /// Whether the URL has a login, which git is not to see as a word.
    pub(super) fn logs_in(&self) -> bool {
        self.login.is_some()
    }

    pub(super) fn cmd(&self, words: &[&str]) -> Cmd {
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

    pub(super) fn in_dest(&self, words: &[&str]) -> Cmd {
        let cmd = self.cmd(words);
        match &self.params.dest {
            Some(dest) => cmd.cwd(dest),
            None => cmd,
        }
    }

    pub(super) fn run(&self, host: &Host, words: &[&str]) -> Result<Output, Failure> {
        host.exec_ok(&self.in_dest(words)).map_err(|f| Failure { msg: without_login(&f.msg), ..f })
    }

    /// The commit that a name is in the copy.
    pub(super) fn commit(&self, host: &Host, name: &str) -> Option<String> {
        let output = host
            .exec(&self.in_dest(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]))
            .ok()?;
        (output.rc == 0).then(|| output.out().trim().to_owned())
    }

    pub(super) fn remote(&self, host: &Host, repo: &str) -> Result<Remote, Failure> {
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
