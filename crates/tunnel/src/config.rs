//! wg-quick(8)'s configuration files.

use std::net::{IpAddr, SocketAddr};

use crate::cidr::Cidr;
use crate::key::{Public, SecretKey};

/// Every host of IPv6 must take so much (RFC 8200, 5); smoltcp's and WireGuard's headers leave room above.
const LEAST_MTU: usize = 576;
/// Beyond this no UDP packet goes.
const MOST_MTU: usize = 65_000;
/// How many lines are read: a file that is longer is no configuration.
const LINES: usize = 10_000;
/// smoltcp's room for addresses of an interface.
pub(crate) const ADDRESSES: usize = 8;

/// What is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// The line, from 1; 0: none in particular.
    pub line: usize,
    /// One sentence without the file's name; never holds a key.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// By address.
    Address(SocketAddr),
    /// By a name that the machine's own resolver knows: it is outside of the tunnel.
    Name(String, u16),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// One `[Peer]`.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// `PublicKey`.
    pub key: Public,
    /// `PresharedKey`.
    pub preshared: Option<SecretKey>,
    /// `AllowedIPs`.
    pub allowed: Vec<Cidr>,
    /// `Endpoint`; without one the peer must come first.
    pub endpoint: Option<Endpoint>,
    /// `PersistentKeepalive` in seconds.
    pub keepalive: Option<u16>,
    /// The line of its `[Peer]`.
    line: usize,
}

/// A whole file.
#[derive(Debug, Clone)]
pub struct Config {
    /// `PrivateKey`.
    pub key: SecretKey,
    /// `Address`: at least one, at most eight.
    pub addresses: Vec<Cidr>,
    /// Addresses of `DNS`.
    pub dns: Vec<IpAddr>,
    /// Search domains of `DNS`.
    pub search: Vec<String>,
    /// `MTU`: bytes of a packet inside the tunnel; without it the ways to the endpoints tell.
    pub mtu: Option<usize>,
    /// `ListenPort`.
    pub port: Option<u16>,
    /// At least one.
    pub peers: Vec<PeerConfig>,
    /// Sentences about what is in the file and has no meaning here.
    pub warnings: Vec<String>,
}

#[derive(PartialEq)]
enum Section {
    None,
    Interface,
    Peer,
}

/// What was read so far.
struct Reader {
    line: usize,
    section: Section,
    interfaces: usize,
    key: Option<SecretKey>,
    config: Config,
    /// Peers, those without a key included.
    peers: Vec<(Option<Public>, PeerConfig)>,
}

type Outcome<T> = Result<T, ConfigError>;

impl Config {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line. Keys are never shown.
    pub fn parse(text: &str) -> Outcome<Self> {
        let mut reader = Reader::new();
        for (number, line) in text.lines().enumerate() {
            reader.line = number + 1;
            if number >= LINES {
                return Err(reader.wrong("a configuration has no more than 10000 lines"));
            }
            // As wg-quick: a `#` begins a comment anywhere.
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                reader.take(line)?;
            }
        }
        reader.finish()
    }
}

impl Reader {
    fn new() -> Self {
        let config = Config {
            key: SecretKey::generate(),
            addresses: Vec::new(),
            dns: Vec::new(),
            search: Vec::new(),
            mtu: None,
            port: None,
            peers: Vec::new(),
            warnings: Vec::new(),
        };
        Self { line: 0, section: Section::None, interfaces: 0, key: None, config, peers: Vec::new() }
    }

    fn wrong(&self, message: impl Into<String>) -> ConfigError {
        ConfigError { line: self.line, message: message.into(), hint: None }
    }

    fn take(&mut self, line: &str) -> Outcome<()> {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return self.begin(name.trim());
        }
        let Some((name, value)) = line.split_once('=') else {
            // It may be a key that lost its name: it is not shown.
            return Err(self.wrong("this line is neither `[Section]` nor `Name = value`"));
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        match self.section {
            Section::None => Err(self.wrong("a setting stands before any [Interface] or [Peer]")),
            Section::Interface => self.interface(&name, value),
            Section::Peer => self.peer(&name, value),
        }
    }

    fn begin(&mut self, name: &str) -> Outcome<()> {
        if name.eq_ignore_ascii_case("interface") {
            self.interfaces += 1;
            if self.interfaces > 1 {
                return Err(self.wrong("there is more than one [Interface]"));
            }
            self.section = Section::Interface;
        } else if name.eq_ignore_ascii_case("peer") {
            self.section = Section::Peer;
            let peer = PeerConfig {
                key: Public([0; 32]),
                preshared: None,
                allowed: Vec::new(),
                endpoint: None,
                keepalive: None,
                line: self.line,
            };
            self.peers.push((None, peer));
        } else {
            return Err(self.wrong(format!("there is no section [{}]", shown(name))));
        }
        Ok(())
    }

