//! How a connection comes about: its name, its route, its handshake, and what is said when one of them fails.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rustix::net::SendFlags;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, CongestionControl, State};

use crate::conn::{Conn, Phase};
use crate::engine::Engine;
use crate::failure::{Failure, Stage};
use crate::hello::Request;
use crate::pace::Pace;

/// A connection's room in either direction, in bytes: at 50 ms of round trip it carries 20 MB/s. What is not used costs
/// no memory.
const ROOM: usize = 1 << 20;
/// Connections at once.
const CONNECTIONS: usize = 4096;
/// Ports that connections come from (RFC 6335's dynamic ones).
const PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

type Socket = tcp::Socket<'static>;

impl Engine {
    /// Begins with a connection.
    pub(crate) fn request(&mut self, request: Request, now: Instant) {
        let Request { host, port, patience, hello, fd } = request;
        let conn = Conn {
            fd: Some(fd),
            hello: Some(hello),
            host,
            port,
            deadline: now + patience,
            patience,
            phase: Phase::Naming,
            read_over: false,
            write_over: false,
            blocked: false,
            pace: Pace::default(),
            room: true,
        };
        self.number += 1;
        self.conns.insert(self.number, conn);
        if self.conns.len() > CONNECTIONS {
            let failure = Failure::new(Stage::Local, "the tunnel has too many connections", "");
            self.fail(self.number, &failure);
        }
    }

    /// Takes connections further, as far as they are.
    pub(crate) fn advance(&mut self, now: Instant) {
        for (name, found) in self.names.settled(now) {
            let of_name = |conn: &&Conn| matches!(conn.phase, Phase::Naming) && conn.host == name;
            let waiting: Vec<u64> =
                self.conns.iter().filter(|(_, conn)| of_name(conn)).map(|(number, _)| *number).collect();
            for number in waiting {
                match &found {
                    Ok(addresses) => self.connect(number, &addresses.clone(), now),
                    Err(failure) => {
                        let failure = self.really(failure.clone(), now);
                        self.fail(number, &failure);
                    }
                }
            }
        }
        let numbers: Vec<u64> = self.conns.keys().copied().collect();
        for number in numbers {
            self.step(number, now);
        }
        self.conns.retain(|_, conn| !matches!(conn.phase, Phase::Over));
    }

