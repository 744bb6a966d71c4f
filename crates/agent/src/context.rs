//! What a task inherits: keywords of the play, the blocks and roles around it.

use std::rc::Rc;
use std::sync::Arc;

use debark_value::Map;
use debark_wire::{Condition, Keywords};

/// Everything around a task.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Keywords, nearest first taken; `when`, `environment` and `module_defaults` of all levels, outermost first.
    pub keywords: Keywords,
    /// Variables of blocks, outermost first.
    pub vars: Vec<Arc<Map>>,
    /// Variables given to dynamic includes (`include_tasks: ... vars:`), outermost first.
    pub include_vars: Vec<Arc<Map>>,
    /// Index of the role.
    pub role: Option<u32>,
    /// Directory of the task file, if it was included.
    pub task_dir: Option<String>,
    /// Whether a `rescue` somewhere around takes over when a task fails.
    pub rescued: bool,
    /// Whether the tasks are handlers.
    pub handler: bool,
    /// How many dynamic includes are around.
    pub depth: u32,
}

impl Context {
    /// The context inside a level with these keywords.
    #[must_use]
    pub fn inside(&self, inner: &Keywords, role: Option<u32>) -> Rc<Self> {
        let mut context = self.clone();
        context.keywords = merge(&self.keywords, inner);
        if !inner.vars.is_empty() {
            context.vars.push(Arc::new(inner.vars.clone()));
        }
        context.role = role.or(context.role);
        Rc::new(context)
    }

    /// The conditions of every level and a task's own.
    pub fn conditions<'a>(&'a self, own: &'a Keywords) -> impl Iterator<Item = &'a Condition> {
        self.keywords.when.iter().chain(&own.when)
    }
}

/// The keywords of a level within another: nearest wins, lists add up.
pub fn merge(outer: &Keywords, inner: &Keywords) -> Keywords {
    macro_rules! nearest {
        ($($field:ident),*) => { Keywords {
            $($field: inner.$field.clone().or_else(|| outer.$field.clone()),)*
            when: outer.when.iter().chain(&inner.when).cloned().collect(),
            // Variables are layers of their own: a block's must not hide a role's behind one merged map.
            vars: Map::new(),
            environment: outer.environment.iter().chain(&inner.environment).cloned().collect(),
            module_defaults: outer.module_defaults.iter().chain(&inner.module_defaults).cloned().collect(),
            tags: outer.tags.iter().chain(&inner.tags).cloned().collect(),
        } };
    }
    nearest!(
        become_,
        become_user,
        become_method,
        become_flags,
        become_exe,
        ignore_errors,
        ignore_unreachable,
        no_log,
        check_mode,
        diff,
        any_errors_fatal,
        delegate_to,
        delegate_facts,
        run_once,
        throttle,
        timeout,
        connection,
        remote_user,
        port,
        debugger
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use debark_value::Value;

    #[test]
    fn nearest_wins_and_conditions_add_up() {
        let condition = |text: &str| Condition { value: text.into(), span: Default::default() };
        let outer = Keywords {
            become_: Some(true.into()),
            become_user: Some("a".into()),
            when: vec![condition("x")],
            ..Keywords::default()
        };
        let inner =
            Keywords { become_user: Some("b".into()), when: vec![condition("y")], ..Keywords::default() };
        let merged = merge(&outer, &inner);
        assert_eq!((merged.become_, merged.become_user), (Some(Value::Bool(true)), Some("b".into())));
        assert_eq!(merged.when.len(), 2);
    }
}
