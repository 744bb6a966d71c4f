//! The writing side of a session.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use debark_wire::{Answer, PART, ToAgent};

use crate::agents::Agents;

/// What the writing thread is told.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Send this, in parts.
    Frame(Vec<Arc<[u8]>>),
    /// Send a file's content as the answer to a request.
    File { id: u32, path: PathBuf },
    /// Send content as the answer to a request.
    Bytes { id: u32, bytes: Arc<[u8]> },
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
            Outgoing::File { id, path } => self.file(id, &path),
            Outgoing::Bytes { id, bytes } => {
                let mut parts = bytes.chunks(PART).peekable();
                if parts.peek().is_none() {
                    self.content(id, Ok(&[]), true);
                }
                while let Some(part) = parts.next() {
                    self.content(id, Ok(part), parts.peek().is_none());
                }
            }
            Outgoing::Close => self.out = None,
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

    fn file(&mut self, id: u32, path: &std::path::Path) {
        let mut part = vec![0; PART];
        let mut send = || -> std::io::Result<()> {
            let mut file = File::open(path)?;
            loop {
                let mut length = 0;
                // Full parts, so that an end is seen as one.
                while let Some(rest) = part.get_mut(length..).filter(|rest| !rest.is_empty()) {
                    match file.read(rest)? {
                        0 => break,
                        more => length += more,
                    }
                }
                let last = length < PART;
                self.content(id, Ok(part.get(..length).unwrap_or_default()), last);
                if last || self.out.is_none() {
                    return Ok(());
                }
            }
        };
        if let Err(error) = send() {
            self.content(id, Err(format!("{}: {error}", path.display())), true);
        }
    }
}
