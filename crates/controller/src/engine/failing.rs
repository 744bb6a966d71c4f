//! Hosts that fail because others did: `any_errors_fatal` and `max_fail_percentage`.
//!
//! As under Ansible's linear strategy, the other hosts still do the task at which one failed and then fail, too: each
//! goes on with its own `rescue` and `always`. Strategies without lockstep know neither, as documented.

use std::collections::{HashMap, HashSet};

use debark_wire::Answer;

use super::Engine;
use crate::event::Note;

/// Who failed in a batch, and who has yet to.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    /// Hosts that failed without being rescued.
    failed: HashSet<String>,
    /// At which tasks hosts failed, rescued or not.
    at: HashSet<(String, u32)>,
    /// Hosts that are to fail once they have come beyond that place.
    due: HashMap<String, u32>,
    /// Hosts that were told to fail with others.
    told: HashSet<String>,
    spent: bool,
}

impl Failing {
    /// Whether a host has to fail at whatever it does next.
    pub(super) fn is_due(&self, host: &str) -> bool {
        self.due.contains_key(host)
    }

    /// Whether nothing is known yet of a host's failure.
    pub(super) fn is_new(&self, host: &str) -> bool {
        !self.failed.contains(host) && !self.is_due(host) && !self.told.contains(host)
    }

    /// Whether `max_fail_percentage` was exceeded: the run ends with this batch.
    pub(super) fn ends_the_run(&self) -> bool {
        self.spent
    }
}

impl Engine<'_> {
    /// A host failed at a place, and perhaps nothing rescued it; with `fatal` the others fail, too.
    pub(super) fn failed_at(&mut self, name: &str, place: u32, lost: bool, fatal: bool) {
        let failing = &mut self.batch.failing;
        failing.at.insert((name.to_owned(), place));
        if failing.due.get(name) == Some(&place) {
            failing.due.remove(name);
        }
        if lost {
            failing.failed.insert(name.to_owned());
            self.without(name);
        }
        if fatal {
            self.fail_others(place, "a host failed, and any_errors_fatal makes the others fail with it");
        }
        let percent = self.batch.failing.failed.len() as f64 * 100.0 / self.batch.size.max(1) as f64;
        if lost
            && self.batch.max_fail_percentage.is_some_and(|most| percent > most)
            && !std::mem::replace(&mut self.batch.failing.spent, true)
        {
            self.fail_others(place, "more hosts failed than max_fail_percentage allows");
        }
    }

    fn fail_others(&mut self, place: u32, reason: &str) {
        let failing = &self.batch.failing;
        let others: Vec<String> = self
            .hosts
            .iter()
            .filter(|(name, host)| host.playing && !failing.at.contains(&((*name).clone(), place)))
            .map(|(name, _)| name.clone())
            .collect();
        self.monitor.note(&Note::Stopping(reason));
        for name in others {
            if self.batch.failing.failed.contains(&name) {
                continue;
            }
            let requests = self.batch.barriers.withdraw(&name, place);
            if requests.is_empty() {
                self.batch.failing.due.insert(name.clone(), place);
            } else {
                self.batch.failing.told.insert(name.clone());
            }
            for request in requests {
                self.answer(&name, request, Ok(Answer::Fail));
            }
        }
    }

    /// Whether a host that asks to begin a task fails instead.
    pub(crate) fn fails_now(&mut self, name: &str, task: u32) -> bool {
        let at = self.batch.barriers.place(name, Some(task));
        let now = self.batch.failing.due.get(name).is_some_and(|place| at > *place);
        if now {
            self.batch.failing.due.remove(name);
            self.batch.failing.told.insert(name.to_owned());
        }
        now
    }

    /// `meta: clear_host_errors`: hosts of the play that failed are back for later plays, as documented.
    pub(super) fn forgive(&mut self) {
        let Some((spec, _)) = &self.batch.again else { return };
        if !spec.forgives {
            return;
        }
        for host in &spec.hosts {
            self.outcome.failed.remove(host);
        }
    }
}
