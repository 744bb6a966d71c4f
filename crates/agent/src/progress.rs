//! How far a play is, so that another agent on the same host can go on with it after the connection was given up (a
//! reboot, `meta: reset_connection`) or lost in a task that ignores that.
//!
//! What each task did to the variables, to the handlers and to the course of the play is noted. The next agent starts
//! from the same beginning and walks the same tree; a task that is noted is not run, only its notes are taken over.
//! Includes and `meta: flush_handlers` are walked into again, so that what is around a task is as it was.

use std::cell::RefCell;
use std::collections::VecDeque;

use debark_value::{Map, Value};
use debark_wire::{Become, Request, Task};
use serde::{Deserialize, Serialize};

use crate::link::Link;
use crate::run::Flow;
use crate::state::{Change, HostState};

/// Stands for the gathering of facts, which is no task of the play.
pub const GATHERING: u32 = u32::MAX;

/// What a task did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Step {
    /// Task id.
    pub task: u32,
    /// What became of the variables.
    pub changes: Vec<Change>,
    /// Handlers that it notified.
    pub notified: Vec<String>,
    /// What followed.
    pub flow: Flow,
    /// Whether it ran at all.
    pub ran: bool,
    /// What failed last, for `rescue`.
    pub failure: Option<(Value, Value)>,
    /// Return values of an item or a task that gave up the connection, before all of the task was over.
    pub returned: Option<Map>,
}

/// Where the play was when the connection went. The controller keeps it, what was [`Before`], and the steps one by one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Now {
    task: u32,
    boot: String,
    armed: Option<Option<Become>>,
    lost: bool,
}

/// What there was when the play began.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Before {
    state: HostState,
    left: Vec<String>,
}

/// The progress of a play.
#[derive(Default)]
pub struct Progress {
    before: HostState,
    /// Handlers that an earlier run left.
    pub left: Vec<String>,
    done: Vec<Step>,
    /// What is still to be taken over.
    ahead: VecDeque<Step>,
    /// The task that gave up the connection, what the boot was then, and for how many seconds it was away.
    away: Option<(u32, String, u64)>,
    /// Whether it was lost, not given up.
    lost: bool,
    /// How much the controller has for the case that the connection is lost, and the task for which it has that.
    kept: (usize, Option<u32>),
    /// Handlers that the current task notified.
    pub notified: RefCell<Vec<String>>,
    /// Who armed the guard around the current task: whom it had become.
    pub armed: Option<Option<Become>>,
}

impl Progress {
    /// A play that begins.
    pub fn new(before: HostState) -> Self {
        Self { before, ..Self::default() }
    }

