//! One peer: its WireGuard state, and where it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::PublicKey;

use crate::cidr;
use crate::config::{Endpoint, PeerConfig};
use crate::key::SecretKey;

/// Data was sent and nothing came back for so long: the peer may have lost its keys (a restart) or its address.
const SILENCE: Duration = Duration::from_secs(3);
/// Between two greetings that we send on our own, as WireGuard's Rekey-Timeout.
const AGAIN: Duration = Duration::from_secs(5);
/// A name is looked up again when the peer has not answered for so long.
const LOOK_AGAIN: Duration = Duration::from_secs(8);
/// Greetings go unanswered for so long before it is asked whether anything listens there.
const KNOCK: Duration = Duration::from_secs(1);
/// A session is good for so long (Reject-After-Time).
const SESSION: Duration = Duration::from_secs(180);

/// A datagram has so much around the packet in it: header, counter and tag.
pub(crate) const OVERHEAD: usize = 32;

pub(crate) struct Peer {
    pub config: PeerConfig,
    tunn: Tunn,
    /// Where datagrams go, once known.
    pub address: Option<SocketAddr>,
    /// Why its name has no address.
    pub unresolved: Option<String>,
    /// A look-up is under way since then.
    pub looking: Option<Instant>,
    looked: Option<Instant>,
    /// When anything authentic came from it last.
    pub heard: Option<Instant>,
    /// Since when data has been sent without an answer.
    unanswered: Option<Instant>,
    greeted: Option<Instant>,
    /// The first greeting of those that have not been answered.
    greeting_since: Option<Instant>,
    /// When keys were agreed on last, and how long that took.
    pub established: Option<(Instant, Duration)>,
    pub sent: u64,
    pub received: u64,
    /// What finds out whether anything listens where the peer should be, and where that is.
    knocking: Option<(SocketAddr, UdpSocket)>,
    /// Nothing does.
    pub refused: bool,
}

/// What a datagram was.
pub(crate) enum Heard {
    /// A packet, of so many bytes, for the stack.
    Packet(usize),
    /// New keys, after so long a silence.
    Session(Duration),
    /// Nothing for the stack.
    Nothing,
    /// Not from this peer.
    Foreign,
}

impl Peer {
    pub fn new(config: PeerConfig, own: &SecretKey, index: usize) -> Self {
        let preshared = config.preshared.as_ref().map(SecretKey::bytes);
        let key = PublicKey::from(config.key.0);
        let number = u32::try_from(index).unwrap_or(0);
        let tunn = Tunn::new(own.secret(), key, preshared, config.keepalive, number, None);
        let address = match &config.endpoint {
            Some(Endpoint::Address(address)) => Some(*address),
            _ => None,
        };
        Self {
            config,
            tunn,
            address,
            unresolved: None,
            looking: None,
            looked: None,
            heard: None,
            unanswered: None,
            greeted: None,
            greeting_since: None,
            established: None,
            sent: 0,
            received: 0,
            knocking: None,
            refused: false,
        }
    }

    /// Whether it has keys and was heard lately.
    pub fn is_up(&self, now: Instant) -> bool {
        let session = self.established.is_some_and(|(when, _)| now - when < SESSION);
        let quiet = self.unanswered.is_some_and(|since| now - since > Duration::from_secs(15));
        session && !quiet
    }

    /// Since when greetings go unanswered.
    pub fn greeting_since(&self) -> Option<Instant> {
        self.greeting_since
    }

    /// The name that has to be looked up now, if any.
    pub fn name_due(&mut self, now: Instant, needed: bool) -> Option<(String, u16)> {
        let Some(Endpoint::Name(name, port)) = &self.config.endpoint else { return None };
        let lost = self.greeting_since.is_some_and(|since| now - since > LOOK_AGAIN);
        let wanted = self.address.is_none() && (needed || self.looked.is_none()) || lost;
        let soon = self.looked.is_some_and(|looked| now - looked < AGAIN);
        if !wanted || soon || self.looking.is_some() {
            return None;
        }
        self.looking = Some(now);
        self.looked = Some(now);
        Some((name.clone(), *port))
    }