    fn interface(&mut self, name: &str, value: &str) -> Outcome<()> {
        match name {
            "privatekey" => self.key = Some(self.secret("PrivateKey", value)?),
            "address" => {
                for word in words(value) {
                    self.config.addresses.push(self.range("Address", word)?);
                }
            }
            "dns" => {
                for word in words(value) {
                    match word.parse() {
                        Ok(address) => self.config.dns.push(address),
                        Err(_) => self.config.search.push(word.trim_end_matches('.').to_owned()),
                    }
                }
            }
            "mtu" => {
                let mtu = value.parse().ok().filter(|mtu| (LEAST_MTU..=MOST_MTU).contains(mtu));
                let wrong =
                    || self.wrong(format!("`MTU` is `{}`, which is no size of packets", shown(value)));
                self.config.mtu = Some(mtu.ok_or_else(wrong)?);
            }
            "listenport" => {
                let port = value.parse().map_err(|_| self.not_a("ListenPort", value, "port"))?;
                self.config.port = (port != 0).then_some(port);
            }
            "preup" | "postup" | "predown" | "postdown" => {
                let warning =
                    format!("line {}: commands of `{name}` are not run by the embedded tunnel", self.line);
                self.config.warnings.push(warning);
            }
            // They are about the system's interface and routes, which this tunnel has not.
            "table" | "saveconfig" | "fwmark" => {}
            _ => return Err(self.unknown("[Interface]", name)),
        }
        Ok(())
    }

    fn peer(&mut self, name: &str, value: &str) -> Outcome<()> {
        match name {
            "publickey" => {
                let key = Public::parse(value).ok_or_else(|| self.no_key("PublicKey"))?;
                if self.peers.iter().any(|(other, _)| *other == Some(key)) {
                    return Err(self.wrong("two peers have the same `PublicKey`"));
                }
                self.set(|peer| peer.0 = Some(key));
            }
            "presharedkey" => {
                let key = self.secret("PresharedKey", value)?;
                self.set(|peer| peer.1.preshared = Some(key));
            }
            "allowedips" => {
                for word in words(value) {
                    let range = self.range("AllowedIPs", word)?;
                    self.set(|peer| peer.1.allowed.push(range));
                }
            }
            "endpoint" => {
                let endpoint = endpoint(value).ok_or_else(|| {
                    let mut error = self.not_a("Endpoint", value, "address or name with a port");
                    error.hint =
                        Some("write 192.0.2.1:51820, [2001:db8::1]:51820 or vpn.example.org:51820".into());
                    error
                })?;
                self.set(|peer| peer.1.endpoint = Some(endpoint));
            }
            "persistentkeepalive" => {
                let seconds = match value {
                    "off" => 0,
                    digits => digits
                        .parse()
                        .map_err(|_| self.not_a("PersistentKeepalive", value, "number of seconds"))?,
                };
                self.set(|peer| peer.1.keepalive = (seconds > 0).then_some(seconds));
            }
            _ => return Err(self.unknown("[Peer]", name)),
        }
        Ok(())
    }

    fn set(&mut self, change: impl FnOnce(&mut (Option<Public>, PeerConfig))) {
        if let Some(peer) = self.peers.last_mut() {
            change(peer);
        }
    }

    fn secret(&self, name: &str, value: &str) -> Outcome<SecretKey> {
        SecretKey::parse(value).ok_or_else(|| self.no_key(name))
    }

    fn no_key(&self, name: &str) -> ConfigError {
        let mut error = self.wrong(format!("`{name}` is no key: 44 characters of base64 are wanted"));
        error.hint = Some("`debark vpn new-peer NAME` makes keys and both sides' files".into());
        error
    }

    fn range(&self, name: &str, word: &str) -> Outcome<Cidr> {
        word.parse().map_err(|()| self.not_a(name, word, "address or network, such as 10.0.0.0/24"))
    }

    fn not_a(&self, name: &str, value: &str, what: &str) -> ConfigError {
        self.wrong(format!("`{name}` holds `{}`, which is no {what}", shown(value)))
    }

    fn unknown(&self, section: &str, name: &str) -> ConfigError {
        // What is no word may be a key that lost its name: it ends in `=`.
        let word = name.len() <= 24 && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        let name = if word { format!("such setting as `{name}`") } else { "such setting".into() };
        let mut error = self.wrong(format!("{section} has no {name}"));
        error.hint = Some("see wg-quick(8) and wg(8)".into());
        error
    }

    fn finish(mut self) -> Outcome<Config> {
        self.line = 0;
        self.config.key = self.key.take().ok_or_else(|| self.wrong("[Interface] has no `PrivateKey`"))?;
        if self.config.addresses.is_empty() {
            let mut error = self.wrong("[Interface] has no `Address`");
            error.hint =
                Some("wg-quick's form is wanted: `Address` is this side's address inside the tunnel".into());
            return Err(error);
        }
        if self.config.addresses.len() > ADDRESSES {
            return Err(self.wrong(format!("[Interface] has more than {ADDRESSES} addresses")));
        }
        for (key, peer) in std::mem::take(&mut self.peers) {
            self.line = peer.line;
            let Some(key) = key else { return Err(self.wrong("this [Peer] has no `PublicKey`")) };
            if key == self.config.key.public() {
                let mut error = self.wrong("this [Peer] has the public key of this side's own `PrivateKey`");
                error.hint = Some("`PublicKey` is the other side's".into());
                return Err(error);
            }
            self.config.peers.push(PeerConfig { key, ..peer });
        }
        self.line = 0;
        if self.config.peers.is_empty() {
            return Err(self.wrong("there is no [Peer]"));
        }
        Ok(self.config)
    }
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// What a message may repeat of a value: a key that stands in the wrong place is not shown.
fn shown(value: &str) -> String {
    if SecretKey::parse(value).is_some() {
        return "(a key)".into();
    }
    value.chars().filter(|letter| !letter.is_control()).take(60).collect()
}

fn endpoint(text: &str) -> Option<Endpoint> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then_some(Endpoint::Address(address));
    }
    let (name, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let named = !name.is_empty() && name.len() <= 253 && name.bytes().all(good);
    named.then(|| Endpoint::Name(name.to_owned(), port))
}

#[cfg(test)]
mod tests;
