//! Answers to what agents ask.

use debark_value::{Map, Value};
use debark_wire::{Answer, Invocation, Logins, Request, ToAgent};

use crate::delegate::unreachable;
use crate::engine::{Engine, Going, Input};
use crate::hosts::Phase;

/// A host has one thread that asks, and one for each task that others delegate to it.
const MOST_QUESTIONS: u32 = 64;

impl Engine<'_> {
    /// Answers a request, now or later.
    pub(crate) fn request(&mut self, host: &str, id: u32, request: Request) {
        let quick = matches!(
            request,
            Request::Content { .. }
                | Request::HostVars { .. }
                | Request::SetFacts { .. }
                | Request::Delegate { .. }
                | Request::Reconnect { .. }
                | Request::Back
                | Request::Confirm { .. }
        );
        if let Some(why) = self.beyond(host, &request) {
            return self.refuse(host, id, why);
        }
        if quick && let Err(why) = self.world.permit(self.batch.play, &self.host_of(host).0, &request) {
            return self.refuse(host, id, why);
        }
        let answer = match request {
            Request::Content { sha256 } => match self.world.content(&sha256) {
                Ok(content) => {
                    if let Some(host) = self.hosts.get_mut(host) {
                        host.content(id, content);
                    }
                    return;
                }
                Err(why) => Err(why),
            },
            Request::Reconnect { timeout, delay, gone_by, told } => {
                self.going(host, Going { timeout, delay, gone_by, told })
            }
            Request::Keep { from, more, now } => Ok(self.keep(host, from, more, now)),
            Request::Back => Ok(self.back(host)),
            Request::Confirm { id: guard, seconds } => return self.confirm(host, id, guard, seconds),
            Request::HostVars { host: other } => self.host_vars(host, &other).map(Answer::Value),
            Request::SetFacts { host: other, facts, set, .. } => {
                let other = self.hosts.entry(other).or_default();
                other.known.extend(facts.clone());
                if other.playing && other.channel.is_some() {
                    other.send(&ToAgent::Facts { facts, set });
                }
                Ok(Answer::Done)
            }
            Request::Barrier { play, task } => {
                if !self.in_batch(host, play) {
                    return self.answer(host, id, Ok(Answer::Done));
                }
                if self.fails_now(host, task) {
                    return self.answer(host, id, Ok(Answer::Fail));
                }
                self.batch.barriers.wait(host, id, task);
                return self.release();
            }
            Request::RunOnce { task } => {
                self.batch.barriers.reached(host, task);
                match self.batch.once.ask(host, id, task) {
                    Some(answer) => {
                        self.answer(host, id, Ok(answer));
                        return self.release();
                    }
                    None => return self.release(),
                }
            }
            Request::RanOnce { task, result, failed } => {
                for ((other, request), answer) in self.batch.once.done(host, task, result, failed) {
                    self.answer(&other, request, Ok(answer));
                }
                Ok(Answer::Done)
            }
            Request::Throttle { task, limit, forks, done } => {
                self.batch.barriers.reached(host, task);
                let task = (!forks).then_some(task);
                let admitted = if done {
                    self.answer(host, id, Ok(Answer::Done));
                    self.batch.throttles.give(host, task)
                } else {
                    self.batch.throttles.take(host, id, task, limit)
                };
                for (other, request) in admitted {
                    self.answer(&other, request, Ok(Answer::Done));
                }
                return;
            }
            Request::Delegate { host: other, logins, invocation, .. } => {
                return self.delegate(host, id, (&other, logins), *invocation);
            }
            Request::Store { dest, bytes, last } => {
                // A host that was taken over must not write here just because it asks.
                let allowed = self.batch.fetches.allow(&dest);
                allowed.and_then(|path| self.stores.part(host, &path, &bytes, last)).map(|()| Answer::Done)
            }
            slow => return self.ask_world(host, id, slow),
        };
        self.answer(host, id, answer);
    }

    /// A question that took a thread is answered.
    pub(crate) fn asked(&mut self, host: &str) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.asking = host.asking.saturating_sub(1);
        }
    }

    /// Sends an answer.
    pub(crate) fn answer(&mut self, host: &str, id: u32, answer: Result<Answer, String>) {
        let Some(host) = self.hosts.get_mut(host) else { return };
        // The host keeps a record of its own, in which no secret may be that it has learned on the way.
        if let Ok(answer @ (Answer::Value(_) | Answer::Tasks(_) | Answer::Outcome(_) | Answer::Ran { .. })) =
            &answer
        {
            let secrets = self.world.secrets();
            let bytes = if secrets.is_empty() { None } else { debark_wire::encode(answer).ok() };
            let told = secrets.within(&bytes.unwrap_or_default());
            if !told.is_empty() {
                host.send(&ToAgent::Secrets(told));
            }
        }
        host.answer(id, answer);
    }

    /// Inventory variables below what the host reported.
    fn host_vars(&self, asker: &str, host: &str) -> Result<Value, String> {
        let nothing = Map::new();
        let known = self.hosts.get(host).map_or(&nothing, |host| &host.known);
        self.world.host_vars(self.batch.play, asker, host, known).map(Value::from)
    }

    /// Says no, and tells the user: a host that asks such things is not what it should be.
    pub(crate) fn refuse(&mut self, host: &str, id: u32, why: String) {
        let host_and_why = format!("{} {why}; it was refused", self.host_of(host).1);
        self.warn(&host_and_why);
        self.answer(host, id, Err(format!("the controller refused: this host {why}")));
    }

    /// What takes files, templates or the user takes a thread: other hosts must not wait for it.
    fn ask_world(&mut self, host: &str, id: u32, request: Request) {
        let (world, sender) = (self.world.clone(), self.sender.clone());
        let (play, name, real) = (self.batch.play, host.to_owned(), self.host_of(host).0);
        let Some(asker) = self.hosts.get_mut(host) else { return };
        let (session, asking) = (asker.session, &mut asker.asking);
        if *asking >= MOST_QUESTIONS {
            return self.refuse(host, id, format!("asks more than {MOST_QUESTIONS} things at once"));
        }
        *asking += 1;
        let debugs = matches!(request, Request::Debug { .. });
        let regroups = matches!(request, Request::AddHost { .. } | Request::RefreshInventory);
        let thread = std::thread::Builder::new().name("answer".into()).spawn(move || {
            // Without a receiver the run is over, and nobody waits.
            let _ = match world.permit(play, &real, &request) {
                Ok(()) => {
                    let answer = world.answer(play, &real, request);
                    // The user has had enough: of the run, not of this host alone.
                    if debugs && answer == Ok(Answer::Fail) {
                        let _ = sender.send(Input::Interrupt);
                    }
                    let regroups = regroups && answer == Ok(Answer::Value(true.into()));
                    sender.send(Input::Answered { host: name, session, id, answer, regroups })
                }
                Err(why) => sender.send(Input::Refused { host: name, session, id, why }),
            };
        });
        if let Err(error) = thread {
            self.asked(host);
            self.answer(host, id, Err(format!("cannot start a thread: {error}")));
        }
    }

    fn delegate(&mut self, host: &str, id: u32, (real, logins): (&str, Logins), mut invocation: Invocation) {
        if invocation.become_.is_some() && invocation.become_password.is_none() {
            invocation.become_password = self.world.become_password(real);
        }
        let other = &self.by_login(real, logins);
        if self.hosts.get(other).is_some_and(|other| other.absent.is_some() || other.phase == Phase::Over) {
            let outcome = unreachable(&format!("{real} cannot be reached"));
            return self.answer(host, id, Ok(Answer::Outcome(Box::new(outcome))));
        }
        let number = self.delegations.begin(other, (host.to_owned(), id));
        let invocation = Box::new(invocation);
        let delegate = self.hosts.entry(other.to_owned()).or_default();
        let message = ToAgent::Invoke { id: number, invocation };
        match debark_connect::frame(&message).filter(|_| delegate.away.is_some()) {
            // It goes away, or is: the agent that comes after it gets what waits.
            Some(frame) => delegate.queued.extend(frame),
            None => delegate.send(&message),
        }
        self.want(other);
        self.connect();
    }
}
