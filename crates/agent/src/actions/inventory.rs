//! `add_host` and `group_by`: the controller keeps the inventory.

use debark_value::{Map, Value, map};
use debark_wire::{Answer, Request};

use super::{Call, ok};
use crate::task::Done;

/// `add_host`: a host for later plays.
pub fn add_host(call: &Call) -> Result<Done, String> {
    let names = ["name", "hostname", "host"];
    let name = names.iter().find_map(|key| call.text(key)).ok_or("add_host needs the parameter `name`")?;
    let mut groups = Vec::new();
    for key in ["groups", "group", "groupname"] {
        groups.extend(call.texts(key)?);
    }
    let special = |key: &str| {
        names.contains(&key)
            || matches!(key, "groups" | "group" | "groupname" | "inventory_dir" | "inventory_file")
    };
    let vars: Map =
        call.args.iter().filter(|(k, _)| !special(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let request = Request::AddHost {
        hosts: vec![name.clone()],
        groups: groups.clone(),
        parents: Vec::new(),
        vars: vars.clone(),
    };
    let changed = changed(call, request)?;
    let added = map! { "host_name" => name, "groups" => Value::list(groups), "host_vars" => vars };
    Ok(ok(map! { "changed" => changed, "add_host" => added }, changed))
}

/// `group_by`: puts this host into a group named after a value.
pub fn group_by(call: &Call) -> Result<Done, String> {
    let key = call.text("key").ok_or("group_by needs the parameter `key`")?.replace(' ', "-");
    let parents = call.texts("parents")?.iter().map(|parent| parent.replace(' ', "-")).collect::<Vec<_>>();
    let parents = if parents.is_empty() { vec!["all".to_owned()] } else { parents };
    let host = call.running.play.borrow().host.host.clone();
    let request = Request::AddHost {
        hosts: vec![host],
        groups: vec![key.clone()],
        parents: parents.clone(),
        vars: Map::new(),
    };
    let changed = changed(call, request)?;
    let added = map! { "changed" => changed, "add_group" => key, "parent_groups" => Value::list(parents) };
    Ok(ok(added, changed))
}

/// Whether the inventory is another one now; then the next item of a loop sees it already.
fn changed(call: &Call, request: Request) -> Result<bool, String> {
    let answer = call.running.on.link.request(request)?;
    call.running.take_magic();
    Ok(matches!(answer, Answer::Value(Value::Bool(true))))
}
