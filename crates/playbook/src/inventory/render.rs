//! The inventory as `ansible-inventory` prints it: a tree, or JSON that is itself an inventory script's output.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use debark_value::secrets::{MASK, Secrets};
use debark_value::{Map, Value};

use super::data::{ALL, Data, Group, GroupId, Vars};
use super::{Inventory, Limit};
use crate::Diagnostic;

/// Variables that debark sets by itself, which are not shown.
const INTERNAL: [&str; 2] = ["inventory_dir", "inventory_file"];

impl Inventory {
    /// A host's variables for display, sorted, secrets masked unless `reveal`.
    ///
    /// # Errors
    /// As [`Inventory::vars`].
    pub fn shown_vars(&self, host: &str, dirs: &[PathBuf], reveal: bool) -> Result<Map, Vec<Diagnostic>> {
        let vars = self.vars(host, dirs)?;
        let mut secrets = Secrets::default();
        if !reveal {
            self.secrets().iter().for_each(|secret| secrets.add(secret));
        }
        let mut map = Map::new();
        for (key, value) in vars.iter().filter(|(key, _)| !INTERNAL.contains(&&***key)) {
            let origins =
                if reveal || secrets.is_empty() { Vec::new() } else { self.explain(key, host, dirs, &[])? };
            let secret = origins.last().is_some_and(|origin| origin.secret);
            let value = if secret && !matches!(value, Value::Map(_) | Value::List(_)) {
                Value::from(MASK)
            } else {
                secrets.scrub_value(value)
            };
            map.insert(key.clone(), value);
        }
        map.sort_keys();
        Ok(map)
    }

    /// `--list`: groups and the variables of every host, in the shape of an inventory script's output.
    ///
    /// # Errors
    /// As [`Inventory::vars`], and a malformed limit.
    pub fn list(&self, limit: &Limit, dirs: &[PathBuf], reveal: bool) -> Result<Map, Vec<Diagnostic>> {
        let hosts = self.select("all", limit).map_err(|error| vec![error])?.hosts;
        let mut hostvars = Map::new();
        for host in &hosts {
            let vars = self.shown_vars(host, dirs, reveal)?;
            if !vars.is_empty() {
                hostvars.insert(host.clone(), Value::from(vars));
            }
        }
        let shown: HashSet<&str> = hosts.iter().map(|host| &**host).collect();
        let mut map = Map::new();
        list_group(&self.lock().data, ALL, &shown, &mut HashSet::new(), &mut map);
        hostvars.sort_keys();
        map.insert("_meta".into(), Value::from(debark_value::map! { "hostvars" => hostvars }));
        map.sort_keys();
        Ok(map)
    }

    /// `--graph`: the tree below a group, with variables if `dirs` says where playbooks are.
    ///
    /// # Errors
    /// There is no such group; as [`Inventory::vars`].
    pub fn graph(&self, group: &str, vars: Option<&[PathBuf]>) -> Result<String, Vec<Diagnostic>> {
        let mut shown = HashMap::new();
        if let Some(dirs) = vars {
            for host in self.hosts() {
                let vars = self.shown_vars(&host, dirs, false)?;
                shown.insert(host.to_string(), vars);
            }
        }
        let state = self.lock();
        let data = &state.data;
        let Some(id) = data.group_id(group) else {
            let names = data.groups.iter().map(|group| &*group.name);
            return Err(vec![
                Diagnostic::error(format!("there is no group `{group}` in the inventory"))
                    .maybe_hint(crate::diagnostic::did_you_mean(group, names)),
            ]);
        };
        let mut groups = HashMap::new();
        for (at, group) in data.groups.iter().enumerate().filter(|_| vars.is_some()) {
            groups.insert(at as GroupId, self.group_vars(group, vars.unwrap_or_default())?);
        }
        let mut lines = Vec::new();
        let shown = Shown { with_vars: vars.is_some(), hosts: shown, groups };
        graph_group(data, id, 0, &shown, &mut lines);
        Ok(lines.join("\n"))
    }
}

