//! Lines for people: what changed, what failed and why, and a recap. What is as declared stays silent unless asked.

use std::collections::HashSet;
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use debark_controller::{Monitor, Note, Recap};
use debark_value::Value;
use debark_wire::{Event, Status, TaskResult};

use super::{Options, diff, json};

/// Prints lines as things happen.
pub struct Plain {
    verbosity: u8,
    check: bool,
    started: Instant,
    /// The task whose heading was printed last.
    heading: String,
    /// Loops of which items were printed, by host and task: their sum says nothing new.
    loops: HashSet<(String, u32)>,
}

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

fn style(status: Status) -> Style {
    let colour = match status {
        Status::Ok => AnsiColor::Green,
        Status::Changed => AnsiColor::Yellow,
        Status::Skipped => AnsiColor::Cyan,
        Status::Unknown | Status::Ignored | Status::Rescued => AnsiColor::Magenta,
        Status::Failed | Status::Unreachable => AnsiColor::Red,
    };
    colour.on_default()
}

impl Plain {
    /// A printer.
    pub fn new(options: &Options) -> Self {
        Self {
            verbosity: options.verbosity,
            check: options.check,
            started: Instant::now(),
            heading: String::new(),
            loops: HashSet::new(),
        }
    }

    fn wants(&self, result: &TaskResult) -> bool {
        match result.status {
            Status::Ok => self.verbosity > 0 || says_something(result),
            Status::Skipped => self.verbosity > 0,
            _ => true,
        }
    }

    fn task(&mut self, host: &str, result: &TaskResult) {
        if !self.wants(result) || result.action == "meta" {
            return;
        }
        let heading = format!("{} {}", result.place, result.name);
        if self.heading != heading {
            let kind = if result.handler { "HANDLER" } else { "TASK" };
            anstream::println!("\n{BOLD}{kind}{BOLD:#} {} {DIM}{}{DIM:#}", result.name, result.place);
            self.heading = heading;
        }
        let colour = style(result.status);
        let would = if self.check && result.status == Status::Changed {
            "would change"
        } else {
            json::word(result.status)
        };
        let item = result.item.as_ref().map(|item| format!(" {DIM}[{item}]{DIM:#}")).unwrap_or_default();
        let message = result.message.as_ref().map(|text| indented(text)).unwrap_or_default();
        anstream::println!("  {colour}{would}{colour:#} {host}{item}{message}");
        if let Some(hint) = &result.hint {
            anstream::println!("    hint: {hint}");
        }
        if matches!(result.status, Status::Failed | Status::Rescued | Status::Ignored) {
            failure(&result.result);
        }
        for change in &result.diff {
            anstream::print!("{}", diff::unified(change));
        }
        if self.verbosity > 1 && !result.result.is_null() {
            anstream::println!("    {DIM}{}{DIM:#}", debark_value::to_json_string(&result.result));
        }
    }

    fn event(&mut self, host: &str, event: &Event) {
        match event {
            Event::Task(result) => {
                if !self.loops.remove(&(host.to_owned(), result.task)) {
                    self.task(host, result);
                }
            }
            Event::Item(result) => {
                self.loops.insert((host.to_owned(), result.task));
                self.task(host, result);
            }
            Event::Retry { name, left, .. } => {
                anstream::println!("  {DIM}retry{DIM:#} {host}: {name} ({left} tries left)")
            }
            Event::Resumed { handlers } => {
                anstream::println!(
                    "  {host}: handlers that an earlier run left are run now: {}",
                    handlers.join(", ")
                );
            }
            Event::Warning(text) => warning(&format!("{host}: {text}")),
            Event::Stats { .. }
            | Event::Started { .. }
            | Event::Notified { .. }
            | Event::Vars(_)
            | Event::Included { .. } => {}
        }
    }

