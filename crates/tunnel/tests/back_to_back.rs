//! A tunnel against a gateway of this process: boringtun on the other side, with a little stack that echoes.
//!
//! What real gateways and hosts do is shown by the end-to-end tests; here it is what they would make slow to show.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use debark_tunnel::{Config, Failure, SecretKey, Stage, Tunnel};
use smoltcp::iface::{Config as StackConfig, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

/// As long as a test waits for what must come.
const LONG: Duration = Duration::from_secs(60);
/// As long as it waits for what must not come.
const SHORT: Duration = Duration::from_millis(700);

#[derive(Default)]
struct Queues(VecDeque<Vec<u8>>, VecDeque<Vec<u8>>);
struct In(Vec<u8>);
struct Out<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for In {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Out<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = vec![0; length];
        let result = write(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Queues {
    type RxToken<'a> = In;
    type TxToken<'a> = Out<'a>;
    fn receive(&mut self, _: Instant) -> Option<(In, Out<'_>)> {
        Some((In(self.0.pop_front()?), Out(&mut self.1)))
    }
    fn transmit(&mut self, _: Instant) -> Option<Out<'_>> {
        (self.1.len() < 64).then_some(Out(&mut self.1))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut all = DeviceCapabilities::default();
        (all.medium, all.max_transmission_unit) = (Medium::Ip, 1420);
        all
    }
}

/// The other side: 10.9.0.1 and fd00::1, which echo on port 7 and know the name `web.corp`.
struct Gateway {
    port: u16,
    stop: Arc<AtomicBool>,
    deaf: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    fn start(key: &SecretKey, peer: &SecretKey, port: u16) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (stop, deaf) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let bytes = |text: &str| -> [u8; 32] {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).unwrap().try_into().unwrap()
        };
        let own = StaticSecret::from(bytes(&key.encoded()));
        let other = PublicKey::from(bytes(&peer.public().to_string()));
        let tunn = Tunn::new(own, other, None, None, 0, None);
        let thread = std::thread::spawn({
            let (stop, deaf) = (stop.clone(), deaf.clone());
            move || serve(&socket, tunn, &stop, &deaf)
        });
        Self { port, stop, deaf, thread: Some(thread) }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve(socket: &UdpSocket, mut tunn: Tunn, stop: &AtomicBool, deaf: &AtomicBool) {
    let mut device = Queues::default();
    let mut stack = Interface::new(StackConfig::new(HardwareAddress::Ip), &mut device, Instant::now());
    stack.update_ip_addrs(|all| {
        all.push(IpCidr::new(IpAddress::v4(10, 9, 0, 1), 24)).unwrap();
        all.push(IpCidr::new(IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 1), 64)).unwrap();
    });
    let mut sockets = SocketSet::new(Vec::new());
    let mut names = udp::Socket::new(
        udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 4096]),
        udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 4096]),
    );
    names.bind(53).unwrap();
    let names = sockets.add(names);
    let room = || tcp::SocketBuffer::new(vec![0; 1 << 17]);
    let echoes: Vec<_> = (0..60)
        .map(|_| {
            let mut echo = tcp::Socket::new(room(), room());
            echo.listen(7).unwrap();
            sockets.add(echo)
        })
        .collect();
    let (mut buffer, mut out, mut far) = (vec![0; 65536], vec![0; 65536], None);
    while !stop.load(Ordering::Relaxed) {
        let mut send = |result: TunnResult<'_>, to| match result {
            TunnResult::WriteToNetwork(bytes) => drop(socket.send_to(bytes, to)),
            TunnResult::WriteToTunnelV4(packet, _) => device.0.push_back(packet.to_vec()),
            TunnResult::WriteToTunnelV6(packet, _) => device.0.push_back(packet.to_vec()),
            _ => {}
        };
        if let Ok((length, from)) = socket.recv_from(&mut buffer)
            && !deaf.load(Ordering::Relaxed)
        {
            far = Some(from);
            send(tunn.decapsulate(Some(from.ip()), &buffer[..length], &mut out), from);
        }
        if let Some(far) = far {
            send(tunn.update_timers(&mut out), far);
        }
        stack.poll(Instant::now(), &mut device, &mut sockets);
        for handle in &echoes {
            let echo = sockets.get_mut::<tcp::Socket<'_>>(*handle);
            if echo.can_recv() && echo.send_capacity() - echo.send_queue() >= 1 << 16 {
                let bytes =
                    echo.recv(|bytes| (bytes.len().min(1 << 16), bytes[..bytes.len().min(1 << 16)].to_vec()));
                assert_eq!(echo.send_slice(&bytes.as_ref().unwrap()[..]).unwrap(), bytes.unwrap().len());
            } else if !echo.may_recv() && echo.may_send() && !echo.can_recv() {
                echo.close();
            }
        }
        let socket_names = sockets.get_mut::<udp::Socket<'_>>(names);
        if let Ok((question, meta)) = socket_names.recv() {
            let mut reply = question.to_vec();
            let meta = meta.endpoint;
            let is_a = reply[reply.len() - 3] == 1;
            (reply[2], reply[3]) = (0x81, 0x80);
            if reply[12..].starts_with(b"\x03web\x04corp\x00") && is_a {
                reply[7] = 1;
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 9, 0, 1]);
            } else if !reply[12..].starts_with(b"\x03web\x04corp\x00") {
                reply[3] = 0x83;
            }
            sockets.get_mut::<udp::Socket<'_>>(names).send_slice(&reply, meta).unwrap();
        }
        stack.poll(Instant::now(), &mut device, &mut sockets);
        if let Some(far) = far {
            while let Some(packet) = device.1.pop_front() {
                if let TunnResult::WriteToNetwork(bytes) = tunn.encapsulate(&packet, &mut out) {
                    drop(socket.send_to(bytes, far));
                }
            }
        }
    }
}

