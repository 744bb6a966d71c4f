//! The UDP sockets: the only way out of a tunnel.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::sys::socket::sockopt::{UdpGroSegment, UdpGsoSegment};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, getsockopt, recvmsg, sendmsg, setsockopt,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};

/// Bytes that the kernel may keep for us in either direction; it gives what its limits allow.
const ROOM: usize = 8 << 20;
/// Datagrams that the kernel takes in one call (UDP_MAX_SEGMENTS).
const SEGMENTS: usize = 64;
/// Bytes that it takes in one call: what a datagram of IPv4 holds.
const LARGEST: usize = 65_507;

/// Datagrams to one address, all of one size but for the last, which may be smaller.
#[derive(Debug)]
struct Train {
    to: SocketAddr,
    segment: usize,
    bytes: Vec<u8>,
    /// So many bytes have gone.
    gone: usize,
}

impl Train {
    fn takes(&self, to: SocketAddr, length: usize) -> bool {
        let full = self.bytes.len().is_multiple_of(self.segment.max(1));
        let room = self.bytes.len() + length <= LARGEST && self.bytes.len() < self.segment * SEGMENTS;
        self.to == to && full && length <= self.segment && room
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.gone
    }

    /// The first one that has not gone.
    fn next(&self) -> Option<&[u8]> {
        self.bytes.get(self.gone..)?.chunks(self.segment.max(1)).next()
    }
}

/// Both families' sockets. IPv6 may be missing on a machine.
pub(crate) struct Wire {
    four: OwnedFd,
    six: Option<OwnedFd>,
    /// Sealed datagrams that are still to be given to the kernel.
    train: Option<Train>,
    /// The last one's room.
    spare: Vec<u8>,
    /// And those that it had no room for.
    backlog: VecDeque<Train>,
    /// The kernel takes many datagrams in one call, and may carry them as one far on its way (UDP_SEGMENT, udp(7)).
    many: bool,
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
    // Many datagrams may come in one call as well.
    let _ = setsockopt(&fd, UdpGroSegment, &true);
    rustix::net::bind(&fd, &address)?;
    Ok(fd)
}

impl Wire {
    /// Binds sockets to this port, or any.
    pub fn open(port: Option<u16>) -> Result<Self, Errno> {
        let port = port.unwrap_or(0);
        let four = socket(AddressFamily::INET, (Ipv4Addr::UNSPECIFIED, port).into())?;
        let six = socket(AddressFamily::INET6, (Ipv6Addr::UNSPECIFIED, port).into()).ok();
        // A kernel that does not know of it would send one huge datagram.
        let many = getsockopt(&four, UdpGsoSegment).is_ok();
        Ok(Self { four, six, train: None, spare: Vec::new(), backlog: VecDeque::new(), many, trouble: None })
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
        self.put(to, bytes);
        self.push();
    }

    /// Has a datagram sent with those that follow: by the next [`push`](Self::push) at the latest.
    pub fn put(&mut self, to: SocketAddr, bytes: &[u8]) {
        if self.train.as_ref().is_none_or(|train| !train.takes(to, bytes.len())) {
            self.push();
            let room = std::mem::take(&mut self.spare);
            self.train = Some(Train { to, segment: bytes.len(), bytes: room, gone: 0 });
        }
        if let Some(train) = &mut self.train {
            train.bytes.extend_from_slice(bytes);
        }
    }

    /// Sends what was put, or keeps it until there is room.
    pub fn push(&mut self) {
        let Some(mut train) = self.train.take() else { return };
        if self.is_full() || !self.try_send(&mut train) {
            self.backlog.push_back(train);
        } else {
            self.spare = train.bytes;
            self.spare.clear();
        }
    }

    /// Sends what has waited, as far as there is room.
    pub fn flush(&mut self) {
        while let Some(mut train) = self.backlog.pop_front() {
            if !self.try_send(&mut train) {
                self.backlog.push_front(train);
                return;
            }
        }
    }

    /// False: there is no room for what is left. What cannot be sent at all is lost, as on any way through the network.
    fn try_send(&mut self, train: &mut Train) -> bool {
        let fd = if train.to.is_ipv4() { Some(&self.four) } else { self.six.as_ref() };
        let Some(fd) = fd else { return true };
        if self.many && train.left() > train.segment {
            match together(fd, train) {
                Ok(()) => {
                    self.trouble = None;
                    return true;
                }
                Err(Errno::AGAIN) => return false,
                // A device that cannot, or a way too narrow for datagrams of this size, which are cut one by one then.
                Err(Errno::INVAL | Errno::MSGSIZE | Errno::IO | Errno::OPNOTSUPP | Errno::NOPROTOOPT) => {
                    self.many = false;
                }
                // All of them are lost.
                Err(errno) => {
                    self.trouble = Some(errno);
                    return true;
                }
            }
        }
        while let Some(datagram) = train.next() {
            match rustix::net::sendto(fd, datagram, SendFlags::NOSIGNAL, &train.to) {
                Ok(_) => self.trouble = None,
                Err(Errno::AGAIN) => return false,
                Err(errno) => self.trouble = Some(errno),
            }
            train.gone += datagram.len();
        }
        true
    }

