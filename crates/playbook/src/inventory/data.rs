//! Hosts, groups and what was said about them, in the form in which sources add to it.

use std::collections::HashMap;
use std::sync::Arc;

use debark_value::Value;
use indexmap::{IndexMap, IndexSet};

use crate::source::Span;

/// Number of a host in [`Data::hosts`].
pub type HostId = u32;
/// Number of a group in [`Data::groups`].
pub type GroupId = u32;

/// The group of all hosts.
pub const ALL: GroupId = 0;
/// The group of the hosts that are in no other.
pub const UNGROUPED: GroupId = 1;

/// More hosts than this are an error: something repeats without end.
pub const MOST_HOSTS: usize = 200_000;

/// The names that stand for this machine even where no inventory mentions them.
pub const LOCALHOST: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A variable and where it was set.
#[derive(Debug, Clone, PartialEq)]
pub struct Var {
    /// Its value; may hold templates.
    pub value: Value,
    /// Where it was set; `None`: by debark itself.
    pub span: Option<Span>,
    /// Whether it came out of a vault.
    pub secret: bool,
}

/// Variables by name, in the order in which they were first set.
pub type Vars = IndexMap<Arc<str>, Var>;

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name in the inventory.
    pub name: Arc<str>,
    /// What inventory sources set for it.
    pub vars: Vars,
    /// The groups that list it.
    pub groups: Vec<GroupId>,
    /// Number of the source that named it first; `None`: it came at run time.
    pub source: Option<u32>,
    /// Nobody named it: `localhost` that a pattern asked for.
    pub implicit: bool,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// What inventory sources set for it.
    pub vars: Vars,
    /// The hosts it lists itself, in order.
    pub hosts: IndexSet<HostId>,
    /// The groups it lists, in order.
    pub children: IndexSet<GroupId>,
    /// The groups that list it.
    pub parents: IndexSet<GroupId>,
    /// Length of the longest way down from `all`.
    pub depth: u32,
    /// `ansible_group_priority`.
    pub priority: i64,
}

/// All hosts and groups.
#[derive(Debug, Clone)]
pub struct Data {
    /// Hosts in the order in which they were first named.
    pub hosts: Vec<Host>,
    /// Groups; `all` and `ungrouped` first.
    pub groups: Vec<Group>,
    /// Files, scripts and lists that hosts came from, with what a user would call them.
    pub sources: Vec<String>,
    host_ids: HashMap<Arc<str>, HostId>,
    group_ids: HashMap<Arc<str>, GroupId>,
    keys: HashMap<Box<str>, Arc<str>>,
}

impl Default for Data {
    fn default() -> Self {
        let mut data = Self {
            hosts: Vec::new(),
            groups: Vec::new(),
            sources: Vec::new(),
            host_ids: HashMap::new(),
            group_ids: HashMap::new(),
            keys: HashMap::new(),
        };
        data.add_group("all");
        data.add_group("ungrouped");
        data.link(ALL, UNGROUPED);
        data
    }
}

impl Data {
    /// The host of that name.
    pub fn host_id(&self, name: &str) -> Option<HostId> {
        self.host_ids.get(name).copied()
    }

    /// The group of that name.
    pub fn group_id(&self, name: &str) -> Option<GroupId> {
        self.group_ids.get(name).copied()
    }

    /// The host of that number.
    pub fn host(&self, id: HostId) -> &Host {
        // Numbers are given out by `add_host` only, and hosts are never removed.
        &self.hosts[id as usize]
    }

    /// The group of that number.
    pub fn group(&self, id: GroupId) -> &Group {
        // As for hosts.
        &self.groups[id as usize]
    }

    /// One text for all uses of a variable's name.
    pub fn key(&mut self, name: &str) -> Arc<str> {
        match self.keys.get(name) {
            Some(key) => key.clone(),
            None => {
                let key: Arc<str> = name.into();
                self.keys.insert(name.into(), key.clone());
                key
            }
        }
    }

    /// The group of that name, made if there is none.
    pub fn add_group(&mut self, name: &str) -> GroupId {
        if let Some(id) = self.group_id(name) {
            return id;
        }
        // Far fewer than 2^32: each holds memory of its own.
        let id = self.groups.len() as GroupId;
        let name: Arc<str> = name.into();
        self.groups.push(Group {
            name: name.clone(),
            vars: Vars::new(),
            hosts: IndexSet::new(),
            children: IndexSet::new(),
            parents: IndexSet::new(),
            depth: 0,
            priority: 1,
        });
        self.group_ids.insert(name, id);
        id
    }

