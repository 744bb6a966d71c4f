//! What a play says that concerns the controller: found in its tasks, variables and templates when a host first asks.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use debark_expr::shape::{self, LookupCall};
use debark_value::{Map, Value};
use debark_wire::{Keywords, Node, Role, Task};

use super::hostvars::Mentioned;

/// Actions for which the controller does something.
const CONCERN: &[&str] = &[
    "copy",
    "template",
    "script",
    "unarchive",
    "assemble",
    "uri",
    "include_tasks",
    "include_role",
    "include_vars",
    "add_host",
    "group_by",
    "pause",
    "reboot",
    "wait_for_connection",
    "meta",
];

/// A lookup, and what its expression sees besides the variables of host and play.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    pub(crate) call: LookupCall,
    pub(crate) around: Around,
}

/// `with_NAME: items`.
#[derive(Debug, Clone)]
pub(crate) struct With {
    pub(crate) name: String,
    pub(crate) items: Value,
    pub(crate) around: Around,
}

/// Variables of the blocks around a place, outermost first, and its role.
#[derive(Debug, Clone, Default)]
pub(crate) struct Around {
    pub(crate) vars: Vec<Arc<Map>>,
    pub(crate) role: Option<u32>,
}

/// A task, with what is around it.
#[derive(Debug, Clone)]
pub(crate) struct Stated {
    pub(crate) task: Task,
    /// Its keywords with those it inherits, as far as they matter here.
    pub(crate) keywords: Keywords,
    pub(crate) around: Around,
}

/// All that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) tasks: Vec<Stated>,
    /// All other tasks: a variable may send any of them through a login of its own.
    pub(crate) others: Vec<Stated>,
    pub(crate) lookups: Vec<Looked>,
    pub(crate) withs: Vec<With>,
    /// What loops go through.
    pub(crate) items: Vec<Value>,
    /// Variables that a host may set while it runs.
    pub(crate) settable: BTreeSet<String>,
    /// Some of their names are computed.
    pub(crate) any_settable: bool,
    pub(crate) hostvars: Mentioned,
    /// Source files of the tasks.
    pub(crate) files: HashSet<String>,
    /// Content that was announced with them.
    pub(crate) digests: HashSet<String>,
}

impl Said {
    /// Adds tasks and what is in them.
    pub(crate) fn nodes(&mut self, nodes: &[Node], outer: &Keywords, around: &Around) {
        for node in nodes {
            match node {
                Node::Task(task) => self.task(task, outer, around),
                Node::Block(block) => {
                    let keywords = inherited(outer, &block.keywords);
                    let mut inner = around.clone();
                    inner.role = block.role.or(around.role);
                    self.keywords(&block.keywords, &inner);
                    inner.add(&block.keywords.vars);
                    for nodes in [&block.block, &block.rescue, &block.always] {
                        self.nodes(nodes, &keywords, &inner);
                    }
                }
            }
        }
    }

    fn task(&mut self, task: &Task, outer: &Keywords, around: &Around) {
        let mut around = around.clone();
        around.role = task.role.or(around.role);
        around.add(&task.keywords.vars);
        self.settable.extend(task.register.clone());
        if task.action == "set_fact" {
            let keys = task.args.keys().map(|key| key.to_string());
            let (computed, plain): (Vec<_>, Vec<_>) = keys.partition(|key| debark_expr::is_template(key));
            self.any_settable |= !computed.is_empty() || task.args_template.is_some();
            self.settable.extend(plain);
        }
        if let Some(looping) = &task.looping {
            self.settable.extend([looping.var.clone()].into_iter().chain(looping.index_var.clone()));
            self.items.push(looping.items.clone());
            if let Some(name) = &looping.lookup {
                let (name, items) = (name.clone(), looping.items.clone());
                self.withs.push(With { name, items, around: around.clone() });
            }
            self.value(&looping.items, &around);
            let more = [&looping.label, &looping.pause];
            more.into_iter().flatten().for_each(|value| self.value(value, &around));
            looping.break_when.iter().for_each(|value| self.value(value, &around));
        }
        self.text(&task.name, &around);
        self.map(&task.args, &around);
        let lists = [&task.until, &task.changed_when, &task.failed_when, &task.notify];
        lists.into_iter().flatten().for_each(|value| self.value(value, &around));
        let single = [&task.args_template, &task.retries, &task.delay, &task.async_seconds, &task.poll];
        single.into_iter().flatten().for_each(|value| self.value(value, &around));
        self.keywords(&task.keywords, &around);
        let keywords = inherited(outer, &task.keywords);
        let elsewhere = keywords.delegate_to.is_some() || keywords.delegate_facts.is_some();
        let stated = Stated { task: task.clone(), keywords, around };
        match elsewhere || CONCERN.contains(&task.action.as_str()) {
            true => self.tasks.push(stated),
            false => self.others.push(stated),
        }
    }

