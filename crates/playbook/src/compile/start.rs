//! `--start-at-task`: leaves out what comes before a task of that name.

use debark_wire::{Node, Role};

use super::Compiled;
use crate::diagnostic::{Diagnostic, did_you_mean};

/// Drops all tasks before the first whose name (or `role : name`) matches; `*` matches anything.
pub(super) fn start_at(compiled: &mut Compiled, wanted: &str) -> Result<(), Diagnostic> {
    let mut started = false;
    let mut names = Vec::new();
    for play in &mut compiled.plays {
        let roles = std::mem::take(&mut play.play.roles);
        play.play.tasks.retain_mut(|node| keep(node, &roles, wanted, &mut started, &mut names));
        play.play.roles = roles;
    }
    if started {
        return Ok(());
    }
    let hint = did_you_mean(wanted, names.iter().map(String::as_str));
    Err(Diagnostic::error(format!("there is no task `{wanted}` to start at")).maybe_hint(hint))
}

fn keep(node: &mut Node, roles: &[Role], wanted: &str, started: &mut bool, names: &mut Vec<String>) -> bool {
    if *started {
        return true;
    }
    match node {
        Node::Task(task) => {
            if task.name.is_empty() || super::list::is_implicit(task) {
                // Handlers of what is left out were never notified; flushing them does no harm.
                return false;
            }
            let full = task
                .role
                .and_then(|role| roles.get(role as usize))
                .map(|role| format!("{} : {}", role.full_name(), task.name));
            *started = matches(&task.name, wanted) || full.is_some_and(|full| matches(&full, wanted));
            names.push(task.name.clone());
            *started
        }
        Node::Block(block) => {
            for part in [&mut block.block, &mut block.rescue, &mut block.always] {
                part.retain_mut(|node| keep(node, roles, wanted, started, names));
            }
            !(block.block.is_empty() && block.rescue.is_empty() && block.always.is_empty())
        }
    }
}

fn matches(name: &str, wanted: &str) -> bool {
    let mut parts = wanted.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    last.map_or(rest.is_empty(), |part| name.ends_with(part))
}
