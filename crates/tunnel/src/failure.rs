//! At which stage a connection through a tunnel fails.

use std::fmt;

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The gateway's name does not resolve.
    Endpoint,
    /// The gateway's machine says that nothing listens there.
    Down,
    /// The gateway does not answer, or takes none of our keys: WireGuard lets nobody tell which.
    Handshake,
    /// No peer's `AllowedIPs` hold the address.
    Route,
    /// The host's name does not resolve inside the tunnel.
    Name,
    /// The name servers inside the tunnel do not answer.
    Dns,
    /// The host turns the connection away.
    Refused,
    /// The host does not answer.
    TimedOut,
    /// The configuration cannot be read, opened or understood.
    Config,
    /// The tunnel itself is not there.
    Local,
}

const WORDS: &[(Stage, &str)] = &[
    (Stage::Endpoint, "endpoint"),
    (Stage::Down, "down"),
    (Stage::Handshake, "handshake"),
    (Stage::Route, "route"),
    (Stage::Name, "name"),
    (Stage::Dns, "dns"),
    (Stage::Refused, "refused"),
    (Stage::TimedOut, "timeout"),
    (Stage::Config, "config"),
    (Stage::Local, "local"),
];

impl Stage {
    /// Its word in lines that programs read.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(stage, _)| *stage == self).map_or("local", |(_, word)| word)
    }

    /// The stage of a word.
    pub fn of(word: &str) -> Option<Self> {
        WORDS.iter().find(|(_, known)| *known == word).map(|(stage, _)| *stage)
    }
}

/// Why a connection cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How far it came.
    pub stage: Stage,
    /// One sentence.
    pub message: String,
    /// What to check; empty: nothing.
    pub hint: String,
}

impl Failure {
    /// A failure that a sentence explains.
    pub fn new(stage: Stage, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { stage, message: message.into(), hint: hint.into() }
    }

    /// As one line: stage, message and hint between tabs.
    pub fn line(&self) -> String {
        let clean = |text: &str| text.replace(|letter: char| letter.is_control(), " ");
        format!("{}\t{}\t{}", self.stage.word(), clean(&self.message), clean(&self.hint))
    }

    /// From such a line.
    pub fn of_line(line: &str) -> Option<Self> {
        let mut parts = line.trim_end_matches('\n').splitn(3, '\t');
        let stage = Stage::of(parts.next()?)?;
        Some(Self::new(stage, parts.next()?, parts.next().unwrap_or_default()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_its_line() {
        let failure = Failure::new(Stage::Handshake, "no answer\n", "look\tthere");
        assert_eq!(failure.line(), "handshake\tno answer \tlook there");
        assert_eq!(Failure::of_line(&failure.line()).unwrap().hint, "look there");
        assert_eq!(Failure::of_line("no\tx\ty"), None);
    }
}
