//! The hosts of a run and their sessions.

use std::sync::Arc;
use std::time::Instant;

use debark_connect::ProblemKind;
use debark_value::Map;
use debark_wire::{Logins, ToAgent};

use crate::engine::{Away, Guarded, Kept};
use crate::world::{Channel, Content};

/// How far a host's session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody wanted it yet, or it waits for a place among the forks.
    Waiting,
    /// ssh was started then.
    Connecting(Instant),
    /// The agent speaks.
    Up,
    /// The session is over, and another one will begin.
    Away,
    /// The session is over.
    Over,
}

/// Of which host a session is, and by which login, if it is not the host's own.
#[derive(Debug, Clone)]
pub(crate) struct Further {
    /// The host.
    pub(crate) host: String,
    /// How tasks want it to be reached.
    pub(crate) logins: Logins,
    /// How that is told: `user@address:port`.
    pub(crate) address: String,
}

/// One host, or a further session with one.
pub(crate) struct Host {
    /// That it is a further session, for tasks with a login of their own.
    pub(crate) further: Option<Further>,
    /// How far its session is.
    pub(crate) phase: Phase,
    /// The session.
    pub(crate) channel: Option<Box<dyn Channel>>,
    /// That the session is with an agent that stands in for the host, and why the host cannot be reached.
    pub(crate) absent: Option<ProblemKind>,
    /// Whether its last task found unreachable what it needed.
    pub(crate) unreached: bool,
    /// How it was reached.
    pub(crate) route: String,
    /// What is to be sent once there is one.
    pub(crate) queued: Vec<Arc<[u8]>>,
    /// Whether it runs the current play.
    pub(crate) playing: bool,
    /// The task that runs, if it takes long enough to be announced.
    pub(crate) task: Option<String>,
    /// Handlers that were notified and have not run.
    pub(crate) notified: Vec<String>,
    /// Facts, registers and set_fact that it reported.
    pub(crate) known: Map,
    /// How many bytes of them there were.
    pub(crate) told: usize,
    /// Counts its sessions: what an earlier one left is not for a later one.
    pub(crate) session: u32,
    /// That it went away and is expected back.
    pub(crate) away: Option<Away>,
    /// What it told in case that its connection is lost.
    pub(crate) kept: Kept,
    /// The guard on it that is not settled yet.
    pub(crate) guarded: Option<Guarded>,
    /// How many of its questions are being answered.
    pub(crate) asking: u32,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            further: None,
            phase: Phase::Waiting,
            channel: None,
            absent: None,
            unreached: false,
            route: String::new(),
            queued: Vec::new(),
            playing: false,
            task: None,
            notified: Vec::new(),
            known: Map::new(),
            told: 0,
            session: 0,
            away: None,
            kept: Kept::default(),
            guarded: None,
            asking: 0,
        }
    }
}

impl Host {
    /// Sends a message now, or once there is a session.
    pub(crate) fn send(&mut self, message: &ToAgent) {
        if let Some(frame) = debark_connect::frame(message) {
            self.send_frame(frame);
        }
    }

    /// Sends a frame now, or once there is a session.
    pub(crate) fn send_frame(&mut self, frame: Vec<Arc<[u8]>>) {
        match (&self.channel, self.phase) {
            (_, Phase::Over) => {}
            (Some(channel), _) => channel.send(frame),
            (None, _) => self.queued.extend(frame),
        }
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, id: u32, answer: Result<debark_wire::Answer, String>) {
        self.send(&ToAgent::Answer { id, answer });
    }

    /// Answers a request with content.
    pub(crate) fn content(&mut self, id: u32, content: Content) {
        if let Some(channel) = &self.channel {
            channel.send_content(id, content);
        }
    }
}