    /// Seals a packet; what is in `out` then has to be sent. Without keys it waits, and a greeting is sent instead.
    pub fn seal<'a>(&mut self, packet: &[u8], out: &'a mut [u8], now: Instant) -> Option<&'a [u8]> {
        self.unanswered.get_or_insert(now);
        let result = self.tunn.encapsulate(packet, out);
        let sealed = self.greeted_by(result, now)?;
        self.sent += sealed.len() as u64;
        Some(sealed)
    }

    fn greeted_by<'a>(&mut self, result: TunnResult<'a>, now: Instant) -> Option<&'a [u8]> {
        let TunnResult::WriteToNetwork(bytes) = result else { return None };
        if bytes.first() == Some(&1) {
            self.greeted = Some(now);
            self.greeting_since.get_or_insert(now);
        }
        Some(bytes)
    }

    /// Begins to agree on keys; what is in `out` then has to be sent.
    pub fn greet<'a>(&mut self, out: &'a mut [u8], now: Instant) -> Option<&'a [u8]> {
        let result = self.tunn.format_handshake_initiation(out, true);
        self.greeted_by(result, now)
    }

    /// What time brings: keepalives, greetings again. To be called a few times in a second.
    pub fn tick<'a>(&mut self, out: &'a mut [u8], now: Instant, needed: bool) -> Option<&'a [u8]> {
        let silent = needed && self.unanswered.is_some_and(|since| now - since > SILENCE);
        let greeted = self.greeted.is_some_and(|when| now - when < AGAIN);
        // boringtun's clock moves here only, and it is right for what is sealed until the next time.
        let due = match self.tunn.update_timers(out) {
            TunnResult::WriteToNetwork(bytes) => bytes.len(),
            _ => 0,
        };
        if due == 0 {
            return if silent && !greeted { self.greet(out, now) } else { None };
        }
        self.greeted_by(TunnResult::WriteToNetwork(out.get_mut(..due)?), now)
    }

    /// Learns of a machine that says that nothing listens there (ICMP, port unreachable), which only a connected socket is told of. WireGuard
    /// itself is silent to whomever it does not know, so one byte will do. Anybody on the way can say so: it is for words only.
    pub fn knock(&mut self, now: Instant) {
        let late = self.greeting_since.is_some_and(|since| now - since > KNOCK);
        let Some(address) = self.address.filter(|_| late && !self.is_up(now)) else {
            (self.knocking, self.refused) = (None, false);
            return;
        };
        if self.knocking.as_ref().is_none_or(|(to, _)| *to != address) {
            let own: IpAddr =
                if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let knock = || {
                let socket = UdpSocket::bind((own, 0))?;
                socket.connect(address)?;
                socket.set_nonblocking(true)?;
                socket.send(&[0]).map(|_| socket)
            };
            self.refused = false;
            self.knocking = knock().ok().map(|socket: UdpSocket| (address, socket));
        }
        if let Some((_, socket)) = &self.knocking {
            let answer = socket.recv(&mut [0]);
            self.refused |= answer.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
        }
    }

    /// Opens a datagram into `packet`, which must be as long as the datagram and 148 bytes. `reply` is to be sent.
    pub fn open(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        packet: &mut [u8],
        now: Instant,
        mut send: impl FnMut(&[u8]),
    ) -> Heard {
        let kind = datagram.first().copied();
        let (length, source) = match self.tunn.decapsulate(Some(from.ip()), datagram, packet) {
            TunnResult::Err(_) => return Heard::Foreign,
            TunnResult::Done => {
                // A keepalive. A cookie (3) proves the peer's key too, but asks for patience.
                if kind == Some(4) {
                    self.hear(from, datagram.len(), now);
                }
                return Heard::Nothing;
            }
            TunnResult::WriteToNetwork(reply) => {
                send(reply);
                if kind != Some(2) {
                    return Heard::Nothing;
                }
                let silence = self.heard.map_or(Duration::ZERO, |heard| now - heard);
                let took = now - self.greeting_since.take().unwrap_or(now);
                self.hear(from, datagram.len(), now);
                self.established = Some((now, took));
                // What waited for keys.
                while let TunnResult::WriteToNetwork(waiting) = self.tunn.decapsulate(None, &[], packet) {
                    send(waiting);
                }
                return Heard::Session(silence);
            }
            TunnResult::WriteToTunnelV4(opened, source) => (opened.len(), IpAddr::from(source)),
            TunnResult::WriteToTunnelV6(opened, source) => (opened.len(), IpAddr::from(source)),
        };
        self.hear(from, datagram.len(), now);
        // Cryptokey routing: a peer speaks for its own ranges only.
        let whole = packet.get(..length).and_then(cidr::ends).is_some();
        if whole && self.config.allowed.iter().any(|range| range.contains(source)) {
            Heard::Packet(length)
        } else {
            Heard::Nothing
        }
    }

    /// It is there, and where it is now: peers may roam.
    fn hear(&mut self, from: SocketAddr, bytes: usize, now: Instant) {
        self.heard = Some(now);
        self.unanswered = None;
        self.address = Some(from);
        self.received += bytes as u64;
    }
}

/// Which peer a datagram is for, as its receiver's number says; `None`: a greeting of any, or nothing of ours.
pub(crate) fn receiver(datagram: &[u8]) -> Option<usize> {
    let at = match datagram.first()? {
        2 => 8,
        3 | 4 => 4,
        _ => return None,
    };
    let number = u32::from_le_bytes(datagram.get(at..at + 4)?.try_into().ok()?);
    usize::try_from(number >> 8).ok()
}