    /// A play that another agent began: what it told, and for how many seconds the connection was gone.
    ///
    /// # Errors
    /// What was told is not what an agent of this version tells.
    pub fn again(told: &[Vec<u8>], seconds: u64) -> Result<Self, String> {
        fn part<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
            debark_wire::decode(bytes).map_err(|error| error.to_string())
        }
        let [now, before, steps @ ..] = told else { return Err("the other agent told too little".into()) };
        let (now, before): (Now, Before) = (part(now)?, part(before)?);
        let ahead = steps.iter().map(|step| part(step)).collect::<Result<VecDeque<Step>, _>>()?;
        Ok(Self {
            before: before.state,
            left: before.left,
            ahead,
            away: Some((now.task, now.boot, seconds)),
            lost: now.lost,
            armed: now.armed,
            ..Self::default()
        })
    }

    /// What the host knew when the play began.
    pub fn before(&self) -> HostState {
        self.before.clone()
    }

    /// Whether what another agent did is being taken over.
    pub fn repeats(&self) -> bool {
        self.away.is_some() || !self.ahead.is_empty()
    }

    /// Notes what a task did. What it noted on its way is part of that.
    pub fn note(&mut self, step: Step) {
        while self.done.last().is_some_and(|last| last.task == step.task && last.returned.is_some()) {
            self.done.pop();
        }
        self.kept.0 = self.kept.0.min(1 + self.done.len());
        self.done.push(step);
    }

    /// Notes what a task that goes on got when it came back.
    pub fn note_return(&mut self, task: u32, result: Map) {
        self.done.push(Step { task, returned: Some(result), ..Step::default() });
    }

    /// The next step, if it is that task's end.
    pub fn take(&mut self, task: u32) -> Option<Step> {
        self.ahead.front().filter(|step| step.task == task && step.returned.is_none())?;
        let step = self.ahead.pop_front()?;
        self.note(step.clone());
        Some(step)
    }

    /// Whether that task is to be walked into although it is over.
    pub fn leads_on(&self, task: &Task) -> bool {
        walked(task) && self.ahead.front().is_some_and(|step| step.task == task.id && step.ran)
    }

    /// The next step, if it is what that task got on its way.
    pub fn take_return(&mut self, task: u32) -> Option<Map> {
        self.ahead.front().filter(|step| step.task == task && step.returned.is_some())?;
        let step = self.ahead.pop_front()?;
        self.done.push(step.clone());
        step.returned
    }

    /// Whether this task stands where the other agent had another one.
    pub fn strays(&self, task: &Task) -> bool {
        let next = self.ahead.front().map(|step| step.task).or(self.away.as_ref().map(|away| away.0));
        !walked(task) && next.is_some_and(|next| next != task.id)
    }

    /// The task that gave up the connection goes on: what the boot was, and for how many seconds it was away.
    pub fn back(&mut self, task: u32) -> Option<(String, u64)> {
        if self.lost { None } else { self.returned(task) }
    }

    /// Whether the agent before this one lost its connection.
    pub fn lost(&self) -> bool {
        self.lost
    }

    /// Whether the connection was lost in that task: it is over, and nobody knows how it went.
    pub fn lost_in(&mut self, task: u32) -> bool {
        self.lost && self.returned(task).is_some()
    }

    fn returned(&mut self, task: u32) -> Option<(String, u64)> {
        let back = self.ahead.is_empty() && self.away.as_ref().is_some_and(|away| away.0 == task);
        if back { self.away.take().map(|(_, boot, seconds)| (boot, seconds)) } else { None }
    }

    /// What the controller is to keep while a task gives up the connection.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn told(&self, task: u32, boot: String) -> Result<Vec<Vec<u8>>, String> {
        let now = Now { task, boot, armed: self.armed.clone(), lost: false };
        let mut told = vec![part(&now)?];
        told.extend(self.parts(0)?);
        Ok(told)
    }

    /// What the controller is to keep in case that the connection is lost in a task; `None`: it has that.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn keep(&mut self, task: u32) -> Result<Option<Request>, String> {
        if self.kept.1 == Some(task) {
            return Ok(None);
        }
        let now = part(&Now { task, armed: self.armed.clone(), lost: true, ..Now::default() })?;
        let (from, more) = (self.kept.0, self.parts(self.kept.0)?);
        self.kept = (from + more.len(), Some(task));
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        Ok(Some(Request::Keep { from, more, now: Some(now) }))
    }

    /// From here on a lost connection is the end; `None`: it was before.
    pub fn let_go(&mut self) -> Option<Request> {
        self.kept.1.take()?;
        let from = u32::try_from(self.kept.0).unwrap_or(u32::MAX);
        Some(Request::Keep { from, more: Vec::new(), now: None })
    }

    /// What was before, and the steps, without so many of these parts.
    fn parts(&self, skipped: usize) -> Result<Vec<Vec<u8>>, String> {
        let mut parts = Vec::new();
        if skipped == 0 {
            parts.push(part(&Before { state: self.before.clone(), left: self.left.clone() })?);
        }
        for step in self.done.iter().skip(skipped.saturating_sub(1)) {
            parts.push(part(step)?);
        }
        Ok(parts)
    }
}

fn part<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    debark_wire::encode(value).map_err(|error| error.to_string())
}

/// Whether a task is walked into again.
pub fn walked(task: &Task) -> bool {
    match task.action.as_str() {
        "include_tasks" | "include_role" => true,
        "meta" => ["free_form", "_raw_params"].iter().any(|name| {
            task.args
                .get(*name)
                .and_then(Value::as_str)
                .is_some_and(|word| matches!(word, "flush_handlers" | "guard"))
        }),
        _ => false,
    }
}

