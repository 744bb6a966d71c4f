//! The loop that runs plays.

mod away;
mod events;
mod failing;
mod further;
mod guard;
mod sessions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use debark_connect::guard::Verdict;
use debark_connect::{Incoming, ProblemKind};
use debark_value::Value;
use debark_wire::{Answer, Cost, FromAgent, PlayEnd, ToAgent};
use indexmap::IndexMap;

use crate::barrier::Barriers;
use crate::batch::batches;
use crate::delegate::Delegations;
use crate::event::{Monitor, Note};
use crate::fetches::Fetches;
use crate::hosts::{Host, Phase};
use crate::once::{OnceTasks, Throttles};
use crate::recap::Recap;
use crate::store::Stores;
use crate::world::{Channel, Connector, PlaySpec, Settings, World};

/// How often clocks are drawn and patience is looked at.
const TICK: Duration = Duration::from_millis(100);

pub(crate) use away::{Away, Going, Kept};
use failing::Failing;
pub(crate) use guard::Guarded;

pub(crate) enum Input {
    From {
        host: Arc<str>,
        session: u32,
        incoming: Incoming,
    },
    /// `regroups`: whether the inventory has other groups now.
    Answered {
        host: String,
        session: u32,
        id: u32,
        answer: Result<Answer, String>,
        regroups: bool,
    },
    Refused {
        host: String,
        session: u32,
        id: u32,
        why: String,
    },
    /// What a fresh connection found of a guard; the request that waits for it, unless its connection is gone.
    Confirmed {
        host: String,
        session: u32,
        id: Option<u32>,
        verdict: Option<Verdict>,
    },
    Interrupt,
}

/// Asks a run to stop, from a signal handler's thread: once to end after the running tasks, twice to end at once.
#[derive(Clone)]
pub struct Interrupt(Sender<Input>);

impl Interrupt {
    /// Asks.
    pub fn interrupt(&self) {
        // A run that is over needs no stopping.
        let _ = self.0.send(Input::Interrupt);
    }
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Per host, and the rest.
    pub recap: Recap,
    /// Hosts on which a task failed.
    pub failed: BTreeSet<String>,
    /// Hosts that could not be reached or were lost, and why, if one reason is known.
    pub unreachable: BTreeMap<String, Option<ProblemKind>>,
    /// How often it was interrupted.
    pub interrupted: u32,
    /// Why a play could not begin.
    pub error: Option<String>,
}

/// What concerns the current batch only.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) play: u32,
    pub(crate) fetches: Fetches,
    pub(crate) barriers: Barriers,
    pub(crate) once: OnceTasks,
    pub(crate) throttles: Throttles,
    size: usize,
    failing: Failing,
    /// Hosts of the play that have not failed, and those of the batch.
    active: Vec<String>,
    members: Vec<String>,
    max_fail_percentage: Option<f64>,
    any_errors_fatal: bool,
    /// The play and the hosts of the batch, for those that come back.
    pub(crate) again: Option<(PlaySpec, Vec<String>)>,
}

/// A run.
pub struct Engine<'a> {
    pub(crate) world: Arc<dyn World>,
    connector: &'a dyn Connector,
    monitor: &'a mut dyn Monitor,
    settings: Settings,
    pub(crate) sender: Sender<Input>,
    receiver: Receiver<Input>,
    pub(crate) hosts: IndexMap<String, Host>,
    /// Hosts that are to be connected to, in order.
    wanted: VecDeque<String>,
    pub(crate) batch: Batch,
    pub(crate) delegations: Delegations,
    pub(crate) stores: Stores,
    outcome: Outcome,
    stopping: bool,
    /// Sessions that were told to end, kept until the run is over: dropping one would kill it.
    ending: Vec<Box<dyn Channel>>,
    /// What was said of ssh's arguments.
    told: BTreeSet<String>,
}

