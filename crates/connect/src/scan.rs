//! What a host shows before anybody is logged in: its keys, and the ways to log in that it offers.
//!
//! It is ssh that asks, on the way that a run takes, with no key of ours and no password: the method `none` (RFC 4252,
//! section 5.2), to which a server answers with the methods that it would take.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::problem::{Problem, ProblemKind};
use crate::talk::SshTalk;
use crate::target::Target;

/// Types of host keys that are asked for, each by itself: a host shows one per connection.
const KINDS: &[&str] = &["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512"];

/// Nobody is logged in, and nothing is offered.
const NOBODY: &[&str] = &["PreferredAuthentications=none", "PubkeyAuthentication=no", "IdentityAgent=none"];

/// The key exchange that is tried first: 50 hosts at once cost a second less of processor time than with the default of OpenSSH 9, and
/// there is nothing to protect on a connection where nobody logs in. What the user asks for comes first, all others follow.
const CHEAP: &str = "KexAlgorithms=^curve25519-sha256";

/// A key that a host shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The name that known_hosts has it by.
    pub name: String,
    /// `ssh-ed25519`.
    pub kind: String,
    /// In base64.
    pub key: String,
}

/// How a host answers to somebody without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// `publickey`, `password`, ...; empty if it let us in without any.
    pub methods: Vec<String>,
    /// Its key: `ssh-ed25519 SHA256:...`.
    pub host_key: Option<String>,
}

/// What DNS says of a host's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sshfp {
    /// A record that DNSSEC protects has it.
    Confirmed,
    /// There are records, but the resolver does not say that they were signed.
    Unsigned,
    /// There is none, or it has another key.
    No,
}

impl Target {
    /// The command line of ssh with options before all others, the first that is given counts; and with [`CHEAP`] behind them.
    fn with(&self, options: &[String], cheap: bool) -> Vec<String> {
        let mut argv = self.ssh().argv;
        let words = |options: &[String]| {
            options.iter().flat_map(|option| ["-o".to_owned(), option.clone()]).collect::<Vec<_>>()
        };
        if cheap {
            // What follows is `-- HOST`.
            let end = argv.len().saturating_sub(2);
            argv.splice(end..end, words(&[CHEAP.to_owned()]));
        }
        let start = 1.min(argv.len());
        argv.splice(start..start, words(options));
        argv
    }

    fn attempt(&self, options: &[String]) -> Result<(SshTalk, Option<i32>), Problem> {
        self.heard(options).map(|(talk, status, _)| (talk, status))
    }

    /// What ssh said, told apart; how it ended; and all that it said.
    fn heard(&self, options: &[String]) -> Result<(SshTalk, Option<i32>, String), Problem> {
        if self.vpn != debark_tunnel::Vpn::None && self.way.is_none() {
            let message = format!("{} is behind a VPN, and no way through it was opened", self.name);
            return Err(Problem::new(ProblemKind::Vpn, message));
        }
        let heard = self.try_with(&self.with(options, true))?;
        // ssh_config may name the one algorithm that an old server knows, and an old ssh knows no `^`.
        match heard.0.find("no matching key exchange method").or(heard.0.find("SSH2 KexAlgorithms")) {
            Some(_) => self.try_with(&self.with(options, false)),
            None => Ok(heard),
        }
    }

    fn try_with(&self, argv: &[String]) -> Result<(SshTalk, Option<i32>, String), Problem> {
        let mut command = Command::new(argv.first().map_or("ssh", String::as_str));
        command.args(argv.iter().skip(1)).arg("true");
        let local = |error: std::io::Error| {
            Problem::new(ProblemKind::Local, format!("cannot run ssh: {error}"))
                .hint("debark needs OpenSSH's client: apt install openssh-client")
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(local)?;
        let mut text = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(1 << 20).read_to_end(&mut text);
        }
        let status = child.wait().map_err(local)?;
        let mut talk = SshTalk::default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines =
            text.lines().filter(|line| !line.starts_with("debug2: ") && !line.starts_with("debug3: "));
        lines.for_each(|line| talk.line(line));
        Ok((talk, status.code(), text))
    }

    /// Connects as a run does, with strict host keys, and logs in to nothing.
    ///
    /// # Errors
    /// The host cannot be reached, or its key is not to be trusted.
    pub fn greet(&self) -> Result<Greeting, Problem> {
        self.greet_at("DEBUG1").map(|(greeting, _)| greeting)
    }

