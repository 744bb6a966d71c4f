//! `add_host` and `group_by`: what a host may do to the inventory.

use debark_expr::is_template;
use debark_value::{Map, Value};

use super::said::Stated;
use super::trusted::{Trusted, leaves, steers};
use super::{Local, View};
use crate::care::Care;
use crate::site::lock;

impl View<'_> {
    pub(super) fn add_host(
        &self,
        local: &Local,
        hosts: &[String],
        groups: &[String],
        parents: &[String],
        vars: &Map,
    ) -> Result<(), String> {
        let stated = || self.said.tasks.iter().chain(&local.said.tasks);
        if !parents.is_empty() {
            let allowed = hosts.iter().all(|host| host == self.host)
                && vars.is_empty()
                && stated().filter(|stated| stated.task.action == "group_by").any(|stated| {
                    let trusted = self.trusted(local, &stated.around, None);
                    groups.iter().all(|group| self.group(&trusted, stated, &["key", "_raw_params"], group))
                        && parents.iter().all(|parent| {
                            parent == "all" || self.group(&trusted, stated, &["parents"], parent)
                        })
                });
            if !allowed {
                return Err(format!(
                    "asks to be put into {}, which no `group_by` of the play says",
                    groups.join(", ")
                ));
            }
        } else {
            let mut why =
                format!("asks for the new host {}, which no `add_host` of the play makes", hosts.join(", "));
            let allowed = stated().filter(|stated| stated.task.action == "add_host").any(|stated| match self
                .new_host(local, stated, hosts, groups, vars)
            {
                Ok(()) => true,
                Err(because) => {
                    why = because;
                    false
                }
            });
            if !allowed {
                return Err(why);
            }
            hosts.iter().for_each(|host| self.site.made(host));
        }
        groups.iter().for_each(|group| self.site.made(group));
        Ok(())
    }

    fn is_made(&self, name: &str) -> bool {
        lock(&self.site.bounds).made.contains(name)
    }

    /// A group whose name is a host's own word must not be one that the inventory has for other purposes.
    fn group(&self, trusted: &Trusted, stated: &Stated, keys: &[&str], name: &str) -> bool {
        let args = &stated.task.args;
        let mut written: Vec<String> = Vec::new();
        for value in keys.iter().filter_map(|key| args.get(*key)) {
            leaves(value, &mut |leaf| {
                written.extend(leaf.to_string().split(',').map(|part| part.trim().to_owned()));
                written.push(leaf.to_string());
            });
        }
        let spaces = |text: &str| text.replace(' ', "-");
        let groups = self.base.magic.get("groups");
        let free = groups.is_none_or(|groups| groups.get(name).is_none()) || self.is_made(name);
        written.iter().any(|written| {
            trusted.allows(written, name, Care::Name, &[])
                || spaces(written) == name
                || (free && !is_steep(name) && trusted.allows(written, name, Care::Word, &[]))
        })
    }

    fn new_host(
        &self,
        local: &Local,
        stated: &Stated,
        hosts: &[String],
        groups: &[String],
        vars: &Map,
    ) -> Result<(), String> {
        let mut trusted = self.trusted(local, &stated.around, None);
        // That a host or group is in the inventory does not mean that hosts may choose it.
        trusted.words.retain(|map| !std::sync::Arc::ptr_eq(map, &self.base.magic));
        let args = &stated.task.args;
        let named =
            ["name", "hostname", "host"].iter().filter_map(|key| args.get(*key)).map(Value::to_string);
        let named: Vec<String> = named.collect();
        for host in hosts {
            let fixed = named.iter().any(|written| trusted.allows(written, host, Care::Name, &[]));
            let own = !self.site.inventory.has_host(host) || self.is_made(host) || host == self.host;
            let open = named.iter().any(|written| trusted.allows(written, host, Care::Word, &[]));
            let here = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1") || is_steep(host);
            if !(fixed || (open && !here && (own || !vars.keys().any(|name| steers(name))))) {
                return Err(format!("asks for the new host {host}, which no `add_host` of the play makes"));
            }
        }
        for group in groups {
            if !self.group(&trusted, stated, &["groups", "group", "groupname"], group) {
                return Err(format!(
                    "asks to put a new host into {group}, which no `add_host` of the play does"
                ));
            }
        }
        for (key, value) in vars {
            let mut quiet = true;
            leaves(value, &mut |leaf| quiet &= !leaf.as_str().is_some_and(is_template));
            let care = match &**key {
                "ansible_host" | "ansible_user" | "ansible_port" => Care::Word,
                key if steers(key) => Care::Exact,
                _ => Care::Free,
            };
            let good = match args.get(key) {
                Some(written) => quiet && trusted.allows_value(written, value, care),
                None => quiet && stated.task.args_template.is_some() && !steers(key),
            };
            let begins = value.as_str().is_some_and(|text| text.starts_with('-'));
            if !good || (care == Care::Word && begins) {
                return Err(format!("asks to set `{key}` of a new host to what the play does not say"));
            }
        }
        Ok(())
    }
}

/// Whether a name is more than a name: an option, a path, a pattern.
fn is_steep(name: &str) -> bool {
    name.is_empty()
        || name.len() > 255
        || name.starts_with('-')
        || !name.chars().all(|c| c.is_alphanumeric() || "_.:-[]".contains(c))
}
