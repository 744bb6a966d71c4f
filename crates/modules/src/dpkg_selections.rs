//! `dpkg_selections`: what dpkg is told to do with a package, such as to hold it.

use crate::dpkg::Database;
use crate::exec::Cmd;
use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Map, Plan, choices, map, params};

choices! {
    /// What is wanted of a package.
    pub enum Selection { Install = "install", Hold = "hold", Deinstall = "deinstall", Purge = "purge" }
}

params! {
    /// Sets dpkg's selection of a package.
    pub struct Params for "ansible.builtin.dpkg_selections" {
        /// The package.
        name: String,
        /// What is wanted of it.
        selection: Selection,
    }
    rules NO_RULES
}

/// Reads the selection from dpkg's database.
///
/// # Errors
/// dpkg does not know the package.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let db = Database::of(host)?;
    let Some(package) = db.get(&params.name) else {
        return Err(Failure::new(format!(
            "Failed to find package '{}' to perform selection '{}'.",
            params.name,
            params.selection.word()
        ))
        .hint("dpkg selects only packages that it knows; install it first"));
    };
    let (before, after) = (package.want(), params.selection.word());
    let result = map! { "before" => before, "after" => after };
    if before == after {
        return Ok(Plan::ok(result));
    }
    let diff = vec![Diff::property(&params.name, "selection", before, after)];
    Ok(Plan::change(result, diff, move |host| {
        let outcome = host.exec_ok(&command(&params.name, after));
        host.forget::<Database>();
        outcome.map(|_| Map::new())
    }))
}

fn command(name: &str, selection: &str) -> Cmd {
    Cmd::new("dpkg").arg("--set-selections").stdin(format!("{name} {selection}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_with_the_database() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let plan = |name: &str, selection: &str| {
            super::plan(Params::parse(&map! { "name" => name, "selection" => selection }).unwrap(), &host)
        };
        assert!(!plan("dpkg", "install").unwrap().changes());
        assert!(plan("dpkg", "hold").unwrap().changes());
        assert!(plan("no-such-package-here", "hold").err().unwrap().msg.contains("no-such-package-here"));
        assert_eq!(command("a", "hold").stdin.as_deref(), Some(b"a hold\n".as_slice()));
    }
}
