//! `guard`: what a block changes is put back by the host, unless the controller confirms through a fresh connection in time.
//!
//! The guard is armed right before the first change, by the process that makes it (`debark_modules::guard`). Whether it was
//! confirmed is for the host's record to say, never for this connection, which may hang as long as the change is in force.

use std::rc::Rc;
use std::time::Duration;

use debark_expr::Scope;
use debark_value::{Map, Value, map};
use debark_wire::{Answer, Become, Block, Event, Guard, Invocation, Node, Outcome, Request};

use crate::actions::{Call, ok};
use crate::context::Context;
use crate::handlers::Marks;
use crate::link::Link;
use crate::run::{Flow, Running};
use crate::task::Done;

/// Seconds from the deadline until the controller has found out whether the host is back.
const AFTERWARDS: u64 = 120;

/// What the script says of a guard that reverted.
const REVERTED: i64 = 3;

/// Waits until no guard of an earlier run will revert anything under this one.
pub fn wait_for_others(link: &Link, run: &str) {
    let waits = || {
        let found = std::fs::read_dir(debark_modules::guard::SEEN).into_iter().flatten().flatten();
        let mut names = found.map(|entry| entry.file_name().to_string_lossy().into_owned());
        // What has an ending belongs to a guard, or is what one has left to tell.
        names.any(|name| !name.contains('.') && !name.starts_with(run))
    };
    let mut told = false;
    while waits() && !link.is_lost() && link.stop_reason().is_none() {
        if !std::mem::replace(&mut told, true) {
            let text = "waiting for the guard of an earlier run, which was not confirmed and will revert";
            link.event(Event::Warning(text.into()));
            link.flush();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The guard around what runs.
#[derive(Clone)]
pub struct Guarding {
    id: String,
    seconds: u64,
    /// It is settled, or left to its own time.
    over: bool,
    /// What was notified before it: what it reverts needs no handlers.
    marks: Marks,
}

impl Running<'_> {
    /// Runs a guarded block. What has failed, or was stopped half-way, is put back at once.
    pub fn guarded(&self, block: &Block, outer: &Rc<Context>) -> Flow {
        let Some(Node::Task(last)) = block.block.last() else { return self.block(block, outer) };
        if self.check() || self.guard.borrow().is_some() || self.absent().is_some() {
            return self.block(block, outer);
        }
        let context = outer.inside(&block.keywords, block.role);
        let scope = self.scope(&context, last);
        let seconds = match self.seconds(block, &scope) {
            Ok(seconds) => seconds,
            Err(why) => {
                self.report_alone(last, &why);
                return Flow::Failed;
            }
        };
        let play = self.play.borrow();
        let id = format!("{}-{}-{}", play.host.options.run_id, play.play.index, last.id);
        drop(play);
        if !self.repeats() {
            self.progress.borrow_mut().armed = None;
        }
        let marks = self.handlers.borrow().marks();
        *self.guard.borrow_mut() = Some(Guarding { id, seconds, over: false, marks });
        let mut flow = self.block(block, outer);
        if matches!(flow, Flow::EndPlay | Flow::EndRole) {
            let confirmed = self.task(last, &context);
            if confirmed != Flow::Next {
                flow = confirmed;
            }
        }
        let Some(guard) = self.guard.take() else { return flow };
        if self.repeats() {
            return flow;
        }
        let armed = self.progress.borrow_mut().armed.take();
        if let Some(by) =
            armed.filter(|_| !guard.over && matches!(flow, Flow::Failed | Flow::Unreachable | Flow::Stop))
        {
            self.put_back(guard, by, &scope);
        }
        flow
    }

    fn seconds(&self, block: &Block, scope: &Scope) -> Result<u64, String> {
        let value = block.guard.clone().unwrap_or_default();
        let value = self.on.engine.render_value(&value, scope).map_err(|e| format!("`guard`: {e}"))?;
        let seconds =
            debark_wire::seconds(&value.to_string()).filter(|seconds| (5..=86_400).contains(seconds));
        seconds.ok_or_else(|| format!("`guard` takes from 5 seconds to a day, got `{value}`"))
    }

    fn put_back(&self, guard: Guarding, by: Option<Become>, scope: &Scope) {
        let said = match self.guards(&guard, &by, "revert", scope) {
            Ok(0 | REVERTED) => {
                self.on.link.event(Event::Guarded { id: guard.id, seconds: 0 });
                "what the guarded block changed was put back"
            }
            _ => {
                "what the guarded block changed could not be put back at once: the host tries again by itself"
            }
        };
        self.forget_notified(guard.marks);
        self.on.link.event(Event::Warning(said.into()));
    }

    fn forget_notified(&self, marks: Marks) {
        let mut handlers = self.handlers.borrow_mut();
        handlers.unmark(marks);
        self.keep_pending(&handlers.key, &handlers.notified());
    }

    /// Whether a guard around the task is to put back what it changes.
    pub fn is_guarded(&self) -> bool {
        self.guard.borrow().as_ref().is_some_and(|guard| !guard.over)
    }

    /// A call with the guard that is around it.
    pub fn under_guard(&self, invocation: &Invocation) -> Option<Invocation> {
        let guard = self.guard.borrow();
        let guard = guard.as_ref().filter(|guard| !guard.over && !invocation.check)?;
        let armed = self.progress.borrow().armed.is_some();
        let user = rustix::process::geteuid().as_raw();
        let guard = Guard { id: guard.id.clone(), seconds: guard.seconds, user, armed };
        Some(Invocation { guard: Some(guard), ..invocation.clone() })
    }

    /// Tells the controller before the first change: afterwards it may not hear anything any more.
    pub fn announce(&self, invocation: &Invocation) {
        if let Some(guard) = invocation.guard.as_ref().filter(|guard| !guard.armed) {
            self.on.link.event(Event::Guarded { id: guard.id.clone(), seconds: guard.seconds });
            self.on.link.flush();
        }
    }

    /// Remembers who can put it back. Of a call that had no end it is not known whether it began.
    pub fn was_armed(&self, invocation: &Invocation, outcome: Result<&Outcome, &String>) {
        if outcome.map_or(true, |outcome| outcome.guarded || outcome.result.contains_key("timedout")) {
            self.progress.borrow_mut().armed = Some(invocation.become_.clone());
        }
    }

    /// The end of a guarded block: runs the handlers that it notified, and asks for the confirmation.
    ///
    /// # Errors
    /// It was not confirmed, and the host is as it was before.
    pub fn confirm(&self, call: &Call) -> Result<Done, String> {
        let mut done = ok(map! { "changed" => false }, false);
        let armed = || self.progress.borrow().armed.clone();
        if self.guard.borrow().is_none() || armed().is_none() && !self.repeats() {
            return Ok(done);
        }
        done.flow = self.flush_handlers(call.doing.context, false);
        if done.flow != Flow::Next || self.repeats() {
            return Ok(done);
        }
        let (Some(by), Some(guard)) = (armed(), self.guard.borrow().clone()) else { return Ok(done) };
        // Its calls are no tasks under it.
        self.set_over();
        let scope = self.scope(call.doing.context, call.doing.task);
        let reverted = |hint: Option<String>| {
            self.forget_notified(guard.marks.clone());
            Ok(Done::failed(format!("not confirmed within {} s: reverted on the host", guard.seconds), hint))
        };
        if self.guards(&guard, &by, "ready", &scope)? == REVERTED {
            self.guards(&guard, &by, "settle", &scope)?;
            return reverted(Some(
                "its tasks took longer than that, or the connection did not answer".into(),
            ));
        }
        let request = Request::Confirm { id: guard.id.clone(), seconds: guard.seconds };
        let answers = self.on.link.ask(request);
        let answer = answers.recv_timeout(Duration::from_secs(guard.seconds + AFTERWARDS));
        if self.on.link.is_lost() {
            // Whoever is confirmed by another connection, or not, is so without this one.
            done.flow = Flow::Stop;
            return Ok(done);
        }
        let said = match answer {
            Ok(Ok(Answer::Done)) => None,
            Ok(Err(why)) => Some(why),
            _ => Some("the controller did not answer".into()),
        };
        match self.guards(&guard, &by, "settle", &scope)? {
            0 => Ok(done),
            REVERTED => reverted(said),
            _ => Ok(Done::failed(
                format!("not confirmed within {} s, and not all could be put back yet", guard.seconds),
                Some(format!("the host tries again by itself: journalctl -u debark-guard-{}", guard.id)),
            )),
        }
    }

    fn set_over(&self) {
        if let Some(guard) = self.guard.borrow_mut().as_mut() {
            guard.over = true;
        }
    }

    /// Runs the script as whoever armed the guard; yields its exit code.
    fn guards(
        &self,
        guard: &Guarding,
        by: &Option<Become>,
        verb: &str,
        scope: &Scope,
    ) -> Result<i64, String> {
        let told = if self.on.link.is_lost() { "" } else { "told" };
        let argv = ["/bin/sh", "-c", debark_modules::guard::SCRIPT, "guard", verb, &guard.id, told];
        let args: Map = map! { "argv" => Value::list(argv), "expand_argument_vars" => false };
        let module = "command".into();
        let invocation = Invocation { module, args, become_: by.clone(), ..Invocation::default() };
        let outcome = self.invoked(&invocation, scope, &|| Ok(()))?;
        let number = outcome.result.get("rc").and_then(Value::as_int);
        number.ok_or_else(|| "the guard's script cannot be run".into())
    }
}