    fn recap(&self, recap: &Recap) {
        anstream::println!("\n{BOLD}RECAP{BOLD:#} {DIM}{:.2} s{DIM:#}", self.started.elapsed().as_secs_f64());
        let width = recap.hosts.keys().map(|host| host.chars().count()).max().unwrap_or(0);
        for (host, counts) in &recap.hosts {
            let mut cells = Vec::new();
            let changed = if self.check { "would change" } else { "changed" };
            for (word, count, status) in [
                ("ok", counts.ok, Status::Ok),
                (changed, counts.changed, Status::Changed),
                ("failed", counts.failed, Status::Failed),
                ("unreachable", counts.unreachable, Status::Unreachable),
                ("skipped", counts.skipped, Status::Skipped),
                ("rescued", counts.rescued, Status::Rescued),
                ("ignored", counts.ignored, Status::Ignored),
                ("decided at run time", counts.unknown, Status::Unknown),
            ] {
                let always = matches!(word, "ok" | "changed" | "would change" | "failed");
                if count > 0 {
                    let colour = style(status);
                    cells.push(format!("{colour}{word} {count}{colour:#}"));
                } else if always {
                    cells.push(format!("{DIM}{word} 0{DIM:#}"));
                }
            }
            anstream::println!("  {host:width$}  {}", cells.join("  "));
        }
        for (host, handlers) in &recap.pending {
            anstream::println!(
                "  {host}: notified and not run, kept for the next run: {}",
                handlers.join(", ")
            );
        }
        for (host, task) in &recap.left_running {
            anstream::println!(
                "  {host}: was lost during '{task}', which ends on the host by itself; the next run waits for it"
            );
        }
        let slow: Vec<_> =
            recap.slowest.iter().filter(|slow| slow.took.as_millis() >= 1000 || self.verbosity > 0).collect();
        if !slow.is_empty() {
            anstream::println!("  {DIM}slowest:{DIM:#}");
            for slow in slow {
                anstream::println!(
                    "    {DIM}{:>7.2} s{DIM:#}  {} {DIM}{} {}{DIM:#}",
                    slow.took.as_secs_f64(),
                    slow.name,
                    slow.host,
                    slow.place
                );
            }
        }
    }
}

/// Actions whose whole point is what they say.
fn says_something(result: &TaskResult) -> bool {
    result.action == "debug" || result.action == "pause"
}

/// A message behind a host's name: on the same line, or below if it has several.
fn indented(text: &str) -> String {
    if text.contains('\n') {
        format!(":\n{}", text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"))
    } else {
        format!(": {text}")
    }
}

/// What a failed command printed.
fn failure(result: &Value) {
    for stream in ["stdout", "stderr"] {
        let Some(text) = result.get(stream).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
        else {
            continue;
        };
        let lines: Vec<&str> = text.lines().collect();
        let hidden = lines.len().saturating_sub(20);
        anstream::println!("    {DIM}{stream}:{DIM:#}");
        if hidden > 0 {
            anstream::println!("      {DIM}({hidden} lines more){DIM:#}");
        }
        lines.iter().skip(hidden).for_each(|line| anstream::println!("      {line}"));
    }
}

fn warning(text: &str) {
    let colour = AnsiColor::Yellow.on_default();
    anstream::println!("{colour}warning{colour:#}: {text}");
}

impl Monitor for Plain {
    fn note(&mut self, note: &Note<'_>) {
        match note {
            Note::Play { name, hosts, .. } => {
                self.heading.clear();
                let hosts =
                    if hosts.len() == 1 { "1 host".to_owned() } else { format!("{} hosts", hosts.len()) };
                anstream::println!("\n{BOLD}PLAY{BOLD:#} {name} {DIM}{hosts}{DIM:#}");
            }
            Note::Batch { number, of, hosts } if *of > 1 => {
                anstream::println!("\n{DIM}batch {number} of {of}: {}{DIM:#}", hosts.join(", "));
            }
            Note::Uploading { host, .. } if self.verbosity > 0 => {
                anstream::println!("  {DIM}{host}: sending the agent{DIM:#}")
            }
            Note::Event { host, event } => self.event(host, event),
            Note::Unreachable { host, problem, during } => {
                let colour = style(Status::Unreachable);
                let during = during.map(|task| format!(" (during '{task}')")).unwrap_or_default();
                anstream::println!("\n{colour}unreachable{colour:#} {host}{during}: {}", problem.message);
                if let Some(hint) = &problem.hint {
                    anstream::println!("    hint: {hint}");
                }
            }
            Note::Warning(text) => warning(text),
            Note::Stopping(reason) => anstream::println!("\n{BOLD}stopping{BOLD:#}: {reason}"),
            Note::Recap(recap) => self.recap(recap),
            _ => {}
        }
    }
}
