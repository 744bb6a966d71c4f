//! IP networks as numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use debark_value::Value;

/// An address, and how many of its first bits name its network.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Net {
    pub v6: bool,
    pub ip: u128,
    pub prefix: u32,
}

/// Not reachable from everywhere, by IANA's registries of special-purpose addresses (RFC 6890).
const LOCAL: [&str; 25] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.0.170/31",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::1/128",
    "::/128",
    "::ffff:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
];

/// Reachable all the same.
const REACHED: [&str; 8] = [
    "192.0.0.9/32",
    "192.0.0.10/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:20::/28",
    "2001:30::/28",
];

impl Net {
    /// One address.
    pub fn host(v6: bool, ip: u128) -> Self {
        Self { v6, ip, prefix: if v6 { 128 } else { 32 } }
    }

    /// `address`, `address/prefix`, `address/netmask` or `address/hostmask`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, mask) = text.split_once('/').map_or((text, None), |(ip, mask)| (ip, Some(mask)));
        let read = |text: &str| -> Option<Self> {
            Some(match text.parse().ok()? {
                IpAddr::V4(ip) => Self::host(false, u32::from(ip).into()),
                IpAddr::V6(ip) => Self::host(true, ip.into()),
            })
        };
        let mut net = read(address)?;
        let Some(mask) = mask else { return Some(net) };
        let digits = mask.bytes().all(|byte| byte.is_ascii_digit());
        net.prefix = if digits {
            mask.parse().ok()?
        } else {
            let mask = read(mask).filter(|mask| mask.v6 == net.v6)?.ip;
            let is_mask = |prefix: &u32| Self { prefix: *prefix, ..net }.mask() == mask;
            let is_host = |prefix: &u32| Self { prefix: *prefix, ..net }.mask() == !mask & net.most();
            (0..=net.width()).find(is_mask).or_else(|| (0..=net.width()).find(is_host))?
        };
        (net.prefix <= net.width()).then_some(net)
    }

    pub fn width(self) -> u32 {
        if self.v6 { 128 } else { 32 }
    }

    /// The last address there is.
    pub fn most(self) -> u128 {
        if self.v6 { u128::MAX } else { u32::MAX.into() }
    }

    pub fn mask(self) -> u128 {
        self.most() & self.most().checked_shl(self.width() - self.prefix).unwrap_or(0)
    }

    /// The first and the last address.
    pub fn all(self) -> (u128, u128) {
        let first = self.ip & self.mask();
        (first, first | (self.most() & !self.mask()))
    }

    /// How many addresses; of all of IPv6 one too few.
    pub fn size(self) -> u128 {
        1u128.checked_shl(self.width() - self.prefix).unwrap_or(u128::MAX)
    }

    /// The first and the last address for hosts.
    pub fn usable(self) -> Option<(u128, u128)> {
        let (first, last) = self.all();
        match self.size() {
            1 => None,
            2 => Some((first, last)),
            _ => Some((first + 1, last - 1)),
        }
    }

    /// The nth address, from the end if negative.
    pub fn nth(self, index: i128) -> Option<u128> {
        let (first, last) = self.all();
        let ip = if index < 0 {
            last.checked_sub(index.unsigned_abs() - 1)
        } else {
            first.checked_add(index.unsigned_abs())
        };
        ip.filter(|ip| *ip >= first && *ip <= last)
    }

    pub fn inside(self, other: Self) -> bool {
        let ((first, last), (low, high)) = (self.all(), other.all());
        self.v6 == other.v6 && first >= low && last <= high
    }

    pub fn address(self) -> String {
        match self.v6 {
            true => Ipv6Addr::from(self.ip).to_string(),
            false => Ipv4Addr::from(self.ip as u32).to_string(),
        }
    }

    pub fn text(self) -> String {
        format!("{}/{}", self.address(), self.prefix)
    }

    /// The network without the host's part.
    pub fn cidr(self) -> String {
        Self { ip: self.all().0, ..self }.text()
    }

    /// The name in the DNS.
    pub fn reverse(self) -> String {
        let (bits, zone) = if self.v6 { (4, "ip6") } else { (8, "in-addr") };
        let mut name = String::new();
        for at in 0..self.width() / bits {
            let part = self.ip >> (at * bits) & ((1 << bits) - 1);
            name.push_str(&if self.v6 { format!("{part:x}.") } else { format!("{part}.") });
        }
        name + zone + ".arpa."
    }

    /// Whether the address is in one of these networks.
    fn among(self, networks: &[&str]) -> bool {
        let alone = Self::host(self.v6, self.ip);
        networks.iter().filter_map(|network| Self::parse(network)).any(|network| alone.inside(network))
    }

    pub fn global(self) -> bool {
        !self.among(&LOCAL) || self.among(&REACHED)
    }

    pub fn loopback(self) -> bool {
        self.among(&["127.0.0.0/8", "::1/128"])
    }

    pub fn link_local(self) -> bool {
        self.among(&["169.254.0.0/16", "fe80::/10"])
    }

    pub fn multicast(self) -> bool {
        self.among(&["224.0.0.0/4", "ff00::/8"])
    }
}

/// A number; as text where it is too large for one.
pub(crate) fn number(number: u128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number.to_string()), Value::Int)
}
