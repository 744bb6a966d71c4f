//! Why a host cannot be reached: kinds of trouble, each with a sentence and what to do.

use std::fmt;

use debark_tunnel::{Failure, Stage};

/// The exit code's bit that says that a host cannot be reached, or was lost.
pub const UNREACHABLE: u8 = 4;

/// The exit code for hosts that cannot be reached, each for this reason, if it is known: 0 if there is none, that of the reason if all have the
/// same, else plain [`UNREACHABLE`].
pub fn exit_code(reasons: impl IntoIterator<Item = Option<ProblemKind>>) -> u8 {
    reasons.into_iter().map(|reason| reason.map_or(UNREACHABLE, ProblemKind::code)).fold(0, join)
}

/// The exit code for what ends with these two, each 0 or of hosts that failed or cannot be reached: two reasons are none.
pub fn join(one: u8, other: u8) -> u8 {
    const FAILED: u8 = 2;
    let reason = match (one & !FAILED, other & !FAILED) {
        (0, reason) | (reason, 0) => reason,
        (one, other) if one == other => one,
        _ => UNREACHABLE,
    };
    reason | (one | other) & FAILED
}

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// No key of the host is in known_hosts.
    UnknownHostKey,
    /// The host shows another key than known_hosts has.
    ChangedHostKey,
    /// known_hosts says that the host's key counts no more (`@revoked`).
    RevokedHostKey,
    /// The host's certificate does not hold: expired, for another name.
    HostCertificate,
    /// The host takes none of our keys.
    Denied,
    /// The host takes no keys at all: passwords only.
    KeysNotTaken,
    /// The certificate that was offered is not valid now.
    ExpiredCertificate,
    /// The key or certificate that was offered is on a revocation list of ours.
    RevokedKey,
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
    /// Nothing listens where the VPN's gateway should be.
    VpnDown,
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

impl ProblemKind {
    /// The kind in one word, for programs that read events.
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownHostKey => "unknown_host_key",
            Self::ChangedHostKey => "changed_host_key",
            Self::RevokedHostKey => "revoked_host_key",
            Self::HostCertificate => "host_certificate",
            Self::Denied => "denied",
            Self::KeysNotTaken => "keys_not_taken",
            Self::ExpiredCertificate => "expired_certificate",
            Self::RevokedKey => "revoked_key",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::NoRoute => "no_route",
            Self::Lost => "lost",
            Self::Agent => "agent",
            Self::Garbage => "garbage",
            Self::VpnEndpoint => "vpn_endpoint",
            Self::VpnDown => "vpn_down",
            Self::VpnHandshake => "vpn_handshake",
            Self::VpnRoute => "vpn_route",
            Self::VpnName => "vpn_name",
            Self::VpnDns => "vpn_dns",
            Self::VpnConfig => "vpn_config",
            Self::Vpn => "vpn",
            Self::Local => "local",
        }
    }

    /// The exit code of a command that this alone keeps from its hosts: [`UNREACHABLE`] is in each of them, as a bit, and those who refuse or are
    /// refused add what tells them apart. None reaches 124, from where on shells and timeout(1) have their own.
    pub fn code(self) -> u8 {
        match self {
            Self::KeysNotTaken => 12,
            Self::Denied => 20,
            Self::ExpiredCertificate => 28,
            Self::RevokedKey => 36,
            Self::UnknownHostKey => 44,
            Self::ChangedHostKey => 52,
            Self::RevokedHostKey => 60,
            Self::HostCertificate => 68,
            Self::VpnEndpoint => 76,
            Self::VpnDown => 84,
            Self::VpnHandshake => 92,
            Self::VpnRoute => 100,
            Self::VpnDns => 108,
            Self::VpnName => 116,
            // What may be over by the next try, and what is wrong on this machine.
            Self::Refused
            | Self::TimedOut
            | Self::NoRoute
            | Self::Lost
            | Self::Agent
            | Self::Garbage
            | Self::VpnConfig
            | Self::Vpn
            | Self::Local => UNREACHABLE,
        }
    }

    /// Whether the host showed a key that is not to be trusted: nothing was sent to it, and nothing should be.
    pub fn is_untrusted(self) -> bool {
        matches!(
            self,
            Self::UnknownHostKey | Self::ChangedHostKey | Self::RevokedHostKey | Self::HostCertificate
        )
    }
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
            Stage::Down => ProblemKind::VpnDown,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_of_one_reason() {
        let codes = |reasons: &[ProblemKind]| exit_code(reasons.iter().copied().map(Some));
        assert_eq!(codes(&[]), 0);
        assert_eq!(codes(&[ProblemKind::VpnDns, ProblemKind::VpnDns]), 108);
        assert_eq!(codes(&[ProblemKind::VpnDns, ProblemKind::VpnDown]), 4);
        assert_eq!(exit_code([Some(ProblemKind::VpnDns), None]), 4);
        assert_eq!((join(12, 20), join(14, 0), join(12, 2), join(12, 22), join(0, 0)), (4, 14, 14, 6, 0));
        // Whoever tests for the bit of a failed host, or of one that is away, finds it.
        assert!((0..15).map(|n| UNREACHABLE + 8 * n).all(|code| code & 7 == UNREACHABLE && code | 2 < 124));
    }
}
