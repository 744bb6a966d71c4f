//! One task, from its turn to what is remembered of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use debark_expr::Scope;
use debark_value::{Map, Value, map};
use debark_wire::{Answer, Event, Keywords, Outcome, Request, Status, Task};

use crate::context::{Context, merge};
use crate::debugger::{Choice, Mended};
use crate::invoke::{failed, unreachable};
use crate::run::{Flow, Running};
use crate::upstream::Origin;

/// A task with everything around it, while it runs.
pub struct Doing<'a> {
    /// The task.
    pub task: &'a Task,
    /// What is around it.
    pub context: &'a Rc<Context>,
    /// Its keywords, inherited ones included.
    pub keywords: Keywords,
    /// Its rendered name.
    pub name: String,
    /// Whether `no_log` hides results.
    pub no_log: bool,
    /// Whether a failure is to be ignored.
    pub ignore_errors: bool,
    /// When it began.
    pub started: Instant,
    /// The host that runs it instead, once that is known.
    pub delegated: RefCell<Option<String>>,
    /// `throttle`: on so many hosts at once.
    pub throttle: Option<u32>,
    /// Whether it has places of those that `throttle` and `--forks` leave.
    pub holds: Cell<bool>,
}

/// What came of a task or one item, before it is reported.
pub struct Done {
    /// Return values and what they mean.
    pub outcome: Outcome,
    /// How it is reported.
    pub status: Status,
    /// What follows, if the action decides it (includes, `meta`).
    pub flow: Flow,
}

impl Done {
    /// An outcome with the status that it implies.
    pub fn of(outcome: Outcome) -> Self {
        let status = match &outcome {
            o if o.unreachable => Status::Unreachable,
            o if o.failed => Status::Failed,
            o if o.skipped.is_some() => Status::Skipped,
            o if o.unknown.is_some() => Status::Unknown,
            o if o.changed => Status::Changed,
            _ => Status::Ok,
        };
        Self { outcome, status, flow: Flow::Next }
    }

    /// Left out for a reason.
    pub fn skipped(reason: &str, condition: Option<&Value>) -> Self {
        let mut result = map! { "changed" => false, "skipped" => true, "skip_reason" => reason };
        if let Some(condition) = condition {
            result.insert("false_condition".into(), condition.clone());
        }
        Self::of(Outcome { result, skipped: Some(reason.into()), ..Outcome::default() })
    }

    /// Check mode cannot know.
    pub fn unknown(reason: &str) -> Self {
        Self::of(Outcome {
            result: map! { "changed" => false },
            unknown: Some(reason.to_owned()),
            ..Outcome::default()
        })
    }

    /// Failed for a reason.
    pub fn failed(why: impl Into<String>, hint: Option<String>) -> Self {
        Self::of(failed(why, hint, Map::new()))
    }

    /// What a register gets.
    pub fn register(&self) -> Value {
        if let Some(reason) = &self.outcome.unknown {
            return Value::Unknown(reason.as_str().into());
        }
        let mut result = self.outcome.result.clone();
        result.entry("changed".into()).or_insert_with(|| self.outcome.changed.into());
        // As with Ansible, neither a result that was skipped nor that of a loop says anything of failure unless it failed.
        let silent = self.outcome.skipped.is_some()
            || result.contains_key("results") && result.contains_key("skipped");
        if !silent || self.outcome.failed {
            result.insert("failed".into(), self.outcome.failed.into());
        }
        if self.outcome.unreachable {
            result.insert("unreachable".into(), true.into());
        }
        for stream in ["stdout", "stderr"] {
            if let Some(text) = result.get(stream).and_then(Value::as_str) {
                let lines = Value::list(text.lines());
                result.entry(format!("{stream}_lines").into()).or_insert(lines);
            }
        }
        Value::from(result)
    }
}

impl From<String> for Box<Done> {
    fn from(why: String) -> Self {
        Box::new(Done::failed(why, None))
    }
}

