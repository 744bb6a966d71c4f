//! Messages in both directions.
//!
//! The controller speaks first and does not wait: [`ToAgent::Play`] is on its way while the far side is still
//! starting the agent. The agent answers with a hello and then with events and requests.

use std::sync::Arc;

use debark_value::Map;
use serde::{Deserialize, Serialize};

use crate::call::{Invocation, Outcome};
use crate::event::Event;
use crate::play::HostPlay;
use crate::request::{Answer, Request};

/// From the controller to the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// The next play. The shared part is encoded once for all hosts ([`crate::encode`] of a [`Play`](crate::Play)).
    Play {
        /// An encoded [`Play`](crate::Play).
        shared: Arc<[u8]>,
        /// This host's part.
        host: Box<HostPlay>,
    },
    /// The answer to a request.
    Answer {
        /// The request's number.
        id: u32,
        /// What was asked for, or why it cannot be had.
        answer: Result<Answer, String>,
    },
    /// Run one module for another host (`delegate_to`) or for another login's agent, beside whatever else runs here.
    Invoke {
        /// The controller's number for it.
        id: u32,
        /// What to run.
        invocation: Box<Invocation>,
    },
    /// Variables that nothing overrides have changed: `groups` after `add_host`, `ansible_play_hosts` after a failure.
    Magic {
        /// The play of which they are.
        play: u32,
        /// The variables.
        vars: Map,
    },
    /// Another host has set variables of this one (`delegate_facts`).
    Facts {
        /// The variables.
        facts: Map,
        /// Whether they are those of `set_fact`, rather than a module's facts.
        set: bool,
    },
    /// What comes next has these secrets in it: they must not be shown or recorded.
    Secrets(Vec<String>),
    /// Stop after the current task (first Ctrl-C, or too many other hosts failed).
    Stop {
        /// Why, for the recap.
        reason: String,
    },
    /// The controller is still there. Sent when it has nothing else to say.
    Ping,
    /// Nothing more comes: end when done.
    End,
}

/// How often a controller that has nothing to say sends [`ToAgent::Ping`], in seconds.
pub const PING: u64 = 30;

/// An agent that has heard nothing for so many seconds takes the connection for lost: ssh's server notices a controller that
/// lost its power only after hours, and meanwhile nobody else could work on the host.
pub const SILENCE: u64 = 6 * PING;

/// Shorter results of a task with `no_log` are not looked for elsewhere, in bytes: they would be words like `enabled`.
pub const HIDDEN: usize = 6;

/// From the agent to the controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// The agent runs.
    Hello {
        /// `uname -m`.
        machine: String,
        /// User it runs as.
        user: String,
        /// What an earlier run left unfinished: notified handlers, by name.
        pending_handlers: Vec<String>,
    },
    /// Something happened.
    Event(Event),
    /// Something is wanted.
    Request {
        /// Comes back in the answer.
        id: u32,
        /// What.
        request: Request,
    },
    /// The result of [`ToAgent::Invoke`].
    Invoked {
        /// The controller's number.
        id: u32,
        /// What came of it.
        outcome: Outcome,
    },
    /// A play is over for this host.
    PlayEnd {
        /// Play number.
        play: u32,
        /// How it went.
        end: PlayEnd,
        /// What the run has cost the host so far.
        cost: Cost,
    },
}

/// What an agent has cost its host since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU time of the agent and of its ended children, in microseconds.
    pub cpu_us: u64,
    /// Time on the clock, in microseconds.
    pub wall_us: u64,
}

/// How a play ended on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlayEnd {
    /// All tasks were run or skipped.
    Done,
    /// A task failed and nothing rescued it. Handlers that were notified and not run are kept for the next run.
    Failed {
        /// Handlers that were notified and not run.
        pending_handlers: Vec<String>,
    },
    /// `meta: end_host`, `end_play` or `end_batch`.
    Ended,
    /// It was told to stop. Handlers that were notified and not run are kept for the next run.
    Stopped {
        /// Handlers that were notified and not run.
        pending_handlers: Vec<String>,
    },
}