    /// Looks through keywords.
    pub(crate) fn keywords(&mut self, keywords: &Keywords, around: &Around) {
        keywords.when.iter().for_each(|condition| self.value(&condition.value, around));
        self.map(&keywords.vars, around);
        keywords.environment.iter().for_each(|value| self.value(value, around));
        keywords.module_defaults.iter().for_each(|(_, value)| self.value(value, around));
        let single = [
            &keywords.become_,
            &keywords.become_user,
            &keywords.become_method,
            &keywords.become_flags,
            &keywords.become_exe,
            &keywords.ignore_errors,
            &keywords.ignore_unreachable,
            &keywords.no_log,
            &keywords.check_mode,
            &keywords.diff,
            &keywords.any_errors_fatal,
            &keywords.delegate_to,
            &keywords.delegate_facts,
            &keywords.run_once,
            &keywords.throttle,
            &keywords.timeout,
            &keywords.remote_user,
            &keywords.port,
        ];
        single.into_iter().flatten().for_each(|value| self.value(value, around));
    }

    /// Looks through a role's variables.
    pub(crate) fn role(&mut self, role: &Role, index: u32) {
        let around = Around { vars: Vec::new(), role: Some(index) };
        [&role.defaults, &role.vars, &role.inline, &role.params]
            .into_iter()
            .for_each(|vars| self.map(vars, &around));
    }

    /// Looks through all texts of a mapping.
    pub(crate) fn map(&mut self, map: &Map, around: &Around) {
        for (key, value) in map {
            self.text(key, around);
            self.value(value, around);
        }
    }

    fn value(&mut self, value: &Value, around: &Around) {
        match value {
            Value::Str(text) => self.text(text, around),
            Value::List(items) => items.iter().for_each(|item| self.value(item, around)),
            Value::Map(map) => self.map(map, around),
            _ => {}
        }
    }

    /// Looks through one text.
    pub(crate) fn text(&mut self, text: &str, around: &Around) {
        self.hostvars.scan(text);
        let calls = shape::lookups(text).into_iter();
        self.lookups.extend(calls.map(|call| Looked { call, around: around.clone() }));
    }
}

impl Around {
    fn add(&mut self, vars: &Map) {
        if !vars.is_empty() {
            self.vars.push(Arc::new(vars.clone()));
        }
    }
}

/// What decides where and as whom a task runs: the nearest level's word counts.
fn inherited(outer: &Keywords, inner: &Keywords) -> Keywords {
    let or = |inner: &Option<Value>, outer: &Option<Value>| inner.clone().or_else(|| outer.clone());
    Keywords {
        delegate_to: or(&inner.delegate_to, &outer.delegate_to),
        delegate_facts: or(&inner.delegate_facts, &outer.delegate_facts),
        check_mode: or(&inner.check_mode, &outer.check_mode),
        become_: or(&inner.become_, &outer.become_),
        become_user: or(&inner.become_user, &outer.become_user),
        become_method: or(&inner.become_method, &outer.become_method),
        become_flags: or(&inner.become_flags, &outer.become_flags),
        become_exe: or(&inner.become_exe, &outer.become_exe),
        remote_user: or(&inner.remote_user, &outer.remote_user),
        port: or(&inner.port, &outer.port),
        environment: outer.environment.iter().chain(&inner.environment).cloned().collect(),
        module_defaults: outer.module_defaults.iter().chain(&inner.module_defaults).cloned().collect(),
        ..Keywords::default()
    }
}
