//! Hosts that go away and come back within a play: `reboot`, `wait_for_connection`, `meta: reset_connection`, a connection
//! that is lost in a task with `ignore_unreachable`.
//!
//! An agent that is about to lose its connection tells how far it is; what it tells is kept as it is and handed to the
//! agent that is started once the host answers again.

use std::time::{Duration, Instant};

use debark_connect::{Problem, ProblemKind};
use debark_wire::Answer;

use super::Engine;
use crate::delegate::unreachable;
use crate::hosts::Phase;

/// Between two tries to reach a host.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a host whose connection was lost may take to answer again.
const RETURN: Duration = Duration::from_secs(15);
/// What one try may take.
const TRY: Duration = Duration::from_secs(30);

/// A host that went away, or is about to.
pub(crate) struct Away {
    /// What its agent told; `None`: there was none yet.
    told: Option<Vec<Vec<u8>>>,
    /// Whether it was not meant to go.
    lost: bool,
    since: Instant,
    deadline: Instant,
    delay: Duration,
    /// When its connection is ended from here.
    gone_by: Option<Instant>,
    /// When to try next, once the connection is gone.
    next: Option<Instant>,
    /// What the last try ran into.
    problem: Option<Problem>,
}

/// What an agent says of its going.
pub(crate) struct Going {
    pub(crate) timeout: u64,
    pub(crate) delay: u64,
    pub(crate) gone_by: u64,
    pub(crate) told: Vec<Vec<u8>>,
}

/// What an agent told in case that its connection is lost.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    now: Option<Vec<u8>>,
    parts: Vec<Vec<u8>>,
}

/// More than so many bytes are not kept of a host.
const MOST_KEPT: usize = 64 << 20;

impl Away {
    /// A host that nobody has reached yet and that may take so many seconds.
    pub(crate) fn not_yet(timeout: u64) -> Self {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(timeout);
        Self {
            told: None,
            lost: false,
            since: now,
            deadline,
            delay: PAUSE,
            gone_by: None,
            next: None,
            problem: None,
        }
    }

    /// Whether it took too long.
    pub(super) fn over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Why a host that went away is given up.
    pub(super) fn late(&self, name: &str, last: Option<Problem>) -> Problem {
        let last = last.map(|problem| format!(" (last: {problem})")).unwrap_or_default();
        let (seconds, what) =
            (self.since.elapsed().as_secs(), if self.told.is_some() { "come back" } else { "answer" });
        Problem::new(ProblemKind::TimedOut, format!("{name} did not {what} within {seconds} s{last}"))
            .hint("does it hang? look at its console; how long is waited is a parameter of the task")
    }

    /// Whether an agent on this machine may go on instead if it does not come back.
    pub(super) fn may_be_stood_in(&self) -> bool {
        self.lost || self.told.is_none()
    }

    /// For the agent that goes on.
    pub(crate) fn resumed(&self) -> Option<(Vec<Vec<u8>>, u64)> {
        self.told.clone().map(|told| (told, self.since.elapsed().as_secs()))
    }
}

