//! `command`: runs a program without a shell; and what `shell`, `raw` and `script` share with it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::exec::{Cmd, Output};
use crate::param::{NO_RULES, Rules};
use crate::{Failure, Host, Map, Plan, Value, clock, fnmatch, map, params, paths, shlex};

params! {
    /// Runs a program; its arguments see no shell.
    pub struct Params for "ansible.builtin.command" {
        /// Program and arguments in one text, split at blanks outside quotes.
        cmd | _raw_params: Option<String>,
        /// Program and arguments, one each.
        argv: Vec<String>,
        /// Directory to run it in.
        chdir: Option<PathBuf>,
        /// A path or pattern; if it exists, nothing is run.
        creates: Option<PathBuf>,
        /// A path or pattern; if it does not exist, nothing is run.
        removes: Option<PathBuf>,
        /// Not used without a shell; accepted because old playbooks give it.
        executable: Option<String>,
        /// What the program reads on standard input.
        stdin: Option<String>,
        /// Whether a newline follows `stdin`.
        stdin_add_newline: bool = true,
        /// Whether newlines at the end of what it prints are taken away.
        strip_empty_ends: bool = true,
        /// Whether `~` and `$VAR` in arguments are expanded.
        expand_argument_vars: bool = true,
    }
    rules Rules {
        exclusive: &[&["cmd", "argv"]],
        one_of: &[&["cmd", "argv"]],
        free_form: Some("cmd"),
        ..NO_RULES
    }
}

/// Looks whether `creates` or `removes` makes it unnecessary.
///
/// # Errors
/// There is no program, or quotes are not closed.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let mut words = match &params.cmd {
        Some(text) => shlex::split(text).map_err(|why| {
            Failure::new(format!("the command cannot be split into words: {why}")).hint("use `argv`")
        })?,
        None => params.argv.clone(),
    };
    let shown = Value::list(words.iter().map(String::as_str));
    if params.expand_argument_vars {
        let environment = host.options.borrow().environment.clone();
        words = words.iter().map(|word| paths::expand_text(word, &environment)).collect();
    }
    let mut words = words.into_iter();
    let Some(program) = words.next() else {
        return Err(Failure::new("no command given").with(map! { "rc" => 256 }));
    };
    let run = Run {
        cmd: Cmd::new(program).args(words),
        shown,
        chdir: params.chdir,
        creates: params.creates,
        removes: params.removes,
        stdin: params.stdin,
        stdin_add_newline: params.stdin_add_newline,
        strip: params.strip_empty_ends,
    };
    run.plan(host)
}

/// A command with the parameters that `command` and `shell` have in common.
pub(crate) struct Run {
    pub(crate) cmd: Cmd,
    pub(crate) shown: Value,
    pub(crate) chdir: Option<PathBuf>,
    pub(crate) creates: Option<PathBuf>,
    pub(crate) removes: Option<PathBuf>,
    pub(crate) stdin: Option<String>,
    pub(crate) stdin_add_newline: bool,
    pub(crate) strip: bool,
}

impl Run {
    pub(crate) fn plan(self, host: &Host) -> Result<Plan, Failure> {
        let dir = match &self.chdir {
            Some(dir) if !dir.is_dir() => {
                return Err(Failure::new(format!(
                    "Unable to change directory before execution: {} is no directory",
                    dir.display()
                ))
                .with(map! { "cmd" => self.shown }));
            }
            other => other.clone(),
        };
        let how = if host.is_check() { "Would" } else { "Did" };
        if let Some(reason) = needless(self.creates.as_deref(), self.removes.as_deref(), dir.as_deref()) {
            return Ok(Plan::ok(map! {
                "cmd" => self.shown, "rc" => 0, "stdout" => format!("skipped, since {}", reason.short),
                "stdout_lines" => Value::list([format!("skipped, since {}", reason.short)]),
                "stderr" => "", "stderr_lines" => Value::list(Vec::<Value>::new()),
                "start" => Value::Null, "end" => Value::Null, "delta" => Value::Null,
                "msg" => format!("{how} not run command since {}", reason.long),
            }));
        }
        let mut cmd = self.cmd;
        cmd.cwd = dir;
        if let Some(mut text) = self.stdin {
            if self.stdin_add_newline {
                text.push('\n');
            }
            cmd.stdin = Some(text.into_bytes());
        }
        let (shown, strip) = (self.shown, self.strip);
        if self.creates.is_none() && self.removes.is_none() {
            return Ok(Plan::run(move |host| run(host, &cmd, shown, strip)));
        }
        // That it runs, and so changes something, is sure; what it prints is not.
        let unknown = || Value::Unknown("the command was not run in check mode".into());
        let predicted = map! {
            "cmd" => shown.clone(), "rc" => unknown(), "stdout" => unknown(), "stderr" => unknown(),
            "stdout_lines" => unknown(), "stderr_lines" => unknown(),
            "msg" => if host.is_check() { "Command would have run if not in check mode" } else { "" },
        };
        Ok(Plan::change(predicted, Vec::new(), move |host| run(host, &cmd, shown, strip)))
    }
}

