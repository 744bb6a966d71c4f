//! The inventory as `ansible-inventory` prints it: a tree, or JSON that is itself an inventory script's output.

use std::collections::HashSet;
use std::path::PathBuf;

use debark_value::secrets::{MASK, Secrets};
use debark_value::{Map, Value};

use super::data::{ALL, Data, GroupId};
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
        let mut shown = std::collections::HashMap::new();
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
        let mut lines = Vec::new();
        let entries = |host: &str| shown.get(host).cloned().unwrap_or_default();
        graph_group(data, id, 0, vars.is_some(), &entries, &mut lines);
        Ok(lines.join("\n"))
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

fn graph_group(
    data: &Data,
    id: GroupId,
    depth: usize,
    with_vars: bool,
    vars: &dyn Fn(&str) -> Map,
    lines: &mut Vec<String>,
) {
    /// A group below many others is shown below each: a large diamond could be shown without end.
    const MOST_LINES: usize = 5_000_000;
    let line = |text: &str, depth: usize| match depth {
        0 => text.to_owned(),
        depth => format!("{}--{text}", "  |".repeat(depth)),
    };
    let show = |map: &Map, depth: usize, lines: &mut Vec<String>| {
        let mut entries: Vec<_> = map.iter().collect();
        entries.sort_by(|a, b| a.0.cmp(b.0));
        lines.extend(entries.iter().map(|(name, value)| {
            let value = if value.is_null() { "None".to_owned() } else { value.to_string() };
            line(&format!("{{{name} = {value}}}"), depth)
        }));
    };
    if lines.len() > MOST_LINES {
        return;
    }
    let group = data.group(id);
    lines.push(line(&format!("@{}:", group.name), depth));
    for child in &group.children {
        graph_group(data, *child, depth + 1, with_vars, vars, lines);
    }
    if id != ALL {
        for host in &group.hosts {
            let name = &data.host(*host).name;
            lines.push(line(name, depth + 1));
            if with_vars {
                show(&vars(name), depth + 2, lines);
            }
        }
    }
    if with_vars {
        let own: Map = group
            .vars
            .iter()
            .map(|(key, var)| (key.clone(), if var.secret { Value::from(MASK) } else { var.value.clone() }))
            .collect();
        show(&own, depth + 1, lines);
    }
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