    fn step(&mut self, number: u64, now: Instant) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        let late = now >= conn.deadline;
        match conn.phase {
            Phase::Naming => {
                let host = conn.host.clone();
                if let Ok(address) = host.parse::<IpAddr>() {
                    return self.connect(number, &[address], now);
                }
                match self.names.find(&host, now) {
                    Some(Ok(addresses)) => self.connect(number, &addresses, now),
                    Some(Err(failure)) => self.fail(number, &failure),
                    None if late => {
                        let message =
                            format!("the tunnel's name server did not tell the address of {host} in time");
                        let hint = "is `DNS` in the tunnel's configuration right, and does the server run?";
                        let failure = self.really(Failure::new(Stage::Dns, message, hint), now);
                        self.fail(number, &failure);
                    }
                    None => {
                        // Without a gateway nobody can be asked.
                        if let Some(failure) = self.no_endpoint() {
                            self.fail(number, &failure);
                        }
                    }
                }
            }
            Phase::Connecting { handle, address } => self.connecting(number, handle, address, late, now),
            Phase::Closing(handle, rounds) => {
                let state = self.sockets.get::<Socket>(handle).state();
                // One more round, in which the last word is sent.
                let gone = matches!(state, State::Closed | State::TimeWait);
                if gone && rounds > 0 {
                    self.sockets.remove(handle);
                    conn.phase = Phase::Over;
                } else if gone {
                    conn.phase = Phase::Closing(handle, 1);
                }
            }
            Phase::Open(_) | Phase::Over => {}
        }
    }

    /// Greets the first of a host's addresses that a peer is responsible for.
    fn connect(&mut self, number: u64, addresses: &[IpAddr], now: Instant) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        let own = |address: &IpAddr| {
            self.config.addresses.iter().any(|range| range.address.is_ipv4() == address.is_ipv4())
        };
        let mut routed = addresses.iter().filter(|address| self.routes.peer(**address).is_some());
        let Some(address) = routed.clone().find(|address| own(address)).copied() else {
            let (message, hint) = match routed.next() {
                Some(address) => (
                    format!("the tunnel has no address of the family of {address}"),
                    "its `Address` lacks IPv4 or IPv6".to_owned(),
                ),
                None => {
                    let list: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                    let name = if conn.host.parse::<IpAddr>().is_ok() {
                        String::new()
                    } else {
                        format!("{} (", conn.host)
                    };
                    let end = if name.is_empty() { "" } else { ")" };
                    (
                        format!("no peer of the tunnel allows the address {name}{}{end}", list.join(", ")),
                        "add it to `AllowedIPs` of the gateway's [Peer], or mend the host's address"
                            .to_owned(),
                    )
                }
            };
            return self.fail(number, &Failure::new(Stage::Route, message, hint));
        };
        let (host_port, patience) = (conn.port, conn.patience);
        let buffer = || tcp::SocketBuffer::new(vec![0; ROOM]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_congestion_control(CongestionControl::Cubic);
        socket.set_nagle_enabled(false);
        let port = self.free_port();
        if socket.connect(self.interface.context(), (address, host_port), port).is_err() {
            let failure = Failure::new(Stage::Route, format!("{address} is no address to connect to"), "");
            return self.fail(number, &failure);
        }
        let handle = self.sockets.add(socket);
        if let Some(conn) = self.conns.get_mut(&number) {
            conn.deadline = conn.deadline.max(now + patience / 2);
            conn.phase = Phase::Connecting { handle, address };
        }
    }

    fn free_port(&self) -> u16 {
        let taken = |port: u16| {
            self.sockets.iter().any(|(_, socket)| match socket {
                smoltcp::socket::Socket::Tcp(tcp) => tcp.local_endpoint().is_some_and(|own| own.port == port),
                _ => false,
            })
        };
        let span = PORTS.end() - PORTS.start();
        loop {
            // Far more ports than connections: one is found soon.
            let port = PORTS.start() + rand::random::<u16>() % span;
            if !taken(port) {
                return port;
            }
        }
    }

    fn connecting(&mut self, number: u64, handle: SocketHandle, address: IpAddr, late: bool, now: Instant) {
        let state = self.sockets.get::<Socket>(handle).state();
        let Some(conn) = self.conns.get_mut(&number) else { return };
        let far = SocketAddr::new(address, conn.port);
        match state {
            State::SynSent | State::SynReceived => {
                if let Some(failure) = self.no_endpoint_of(address) {
                    return self.fail(number, &failure);
                }
                if late {
                    let failure = self.silent(number, far, now);
                    self.fail(number, &failure);
                }
            }
            State::Closed => {
                let failure = Failure::new(
                    Stage::Refused,
                    format!("{far} refuses the connection: nothing listens there, or a firewall says no"),
                    "the tunnel works; is sshd running there, and is ansible_port right?",
                );
                self.fail(number, &failure);
            }
            _ => {
                conn.phase = Phase::Open(handle);
                let answer = conn.hello.take().map(|hello| hello.answer(Ok(far))).unwrap_or_default();
                // A few bytes into an empty buffer: there is room.
                let told = match &conn.fd {
                    Some(fd) if !answer.is_empty() => {
                        rustix::net::send(fd, &answer, SendFlags::NOSIGNAL).is_ok()
                    }
                    _ => true,
                };
                if !told {
                    self.give_up(number);
                }
            }
        }
    }

    /// Says why there is no connection.
    pub(crate) fn fail(&mut self, number: u64, failure: &Failure) {
        if let Some(conn) = self.conns.get_mut(&number) {
            let answer = conn.hello.take().map(|hello| hello.answer(Err(failure))).unwrap_or_default();
            if let Some(fd) = &conn.fd
                && !answer.is_empty()
            {
                // Whoever asked may be gone.
                let _ = rustix::net::send(fd, &answer, SendFlags::NOSIGNAL);
            }
        }
        self.give_up(number);
    }

    /// Ends a connection at once.
    pub(crate) fn give_up(&mut self, number: u64) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        conn.fd = None;
        match conn.phase {
            Phase::Connecting { handle, .. } | Phase::Open(handle) => {
                self.sockets.get_mut::<Socket>(handle).abort();
                conn.phase = Phase::Closing(handle, 0);
            }
            Phase::Naming => conn.phase = Phase::Over,
            Phase::Closing(..) | Phase::Over => {}
        }
    }

    /// A name server that does not answer may well be a gateway that does not.
    fn really(&self, failure: Failure, now: Instant) -> Failure {
        if failure.stage != Stage::Dns {
            return failure;
        }
        let Some(server) = self.config.dns.first() else { return failure };
        match self.routes.peer(*server) {
            None => Failure::new(
                Stage::Dns,
                format!("no peer of the tunnel allows the address of its name server {server}"),
                "add it to `AllowedIPs` of the gateway's [Peer]",
            ),
            Some(peer) => self.no_handshake(peer, now).unwrap_or(failure),
        }
    }

    fn no_endpoint(&self) -> Option<Failure> {
        self.no_endpoint_of(*self.config.dns.first()?)
    }

    fn no_endpoint_of(&self, address: IpAddr) -> Option<Failure> {
        let peer = self.peers.get(self.routes.peer(address)?)?;
        let why = peer.unresolved.as_ref().filter(|_| peer.address.is_none())?;
        let endpoint = peer.config.endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
        Some(Failure::new(
            Stage::Endpoint,
            format!("the tunnel's endpoint {endpoint} does not resolve: {why}"),
            "mend `Endpoint` in the tunnel's configuration, or this machine's resolver",
        ))
    }

    /// Nobody answered in time: the gateway, or the host behind it?
    fn silent(&self, number: u64, far: SocketAddr, now: Instant) -> Failure {
        let peer = self.routes.peer(far.ip());
        if let Some(failure) = peer.and_then(|peer| self.no_handshake(peer, now)) {
            return failure;
        }
        let seconds = self.conns.get(&number).map_or(0, |conn| conn.patience.as_secs());
        let own: Vec<String> = self.config.addresses.iter().map(|range| range.address.to_string()).collect();
        Failure::new(
            Stage::TimedOut,
            format!("{far} does not answer through the tunnel within {seconds} s"),
            format!(
                "the tunnel stands; is the host up, does the gateway forward to it, and do the gateway's AllowedIPs hold \
                 this side's address {}?",
                own.join(", ")
            ),
        )
    }

    fn no_handshake(&self, number: usize, now: Instant) -> Option<Failure> {
        let peer = self.peers.get(number)?;
        if peer.is_up(now) {
            return None;
        }
        let Some(address) = peer.address else {
            return Some(match &peer.config.endpoint {
                Some(endpoint) => Failure::new(
                    Stage::Endpoint,
                    format!("the tunnel's endpoint {endpoint} did not resolve in time"),
                    "mend `Endpoint` in the tunnel's configuration, or this machine's resolver",
                ),
                None => Failure::new(
                    Stage::Handshake,
                    "the tunnel's peer has no `Endpoint` and has not called",
                    "add `Endpoint` to its [Peer]",
                ),
            });
        };
        let since = peer.greeting_since().map_or(0, |since| (now - since).as_secs().max(1));
        let trouble = self.trouble().map(|why| format!(" (this machine: {why})")).unwrap_or_default();
        let name = match &peer.config.endpoint {
            Some(crate::config::Endpoint::Name(name, port)) => format!("{name}:{port} ({address})"),
            _ => address.to_string(),
        };
        if peer.refused {
            return Some(Failure::new(
                Stage::Down,
                format!(
                    "the WireGuard gateway {name} is down: its machine says that nothing listens on that port"
                ),
                "start WireGuard there, or mend `Endpoint` in the tunnel's configuration",
            ));
        }
        Some(Failure::new(
            Stage::Handshake,
            format!("the WireGuard gateway {name} has not answered the handshake in {since} s{trouble}"),
            "WireGuard is silent to keys that it does not know: check that the gateway runs and UDP reaches it, that \
             `PublicKey` is its key and `PresharedKey` the same on both sides, and that it has this side's public key as a peer",
        ))
    }
}
