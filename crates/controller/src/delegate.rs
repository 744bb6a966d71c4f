//! Tasks that one host runs for another.

use std::collections::HashMap;

use debark_value::{Value, map};
use debark_wire::Outcome;

use crate::once::Asker;

/// Invocations that are under way.
#[derive(Debug, Default)]
pub(crate) struct Delegations {
    next: u32,
    /// By number: where it runs, and who asked.
    running: HashMap<u32, (String, Asker)>,
}

impl Delegations {
    /// Notes a new one; yields its number.
    pub(crate) fn begin(&mut self, on: &str, asker: Asker) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.running.insert(self.next, (on.to_owned(), asker));
        self.next
    }

    /// One is done; yields who asked. `None`: that host runs no such thing.
    pub(crate) fn end(&mut self, on: &str, id: u32) -> Option<Asker> {
        if self.running.get(&id).is_none_or(|(host, _)| host != on) {
            return None;
        }
        self.running.remove(&id).map(|(_, asker)| asker)
    }

    /// Whether something runs there.
    pub(crate) fn is_busy(&self, on: &str) -> bool {
        self.running.values().any(|(host, _)| host == on)
    }

    /// A host is gone; yields who waits for it. What it asked for itself is forgotten.
    pub(crate) fn leave(&mut self, gone: &str) -> Vec<Asker> {
        self.running.retain(|_, (_, (asker, _))| asker != gone);
        let lost: Vec<u32> =
            self.running.iter().filter(|(_, (host, _))| host == gone).map(|(id, _)| *id).collect();
        lost.iter().filter_map(|id| self.running.remove(id)).map(|(_, asker)| asker).collect()
    }
}

/// What comes of a task whose delegate cannot be reached.
pub(crate) fn unreachable(why: &str) -> Outcome {
    Outcome {
        result: map! { "unreachable" => true, "changed" => false, "msg" => Value::from(why.to_owned()) },
        failed: true,
        unreachable: true,
        ..Outcome::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_from_where_it_runs() {
        let mut delegations = Delegations::default();
        let id = delegations.begin("db1", ("web1".into(), 3));
        assert_eq!(delegations.end("evil", id), None);
        assert_eq!(delegations.end("db1", id), Some(("web1".into(), 3)));
        delegations.begin("db1", ("web1".into(), 4));
        assert_eq!(delegations.leave("db1"), [("web1".to_owned(), 4)]);
    }
}