    /// The same, with all that ssh says of it at `LogLevel=DEBUG2`: the server's algorithms are there.
    ///
    /// # Errors
    /// As [`Self::greet`].
    pub fn greet_and_tell(&self) -> Result<(Greeting, String), Problem> {
        self.greet_at("DEBUG2")
    }

    fn greet_at(&self, level: &str) -> Result<(Greeting, String), Problem> {
        let mut options: Vec<String> = NOBODY.iter().map(|text| (*text).to_owned()).collect();
        options.push(format!("LogLevel={level}"));
        let (talk, status, text) = self.heard(&options)?;
        let methods = match (talk.methods(), talk.authenticated) {
            (Some(methods), _) => methods,
            (None, true) => Vec::new(),
            (None, false) => return Err(talk.explain(self, status)),
        };
        Ok((Greeting { methods, host_key: talk.host_key }, text))
    }

    /// The keys that the host shows, whoever it may be. Nothing is trusted by it.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub fn scan(&self) -> Result<Vec<Shown>, Problem> {
        let directory = tempfile::tempdir()
            .map_err(|error| Problem::new(ProblemKind::Local, format!("no temporary directory: {error}")))?;
        let found: Vec<_> = std::thread::scope(|scope| {
            let one = |kind: &'static str| {
                let file = directory.path().join(kind);
                scope.spawn(move || self.scan_one(kind, &file))
            };
            let threads: Vec<_> = KINDS.iter().map(|kind| one(kind)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let mut shown: Vec<Shown> = Vec::new();
        let mut problem = None;
        for result in found {
            match result {
                Ok(Some(key)) => shown.push(key),
                Ok(None) => {}
                Err(found) => problem = Some(found),
            }
        }
        match problem {
            Some(problem) => Err(problem),
            None if shown.is_empty() => Err(Problem::new(
                ProblemKind::Garbage,
                format!("{} shows no host key of the types {}", self.address(), KINDS.join(", ")),
            )),
            None => Ok(shown),
        }
    }

    fn scan_one(&self, kind: &str, file: &Path) -> Result<Option<Shown>, Problem> {
        let mut options = vec![
            "StrictHostKeyChecking=accept-new".to_owned(),
            format!("UserKnownHostsFile=\"{}\"", file.display()),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "KnownHostsCommand=none".to_owned(),
            "HashKnownHosts=no".to_owned(),
            format!("HostKeyAlgorithms={kind}"),
        ];
        options.extend(NOBODY.iter().map(|text| (*text).to_owned()));
        let (talk, status) = self.attempt(&options)?;
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut words = text.lines().next().unwrap_or_default().split_whitespace();
        if let (Some(name), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) {
            return Ok(Some(Shown { name: name.into(), kind: kind.into(), key: key.into() }));
        }
        match talk.find("no matching host key type found") {
            Some(_) => Ok(None),
            None => Err(talk.explain(self, status)),
        }
    }

    /// Whether a key of this type that the host shows is in DNS (RFC 4255), as ssh and the machine's resolver tell.
    ///
    /// # Errors
    /// The host cannot be reached.
    pub fn sshfp(&self, kind: &str) -> Result<Sshfp, Problem> {
        let algorithm = if kind == "ssh-rsa" { "rsa-sha2-512" } else { kind };
        let mut options = vec![
            "VerifyHostKeyDNS=yes".to_owned(),
            "UserKnownHostsFile=/dev/null".to_owned(),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "KnownHostsCommand=none".to_owned(),
            format!("HostKeyAlgorithms={algorithm}"),
        ];
        options.extend(NOBODY.iter().map(|text| (*text).to_owned()));
        let (talk, status) = self.attempt(&options)?;
        // Strict as it is, ssh goes on only with a key that DNSSEC vouches for.
        if talk.methods().is_some() || talk.authenticated {
            return Ok(Sshfp::Confirmed);
        }
        let problem = talk.explain(self, status);
        match (problem.kind.is_untrusted(), talk.dns.as_deref()) {
            (true, Some(text)) if text.contains("insecure") && !text.contains("found 0 ") => {
                Ok(Sshfp::Unsigned)
            }
            (true, _) => Ok(Sshfp::No),
            (false, _) => Err(problem),
        }
    }
}
