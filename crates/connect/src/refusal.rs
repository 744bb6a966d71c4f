//! Why a host or its login was refused: host keys that are not to be trusted, and keys of ours that the host does not take.

use std::path::{Path, PathBuf};

use crate::certificate::Certificate;
use crate::known::{self, Known, Marker};
use crate::problem::{Problem, ProblemKind};
use crate::talk::SshTalk;
use crate::target::Target;

/// What the ssh in front of a jump host says of it.
const ON_THE_WAY: [(&str, ProblemKind); 6] = [
    ("is marked as revoked", ProblemKind::RevokedHostKey),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", ProblemKind::ChangedHostKey),
    ("has changed and you have requested strict checking", ProblemKind::ChangedHostKey),
    ("host key is known for", ProblemKind::UnknownHostKey),
    ("Host key verification failed", ProblemKind::UnknownHostKey),
    ("Permission denied (", ProblemKind::Denied),
];

impl SshTalk {
    /// The problem, if it is about the host's key or about ours.
    pub(crate) fn refusal(&self, target: &Target) -> Option<Problem> {
        if let Some(problem) = self.on_the_way(target) {
            return Some(problem);
        }
        let says = |part: &str| self.find(part).is_some();
        if says("is marked as revoked") || says("REVOKED HOST KEY DETECTED") {
            return Some(self.revoked_key(target));
        }
        if says("REMOTE HOST IDENTIFICATION HAS CHANGED")
            || says("has changed and you have requested strict checking")
        {
            return Some(self.changed_key(target));
        }
        if let Some(line) = self.find("Certificate invalid: ") {
            let why = line.split_once("Certificate invalid: ").map_or("", |(_, why)| why);
            return Some(self.host_certificate(target, why));
        }
        if says("host key is known for") || says("Host key verification failed") {
            return Some(self.unknown_key(target));
        }
        let line = self.find("Permission denied (").or_else(|| self.find("Too many authentication failures"));
        line.map(|line| self.denied(target, line))
    }

    /// A refusal before the host itself has shown a key: ssh's ProxyJump or ProxyCommand met it.
    fn on_the_way(&self, target: &Target) -> Option<Problem> {
        if self.host_key.is_some() || self.host_certificate.is_some() || self.authenticated {
            return None;
        }
        let (line, kind) = ON_THE_WAY.iter().find_map(|(part, kind)| Some((self.find(part)?, *kind)))?;
        let message = format!("the way to {} ends at a jump host: {line}", target.address());
        Some(Problem::new(kind, message).hint(
            "its host key has to be in the same file as those of hosts, and the login to work by key, as who and by which key \
             ssh_config says",
        ))
    }

