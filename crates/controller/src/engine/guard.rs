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
    /// The same for people: a date and a time.
    until: String,
    /// How the connection that it was armed through ended.
    lost: Option<Problem>,
    /// The task that ran then.
    during: Option<String>,
}

impl Guarded {
    /// One that is about to be armed.
    pub(crate) fn new(id: String, seconds: u64) -> Self {
        let seconds = seconds.min(LONGEST);
        let within = Duration::from_secs(seconds);
        let until = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| (since + within).as_secs());
        let (deadline, until) = (Instant::now() + within, debark_connect::certificate::time(until));
        Self { id, seconds, deadline, until, lost: None, during: None }
    }

    fn during(&self) -> String {
        self.during.as_ref().map(|task| format!(" during `{task}`")).unwrap_or_default()
    }

    fn broke(&self) -> String {
        format!("the connection was lost in a guarded block{}", self.during())
    }

    /// Where to look for what became of it.
    fn look(&self) -> String {
        format!(
            "`journalctl -u debark-guard-{}` on the host says what was put back, /var/lib/debark/journal.jsonl what the tasks did",
            self.id
        )
    }

    /// What is to be known of one that may be open.
    fn open(&self) -> String {
        format!(
            "a guard is open on the host, which reverts by itself by {}, also after a boot: see there, or on its console, \
             `systemctl status 'debark-guard-*'`; {}",
            self.until,
            self.look()
        )
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
        guard.during = host.task.take();
        host.phase = Phase::Away;
        host.channel = None;
        host.guarded = Some(guard.clone());
        if let Err(problem) = self.look(name, None, &guard) {
            let problem = Problem { message: format!("{}: {problem}", guard.broke()), ..problem };
            self.given_up(name, &guard, problem);
            return true;
        }
        self.warn(&format!(
            "{name}: {}: the host reverts by itself by {}, unless all tasks of the block get done and a fresh connection \
             confirms them; waiting for it",
            guard.broke(),
            guard.until
        ));
        true
    }

    /// A host whose guard may still be open is left to itself.
    fn given_up(&mut self, name: &str, guard: &Guarded, problem: Problem) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.guarded = None;
            host.phase = Phase::Up;
            host.task.clone_from(&guard.during);
        }
        self.lost(name, Some(problem.hint(guard.open())));
    }

    /// The run ends without waiting: which hosts still have a guard.
    pub(super) fn leave_guards(&mut self) {
        let open = self.hosts.iter().filter(|(_, host)| host.playing);
        let open = open.filter_map(|(name, host)| Some(format!("{name}: {}", host.guarded.as_ref()?.open())));
        for text in open.collect::<Vec<_>>() {
            self.warn(&text);
        }
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
                    // It was reached: nobody stands in for it.
                    host.phase = Phase::Up;
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
                let message = match Instant::now() < guard.deadline {
                    true => "the connection was lost in a guarded block: reverted on the host".to_owned(),
                    false => format!("not confirmed within {} s: reverted on the host", guard.seconds),
                };
                let look = guard.look();
                let hint =
                    lost.map(|problem| format!("{problem}{}; {look}; the host is back", guard.during()));
                let result = TaskResult { message: Some(message), hint, ..of_guard() };
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
                self.given_up(name, &guard, Problem::new(problem.kind, message));
            }
            Some(Verdict::Gone) | None => {
                let ended = lost
                    .map(|problem| problem.hint(format!("no guard waits there any more: {}", guard.look())));
                self.lost(name, ended);
            }
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