impl Running<'_> {
    /// Runs a task and reports it.
    pub fn task(&self, task: &Task, context: &Rc<Context>) -> Flow {
        if self.on.link.is_lost() || self.on.link.stop_reason().is_some() {
            return Flow::Stop;
        }
        if let Some(flow) = self.repeated(task) {
            return flow;
        }
        let lockstep = self.play.borrow().play.lockstep && !self.repeats();
        if lockstep {
            match self.pass(task.id) {
                Ok(Answer::Fail) => return self.passed_over(task, Flow::Failed),
                Ok(_) => {}
                Err(_) => return Flow::Stop,
            }
        }
        self.take_magic();
        for (facts, set) in self.on.link.given() {
            let mut state = self.on.state.borrow_mut();
            match set {
                true => facts.into_iter().for_each(|(name, value)| state.set(&name, value)),
                false => state.returned(facts),
            }
        }
        self.begin(task, context);
        let mut mended = Mended::default();
        loop {
            match self.perform(task, &mended, context) {
                Ok(again) => mended = again,
                Err(flow) => return flow,
            }
        }
    }

    /// Runs a task as it was written, or as the user has mended it in the debugger, to be run again; or what follows it.
    fn perform(&self, written: &Task, mended: &Mended, context: &Rc<Context>) -> Result<Mended, Flow> {
        let task = mended.task.as_deref().unwrap_or(written);
        let scope = mended.scope(self.scope(context, task));
        let shown = if task.name.is_empty() { &task.action } else { &task.name };
        let mut doing = Doing {
            name: self.label(shown, &scope),
            no_log: false,
            ignore_errors: false,
            task,
            context,
            keywords: merge(&context.keywords, &task.keywords),
            started: Instant::now(),
            delegated: RefCell::default(),
            throttle: None,
            holds: Cell::default(),
        };
        self.on.link.begin(task.id, &doing.name);
        if let Err(why) = self.flags(&mut doing, &scope) {
            return Err(self.finish(&doing, Done::failed(why, None), &scope));
        }
        if let Some(lost) = self.lost_before(task)? {
            return Err(self.finish(&doing, lost, &scope));
        }
        if !mended.again {
            match self.step(&doing) {
                Ok(true) => {}
                Ok(false) => return Err(self.passed_over(task, Flow::Next)),
                Err(flow) => return Err(flow),
            }
            match self.once(&doing, &scope) {
                Ok(true) => {}
                Ok(false) => return Err(self.passed_over(task, Flow::Next)),
                Err(Flow::Stop) => return Err(Flow::Stop),
                Err(flow) => return Err(self.passed_over(task, flow)),
            }
        }
        // Other hosts and the user took their time; that is not the task's.
        doing.started = Instant::now();
        let done = match &task.looping {
            None => self.attempts(&doing, &scope),
            Some(looping) => self.looped(&doing, looping, &scope),
        };
        match self.debugged(&doing, &done, mended, written, &scope) {
            Choice::GoOn => Err(self.finish(&doing, done, &scope)),
            Choice::Again(again) => {
                self.on.link.finish();
                self.make_room(&doing);
                Ok(again)
            }
            Choice::Quit => {
                self.finish(&doing, done, &scope);
                Err(Flow::Stop)
            }
        }
    }

    /// What comes of a task in which the connection of another agent was lost.
    fn lost_before(&self, task: &Task) -> Result<Option<Done>, Flow> {
        if !self.progress.borrow_mut().lost_in(task.id) {
            return Ok(None);
        }
        self.on.link.mute(false);
        self.on.link.request(Request::Back).map_err(|_| Flow::Stop)?;
        let why = "the connection was lost while it ran; what it had begun has ended on the host by itself";
        let outcome = self.absent().unwrap_or_else(|| unreachable(why.to_owned(), None));
        Ok(Some(Done::of(outcome)))
    }

    /// Before the host is needed: if the connection is lost from here on, and the task ignores that, the play goes on.
    pub fn keep(&self, doing: &Doing, scope: &Scope) {
        let keyword = &doing.keywords.ignore_unreachable;
        if keyword.is_none() || self.play.borrow().host.local || !self.forbears(doing, scope) {
            return;
        }
        // What cannot be encoded is not kept: the connection is then needed as ever.
        if let Ok(Some(request)) = self.progress.borrow_mut().keep(doing.task.id) {
            drop(self.on.link.ask(request));
        }
    }

    /// `ignore_unreachable`.
    fn forbears(&self, doing: &Doing, scope: &Scope) -> bool {
        let flag = self.flag(&doing.keywords.ignore_unreachable, "ignore_unreachable", scope);
        flag.ok().flatten().unwrap_or(false)
    }

    /// Tells everybody who resolves paths and caches that a new task begins.
    fn begin(&self, task: &Task, context: &Context) {
        let role = task.role.or(context.role);
        let role_path = self.play.borrow().role(role).map(|role| role.path.clone());
        let origin = Origin { role, role_path, task_dir: context.task_dir.clone() };
        let behind = self.barrier(task.id).filter(|_| !self.repeats());
        self.on.services.begin(origin.clone(), behind);
        *self.on.remote.origin.borrow_mut() = origin;
    }

    fn flags(&self, doing: &mut Doing, scope: &Scope) -> Result<(), String> {
        doing.no_log = self.flag(&doing.keywords.no_log, "no_log", scope)?.unwrap_or(false);
        // A condition on a register of an unknown task may hide behind it; then an error is an error.
        doing.ignore_errors =
            self.flag(&doing.keywords.ignore_errors, "ignore_errors", scope).ok().flatten().unwrap_or(false);
        let throttle = self.number(&doing.keywords.throttle, "throttle", scope)?;
        // 0 is no limit.
        doing.throttle = throttle.map(|places| places as u32).filter(|places| *places > 0);
        Ok(())
    }

    /// A boolean keyword, rendered.
    ///
    /// # Errors
    /// It cannot be rendered, or is no boolean.
    pub fn flag(&self, value: &Option<Value>, keyword: &str, scope: &Scope) -> Result<Option<bool>, String> {
        let Some(value) = value else { return Ok(None) };
        let value = self.on.engine.render_value(value, scope).map_err(|e| format!("`{keyword}`: {e}"))?;
        if matches!(value, Value::Null | Value::Omit) {
            return Ok(None);
        }
        value.to_bool().map(Some).map_err(|e| format!("`{keyword}` {e}"))
    }

    /// A number keyword, rendered.
    ///
    /// # Errors
    /// It cannot be rendered, or is no number.
    pub fn number(&self, value: &Option<Value>, keyword: &str, scope: &Scope) -> Result<Option<f64>, String> {
        let Some(value) = value else { return Ok(None) };
        let value = self.on.engine.render_value(value, scope).map_err(|e| format!("`{keyword}`: {e}"))?;
        if matches!(value, Value::Null | Value::Omit) {
            return Ok(None);
        }
        value.to_float().map(Some).map_err(|e| format!("`{keyword}` {e}"))
    }

    /// `--step`: whether the task is to run. What Ansible uses internally is not asked about.
    fn step(&self, doing: &Doing) -> Result<bool, Flow> {
        if !self.play.borrow().host.options.step || self.repeats() || doing.task.action == "meta" {
            return Ok(true);
        }
        let request = Request::Step { task: doing.task.id, name: doing.name.clone() };
        match self.on.link.request(request) {
            Ok(answer) => Ok(answer == Answer::Run),
            Err(_) => Err(Flow::Stop),
        }
    }

    /// A task that leaves no trace: no event, no register.
    fn passed_over(&self, task: &Task, flow: Flow) -> Flow {
        self.on.link.finish();
        self.note(task.id, flow.clone(), false);
        flow
    }

    /// Whether what another agent did is being taken over.
    pub fn repeats(&self) -> bool {
        self.progress.borrow().repeats()
    }

    /// What follows a task that another agent did.
    fn repeated(&self, task: &Task) -> Option<Flow> {
        if !self.repeats() {
            return None;
        }
        if self.progress.borrow().leads_on(task) {
            return None;
        }
        if let Some(flow) = self.taken_over(task.id) {
            return Some(flow);
        }
        if self.progress.borrow().strays(task) {
            self.on.link.mute(false);
            self.report_alone(task, "the play took another way than before the connection was given up");
            return Some(Flow::Stop);
        }
        None
    }

    /// Remembers, notifies and reports; says what follows.
    fn finish(&self, doing: &Doing, mut done: Done, scope: &Scope) -> Flow {
        self.on.link.finish();
        self.make_room(doing);
        if let Some(request) = self.progress.borrow_mut().let_go() {
            drop(self.on.link.ask(request));
        }
        let task = doing.task;
        if self.repeats()
            && let Some(flow) = self.taken_over(task.id)
        {
            return flow;
        }
        if done.status == Status::Changed && !task.notify.is_empty() {
            let rendered: Result<Vec<Value>, _> =
                task.notify.iter().map(|topic| self.on.engine.render_value(topic, scope)).collect();
            let notified =
                rendered.map_err(|e| format!("`notify`: {e}")).and_then(|topics| self.notify(&topics));
            if let Err(why) = notified {
                done = Done { flow: done.flow, ..Done::of(failed(why, None, done.outcome.result)) };
            }
        }
        let register = done.register();
        if doing.no_log {
            self.hide(&register);
        }
        if let Some(name) = &task.register {
            self.on.state.borrow_mut().set(name, register.clone());
            self.share(|| map! { name.as_str() => register.clone() });
        }
        if done.status == Status::Failed || done.status == Status::Unreachable {
            let unnamed = task.name.is_empty();
            let mut about = map! {
                "name" => if unnamed { "" } else { doing.name.as_str() },
                "action" => task.action.as_str(),
                "args" => Value::from(task.args.clone()),
                "register" => task.register.as_deref().map_or(Value::Null, Value::from),
                "loop" => task.looping.as_ref().map_or(Value::Null, |looping| looping.items.clone()),
            };
            if let Some(host) = &doing.keywords.delegate_to {
                about.insert("delegate_to".into(), host.clone());
            }
            *self.failure.borrow_mut() = Some((Value::from(about), register.clone()));
        }
        match done.status {
            Status::Failed if doing.ignore_errors => done.status = Status::Ignored,
            Status::Failed if doing.context.rescued => done.status = Status::Rescued,
            Status::Unreachable if self.forbears(doing, scope) => done.status = Status::Ignored,
            _ => {}
        }
        let failed = matches!(done.status, Status::Failed | Status::Rescued | Status::Unreachable);
        if self.is_once(doing, scope) {
            // An include is well even if a task in it failed, but the other hosts must not go on.
            let failed = failed || matches!(done.flow, Flow::Failed | Flow::Unreachable);
            let request = Request::RanOnce { task: task.id, result: register, failed };
            // If nobody listens any more the connection is gone, and the next task notices.
            let _ = self.on.link.request(request);
        }
        self.record(doing, &done);
        if self.check() && matches!(done.status, Status::Changed | Status::Unknown) {
            self.on.foresight.borrow_mut().any = true;
        }
        let ran = done.status != Status::Skipped;
        self.ran.set(self.ran.get() + u64::from(ran));
        // What steers the play is no task of the user's, unless it fails.
        if task.action != "meta" || failed {
            let mut result = self.report(doing, &done, None, doing.started.elapsed());
            let fatal = || self.flag(&doing.keywords.any_errors_fatal, "any_errors_fatal", scope);
            result.fatal = failed && !self.play.borrow().play.free && fatal() == Ok(Some(true));
            self.on.link.event(Event::Task(Box::new(result)));
        }
        let flow = match done.status {
            Status::Unreachable => Flow::Unreachable,
            _ if failed => Flow::Failed,
            _ => done.flow,
        };
        self.note(task.id, flow.clone(), ran);
        flow
    }
}