    /// The ways to log in that the host offers, as it said when it refused.
    pub fn methods(&self) -> Option<Vec<String>> {
        let line = self.find("Permission denied (")?;
        Some(methods(line).split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    fn shown(&self) -> &str {
        self.host_key.as_deref().unwrap_or("a key that ssh did not show")
    }

    fn unknown_key(&self, target: &Target) -> Problem {
        let name = match target.port {
            Some(port) if port != 22 => format!("-p {port} {}", target.host),
            _ => target.host.clone(),
        };
        let file = target.known_hosts_text();
        Problem::new(
            ProblemKind::UnknownHostKey,
            format!("the host key of {} is unknown: it shows {}", target.address(), self.shown()),
        )
        .hint(format!(
            "compare that fingerprint with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), \
             then add the key: debark hosts trust {}, or ssh-keyscan {name} >> {file}",
            target.name
        ))
    }

    /// Where ssh found what it took offence at: `FILE:LINE`.
    fn offending(&self) -> Option<&str> {
        self.find("Offending ").and_then(|line| line.split_once(" key in ")).map(|(_, place)| place)
    }

    fn changed_key(&self, target: &Target) -> Problem {
        let place = self.offending();
        let known = place
            .and_then(|place| place.rsplit_once(':'))
            .and_then(|(file, line)| known::at(Path::new(file), line.parse().ok()?));
        let known = known.and_then(|known| known.described());
        let message = format!(
            "the host key of {} has changed: {} has {}, the host shows {}",
            target.address(),
            place.unwrap_or("known_hosts"),
            known.as_deref().unwrap_or("another one"),
            self.shown(),
        );
        let removal = self.find("ssh-keygen -f ").map_or("ssh-keygen -R HOST", str::trim);
        Problem::new(ProblemKind::ChangedHostKey, message).hint(format!(
            "somebody may be in between; if the host was set up anew, compare fingerprints, then debark hosts trust \
             --replace {}, or remove the old key ({removal}) and add the new one",
            target.name
        ))
    }

    fn revoked_key(&self, target: &Target) -> Problem {
        let file = target.known_hosts_file();
        let shown = self.shown().split_whitespace().nth(1).unwrap_or_default();
        // A certificate counts as revoked if its CA is.
        let of_ca = self.host_certificate.as_deref().unwrap_or_default();
        let fits = |known: &Known| {
            let fingerprint = known.fingerprint().unwrap_or_default();
            known.marker == Some(Marker::Revoked)
                && !fingerprint.is_empty()
                && (fingerprint == shown || of_ca.contains(&fingerprint))
        };
        let place = known::read(&file).ok().and_then(|all| all.into_iter().find(fits));
        let place = place
            .map_or_else(|| "known_hosts".to_owned(), |known| format!("{}:{}", file.display(), known.line));
        Problem::new(
            ProblemKind::RevokedHostKey,
            format!("the host key of {} is revoked by {place}: it shows {}", target.address(), self.shown()),
        )
        .hint("whoever holds that key may not be the host: give the host a new key (ssh-keygen -A), then debark hosts trust")
    }

    fn host_certificate(&self, target: &Target, why: &str) -> Problem {
        let about = self.host_certificate.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
        let hint = match why.contains("expired") || why.contains("not yet valid") {
            true => "sign a new one: debark ssh-ca sign-host",
            false => {
                "it has to be signed for the name or address that ansible_host has: debark ssh-ca sign-host"
            }
        };
        Problem::new(
            ProblemKind::HostCertificate,
            format!(
                "the host certificate of {} does not hold: {}{about}",
                target.address(),
                crate::talk::lower(why)
            ),
        )
        .hint(hint)
    }

    fn denied(&self, target: &Target, line: &str) -> Problem {
        let address = target.address();
        let methods = methods(line);
        if !methods.is_empty() && !methods.split(',').any(|method| method == "publickey") {
            return Problem::new(
                ProblemKind::KeysNotTaken,
                format!("{address} takes no keys: it offers only {methods}"),
            )
            .hint("debark logs in with keys only: set `PubkeyAuthentication yes` in its sshd_config");
        }
        if let Some(problem) = self.offered.iter().find_map(|offer| of_offer(target, offer)) {
            return problem;
        }
        // The host would take that key, but it is not here: ssh goes on to the next one, and the refusal is of all the others.
        if let Some(line) = self.find("signing failed for ") {
            let what = line.split_once("signing failed for ").map_or("", |(_, what)| what);
            let hint = match what.contains("-SK ") {
                true => "plug the token in, and touch it when it blinks",
                false => {
                    "the ssh agent that has the key does not sign with it: see ssh-add -l, and whether it asks somewhere"
                }
            };
            let message = format!("{address} takes a key that cannot sign: {what}");
            return Problem::new(ProblemKind::Denied, message).hint(hint);
        }
        let offered = match self.offered.as_slice() {
            [] => "no key was offered".to_owned(),
            keys => format!("it took none of {}", keys.join(", ")),
        };
        let problem = Problem::new(ProblemKind::Denied, format!("{address} refuses the login: {offered}"));
        if let Some(key) = target.key.as_deref().filter(|key| self.offered.is_empty() && missing(key)) {
            return problem.hint(format!("there is no private key {key}: see --private-key"));
        }
        problem.hint("is it the right user, and is the public key in its ~/.ssh/authorized_keys? see --private-key and -u")
    }
}

fn methods(line: &str) -> &str {
    line.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inner, _)| inner)
}

