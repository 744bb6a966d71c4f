//! `package_facts`: all installed packages, as `ansible_facts.packages`.

use std::sync::Arc;

use crate::dpkg::{Database, Package};
use crate::param::NO_RULES;
use crate::{Failure, Host, Map, Plan, Value, map, params, registry};

params! {
    /// Lists all installed packages of the host.
    pub struct Params for "ansible.builtin.package_facts" {
        /// Which package managers to ask; on Debian that is apt.
        manager: Vec<String> = vec!["auto".to_owned()],
        /// Which of several managers are asked; there is one.
        strategy: String = "first".to_owned(),
    }
    rules NO_RULES
}

/// Reads dpkg's database.
///
/// # Errors
/// It cannot be read, or only other package managers are asked for.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let known = |manager: &String| matches!(registry::short_name(manager), "auto" | "apt");
    if !params.manager.iter().any(known) {
        return Err(Failure::new(format!(
            "Could not detect a supported package manager from the following list: {}",
            params.manager.join(", ")
        ))
        .hint("on a Debian host that is `auto` or `apt`"));
    }
    let db = Database::of(host)?;
    let mut packages: Map = Map::new();
    for package in db.packages().filter(Package::is_installed) {
        let entry = Value::from(entry(&package));
        let slot =
            packages.entry(Arc::from(package.name())).or_insert_with(|| Value::list(Vec::<Value>::new()));
        if let Value::List(list) = slot {
            Arc::make_mut(list).push(entry);
        }
    }
    Ok(Plan::ok(map! { "ansible_facts" => map! { "packages" => packages } }))
}

/// What Ansible tells of a package. Its `origin` comes from apt's lists, which take long to read: it is left empty,
/// as Ansible leaves it for packages that no archive has.
fn entry(package: &Package<'_>) -> Map {
    map! {
        "name" => package.name(), "version" => package.version(), "arch" => package.arch(),
        "category" => package.section(), "origin" => "", "source" => "apt",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_this_machine() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let plan = plan(Params::parse(&Map::new()).unwrap(), &host).unwrap();
        let dpkg = plan.result["ansible_facts"].get("packages").unwrap().get("dpkg").unwrap();
        assert_eq!(dpkg.as_list().unwrap()[0].get("category").and_then(Value::as_str), Some("admin"));
        assert!(super::plan(Params::parse(&map! { "manager" => "rpm" }).unwrap(), &host).is_err());
    }
}
