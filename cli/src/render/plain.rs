//! Lines for people: what changed, what failed and why, and a recap. What is as declared stays silent unless asked.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use debark_controller::Note;
use debark_value::Value;
use debark_wire::{Event, Status, TaskResult};

use super::text::visible;
use super::{Options, diff, json, recap};

/// Makes lines of what happens, with colours. Writing to a `String` cannot fail.
pub struct Plain {
    verbosity: u8,
    check: bool,
    started: Instant,
    out: String,
    /// The task whose heading was printed last.
    heading: String,
    /// Loops of which items were printed, by host and task: their sum says nothing new.
    loops: HashSet<(String, u32)>,
}

pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const BOLD: Style = Style::new().bold();

/// The engine's reason when a user stops it.
const INTERRUPTED: &str = "interrupted";

/// The colour of a status, in all output.
pub(super) fn style(status: Status) -> Style {
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
            out: String::new(),
            heading: String::new(),
            loops: HashSet::new(),
        }
    }

    /// What was said since the last time.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    /// Takes note.
    pub fn note(&mut self, note: &Note<'_>) {
        match note {
            Note::Play { name, hosts, .. } => {
                self.heading.clear();
                let hosts = match hosts.len() {
                    0 => "no hosts".to_owned(),
                    1 => "1 host".to_owned(),
                    count => format!("{count} hosts"),
                };
                self.line(format_args!("\n{BOLD}PLAY{BOLD:#} {} {DIM}{hosts}{DIM:#}", visible(name)));
            }
            Note::Batch { number, of, hosts } if *of > 1 => {
                self.heading.clear();
                self.line(format_args!("\n{DIM}batch {number} of {of}: {}{DIM:#}", hosts.join(", ")));
            }
            Note::Uploading { host, bytes } if self.verbosity > 1 => {
                self.aside(format_args!("{host}: sending the agent ({} kB)", bytes / 1000));
            }
            Note::Connected { host } if self.verbosity > 1 => {
                let after = self.started.elapsed().as_secs_f64();
                self.aside(format_args!("{host}: connected after {after:.2} s"));
            }
            Note::HostDone { host, failed, cost } if self.verbosity > 1 => {
                let how = if *failed { "has failed" } else { "is done" };
                let (wall, cpu) = (cost.wall_us as f64 / 1e6, cost.cpu_us as f64 / 1e6);
                self.aside(format_args!(
                    "{host}: {how}, {wall:.2} s after the agent began, {cpu:.2} s of CPU"
                ));
            }
            Note::Event { host, event } => self.event(host, event),
            Note::Unreachable { host, problem, during } => {
                self.heading.clear();
                let colour = style(Status::Unreachable);
                let during = during.map(|task| format!(" (during '{task}')")).unwrap_or_default();
                self.line(format_args!(
                    "\n{colour}unreachable{colour:#} {host}{}: {}",
                    visible(&during),
                    visible(&problem.message)
                ));
                if let Some(hint) = &problem.hint {
                    self.line(format_args!("    hint: {}", visible(hint)));
                }
            }
            Note::Warning(text) => self.warning(text),
            Note::Stopping(reason) => {
                self.heading.clear();
                let more = if *reason == INTERRUPTED {
                    "; running tasks end first, and a second Ctrl-C leaves them to the hosts"
                } else {
                    ""
                };
                self.line(format_args!("\n{BOLD}stopping{BOLD:#}: {reason}{more}"));
            }
            Note::Recap(of_run) => {
                let text = recap::text(of_run, self.started.elapsed(), self.check, self.verbosity);
                self.out.push_str(&text);
            }
            _ => {}
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.out, "{line}");
    }

    /// A line about the run rather than about a task.
    fn aside(&mut self, line: std::fmt::Arguments<'_>) {
        self.line(format_args!("  {DIM}{line}{DIM:#}"));
    }

    fn warning(&mut self, text: &str) {
        let colour = AnsiColor::Yellow.on_default();
        self.line(format_args!("{colour}warning{colour:#}: {}", visible(text)));
    }

    fn wants(&self, result: &TaskResult) -> bool {
        match result.status {
            Status::Ok => self.verbosity > 0 || says_something(result),
            Status::Skipped => self.verbosity > 0,
            _ => true,
        }
    }

    fn task(&mut self, host: &str, result: &TaskResult) {
        let went_well = matches!(result.status, Status::Ok | Status::Changed | Status::Skipped);
        if !self.wants(result) || result.action == "meta" && went_well {
            return;
        }
        let heading = format!("{} {}", result.place, result.name);
        if self.heading != heading {
            let kind = if result.handler { "HANDLER" } else { "TASK" };
            let (name, place) = (visible(&result.name), visible(&result.place));
            self.line(format_args!("\n{BOLD}{kind}{BOLD:#} {name} {DIM}{place}{DIM:#}"));
            self.heading = heading;
        }
        let colour = style(result.status);
        let word = match result.status {
            Status::Changed if self.check => "would change",
            Status::Unknown => "decided at run time",
            status => json::word(status),
        };
        let delegate = result.delegated.as_ref().map(|other| format!(" -> {other}")).unwrap_or_default();
        let item =
            result.item.as_ref().map(|item| format!(" {DIM}[{}]{DIM:#}", visible(item))).unwrap_or_default();
        let message = message(result).map(|text| indented(&visible(&text))).unwrap_or_default();
        self.line(format_args!("  {colour}{word}{colour:#} {host}{delegate}{item}{message}"));
        if let Some(hint) = &result.hint {
            self.line(format_args!("    hint: {}", visible(hint)));
        }
        if matches!(result.status, Status::Failed | Status::Rescued | Status::Ignored) {
            self.failure(&result.result);
        }
        for change in &result.diff {
            self.out.push_str(&diff::unified(change));
        }
        self.result(result);
    }

    /// What the module returned: on one line with `-v`, indented with `-vv`.
    fn result(&mut self, result: &TaskResult) {
        if self.verbosity == 0 || result.result.is_null() || says_something(result) {
            return;
        }
        if self.verbosity == 1 {
            let text = debark_value::to_json_string(&result.result);
            return self.line(format_args!("    {DIM}{text}{DIM:#}"));
        }
        let text = format!("{:#}", debark_value::to_json(&result.result));
        for line in text.lines() {
            self.line(format_args!("    {DIM}{line}{DIM:#}"));
        }
    }

    /// What a failed command printed.
    fn failure(&mut self, result: &Value) {
        for stream in ["stdout", "stderr"] {
            let Some(text) =
                result.get(stream).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
            else {
                continue;
            };
            let text = visible(text);
            let lines: Vec<&str> = text.lines().collect();
            let hidden = lines.len().saturating_sub(20);
            self.line(format_args!("    {DIM}{stream}:{DIM:#}"));
            if hidden > 0 {
                self.line(format_args!("      {DIM}({hidden} lines more){DIM:#}"));
            }
            for line in lines.iter().skip(hidden) {
                self.line(format_args!("      {line}"));
            }
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
                self.line(format_args!("  {DIM}retry{DIM:#} {host}: {} ({left} tries left)", visible(name)));
            }
            Event::Resumed { handlers } => {
                let names = handlers.join(", ");
                self.line(format_args!(
                    "  {host}: handlers that an earlier run left are run now: {}",
                    visible(&names)
                ));
            }
            Event::Warning(text) => self.warning(&format!("{host}: {text}")),
            Event::Notified { handlers } if self.verbosity > 1 => {
                let names = handlers.join(", ");
                self.aside(format_args!("{host}: notified: {}", visible(&names)));
            }
            Event::Included { what, .. } if self.verbosity > 1 => {
                self.aside(format_args!("{host}: included: {}", visible(what)));
            }
            Event::Guarded { seconds, .. } if self.verbosity > 0 => {
                self.aside(format_args!("{host}: reverts by itself unless confirmed within {seconds} s"));
            }
            Event::Forgiven => {
                self.aside(format_args!(
                    "hosts that failed take part in later plays again (clear_host_errors)"
                ));
            }
            Event::Stats { .. }
            | Event::Started { .. }
            | Event::Notified { .. }
            | Event::Guarded { .. }
            | Event::Vars(_)
            | Event::Secrets(_)
            | Event::Included { .. } => {}
        }
    }
}

/// Why a task ended so; for a command that failed, with what.
fn message(result: &TaskResult) -> Option<Cow<'_, str>> {
    let text = result.message.as_deref()?;
    match result.result.get("rc") {
        Some(Value::Int(code)) if text == "non-zero return code" => Some(format!("{text} ({code})").into()),
        _ => Some(text.into()),
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