impl Engine<'_> {
    /// A host says that it will go away.
    pub(crate) fn going(&mut self, name: &str, going: Going) -> Result<Answer, String> {
        if self.world.local(name) {
            return Err(format!("{name} is the machine that debark itself runs on: it stays connected"));
        }
        self.dismiss(Some(name));
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.playing) else {
            return Err("only a host that runs the play may go away".into());
        };
        let now = Instant::now();
        let seconds = |seconds: u64| Duration::from_secs(seconds.min(7 * 86_400));
        let again = host.away.take();
        host.away = Some(Away {
            told: Some(going.told),
            lost: false,
            since: again.as_ref().map_or(now, |away| away.since),
            deadline: again.as_ref().map_or(now + seconds(going.timeout), |away| away.deadline),
            delay: seconds(going.delay),
            gone_by: (going.gone_by > 0).then(|| now + seconds(going.gone_by)),
            next: None,
            problem: None,
        });
        Ok(Answer::Done)
    }

    /// A host tells how far it is, in case that its connection is lost.
    pub(crate) fn keep(&mut self, name: &str, from: u32, more: Vec<Vec<u8>>, now: Option<Vec<u8>>) -> Answer {
        let forbearing =
            self.batch.again.as_ref().is_some_and(|(spec, _)| spec.forbearing || spec.ignore_unreachable);
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.playing && forbearing) else {
            return Answer::Done;
        };
        host.kept.parts.truncate(from as usize);
        host.kept.parts.extend(more);
        host.kept.now = now;
        let size: usize = host.kept.parts.iter().chain(&host.kept.now).map(Vec::len).sum();
        if size > MOST_KEPT || (host.kept.parts.len() as u64) < u64::from(from) {
            host.kept = Kept::default();
        }
        Answer::Done
    }

    /// Whether a connection that ended without a word did so in a task that ignores it.
    fn tolerated(&mut self, name: &str, problem: &Option<Problem>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let Some(now) = host.kept.now.take().filter(|_| host.away.is_none() && host.phase == Phase::Up)
        else {
            return;
        };
        let told = [vec![now], std::mem::take(&mut host.kept.parts)].concat();
        let since = Instant::now();
        host.away = Some(Away {
            told: Some(told),
            lost: true,
            since,
            deadline: since + RETURN,
            delay: Duration::ZERO,
            gone_by: None,
            next: None,
            problem: None,
        });
        // What it waited for was for the agent that is gone.
        self.batch.barriers.forget(name);
        self.batch.once.forget(name);
        for (other, request) in self.batch.throttles.leave(name) {
            self.answer(&other, request, Ok(Answer::Done));
        }
        let why = problem.as_ref().map(|problem| format!(" ({})", problem.message)).unwrap_or_default();
        self.warn(&format!(
            "{name}: the connection was lost{why}; the task ignores that, and the play goes on"
        ));
    }

    /// A host is back, or has stayed.
    pub(crate) fn back(&mut self, name: &str) -> Answer {
        if let Some(host) = self.hosts.get_mut(name) {
            host.away = None;
            host.phase = Phase::Up;
            let waiting = std::mem::take(&mut host.queued);
            if let Some(channel) = host.channel.as_ref().filter(|_| !waiting.is_empty()) {
                channel.send(waiting);
            }
        }
        Answer::Done
    }

    /// Whether a host whose connection ended is expected back.
    pub(super) fn expected(&mut self, name: &str, problem: &Option<Problem>) -> bool {
        self.tolerated(name, problem);
        let now = Instant::now();
        let stopping = self.stopping;
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.playing && !stopping) else {
            return false;
        };
        let Some(away) = &mut host.away else { return false };
        let hopeless = [ProblemKind::ChangedHostKey, ProblemKind::UnknownHostKey, ProblemKind::Local];
        if away.over() || problem.as_ref().is_some_and(|problem| hopeless.contains(&problem.kind)) {
            return false;
        }
        let pause = if away.next.is_none() && away.problem.is_none() { away.delay } else { PAUSE };
        away.next = Some(now + pause);
        away.gone_by = None;
        away.problem.clone_from(problem);
        host.phase = Phase::Away;
        host.channel = None;
        let asked = self.delegations.leave(name);
        self.stores.leave(name);
        for (asker, request) in asked {
            let outcome = unreachable(&format!("{name} lost the connection while it rebooted"));
            self.answer(&asker, request, Ok(Answer::Outcome(Box::new(outcome))));
        }
        true
    }

    /// Tries to reach hosts that are away, as far as it is time, and gives up those that take too long.
    pub(super) fn look_for_hosts(&mut self) {
        let now = Instant::now();
        let mut again = Vec::new();
        let mut given_up = Vec::new();
        for (name, host) in &mut self.hosts {
            let Some(away) = &mut host.away else { continue };
            if let Some(channel) = &host.channel {
                let stuck = matches!(host.phase, Phase::Connecting(since) if since.elapsed() > TRY);
                if stuck || away.gone_by.is_some_and(|by| now > by) {
                    away.gone_by = None;
                    channel.kill();
                }
            } else if host.phase == Phase::Away && (away.over() || self.stopping) {
                given_up.push(name.clone());
            } else if host.phase == Phase::Away && away.next.is_some_and(|next| now >= next) {
                again.push(name.clone());
            }
        }
        for name in given_up {
            let problem = self.hosts.get(&name).and_then(|host| host.away.as_ref()?.problem.clone());
            self.lost(&name, problem);
        }
        for name in again {
            if let Err(message) = self.reopen(&name) {
                self.lost(&name, Some(Problem::new(ProblemKind::Local, message)));
            }
        }
    }

    fn reopen(&mut self, name: &str) -> Result<(), String> {
        let Some((spec, batch)) = self.batch.again.clone() else { return Ok(()) };
        let Some(host) = self.hosts.get_mut(name) else { return Ok(()) };
        let Some(away) = &host.away else { return Ok(()) };
        let resumed = away.resumed();
        let known = host.known.clone();
        let mut part = self.world.host_play(&spec, name, &batch, &known)?;
        part.resumed = resumed;
        let mut frames =
            debark_wire::play_frame(&spec.shared, &part).map_err(|error| format!("{name}: {error}"))?;
        let Some(host) = self.hosts.get_mut(name) else { return Ok(()) };
        // What others delegated to it meanwhile stays in line until it says that it is back.
        let later = std::mem::take(&mut host.queued);
        host.queued = std::mem::take(&mut frames);
        host.phase = Phase::Waiting;
        self.open(name);
        if let Some(host) = self.hosts.get_mut(name) {
            host.queued = later;
        }
        Ok(())
    }
}