    /// The host of that name, made if there is none; `source` names it first.
    ///
    /// # Errors
    /// There are [`MOST_HOSTS`] already.
    pub fn add_host(&mut self, name: &str, source: Option<u32>) -> Result<HostId, String> {
        if let Some(id) = self.host_id(name) {
            return Ok(id);
        }
        if self.hosts.len() >= MOST_HOSTS {
            return Err(format!("there are more than {MOST_HOSTS} hosts"));
        }
        let id = self.hosts.len() as HostId;
        let name: Arc<str> = name.into();
        self.hosts.push(Host {
            name: name.clone(),
            vars: Vars::new(),
            groups: Vec::new(),
            source,
            implicit: false,
        });
        self.host_ids.insert(name, id);
        Ok(id)
    }

    /// Adds `localhost` that no source names.
    pub fn add_implicit(&mut self, name: &str) -> HostId {
        if let Some(id) = self.host_id(name) {
            return id;
        }
        let id = self.hosts.len() as HostId;
        let name: Arc<str> = name.into();
        let mut vars = Vars::new();
        vars.insert(self.key("ansible_connection"), Var { value: "local".into(), span: None, secret: false });
        self.hosts.push(Host { name: name.clone(), vars, groups: Vec::new(), source: None, implicit: true });
        self.host_ids.insert(name, id);
        id
    }

    /// Adds a host as a source lists it: in a group, perhaps with a port, with variables. Only the first to name a host
    /// says its port, and any variable outdoes that.
    ///
    /// # Errors
    /// As [`Data::add_host`].
    pub fn add_listed(
        &mut self,
        name: &str,
        group: GroupId,
        port: Option<u16>,
        source: u32,
        span: Option<Span>,
        vars: &[(Arc<str>, Var)],
    ) -> Result<HostId, String> {
        let new = self.host_id(name).is_none();
        let host = self.add_host(name, Some(source))?;
        self.enroll(group, host);
        if let Some(port) = port.filter(|_| new) {
            let var = Var { value: i64::from(port).into(), span, secret: false };
            self.set_host_var(host, "ansible_port", var);
        }
        self.hosts[host as usize].vars.extend(vars.iter().cloned());
        Ok(host)
    }

    /// Puts a host into a group; whether it was not there.
    pub fn enroll(&mut self, group: GroupId, host: HostId) -> bool {
        let added = self.groups[group as usize].hosts.insert(host);
        if added {
            self.hosts[host as usize].groups.push(group);
        }
        added
    }

    /// Puts a group's hosts into the order of the inventory.
    pub fn sort_group(&mut self, group: GroupId) {
        self.groups[group as usize].hosts.sort();
    }

    fn dismiss(&mut self, group: GroupId, host: HostId) {
        self.groups[group as usize].hosts.shift_remove(&host);
        self.hosts[host as usize].groups.retain(|other| *other != group);
    }

    /// Puts a group below another; whether it was not there. Cycles are found later.
    pub fn link(&mut self, parent: GroupId, child: GroupId) -> bool {
        let added = self.groups[parent as usize].children.insert(child);
        if added {
            self.groups[child as usize].parents.insert(parent);
        }
        added
    }

    /// Sets a variable of a host.
    pub fn set_host_var(&mut self, host: HostId, name: &str, var: Var) {
        let key = self.key(name);
        self.hosts[host as usize].vars.insert(key, var);
    }

    /// Sets a variable of a group; `ansible_group_priority` is the group's place among its equals.
    ///
    /// # Errors
    /// A priority that is no whole number.
    pub fn set_group_var(&mut self, group: GroupId, name: &str, var: Var) -> Result<(), String> {
        if name == "ansible_group_priority" {
            let priority = var.value.to_int().map_err(|why| format!("`ansible_group_priority` {why}"))?;
            self.groups[group as usize].priority = priority;
            return Ok(());
        }
        let key = self.key(name);
        self.groups[group as usize].vars.insert(key, var);
        Ok(())
    }

