//! The task debugger, at the user's end: one host at a time has the terminal.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use debark_value::Value;
use debark_wire::Answer;

use super::{lock, terminal};
use crate::event::plain;

/// How long the host that was given a command may take until its next question, before another host gets its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Debugging {
    turn: Mutex<Option<(String, Instant)>>,
}

impl Debugging {
    /// Shows what a host has to say, and has the user type its next command.
    ///
    /// # Errors
    /// There is no terminal, or the run is being stopped.
    pub fn command(&self, host: &str, name: &str, text: &str) -> Result<Answer, String> {
        let mut turn = lock(&self.turn);
        while turn.as_ref().is_some_and(|(of, since)| of != host && since.elapsed() < PATIENCE) {
            drop(turn);
            std::thread::sleep(Duration::from_millis(50));
            turn = lock(&self.turn);
        }
        let mut question = plain(text);
        if !question.is_empty() && !question.ends_with('\n') {
            question.push('\n');
        }
        question.push_str(&format!("[{host}] TASK: {} (debug)> ", plain(name).replace('\n', " ")));
        let typed = terminal::line_of(&question).map_err(|error| error.to_string())?;
        *turn = Some((host.to_owned(), Instant::now()));
        Ok(match typed.as_deref().map(str::trim) {
            None | Some("q" | "quit" | "exit") => Answer::Fail,
            Some(line) => Answer::Value(Value::from(line)),
        })
    }
}