/// Why a command need not run.
pub(crate) struct Needless {
    /// As in `stdout`.
    short: String,
    /// As in `msg`.
    long: String,
}

impl Needless {
    /// As `script` says it.
    pub(crate) fn script(self) -> String {
        let option = if self.short.ends_with("not exist") { "removes" } else { "creates" };
        format!("{}, matching {option} option", self.short)
    }
}

/// Whether `creates` or `removes`, relative to `dir`, say that nothing is to be done.
pub(crate) fn needless(
    creates: Option<&Path>,
    removes: Option<&Path>,
    dir: Option<&Path>,
) -> Option<Needless> {
    let exists =
        |path: &Path| !fnmatch::glob(&dir.map_or_else(|| path.to_owned(), |dir| dir.join(path))).is_empty();
    if let Some(path) = creates.filter(|path| exists(path)) {
        let path = path.display();
        return Some(Needless { short: format!("{path} exists"), long: format!("'{path}' exists") });
    }
    let path = removes.filter(|path| !exists(path))?.display();
    Some(Needless { short: format!("{path} does not exist"), long: format!("'{path}' does not exist") })
}

/// Runs it to its end; an exit code other than 0 is a failure.
pub(crate) fn run(host: &Host, cmd: &Cmd, shown: Value, strip: bool) -> Result<Map, Failure> {
    let start = SystemTime::now();
    let outcome = host.exec(cmd);
    // It may have changed anything that is kept.
    host.forget_all();
    let mut output = outcome.map_err(|failure| {
        let mut failure = failure.with(map! { "cmd" => shown.clone(), "stdout" => "", "stderr" => "" });
        failure.result.entry("rc".into()).or_insert(Value::Int(2));
        failure
    })?;
    let mut result = map! { "changed" => true, "cmd" => shown };
    result.extend(printed(&mut output, strip));
    result.extend(map! {
        "start" => clock::stamp(start),
        "end" => clock::stamp(start + output.elapsed),
        "delta" => clock::delta(output.elapsed),
        "msg" => "",
    });
    if output.rc == 0 {
        return Ok(result);
    }
    result.shift_remove("msg");
    Err(Failure::new("non-zero return code").with(result))
}

/// Of each output as many bytes become return values. As text, as lines and on the wire they take many times as much,
/// and the host may be a small one.
const KEPT: usize = 8 << 20;

/// `rc`, `stdout`, `stderr`, both as lists of lines, and a warning if not all of them was kept.
pub(crate) fn printed(output: &mut Output, strip: bool) -> Map {
    let warning = output.shorten(KEPT);
    let text = |text: String| {
        if strip { text.trim_end_matches(['\r', '\n']).to_owned() } else { text }
    };
    let (stdout, stderr) = (text(output.out()), text(output.err()));
    let mut result = map! {
        "rc" => output.rc, "stdout_lines" => lines(&stdout), "stderr_lines" => lines(&stderr),
        "stdout" => stdout, "stderr" => stderr,
    };
    if let Some(warning) = warning {
        result.insert("warnings".into(), Value::list([warning]));
    }
    result
}

/// A text as `*_lines` has it.
pub(crate) fn lines(text: &str) -> Value {
    Value::list(text.lines())
}

#[cfg(test)]
mod tests;
