//! Lockstep between the hosts of a batch, without a message per task.
//!
//! Ansible's linear strategy runs each task on all hosts before the next begins. Other hosts can only see a difference
//! where something changes, so agents run ahead through tasks that change nothing and ask here before a change.
//! Positions are totally ordered and a host that waits counts as having come as far as where it waits: of all that
//! wait the one furthest behind is always let through, so nobody waits for ever.

use std::collections::HashMap;

/// Progress of a batch within one play.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    /// Where the tasks stand that all hosts share, by id: not handlers, not what was included on one host.
    places: HashMap<u32, u32>,
    /// Per host: all shared tasks before this place are behind it.
    passed: HashMap<String, u32>,
    /// Host, request and position.
    waiting: Vec<(String, u32, u32)>,
}

impl Barriers {
    /// A batch at its start, with the ids of the tasks that all hosts share, in order.
    pub(crate) fn new(hosts: &[String], tasks: &[u32]) -> Self {
        let passed = hosts.iter().map(|host| (host.clone(), 0)).collect();
        Self { places: tasks.iter().copied().zip(0..).collect(), passed, waiting: Vec::new() }
    }

    /// A host asks; [`Barriers::released`] tells when it may go on.
    pub(crate) fn wait(&mut self, host: &str, request: u32, task: u32) {
        let position = self.place(host, Some(task));
        if let Some(passed) = self.passed.get_mut(host) {
            *passed = (*passed).max(position);
        }
        self.waiting.push((host.to_owned(), request, position));
    }

    /// A host has come to a task, and so all before it are behind it, even those of which it reported nothing.
    pub(crate) fn reached(&mut self, host: &str, task: u32) {
        if let (Some(place), Some(passed)) = (self.places.get(&task), self.passed.get_mut(host)) {
            *passed = (*passed).max(*place);
        }
    }

    /// A host has finished a task.
    pub(crate) fn passed(&mut self, host: &str, task: u32) {
        if let (Some(place), Some(passed)) = (self.places.get(&task), self.passed.get_mut(host)) {
            *passed = (*passed).max(place.saturating_add(1));
        }
    }

    /// Whether a host will not come to a task any more: it is behind it, or waits for others at a later one.
    pub(crate) fn is_past(&self, host: &str, task: u32) -> bool {
        let Some(place) = self.places.get(&task) else {
            return self.waiting.iter().any(|(name, ..)| name == host);
        };
        let behind = self.passed.get(host).is_some_and(|passed| passed > place);
        behind || self.waiting.iter().any(|(name, _, at)| name == host && at > place)
    }

    /// A host is done, failed or lost: nobody waits for it. Yields how far it had come.
    pub(crate) fn leave(&mut self, host: &str) -> u32 {
        self.waiting.retain(|(waiting, ..)| waiting != host);
        self.passed.remove(host).unwrap_or(u32::MAX)
    }

    /// What a host waits for is not wanted any more.
    pub(crate) fn forget(&mut self, host: &str) {
        self.waiting.retain(|(waiting, ..)| waiting != host);
    }

    /// Where a task of a host stands. A handler's or an included task's place is where the host is in the tasks that all
    /// share, and so is that of no task.
    pub(crate) fn place(&self, host: &str, task: Option<u32>) -> u32 {
        let shared = task.and_then(|task| self.places.get(&task));
        shared.or_else(|| self.passed.get(host)).copied().unwrap_or(0)
    }

    /// The requests of a host that waits for what comes after a position; it waits no more.
    pub(crate) fn withdraw(&mut self, host: &str, after: u32) -> Vec<u32> {
        let mut requests = Vec::new();
        self.waiting.retain(|(name, request, at)| {
            let is = name == host && *at > after;
            if is {
                requests.push(*request);
            }
            !is
        });
        requests
    }

    /// Hosts and requests that may go on.
    pub(crate) fn released(&mut self) -> Vec<(String, u32)> {
        let slowest = self.passed.values().copied().min().unwrap_or(u32::MAX);
        let (free, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, _, position)| *position <= slowest);
        self.waiting = waiting;
        let free: Vec<(String, u32, u32)> = free;
        free.into_iter().map(|(host, request, _)| (host, request)).collect()
    }

    /// Everybody who waits, to be told something else.
    pub(crate) fn drain(&mut self) -> Vec<(String, u32)> {
        std::mem::take(&mut self.waiting).into_iter().map(|(host, request, _)| (host, request)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Barriers {
        Barriers::new(&["a".into(), "b".into()], &(0..10).collect::<Vec<_>>())
    }

    #[test]
    fn tasks_are_in_the_order_in_which_they_run() {
        let mut barriers = Barriers::new(&["a".into(), "b".into()], &[2, 0, 1]);
        barriers.passed("a", 2);
        barriers.passed("b", 2);
        barriers.wait("a", 1, 1);
        assert!(barriers.released().is_empty(), "b has not done task 0");
        assert!(!barriers.is_past("b", 0) && barriers.is_past("b", 2));
        barriers.passed("b", 0);
        assert_eq!(barriers.released(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn a_change_waits_for_the_slower_host() {
        let mut barriers = two();
        barriers.wait("a", 1, 3);
        assert!(barriers.released().is_empty());
        barriers.passed("b", 1);
        assert!(barriers.released().is_empty(), "b has passed tasks 0 and 1 only");
        barriers.passed("b", 2);
        assert_eq!(barriers.released(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn who_waits_for_another_host_is_not_waited_for() {
        let mut barriers = two();
        // b takes over the result of task 3 and reports nothing; at 4 it waits for what a will get.
        barriers.reached("b", 4);
        barriers.wait("a", 1, 4);
        assert_eq!(barriers.released(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn waiting_at_the_same_task_lets_both_go() {
        let mut barriers = two();
        barriers.wait("a", 1, 3);
        barriers.wait("b", 7, 3);
        assert_eq!(barriers.released().len(), 2);
    }

    #[test]
    fn the_one_behind_goes_first() {
        let mut barriers = two();
        barriers.wait("a", 1, 5);
        barriers.wait("b", 2, 4);
        assert_eq!(barriers.released(), [("b".to_owned(), 2)]);
        barriers.leave("b");
        assert_eq!(barriers.released(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn who_is_to_fail_waits_no_more() {
        let mut barriers = two();
        barriers.wait("b", 1, 3);
        assert!(
            barriers.withdraw("b", 3).is_empty(),
            "it still has to do the task at which the other failed"
        );
        assert_eq!(barriers.withdraw("b", 2), [1]);
        assert!(barriers.released().is_empty());
    }

    #[test]
    fn handlers_and_includes_stand_where_the_host_stands() {
        let mut barriers = two();
        barriers.passed("a", 2);
        barriers.wait("a", 1, 500);
        barriers.passed("b", 2);
        assert_eq!(barriers.released(), [("a".to_owned(), 1)], "not at the end of the play");
    }
}
