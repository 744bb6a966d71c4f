//! The writing side of a session.

use std::io::{Read, Write};
use std::sync::Arc;

use debark_wire::{Answer, PART, ToAgent};

use crate::agents::Agents;

/// What the writing thread is told.
pub(crate) enum Outgoing {
    /// Send this, in parts.
    Frame(Vec<Arc<[u8]>>),
    /// Send content as the answer to a request; it is read as it is written, part by part.
    Content { id: u32, content: Box<dyn Read + Send> },
    /// Close once all is sent.
    Close,
    /// From the reading thread: the agent runs and has the first messages.
    Started,
    /// From the reading thread: the agent is wanted, and then the first messages again.
    Need { machine: String },
}

/// Writes to the far side. Errors are not reported: the reading thread sees the end of the session, and why.
pub(crate) struct Writer<W: Write> {
    out: Option<W>,
    agents: Agents,
    /// Sent at once, and again after the agent; dropped when that runs.
    first: Option<Vec<Arc<[u8]>>>,
    /// What came before the agent ran.
    waiting: Vec<Outgoing>,
}

impl<W: Write> Writer<W> {
    /// Writes the first messages.
    pub(crate) fn new(out: W, first: Vec<Arc<[u8]>>, agents: Agents) -> Self {
        let mut writer = Self { out: Some(out), agents, first: Some(Vec::new()), waiting: Vec::new() };
        writer.parts(&first);
        writer.first = Some(first);
        writer
    }

    /// Does what it is told; whether there is more to come.
    pub(crate) fn take(&mut self, message: Outgoing) -> bool {
        match message {
            Outgoing::Started => {
                self.first = None;
                return std::mem::take(&mut self.waiting).into_iter().all(|message| self.take(message));
            }
            Outgoing::Need { machine } => {
                let agent = self.agents.for_machine(&machine).map(|agent| agent.packed.clone());
                let first = self.first.clone().unwrap_or_default();
                self.parts(&agent.into_iter().chain(first).collect::<Vec<_>>());
            }
            message if self.first.is_some() && self.out.is_some() => self.waiting.push(message),
            Outgoing::Frame(parts) => self.parts(&parts),
            Outgoing::Content { id, content } => self.stream(id, content),
            Outgoing::Close => self.out = None,
        }
        self.out.is_some()
    }

    /// Lets a running agent know that this side is still there; whether there is more to come.
    pub(crate) fn ping(&mut self) -> bool {
        let mut frame = Vec::new();
        if self.first.is_none() && debark_wire::write(&mut frame, &ToAgent::Ping).is_ok() {
            self.parts(&[frame.into()]);
        }
        self.out.is_some()
    }

    fn parts(&mut self, parts: &[Arc<[u8]>]) {
        let Some(out) = &mut self.out else { return };
        if parts.iter().try_for_each(|part| out.write_all(part)).and_then(|()| out.flush()).is_err() {
            self.out = None;
        }
    }

    fn content(&mut self, id: u32, part: Result<&[u8], String>, last: bool) {
        let answer = part.map(|bytes| Answer::Content { bytes: bytes.to_vec(), last });
        let mut frame = Vec::new();
        if debark_wire::write(&mut frame, &ToAgent::Answer { id, answer }).is_ok() {
            self.parts(&[frame.into()]);
        }
    }

    fn stream(&mut self, id: u32, mut content: Box<dyn Read + Send>) {
        let mut part = vec![0; PART];
        loop {
            let mut length = 0;
            // Full parts, so that an end is seen as one.
            while let Some(rest) = part.get_mut(length..).filter(|rest| !rest.is_empty()) {
                match content.read(rest) {
                    Ok(0) => break,
                    Ok(more) => length += more,
                    Err(error) => return self.content(id, Err(error.to_string()), true),
                }
            }
            let last = length < PART;
            self.content(id, Ok(part.get(..length).unwrap_or_default()), last);
            if last || self.out.is_none() {
                return;
            }
        }
    }
}
