//! One `debark run --json`, with its events.

use std::collections::BTreeSet;
use std::process::{Command, ExitStatus, Output};

use serde_json::Value;

/// What a run printed.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// Its events in order.
    pub events: Vec<Value>,
    /// What it wrote beside them.
    pub stderr: String,
    /// Lines of its standard output that are no JSON: there must be none.
    pub noise: Vec<String>,
}

/// How one task went on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEvent {
    /// The host.
    pub host: String,
    /// The task's name.
    pub task: String,
    /// `ok`, `changed`, `skipped`, `failed`, `unknown`, ...
    pub status: String,
}

impl Run {
    /// Runs it, with `--json` added.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> Self {
        Self::read(command.arg("--json").output().unwrap_or_else(|err| panic!("{command:?}: {err}")))
    }

    /// What a run with `--json` printed.
    pub fn read(output: Output) -> Self {
        let mut events = Vec::new();
        let mut noise = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            match serde_json::from_str(line) {
                Ok(event) => events.push(event),
                Err(_) => noise.push(line.to_owned()),
            }
        }
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { status: output.status, events, stderr, noise }
    }

    /// The tasks' ends, without the single items of loops.
    pub fn tasks(&self) -> Vec<TaskEvent> {
        let of = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let ends = self.events.iter().filter(|event| event["event"] == "task");
        ends.map(|event| {
            let status = match of(event, "status") {
                status if !status.is_empty() => status,
                _ if event["changed"] == true => "changed".to_owned(),
                _ => "ok".to_owned(),
            };
            TaskEvent { host: of(event, "host"), task: of(event, "task"), status }
        })
        .collect()
    }

    /// The names of the tasks that ended so on any host.
    pub fn names(&self, status: &str) -> BTreeSet<String> {
        self.tasks().into_iter().filter(|task| task.status == status).map(|task| task.task).collect()
    }

    /// One count of a host's recap: `ok`, `changed`, `failed`, ...; nothing when there is no recap of the host.
    pub fn recap(&self, host: &str, count: &str) -> Option<u64> {
        let recap = self.events.iter().rev().find(|event| event["event"] == "recap")?;
        recap["hosts"][host][count].as_u64()
    }

    /// Everything it said, to show when an assertion fails.
    pub fn said(&self) -> String {
        let mut text = format!("{}\n", self.status);
        for event in &self.events {
            let interesting = ["failed", "unreachable"];
            let status = event["status"].as_str().unwrap_or_default();
            if interesting.contains(&status) || event["event"] == "recap" || event["event"] == "warning" {
                text.push_str(&format!("{event}\n"));
            }
        }
        text + &self.noise.join("\n") + &self.stderr
    }
}