impl<'a> Engine<'a> {
    /// A run that has not begun.
    pub fn new(
        world: Arc<dyn World>,
        connector: &'a dyn Connector,
        monitor: &'a mut dyn Monitor,
        settings: Settings,
    ) -> Self {
        let (sender, receiver) = channel();
        Self {
            world,
            connector,
            monitor,
            settings,
            sender,
            receiver,
            hosts: IndexMap::new(),
            wanted: VecDeque::new(),
            batch: Batch::default(),
            delegations: Delegations::default(),
            stores: Stores::default(),
            outcome: Outcome::default(),
            stopping: false,
            ending: Vec::new(),
            told: BTreeSet::new(),
        }
    }

    /// To stop the run by.
    pub fn interrupter(&self) -> Interrupt {
        Interrupt(self.sender.clone())
    }

    /// Runs all plays.
    pub fn run(mut self) -> Outcome {
        for index in 0..self.world.plays() {
            if let Err(message) = self.play(index) {
                self.outcome.error = Some(self.world.secrets().scrub(&message));
                break;
            }
            if self.stopping {
                break;
            }
        }
        self.farewell();
        self.monitor.note(&Note::Recap(&self.outcome.recap));
        self.outcome
    }

    fn gone(&self) -> BTreeSet<String> {
        self.outcome.failed.iter().chain(self.outcome.unreachable.keys()).cloned().collect()
    }

    fn play(&mut self, index: u32) -> Result<(), String> {
        self.dismiss(None);
        let mut spec = self.world.play(index, &self.gone())?;
        let gone = self.gone();
        spec.active = spec.hosts.iter().filter(|host| !gone.contains(*host)).cloned().collect();
        self.monitor.note(&Note::Play { index: spec.index, name: &spec.name, hosts: &spec.active });
        spec.warnings.iter().for_each(|text| self.monitor.note(&Note::Warning(text)));
        let batches = batches(&spec.active, &spec.serial);
        let count = batches.len();
        for (number, batch) in batches.iter().enumerate() {
            if count > 1 {
                self.monitor.note(&Note::Batch { number: number + 1, of: count, hosts: batch });
            }
            let gone = self.gone();
            spec.active.retain(|host| !gone.contains(host));
            self.begin(&spec, batch)?;
            while self.hosts.values().any(|host| host.playing) && self.outcome.interrupted < 2 {
                self.step();
            }
            if batch.iter().all(|host| self.gone().contains(host)) && !self.stopping {
                self.stopping = true;
                self.monitor.note(&Note::Stopping("no hosts are left"));
            }
            self.stopping |= self.batch.failing.ends_the_run();
            if self.stopping {
                break;
            }
        }
        Ok(())
    }

    fn begin(&mut self, spec: &PlaySpec, batch: &[String]) -> Result<(), String> {
        self.batch = Batch {
            play: spec.index,
            fetches: spec.fetches.clone(),
            barriers: Barriers::new(batch, &spec.tasks),
            once: OnceTasks::new(batch),
            size: batch.len(),
            active: spec.active.clone(),
            members: batch.to_vec(),
            max_fail_percentage: spec.max_fail_percentage,
            any_errors_fatal: spec.any_errors_fatal,
            again: Some((spec.clone(), batch.to_vec())),
            ..Batch::default()
        };
        for name in batch {
            self.reroute(name);
            let known = self.hosts.entry(name.clone()).or_default().known.clone();
            let part = self.world.host_play(spec, name, batch, &known)?;
            let frame =
                debark_wire::play_frame(&spec.shared, &part).map_err(|error| format!("{name}: {error}"))?;
            let host = self.hosts.entry(name.clone()).or_default();
            host.playing = true;
            host.kept = Kept::default();
            host.away = spec.patience.filter(|_| host.phase == Phase::Waiting).map(Away::not_yet);
            if host.phase == Phase::Over {
                // Its session ended between two plays; the new agent gets what is known of the host in its part.
                host.phase = Phase::Waiting;
            }
            host.send_frame(frame);
            if spec.index + 1 == self.world.plays() && (batch.len() == 1 || !spec.delegates) {
                // Told now, the agent ends with the play: one round trip less.
                host.send(&ToAgent::End);
            }
            self.outcome.recap.hosts.entry(name.clone()).or_default();
            self.want(name);
        }
        self.connect();
        Ok(())
    }

