//! `run_once` and `throttle`: who may, and who waits.

use std::collections::{HashMap, VecDeque};

use debark_value::Value;
use debark_wire::Answer;

/// A host and the number of its request.
pub(crate) type Asker = (String, u32);

#[derive(Debug)]
enum Once {
    /// Nobody knows yet what comes of it. Without a runner it waits for the batch's first host.
    Open {
        runner: Option<String>,
        waiting: Vec<Asker>,
    },
    Done {
        result: Value,
        failed: bool,
    },
}

/// More such tasks no play has; a host that makes up numbers gets no further.
const MOST: usize = 1 << 16;

/// `run_once` tasks of a batch. The first host of the batch that comes to a task runs it, as documented: who asks
/// first has no say.
#[derive(Debug, Default)]
pub(crate) struct OnceTasks {
    /// Hosts that are still there, in order.
    order: Vec<String>,
    tasks: HashMap<u32, Once>,
}

impl OnceTasks {
    /// For a batch.
    pub(crate) fn new(batch: &[String]) -> Self {
        Self { order: batch.to_vec(), tasks: HashMap::new() }
    }

    /// A host comes to the task: the answer, unless it must wait for [`OnceTasks::settled`].
    pub(crate) fn ask(&mut self, host: &str, request: u32, task: u32) -> Option<Answer> {
        if self.tasks.len() >= MOST && !self.tasks.contains_key(&task) {
            return Some(Answer::Run);
        }
        let open = || Once::Open { runner: None, waiting: Vec::new() };
        match self.tasks.entry(task).or_insert_with(open) {
            Once::Open { runner: Some(runner), .. } if runner == host => Some(Answer::Run),
            Once::Open { waiting, .. } => {
                waiting.push((host.into(), request));
                None
            }
            Once::Done { result, failed } => Some(Answer::Ran { result: result.clone(), failed: *failed }),
        }
    }

    /// Who may begin: of each task without a runner the first host of the batch that has not gone `past` it.
    pub(crate) fn settled(&mut self, past: &dyn Fn(&str, u32) -> bool) -> Vec<(Asker, Answer)> {
        let mut begin = Vec::new();
        for (task, once) in &mut self.tasks {
            let Once::Open { runner: runner @ None, waiting } = once else { continue };
            let first = self.order.iter().find(|host| !past(host, *task));
            let index = match first {
                Some(first) => waiting.iter().position(|(host, _)| host == first),
                None => (!waiting.is_empty()).then_some(0),
            };
            if let Some(asker) = index.map(|index| waiting.remove(index)) {
                *runner = Some(asker.0.clone());
                begin.push((asker, Answer::Run));
            }
        }
        begin
    }

    /// The task is done; those who waited get what came of it. Nobody but who ran it has a say.
    pub(crate) fn done(
        &mut self,
        host: &str,
        task: u32,
        result: Value,
        failed: bool,
    ) -> Vec<(Asker, Answer)> {
        match self.tasks.get_mut(&task) {
            Some(once @ Once::Open { runner: Some(_), .. }) => {
                let Once::Open { runner, waiting } = once else { return Vec::new() };
                if runner.as_deref() != Some(host) {
                    return Vec::new();
                }
                let waiting = std::mem::take(waiting);
                *once = Once::Done { result: result.clone(), failed };
                let ran = |asker| (asker, Answer::Ran { result: result.clone(), failed });
                waiting.into_iter().map(ran).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What a host waits for is not wanted any more.
    pub(crate) fn forget(&mut self, host: &str) {
        for once in self.tasks.values_mut() {
            let Once::Open { waiting, .. } = once else { continue };
            waiting.retain(|(waiting, _)| waiting != host);
        }
    }

    /// A host is gone: what it ran is open again.
    pub(crate) fn leave(&mut self, gone: &str) {
        self.order.retain(|host| host != gone);
        for once in self.tasks.values_mut() {
            let Once::Open { runner, waiting } = once else { continue };
            waiting.retain(|(host, _)| host != gone);
            if runner.as_deref() == Some(gone) {
                *runner = None;
            }
        }
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

/// `throttle`: places at tasks; and `--forks`, under no task's number: places in the run.
#[derive(Debug, Default)]
pub(crate) struct Throttles(HashMap<Option<u32>, Places>);

impl Throttles {
    /// A host wants a place; yields who may go on, perhaps itself.
    pub(crate) fn take(&mut self, host: &str, request: u32, task: Option<u32>, limit: u32) -> Vec<Asker> {
        let places = self.0.entry(task).or_default();
        places.limit = limit.max(1) as usize;
        places.waiting.push_back((host.into(), request));
        places.admit()
    }

    /// A host gives its place back; yields who may go on.
    pub(crate) fn give(&mut self, host: &str, task: Option<u32>) -> Vec<Asker> {
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

    fn of(hosts: &[&str]) -> OnceTasks {
        OnceTasks::new(&hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_host_runs_and_the_others_get_its_result() {
        let mut once = of(&["a", "b", "c"]);
        let here = |_: &str, _| false;
        assert_eq!(once.ask("b", 4, 7), None);
        assert!(once.settled(&here).is_empty(), "b asked first, but a is the first");
        assert_eq!(once.ask("a", 1, 7), None);
        assert_eq!(once.settled(&here), [(("a".to_owned(), 1), Answer::Run)]);
        assert!(once.done("c", 7, Value::from("forged"), false).is_empty());
        let told = once.done("a", 7, Value::from("x"), false);
        let ran = Answer::Ran { result: Value::from("x"), failed: false };
        assert_eq!(told, [(("b".to_owned(), 4), ran.clone())]);
        assert_eq!(once.ask("c", 9, 7), Some(ran));
    }

    #[test]
    fn the_next_in_order_takes_over() {
        let mut once = of(&["a", "b", "c"]);
        once.ask("c", 4, 7);
        once.ask("b", 5, 7);
        assert_eq!(
            once.settled(&|host, _| host == "a"),
            [(("b".to_owned(), 5), Answer::Run)],
            "a is past it"
        );
        once.leave("a");
        once.leave("b");
        assert_eq!(once.settled(&|_, _| false), [(("c".to_owned(), 4), Answer::Run)]);
    }

    #[test]
    fn places_are_limited() {
        let mut throttles = Throttles::default();
        assert_eq!(throttles.take("a", 1, Some(3), 1), [("a".to_owned(), 1)]);
        assert!(throttles.take("b", 1, Some(3), 1).is_empty());
        assert!(throttles.take("c", 1, Some(3), 1).is_empty());
        assert_eq!(throttles.give("a", Some(3)), [("b".to_owned(), 1)]);
        assert_eq!(throttles.leave("b"), [("c".to_owned(), 1)]);
    }
}
