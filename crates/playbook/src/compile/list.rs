//! What `--list-tasks` and `--list-tags` show.

use std::collections::BTreeSet;

use debark_wire::{Node, Task};

use super::CompiledPlay;

/// A play as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPlay {
    /// Host patterns, joined by commas.
    pub hosts: String,
    /// The play's name.
    pub name: String,
    /// The play's own tags.
    pub tags: Vec<String>,
    /// Its tasks in order, without handlers.
    pub tasks: Vec<ListedTask>,
}

/// A task as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTask {
    /// `name`, or `role : name`, or the module's name.
    pub name: String,
    /// All its tags, inherited ones included, sorted.
    pub tags: Vec<String>,
}

/// How many plays, from the first on, select their hosts from an inventory that is as it was read: those up to the
/// first that may add hosts or groups.
pub fn foreseeable(plays: &[CompiledPlay]) -> usize {
    fn adds(node: &Node) -> bool {
        match node {
            Node::Block(block) => {
                [&block.block, &block.rescue, &block.always].into_iter().flatten().any(adds)
            }
            Node::Task(task) => {
                let name = task.action.rsplit('.').next().unwrap_or_default();
                matches!(name, "add_host" | "group_by" | "include_tasks" | "include_role")
            }
        }
    }
    let first = plays.iter().position(|play| play.play.tasks.iter().chain(&play.play.handlers).any(adds));
    first.map_or(plays.len(), |play| play + 1)
}

impl CompiledPlay {
    /// The play's tasks and tags.
    pub fn list(&self) -> ListedPlay {
        let play = &self.play;
        let mut listed = ListedPlay {
            hosts: self.hosts.join(","),
            name: play.name.clone(),
            tags: play.keywords.tags.clone(),
            tasks: Vec::new(),
        };
        let tags = play.keywords.tags.iter().cloned().collect();
        self.list_nodes(&play.tasks, &tags, &mut listed.tasks);
        listed
    }

    fn list_nodes(&self, nodes: &[Node], around: &BTreeSet<String>, listed: &mut Vec<ListedTask>) {
        for node in nodes {
            match node {
                Node::Task(task) if is_implicit(task) => {}
                Node::Task(task) => {
                    let tags: BTreeSet<_> = around.iter().chain(&task.keywords.tags).cloned().collect();
                    let own = if task.name.is_empty() { &task.action } else { &task.name };
                    let role = task.role.and_then(|role| self.play.roles.get(role as usize));
                    let name = match role {
                        Some(role) if !task.name.is_empty() => format!("{} : {own}", role.full_name()),
                        _ => own.clone(),
                    };
                    listed.push(ListedTask { name, tags: tags.into_iter().collect() });
                }
                Node::Block(block) => {
                    let tags = around.iter().chain(&block.keywords.tags).cloned().collect();
                    for part in [&block.block, &block.rescue, &block.always] {
                        self.list_nodes(part, &tags, listed);
                    }
                }
            }
        }
    }
}

/// The flushes between the parts of a play and the ends of guarded blocks, which nobody wrote.
pub(super) fn is_implicit(task: &Task) -> bool {
    let word = task.args.get("free_form").and_then(debark_value::Value::as_str);
    task.action == "meta"
        && task.keywords == debark_wire::Keywords::default()
        && (word == Some("guard") || task.name.is_empty() && word == Some("flush_handlers"))
}

impl ListedPlay {
    /// The play's line, in Ansible's layout; `number` counts from 1.
    pub fn heading(&self, number: usize) -> String {
        format!("\n  play #{number} ({}): {}\tTAGS: [{}]", self.hosts, self.name, self.tags.join(","))
    }

    /// The lines of `--list-tasks`.
    pub fn task_lines(&self) -> String {
        let mut out = String::from("    tasks:\n");
        for task in &self.tasks {
            out.push_str(&format!("      {}\tTAGS: [{}]\n", task.name, task.tags.join(", ")));
        }
        out
    }

    /// The line of `--list-tags`.
    pub fn tag_line(&self) -> String {
        let all: BTreeSet<_> = self
            .tags
            .iter()
            .chain(self.tasks.iter().flat_map(|task| &task.tags))
            .map(String::as_str)
            .collect();
        format!("      TASK TAGS: [{}]\n", all.into_iter().collect::<Vec<_>>().join(", "))
    }
}
