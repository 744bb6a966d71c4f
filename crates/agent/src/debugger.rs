//! The task debugger: a task stops, and the user looks into it, mends it, runs it again. When it does, and the words it
//! understands, are those of Ansible ("Debugging tasks" in its playbook guide).

use std::sync::Arc;
use std::time::Duration;

use debark_expr::{LayerKind, Scope};
use debark_value::{Map, Value, map};
use debark_wire::{Answer, Debugger, Request, Status, Task};

use crate::progress::walked;
use crate::run::Running;
use crate::task::{Doing, Done};

/// More characters of a value are not shown.
const LONGEST: usize = 256 << 10;

/// So many lines of what a command complained of stand above the first question.
const LINES: usize = 10;

const HELP: &str = "\
p EXPRESSION               show it: task, task.args, task.name, task_vars, task_vars['NAME'], host, result, ...
task.args['KEY'] = VALUE   change a parameter
task_vars['NAME'] = VALUE  set a variable
u, update_task             parameters as they were written, for the variables as they are now
r, redo                    run the task again
c, continue                go on
q, quit                    end the run";

/// What the user made of a task that is to be run again.
#[derive(Default)]
pub struct Mended {
    /// Whether it ran before.
    pub again: bool,
    /// The task with other parameters.
    pub task: Option<Box<Task>>,
    vars: Map,
}

impl Mended {
    /// The variables of the task, with those that the user set above all others.
    pub fn scope(&self, mut scope: Scope) -> Scope {
        if !self.vars.is_empty() {
            scope.push(Arc::new(self.vars.clone()), LayerKind::Templated);
        }
        scope
    }
}

/// What the user wants.
pub enum Choice {
    /// On with the play.
    GoOn,
    /// The task once more.
    Again(Mended),
    /// The end of the run.
    Quit,
}

/// An assignment: to what, the expression of the key, and that of the value.
fn assignment(line: &str) -> Option<(&str, &str, &str)> {
    let (target, rest) = ["task.args", "task_vars"]
        .iter()
        .find_map(|target| line.strip_prefix(target).map(|rest| (*target, rest.trim_start())))?;
    let inner = rest.strip_prefix('[')?;
    let mut quote = None;
    let end = inner.char_indices().find_map(|(at, letter)| {
        match (quote, letter) {
            (None, ']') => return Some(at),
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
        None
    })?;
    let (key, rest) = inner.split_at(end);
    let value = rest.strip_prefix(']')?.trim_start().strip_prefix('=')?;
    (!value.starts_with('=')).then(|| (target, key.trim(), value.trim()))
}

/// How a status is called in front of its reason.
fn word(status: Status) -> &'static str {
    match status {
        Status::Failed => "failed",
        Status::Unreachable => "unreachable",
        Status::Skipped => "skipped",
        Status::Changed => "changed",
        _ => "ok",
    }
}

