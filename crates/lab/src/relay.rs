//! A TCP relay from a lab's namespace: to the caching proxy outside, or to a host's own port with every byte held
//! back for a while, because the kernel may have no netem.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::network;

/// Chunks in flight per direction: with 32 KiB each, more than a link of 50 ms and 1 Gbit/s holds.
const IN_FLIGHT: usize = 512;
const CHUNK: usize = 32 * 1024;

/// On which side of the namespace a relay's target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In the machine's own network.
    Outside,
    /// In the namespace where the relay listens.
    Inside,
}

/// What a relay does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// The namespace where it listens.
    pub namespace: String,
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// Where its target is.
    pub side: Side,
    /// Its target.
    pub target: SocketAddr,
    /// The round trip that it adds.
    pub round_trip: Duration,
}

impl Relay {
    /// From the words of a command line.
    pub fn parse(namespace: &str, listen: &str, side: &str, target: &str, delay: &str) -> Result<Self> {
        let address = |text: &str| {
            text.parse().map_err(|_| {
                Error::input(format!("`{text}` is not an address and port"), "write A.B.C.D:PORT")
            })
        };
        let millis = delay
            .parse()
            .map_err(|_| Error::input(format!("`{delay}` is not a number of milliseconds"), "write 50"))?;
        Ok(Self {
            namespace: namespace.to_owned(),
            listen: address(listen)?,
            side: if side == "inside" { Side::Inside } else { Side::Outside },
            target: address(target)?,
            round_trip: Duration::from_millis(millis),
        })
    }

    /// As the words that [`Relay::parse`] reads.
    pub fn words(&self) -> [String; 5] {
        [
            self.namespace.clone(),
            self.listen.to_string(),
            match self.side {
                Side::Inside => "inside".to_owned(),
                Side::Outside => "outside".to_owned(),
            },
            self.target.to_string(),
            self.round_trip.as_millis().to_string(),
        ]
    }
}

/// Listens, says `ready ADDRESS` on standard output, and relays until it is killed.
pub fn run(relay: &Relay) -> Result<()> {
    let bound = network::inside(&relay.namespace, || {
        let listener = TcpListener::bind(relay.listen)?;
        listener.local_addr().map(|address| (listener, address))
    })?;
    let (listener, address) = bound.map_err(|err| Error::Machine {
        what: format!("cannot listen on {} in {}: {err}", relay.listen, relay.namespace),
        hint: "another relay has this port".into(),
    })?;
    println!("ready {address}");
    serve(&listener, relay)
}

fn serve(listener: &TcpListener, relay: &Relay) -> Result<()> {
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                let relay = relay.clone();
                let accepted = Instant::now();
                // A connection that breaks is its two ends' business.
                std::thread::spawn(move || carry(client, &relay, accepted));
            }
            // Out of descriptors or aborted by the peer: the next one may do.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// One connection. A real one costs a round trip before the client may speak, and the server hears of it half a round
/// trip later still: so do these.
fn carry(client: TcpStream, relay: &Relay, accepted: Instant) -> Option<()> {
    let half = relay.round_trip / 2;
    let opened = accepted + relay.round_trip;
    sleep_until(opened + half);
    if relay.side == Side::Inside {
        network::enter(&relay.namespace).ok()?;
    }
    let server = TcpStream::connect_timeout(&relay.target, Duration::from_secs(10)).ok()?;
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (client, server) = (Arc::new(client), Arc::new(server));
    let back = {
        let (from, to) = (Arc::clone(&server), Arc::clone(&client));
        std::thread::spawn(move || pump(from, to, half, accepted))
    };
    pump(client, server, half, opened);
    let _ = back.join();
    Some(())
}

type Chunk = (Instant, Vec<u8>);

/// Carries one direction: what is read leaves `delay` later, and nothing counts as read before `earliest`.
fn pump(from: Arc<TcpStream>, to: Arc<TcpStream>, delay: Duration, earliest: Instant) {
    let (sender, receiver) = sync_channel(IN_FLIGHT);
    let writer = {
        let (from, to) = (Arc::clone(&from), Arc::clone(&to));
        std::thread::spawn(move || write_all(&receiver, &from, &to))
    };
    read_all(&from, &sender, delay, earliest);
    drop(sender);
    let _ = writer.join();
}

fn read_all(mut from: &TcpStream, sender: &SyncSender<Chunk>, delay: Duration, earliest: Instant) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count) = from.read(&mut buffer) {
        let due = Instant::now().max(earliest) + delay;
        // An empty chunk is the end, which takes as long to arrive as any byte.
        let bytes = buffer.get(..count).unwrap_or_default().to_vec();
        if sender.send((due, bytes)).is_err() || count == 0 {
            return;
        }
    }
}

fn write_all(receiver: &Receiver<Chunk>, from: &TcpStream, mut to: &TcpStream) {
    for (due, bytes) in receiver {
        sleep_until(due);
        if bytes.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn sleep_until(due: Instant) {
    if let Some(rest) = due.checked_duration_since(Instant::now()) {
        std::thread::sleep(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    stream.write_all(b"hello").unwrap();
                    let mut back = stream.try_clone().unwrap();
                    std::io::copy(&mut stream, &mut back).unwrap();
                });
            }
        });
        address
    }

    fn relay(round_trip: u64) -> SocketAddr {
        let relay = Relay {
            namespace: "unused".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            side: Side::Outside,
            target: echo_server(),
            round_trip: Duration::from_millis(round_trip),
        };
        let listener = TcpListener::bind(relay.listen).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, &relay));
        address
    }

    #[test]
    fn the_words_say_it_all() {
        let words = ["ns", "10.213.0.1:0", "inside", "10.213.0.11:22", "50"];
        let relay = Relay::parse(words[0], words[1], words[2], words[3], words[4]).unwrap();
        assert_eq!(relay.words(), words);
        assert!(Relay::parse("ns", "here", "inside", "10.0.0.1:22", "50").is_err());
        assert!(Relay::parse("ns", "10.0.0.1:1", "inside", "10.0.0.1:22", "-5").is_err());
    }

    #[test]
    fn every_exchange_costs_the_round_trip() {
        let started = Instant::now();
        let mut stream = TcpStream::connect(relay(80)).unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).unwrap();
        // Two round trips until the greeting of a server that speaks first.
        assert!(started.elapsed() >= Duration::from_millis(160), "{:?}", started.elapsed());
        let asked = Instant::now();
        stream.write_all(b"again").unwrap();
        stream.read_exact(&mut hello).unwrap();
        let took = asked.elapsed();
        assert!(took >= Duration::from_millis(80) && took < Duration::from_millis(400), "{took:?}");
    }

    #[test]
    fn much_data_arrives_whole_and_ends() {
        let mut stream = TcpStream::connect(relay(4)).unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut back = stream.try_clone().unwrap();
        let copy = sent.clone();
        let writer = std::thread::spawn(move || {
            stream.write_all(&copy).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        back.read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert_eq!(&received[..5], b"hello");
        assert!(received[5..] == sent[..], "{} bytes", received.len());
    }
}
