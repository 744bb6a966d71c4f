//! Address ranges, and which of them an address belongs to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address with the length of its network's prefix, as in `10.0.0.1/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address, host bits included.
    pub address: IpAddr,
    /// How many leading bits name the network: at most 32, or 128 for IPv6.
    pub prefix: u8,
}

impl Cidr {
    /// Whether an address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = ();

    /// An address without a prefix is a network of one.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| ())?
            }
            Some(_) => return Err(()),
        };
        if prefix > most { Err(()) } else { Ok(Self { address, prefix }) }
    }
}

/// To whom packets go: of all ranges that hold an address, the longest prefix counts (WireGuard's cryptokey routing).
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes {
    /// Longest prefixes first.
    ranges: Vec<(Cidr, usize)>,
}

impl Routes {
    /// Of ranges with the number of the peer they belong to.
    pub fn new(ranges: impl IntoIterator<Item = (Cidr, usize)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        // Of two equal ranges the later one counts, as wg(8) moves a range to the peer that names it last.
        ranges.reverse();
        ranges.sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix));
        Self { ranges }
    }

    /// The peer of an address.
    pub fn peer(&self, address: IpAddr) -> Option<usize> {
        self.ranges.iter().find(|(range, _)| range.contains(address)).map(|(_, peer)| *peer)
    }
}

/// Where a packet comes from and goes to, as its header says.
pub(crate) fn ends(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => {
            let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            Some((Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into()))
        }
        6 => {
            let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some((Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_prefix_of_either_family() {
        let range = |text: &str| text.parse::<Cidr>().unwrap();
        let routes = Routes::new([
            (range("0.0.0.0/0"), 0),
            (range("10.1.0.0/16"), 1),
            (range("10.1.2.3"), 2),
            (range("fd00::/8"), 3),
            (range("10.1.0.0/16"), 4),
        ]);
        let peer = |text: &str| routes.peer(text.parse().unwrap());
        assert_eq!(peer("10.1.2.3"), Some(2));
        assert_eq!(peer("10.1.2.4"), Some(4));
        assert_eq!(peer("192.0.2.1"), Some(0));
        assert_eq!(peer("fd12::1"), Some(3));
        assert_eq!(peer("2001:db8::1"), None);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "a/8"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert_eq!("::1".parse::<Cidr>().unwrap().to_string(), "::1/128");
    }

    #[test]
    fn short_packets_have_no_ends() {
        for packet in [&[][..], &[0x45; 19], &[0x60; 39], &[0x70; 60]] {
            assert_eq!(ends(packet), None);
        }
    }
}
