//! The one thread of a tunnel: UDP outside, TCP inside, and sockets of this machine for those who use it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use smoltcp::iface::{Config as StackConfig, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::cidr::{Cidr, Routes};
use crate::config::Config;
use crate::conn::{Conn, Phase};
use crate::device::Queues;
use crate::hello::Request;
use crate::names::Names;
use crate::peer::{self, Heard, OVERHEAD, Peer};
use crate::status::{PeerStatus, Status};
use crate::wire::{Taken, Wire};

/// boringtun's clock and everything that waits are looked after so often.
const TICK: Duration = Duration::from_millis(100);
/// Datagrams taken in one go, before what they brought is passed on.
const TAKEN: usize = 256;
/// Rounds of the stack in one go.
const ROUNDS: usize = 16;
/// After a silence the stack's clock jumps so far: it sends at once what it would have repeated within a minute.
const JUMP: Duration = Duration::from_secs(61);
/// A silence that is worth a jump.
const SILENCE: Duration = Duration::from_secs(2);
/// The largest datagram.
const DATAGRAM: usize = 65_536;

/// What other threads say to the engine.
pub(crate) enum Command {
    Connect(Request),
    Resolved { peer: usize, found: Result<Vec<SocketAddr>, String> },
    Stop,
}

pub(crate) struct Engine {
    pub config: Config,
    pub routes: Routes,
    pub peers: Vec<Peer>,
    wire: Wire,
    device: Queues,
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    pub names: Names,
    questions: SocketHandle,
    pub conns: BTreeMap<u64, Conn>,
    pub number: u64,
    commands: Receiver<Command>,
    sender: Sender<Command>,
    pub(crate) bell: Arc<OwnedFd>,
    pub listener: Option<UnixListener>,
    pub callers: Vec<crate::callers::Caller>,
    started: Instant,
    skew: Duration,
    ticked: Option<Instant>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    status: Arc<Mutex<Status>>,
}

fn cidr(range: &Cidr) -> IpCidr {
    IpCidr::new(range.address.into(), range.prefix)
}

