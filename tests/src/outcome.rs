//! How each task and item of a run went, found again in another run of the same playbook.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::Run;

/// Modules whose effect no check mode can know.
const COMMANDS: &[&str] = &["command", "shell", "raw", "script", "expect"];

/// Which task, item and time: the same in two runs of a playbook, although the tasks before it went otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Which {
    /// The host.
    pub host: String,
    /// File, line and column.
    pub place: String,
    /// The loop's item as JSON; empty outside of loops.
    pub item: String,
    /// How often it ran before: a task of an include that is looped, of a role that is used twice.
    pub nth: usize,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if !self.item.is_empty() {
            write!(f, " (item {})", self.item)?;
        }
        if self.nth > 0 {
            write!(f, " [run {}]", self.nth + 1)?;
        }
        Ok(())
    }
}

/// How it went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The task's name.
    pub task: String,
    /// The module, without its collection.
    pub action: String,
    /// `ok`, `changed`, `skipped`, `failed`, `unknown`, ...
    pub status: String,
    /// What a register would hold.
    pub result: Value,
    /// What changes, with `--diff`: a list.
    pub diff: Value,
}

impl Run {
    /// Every task's end; of a loop, its items' ends.
    pub fn outcomes(&self) -> BTreeMap<Which, Outcome> {
        let mut seen: BTreeMap<(String, String, String), usize> = BTreeMap::new();
        let mut with_items = BTreeSet::new();
        let mut found = BTreeMap::new();
        for event in &self.events {
            let kind = event["event"].as_str().unwrap_or_default();
            let of = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let run = (of("host"), event["id"].to_string());
            let item = match kind {
                "item" => {
                    with_items.insert(run);
                    event["item"].to_string()
                }
                // Its items stand for it.
                "task" if with_items.remove(&run) => continue,
                "task" => String::new(),
                _ => continue,
            };
            let nth = seen.entry((of("host"), of("place"), item.clone())).or_default();
            let which = Which { host: of("host"), place: of("place"), item, nth: *nth };
            *nth += 1;
            let action = of("action");
            let action = action.rsplit('.').next().unwrap_or_default().to_owned();
            let (result, diff) = (event["result"].clone(), event["diff"].clone());
            let outcome = Outcome { task: of("task"), action, status: of("status"), result, diff };
            found.insert(which, outcome);
        }
        found
    }

    /// What this run in check mode said wrongly about that real one, a line each.
    ///
    /// Left out is what check mode cannot know: what commands change, what it reported as decided at run time, and
    /// tasks that only one of the two runs wanted to run (`when: not ansible_check_mode`).
    pub fn mispredicted(&self, real: &Self) -> Vec<String> {
        let (check, real) = (self.outcomes(), real.outcomes());
        // What was left out because it was a check (`when: not ansible_check_mode`) is as open as what is unknown.
        let open = check.iter().any(|(which, outcome)| {
            let left_out = || real.get(which).is_some_and(|then| then.status != "skipped");
            outcome.status == "unknown" || outcome.status == "skipped" && left_out()
        });
        let mut wrong = Vec::new();
        for (which, then) in &real {
            let Some(predicted) = check.get(which) else {
                // A handler may wait for what is open, an include's items may hang on it.
                if then.status == "changed" && !open && !COMMANDS.contains(&then.action.as_str()) {
                    wrong.push(format!("{which} {:?}: not foreseen, changed", then.task));
                }
                continue;
            };
            let either = |status: &str| predicted.status == status || then.status == status;
            let undecided = either("skipped") || either("unknown");
            if undecided || COMMANDS.contains(&then.action.as_str()) || predicted.status == then.status {
                continue;
            }
            wrong.push(format!(
                "{which} {:?}: foreseen {}, then {}",
                then.task, predicted.status, then.status
            ));
        }
        for (which, predicted) in &check {
            if predicted.status == "changed" && !real.contains_key(which) {
                wrong.push(format!("{which} {:?}: foreseen changed, then it did not run", predicted.task));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: &[&str]) -> Run {
        let event = |line: &&str| {
            let mut parts = line.split_whitespace();
            let mut next = || parts.next().unwrap_or_default().to_owned();
            let (kind, place, action, status, item) = (next(), next(), next(), next(), next());
            serde_json::json!({
                "event": kind, "host": "h", "id": place, "place": place, "task": place, "action": action,
                "status": status, "item": (!item.is_empty()).then_some(item),
            })
        };
        Run {
            status: std::os::unix::process::ExitStatusExt::from_raw(0),
            events: lines.iter().map(event).collect(),
            stderr: String::new(),
            noise: Vec::new(),
        }
    }

    #[test]
    fn predictions_are_compared_task_by_task_and_item_by_item() {
        let check = run(&[
            "item s:1 copy changed a",
            "item s:1 copy ok b",
            "task s:1 copy changed",
            "task s:2 copy ok",
            "task s:2 copy changed",
        ]);
        let real = run(&[
            "item s:1 copy ok a",
            "item s:1 copy ok b",
            "task s:1 copy ok",
            "task s:2 copy ok",
            "task s:2 copy ok",
        ]);
        assert_eq!(
            check.mispredicted(&real),
            [
                "s:1 (item \"a\") \"s:1\": foreseen changed, then ok",
                "s:2 [run 2] \"s:2\": foreseen changed, then ok"
            ]
        );
        assert!(check.mispredicted(&check).is_empty());
    }

    #[test]
    fn what_check_mode_cannot_know_is_left_out() {
        let check = run(&["task s:1 shell ok", "task s:2 copy unknown", "task s:3 copy skipped"]);
        let real = run(&["task s:1 shell changed", "task s:2 copy changed", "task s:3 copy changed"]);
        assert!(check.mispredicted(&real).is_empty());
    }

    #[test]
    fn tasks_of_one_run_only_are_told() {
        let (none, one) = (run(&[]), run(&["task s:1 copy changed"]));
        assert_eq!(none.mispredicted(&one), ["s:1 \"s:1\": not foreseen, changed"]);
        assert_eq!(one.mispredicted(&none), ["s:1 \"s:1\": foreseen changed, then it did not run"]);
    }
}
