//! What happens in a run, for whoever draws it.

use debark_connect::Problem;
use debark_value::secrets::Secrets;
use debark_wire::{Cost, Event};

use crate::recap::Recap;

/// Something that happened. All texts are scrubbed of secrets already.
#[derive(Debug)]
pub enum Note<'a> {
    /// A play begins.
    Play {
        /// Its number, from 0.
        index: u32,
        /// Its name.
        name: &'a str,
        /// Hosts of all its batches.
        hosts: &'a [String],
    },
    /// A batch of a play with `serial` begins.
    Batch {
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// Its hosts.
        hosts: &'a [String],
    },
    /// ssh is started.
    Connecting {
        /// To this host.
        host: &'a str,
    },
    /// The host had no agent.
    Uploading {
        /// Which.
        host: &'a str,
        /// Bytes that are sent.
        bytes: u64,
    },
    /// An agent speaks.
    Connected {
        /// Of this host.
        host: &'a str,
    },
    /// Something happened on a host.
    Event {
        /// Which.
        host: &'a str,
        /// What.
        event: &'a Event,
    },
    /// A host cannot be reached, or was lost.
    Unreachable {
        /// Which.
        host: &'a str,
        /// Why.
        problem: &'a Problem,
        /// The task that ran, if one did.
        during: Option<&'a str>,
    },
    /// A host has come to the end of a play.
    HostDone {
        /// Which.
        host: &'a str,
        /// Whether it failed.
        failed: bool,
        /// What the run has cost the host so far.
        cost: Cost,
    },
    /// Something a user should know, not of one host.
    Warning(&'a str),
    /// The run stops early: why.
    Stopping(&'a str),
    /// The end.
    Recap(&'a Recap),
}

/// Draws a run.
pub trait Monitor {
    /// Takes note.
    fn note(&mut self, note: &Note<'_>);

    /// Called about ten times a second, for clocks.
    fn tick(&mut self) {}
}

/// Takes secrets out of everything an agent says: it knows those it was sent, the controller may know more.
pub(crate) fn scrub(event: &mut Event, secrets: &Secrets) {
    if secrets.is_empty() {
        return;
    }
    let clean = |text: &mut String| *text = secrets.scrub(text);
    match event {
        Event::Started { name, .. } | Event::Retry { name, .. } => clean(name),
        Event::Item(result) | Event::Task(result) => {
            clean(&mut result.name);
            [&mut result.item, &mut result.message, &mut result.hint].into_iter().flatten().for_each(clean);
            for diff in &mut result.diff {
                clean(&mut diff.before);
                clean(&mut diff.after);
            }
            result.result = secrets.scrub_value(&result.result);
        }
        Event::Warning(text) => clean(text),
        Event::Stats { data, .. } => {
            for value in data.values_mut() {
                *value = secrets.scrub_value(value);
            }
        }
        // Variables are for other hosts, which need them as they are; monitors do not show them.
        Event::Vars(_) | Event::Notified { .. } | Event::Resumed { .. } | Event::Included { .. } => {}
    }
}
