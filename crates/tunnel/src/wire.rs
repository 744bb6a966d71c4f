//! The UDP sockets: the only way out of a tunnel.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

/// Bytes that the kernel may keep for us in either direction; it gives what its limits allow.
const ROOM: usize = 8 << 20;

/// Both families' sockets. IPv6 may be missing on a machine.
pub(crate) struct Wire {
    four: OwnedFd,
    six: Option<OwnedFd>,
    /// Sealed datagrams that the kernel had no room for.
    backlog: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Why the last datagram could not be sent.
    pub trouble: Option<Errno>,
}

fn socket(family: AddressFamily, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&fd, true)?;
    } else {
        // As the kernel's WireGuard: a router on a narrow way may cut a datagram rather than drop it, as what it says of that may
        // never come back. Where it cannot be had, large datagrams need an `MTU` that suits.
        let _ = sockopt::set_ip_mtu_discover(&fd, sockopt::Ipv4PathMtuDiscovery::DONT);
    }
    // More room is better; less is no error.
    let _ = sockopt::set_socket_recv_buffer_size_force(&fd, ROOM)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&fd, ROOM));
    let _ = sockopt::set_socket_send_buffer_size(&fd, ROOM);
    rustix::net::bind(&fd, &address)?;
    Ok(fd)
}

impl Wire {
    /// Binds sockets to this port, or any.
    pub fn open(port: Option<u16>) -> Result<Self, Errno> {
        let port = port.unwrap_or(0);
        let four = socket(AddressFamily::INET, (Ipv4Addr::UNSPECIFIED, port).into())?;
        let six = socket(AddressFamily::INET6, (Ipv6Addr::UNSPECIFIED, port).into()).ok();
        Ok(Self { four, six, backlog: VecDeque::new(), trouble: None })
    }

    /// Whether datagrams can go to addresses of that family.
    pub fn reaches(&self, address: &SocketAddr) -> bool {
        address.is_ipv4() || self.six.is_some()
    }

    /// The sockets, to wait on.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.four.as_fd()).chain(self.six.as_ref().map(AsFd::as_fd))
    }

    /// Whether something waits for room.
    pub fn is_full(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Sends a datagram, or keeps it until there is room.
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        if self.is_full() || !self.try_send(to, bytes) {
            self.backlog.push_back((to, bytes.to_vec()));
        }
    }

    /// Sends what has waited, as far as there is room.
    pub fn flush(&mut self) {
        while let Some((to, bytes)) = self.backlog.pop_front() {
            if !self.try_send(to, &bytes) {
                self.backlog.push_front((to, bytes));
                return;
            }
        }
    }

    /// False: there is no room. What cannot be sent at all is lost, as on any way through the network.
    fn try_send(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        let fd = if to.is_ipv4() { Some(&self.four) } else { self.six.as_ref() };
        let Some(fd) = fd else { return true };
        match rustix::net::sendto(fd, bytes, SendFlags::NOSIGNAL, &to) {
            Ok(_) => self.trouble = None,
            Err(Errno::AGAIN) => return false,
            Err(errno) => self.trouble = Some(errno),
        }
        true
    }

    /// The next datagram that has come, and from where.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        for fd in self.fds() {
            loop {
                match rustix::net::recvfrom(fd, &mut *buffer, RecvFlags::DONTWAIT) {
                    Ok((length, _, Some(from))) => match SocketAddr::try_from(from) {
                        Ok(from) => return Some((length, from)),
                        Err(_) => continue,
                    },
                    // An error of an earlier datagram, told late.
                    Ok(_) | Err(Errno::CONNREFUSED | Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
        None
    }
}