    fn step(&mut self) {
        match self.receiver.recv_timeout(TICK) {
            Ok(input) => self.take(input),
            Err(RecvTimeoutError::Timeout) => {}
            // This side holds a sender: it cannot happen.
            Err(RecvTimeoutError::Disconnected) => self.outcome.interrupted = 2,
        }
        self.look_for_hosts();
        let patience = Duration::from_secs(self.settings.patience);
        for host in self.hosts.values() {
            if matches!(host.phase, Phase::Connecting(since) if since.elapsed() > patience)
                && let Some(channel) = &host.channel
            {
                channel.kill();
            }
        }
        self.monitor.tick();
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::From { host, session, incoming } => {
                if self.in_session(&host, session) {
                    self.incoming(&host, incoming);
                }
            }
            Input::Answered { host, session, id, answer, regroups } => {
                self.asked(&host);
                if regroups {
                    self.regroup();
                }
                if self.in_session(&host, session) {
                    self.answer(&host, id, answer);
                }
            }
            Input::Refused { host, session, id, why } => {
                self.asked(&host);
                if self.in_session(&host, session) {
                    self.refuse(&host, id, why);
                }
            }
            Input::Confirmed { host, session, id, verdict } => {
                if self.in_session(&host, session) {
                    self.confirmed(&host, id, verdict);
                }
            }
            Input::Interrupt => {
                self.outcome.interrupted += 1;
                if self.outcome.interrupted == 1 {
                    self.stop("interrupted");
                } else {
                    self.abandon();
                }
            }
        }
    }

    fn incoming(&mut self, name: &str, incoming: Incoming) {
        match incoming {
            Incoming::Warning(text) => {
                // What is said of one host's ssh arguments holds for all that have the same.
                let what = text.split_once(": ").map_or(text.as_str(), |(_, what)| what).to_owned();
                if self.told.insert(what) {
                    self.warn(&text);
                }
            }
            Incoming::Uploading(bytes) => {
                // From here on the line decides how long it takes; ssh notices a dead one.
                if let Some(host) = self.hosts.get_mut(name) {
                    host.phase = Phase::Up;
                }
                if !self.is_further(name) {
                    self.monitor.note(&Note::Uploading { host: name, bytes });
                }
                self.connect();
            }
            Incoming::Started { noise } => {
                if let Some(host) = self.hosts.get_mut(name) {
                    host.phase = Phase::Up;
                    if host.away.as_ref().is_some_and(|away| away.resumed().is_none()) {
                        self.back(name);
                    }
                }
                if !self.is_further(name) {
                    self.monitor.note(&Note::Connected { host: name });
                }
                if let Some(noise) = noise {
                    let (_, told) = self.host_of(name);
                    let text =
                        format!("{told}: the login shell prints something before commands run: {noise}");
                    self.monitor.note(&Note::Warning(&text));
                }
                self.connect();
            }
            Incoming::Message(FromAgent::Hello { .. }) => {}
            Incoming::Message(FromAgent::Event(event)) => self.event(name, event),
            Incoming::Message(FromAgent::Request { id, request }) => self.request(name, id, request),
            Incoming::Message(FromAgent::Invoked { id, outcome }) => {
                if let Some((asker, request)) = self.delegations.end(name, id) {
                    self.answer(&asker, request, Ok(Answer::Outcome(Box::new(outcome))));
                }
            }
            Incoming::Message(FromAgent::PlayEnd { play, end, cost }) => {
                if self.in_batch(name, play) {
                    self.ended(name, end, cost);
                }
            }
            Incoming::Closed(problem) => self.lost(name, problem),
        }
    }

    /// Tells the user something that is not of one task.
    pub(crate) fn warn(&mut self, text: &str) {
        let text = crate::event::plain(&self.world.secrets().scrub(text));
        self.monitor.note(&Note::Warning(&text));
    }

    fn in_session(&self, name: &str, session: u32) -> bool {
        self.hosts.get(name).is_some_and(|host| host.session == session)
    }

    /// Whether the host runs that play now.
    pub(crate) fn in_batch(&self, name: &str, play: u32) -> bool {
        play == self.batch.play && self.hosts.get(name).is_some_and(|host| host.playing)
    }

    fn ended(&mut self, name: &str, end: PlayEnd, cost: Cost) {
        let failed = matches!(end, PlayEnd::Failed { .. }) || self.batch.failing.is_due(name);
        let left_early = failed || matches!(end, PlayEnd::Ended);
        if failed && self.batch.failing.is_new(name) {
            // It failed outside of any task.
            let place = self.batch.barriers.place(name, None);
            self.failed_at(name, place, true, self.batch.any_errors_fatal);
        }
        if failed {
            // Another host that a task needed, or this one by a task's login, counts as in Ansible.
            let host = self.hosts.get(name);
            let absent = host.and_then(|host| host.absent);
            if absent.is_some() || host.is_some_and(|host| host.unreached) {
                self.outcome.unreachable.insert(name.to_owned(), absent);
            } else {
                self.outcome.failed.insert(name.to_owned());
            }
        }
        if let Some(host) = self.hosts.get_mut(name) {
            host.notified.clear();
            host.guarded = None;
        }
        if let PlayEnd::Failed { pending_handlers } | PlayEnd::Stopped { pending_handlers } = end {
            let secrets = self.world.secrets();
            let shown = pending_handlers.iter().map(|name| secrets.scrub(name)).collect();
            self.outcome.recap.left(name, None, shown);
        }
        self.monitor.note(&Note::HostDone { host: name, failed, cost });
        // Before anybody is let through to a task that asks who is left.
        if left_early {
            self.without(name);
        }
        self.leave(name);
        self.stood_in(name, failed);
    }

    /// Tells the other hosts that one takes no part in the play any more.
    fn without(&mut self, name: &str) {
        if !self.batch.members.iter().any(|host| host == name) {
            return;
        }
        self.batch.active.retain(|host| host != name);
        self.batch.members.retain(|host| host != name);
        let names = |hosts: &[String]| Value::list(hosts.iter().map(String::as_str));
        let magic = debark_value::map! {
            "ansible_play_hosts" => names(&self.batch.active),
            "ansible_play_batch" => names(&self.batch.members),
            "play_hosts" => names(&self.batch.members),
        };
        for host in self.hosts.values_mut().filter(|host| host.playing && host.channel.is_some()) {
            host.send(&ToAgent::Magic { play: self.batch.play, vars: magic.clone() });
        }
    }

    /// Tells all hosts which groups there are.
    pub(crate) fn regroup(&mut self) {
        let world = self.world.clone();
        for (name, host) in self.hosts.iter_mut().filter(|(_, host)| host.playing && host.channel.is_some()) {
            host.send(&ToAgent::Magic { play: self.batch.play, vars: world.groups(name) });
        }
    }

    /// A host has left the batch: nobody waits for it any more.
    fn leave(&mut self, name: &str) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.playing = false;
        host.task = None;
        self.batch.barriers.leave(name);
        self.batch.once.leave(name);
        for (other, request) in self.batch.throttles.leave(name) {
            self.answer(&other, request, Ok(Answer::Done));
        }
        self.release();
    }

    /// Lets through whoever need not wait any more.
    pub(crate) fn release(&mut self) {
        for (host, request) in self.batch.barriers.released() {
            self.answer(&host, request, Ok(Answer::Done));
        }
        let barriers = &self.batch.barriers;
        let begin = self.batch.once.settled(&|host, task| barriers.is_past(host, task));
        for ((host, request), answer) in begin {
            self.answer(&host, request, Ok(answer));
        }
    }

    fn stop(&mut self, reason: &str) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.monitor.note(&Note::Stopping(reason));
        for host in self.hosts.values_mut().filter(|host| host.playing && host.channel.is_some()) {
            host.send(&ToAgent::Stop { reason: reason.into() });
        }
        // Who waits to change something must not: the agent knows by now that it is to stop.
        for (host, request) in self.batch.barriers.drain() {
            self.answer(&host, request, Err(reason.into()));
        }
        // Whoever has no session yet has nothing to finish.
        for name in std::mem::take(&mut self.wanted) {
            self.leave(&name);
            for (asker, request) in self.delegations.leave(&name) {
                self.answer(&asker, request, Err(reason.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