impl Running<'_> {
    /// Stops after a task if it is to, and does what the user says until that is to go on.
    pub fn debugged(
        &self,
        doing: &Doing,
        done: &Done,
        mended: &Mended,
        written: &Task,
        scope: &Scope,
    ) -> Choice {
        if !self.stops(doing, done, scope) {
            return Choice::GoOn;
        }
        let mut next = Mended { again: true, task: mended.task.clone(), vars: mended.vars.clone() };
        let report = self.report(doing, done, None, Duration::ZERO);
        let told = [Some(word(done.status).to_owned()), report.message].into_iter().flatten();
        let mut text = told.collect::<Vec<_>>().join(": ");
        let stderr = report.result.as_map().and_then(|result| result.get("stderr")?.as_str());
        if let Some(stderr) = stderr.filter(|text| !text.is_empty()) {
            let last = stderr.lines().rev().take(LINES).collect::<Vec<_>>();
            last.iter().rev().for_each(|line| text.push_str(&format!("\n{line}")));
        }
        if let Some(hint) = report.hint {
            text.push_str(&format!("\nhint: {hint}"));
        }
        loop {
            let request = Request::Debug { name: doing.name.clone(), text: std::mem::take(&mut text) };
            let line = match self.on.link.request(request) {
                Ok(Answer::Value(line)) => line.to_string(),
                // Told to stop, or the connection is gone: the next task notices.
                _ => return Choice::Quit,
            };
            let line = line.trim();
            let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            text = match first {
                "" => String::new(),
                "c" | "continue" => return Choice::GoOn,
                "r" | "redo" => return Choice::Again(next),
                "h" | "help" | "?" => HELP.to_owned(),
                "u" | "update_task" => {
                    next.task = None;
                    String::new()
                }
                "p" | "print" => {
                    let task = next.task.as_deref().unwrap_or(written);
                    self.shown(rest, doing, done, task, &next.scope(scope.clone()))
                }
                _ => match assignment(line) {
                    Some((target, key, value)) => {
                        self.assign(&mut next, written, (target, key, value), scope).err().unwrap_or_default()
                    }
                    None => format!("`{first}` is no command; h lists them"),
                },
            };
        }
    }

    /// Whether the user is to be asked about a task.
    fn stops(&self, doing: &Doing, done: &Done, scope: &Scope) -> bool {
        let asked = self.play.borrow().host.options.debugger;
        let failed = done.status == Status::Failed;
        // What an include brought has had its own turns.
        if asked == Debugger::Off
            || self.repeats()
            || doing.task.action == "meta"
            || walked(doing.task) && !failed
        {
            return false;
        }
        let failed = failed && !doing.ignore_errors;
        let unreachable = done.status == Status::Unreachable;
        let globally = asked == Debugger::Failing || self.play.borrow().play.debugged;
        let keyword = doing.keywords.debugger.as_ref();
        let keyword = keyword.and_then(|value| self.on.engine.render_value(value, scope).ok());
        match keyword.as_ref().and_then(Value::as_str).unwrap_or_default() {
            "always" => true,
            "never" => false,
            "on_failed" if failed => true,
            "on_unreachable" if unreachable => true,
            "on_skipped" if done.status == Status::Skipped => true,
            _ => globally && (failed || unreachable),
        }
    }

    fn assign(
        &self,
        next: &mut Mended,
        written: &Task,
        (target, key, value): (&str, &str, &str),
        scope: &Scope,
    ) -> Result<(), String> {
        let scope = next.scope(scope.clone());
        let eval =
            |text: &str| self.on.engine.eval(text, &scope).map_err(|error| self.on.scrub(&error.to_string()));
        let key = eval(key)?;
        let Some(key) = key.as_str() else { return Err(format!("a key is text: {target}['NAME'] = VALUE")) };
        let value = eval(value)?;
        if target == "task_vars" {
            next.vars.insert(key.into(), value);
        } else {
            let args = &mut next.task.get_or_insert_with(|| Box::new(written.clone())).args;
            // What Ansible calls the command that stands there without a name.
            let free_form = key == "_raw_params" && args.contains_key("cmd");
            args.insert(if free_form { "cmd" } else { key }.into(), value);
        }
        Ok(())
    }

    /// The value of an expression as the user is shown it, or what is wrong with it.
    fn shown(&self, text: &str, doing: &Doing, done: &Done, task: &Task, scope: &Scope) -> String {
        let censored = || Value::from("hidden, because `no_log` was given for this task");
        let hide = |value: Value| if doing.no_log { censored() } else { value };
        let mut layer = map! {
            "host" => self.play.borrow().host.host.as_str(),
            "result" => hide(done.register()),
            "task" => map! {
                "name" => doing.name.as_str(),
                "action" => task.action.as_str(),
                "args" => hide(task.args.clone().into()),
            },
        };
        if text.contains("task_vars") {
            let value = |name: &Arc<str>| {
                let (raw, kind) = scope.get_raw(name)?;
                let rendered = match kind {
                    LayerKind::Templated => self.on.engine.render_value(raw, scope).ok(),
                    _ => None,
                };
                Some((name.clone(), rendered.unwrap_or_else(|| raw.clone())))
            };
            let vars: Map = scope.names().filter_map(value).collect();
            layer.insert("task_vars".into(), vars.into());
        }
        let mut scope = scope.clone();
        scope.push(Arc::new(layer), LayerKind::Plain);
        // Ansible's result is an object that has this one inside.
        let text = text.trim().replace("result._result", "result");
        let text = if text.is_empty() { "result" } else { &text };
        let value = match self.on.engine.eval(text, &scope) {
            Ok(value) => self.on.hidden().scrub_value(&value),
            Err(error) => return self.on.scrub(&error.to_string()),
        };
        scope.push(Arc::new(map! { "_shown" => value }), LayerKind::Plain);
        let mut shown = match self.on.engine.eval("_shown | to_nice_json", &scope) {
            Ok(shown) => shown.to_string(),
            Err(error) => self.on.scrub(&error.to_string()),
        };
        if let Some((end, _)) = shown.char_indices().nth(LONGEST) {
            shown.truncate(end);
            shown.push_str("\n... (more of it is not shown)");
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::assignment;

    #[test]
    fn assignments_are_told_from_other_lines() {
        assert_eq!(assignment("task.args['a'] = 'b'"), Some(("task.args", "'a'", "'b'")));
        assert_eq!(assignment("task_vars[ \"x]y\" ]={'a': 1}"), Some(("task_vars", "\"x]y\"", "{'a': 1}")));
        for other in
            ["task.args['a'] == 'b'", "task.args = {}", "task_vars['a", "p task_vars['a']", "task.name = 'x'"]
        {
            assert_eq!(assignment(other), None, "{other}");
        }
    }
}
