//! What agents tell of their hosts.

use debark_wire::{Answer, Event, Status};

use super::{Engine, Guarded};
use crate::event::Note;

/// How many bytes of its variables a host may report for others to read.
const MOST_TOLD: usize = 128 << 20;

impl Engine<'_> {
    /// What a host wants hidden is hidden, as far as one host may say: a word that stands everywhere is no secret.
    fn hidden(&mut self, name: &str, mut texts: Vec<String>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        texts.retain(|text| text.trim().len() >= debark_wire::HIDDEN);
        host.told += texts.iter().map(String::len).sum::<usize>();
        if host.told <= MOST_TOLD {
            self.world.taint(texts);
        }
    }

    pub(super) fn event(&mut self, name: &str, mut event: Event) {
        if let Event::Secrets(texts) = event {
            return self.hidden(name, texts);
        }
        crate::event::scrub(&mut event, &self.world.secrets());
        if self.is_further(name) {
            return self.aside(name, &event);
        }
        let Some(host) = self.hosts.get_mut(name) else { return };
        match &event {
            Event::Started { name, .. } => host.task = Some(name.clone()),
            Event::Notified { handlers } => {
                let new: Vec<String> =
                    handlers.iter().filter(|handler| !host.notified.contains(handler)).cloned().collect();
                host.notified.extend(new);
            }
            Event::Task(result) => {
                host.task = None;
                if result.handler {
                    host.notified.retain(|handler| *handler != result.name);
                }
                host.unreached = result.status == Status::Unreachable;
                self.outcome.recap.task(name, result);
                // An agent that took over knows of no places that the one before it had.
                for (other, request) in self.batch.throttles.leave(name) {
                    self.answer(&other, request, Ok(Answer::Done));
                }
                // What follows must not begin elsewhere before it is known whether the others fail, too.
                if matches!(result.status, Status::Failed | Status::Rescued) {
                    let place = self.batch.barriers.place(name, Some(result.task));
                    self.failed_at(name, place, result.status == Status::Failed, result.fatal);
                }
                self.batch.barriers.passed(name, result.task);
                self.release();
            }
            Event::Vars(vars) => {
                host.told += debark_wire::encode(vars).map_or(usize::MAX / 2, |bytes| bytes.len());
                if host.told <= MOST_TOLD {
                    host.known.extend(vars.clone());
                }
            }
            Event::Stats { data, per_host, aggregate } => {
                self.outcome.recap.stats(per_host.then_some(name), data, *aggregate);
            }
            Event::Forgiven => self.forgive(),
            Event::Guarded { seconds: 0, .. } => {
                host.guarded = None;
                return;
            }
            Event::Guarded { id, seconds } => {
                host.guarded = Some(Guarded::new(id.clone(), *seconds));
            }
            _ => {}
        }
        self.monitor.note(&Note::Event { host: name, event: &event });
    }
}
