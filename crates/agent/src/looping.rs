//! `loop` and `with_*`: one run of the task per item, one register for all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use debark_expr::{LayerKind, Scope, Truth};
use debark_value::{Map, Value, map};
use debark_wire::{Event, Loop, Outcome, Status};

use crate::run::{Flow, Running};
use crate::task::{Doing, Done};

/// More items than this are a mistake: their results alone would fill the host's memory.
const MOST_ITEMS: usize = 100_000;

/// One item of a loop.
pub struct Item {
    /// What is shown of it.
    pub label: String,
}

impl Running<'_> {
    /// Runs a task for each of its items.
    pub fn looped(&self, doing: &Doing, looping: &Loop, scope: &Scope) -> Done {
        let items = match self.items(&doing.task.action, looping, scope) {
            Ok(Value::List(items)) => items,
            Ok(Value::Unknown(reason)) => return Done::unknown(&reason),
            Ok(other) => {
                return Done::failed(format!("the loop wants a list, got {}", other.type_name()), None);
            }
            Err(instead) => {
                // A condition that does not hold spares a loop over what does not exist.
                let spared = doing.context.conditions(&doing.task.keywords).find_map(|condition| {
                    let holds = self.on.engine.test(&condition.value, scope);
                    matches!(holds, Ok(Truth::False))
                        .then(|| Done::skipped("Conditional result was False", Some(&condition.value)))
                });
                return spared.unwrap_or(*instead);
            }
        };
        if items.is_empty() {
            let mut done = Done::skipped("No items in the list", None);
            done.outcome.result = map! {
                "changed" => false, "skipped" => true, "skipped_reason" => "No items in the list",
                "results" => Value::from(Vec::new()),
            };
            return done;
        }
        if items.len() > MOST_ITEMS {
            return Done::failed(
                format!("the loop has {} items; more than {MOST_ITEMS} are refused", items.len()),
                None,
            );
        }
        self.each(doing, looping, &items, scope)
    }

    fn items(&self, action: &str, looping: &Loop, scope: &Scope) -> Result<Value, Box<Done>> {
        let fail = |error: debark_expr::Error| {
            Box::new(Done::failed(format!("the loop: {error}"), error.hint().map(str::to_owned)))
        };
        match &looping.lookup {
            Some(name) => self
                .on
                .engine
                .lookup_list(name, &looping.items, lookup_options(name, action), scope)
                .map_err(fail),
            None => {
                let items = self.on.engine.render_value(&looping.items, scope).map_err(fail)?;
                match &items {
                    Value::Map(_) => {
                        let hint = "use `{{ the_dict | dict2items }}` to loop over a dictionary".to_owned();
                        Err(Box::new(Done::failed("the loop wants a list, got a dictionary", Some(hint))))
                    }
                    Value::Str(text) if !text.is_empty() => {
                        let why = format!(
                            "the loop wants a list, got the text {:?}",
                            text.chars().take(40).collect::<String>()
                        );
                        Err(Box::new(Done::failed(
                            why,
                            Some("is it a variable's name without `{{ }}` around it?".into()),
                        )))
                    }
                    _ => Ok(items),
                }
            }
        }
    }

    fn each(&self, doing: &Doing, looping: &Loop, items: &[Value], scope: &Scope) -> Done {
        let pause = self.number(&looping.pause, "loop_control.pause", scope).ok().flatten().unwrap_or(0.0);
        let mut results = Vec::new();
        let mut total = Outcome::default();
        let mut flow = Flow::Next;
        let (mut ran, mut unknown, mut ignored) = (0, None, false);
        for (index, value) in items.iter().enumerate() {
            if index > 0 && pause > 0.0 {
                std::thread::sleep(Duration::from_secs_f64(pause.min(86_400.0)));
            }
            let started = Instant::now();
            let mut layer = Map::new();
            layer.insert(looping.var.as_str().into(), value.clone());
            layer.insert("ansible_loop_var".into(), looping.var.as_str().into());
            if let Some(name) = &looping.index_var {
                layer.insert(name.as_str().into(), index.into());
                layer.insert("ansible_index_var".into(), name.as_str().into());
            }
            if looping.extended {
                layer.insert("ansible_loop".into(), extended(items, index, looping.extended_allitems));
            }
            let extra = layer.clone();
            // What one item sets, the next one sees.
            let mut scope = if matches!(doing.task.action.as_str(), "set_fact" | "include_vars") {
                self.scope(doing.context, doing.task)
            } else {
                scope.clone()
            };
            scope.push(Arc::new(layer), LayerKind::Plain);
            let label = match &looping.label {
                Some(label) => self
                    .on
                    .engine
                    .render_value(label, &scope)
                    .map_or_else(|_| "item".into(), |v| v.to_string()),
                None => value.to_string(),
            };
            let item = Item { label };
            let mut done = self.attempts(doing, &scope);
            if done.status == Status::Failed && doing.ignore_errors {
                done.status = Status::Ignored;
                ignored = true;
            }
            ran += usize::from(!matches!(done.status, Status::Skipped));
            total.changed |= done.outcome.changed && !done.outcome.failed;
            total.failed |= done.outcome.failed;
            total.unreachable |= done.outcome.unreachable;
            total.hint = total.hint.or_else(|| done.outcome.hint.clone());
            if let Some(reason) = &done.outcome.unknown {
                unknown = Some(reason.clone());
            }
            let mut register = match done.register() {
                Value::Map(map) => Arc::unwrap_or_clone(map),
                other => map! { "unknown" => other },
            };
            register.extend(extra);
            results.push(Value::from(register));
            self.on.link.event(Event::Item(Box::new(self.report(
                doing,
                &done,
                Some(&item),
                started.elapsed(),
            ))));
            let broken = !looping.break_when.is_empty()
                && matches!(self.all_hold(&looping.break_when, "break_when", &scope), Ok(Truth::True));
            if done.flow != Flow::Next {
                flow = done.flow;
                break;
            }
            if broken || done.outcome.unreachable || self.on.link.is_lost() {
                break;
            }
        }
        self.sum(total, results, ran, unknown, ignored, flow)
    }

    fn sum(
        &self,
        mut total: Outcome,
        results: Vec<Value>,
        ran: usize,
        unknown: Option<String>,
        ignored: bool,
        flow: Flow,
    ) -> Done {
        let msg = match ran {
            0 => "All items skipped",
            _ if total.failed => "One or more items failed",
            _ => "All items completed",
        };
        total.result = map! { "changed" => total.changed, "msg" => msg, "skipped" => ran == 0 };
        if ran == 0 {
            total.skipped = Some("all items were left out".into());
        }
        total.result.insert("results".into(), Value::from(results));
        // What some items changed is known even where others have to wait for the run.
        total.unknown = unknown.filter(|_| !total.failed && ran > 0);
        let mut done = Done { flow, ..Done::of(total) };
        if ignored && done.status == Status::Failed {
            done.status = Status::Ignored;
        }
        done
    }
}

/// `ansible_loop` of `loop_control.extended`.
fn extended(items: &[Value], index: usize, all: bool) -> Value {
    let length = items.len();
    let mut map = map! {
        "index" => index + 1,
        "index0" => index,
        "revindex" => length - index,
        "revindex0" => length - index - 1,
        "first" => index == 0,
        "last" => index + 1 == length,
        "length" => length,
    };
    if all {
        map.insert("allitems".into(), Value::from(items.to_vec()));
    }
    if let Some(previous) = index.checked_sub(1).and_then(|i| items.get(i)) {
        map.insert("previtem".into(), previous.clone());
    }
    if let Some(next) = items.get(index + 1) {
        map.insert("nextitem".into(), next.clone());
    }
    Value::from(map)
}
/// `with_first_found` looks for files where the action has its own (ansible-core's `task_executor.py`).
fn lookup_options(lookup: &str, action: &str) -> Map {
    match (lookup, action) {
        ("first_found", "template") => map! { "_subdir" => "templates" },
        ("first_found", "include_vars") => map! { "_subdir" => "vars" },
        _ => Map::new(),
    }
}
