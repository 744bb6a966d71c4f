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

/// Text that cannot disturb a terminal: control characters but for line ends and tabs are gone.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Takes secrets out of everything an agent says, which knows those it was sent while the controller may know more;
/// and what would steer a terminal.
pub(crate) fn scrub(event: &mut Event, secrets: &Secrets) {
    let clean = |text: &mut String| {
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            *text = plain(text);
        }
        if !secrets.is_empty() {
            *text = secrets.scrub(text);
        }
    };
    match event {
        Event::Started { name, .. } | Event::Retry { name, .. } => clean(name),
        Event::Item(result) | Event::Task(result) => {
            [&mut result.name, &mut result.action, &mut result.place].into_iter().for_each(clean);
            [&mut result.item, &mut result.message, &mut result.hint, &mut result.delegated]
                .into_iter()
                .flatten()
                .for_each(clean);
            for diff in &mut result.diff {
                [&mut diff.before_header, &mut diff.after_header].into_iter().for_each(clean);
                clean(&mut diff.before);
                clean(&mut diff.after);
            }
            if !secrets.is_empty() {
                result.result = secrets.scrub_value(&result.result);
            }
        }
        Event::Warning(text) => clean(text),
        Event::Stats { data, .. } => {
            for value in data.values_mut() {
                *value = secrets.scrub_value(value);
            }
        }
        // Variables are for other hosts, which need them as they are; monitors do not show them.
        Event::Vars(_) | Event::Forgiven | Event::Guarded { .. } | Event::Secrets(_) => {}
        Event::Notified { handlers } | Event::Resumed { handlers } => handlers.iter_mut().for_each(clean),
        Event::Included { what, .. } => clean(what),
    }
}
