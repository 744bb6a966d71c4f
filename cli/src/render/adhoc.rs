//! What `debark exec` and `debark facts` print: answers of hosts in the manner of Ansible's ad hoc commands, and facts as
//! one JSON object. What is about the run rather than from a host goes to standard error.

use std::collections::BTreeMap;

use anstyle::AnsiColor;
use debark_connect::Problem;
use debark_controller::{Monitor, Note};
use debark_value::{Value, to_json};
use debark_wire::{Event, Status, TaskResult};

use super::diff;
use crate::common::Common;

/// One answer per host.
pub struct Adhoc {
    check: bool,
    /// Whether some host has said that it failed: then nobody needs to be told why nothing follows.
    failed: bool,
}

impl Adhoc {
    /// A printer.
    pub fn new(common: &Common) -> Self {
        Self { check: common.check, failed: false }
    }
}

/// Modules whose answer is what a command printed.
const COMMANDS: [&str; 4] = ["command", "shell", "script", "raw"];

fn heading(host: &str, result: &TaskResult, check: bool) -> String {
    let (word, colour) = match result.status {
        Status::Ok => ("SUCCESS", AnsiColor::Green),
        Status::Changed if check => ("WOULD CHANGE", AnsiColor::Yellow),
        Status::Changed => ("CHANGED", AnsiColor::Yellow),
        Status::Skipped => ("SKIPPED", AnsiColor::Cyan),
        Status::Unknown => ("UNKNOWN", AnsiColor::Magenta),
        Status::Failed | Status::Ignored | Status::Rescued => ("FAILED", AnsiColor::Red),
        Status::Unreachable => ("UNREACHABLE", AnsiColor::Red),
    };
    let colour = colour.on_default();
    format!("{host} | {colour}{word}{colour:#}")
}

/// An answer; ends with a newline.
fn answer(host: &str, result: &TaskResult, check: bool) -> String {
    let heading = heading(host, result, check);
    let code = result.result.get("rc").filter(|_| COMMANDS.contains(&result.action.as_str()));
    if let Some(code) = code {
        let mut out = format!("{heading} | rc={code} >>\n");
        for key in ["stdout", "stderr"] {
            let text = result.result.get(key).and_then(Value::as_str).unwrap_or_default();
            if !text.is_empty() {
                out += text.trim_end_matches('\n');
                out.push('\n');
            }
        }
        // A command that was not found has printed nothing; the message says why it failed.
        if let Some(message) = result.message.as_ref().filter(|_| result.status == Status::Failed) {
            out += message;
            out.push('\n');
        }
        return out;
    }
    let message = result.message.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
    match &result.result {
        Value::Map(_) if !matches!(result.status, Status::Skipped | Status::Unknown) => {
            format!("{heading} => {}\n", indented(&to_json(&result.result)))
        }
        _ => format!("{heading}{message}\n"),
    }
}

/// JSON with four blanks per level, as Ansible prints it.
fn indented(value: &serde_json::Value) -> String {
    let two = format!("{value:#}");
    let four = |line: &str| {
        let text = line.trim_start_matches(' ');
        " ".repeat((line.len() - text.len()) * 2) + text
    };
    two.lines().map(four).collect::<Vec<_>>().join("\n")
}

fn warning(text: &str) {
    let colour = AnsiColor::Yellow.on_default();
    anstream::eprintln!("{colour}warning{colour:#}: {text}");
}

/// What both printers tell of a run; an unreachable host is for each to tell.
fn of_run(note: &Note<'_>) {
    match note {
        Note::Warning(text) => warning(text),
        Note::Event { host, event: Event::Warning(text) } => warning(&format!("{host}: {text}")),
        Note::Recap(recap) => {
            for (host, task) in &recap.left_running {
                warning(&format!("{host} was lost during '{task}', which ends on the host by itself"));
            }
        }
        _ => {}
    }
}

fn unreachable(host: &str, problem: &Problem) -> String {
    let colour = AnsiColor::Red.on_default();
    let hint = problem.hint.as_ref().map(|hint| format!("    hint: {hint}\n")).unwrap_or_default();
    format!("{host} | {colour}UNREACHABLE{colour:#}: {}\n{hint}", problem.message)
}

impl Monitor for Adhoc {
    fn note(&mut self, note: &Note<'_>) {
        match note {
            Note::Event { host, event: Event::Task(result) } if result.action != "meta" => {
                self.failed |= result.status == Status::Failed;
                anstream::print!("{}", answer(host, result, self.check));
                if let Some(hint) = &result.hint {
                    anstream::println!("    hint: {hint}");
                }
                result.diff.iter().for_each(|change| anstream::print!("{}", diff::unified(change)));
            }
            Note::Unreachable { host, problem, .. } => {
                self.failed = true;
                anstream::print!("{}", unreachable(host, problem));
            }
            Note::Stopping(reason) if !self.failed => anstream::eprintln!("stopping: {reason}"),
            other => of_run(other),
        }
    }
}

/// Facts of all hosts, printed at the end.
#[derive(Default)]
pub struct Facts {
    hosts: BTreeMap<String, serde_json::Value>,
}

impl Monitor for Facts {
    fn note(&mut self, note: &Note<'_>) {
        match note {
            Note::Event { host, event: Event::Task(result) } if result.action == "setup" => {
                match result.result.get("ansible_facts") {
                    Some(facts) => {
                        self.hosts.insert((*host).to_owned(), to_json(facts));
                    }
                    None => anstream::eprint!("{}", answer(host, result, false)),
                }
            }
            Note::Unreachable { host, problem, .. } => anstream::eprint!("{}", unreachable(host, problem)),
            Note::Recap(_) => {
                of_run(note);
                let all: serde_json::Map<_, _> = std::mem::take(&mut self.hosts).into_iter().collect();
                anstream::println!("{:#}", serde_json::Value::from(all));
            }
            other => of_run(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use debark_value::map;

    use super::*;

    fn result(action: &str, status: Status, result: Value) -> TaskResult {
        TaskResult {
            task: 0,
            name: String::new(),
            action: action.into(),
            place: String::new(),
            item: None,
            status,
            message: None,
            hint: None,
            diff: Vec::new(),
            result,
            elapsed_us: 0,
            handler: false,
            delegated: None,
            no_log: false,
            fatal: false,
        }
    }

    fn shown(result: &TaskResult) -> String {
        anstream::adapter::strip_str(&answer("h1", result, false)).to_string()
    }

    #[test]
    fn commands_show_their_output() {
        let mut said = result("shell", Status::Changed, Value::from(map! { "rc" => 0, "stdout" => "a\nb" }));
        assert_eq!(shown(&said), "h1 | CHANGED | rc=0 >>\na\nb\n");
        said.status = Status::Failed;
        said.result = Value::from(map! { "rc" => 3, "stdout" => "", "stderr" => "no\n" });
        said.message = Some("non-zero return code".into());
        assert_eq!(shown(&said), "h1 | FAILED | rc=3 >>\nno\nnon-zero return code\n");
    }

    #[test]
    fn modules_show_what_they_return() {
        let pong = result("ping", Status::Ok, Value::from(map! { "changed" => false, "ping" => "pong" }));
        let expected = "h1 | SUCCESS => {\n    \"changed\": false,\n    \"ping\": \"pong\"\n}\n";
        assert_eq!(shown(&pong), expected);
    }
}
