//! Sessions with hosts: opened as far as the forks allow, lost, and ended.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use debark_connect::{Incoming, Problem, ProblemKind};
use debark_wire::{Answer, Logins, ToAgent};

use super::{Away, Engine, Input};
use crate::delegate::unreachable;
use crate::event::Note;
use crate::hosts::{Host, Phase};

/// How long agents may take to end once all is done.
const FAREWELL: Duration = Duration::from_secs(10);

/// Passes on what a session says.
fn teller(sender: &Sender<Input>, name: &str, session: u32) -> Box<dyn Fn(Incoming) + Send> {
    let (sender, host) = (sender.clone(), Arc::<str>::from(name));
    Box::new(move |incoming| {
        // Without a receiver the run is over.
        let _ = sender.send(Input::From { host: host.clone(), session, incoming });
    })
}

impl Engine<'_> {
    /// Puts a host in line for a connection, unless it has one.
    pub(crate) fn want(&mut self, name: &str) {
        let waits = self.hosts.get(name).is_some_and(|host| host.phase == Phase::Waiting);
        if waits && !self.wanted.iter().any(|wanted| wanted == name) {
            self.wanted.push_back(name.to_owned());
        }
    }

    /// Opens sessions as far as the forks allow.
    pub(crate) fn connect(&mut self) {
        loop {
            let connecting =
                self.hosts.values().filter(|host| matches!(host.phase, Phase::Connecting(_))).count();
            if connecting >= self.settings.forks.max(1) {
                return;
            }
            let Some(name) = self.wanted.pop_front() else { return };
            self.open(&name);
        }
    }

    /// Opens a session; what is queued goes first.
    pub(super) fn open(&mut self, name: &str) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let further = host.further.clone();
        let (real, logins) = match &further {
            Some(further) => (further.host.as_str(), further.logins.clone()),
            None => (name, Logins::default()),
        };
        host.phase = Phase::Connecting(Instant::now());
        host.route = self.world.route(real, &logins).way;
        host.session = host.session.wrapping_add(1);
        let session = host.session;
        let first = std::mem::take(&mut host.queued);
        let tell = teller(&self.sender, name, session);
        if further.is_none() {
            self.monitor.note(&Note::Connecting { host: name });
        }
        match self.connector.open(real, &logins, first, tell) {
            Ok(channel) => host.channel = Some(channel),
            Err(problem) => self.lost(name, Some(problem)),
        }
    }

    pub(super) fn lost(&mut self, name: &str, problem: Option<Problem>) {
        if self.is_further(name) {
            return self.lost_further(name, problem);
        }
        if self.expected(name, &problem)
            || self.stands_in(name, problem.as_ref())
            || self.left_guarded(name, &problem)
        {
            return self.connect();
        }
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.phase = Phase::Over;
        host.channel = None;
        host.absent = None;
        let away = host.away.take().filter(|away| host.playing && away.over());
        let problem = away.map(|away| away.late(name, problem.clone())).or(problem);
        let (playing, during) = (host.playing, host.task.take());
        let notified = std::mem::take(&mut host.notified);
        self.stores.leave(name);
        let problem = match problem {
            Some(problem) => problem,
            None if playing => Problem::new(ProblemKind::Lost, format!("the agent on {name} ended early")),
            None => Problem::new(ProblemKind::Lost, format!("{name} is not there any more")),
        };
        for (asker, request) in self.delegations.leave(name) {
            let outcome = unreachable(&format!("{name}: {problem}"));
            self.answer(&asker, request, Ok(Answer::Outcome(Box::new(outcome))));
        }
        if playing {
            let secrets = self.world.secrets();
            let problem = Problem {
                kind: problem.kind,
                message: secrets.scrub(&problem.message),
                hint: problem.hint.as_ref().map(|hint| secrets.scrub(hint)),
            };
            self.monitor.note(&Note::Unreachable {
                host: name,
                problem: &problem,
                during: during.as_deref(),
            });
            let ignored = self.batch.again.as_ref().is_some_and(|(spec, _)| spec.ignore_unreachable);
            let counts = self.outcome.recap.hosts.entry(name.to_owned()).or_default();
            if ignored {
                counts.ignored += 1;
            } else {
                counts.unreachable = 1;
                self.outcome.unreachable.insert(name.to_owned(), Some(problem.kind));
            }
            self.outcome.recap.left(name, during, notified);
            if ignored {
                self.without(name);
                self.leave(name);
                return self.connect();
            }
            let place = self.batch.barriers.place(name, None);
            self.failed_at(name, place, true, self.batch.any_errors_fatal);
            self.leave(name);
        }
        self.connect();
    }

    /// Whether an agent on this machine goes on for a host that nobody has reached yet: it does what does not need the host,
    /// and finds all else unreachable, which tasks may ignore one by one.
    fn stands_in(&mut self, name: &str, problem: Option<&Problem>) -> bool {
        let Some(problem) = problem.filter(|problem| problem.kind != ProblemKind::Local && !self.stopping)
        else {
            return false;
        };
        let Some((spec, batch)) = self.batch.again.clone().filter(|(spec, _)| spec.forbearing) else {
            return false;
        };
        let unreached = |host: &&mut Host| {
            let away = host.away.as_ref();
            let never = matches!(host.phase, Phase::Connecting(_)) || host.phase == Phase::Away;
            host.playing && host.absent.is_none() && never && away.is_none_or(Away::may_be_stood_in)
        };
        let Some(host) = self.hosts.get_mut(name).filter(unreached) else { return false };
        let Ok(mut part) = self.world.host_play(&spec, name, &batch, &host.known) else { return false };
        part.resumed = host.away.as_ref().and_then(Away::resumed);
        part.absent = Some((problem.message.clone(), problem.hint.clone()));
        let Ok(mut first) = debark_wire::play_frame(&spec.shared, &part) else { return false };
        first.extend(debark_connect::frame(&ToAgent::End).unwrap_or_default());
        host.session = host.session.wrapping_add(1);
        let Ok(channel) = self.connector.stand_in(first, teller(&self.sender, name, host.session)) else {
            return false;
        };
        host.absent = Some(problem.kind);
        host.away = None;
        host.channel = Some(channel);
        host.queued.clear();
        for (asker, request) in self.delegations.leave(name) {
            let outcome = unreachable(&format!("{name}: {problem}"));
            self.answer(&asker, request, Ok(Answer::Outcome(Box::new(outcome))));
        }
        true
    }

    /// A play is over for a host; the next one tries to reach it again.
    pub(super) fn stood_in(&mut self, name: &str, failed: bool) {
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.absent.is_some()) else { return };
        host.absent = None;
        host.phase = if failed { Phase::Over } else { Phase::Waiting };
        host.session = host.session.wrapping_add(1);
        if let Some(channel) = host.channel.take() {
            channel.close();
            self.ending.push(channel);
        }
    }

    /// Ends a session that reaches the host in another way than the play that begins says.
    pub(super) fn reroute(&mut self, name: &str) {
        let route = self.world.route(name, &Logins::default()).way;
        let Some(host) = self.hosts.get(name) else { return };
        if host.phase != Phase::Up || host.route == route {
            return;
        }
        self.hang_up(name);
    }

    /// Lets all agents end.
    pub(super) fn farewell(&mut self) {
        for host in self.hosts.values_mut() {
            host.send(&ToAgent::End);
            if let Some(channel) = &host.channel {
                channel.close();
            }
        }
        let deadline = Instant::now() + FAREWELL;
        while self.hosts.values().any(|host| host.channel.is_some()) && self.outcome.interrupted < 2 {
            if Instant::now() > deadline {
                break;
            }
            self.step();
        }
        self.hosts.values().filter_map(|host| host.channel.as_ref()).for_each(|channel| channel.kill());
    }

    /// Leaves all hosts to themselves: a task that runs ends there on its own.
    pub(super) fn abandon(&mut self) {
        self.leave_guards();
        for (name, host) in self.hosts.iter_mut().filter(|(_, host)| host.playing) {
            self.outcome.recap.left(name, host.task.take(), std::mem::take(&mut host.notified));
        }
        self.hosts.values().filter_map(|host| host.channel.as_ref()).for_each(|channel| channel.kill());
    }
}