    /// Takes the next datagrams that have come into `buffer`, of up to 64 KiB.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<Taken> {
        self.fds().find_map(|fd| take(fd, buffer))
    }
}

/// Datagrams of one sender.
pub(crate) struct Taken {
    pub from: SocketAddr,
    /// Bytes in all.
    pub length: usize,
    /// And of each, but for the last, which may be smaller.
    pub segment: usize,
}

fn together(fd: &OwnedFd, train: &Train) -> Result<(), Errno> {
    let segment = u16::try_from(train.segment).map_err(|_| Errno::INVAL)?;
    let bytes = [IoSlice::new(train.bytes.get(train.gone..).unwrap_or_default())];
    let (how, to) = ([ControlMessage::UdpGsoSegments(&segment)], SockaddrStorage::from(train.to));
    let sent = sendmsg(fd.as_raw_fd(), &bytes, &how, MsgFlags::MSG_NOSIGNAL, Some(&to));
    sent.map(drop).map_err(|errno| Errno::from_raw_os_error(errno as i32))
}

fn take(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<Taken> {
    loop {
        let mut told = nix::cmsg_space!(i32);
        let mut into = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut into, Some(&mut told), flags) {
            Ok(message) => {
                let Some(from) = message.address.as_ref().and_then(address) else { continue };
                let told = message.cmsgs().into_iter().flatten().find_map(|told| match told {
                    ControlMessageOwned::UdpGroSegments(size) => usize::try_from(size).ok(),
                    _ => None,
                });
                let length = message.bytes;
                return Some(Taken { from, length, segment: told.unwrap_or(length).max(1) });
            }
            // An error of an earlier datagram, told late.
            Err(nix::Error::ECONNREFUSED | nix::Error::EINTR) => {}
            Err(_) => return None,
        }
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let four = storage.as_sockaddr_in().map(|four| SocketAddr::V4((*four).into()));
    four.or_else(|| storage.as_sockaddr_in6().map(|six| SocketAddr::V6((*six).into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(wire: &Wire) -> SocketAddr {
        let port = SocketAddr::try_from(rustix::net::getsockname(&wire.four).unwrap()).unwrap().port();
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// What has come, in as many pieces as were sent, and how often the kernel was asked.
    fn heard(wire: &Wire) -> (Vec<Vec<u8>>, usize) {
        let (mut all, mut calls) = (Vec::new(), 0);
        let mut buffer = vec![0; 65_536];
        while let Some(taken) = wire.receive(&mut buffer) {
            calls += 1;
            all.extend(buffer[..taken.length].chunks(taken.segment).map(<[u8]>::to_vec));
        }
        (all, calls)
    }

    #[test]
    fn datagrams_arrive_as_they_were_put_whatever_the_kernel_can() {
        for many in [true, false] {
            let (mut wire, one, two) =
                (Wire::open(None).unwrap(), Wire::open(None).unwrap(), Wire::open(None).unwrap());
            wire.many &= many;
            let (to_one, to_two) = (local(&one), local(&two));
            let mut sent = Vec::new();
            // Of one size, then a shorter one, larger ones, and one to somebody else in between.
            for (number, length) in [1400; 100].into_iter().chain([300, 300, 1000, 7]).enumerate() {
                sent.push(vec![number as u8; length]);
                wire.put(to_one, &sent[number]);
                if number == 50 {
                    wire.put(to_two, b"other");
                }
            }
            wire.push();
            let (heard_by_one, calls) = heard(&one);
            assert_eq!(heard_by_one, sent);
            assert_eq!(heard(&two).0, [b"other"]);
            // 46, 46 and so on in one call each.
            assert!(if many { calls < 12 } else { calls == sent.len() }, "{calls}");
            assert_eq!(wire.trouble, None);
        }
    }

    #[test]
    fn what_the_kernel_refuses_together_goes_one_by_one() {
        let (mut wire, one) = (Wire::open(None).unwrap(), Wire::open(None).unwrap());
        wire.many = true;
        // More than any kernel takes in one call.
        wire.train = Some(Train { to: local(&one), segment: 10, bytes: vec![1; 2005], gone: 0 });
        wire.push();
        let lengths: Vec<usize> = heard(&one).0.iter().map(Vec::len).collect();
        assert_eq!((lengths.len(), lengths.iter().sum(), lengths.last()), (201, 2005, Some(&5)));
        assert!(!wire.many);
    }
}
