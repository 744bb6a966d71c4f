//! What a run came to.

use std::time::Duration;

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recap {
    /// Hosts in the order in which they first took part.
    pub hosts: IndexMap<String, Counts>,
    /// The slowest tasks, slowest first.
    pub slowest: Vec<Slow>,
    /// Handlers that were notified and could not run, by host: the next run does.
    pub pending: IndexMap<String, Vec<String>>,
    /// Hosts that were lost while a task ran there, and its name: it ends by itself.
    pub left_running: IndexMap<String, String>,
}

impl Recap {
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