struct Ends {
    near: SecretKey,
    far: SecretKey,
}

impl Ends {
    fn new() -> Self {
        Self { near: SecretKey::generate(), far: SecretKey::generate() }
    }

    fn gateway(&self, port: u16) -> Gateway {
        Gateway::start(&self.far, &self.near, port)
    }

    fn config(&self, port: u16) -> Config {
        let text = format!(
            "[Interface]\nPrivateKey = {}\nAddress = 10.9.0.2/24, fd00::2/64\nDNS = 10.9.0.1, corp\n[Peer]\nPublicKey = {}\n\
             AllowedIPs = 10.9.0.0/24, fd00::/64\nEndpoint = localhost:{port}\n",
            *self.near.encoded(),
            self.far.public()
        );
        Config::parse(&text).unwrap()
    }
}

fn echoes(mut stream: UnixStream, length: usize) {
    let sent: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == sent, "{} bytes came back of {}", back.len(), sent.len());
}

#[track_caller]
fn fails(outcome: Result<(UnixStream, std::net::SocketAddr), Failure>, stage: Stage, part: &str) {
    let failure = outcome.expect_err("it must fail");
    assert_eq!(failure.stage, stage, "{failure:?}");
    assert!(failure.message.contains(part), "{failure:?}");
}

#[test]
fn bytes_go_there_and_back() {
    let ends = Ends::new();
    let gateway = ends.gateway(0);
    let tunnel = Tunnel::open(ends.config(gateway.port), None).unwrap();
    for host in ["10.9.0.1", "fd00::1", "web.corp", "web"] {
        let (stream, address) = tunnel.connect(host, 7, LONG).unwrap();
        assert_eq!(address.port(), 7);
        echoes(stream, 1_000_000);
    }
    let all: Vec<_> = (0..50).map(|_| tunnel.connect("10.9.0.1", 7, LONG).unwrap().0).collect();
    let all: Vec<_> = all.into_iter().map(|stream| std::thread::spawn(|| echoes(stream, 20_000))).collect();
    all.into_iter().for_each(|thread| thread.join().unwrap());
    let status = tunnel.status();
    assert!(status.peers[0].handshake.is_some() && status.peers[0].received > 3_000_000, "{status:?}");
}

