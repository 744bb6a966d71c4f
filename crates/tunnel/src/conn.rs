//! One connection: a socket of this machine on one side, a TCP socket of the tunnel's stack on the other.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{Socket, State};

use crate::hello::Hello;
use crate::pace::Pace;

/// How far it is.
pub(crate) enum Phase {
    /// Its name is being looked up.
    Naming,
    /// The host is being greeted.
    Connecting { handle: SocketHandle, address: IpAddr },
    /// Bytes flow.
    Open(SocketHandle),
    /// The near side is gone; the stack says goodbye. Removed when that is said.
    Closing(SocketHandle, u8),
    /// Nothing is left.
    Over,
}

pub(crate) struct Conn {
    pub fd: Option<OwnedFd>,
    pub hello: Option<Hello>,
    pub host: String,
    pub port: u16,
    pub deadline: Instant,
    pub patience: Duration,
    pub phase: Phase,
    /// No more bytes come from the near side.
    pub read_over: bool,
    /// No more bytes go to the near side.
    pub write_over: bool,
    /// The near side takes no more for now.
    pub blocked: bool,
    /// How much may be under way to the host.
    pub pace: Pace,
    /// More may be under way now.
    pub room: bool,
}

impl Conn {
    /// Moves bytes both ways as far as they go without waiting; whether any moved.
    pub fn pump(&mut self, socket: &mut Socket<'_>, connections: usize, now: Instant) -> bool {
        let Some(fd) = &self.fd else { return false };
        let (mut moved, mut broken) = (false, false);
        self.blocked = false;
        while socket.can_recv() && !self.write_over {
            let sent = socket.recv(|bytes| {
                let sent = rustix::net::send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
                (sent.unwrap_or(0), sent)
            });
            match sent {
                Ok(Ok(_)) => moved = true,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(Errno::AGAIN)) => {
                    self.blocked = true;
                    break;
                }
                Ok(Err(_)) => {
                    broken = true;
                    break;
                }
                Err(_) => break,
            }
        }
        while !broken && !self.read_over && socket.can_send() {
            let queued = socket.send_queue();
            let most = self.pace.room(queued, connections, now);
            self.room = most > 0;
            if !self.room {
                break;
            }
            let taken = socket.send(|room| {
                let most = most.min(room.len());
                let room = room.get_mut(..most).unwrap_or_default();
                let taken = rustix::net::recv(fd, room, RecvFlags::DONTWAIT).map(|(_, length)| length);
                (taken.unwrap_or(0), taken)
            });
            match taken {
                Ok(Ok(0)) => {
                    socket.close();
                    (self.read_over, moved) = (true, true);
                }
                Ok(Ok(length)) => {
                    self.pace.gave(length, length == most, now);
                    moved = true;
                }
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(Errno::AGAIN)) | Err(_) => break,
                Ok(Err(_)) => broken = true,
            }
        }
        if broken {
            // Whoever was there is gone without a goodbye: so are we.
            socket.abort();
            (self.fd, self.read_over, self.write_over) = (None, true, true);
            return true;
        }
        // The host has said all, and all was passed on.
        if !self.write_over && !socket.may_recv() && !socket.can_recv() {
            let _ = rustix::net::shutdown(fd, Shutdown::Write);
            self.write_over = true;
            moved = true;
        }
        let gone = matches!(socket.state(), State::Closed | State::TimeWait);
        if gone && self.write_over {
            self.fd = None;
            moved = true;
        }
        moved
    }

    /// Whether the near side is to be watched for bytes, and for room.
    pub fn interest(&self, socket: Option<&Socket<'_>>) -> Option<(bool, bool)> {
        self.fd.as_ref()?;
        match (&self.phase, socket) {
            // Only its end is of interest.
            (Phase::Naming | Phase::Connecting { .. }, _) => Some((false, false)),
            (Phase::Open(_), Some(socket)) => {
                let read = !self.read_over && self.room && socket.can_send();
                (read || self.blocked).then_some((read, self.blocked))
            }
            _ => None,
        }
    }
}
