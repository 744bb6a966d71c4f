//! What the controller and the host's journal are told of a task.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use debark_value::{Map, Value, map};
use debark_wire::{Event, FileDiff, Keywords, Status, Task, TaskResult};

use crate::context::Context;
use crate::looping::Item;
use crate::run::Running;
use crate::task::{Doing, Done};

/// The texts of a result that its user wants hidden: not names, modes and times.
fn told(value: &Value, within: bool, texts: &mut Vec<String>) {
    match value {
        Value::Map(map) => {
            let words = ["stdout", "stderr", "content", "json", "ansible_facts", "results"];
            for (key, value) in map.iter() {
                if within || words.contains(&&**key) {
                    told(value, within || **key != *"results", texts);
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| told(item, within, texts)),
        Value::Str(text) if within => {
            let long = |line: &&str| line.trim().len() >= debark_wire::HIDDEN;
            texts.extend(text.lines().filter(long).map(str::to_owned));
        }
        _ => {}
    }
}

impl Running<'_> {
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
            delegated: RefCell::default(),
            throttle: None,
            holds: Cell::default(),
        };
        let result = self.report(&doing, &Done::failed(why, None), None, Duration::ZERO);
        self.on.link.event(Event::Task(Box::new(result)));
    }

    /// Tells the controller about variables that other hosts read.
    pub fn share(&self, vars: impl FnOnce() -> Map) {
        if self.play.borrow().play.share_vars {
            self.on.link.event(Event::Vars(vars()));
        }
    }

    /// What a task with `no_log` has found or set is hidden from then on, wherever it turns up.
    pub fn hide(&self, register: &Value) {
        let mut texts = Vec::new();
        told(register, false, &mut texts);
        if !texts.is_empty() {
            self.on.hide(texts.iter());
            self.on.link.event(Event::Secrets(texts));
        }
    }

    /// The journal has what changed or failed.
    pub fn record(&self, doing: &Doing, done: &Done) {
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
                (false, true) => self.on.hidden().scrub_value(&Value::from(outcome.result.clone())),
                (false, false) => Value::Null,
            },
            elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            handler: doing.context.handler,
            delegated: doing.delegated.borrow().as_ref().map(clean),
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