/// Announces that the host will go away and the play go on with another agent.
///
/// # Errors
/// The controller refuses, or is gone.
pub fn announce(link: &Link, told: Vec<Vec<u8>>, times: Times) -> Result<(), String> {
    let Times { timeout, delay, gone_by } = times;
    link.request(Request::Reconnect { timeout, delay, gone_by, told }).map(drop)
}

/// How long it may take, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Until giving up.
    pub timeout: u64,
    /// From the end of the connection until the first try.
    pub delay: u64,
    /// After which the connection is ended from the other side; 0: never.
    pub gone_by: u64,
}

/// Waits until the connection is gone, and ends this agent: another one goes on.
pub fn end(link: &Link) -> ! {
    while !link.is_lost() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::process::exit(0);
}

#[cfg(test)]
mod tests {
    use debark_value::map;

    use super::*;

    fn task(id: u32, action: &str) -> Task {
        Task { id, action: action.into(), ..Task::default() }
    }

    #[test]
    fn another_agent_takes_over_step_by_step() {
        let mut first = Progress::new(HostState::default());
        first.note(Step { task: 1, notified: vec!["restart".into()], ran: true, ..Step::default() });
        first.note_return(2, map! { "elapsed" => 3 });
        let told = first.told(2, "boot 1".into()).unwrap();
        let mut second = Progress::again(&told, 7).unwrap();
        assert!(second.repeats() && second.back(2).is_none(), "not before all is taken over");
        assert!(second.strays(&task(5, "ping")) && !second.strays(&task(5, "include_tasks")));
        assert_eq!(second.take(1).unwrap().notified, ["restart"]);
        assert!(second.take(2).is_none(), "the task is not over");
        assert_eq!(second.take_return(2).unwrap(), map! { "elapsed" => 3 });
        assert_eq!(second.back(2), Some(("boot 1".into(), 7)));
        assert!(!second.repeats());
        second.note(Step { task: 2, ..Step::default() });
        let third = Progress::again(&second.told(9, String::new()).unwrap(), 0).unwrap();
        assert_eq!(third.ahead.len(), 2, "what a task got on its way is forgotten at its end");
        assert!(Progress::again(&[b"rubbish".to_vec()], 0).is_err());
        assert!(Progress::again(&[b"rubbish".to_vec(), Vec::new()], 0).is_err());
    }

    /// What the controller has after some requests.
    fn kept(requests: impl IntoIterator<Item = Request>) -> Option<Vec<Vec<u8>>> {
        let (mut parts, mut last) = (Vec::new(), None);
        for request in requests {
            let Request::Keep { from, more, now } = request else { panic!("{request:?}") };
            parts.truncate(from as usize);
            parts.extend(more);
            last = now;
        }
        Some([vec![last?], parts].concat())
    }

    #[test]
    fn a_task_in_which_the_connection_is_lost_is_over() {
        let mut first = Progress::new(HostState::default());
        first.note(Step { task: 1, ..Step::default() });
        let begun = first.keep(2).unwrap().unwrap();
        assert_eq!(first.keep(2).unwrap(), None, "once per task");
        let over = first.let_go().unwrap();
        first.note_return(2, Map::new());
        first.note(Step { task: 2, ..Step::default() });
        let again = first.keep(3).unwrap().unwrap();
        assert_eq!(kept([begun.clone(), over.clone()]), None);
        let told = kept([begun, over, again]).unwrap();
        assert_eq!(told.len(), 4, "where it is, what was before, two steps");
        let mut second = Progress::again(&told, 1).unwrap();
        assert!(second.take(1).is_some() && second.take(2).is_some());
        assert!(second.back(3).is_none() && !second.lost_in(2) && second.lost_in(3) && !second.repeats());
        let Some(Request::Keep { from: 0, more, .. }) = second.keep(4).unwrap() else { panic!("all anew") };
        assert_eq!(more.len(), 3);
    }
}
