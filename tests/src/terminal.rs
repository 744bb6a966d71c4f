//! Commands on a terminal of script(1): what is asked there, and what is typed.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// What a terminal showed, every byte of it, and how the command on it ended.
pub struct Shown {
    /// Its exit code.
    pub code: Option<i32>,
    /// Everything that was on the terminal: what was typed as well, if it was echoed.
    pub text: String,
}

/// Runs a shell's line on a terminal, and types each answer when its question is there. `timeout` is `timeout` of coreutils as it is to be
/// run: in whatever namespace, directory and environment.
///
/// # Panics
/// A question was never asked.
pub fn on_terminal(mut timeout: Command, line: &str, answers: &[(&str, &str)]) -> Shown {
    // A question that never comes must not be waited for.
    timeout.args(["--foreground", "120", "script", "-qec", line, "/dev/null"]);
    timeout.env("TERM", "xterm").env_remove("CI").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = timeout.spawn().expect("timeout runs");
    let mut input = child.stdin.take().expect("it was asked for");
    let mut output = child.stdout.take().expect("it was asked for");
    let (mut shown, mut seen, mut chunk) = (Vec::new(), 0, [0; 4096]);
    let mut answers = answers.iter();
    let mut next = answers.next();
    while let Ok(count @ 1..) = output.read(&mut chunk) {
        shown.extend_from_slice(chunk.get(..count).unwrap_or_default());
        while let Some((question, answer)) = next
            && let Some(at) = String::from_utf8_lossy(shown.get(seen..).unwrap_or_default()).find(question)
        {
            seen += at + question.len();
            input.write_all(answer.as_bytes()).expect("the terminal is there");
            next = answers.next();
        }
    }
    let text = String::from_utf8_lossy(&shown).into_owned();
    let code = child.wait().expect("it ends").code();
    assert!(next.is_none(), "never asked {next:?}: {text}");
    Shown { code, text }
}
