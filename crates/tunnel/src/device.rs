//! Where the TCP/IP stack's packets wait: a network device of two queues.

use std::collections::VecDeque;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// Packets that the stack may have ready at once: then they are sealed and sent, and it goes on.
const BURST: usize = 128;
/// Buffers that are kept for the next packets.
const KEPT: usize = 1024;

/// The stack's side of a tunnel.
pub(crate) struct Queues {
    mtu: usize,
    /// Opened packets, for the stack.
    pub incoming: VecDeque<Vec<u8>>,
    /// The stack's packets, to be sealed.
    pub outgoing: VecDeque<Vec<u8>>,
    /// While set, the stack has to wait.
    pub full: bool,
    spare: Vec<Vec<u8>>,
}

impl Queues {
    pub fn new(mtu: usize) -> Self {
        Self { mtu, incoming: VecDeque::new(), outgoing: VecDeque::new(), full: false, spare: Vec::new() }
    }

    /// A buffer of this length with anything in it.
    pub fn buffer(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.resize(length, 0);
        buffer
    }

    /// Takes a buffer back.
    pub fn give_back(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < KEPT {
            self.spare.push(buffer);
        }
    }
}

impl Device for Queues {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((
            Incoming { packet, spare: &mut self.spare },
            // Built from the same spare buffers only when used: a fresh one is rare enough here (answers to packets).
            Outgoing { queue: &mut self.outgoing, spare: None },
        ))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        if self.full || self.outgoing.len() >= BURST {
            return None;
        }
        Some(Outgoing { queue: &mut self.outgoing, spare: Some(&mut self.spare) })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

pub(crate) struct Incoming<'a> {
    packet: Vec<u8>,
    spare: &'a mut Vec<Vec<u8>>,
}

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let result = read(&self.packet);
        if self.spare.len() < KEPT {
            self.spare.push(self.packet);
        }
        result
    }
}

pub(crate) struct Outgoing<'a> {
    queue: &'a mut VecDeque<Vec<u8>>,
    spare: Option<&'a mut Vec<Vec<u8>>>,
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = self.spare.and_then(Vec::pop).unwrap_or_default();
        packet.resize(length, 0);
        let result = write(&mut packet);
        self.queue.push_back(packet);
        result
    }
}
