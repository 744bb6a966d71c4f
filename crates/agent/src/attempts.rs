//! The conditions of a task, its tries, and what it comes to by `changed_when` and `failed_when`.

use std::sync::Arc;
use std::time::Duration;

use debark_expr::{LayerKind, Scope, Truth};
use debark_value::{Map, Value};
use debark_wire::Event;

use crate::invoke::failed;
use crate::run::{Flow, Running};
use crate::task::{Doing, Done};

impl Running<'_> {
    /// Whether all conditions hold: `None` if so, else what is reported instead of running.
    pub fn conditions(&self, doing: &Doing, scope: &Scope) -> Option<Done> {
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
        if !task.changed_when.is_empty() {
            match self.all_hold(&task.changed_when, "changed_when", after) {
                Ok(Truth::Unknown(_)) => {}
                Ok(truth) => done.outcome.changed = truth == Truth::True,
                // It may lack what a failure does not return; then the failure is what counts.
                Err(_) if done.outcome.failed => {}
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
}
