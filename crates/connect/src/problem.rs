//! Why a host cannot be reached, in the words that help: read from what ssh and the far side say.

use std::fmt;

use debark_tunnel::{Failure, Stage};

use crate::target::Target;

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// No key of the host is in known_hosts.
    UnknownHostKey,
    /// The host shows another key than known_hosts has.
    ChangedHostKey,
    /// The host takes none of our keys.
    Denied,
    /// Nothing listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The name does not resolve, or there is no route.
    NoRoute,
    /// The connection was there and broke.
    Lost,
    /// The agent cannot run there: other machine type, no place for it, a tool is missing.
    Agent,
    /// The far side says something that debark does not say.
    Garbage,
    /// The VPN's gateway has no address.
    VpnEndpoint,
    /// The VPN's gateway does not answer, or takes none of our keys.
    VpnHandshake,
    /// The VPN does not lead to the host's address.
    VpnRoute,
    /// Inside the VPN the host's name has no address.
    VpnName,
    /// The VPN's name servers do not answer.
    VpnDns,
    /// The VPN's configuration cannot be read, opened or understood.
    VpnConfig,
    /// The VPN's tunnel is not there.
    Vpn,
    /// ssh or the agent cannot be started here.
    Local,
}

/// Why a host cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of trouble it is.
    pub kind: ProblemKind,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem that a sentence explains.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl From<String> for Problem {
    /// A problem of this machine.
    fn from(message: String) -> Self {
        Self::new(ProblemKind::Local, message)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let kind = match failure.stage {
            Stage::Endpoint => ProblemKind::VpnEndpoint,
            Stage::Handshake => ProblemKind::VpnHandshake,
            Stage::Route => ProblemKind::VpnRoute,
            Stage::Name => ProblemKind::VpnName,
            Stage::Dns => ProblemKind::VpnDns,
            Stage::Config => ProblemKind::VpnConfig,
            Stage::Refused => ProblemKind::Refused,
            Stage::TimedOut => ProblemKind::TimedOut,
            Stage::Local => ProblemKind::Vpn,
        };
        let problem = Self::new(kind, failure.message);
        if failure.hint.is_empty() { problem } else { problem.hint(failure.hint) }
    }
}

/// Begins the line by which a ProxyCommand of debark says why there is no connection; a [`Failure`] follows.
pub const VPN_FAILURE: &str = "debark-vpn: ";

/// What ssh wrote to standard error, told apart: its debug lines carry facts, the others are for people.
#[derive(Debug, Clone, Default)]
pub struct SshTalk {
    /// `ssh-ed25519 SHA256:...` as the host showed it.
    host_key: Option<String>,
    /// Keys that were offered.
    offered: Vec<String>,
    /// Whether authentication succeeded.
    pub(crate) authenticated: bool,
    /// What is left, the last of it.
    lines: Vec<String>,
}

/// Lines kept for messages.
const LINES: usize = 40;

