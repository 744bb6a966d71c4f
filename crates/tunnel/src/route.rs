//! By which interface the kernel reaches an address: rtnetlink(7).

use std::net::IpAddr;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const REQUEST: u16 = 1;
/// RTA_DST and RTA_OIF.
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
/// Before the attributes: struct nlmsghdr (16 bytes), struct rtmsg (12).
const HEAD: usize = 28;

/// Whether there is an interface of that name.
pub(crate) fn exists(interface: &str) -> bool {
    std::path::Path::new("/sys/class/net").join(interface).exists() || index_of(interface).is_some()
}

fn any_socket() -> Option<std::os::fd::OwnedFd> {
    rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()
}

fn index_of(interface: &str) -> Option<u32> {
    rustix::net::netdevice::name_to_index(any_socket()?, interface).ok()
}

/// The name of the interface by which packets to an address leave; `None`: there is no way.
pub(crate) fn leaves_by(address: IpAddr) -> Option<String> {
    let (family, bytes) = match address {
        IpAddr::V4(v4) => (AddressFamily::INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AddressFamily::INET6, v6.octets().to_vec()),
    };
    let bits = u8::try_from(bytes.len() * 8).ok()?;
    let family = u8::try_from(family.as_raw()).ok()?;
    let length = u32::try_from(HEAD + 4 + bytes.len()).ok()?;
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(GET_ROUTE.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(u16::try_from(bytes.len() + 4).ok()?.to_ne_bytes());
    message.extend(DESTINATION.to_ne_bytes());
    message.extend(bytes);
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).ok()?;
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).ok()?;
    let mut answer = vec![0; 16 << 10];
    let (_, length) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty()).ok()?;
    let index = interface_in(answer.get(..length)?)?;
    rustix::net::netdevice::index_to_name(any_socket()?, index).ok()
}

/// The outgoing interface in an answer.
fn interface_in(answer: &[u8]) -> Option<u32> {
    let number = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if number(answer, 4)? != NEW_ROUTE {
        return None;
    }
    let mut rest = answer.get(HEAD..)?;
    while rest.len() >= 4 {
        let (length, kind) = (usize::from(number(rest, 0)?), number(rest, 2)?);
        if kind == INTERFACE {
            return Some(u32::from_ne_bytes(rest.get(4..8)?.try_into().ok()?));
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_reached_by_lo() {
        assert_eq!(leaves_by("127.0.0.1".parse().unwrap()).as_deref(), Some("lo"));
        assert!(exists("lo") && !exists("no-such-if"));
    }
}
