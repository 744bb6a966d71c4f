//! What plays change about the inventory while they run: `add_host` and `group_by`.

use debark_value::Map;

use super::data::{ALL, LOCALHOST, Var};
use super::{Added, Inventory};
use crate::Diagnostic;

impl Inventory {
    /// Makes this machine known under one of its own names, which `delegate_to` may use although no source has them.
    pub fn add_implicit(&self, name: &str) {
        let mut state = self.lock();
        if LOCALHOST.contains(&name) && state.data.host_id(name).is_none() {
            state.data.add_implicit(name);
            state.changed();
        }
    }

    /// `add_host`: adds a host, or groups and variables to one that is known. Tells whether anything changed.
    ///
    /// # Errors
    /// An empty name, or a group that would contain itself.
    pub fn add_host(&self, name: &str, groups: &[String], vars: &Map) -> Result<bool, String> {
        if name.is_empty() || groups.iter().any(String::is_empty) {
            return Err("a host or group has an empty name".into());
        }
        let mut state = self.lock();
        let mut changed = state.data.host_id(name).is_none();
        let id = state.data.add_host(name, None)?;
        state.data.enroll(ALL, id);
        for (key, value) in vars {
            if state.data.host(id).vars.get(key).is_none_or(|var| var.value != *value) {
                state.data.set_host_var(id, key, Var { value: value.clone(), span: None, secret: false });
                changed = true;
            }
        }
        for group in groups {
            let group = state.data.add_group(group);
            changed |= state.data.enroll(group, id);
        }
        if changed {
            state.data.settle()?;
            state.changed();
            let (name, groups, vars) = (name.to_owned(), groups.to_vec(), vars.clone());
            state.added.push(Added::Host { name, groups, vars });
        }
        Ok(changed)
    }

    /// `meta: refresh_inventory`: reads all sources anew; what plays added stays. A source that is wrong now leaves the
    /// inventory as it was.
    ///
    /// # Errors
    /// Everything that is wrong with the sources.
    pub fn refresh(&self) -> Result<(), Vec<Diagnostic>> {
        self.options.sources.forget();
        let (data, _) = super::read(&self.sources, &self.options)?;
        let added = {
            let mut state = self.lock();
            state.data = data;
            state.changed();
            self.files.forget();
            std::mem::take(&mut state.added)
        };
        for one in added {
            // What cannot be added to the hosts of today (one that is gone) is left out.
            let _ = match one {
                Added::Host { name, groups, vars } => self.add_host(&name, &groups, &vars),
                Added::Group { host, group, parents } => self.group_by(&host, &group, &parents),
            };
        }
        Ok(())
    }

    /// `group_by`: puts a known host into a group, below the given parents. Tells whether anything changed.
    ///
    /// # Errors
    /// There is no such host, an empty name, or a group that would contain itself.
    pub fn group_by(&self, host: &str, group: &str, parents: &[String]) -> Result<bool, String> {
        if group.is_empty() || parents.iter().any(String::is_empty) {
            return Err("a group has an empty name".into());
        }
        let name = group;
        let mut state = self.lock();
        let id =
            state.data.host_id(host).ok_or_else(|| format!("there is no host `{host}` in the inventory"))?;
        // A group that would contain itself must leave the inventory as it was.
        let before = state.data.clone();
        let mut changed = state.data.group_id(group).is_none();
        let group = state.data.add_group(group);
        for parent in parents {
            let parent = state.data.add_group(parent);
            if parent == group || parent != ALL || state.data.group(group).parents.is_empty() {
                changed |= state.data.link(parent, group);
            }
        }
        changed |= state.data.enroll(group, id);
        // Hosts answer in any order; the group's is the inventory's.
        state.data.sort_group(group);
        if changed {
            if let Err(why) = state.data.settle() {
                state.data = before;
                return Err(why);
            }
            state.changed();
            let (host, group, parents) = (host.to_owned(), name.to_owned(), parents.to_vec());
            state.added.push(Added::Group { host, group, parents });
        }
        Ok(changed)
    }
}
