//! What a run came to.

use std::time::Duration;

use debark_value::{Map, Value};
use debark_wire::{Status, TaskResult};
use indexmap::IndexMap;

/// How often what happened on a host. As in Ansible's recap, `ok` counts what changed and what was ignored as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Tasks that went well.
    pub ok: u32,
    /// Those of them that changed something.
    pub changed: u32,
    /// 1 if the host could not be reached, or was lost.
    pub unreachable: u32,
    /// Tasks that failed.
    pub failed: u32,
    /// Tasks left out.
    pub skipped: u32,
    /// Failures that a `rescue` took over.
    pub rescued: u32,
    /// Failures that were ignored.
    pub ignored: u32,
    /// Check mode only: tasks that are decided at run time.
    pub unknown: u32,
}

impl Counts {
    /// Counts a task.
    pub fn add(&mut self, status: Status) {
        match status {
            Status::Ok => self.ok += 1,
            Status::Changed => {
                self.ok += 1;
                self.changed += 1;
            }
            Status::Skipped => self.skipped += 1,
            Status::Failed => self.failed += 1,
            Status::Ignored => {
                self.ok += 1;
                self.ignored += 1;
            }
            Status::Rescued => self.rescued += 1,
            Status::Unknown => self.unknown += 1,
            Status::Unreachable => self.unreachable += 1,
        }
    }
}

/// A task that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slow {
    /// Host.
    pub host: String,
    /// Task.
    pub name: String,
    /// Place as `file:line`.
    pub place: String,
    /// How long.
    pub took: Duration,
}

/// How many of the slowest tasks are kept.
const SLOWEST: usize = 5;

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recap {
    /// Hosts in the order in which they first took part.
    pub hosts: IndexMap<String, Counts>,
    /// The slowest tasks, slowest first.
    pub slowest: Vec<Slow>,
    /// Handlers that were notified and could not run, by host: the next run does.
    pub pending: IndexMap<String, Vec<String>>,
    /// Hosts that were lost while a task ran there, and its name: it ends by itself.
    pub left_running: IndexMap<String, String>,
    /// What `set_stats` added up to: of the run (`None`) and of hosts.
    pub stats: IndexMap<Option<String>, Map>,
}

impl Recap {
    /// `set_stats`. With `aggregate` numbers are added, texts and lists joined and mappings merged with what is there, and a
    /// value of another kind than before does not count, as in Ansible (`AggregateStats.update_custom_stats`).
    pub(crate) fn stats(&mut self, host: Option<&str>, data: &Map, aggregate: bool) {
        let totals = self.stats.entry(host.map(str::to_owned)).or_default();
        for (name, new) in data {
            match totals.get_mut(name).filter(|_| aggregate) {
                Some(old) => add(old, new),
                None => drop(totals.insert(name.clone(), new.clone())),
            }
        }
    }

    /// A host did not come to the end: the task that still ran, and handlers that were notified and did not run.
    pub(crate) fn left(&mut self, host: &str, running: Option<String>, pending: Vec<String>) {
        if let Some(task) = running {
            self.left_running.insert(host.to_owned(), task);
        }
        if !pending.is_empty() {
            self.pending.insert(host.to_owned(), pending);
        }
    }

    pub(crate) fn task(&mut self, host: &str, result: &TaskResult) {
        self.hosts.entry(host.to_owned()).or_default().add(result.status);
        let took = Duration::from_micros(result.elapsed_us);
        let least = self.slowest.last().map_or(Duration::ZERO, |slow| slow.took);
        if self.slowest.len() < SLOWEST || took > least {
            let slow =
                Slow { host: host.into(), name: result.name.clone(), place: result.place.clone(), took };
            self.slowest.push(slow);
            self.slowest.sort_by_key(|slow| std::cmp::Reverse(slow.took));
            self.slowest.truncate(SLOWEST);
        }
    }
}

/// How long a text may become by being joined with others, in bytes, and a list in items.
const LONGEST: usize = 1 << 20;

fn add(old: &mut Value, new: &Value) {
    *old = match (&*old, new) {
        (Value::Int(one), Value::Int(two)) => Value::Int(one.saturating_add(*two)),
        (Value::Float(one), Value::Float(two)) => Value::Float(one + two),
        (Value::Str(one), Value::Str(two)) if one.len() + two.len() <= LONGEST => {
            format!("{one}{two}").into()
        }
        (Value::List(one), Value::List(two)) if one.len() + two.len() <= LONGEST => {
            Value::list(one.iter().chain(two.iter()).cloned().collect::<Vec<_>>())
        }
        (Value::Map(one), Value::Map(two)) => {
            let mut merged = Map::clone(one);
            merged.extend(two.iter().map(|(name, value)| (name.clone(), value.clone())));
            merged.into()
        }
        _ => return,
    };
}

#[cfg(test)]
mod tests {
    use debark_value::map;

    use super::*;

    #[test]
    fn statistics_add_up() {
        let mut recap = Recap::default();
        recap.stats(None, &map! { "n" => 1, "t" => "a", "l" => Value::list([1]), "last" => 1 }, true);
        recap.stats(None, &map! { "n" => 2, "t" => "b", "l" => Value::list([2]) }, true);
        recap.stats(None, &map! { "n" => "two", "m" => map! { "x" => 1 } }, true);
        recap.stats(None, &map! { "m" => map! { "y" => 2 } }, true);
        recap.stats(None, &map! { "last" => 2 }, false);
        recap.stats(Some("a"), &map! { "n" => 7 }, true);
        let total = map! {
            "n" => 3, "t" => "ab", "l" => Value::list([1, 2]), "last" => 2, "m" => map! { "x" => 1, "y" => 2 },
        };
        assert_eq!(recap.stats[&None], total);
        assert_eq!(recap.stats[&Some("a".to_owned())], map! { "n" => 7 });
    }
}
