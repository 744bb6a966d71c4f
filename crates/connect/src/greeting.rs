//! What comes before the agent speaks: the bootstrap script's lines, and whatever the login shell prints.

use std::io::BufRead;

use debark_wire::MAGIC;

use crate::bootstrap::{FAIL, NEED};

/// Stray output that is tolerated, in bytes.
const NOISE_LIMIT: usize = 64 << 10;
/// Of it this much is shown.
const SHOWN: usize = 200;

/// How the far side greets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// The agent runs.
    Started {
        /// What was printed before.
        noise: Option<String>,
    },
    /// The script asks for the agent.
    Need {
        /// `uname -m`.
        machine: String,
    },
    /// The script gives up.
    Failed {
        /// Kind and detail.
        text: String,
    },
    /// The stream ended.
    Ended {
        /// What was printed.
        noise: String,
    },
    /// More than [`NOISE_LIMIT`] was printed.
    Endless {
        /// The beginning of it.
        noise: String,
    },
}

/// Reads up to the agent's magic or the script's line; byte by byte, as what follows belongs to others.
pub(crate) fn greet(input: &mut impl BufRead) -> Greeting {
    let mut seen = Vec::new();
    while seen.len() < NOISE_LIMIT {
        let mut byte = [0];
        match input.read(&mut byte) {
            Ok(0) => return Greeting::Ended { noise: shown(&seen) },
            Ok(_) => seen.extend(byte),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return Greeting::Ended { noise: shown(&seen) },
        }
        if let Some(noise) = seen.strip_suffix(&MAGIC[..]) {
            let noise = shown(noise);
            return Greeting::Started { noise: (!noise.is_empty()).then_some(noise) };
        }
        if seen.last() == Some(&b'\n') {
            let line = seen.rsplit(|byte| *byte == b'\n').nth(1).unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            if let Some((_, machine)) = line.split_once(NEED) {
                return Greeting::Need { machine: machine.trim().into() };
            }
            if let Some((_, text)) = line.split_once(FAIL) {
                return Greeting::Failed { text: text.trim().chars().take(1000).collect() };
            }
        }
    }
    Greeting::Endless { noise: shown(&seen) }
}

/// The beginning, in one line that cannot disturb a terminal.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|letter| !letter.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_stepped_over() {
        let mut input = [b"Welcome!\r\n\x1b[1mlast login\x1b[0m> ".as_slice(), &MAGIC, b"rest"].concat();
        let mut stream = input.as_slice();
        let noise = Some("Welcome! [1mlast login[0m>".to_owned());
        assert_eq!(greet(&mut stream), Greeting::Started { noise });
        assert_eq!(stream, b"rest", "what follows is untouched");
        input = b"motd\nDEBARK-NEED x86_64\ngarbage".to_vec();
        let mut stream = input.as_slice();
        assert_eq!(greet(&mut stream), Greeting::Need { machine: "x86_64".into() });
        assert_eq!(greet(&mut stream), Greeting::Ended { noise: "garbage".into() });
    }

    #[test]
    fn noise_has_a_limit() {
        let input = vec![b'y'; NOISE_LIMIT + 10];
        assert!(matches!(greet(&mut input.as_slice()), Greeting::Endless { noise } if noise.len() == SHOWN));
    }
}
