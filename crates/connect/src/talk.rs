//! What ssh says on standard error, and what it means that it ended before the agent spoke.

use debark_tunnel::Failure;

use crate::problem::{Problem, ProblemKind};
use crate::target::Target;

/// Begins the line by which a ProxyCommand of debark says why there is no connection; a [`Failure`] follows.
pub const VPN_FAILURE: &str = "debark-vpn: ";

/// What ssh wrote to standard error, told apart: its debug lines carry facts, the others are for people.
#[derive(Debug, Clone, Default)]
pub struct SshTalk {
    /// `ssh-ed25519 SHA256:...` as the host showed it.
    pub(crate) host_key: Option<String>,
    /// What else is known of a certificate that the host showed: serial, ID, CA, validity.
    pub(crate) host_certificate: Option<String>,
    /// Keys that were offered: `PATH TYPE SHA256:... WHERE`.
    pub(crate) offered: Vec<String>,
    /// What DNS says of the host's key (SSHFP), as ssh puts it.
    pub(crate) dns: Option<String>,
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
            } else if let Some(text) = debug.strip_prefix("Server host certificate: ") {
                self.host_certificate = Some(text.chars().take(1000).collect());
            } else if debug.contains(" fingerprints in DNS") {
                self.dns = Some(debug.into());
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

    /// The first line that holds this.
    pub(crate) fn find(&self, part: &str) -> Option<&str> {
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
        if let Some(problem) = self.refusal(target) {
            return problem;
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
}

/// A kind, words in place of ssh's, and what to do.
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

pub(crate) fn lower(line: &str) -> String {
    let mut letters = line.chars();
    let first = letters.next().map(|letter| letter.to_lowercase().to_string()).unwrap_or_default();
    (first + letters.as_str()).trim_end_matches('.').to_owned()
}
