//! Questions to the kernel's routing socket, rtnetlink(7): addresses, local routes, the route to a destination.
//!
//! `/proc/net` does not tell prefixes, labels and broadcast addresses of IPv4, nor which address is secondary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const GET_ADDR: u16 = 22;
const NEW_ADDR: u16 = 20;
const GET_ROUTE: u16 = 26;
const NEW_ROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const INET: u8 = 2;
const INET6: u8 = 10;
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
const LOCAL_TABLE: u8 = 255;
/// Answers beyond this are cut: a host with this many addresses is no host that a play asks about.
const LIMIT: usize = 8 << 20;

/// One address of an interface.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Address {
    pub index: u32,
    pub address: IpAddr,
    pub prefix: u8,
    pub broadcast: Option<IpAddr>,
    /// The interface's name or alias (`eth0:1`).
    pub label: Option<String>,
    pub secondary: bool,
    /// As in `RT_SCOPE_*`.
    pub scope: u8,
}

/// How the kernel reaches a destination.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Route {
    pub index: Option<u32>,
    pub source: Option<IpAddr>,
    pub gateway: Option<IpAddr>,
}

/// All addresses, in the kernel's order: IPv4 first.
pub(super) fn addresses() -> Vec<Address> {
    let mut found = Vec::new();
    for family in [INET, INET6] {
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        for message in ask(GET_ADDR, REQUEST | DUMP, &[family, 0, 0, 0, 0, 0, 0, 0], NEW_ADDR) {
            found.extend(address(&message));
        }
    }
    found
}

fn address(message: &[u8]) -> Option<Address> {
    let (head, attributes) = message.split_at_checked(8)?;
    let &[_, prefix, flags, scope, a, b, c, d] = head else { return None };
    let (mut local, mut peer, mut broadcast, mut label) = (None, None, None, None);
    for (kind, data) in attributes_of(attributes) {
        match kind {
            1 => peer = ip(data),
            2 => local = ip(data),
            3 => {
                let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
                label = data.get(..end).map(|name| String::from_utf8_lossy(name).into_owned());
            }
            4 => broadcast = ip(data),
            _ => {}
        }
    }
    Some(Address {
        index: u32::from_ne_bytes([a, b, c, d]),
        // On a point-to-point link IFA_ADDRESS is the other end's.
        address: local.or(peer)?,
        prefix,
        broadcast,
        label,
        secondary: flags & 1 != 0,
        scope,
    })
}

/// The route to an address; nothing if there is none.
pub(super) fn route_to(destination: IpAddr) -> Option<Route> {
    let (family, bytes) = match destination {
        IpAddr::V4(v4) => (INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (INET6, v6.octets().to_vec()),
    };
    let bits = u8::try_from(bytes.len() * 8).ok()?;
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags (4 bytes).
    let mut body = vec![family, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend(u16::try_from(bytes.len() + 4).ok()?.to_ne_bytes());
    body.extend(1u16.to_ne_bytes());
    body.extend(bytes);
    let message = ask(GET_ROUTE, REQUEST, &body, NEW_ROUTE).into_iter().next()?;
    let (head, attributes) = message.split_at_checked(12)?;
    if head.get(7) != Some(&UNICAST) {
        return None;
    }
    let mut route = Route::default();
    for (kind, data) in attributes_of(attributes) {
        match kind {
            4 => route.index = <[u8; 4]>::try_from(data).ok().map(u32::from_ne_bytes),
            5 => route.gateway = ip(data),
            7 => route.source = ip(data),
            _ => {}
        }
    }
    Some(route)
}

/// Destinations that are this host itself, as `ip route show table local` prints them.
pub(super) fn local_destinations() -> [Vec<String>; 2] {
    [(INET, 32), (INET6, 128)].map(|(family, whole)| {
        let mut found: Vec<String> = Vec::new();
        for message in ask(GET_ROUTE, REQUEST | DUMP, &[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], NEW_ROUTE) {
            let Some((head, attributes)) = message.split_at_checked(12) else { continue };
            let &[_, bits, _, _, table, _, _, kind, ..] = head else { continue };
            let destination = attributes_of(attributes).find(|(kind, _)| *kind == 1).and_then(|(_, d)| ip(d));
            let Some(destination) = destination.filter(|_| table == LOCAL_TABLE && kind == LOCAL) else {
                continue;
            };
            let text = if bits == whole { destination.to_string() } else { format!("{destination}/{bits}") };
            if !found.contains(&text) {
                found.push(text);
            }
        }
        found
    })
}

fn ip(data: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(data) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(data).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

/// Splits `struct rtattr`s: length, kind, data, padded to 4 bytes.
fn attributes_of(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let &[a, b, c, d] = bytes.get(..4)? else { return None };
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let data = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]), data))
    })
}

/// Asks and collects the bodies of all answers of the wanted kind; none if the kernel refuses.
fn ask(kind: u16, flags: u16, body: &[u8], wanted: u16) -> Vec<Vec<u8>> {
    request(kind, flags, body, wanted).unwrap_or_default()
}

fn request(kind: u16, flags: u16, body: &[u8], wanted: u16) -> rustix::io::Result<Vec<Vec<u8>>> {
    // NETLINK_ROUTE is protocol 0, which rustix spells `None`.
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    // struct nlmsghdr: length, kind, flags, sequence, port.
    let length = u32::try_from(16 + body.len()).unwrap_or(16);
    let mut message = Vec::with_capacity(64);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);
    rustix::net::send(&socket, &message, SendFlags::empty())?;
    let mut buffer = vec![0u8; 64 << 10];
    let mut found = Vec::new();
    let mut total = 0;
    while total < LIMIT {
        let (_, count) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        total += count;
        let mut rest = buffer.get(..count).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        while let Some(&[a, b, c, d, k, l, ..]) = rest.get(..16) {
            let length = u32::from_ne_bytes([a, b, c, d]) as usize;
            let Some(body) = rest.get(16..length) else { return Ok(found) };
            match u16::from_ne_bytes([k, l]) {
                NLMSG_DONE | NLMSG_ERROR => return Ok(found),
                kind if kind == wanted => found.push(body.to_vec()),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        if flags & DUMP == 0 {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_loopback() {
        let loopback =
            addresses().into_iter().find(|a| a.address == IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        assert_eq!((loopback.prefix, loopback.label.as_deref()), (8, Some("lo")));
        assert!(local_destinations()[0].contains(&"127.0.0.1".to_owned()));
    }

    #[test]
    fn broken_messages_end_quietly() {
        assert_eq!(attributes_of(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(attributes_of(&[200, 0, 1, 0, 1, 2]).count(), 0);
        assert_eq!(address(&[2, 24]), None);
    }
}
