//! Guards: what a host changed under one is confirmed through a fresh connection, or the host goes back by itself.

use std::time::{Duration, Instant};

use debark_connect::guard::{Guard, Verdict};
use debark_connect::{Problem, ProblemKind};
use debark_wire::{Answer, Cost, Event, PlayEnd, Status, TaskResult};

use super::{Engine, Input};
use crate::hosts::Phase;

/// How long after its deadline a host may take until it can be reached again.
const GRACE: Duration = Duration::from_secs(60);
/// The longest that a guard may wait: what a host says of it is not taken for more.
const LONGEST: u64 = 86_400;

/// A guard on a host.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    id: String,
    seconds: u64,
    deadline: Instant,
    /// How the connection that it was armed through ended.
    lost: Option<Problem>,
}

impl Guarded {
    /// One that is about to be armed.
    pub(crate) fn new(id: String, seconds: u64) -> Self {
        let seconds = seconds.min(LONGEST);
        Self { id, seconds, deadline: Instant::now() + Duration::from_secs(seconds), lost: None }
    }
}

impl Engine<'_> {
    /// A host has done all tasks of a guarded block.
    pub(crate) fn confirm(&mut self, name: &str, request: u32, id: String, seconds: u64) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let known = host.guarded.take().filter(|guard| guard.id == id);
        let guard = known.unwrap_or_else(|| Guarded::new(id, seconds));
        host.guarded = Some(guard.clone());
        if let Err(problem) = self.look(name, Some(request), &guard) {
            self.answer(name, request, Err(problem.message));
        }
    }

    fn look(&mut self, name: &str, id: Option<u32>, guarded: &Guarded) -> Result<(), Problem> {
        let session = self.hosts.get(name).map_or(0, |host| host.session);
        let guard = Guard { id: guarded.id.clone(), deadline: guarded.deadline, grace: GRACE };
        let (sender, host) = (self.sender.clone(), name.to_owned());
        let tell = move |verdict| {
            // Without a receiver the run is over.
            let _ = sender.send(Input::Confirmed { host, session, id, verdict });
        };
        self.connector.confirm(name, guard, Box::new(tell))
    }

    /// Whether a host whose connection ended has a guard: then another connection confirms it, or sees it go back.
    pub(super) fn left_guarded(&mut self, name: &str, problem: &Option<Problem>) -> bool {
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.playing) else { return false };
        let Some(mut guard) = host.guarded.take() else { return false };
        let ended = || Problem::new(ProblemKind::Lost, format!("the agent on {name} ended early"));
        guard.lost = Some(problem.clone().unwrap_or_else(ended));
        if self.look(name, None, &guard).is_err() {
            return false;
        }
        if let Some(host) = self.hosts.get_mut(name) {
            host.guarded = Some(guard);
            host.phase = Phase::Away;
            host.channel = None;
        }
        true
    }

    /// What a fresh connection found.
    pub(super) fn confirmed(&mut self, name: &str, request: Option<u32>, verdict: Option<Verdict>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        match request {
            // It is over with the connection, and has another one asking for it.
            Some(_) if host.channel.is_none() => {}
            Some(request) => {
                host.guarded = None;
                self.answer(name, request, answer(verdict));
            }
            None => {
                if let Some(guard) = host.guarded.take().filter(|_| host.playing) {
                    self.without_connection(name, guard, verdict);
                }
            }
        }
    }

    fn without_connection(&mut self, name: &str, guard: Guarded, verdict: Option<Verdict>) {
        let lost = guard.lost.clone();
        match verdict {
            Some(Verdict::Confirmed) => {
                let why = lost.map(|problem| format!(" ({problem})")).unwrap_or_default();
                let message = format!("the connection was lost in a guarded block{why}");
                let problem = Problem::new(ProblemKind::Lost, message).hint(
                    "a fresh one confirmed the change, which stays; run again for the rest of the play",
                );
                self.lost(name, Some(problem));
            }
            Some(Verdict::Reverted(_)) => {
                let result = TaskResult {
                    message: Some(format!("not confirmed within {} s: reverted on the host", guard.seconds)),
                    hint: lost.map(|problem| format!("{problem}; the host is back")),
                    ..of_guard()
                };
                self.event(name, Event::Task(Box::new(result)));
                self.ended(name, PlayEnd::Failed { pending_handlers: Vec::new() }, Cost::default());
                if let Some(host) = self.hosts.get_mut(name) {
                    host.phase = Phase::Over;
                }
            }
            Some(Verdict::Unreachable(problem)) => {
                let message = format!(
                    "{name} is not back although its guard must have reverted after {} s: {problem}",
                    guard.seconds
                );
                self.lost(name, Some(Problem::new(problem.kind, message)));
            }
            Some(Verdict::Gone) | None => self.lost(name, lost),
        }
    }
}

/// What the agent hears.
fn answer(verdict: Option<Verdict>) -> Result<Answer, String> {
    match verdict {
        Some(Verdict::Confirmed) => Ok(Answer::Done),
        Some(Verdict::Reverted(Some(problem))) => {
            Err(format!("no fresh connection came about ({problem}); the host is back"))
        }
        Some(Verdict::Reverted(None) | Verdict::Gone) => {
            Err("it was too late for a fresh connection; the host is back".into())
        }
        Some(Verdict::Unreachable(problem)) => Err(format!("no fresh connection comes about: {problem}")),
        None => Err("the guard has no proper name".into()),
    }
}

fn of_guard() -> TaskResult {
    TaskResult {
        task: u32::MAX,
        name: "guard".into(),
        action: "meta".into(),
        place: String::new(),
        item: None,
        status: Status::Failed,
        message: None,
        hint: None,
        diff: Vec::new(),
        result: debark_value::Value::Null,
        elapsed_us: 0,
        handler: false,
        delegated: None,
        no_log: false,
        fatal: false,
    }
}
