//! Other processes that ask for a connection on the tunnel's socket.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};

use crate::engine::Engine;
use crate::failure::{Failure, Stage};
use crate::hello::{Hello, LINE, Request, parse};

/// A caller says what it wants within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// Callers that may be speaking at once.
const CALLERS: usize = 1024;

/// One that has not yet said all.
pub(crate) struct Caller {
    stream: UnixStream,
    since: Instant,
    said: Vec<u8>,
}

enum Said {
    Line,
    More,
    Nothing,
}

impl Caller {
    pub fn fd(&self) -> &UnixStream {
        &self.stream
    }

    /// Reads up to the end of its line and no further.
    fn listen(&mut self) -> Said {
        loop {
            let mut byte = [0];
            match rustix::net::recv(self.stream.as_fd(), &mut byte, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Said::Nothing,
                Ok(_) if byte == *b"\n" => return Said::Line,
                Ok(_) if self.said.len() >= LINE => return Said::Nothing,
                Ok(_) => self.said.extend(byte),
                Err(Errno::AGAIN) => return Said::More,
                Err(Errno::INTR) => {}
                Err(_) => return Said::Nothing,
            }
        }
    }
}

impl Engine {
    pub(crate) fn hear_callers(&mut self, now: Instant) {
        while let Some(listener) = self.listener.as_ref().filter(|_| self.callers.len() < CALLERS) {
            match listener.accept() {
                Ok((stream, _)) if ours(&stream) => {
                    self.callers.push(Caller { stream, since: now, said: Vec::new() });
                }
                // Another user's: the directory keeps them out, root excepted.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let mut rest = Vec::new();
        for mut caller in std::mem::take(&mut self.callers) {
            match caller.listen() {
                Said::More if now - caller.since < PATIENCE => rest.push(caller),
                Said::More | Said::Nothing => {}
                Said::Line => self.call(caller, now),
            }
        }
        self.callers = rest;
    }

    fn call(&mut self, caller: Caller, now: Instant) {
        let fd = OwnedFd::from(caller.stream);
        match std::str::from_utf8(&caller.said).ok().and_then(parse) {
            Some((host, port, patience)) => {
                self.request(Request { host, port, patience, hello: Hello::Line, fd }, now);
            }
            None => {
                let failure = Failure::new(Stage::Local, "this is no request that a tunnel understands", "");
                let line = Hello::Line.answer(Err(&failure));
                let _ = rustix::net::send(&fd, &line, rustix::net::SendFlags::NOSIGNAL);
            }
        }
    }
}

/// Whether it is a process of this user, or root's.
fn ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid();
    sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}