#[test]
fn each_stage_fails_in_its_own_words() {
    let ends = Ends::new();
    let gateway = ends.gateway(0);
    let tunnel = Tunnel::open(ends.config(gateway.port), None).unwrap();
    fails(tunnel.connect("10.9.0.1", 8, LONG), Stage::Refused, "10.9.0.1:8 refuses");
    fails(
        tunnel.connect("10.9.0.77", 7, SHORT),
        Stage::TimedOut,
        "10.9.0.77:7 does not answer through the tunnel",
    );
    fails(
        tunnel.connect("192.0.2.1", 7, LONG),
        Stage::Route,
        "no peer of the tunnel allows the address 192.0.2.1",
    );
    fails(tunnel.connect("nobody.corp", 7, LONG), Stage::Name, "knows no address of nobody.corp");
    fails(tunnel.connect("no name", 7, LONG), Stage::Name, "is no name");
    // Another key than the gateway knows.
    let mut other = ends.config(gateway.port);
    other.key = SecretKey::generate();
    let tunnel = Tunnel::open(other, None).unwrap();
    fails(tunnel.connect("10.9.0.1", 7, SHORT), Stage::Handshake, "has not answered the handshake");
    fails(tunnel.connect("web", 7, SHORT), Stage::Handshake, "has not answered the handshake");
    let mut nowhere = ends.config(gateway.port);
    nowhere.peers[0].endpoint = Some(debark_tunnel::Endpoint::Name("no-such-host.invalid".into(), 1));
    let tunnel = Tunnel::open(nowhere, None).unwrap();
    fails(tunnel.connect("10.9.0.1", 7, LONG), Stage::Endpoint, "no-such-host.invalid:1 does not resolve");
    let mut nameless = ends.config(gateway.port);
    nameless.dns.clear();
    let tunnel = Tunnel::open(nameless, None).unwrap();
    fails(tunnel.connect("web.corp", 7, LONG), Stage::Name, "has no `DNS`");
}

#[test]
fn connections_outlive_a_gateway_that_starts_again() {
    let ends = Ends::new();
    let gateway = ends.gateway(0);
    let port = gateway.port;
    let tunnel = Tunnel::open(ends.config(port), None).unwrap();
    let (mut stream, _) = tunnel.connect("10.9.0.1", 7, LONG).unwrap();
    stream.write_all(b"before").unwrap();
    let mut back = [0; 6];
    stream.read_exact(&mut back).unwrap();
    // It hears nothing for a while: what is said then is said again later.
    gateway.deaf.store(true, Ordering::Relaxed);
    stream.write_all(b"during").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    gateway.deaf.store(false, Ordering::Relaxed);
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"during");
    // One that knows no keys any more: new ones are agreed on.
    gateway.end();
    let again = ends.gateway(port);
    let (stream, _) = tunnel.connect("10.9.0.1", 7, LONG).unwrap();
    echoes(stream, 1000);
    again.end();
}

#[test]
fn other_processes_ask_by_line() {
    let ends = Ends::new();
    let gateway = ends.gateway(0);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let tunnel = Tunnel::open(ends.config(gateway.port), Some(UnixListener::bind(&path).unwrap())).unwrap();
    let ask = |line: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        stream
    };
    let mut stream = ask("10.9.0.1 7 60000\n");
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ok\n");
    echoes(stream, 10_000);
    for (line, answer) in [("192.0.2.1 7 60000\n", "route\t"), ("nonsense\n", "local\t")] {
        let mut said = String::new();
        ask(line).read_to_string(&mut said).unwrap();
        assert!(said.starts_with(answer) && said.ends_with('\n'), "{said:?}");
    }
    drop(tunnel);
    assert!(UnixStream::connect(&path).is_err(), "nobody listens any more");
}