impl Inventory {
    /// What sources and files set for a group itself, secrets masked.
    fn group_vars(&self, group: &Group, dirs: &[PathBuf]) -> Result<Map, Vec<Diagnostic>> {
        let mut map = Map::new();
        let mut put = |vars: &Vars| {
            for (key, var) in vars {
                let value = if var.secret { Value::from(MASK) } else { var.value.clone() };
                map.insert(key.clone(), value);
            }
        };
        put(&group.vars);
        for dir in self.adjacent.iter().chain(dirs) {
            for vars in self.files.find(dir, "group_vars", &group.name) {
                put(&*vars.map_err(|error| vec![error])?);
            }
        }
        if group.priority != 1 {
            map.insert("ansible_group_priority".into(), group.priority.into());
        }
        Ok(map)
    }
}

fn list_group(data: &Data, id: GroupId, shown: &HashSet<&str>, seen: &mut HashSet<GroupId>, map: &mut Map) {
    let group = data.group(id);
    let mut entry = Map::new();
    if id != ALL {
        let names = group.hosts.iter().map(|host| data.host(*host).name.clone());
        let hosts: Vec<Value> = names.filter(|name| shown.contains(&**name)).map(Value::from).collect();
        if !hosts.is_empty() {
            entry.insert("hosts".into(), Value::from(hosts));
        }
    }
    if !group.children.is_empty() {
        let children = Value::list(group.children.iter().map(|child| data.group(*child).name.clone()));
        entry.insert("children".into(), children);
    }
    entry.sort_keys();
    if !entry.is_empty() {
        map.insert(group.name.clone(), Value::from(entry));
    }
    for child in &group.children {
        if seen.insert(*child) {
            list_group(data, *child, shown, seen, map);
        }
    }
}

/// What a tree shows besides names.
struct Shown {
    with_vars: bool,
    hosts: HashMap<String, Map>,
    groups: HashMap<GroupId, Map>,
}

/// A group below many others is shown below each: a large diamond could be shown without end.
const MOST_LINES: usize = 5_000_000;

fn graph_group(data: &Data, id: GroupId, depth: usize, shown: &Shown, lines: &mut Vec<String>) {
    if lines.len() > MOST_LINES {
        return;
    }
    let group = data.group(id);
    lines.push(line(&format!("@{}:", group.name), depth));
    for child in &group.children {
        graph_group(data, *child, depth + 1, shown, lines);
    }
    if id != ALL {
        for host in &group.hosts {
            let name = &data.host(*host).name;
            lines.push(line(name, depth + 1));
            lines.extend(shown.hosts.get(&**name).into_iter().flat_map(|vars| entries(vars, depth + 2)));
        }
    }
    if shown.with_vars {
        lines.extend(shown.groups.get(&id).into_iter().flat_map(|vars| entries(vars, depth + 1)));
    }
}

fn line(text: &str, depth: usize) -> String {
    match depth {
        0 => text.to_owned(),
        depth => format!("{}--{text}", "  |".repeat(depth)),
    }
}

fn entries(map: &Map, depth: usize) -> Vec<String> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|a, b| a.0.cmp(b.0));
    let text = |value: &Value| if value.is_null() { "None".to_owned() } else { value.to_string() };
    entries.iter().map(|(name, value)| line(&format!("{{{name} = {}}}", text(value)), depth)).collect()
}

/// JSON with four spaces, as `ansible-inventory` prints it. Keys stand as they are in the map.
pub fn to_json(map: &Map) -> String {
    use serde::Serialize;
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // Writing to memory fails for nothing that a value can hold.
    let _ = debark_value::to_json(&sorted(&Value::from(map.clone()))).serialize(&mut serializer);
    String::from_utf8(out).unwrap_or_default()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::from(items.iter().map(sorted).collect::<Vec<_>>()),
        Value::Map(map) => {
            let mut map: Map = map.iter().map(|(key, item)| (key.clone(), sorted(item))).collect();
            map.sort_keys();
            Value::from(map)
        }
        other => other.clone(),
    }
}