/// What can be told here about a key that the host refused. It says nothing itself: whoever guesses should learn nothing.
fn of_offer(target: &Target, offer: &str) -> Option<Problem> {
    let (rest, _) = offer.split_once(" SHA256:")?;
    let (path, kind) = rest.rsplit_once(' ')?;
    let address = target.address();
    let certificate = kind.ends_with("-CERT").then(|| {
        [format!("{path}-cert.pub"), path.to_owned()]
            .into_iter()
            .find_map(|path| Some((Certificate::read(Path::new(&path)).ok()?, path)))
    });
    let certificate = certificate.flatten();
    let public = certificate.as_ref().map_or_else(|| format!("{path}.pub"), |(_, path)| path.clone());
    if let Some(list) = revoked_by(Path::new(&public)) {
        let what = match &certificate {
            Some((certificate, _)) => format!("certificate {public} (serial {})", certificate.serial),
            None => format!("key {public}"),
        };
        return Some(
            Problem::new(
                ProblemKind::RevokedKey,
                format!("{address} refuses the login: the {what} is revoked by {}", list.display()),
            )
            .hint("a revoked key never counts again: make a new one, and have that signed"),
        );
    }
    let (certificate, file) = certificate?;
    let now = now();
    if now >= certificate.valid_before || now < certificate.valid_after {
        let why = match now < certificate.valid_after {
            true => format!("is not valid before {}", crate::certificate::time(certificate.valid_after)),
            false => format!("expired at {}", crate::certificate::time(certificate.valid_before)),
        };
        return Some(
            Problem::new(
                ProblemKind::ExpiredCertificate,
                format!("{address} refuses the login: the certificate {file} of {} {why}", certificate.id),
            )
            .hint("have it signed anew: debark ssh-ca sign-user"),
        );
    }
    let user = target.user.as_deref()?;
    (!certificate.principals.is_empty() && !certificate.principals.iter().any(|name| name == user)).then(|| {
        Problem::new(
            ProblemKind::Denied,
            format!(
                "{address} refuses the login: the certificate {file} of {} is for {}, not for {user}",
                certificate.id,
                certificate.principals.join(", ")
            ),
        )
        .hint("log in as one of these (-u), or have it signed for that user: debark ssh-ca sign-user --principals")
    })
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// The revocation list that stands beside our CA's key, if there is one: `FILE.krl` of `DEBARK_SSH_CA`, or of
/// `debark/ssh-ca/ca` in the directory for configuration.
pub fn revocation_list() -> Option<PathBuf> {
    let list = PathBuf::from(format!("{}.krl", ca_file()?.display()));
    list.is_file().then_some(list)
}

/// Where the CA's key is, unless it is named: `DEBARK_SSH_CA`, or `debark/ssh-ca/ca` in the directory for configuration.
pub fn ca_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DEBARK_SSH_CA").or_else(|| {
        let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
        Some(base.join("debark/ssh-ca/ca"))
    })
}

/// Our list that revokes a public key or certificate, as ssh-keygen tells (ssh-keygen(1), `-Q`).
fn revoked_by(public: &Path) -> Option<PathBuf> {
    let list = revocation_list().filter(|_| public.is_file())?;
    let mut command = std::process::Command::new("ssh-keygen");
    let output = command.arg("-Q").arg("-f").arg(&list).arg(public).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim_end().ends_with("REVOKED");
    (said && !output.status.success()).then_some(list)
}

/// Whether no such file is there; `~` is left to ssh.
fn missing(key: &str) -> bool {
    !key.starts_with(['~', '%']) && !Path::new(key).exists()
}
