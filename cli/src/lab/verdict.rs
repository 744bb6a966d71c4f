//! What the second run of `debark lab test` says: it must have changed nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitStatus;

use debark_wire::FileDiff;
use serde_json::Value;

use crate::render::unified;

/// A run's events, as far as they matter.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many tasks changed something, by host: from the recap.
    changed: BTreeMap<String, u64>,
    findings: Vec<Finding>,
    recap: bool,
}

/// A task that should not have ended so.
#[derive(Debug)]
struct Finding {
    /// What happened to which task of which host, on one line.
    line: String,
    diffs: Vec<FileDiff>,
}

impl Verdict {
    /// Reads the events of a run.
    pub fn of(events: impl Iterator<Item = Value>) -> Self {
        let mut verdict = Self::default();
        // A loop is told item by item, and once more as a whole.
        let mut loops = BTreeSet::new();
        for event in events {
            let loop_of = (event["host"].to_string(), event["id"].to_string());
            match event["event"].as_str() {
                Some("recap") => {
                    verdict.recap = true;
                    for (host, counts) in event["hosts"].as_object().into_iter().flatten() {
                        verdict.changed.insert(host.clone(), counts["changed"].as_u64().unwrap_or(u64::MAX));
                    }
                    continue;
                }
                Some("item") => {
                    loops.insert(loop_of);
                }
                Some("task") if loops.remove(&loop_of) => continue,
                Some("task" | "unreachable") => {}
                _ => continue,
            }
            verdict.findings.extend(Finding::of(&event));
        }
        verdict
    }

    /// Whether it changed nothing. A run that told of no host at all is not one that changed nothing.
    pub fn is_idle(&self) -> bool {
        self.recap && !self.changed.is_empty() && self.changed.values().all(|count| *count == 0)
    }

    /// What was found, for people.
    pub fn report(&self, status: ExitStatus) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        if !self.recap {
            let _ = writeln!(out, "the run ended without a recap ({status})");
        }
        for finding in &self.findings {
            let _ = writeln!(out, "  {}", finding.line);
            finding.diffs.iter().for_each(|change| out.push_str(&unified(change)));
        }
        out
    }
}

impl Finding {
    fn of(event: &Value) -> Option<Self> {
        let word = |name: &str| event[name].as_str().filter(|word| !word.is_empty());
        let host = word("host").unwrap_or("?");
        let what = match word("status") {
            Some("changed") => "changed again on",
            Some("failed") => "failed the second time on",
            None if event["event"] == "unreachable" => "unreachable:",
            _ => return None,
        };
        let mut line = format!("{what} {host}");
        let task = word("task").map(|task| format!(": {task}"));
        let item = word("item").map(|item| format!(" [{item}]"));
        let place = word("place").map(|place| format!(" ({place})"));
        // What a change says of itself is of no interest; why something failed is.
        let message = word("message").filter(|_| event["status"] != "changed");
        let message = message.map(|message| format!(": {message}"));
        [task, item, place, message].into_iter().flatten().for_each(|part| line.push_str(&part));
        let text = |diff: &Value, name: &str| diff[name].as_str().unwrap_or_default().to_owned();
        let diffs = event["diff"].as_array().into_iter().flatten().map(|diff| FileDiff {
            before_header: text(diff, "before_header"),
            before: text(diff, "before"),
            after_header: text(diff, "after_header"),
            after: text(diff, "after"),
        });
        Some(Self { line, diffs: diffs.collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn verdict(lines: &[&str]) -> Verdict {
        Verdict::of(lines.iter().filter_map(|line| serde_json::from_str(line).ok()))
    }

    fn report(lines: &[&str]) -> String {
        let report = verdict(lines).report(ExitStatus::from_raw(0));
        anstream::adapter::strip_str(&report).to_string()
    }

    #[test]
    fn a_run_that_changes_nothing_passes() {
        let recap = r#"{"event":"recap","hosts":{"h1":{"ok":3,"changed":0,"failed":0,"unreachable":0}}}"#;
        assert!(verdict(&["not json", recap]).is_idle());
        assert_eq!(report(&[recap]), "");
    }

    #[test]
    fn changes_and_failures_are_named_with_their_places() {
        let changed = r#"{"event":"task","host":"h1","id":1,"task":"Install","place":"a.yml:3","status":"changed",
            "diff":[{"before_header":"/x","before":"a\n","after_header":"/x","after":"b\n"}]}"#;
        let fine = r#"{"event":"task","host":"h2","id":1,"task":"Install","place":"a.yml:3","status":"ok"}"#;
        let failed = r#"{"event":"task","host":"h2","id":2,"task":"mkdir","place":"a.yml:5","status":"failed","message":"exists"}"#;
        let recap = r#"{"event":"recap","hosts":{"h1":{"changed":1},"h2":{"changed":0}}}"#;
        assert!(!verdict(&[changed, recap]).is_idle());
        assert_eq!(
            report(&[changed, fine, failed, recap]),
            "  changed again on h1: Install (a.yml:3)\n--- before: /x\n+++ after: /x\n-a\n+b\n  failed the second time on \
             h2: mkdir (a.yml:5): exists\n"
        );
    }

    #[test]
    fn items_are_named_once() {
        let item =
            r#"{"event":"item","host":"h1","id":4,"task":"t","item":"a","place":"p:1","status":"changed"}"#;
        let task =
            r#"{"event":"task","host":"h1","id":4,"task":"t","item":null,"place":"p:1","status":"changed"}"#;
        let recap = r#"{"event":"recap","hosts":{"h1":{"changed":1}}}"#;
        assert_eq!(report(&[item, task, recap]), "  changed again on h1: t [a] (p:1)\n");
    }

    #[test]
    fn silence_does_not_pass() {
        assert!(!verdict(&[]).is_idle());
        assert!(report(&[]).contains("without a recap"));
        assert!(!verdict(&[r#"{"event":"recap","hosts":{}}"#]).is_idle());
        assert!(!verdict(&[r#"{"event":"recap","hosts":{"h1":{}}}"#]).is_idle());
    }
}