impl SshTalk {
    /// Takes a line.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(debug) = line.strip_prefix("debug1: ") {
            if let Some(key) = debug.strip_prefix("Server host key: ") {
                self.host_key = Some(key.into());
            } else if let Some(key) = debug.strip_prefix("Offering public key: ") {
                if self.offered.len() < LINES {
                    self.offered.push(key.into());
                }
            } else if debug.starts_with("Authentication succeeded") {
                self.authenticated = true;
            }
            return;
        }
        // "Authenticated to h ([10.0.0.1]:22) using "publickey"." and the byte counts at the end are LogLevel's, too.
        let chatter =
            ["OpenSSH_", "Authenticated to ", "Transferred: ", "Bytes per second: ", "Warning: Permanently"];
        if line.is_empty() || chatter.iter().any(|start| line.starts_with(start)) {
            self.authenticated |= line.starts_with("Authenticated to ");
            return;
        }
        if self.lines.len() == LINES {
            self.lines.remove(0);
        }
        self.lines.push(line.chars().take(1000).collect());
    }

    /// The last words that are not debug lines.
    pub fn last(&self) -> Option<&str> {
        self.lines.last().map(String::as_str)
    }

    fn find(&self, part: &str) -> Option<&str> {
        self.lines.iter().map(String::as_str).find(|line| line.contains(part))
    }

    /// What it means that ssh ended with `status` before the agent spoke.
    pub fn explain(&self, target: &Target, status: Option<i32>) -> Problem {
        let address = target.address();
        // Its own words come before what ssh makes of them.
        let vpn = self.find(VPN_FAILURE).and_then(|line| line.split_once(VPN_FAILURE));
        if let Some(failure) = vpn.and_then(|(_, line)| Failure::of_line(line)) {
            return failure.into();
        }
        if self.find("REMOTE HOST IDENTIFICATION HAS CHANGED").is_some()
            || self.find("has changed and you have requested strict checking").is_some()
        {
            return self.changed_key(&address);
        }
        if self.find("host key is known for").is_some() || self.find("Host key verification failed").is_some()
        {
            return self.unknown_key(target);
        }
        if let Some(line) =
            self.find("Permission denied (").or_else(|| self.find("Too many authentication failures"))
        {
            return self.denied(target, line);
        }
        let mut rules = RULES.iter().filter_map(|(part, rule)| self.find(part).map(|line| (line, rule)));
        if let Some((line, (kind, words, hint))) = rules.next() {
            let line = line.trim_start_matches("ssh: ");
            let message = match *words {
                "" => format!("{address}: {}", lower(line)),
                words => format!("{address} {words}"),
            };
            return Problem::new(*kind, message).hint(*hint);
        }
        let said = self.last().map(|line| format!(": {}", lower(line))).unwrap_or_default();
        match status {
            _ if self.authenticated => Problem::new(
                ProblemKind::Agent,
                format!("{address} ended the session before the agent ran{said}"),
            )
            .hint("the account needs a shell that runs commands; try: ssh HOST true"),
            Some(status) => {
                Problem::new(ProblemKind::Lost, format!("ssh to {address} ended with {status}{said}"))
                    .hint("try the same with ssh -v")
            }
            None => Problem::new(ProblemKind::Lost, format!("ssh to {address} was killed{said}")),
        }
    }

    fn unknown_key(&self, target: &Target) -> Problem {
        let shown = self.host_key.as_deref().unwrap_or("a key that ssh did not show");
        let name = match target.port {
            Some(port) if port != 22 => format!("-p {port} {}", target.host),
            _ => target.host.clone(),
        };
        Problem::new(
            ProblemKind::UnknownHostKey,
            format!("the host key of {} is unknown: it shows {shown}", target.address()),
        )
        .hint(format!(
            "compare that fingerprint with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), \
             then add the key: ssh-keyscan {name} >> {}",
            known_hosts(target)
        ))
    }

    fn changed_key(&self, address: &str) -> Problem {
        let shown = self.host_key.as_deref().unwrap_or("another one");
        let place =
            self.find("Offending ").and_then(|line| line.split_once(" key in ")).map(|(_, place)| place);
        let known = place
            .and_then(|place| place.rsplit_once(':'))
            .and_then(|(file, line)| known_fingerprint(file, line.parse().ok()?));
        let message = format!(
            "the host key of {address} has changed: {} has {}, the host shows {shown}",
            place.unwrap_or("known_hosts"),
            known.as_deref().unwrap_or("another one"),
        );
        let removal = self.find("ssh-keygen -f ").map_or("ssh-keygen -R HOST", str::trim);
        Problem::new(ProblemKind::ChangedHostKey, message).hint(format!(
            "somebody may be in between; if the host was set up anew, remove the old key ({removal}) and add the new one"
        ))
    }

    fn denied(&self, target: &Target, line: &str) -> Problem {
        let address = target.address();
        let methods =
            line.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inner, _)| inner);
        let offered = match self.offered.as_slice() {
            [] => "no key was offered".to_owned(),
            keys => format!("it took none of {}", keys.join(", ")),
        };
        let problem = Problem::new(ProblemKind::Denied, format!("{address} refuses the login: {offered}"));
        if !methods.is_empty() && !methods.contains("publickey") {
            return problem.hint(format!("the host takes only {methods}; debark logs in with keys only"));
        }
        if let Some(key) = target.key.as_deref().filter(|key| self.offered.is_empty() && missing(key)) {
            return problem.hint(format!("there is no private key {key}: see --private-key"));
        }
        problem.hint("is it the right user, and is the public key in its ~/.ssh/authorized_keys? see --private-key and -u")
    }
}

