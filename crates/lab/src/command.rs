//! Programs that the lab runs, as plain data, so that a test can assert the exact words.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};

/// A program with its words, environment and standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmd {
    /// Program, then its arguments.
    pub argv: Vec<OsString>,
    /// Variables set on top of the caller's environment.
    pub env: Vec<(&'static str, OsString)>,
    /// What is written to its standard input.
    pub stdin: Option<String>,
}

impl Cmd {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { argv: vec![program.as_ref().to_owned()], env: Vec::new(), stdin: None }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name, value.as_ref().to_owned()));
        self
    }

    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// The command line, for messages. Of scripts among its words only the beginning is of use.
    pub fn line(&self) -> String {
        let short = |word: &OsString| {
            let word = word.to_string_lossy();
            match word.split_once('\n') {
                Some((first, _)) => format!("{first} ..."),
                None => word.into_owned(),
            }
        };
        let words: Vec<_> = self.argv.iter().map(short).collect();
        words.join(" ")
    }

    /// As the standard library's command, standard streams not yet decided.
    pub fn to_command(&self) -> Command {
        let mut words = self.argv.iter();
        let mut command = Command::new(words.next().map_or(OsStr::new(""), OsString::as_os_str));
        command.args(words).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end and returns what it printed, whatever its exit status.
    pub fn output(&self) -> Result<Output> {
        let mut command = self.to_command();
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|err| self.failed(format!("did not start: {err}"), ""))?;
        if let (Some(text), Some(mut pipe)) = (&self.stdin, child.stdin.take()) {
            // A program that ends before it has read everything says why by its exit status.
            let _ = pipe.write_all(text.as_bytes());
        }
        child.wait_with_output().map_err(|err| self.failed(format!("was lost: {err}"), ""))
    }

    /// Runs it to its end and returns its standard output; a failure carries the end of its standard error.
    pub fn run(&self) -> Result<String> {
        let output = self.output()?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(self.failed(format!("failed ({})", output.status), &last_lines(&stderr, 15)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn failed(&self, status: String, stderr: &str) -> Error {
        Error::Command { command: self.line(), status, stderr: stderr.to_owned() }
    }
}

/// The last `count` lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_last_words() {
        let err = Cmd::new("sh").args(["-c", "echo no luck >&2; exit 3"]).run().unwrap_err();
        let text = err.to_string();
        assert!(text.contains("exit status: 3") && text.contains("no luck"), "{text}");
    }

    #[test]
    fn scripts_are_not_told_whole() {
        assert_eq!(Cmd::new("sh").args(["-c", "one\ntwo", "x"]).line(), "sh -c one ... x");
    }

    #[test]
    fn standard_input_reaches_the_program() {
        assert_eq!(Cmd::new("cat").stdin("a\nb\n").run().unwrap(), "a\nb\n");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let err = Cmd::new("no-such-program-here").run().unwrap_err();
        assert!(err.to_string().contains("no-such-program-here"), "{err}");
    }

    #[test]
    fn last_lines_keeps_the_end() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 5), "a");
    }
}
