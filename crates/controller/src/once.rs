//! `run_once` and `throttle`: who may, and who waits.

use std::collections::{HashMap, VecDeque};

use debark_value::Value;
use debark_wire::Answer;

/// A host and the number of its request.
pub(crate) type Asker = (String, u32);

#[derive(Debug)]
enum Once {
    Running { host: String, waiting: Vec<Asker> },
    Done { result: Value, failed: bool },
}

/// `run_once` tasks of a batch.
#[derive(Debug, Default)]
pub(crate) struct OnceTasks(HashMap<u32, Once>);

impl OnceTasks {
    /// A host comes to the task: the answer, unless it must wait.
    pub(crate) fn ask(&mut self, host: &str, request: u32, task: u32) -> Option<Answer> {
        match self.0.get_mut(&task) {
            None => {
                self.0.insert(task, Once::Running { host: host.into(), waiting: Vec::new() });
                Some(Answer::Run)
            }
            Some(Once::Running { host: runner, .. }) if runner == host => Some(Answer::Run),
            Some(Once::Running { waiting, .. }) => {
                waiting.push((host.into(), request));
                None
            }
            Some(Once::Done { result, failed }) => {
                Some(Answer::Ran { result: result.clone(), failed: *failed })
            }
        }
    }

    /// The task is done; those who waited get what came of it.
    pub(crate) fn done(&mut self, task: u32, result: Value, failed: bool) -> Vec<(Asker, Answer)> {
        let earlier = self.0.insert(task, Once::Done { result: result.clone(), failed });
        let Some(Once::Running { waiting, .. }) = earlier else { return Vec::new() };
        waiting.into_iter().map(|asker| (asker, Answer::Ran { result: result.clone(), failed })).collect()
    }

    /// A host is gone: if it ran one of the tasks, the next in line does.
    pub(crate) fn leave(&mut self, gone: &str) -> Vec<(Asker, Answer)> {
        let mut next = Vec::new();
        self.0.retain(|_, once| {
            let Once::Running { host, waiting } = once else { return true };
            waiting.retain(|(name, _)| name != gone);
            if host != gone {
                return true;
            }
            if waiting.is_empty() {
                return false;
            }
            let asker = waiting.remove(0);
            *host = asker.0.clone();
            next.push((asker, Answer::Run));
            true
        });
        next
    }
}

#[derive(Debug, Default)]
struct Places {
    taken: Vec<String>,
    waiting: VecDeque<Asker>,
    limit: usize,
}

impl Places {
    fn admit(&mut self) -> Vec<Asker> {
        let mut admitted = Vec::new();
        while self.taken.len() < self.limit {
            let Some(asker) = self.waiting.pop_front() else { break };
            self.taken.push(asker.0.clone());
            admitted.push(asker);
        }
        admitted
    }
}

/// `throttle`: places at tasks.
#[derive(Debug, Default)]
pub(crate) struct Throttles(HashMap<u32, Places>);

impl Throttles {
    /// A host wants a place; yields who may go on, perhaps itself.
    pub(crate) fn take(&mut self, host: &str, request: u32, task: u32, limit: u32) -> Vec<Asker> {
        let places = self.0.entry(task).or_default();
        places.limit = limit.max(1) as usize;
        places.waiting.push_back((host.into(), request));
        places.admit()
    }

    /// A host gives its place back; yields who may go on.
    pub(crate) fn give(&mut self, host: &str, task: u32) -> Vec<Asker> {
        let Some(places) = self.0.get_mut(&task) else { return Vec::new() };
        if let Some(index) = places.taken.iter().position(|taken| taken == host) {
            places.taken.swap_remove(index);
        }
        places.admit()
    }

    /// A host is gone, with its places.
    pub(crate) fn leave(&mut self, host: &str) -> Vec<Asker> {
        let mut admitted = Vec::new();
        for places in self.0.values_mut() {
            places.waiting.retain(|(waiting, _)| waiting != host);
            places.taken.retain(|taken| taken != host);
            admitted.extend(places.admit());
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_runs_and_the_others_get_its_result() {
        let mut once = OnceTasks::default();
        assert_eq!(once.ask("a", 1, 7), Some(Answer::Run));
        assert_eq!(once.ask("b", 4, 7), None);
        let told = once.done(7, Value::from("x"), false);
        let ran = Answer::Ran { result: Value::from("x"), failed: false };
        assert_eq!(told, [(("b".to_owned(), 4), ran.clone())]);
        assert_eq!(once.ask("c", 9, 7), Some(ran));
    }

    #[test]
    fn the_next_in_line_takes_over() {
        let mut once = OnceTasks::default();
        once.ask("a", 1, 7);
        once.ask("b", 4, 7);
        assert_eq!(once.leave("a"), [(("b".to_owned(), 4), Answer::Run)]);
        assert!(once.leave("b").is_empty());
        assert_eq!(once.ask("c", 2, 7), Some(Answer::Run));
    }

    #[test]
    fn places_are_limited() {
        let mut throttles = Throttles::default();
        assert_eq!(throttles.take("a", 1, 3, 1), [("a".to_owned(), 1)]);
        assert!(throttles.take("b", 1, 3, 1).is_empty());
        assert!(throttles.take("c", 1, 3, 1).is_empty());
        assert_eq!(throttles.give("a", 3), [("b".to_owned(), 1)]);
        assert_eq!(throttles.leave("b"), [("c".to_owned(), 1)]);
    }
}
