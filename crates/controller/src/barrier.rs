//! Lockstep between the hosts of a batch, without a message per task.
//!
//! Ansible's linear strategy runs each task on all hosts before the next begins. Other hosts can only see a difference
//! where something changes, so agents run ahead through tasks that change nothing and ask here before a change.
//! Positions are totally ordered and a host that waits counts as having come as far as where it waits: of all that
//! wait the one furthest behind is always let through, so nobody waits for ever.

use std::collections::{BTreeSet, HashMap};

/// Progress of a batch within one play.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    /// Ids of tasks that all hosts share in the same order: not handlers, not what was included on one host.
    shared: BTreeSet<u32>,
    /// Per host: all shared tasks below this are behind it.
    passed: HashMap<String, u32>,
    /// Host, request and position.
    waiting: Vec<(String, u32, u32)>,
    /// Nobody is let through to what comes after this position.
    hold: Option<u32>,
}

impl Barriers {
    /// A batch at its start.
    pub(crate) fn new(hosts: &[String], shared: BTreeSet<u32>) -> Self {
        let passed = hosts.iter().map(|host| (host.clone(), 0)).collect();
        Self { shared, passed, waiting: Vec::new(), hold: None }
    }

    /// A host asks; [`Barriers::released`] tells when it may go on.
    pub(crate) fn wait(&mut self, host: &str, request: u32, task: u32) {
        let behind = self.passed.get(host).copied().unwrap_or(0);
        // A handler's or an included task's place is where the host is in the tasks that all share.
        let position = if self.shared.contains(&task) { task } else { behind };
        if let Some(passed) = self.passed.get_mut(host) {
            *passed = behind.max(position);
        }
        self.waiting.push((host.to_owned(), request, position));
    }

    /// A host has come to a task, and so all before it are behind it, even those of which it reported nothing.
    pub(crate) fn reached(&mut self, host: &str, task: u32) {
        if self.shared.contains(&task)
            && let Some(passed) = self.passed.get_mut(host)
        {
            *passed = (*passed).max(task);
        }
    }

    /// A host has finished a task.
    pub(crate) fn passed(&mut self, host: &str, task: u32) {
        if self.shared.contains(&task)
            && let Some(passed) = self.passed.get_mut(host)
        {
            *passed = (*passed).max(task.saturating_add(1));
        }
    }

    /// Whether a host will not come to a task any more: it is behind it, or waits for others at a later one.
    pub(crate) fn is_past(&self, host: &str, task: u32) -> bool {
        let shared = self.shared.contains(&task);
        let behind = shared && self.passed.get(host).is_some_and(|passed| *passed > task);
        behind || self.waiting.iter().any(|(name, _, at)| name == host && (!shared || *at > task))
    }

    /// A host is done, failed or lost: nobody waits for it. Yields how far it had come.
    pub(crate) fn leave(&mut self, host: &str) -> u32 {
        self.waiting.retain(|(waiting, ..)| waiting != host);
        self.passed.remove(host).unwrap_or(u32::MAX)
    }

    /// Lets nobody through to what comes after `position`.
    pub(crate) fn hold(&mut self, position: u32) {
        self.hold = Some(self.hold.map_or(position, |hold| hold.min(position)));
    }

    /// Whether all hosts that are left wait behind the position where they are held.
    pub(crate) fn held(&self) -> bool {
        let behind =
            |host: &String, hold| self.waiting.iter().any(|(name, _, at)| name == host && *at > hold);
        self.hold.is_some_and(|hold| self.passed.keys().all(|host| behind(host, hold)))
    }

    /// Hosts and requests that may go on.
    pub(crate) fn released(&mut self) -> Vec<(String, u32)> {
        let slowest = self.passed.values().copied().min().unwrap_or(u32::MAX);
        let most = self.hold.unwrap_or(u32::MAX).min(slowest);
        let (free, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, _, position)| *position <= most);
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
        Barriers::new(&["a".into(), "b".into()], (0..10).collect())
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
    fn held_hosts_do_the_same_task_and_no_other() {
        let mut barriers = two();
        barriers.wait("a", 1, 3);
        barriers.wait("b", 2, 3);
        assert_eq!(barriers.released().len(), 2);
        let position = barriers.leave("a");
        barriers.hold(position);
        assert!(!barriers.held(), "b is still at it");
        barriers.passed("b", 3);
        barriers.wait("b", 3, 4);
        assert!(barriers.released().is_empty());
        assert!(barriers.held());
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
