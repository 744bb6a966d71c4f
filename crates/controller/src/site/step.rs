//! `--step`: one question per task, for all hosts together.

use std::collections::HashMap;

use super::terminal;

/// A task of a dynamic include may have the number of another host's; its name tells them apart.
type Task = (u32, u32, String);

/// What was asked and answered so far. Whoever comes later waits for the lock, and finds the answer.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// "continue" was said.
    unasked: bool,
    /// Answers: the first time a task came, the second (a handler may run again), ...
    answers: HashMap<Task, Vec<bool>>,
    /// How often each host came to a task.
    came: HashMap<(String, Task), usize>,
}

impl Steps {
    /// A new batch begins: its hosts are asked about from the start.
    pub fn begin(&mut self) {
        self.answers.clear();
        self.came.clear();
    }

    /// Whether a host may run the task it has come to.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub fn may(&mut self, play: u32, task: u32, name: &str, host: &str) -> Result<bool, String> {
        self.decide(play, task, name, host, |question| {
            terminal::ask(question, true).map_err(|error| error.to_string())
        })
    }

    fn decide(
        &mut self,
        play: u32,
        task: u32,
        name: &str,
        host: &str,
        mut ask: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<bool, String> {
        if self.unasked {
            return Ok(true);
        }
        let task: Task = (play, task, name.to_owned());
        let came = self.came.entry((host.to_owned(), task.clone())).or_default();
        let answers = self.answers.entry(task).or_default();
        let answered = answers.get(*came).copied();
        let runs = match answered {
            Some(runs) => runs,
            None => {
                let runs = loop {
                    let question = format!("Perform task: TASK: {name} (N)o/(y)es/(c)ontinue: ");
                    match ask(&question)?.trim().to_lowercase().as_str() {
                        "y" | "yes" => break true,
                        "" | "n" | "no" => break false,
                        "c" | "continue" => {
                            self.unasked = true;
                            break true;
                        }
                        _ => {}
                    }
                };
                answers.push(runs);
                runs
            }
        };
        *came += 1;
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comes to tasks, with answers at hand; yields what was decided and how many questions that took.
    fn decided(visits: &[(&str, u32)], answers: &[&str]) -> (Vec<bool>, usize) {
        let mut steps = Steps::default();
        let mut given = answers.iter();
        let decided = visits.iter().map(|(host, task)| {
            steps.decide(0, *task, "t", host, |_| Ok((*given.next().unwrap()).to_owned())).unwrap()
        });
        let decided = decided.collect();
        (decided, answers.len() - given.len())
    }

    #[test]
    fn one_answer_is_for_all_hosts() {
        assert_eq!(
            decided(&[("a", 1), ("b", 1), ("b", 2), ("a", 2)], &["y", "N"]),
            (vec![true, true, false, false], 2)
        );
    }

    #[test]
    fn a_task_that_comes_again_is_asked_about_again() {
        assert_eq!(
            decided(&[("a", 1), ("b", 1), ("a", 1), ("b", 1)], &["", "y"]),
            (vec![false, false, true, true], 2)
        );
    }

    #[test]
    fn continue_ends_the_questions_and_nonsense_repeats_them() {
        assert_eq!(
            decided(&[("a", 1), ("a", 2), ("a", 3)], &["what", "n", "C"]),
            (vec![false, true, true], 3)
        );
    }
}
