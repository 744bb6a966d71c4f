//! How those who ask for a connection say so, and how they are answered.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::failure::{Failure, Stage};

/// A line is no longer: a name (253), a port, a time.
pub(crate) const LINE: usize = 300;

/// What is told when a connection stands or fails, before its bytes.
#[derive(Debug)]
pub enum Hello {
    /// `ok` or a [`Failure`] as a line.
    Line,
    /// A SOCKS5 reply (RFC 1928, 6).
    Socks,
    /// To a thread of this process.
    Tell(Sender<Result<SocketAddr, Failure>>),
}

/// A connection that is asked for.
#[derive(Debug)]
pub struct Request {
    /// A name or an address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How long it may take.
    pub patience: Duration,
    /// How it is answered.
    pub hello: Hello,
    /// Where its bytes go: a socket.
    pub fd: OwnedFd,
}

impl Hello {
    /// The bytes that say so.
    pub(crate) fn answer(&self, outcome: Result<SocketAddr, &Failure>) -> Vec<u8> {
        match (self, outcome) {
            (Self::Line, Ok(_)) => b"ok\n".to_vec(),
            (Self::Line, Err(failure)) => format!("{}\n", failure.line()).into_bytes(),
            (Self::Socks, outcome) => {
                let code = match outcome.map_err(|failure| failure.stage) {
                    Ok(_) => 0,
                    Err(Stage::Route) => 2,
                    Err(Stage::Endpoint | Stage::Down | Stage::Handshake | Stage::Config | Stage::Local) => 3,
                    Err(Stage::Name | Stage::Dns | Stage::TimedOut) => 4,
                    Err(Stage::Refused) => 5,
                };
                vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
            }
            (Self::Tell(sender), outcome) => {
                // Whoever asked may be gone.
                let _ = sender.send(outcome.map_err(Clone::clone));
                Vec::new()
            }
        }
    }
}

/// Reads `HOST PORT MILLISECONDS`.
pub(crate) fn parse(line: &str) -> Option<(String, u16, Duration)> {
    let mut words = line.split(' ');
    let host = words.next().filter(|host| !host.is_empty())?;
    let port = words.next()?.parse().ok().filter(|port| *port != 0)?;
    let millis: u32 = words.next()?.parse().ok()?;
    words.next().is_none().then(|| (host.to_owned(), port, Duration::from_millis(millis.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_strictly() {
        assert_eq!(parse("h1 22 500"), Some(("h1".into(), 22, Duration::from_millis(500))));
        for line in ["", "h1", "h1 22", "h1 0 5", " 22 5", "h1 22 5 6", "h1 x 5", "h1 22 -1"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
