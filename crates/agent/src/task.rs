//! One task: its loop, its conditions, its tries, and what is reported and remembered of it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use debark_expr::{LayerKind, Scope, Truth};
use debark_value::{Map, Value, map};
use debark_wire::{Answer, Event, FileDiff, Keywords, Outcome, Request, Status, Task, TaskResult};

use crate::context::{Context, merge};
use crate::invoke::failed;
use crate::looping::Item;
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
    started: Instant,
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

impl Running<'_> {
    /// Runs a task and reports it.
    pub fn task(&self, task: &Task, context: &Rc<Context>) -> Flow {
        if self.on.link.is_lost() || self.on.link.stop_reason().is_some() {
            return Flow::Stop;
        }
        if let Some(flow) = self.repeated(task) {
            return flow;
        }
        let keywords = merge(&context.keywords, &task.keywords);
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
        let scope = self.scope(context, task);
        let shown = if task.name.is_empty() { &task.action } else { &task.name };
        let mut doing = Doing {
            name: self.label(shown, &scope),
            no_log: false,
            ignore_errors: false,
            task,
            context,
            keywords,
            started: Instant::now(),
        };
        self.on.link.begin(task.id, &doing.name);
        if let Err(why) = self.flags(&mut doing, &scope) {
            return self.finish(&doing, Done::failed(why, None), &scope);
        }
        match self.step(&doing) {
            Ok(true) => {}
            Ok(false) => return self.passed_over(task, Flow::Next),
            Err(flow) => return flow,
        }
        // Other hosts and the user took their time; that is not the task's.
        doing.started = Instant::now();
        match self.once(&doing, &scope) {
            Ok(true) => {}
            Ok(false) => return self.passed_over(task, Flow::Next),
            Err(Flow::Stop) => return Flow::Stop,
            Err(flow) => return self.passed_over(task, flow),
        }
        let done = match &task.looping {
            None => self.attempts(&doing, &scope),
            Some(looping) => self.looped(&doing, looping, &scope),
        };
        self.finish(&doing, done, &scope)
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
    fn repeats(&self) -> bool {
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

    /// `run_once`: whether this host runs the task. Otherwise it takes over what the host got that did.
    fn once(&self, doing: &Doing, scope: &Scope) -> Result<bool, Flow> {
        let alone = self.play.borrow().host.batch.len() <= 1;
        if alone || self.repeats() || !self.wants_once(doing, scope) {
            return Ok(true);
        }
        match self.on.link.request(Request::RunOnce { task: doing.task.id }) {
            Ok(Answer::Ran { result, failed }) => {
                if doing.task.action == "meta" {
                    let skipped = result.get("skipped").is_some();
                    let word = doing.task.args.get("free_form").and_then(Value::as_str).unwrap_or_default();
                    let flow = if skipped { None } else { crate::actions::for_all(self, word) };
                    return flow.map_or(Ok(false), Err);
                }
                if let Some(name) = &doing.task.register {
                    self.on.state.borrow_mut().set(name, result.clone());
                }
                if let Some(facts) = result.get("ansible_facts").and_then(Value::as_map) {
                    let mut state = self.on.state.borrow_mut();
                    facts.iter().for_each(|(name, value)| state.set(name, value.clone()));
                }
                if failed && !doing.ignore_errors { Err(Flow::Failed) } else { Ok(false) }
            }
            Ok(_) => Ok(true),
            Err(_) => Err(Flow::Stop),
        }
    }

    /// Whether all conditions hold: `None` if so, else what is reported instead of running.
    fn conditions(&self, doing: &Doing, scope: &Scope) -> Option<Done> {
        for condition in doing.context.conditions(&doing.task.keywords) {
            match self.on.engine.test(&condition.value, scope) {
                Ok(Truth::True) => {}
                Ok(Truth::False) => {
                    return Some(Done::skipped("Conditional result was False", Some(&condition.value)));
                }
                Ok(Truth::Unknown(reason)) => return Some(Done::unknown(&reason)),
                Err(error) => {
                    let why = format!("the condition `{}` cannot be decided: {error}", condition.value);
                    return Some(Done::failed(why, error.hint().map(str::to_owned)));
                }
            }
        }
        None
    }

    /// One item, or the task without a loop: conditions, then tries until it succeeds.
    pub fn attempts(&self, doing: &Doing, scope: &Scope) -> Done {
        if let Some(instead) = self.conditions(doing, scope) {
            return instead;
        }
        let task = doing.task;
        let retries = self.number(&task.retries, "retries", scope);
        let delay = self.number(&task.delay, "delay", scope);
        let (retries, delay) = match (retries, delay) {
            (Ok(retries), Ok(delay)) => (retries, delay.unwrap_or(5.0)),
            (Err(why), _) | (_, Err(why)) => return Done::failed(why, None),
        };
        let tries = match retries {
            Some(retries) => retries.max(0.0) as u32 + 1,
            None if task.until.is_empty() => 1,
            None => 4,
        };
        let mut attempt = 1;
        loop {
            let mut done = self.execute(doing, scope);
            self.warn(doing, &done);
            if tries > 1 {
                done.outcome.result.insert("attempts".into(), attempt.into());
            }
            let after = self.after(doing, &done, scope);
            self.judge(doing, &mut done, &after);
            let satisfied = if task.until.is_empty() {
                Ok(if done.outcome.failed { Truth::False } else { Truth::True })
            } else {
                let after = self.after(doing, &done, scope);
                self.all_hold(&task.until, "until", &after)
            };
            match satisfied {
                Ok(Truth::True) | Ok(Truth::Unknown(_)) => return done,
                Ok(Truth::False) if attempt >= tries || tries == 1 => {
                    if tries > 1 {
                        // Of tries that were all in vain ansible-core counts those after the first.
                        done.outcome.result.insert("attempts".into(), (tries - 1).into());
                    }
                    if tries > 1 && !task.until.is_empty() && !done.outcome.failed {
                        let last =
                            done.outcome.result.get("msg").map(|msg| format!(": {msg}")).unwrap_or_default();
                        let why = format!("`until` did not come true in {tries} tries{last}");
                        done = Done::of(failed(why, None, std::mem::take(&mut done.outcome.result)));
                    }
                    return done;
                }
                Ok(Truth::False) => {}
                Err(why) => return Done::failed(why, None),
            }
            if self.on.link.is_lost() || self.on.link.stop_reason().is_some() {
                return done;
            }
            attempt += 1;
            self.on.link.event(Event::Retry {
                task: task.id,
                name: doing.name.clone(),
                left: tries + 1 - attempt,
            });
            self.on.link.flush();
            std::thread::sleep(Duration::from_secs_f64(delay.clamp(0.0, 86_400.0)));
        }
    }

    /// Passes on what the module warns of.
    fn warn(&self, doing: &Doing, done: &Done) {
        let Some(Value::List(warnings)) = done.outcome.result.get("warnings").filter(|_| !doing.no_log)
        else {
            return;
        };
        for warning in warnings.iter() {
            self.on.link.event(Event::Warning(self.on.scrub(&format!("{}: {warning}", doing.name))));
        }
    }

    /// The scope with the result under its register's name, for `until`, `changed_when`, `failed_when`.
    fn after(&self, doing: &Doing, done: &Done, scope: &Scope) -> Scope {
        let mut scope = scope.clone();
        if let Some(name) = &doing.task.register {
            let mut layer = Map::new();
            layer.insert(name.as_str().into(), done.register());
            scope.push(Arc::new(layer), LayerKind::Plain);
        }
        scope
    }

    /// `changed_when` and `failed_when`.
    fn judge(&self, doing: &Doing, done: &mut Done, after: &Scope) {
        let task = doing.task;
        if done.outcome.skipped.is_some() || done.outcome.unreachable {
            return;
        }
        // The outcome of a command that check mode left out cannot be judged, except by what does not look at it.
        if !task.changed_when.is_empty() && !done.outcome.failed {
            match self.all_hold(&task.changed_when, "changed_when", after) {
                Ok(Truth::Unknown(_)) => {}
                Ok(truth) => done.outcome.changed = truth == Truth::True,
                Err(why) => return *done = Done::failed(why, None),
            }
            done.outcome.result.insert("changed".into(), done.outcome.changed.into());
        }
        if !task.failed_when.is_empty() {
            match self.all_hold(&task.failed_when, "failed_when", after) {
                Ok(Truth::True) => {
                    done.outcome.failed = true;
                    done.outcome.result.insert("failed".into(), true.into());
                    done.outcome.result.insert("failed_when_result".into(), true.into());
                    let why = "`failed_when` holds".to_owned();
                    done.outcome.result.entry("msg".into()).or_insert_with(|| why.into());
                }
                Ok(Truth::False) => {
                    done.outcome.failed = false;
                    done.outcome.result.insert("failed".into(), false.into());
                    done.outcome.result.insert("failed_when_result".into(), false.into());
                }
                Ok(Truth::Unknown(_)) => {}
                Err(why) => return *done = Done::failed(why, None),
            }
        }
        let flow = std::mem::replace(&mut done.flow, Flow::Next);
        *done = Done { flow, ..Done::of(std::mem::take(&mut done.outcome)) };
    }

    /// Whether all of some conditions hold.
    ///
    /// # Errors
    /// One cannot be decided.
    pub fn all_hold(&self, conditions: &[Value], keyword: &str, scope: &Scope) -> Result<Truth, String> {
        let mut unknown = None;
        for condition in conditions {
            match self.on.engine.test(condition, scope) {
                Ok(Truth::True) => {}
                Ok(Truth::False) => return Ok(Truth::False),
                Ok(Truth::Unknown(reason)) => unknown = Some(reason),
                Err(error) => {
                    return Err(format!(
                        "the condition `{condition}` of `{keyword}` cannot be decided: {error}"
                    ));
                }
            }
        }
        Ok(unknown.map_or(Truth::True, Truth::Unknown))
    }

    /// Remembers, notifies and reports; says what follows.
    fn finish(&self, doing: &Doing, mut done: Done, scope: &Scope) -> Flow {
        self.on.link.finish();
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
        let ignore_unreachable = || {
            self.flag(&doing.keywords.ignore_unreachable, "ignore_unreachable", scope)
                .ok()
                .flatten()
                .unwrap_or(false)
        };
        match done.status {
            Status::Failed if doing.ignore_errors => done.status = Status::Ignored,
            Status::Failed if doing.context.rescued => done.status = Status::Rescued,
            Status::Unreachable if ignore_unreachable() => done.status = Status::Ignored,
            _ => {}
        }
        let failed = matches!(done.status, Status::Failed | Status::Rescued | Status::Unreachable);
        if self.is_once(doing, scope) {
            // An include is well even if a task in it failed, but the other hosts must not go on.
            let failed = failed || done.flow == Flow::Failed;
            let request = Request::RanOnce { task: task.id, result: register, failed };
            // If nobody listens any more the connection is gone, and the next task notices.
            let _ = self.on.link.request(request);
        }
        self.record(doing, &done);
        if self.check() && matches!(done.status, Status::Changed | Status::Unknown) {
            self.predicted.set(true);
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
        let flow = if failed { Flow::Failed } else { done.flow };
        self.note(task.id, flow.clone(), ran);
        flow
    }

    /// Reports a failure outside of any task of the play.
    pub fn report_alone(&self, task: &Task, why: &str) {
        let context = Rc::new(Context::default());
        let doing = Doing {
            name: task.name.clone(),
            no_log: false,
            ignore_errors: false,
            task,
            context: &context,
            keywords: Keywords::default(),
            started: Instant::now(),
        };
        let result = self.report(&doing, &Done::failed(why, None), None, Duration::ZERO);
        self.on.link.event(Event::Task(Box::new(result)));
    }

    fn is_once(&self, doing: &Doing, scope: &Scope) -> bool {
        self.play.borrow().host.batch.len() > 1 && self.wants_once(doing, scope)
    }

    /// `run_once`, or an action that by its nature happens once for all hosts.
    fn wants_once(&self, doing: &Doing, scope: &Scope) -> bool {
        let said = || {
            let word = doing.task.args.get("free_form").and_then(Value::as_str);
            matches!(
                word,
                Some("clear_facts" | "clear_host_errors" | "end_batch" | "end_play" | "refresh_inventory")
            )
        };
        matches!(doing.task.action.as_str(), "add_host" | "pause")
            || doing.task.action == "meta" && said()
            || self.flag(&doing.keywords.run_once, "run_once", scope).ok().flatten().unwrap_or(false)
    }

    /// Tells the controller about variables that other hosts read.
    pub fn share(&self, vars: impl FnOnce() -> Map) {
        if self.play.borrow().play.share_vars {
            self.on.link.event(Event::Vars(vars()));
        }
    }

    /// The journal has what changed or failed.
    fn record(&self, doing: &Doing, done: &Done) {
        let word = match done.status {
            Status::Changed => "changed",
            Status::Failed | Status::Rescued | Status::Ignored | Status::Unreachable => "failed",
            _ => return,
        };
        if self.check() {
            return;
        }
        let play = self.play.borrow();
        let mut entry = serde_json::Map::new();
        let name = if doing.no_log { doing.task.action.clone() } else { self.on.scrub(&doing.name) };
        let facts = [
            ("host", play.host.host.clone()),
            ("play", play.play.name.clone()),
            ("task", name),
            ("action", doing.task.action.clone()),
            ("place", play.place(doing.task)),
            ("status", word.into()),
        ];
        entry.extend(facts.into_iter().map(|(key, value)| (key.to_owned(), value.into())));
        self.journal.borrow().record(entry);
    }

    /// What the controller is told of a task or an item.
    pub fn report(&self, doing: &Doing, done: &Done, item: Option<&Item>, elapsed: Duration) -> TaskResult {
        let outcome = &done.outcome;
        let play = self.play.borrow();
        let hidden = doing.no_log;
        let msg = || {
            outcome.result.get("msg").map(|msg| match msg {
                Value::Str(text) => text.to_string(),
                other => debark_value::to_json_string(other),
            })
        };
        let message = match done.status {
            Status::Skipped => outcome.skipped.clone(),
            Status::Unknown => {
                outcome.unknown.as_ref().map(|reason| format!("decided at run time: {reason}"))
            }
            Status::Ok | Status::Changed
                if !matches!(doing.task.action.as_str(), "debug" | "assert" | "pause") =>
            {
                None
            }
            _ => msg(),
        };
        let wanted = play.host.options.verbosity > 0
            || matches!(done.status, Status::Failed | Status::Ignored | Status::Rescued);
        let clean = |text: &String| self.on.scrub(text);
        let censored = || "hidden, because `no_log` was given for this task".to_owned();
        TaskResult {
            task: doing.task.id,
            name: clean(&doing.name),
            action: doing.task.action.clone(),
            place: play.place(doing.task),
            item: item.map(|item| if hidden { "(hidden)".to_owned() } else { clean(&item.label) }),
            status: done.status,
            message: if hidden { message.map(|_| censored()) } else { message.as_ref().map(clean) },
            hint: if hidden { None } else { outcome.hint.as_ref().map(clean) },
            diff: if hidden {
                Vec::new()
            } else {
                outcome.diff.iter().map(|diff| self.clean_diff(diff)).collect()
            },
            result: match (hidden, wanted) {
                (true, _) => Value::from(map! { "censored" => censored(), "changed" => outcome.changed }),
                (false, true) => self.on.secrets.borrow().scrub_value(&Value::from(outcome.result.clone())),
                (false, false) => Value::Null,
            },
            elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            handler: doing.context.handler,
            delegated: None,
            no_log: hidden,
            fatal: false,
        }
    }

    fn clean_diff(&self, diff: &FileDiff) -> FileDiff {
        let clean = |text: &String| self.on.scrub(text);
        FileDiff {
            before_header: clean(&diff.before_header),
            before: clean(&diff.before),
            after_header: clean(&diff.after_header),
            after: clean(&diff.after),
        }
    }
}