impl Engine {
    pub fn new(
        config: Config,
        wire: Wire,
        listener: Option<UnixListener>,
        (sender, commands): (Sender<Command>, Receiver<Command>),
        bell: Arc<OwnedFd>,
        status: Arc<Mutex<Status>>,
    ) -> Self {
        let ranges = config.peers.iter().enumerate();
        let routes = Routes::new(
            ranges.flat_map(|(peer, config)| config.allowed.iter().map(move |range| (*range, peer))),
        );
        let peers = config.peers.iter().enumerate();
        let peers = peers.map(|(number, peer)| Peer::new(peer.clone(), &config.key, number)).collect();
        let mtu = config.mtu.unwrap_or_else(|| crate::mtu::of(&config));
        let mut device = Queues::new(mtu);
        let mut setup = StackConfig::new(HardwareAddress::Ip);
        setup.random_seed = rand::random();
        let mut interface = Interface::new(setup, &mut device, StackInstant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // There is room for as many as the configuration may have.
            for range in &config.addresses {
                let _ = addresses.push(cidr(range));
            }
        });
        // Which peer a packet goes to is decided when it is sealed: for the stack everything is one hop away.
        for range in &config.addresses {
            match range.address {
                IpAddr::V4(address) => drop(interface.routes_mut().add_default_ipv4_route(address)),
                IpAddr::V6(address) => drop(interface.routes_mut().add_default_ipv6_route(address)),
            }
        }
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 32], vec![0; 32 << 10]);
        let mut asking = udp::Socket::new(buffer(), buffer());
        // Never 0, so that it cannot fail.
        let _ = asking.bind(49_152 + rand::random::<u16>() % 16_000);
        let questions = sockets.add(asking);
        let family = |four: bool| config.addresses.iter().any(|range| range.address.is_ipv4() == four);
        let names = Names::new(config.dns.clone(), config.search.clone(), family(true), family(false));
        Self {
            outbox: vec![0; mtu.max(256) + OVERHEAD + 128],
            config,
            routes,
            peers,
            wire,
            device,
            interface,
            sockets,
            names,
            questions,
            conns: BTreeMap::new(),
            number: 0,
            commands,
            sender,
            bell,
            listener,
            callers: Vec::new(),
            started: Instant::now(),
            skew: Duration::ZERO,
            ticked: None,
            inbox: vec![0; DATAGRAM],
            status,
        }
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        let now = Instant::now();
        // Keys are agreed on before anybody asks for a connection.
        for number in 0..self.peers.len() {
            self.look_up(number, now, true);
            self.greet(number, now);
        }
        loop {
            let now = Instant::now();
            if !self.hear_commands(now) {
                return;
            }
            self.hear_callers(now);
            self.hear_datagrams(now);
            self.tick(now);
            self.hurry(now);
            self.ask_names(now);
            self.advance(now);
            self.turn_stack(now);
            self.wait(Instant::now());
        }
    }

    fn hear_commands(&mut self, now: Instant) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Connect(request)) => self.request(request, now),
                Ok(Command::Resolved { peer, found }) => self.resolved(peer, found, now),
                Ok(Command::Stop) | Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
            }
        }
    }

    fn resolved(&mut self, number: usize, found: Result<Vec<SocketAddr>, String>, now: Instant) {
        let wire = &self.wire;
        let Some(peer) = self.peers.get_mut(number) else { return };
        peer.looking = None;
        match found.map(|all| all.into_iter().find(|address| wire.reaches(address))) {
            Ok(Some(address)) => {
                let new = peer.address != Some(address);
                (peer.address, peer.unresolved) = (Some(address), None);
                if new {
                    self.greet(number, now);
                }
            }
            Ok(None) => peer.unresolved = Some("it has no address that this machine can use".into()),
            Err(why) => peer.unresolved = Some(why),
        }
    }

    fn look_up(&mut self, number: usize, now: Instant, needed: bool) {
        let Some(peer) = self.peers.get_mut(number) else { return };
        let Some((name, port)) = peer.name_due(now, needed) else { return };
        let (sender, bell) = (self.sender.clone(), self.bell.clone());
        // The machine's resolver may take its time; it is asked for the gateway only.
        let started = std::thread::Builder::new().name("endpoint".into()).spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
            let found = found.map_err(|error| error.to_string());
            let _ = sender.send(Command::Resolved { peer: number, found });
            ring(&bell);
        });
        if let Err(error) = started {
            peer.looking = None;
            peer.unresolved = Some(format!("cannot start a thread: {error}"));
        }
    }

    fn greet(&mut self, number: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(number) else { return };
        let Some(address) = peer.address else { return };
        if let Some(bytes) = peer.greet(&mut self.outbox, now) {
            self.wire.send(address, bytes);
        }
    }

    fn hear_datagrams(&mut self, now: Instant) {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut taken = 0;
        while taken < TAKEN
            && let Some(Taken { from, length, segment }) = self.wire.receive(&mut inbox)
        {
            // At least one, though there be nothing in it.
            taken += length.div_ceil(segment).max(1);
            for datagram in inbox.get(..length).unwrap_or_default().chunks(segment) {
                self.hear(from, datagram, now);
            }
        }
        self.inbox = inbox;
    }

    fn hear(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        let numbers = match peer::receiver(datagram) {
            Some(number) => number..number.saturating_add(1),
            // A greeting: by its key it is one of them's.
            None => 0..self.peers.len(),
        };
        for number in numbers {
            let Some(peer) = self.peers.get_mut(number) else { continue };
            let mut packet = self.device.buffer(datagram.len().max(256));
            let wire = &mut self.wire;
            let heard = peer.open(from, datagram, &mut packet, now, |reply| wire.send(from, reply));
            if let Heard::Packet(length) = heard {
                packet.truncate(length);
                self.device.incoming.push_back(packet);
                return;
            }
            self.device.give_back(packet);
            match heard {
                Heard::Session(silence) if silence > SILENCE => self.skew += JUMP,
                Heard::Foreign => continue,
                _ => {}
            }
            return;
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.ticked.is_some_and(|ticked| now - ticked < TICK) {
            return;
        }
        self.ticked = Some(now);
        let needed = !self.conns.is_empty();
        for number in 0..self.peers.len() {
            self.look_up(number, now, needed);
            let Some(peer) = self.peers.get_mut(number) else { continue };
            let Some(address) = peer.address else { continue };
            peer.knock(now);
            if let Some(bytes) = peer.tick(&mut self.outbox, now, needed) {
                self.wire.send(address, bytes);
            }
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.peers = self.peers.iter().map(|peer| PeerStatus::of(peer, now)).collect();
        status.connections = self.conns.len();
    }

    /// What was lost is sent again.
    fn hurry(&mut self, now: Instant) {
        for conn in self.conns.values_mut() {
            if let Phase::Open(handle) = conn.phase {
                let queued = self.sockets.get::<tcp::Socket<'_>>(handle).send_queue();
                self.skew += conn.pace.hurry(queued, now).unwrap_or_default();
            }
        }
    }

    fn ask_names(&mut self, now: Instant) {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.questions);
        for question in self.names.questions(now) {
            let _ = socket.send_slice(&question.bytes, (question.server, 53));
        }
        while let Ok((bytes, meta)) = socket.recv() {
            let from: IpAddr = meta.endpoint.addr.into();
            if meta.endpoint.port == 53 {
                self.names.take(from, bytes, now);
            }
        }
    }

    /// The stack's time.
    pub fn clock(&self, now: Instant) -> StackInstant {
        let since = now.saturating_duration_since(self.started) + self.skew;
        StackInstant::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Lets the stack work, and moves bytes, until nothing moves any more or it is time to look outside again.
    fn turn_stack(&mut self, now: Instant) {
        self.wire.flush();
        let clock = self.clock(now);
        for _ in 0..ROUNDS {
            self.device.full = self.wire.is_full();
            self.interface.poll(clock, &mut self.device, &mut self.sockets);
            let moved = self.pump(now);
            let sent = self.seal(now);
            if !moved && !sent {
                return;
            }
        }
    }

    fn pump(&mut self, now: Instant) -> bool {
        let (mut moved, connections) = (false, self.conns.len());
        for conn in self.conns.values_mut() {
            if let Phase::Open(handle) = conn.phase {
                moved |= conn.pump(self.sockets.get_mut::<tcp::Socket<'_>>(handle), connections, now);
                if conn.fd.is_none() {
                    conn.phase = Phase::Closing(handle, 0);
                }
            }
        }
        moved
    }

    /// Seals and sends what the stack has ready; whether there was anything.
    fn seal(&mut self, now: Instant) -> bool {
        let mut sent = false;
        while let Some(packet) = self.device.outgoing.pop_front() {
            sent = true;
            let peer = crate::cidr::ends(&packet).and_then(|(_, to)| self.routes.peer(to));
            if let Some(peer) = peer.and_then(|number| self.peers.get_mut(number))
                && let Some(bytes) = peer.seal(&packet, &mut self.outbox, now)
                && let Some(address) = peer.address
            {
                self.wire.put(address, bytes);
            }
            self.device.give_back(packet);
        }
        self.wire.push();
        sent
    }

    fn wait(&mut self, now: Instant) {
        let mut due = self.ticked.map_or(now, |ticked| ticked + TICK);
        if let Some(next) = self.names.next() {
            due = due.min(next);
        }
        let late = self.conns.values().filter_map(|conn| match conn.phase {
            Phase::Open(handle) => conn.pace.late(self.sockets.get::<tcp::Socket<'_>>(handle).send_queue()),
            _ => None,
        });
        due = late.min().map_or(due, |late| due.min(late));
        let mut timeout = due.saturating_duration_since(now);
        let clock = self.clock(now);
        if !self.wire.is_full()
            && let Some(delay) = self.interface.poll_delay(clock, &self.sockets)
        {
            timeout = timeout.min(Duration::from_micros(delay.total_micros()));
        }
        let mut fds = vec![PollFd::new(&*self.bell, PollFlags::IN)];
        let outside = if self.wire.is_full() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        fds.extend(self.wire.fds().map(|fd| PollFd::from_borrowed_fd(fd, outside)));
        fds.extend(self.listener.as_ref().map(|listener| PollFd::new(listener, PollFlags::IN)));
        fds.extend(self.callers.iter().map(|caller| PollFd::new(caller.fd(), PollFlags::IN)));
        let first = fds.len();
        let mut waiting = Vec::new();
        for (number, conn) in &self.conns {
            let socket = match conn.phase {
                Phase::Open(handle) => Some(self.sockets.get::<tcp::Socket<'_>>(handle)),
                _ => None,
            };
            if let (Some((read, write)), Some(fd)) = (conn.interest(socket), &conn.fd) {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, read);
                flags.set(PollFlags::OUT, write);
                fds.push(PollFd::from_borrowed_fd(fd.as_fd(), flags));
                waiting.push((*number, matches!(conn.phase, Phase::Open(_))));
            }
        }
        let timeout = rustix::time::Timespec::try_from(timeout).ok();
        // Interrupted or not: everything is looked at again.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        let rang = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        let end = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        let ends = fds.iter().skip(first).zip(&waiting);
        let gone: Vec<u64> = ends
            .filter(|(fd, (_, open))| !open && fd.revents().intersects(end))
            .map(|(_, (number, _))| *number)
            .collect();
        drop(fds);
        if rang {
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
        gone.into_iter().for_each(|number| self.give_up(number));
    }

    /// Why nothing could be sent last, in the system's words.
    pub fn trouble(&self) -> Option<String> {
        self.wire.trouble.map(|errno| std::io::Error::from(errno).to_string())
    }
}

/// Wakes the engine.
pub(crate) fn ring(bell: &OwnedFd) {
    // An eventfd: a full one rings already.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}