/// Whether no such file is there; `~` is left to ssh.
fn missing(key: &str) -> bool {
    !key.starts_with(['~', '%']) && !std::path::Path::new(key).exists()
}

/// The file that host keys are looked up in, as far as the arguments say.
fn known_hosts(target: &Target) -> &str {
    let file =
        target.args.iter().find_map(|word| word.split_once("UserKnownHostsFile=")).map(|(_, file)| file);
    file.filter(|file| *file != "/dev/null").unwrap_or("~/.ssh/known_hosts")
}

type Rule = (ProblemKind, &'static str, &'static str);

/// Parts of ssh's messages, and what they mean. The first that fits wins; without words ssh's own are shown.
const RULES: &[(&str, Rule)] = &[
    ("Could not resolve hostname", (ProblemKind::NoRoute, "", "set ansible_host, or mend the name")),
    (
        "Connection refused",
        (
            ProblemKind::Refused,
            "refuses the connection: nothing listens on that port",
            "is sshd running there, and is ansible_port right?",
        ),
    ),
    (
        "timed out during banner exchange",
        (
            ProblemKind::TimedOut,
            "took the connection but did not answer in time",
            "is it sshd that listens there? -T sets the time",
        ),
    ),
    (
        "Connection timed out",
        (ProblemKind::TimedOut, "did not answer in time", "is the host up, and is the VPN? -T sets the time"),
    ),
    (
        "Operation timed out",
        (ProblemKind::TimedOut, "did not answer in time", "is the host up, and is the VPN? -T sets the time"),
    ),
    ("No route to host", (ProblemKind::NoRoute, "", "is the host up, and the VPN?")),
    ("Network is unreachable", (ProblemKind::NoRoute, "", "is the VPN up?")),
    (
        "not responding",
        (
            ProblemKind::Lost,
            "stopped answering",
            "the task that was running ends by itself; run the same again",
        ),
    ),
    (
        "Broken pipe",
        (
            ProblemKind::Lost,
            "broke the connection",
            "the task that was running ends by itself; run the same again",
        ),
    ),
    ("no mutual signature", (ProblemKind::Denied, "", "the host's OpenSSH is too old for this kind of key")),
    (
        "Unable to negotiate",
        (ProblemKind::Denied, "", "the host's OpenSSH offers nothing that this one takes"),
    ),
    ("invalid format", (ProblemKind::Denied, "", "is that file a private key?")),
    (
        "UNPROTECTED PRIVATE KEY",
        (
            ProblemKind::Denied,
            "cannot be logged in to: others may read the private key file",
            "chmod 600 the key",
        ),
    ),
    (
        "kex_exchange_identification",
        (ProblemKind::Refused, "", "sshd turned the connection away: MaxStartups, or a filter"),
    ),
    ("Bad configuration option", (ProblemKind::Local, "", "see ~/.ssh/config and ansible_ssh_common_args")),
    ("Bad owner or permissions", (ProblemKind::Local, "", "see ~/.ssh/config")),
    ("Connection closed by", (ProblemKind::Lost, "", "see the host's journal: journalctl -u ssh")),
    ("Connection reset", (ProblemKind::Lost, "", "see the host's journal: journalctl -u ssh")),
];

fn lower(line: &str) -> String {
    let mut letters = line.chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string()).unwrap_or_default();
    (first + letters.as_str()).trim_end_matches('.').to_owned()
}

/// The fingerprint of the key in a known_hosts file's line, as `ssh-ed25519 SHA256:...`.
fn known_fingerprint(file: &str, line: usize) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut words =
        text.lines().nth(line.checked_sub(1)?)?.split_whitespace().skip_while(|word| word.starts_with('@'));
    let (_names, kind, key) = (words.next()?, words.next()?, words.next()?);
    Some(format!("{kind} {}", crate::hostkey::fingerprint(key)?))
}
