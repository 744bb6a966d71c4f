//! How large packets inside a tunnel are if its file does not say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::net::sockopt;

use crate::config::{Config, Endpoint};

/// wg-quick's value for a link of 1500 bytes. A link that takes more is not believed: what lies behind it is not known.
const USUAL: usize = 1420;
/// As wg-quick: headers of IPv6 and UDP, and WireGuard's own parts, so that an endpoint may roam from IPv4 to IPv6.
const AROUND: usize = 80;
/// Less than every host must take (RFC 8200, 5, and RFC 791, 3.2) no tunnel can have.
const LEAST: (usize, usize) = (576, 1280);
/// Documentation's addresses (RFC 5737, RFC 3849): they are reached, if at all, by the default route, as most names are.
const ANYWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// What the ways to all endpoints hold.
pub(crate) fn of(config: &Config) -> usize {
    let ways = config.peers.iter().filter_map(|peer| match peer.endpoint.as_ref()? {
        Endpoint::Address(address) => way(*address),
        Endpoint::Name(..) => ANYWHERE.iter().find_map(|address| way((*address, 9).into())),
    });
    let (four, six) = LEAST;
    let least = if config.addresses.iter().any(|range| range.address.is_ipv6()) { six } else { four };
    ways.map(|way| way.saturating_sub(AROUND)).min().unwrap_or(USUAL).clamp(least, USUAL)
}

/// What the kernel knows of the way there: its first link, its route's own `mtu`, and what routers have said of it. Nothing is sent.
fn way(to: SocketAddr) -> Option<usize> {
    let own: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0)).ok()?;
    socket.connect(to).ok()?;
    let mtu = if to.is_ipv4() { sockopt::ip_mtu(&socket) } else { sockopt::ipv6_mtu(&socket) };
    usize::try_from(mtu.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_link_is_not_believed() {
        assert!(way("127.0.0.1:9".parse().unwrap()).unwrap() > 1500);
        let key = crate::SecretKey::generate();
        let config = |address: &str| {
            let text = format!(
                "[Interface]\nPrivateKey = {}\nAddress = {address}\n[Peer]\nPublicKey = {}\nEndpoint = 127.0.0.1:9\n",
                *key.encoded(),
                crate::SecretKey::generate().public()
            );
            Config::parse(&text).unwrap()
        };
        assert_eq!(of(&config("10.9.0.2/24")), USUAL);
        assert_eq!(of(&config("fd00::2/64")), USUAL);
    }
}