    /// Brings everything into the form in which it is used: every group below `all`, every host in a group, depths.
    ///
    /// # Errors
    /// Names a group that contains itself, and the way around.
    pub fn settle(&mut self) -> Result<(), String> {
        for id in 1..self.groups.len() as GroupId {
            if self.group(id).parents.is_empty() {
                self.link(ALL, id);
            }
        }
        // A host of `ungrouped` that another group lists as well has been grouped in the meantime.
        let listed: Vec<HostId> = self.group(UNGROUPED).hosts.iter().copied().collect();
        for id in listed {
            if self.host(id).groups.iter().any(|group| !matches!(*group, ALL | UNGROUPED)) {
                self.dismiss(UNGROUPED, id);
            }
        }
        for id in 0..self.hosts.len() as HostId {
            let host = self.host(id);
            if !host.implicit && host.groups.iter().all(|group| *group == ALL) {
                self.enroll(UNGROUPED, id);
            }
        }
        self.measure()
    }

    /// Computes depths in an order in which parents come before children; what is left over is in a cycle.
    fn measure(&mut self) -> Result<(), String> {
        let mut waiting: Vec<usize> = self.groups.iter().map(|group| group.parents.len()).collect();
        let mut depths = vec![0u32; self.groups.len()];
        let mut ready: Vec<GroupId> =
            (0..self.groups.len() as GroupId).filter(|id| waiting[*id as usize] == 0).collect();
        let mut done = 0;
        while let Some(id) = ready.pop() {
            done += 1;
            for child in &self.group(id).children {
                let child = *child as usize;
                depths[child] = depths[child].max(depths[id as usize] + 1);
                waiting[child] -= 1;
                if waiting[child] == 0 {
                    ready.push(child as GroupId);
                }
            }
        }
        if done < self.groups.len() {
            return Err(self.cycle(&waiting));
        }
        for (group, depth) in self.groups.iter_mut().zip(depths) {
            group.depth = depth;
        }
        Ok(())
    }

    fn cycle(&self, waiting: &[usize]) -> String {
        let mut id = waiting.iter().position(|count| *count > 0).unwrap_or_default() as GroupId;
        let mut way: Vec<GroupId> = Vec::new();
        while !way.contains(&id) {
            way.push(id);
            // Whoever waits has a parent that waits.
            id = self.group(id).parents.iter().copied().find(|up| waiting[*up as usize] > 0).unwrap_or(id);
        }
        let from = way.iter().position(|other| *other == id).unwrap_or_default();
        let mut names: Vec<&str> = way[from..].iter().rev().map(|id| &*self.group(*id).name).collect();
        names.push(names[0]);
        format!("group `{}` contains itself: {}", names[0], names.join(" > "))
    }

    /// The hosts of a group and of all groups below it, each once: its own first, then level by level.
    pub fn members(&self, group: GroupId) -> Vec<HostId> {
        let mut seen = IndexSet::new();
        for id in self.below(group) {
            let hosts = &self.group(id).hosts;
            seen.extend(hosts.iter().copied().filter(|host| id != ALL || !self.host(*host).implicit));
        }
        seen.into_iter().collect()
    }

    /// A group and all groups below it, level by level.
    fn below(&self, group: GroupId) -> IndexSet<GroupId> {
        let mut groups = IndexSet::from([group]);
        let mut at = 0;
        while let Some(id) = groups.get_index(at).copied() {
            groups.extend(self.group(id).children.iter().copied());
            at += 1;
        }
        groups
    }

    /// The groups that a host is in, directly or not, without `all`, in the order in which their variables apply:
    /// by depth, then priority, then name.
    pub fn groups_of(&self, host: HostId) -> Vec<GroupId> {
        let mut groups: IndexSet<GroupId> = self.host(host).groups.iter().copied().collect();
        let mut at = 0;
        while let Some(id) = groups.get_index(at).copied() {
            groups.extend(self.group(id).parents.iter().copied());
            at += 1;
        }
        let mut groups: Vec<GroupId> = groups.into_iter().filter(|id| *id != ALL).collect();
        groups.sort_by_key(|id| {
            let group = self.group(*id);
            (group.depth, group.priority, &group.name)
        });
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_named() {
        let mut data = Data::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| data.add_group(name));
        data.link(a, b);
        data.link(b, c);
        data.link(c, b);
        assert_eq!(data.settle().unwrap_err(), "group `c` contains itself: c > b > c");
    }

    #[test]
    fn depth_is_the_longest_way() {
        let mut data = Data::default();
        let [deep, mid, top] = ["a_deep", "mid", "z_top"].map(|name| data.add_group(name));
        data.link(top, mid);
        data.link(mid, deep);
        data.link(top, deep);
        let host = data.add_host("h", None).unwrap();
        data.enroll(deep, host);
        data.settle().unwrap();
        assert_eq!(data.groups_of(host), [top, mid, deep]);
        assert_eq!(data.group(deep).depth, 3);
    }
}
