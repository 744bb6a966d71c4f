//! How a tunnel fares.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::key::Public;
use crate::peer::Peer;

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its public key.
    pub key: Public,
    /// Where it is, once known.
    pub address: Option<SocketAddr>,
    /// `Endpoint` as configured.
    pub endpoint: Option<String>,
    /// Why its name has no address.
    pub unresolved: Option<String>,
    /// How long ago keys were agreed on, and how long it took.
    pub handshake: Option<(Duration, Duration)>,
    /// Bytes of datagrams sent to it.
    pub sent: u64,
    /// Bytes of datagrams received from it.
    pub received: u64,
}

impl PeerStatus {
    pub(crate) fn of(peer: &Peer, now: Instant) -> Self {
        Self {
            key: peer.config.key,
            address: peer.address,
            endpoint: peer.config.endpoint.as_ref().map(ToString::to_string),
            unresolved: peer.unresolved.clone(),
            handshake: peer.established.map(|(when, took)| (now - when, took)),
            sent: peer.sent,
            received: peer.received,
        }
    }
}

/// All of a tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Its peers, as in the file.
    pub peers: Vec<PeerStatus>,
    /// Connections that are open or being opened.
    pub connections: usize,
}
