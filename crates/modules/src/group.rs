//! `group`: groups of the host.

use crate::accounts::{self, Group};
use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Map, Plan, choices, map, params};

choices! {
    /// Whether it should exist.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Manages groups.
    pub struct Params for "ansible.builtin.group" {
        /// The group's name.
        name: String,
        /// Whether it should exist.
        state: State = State::Present,
        /// Its numeric id.
        gid: Option<i64>,
        /// A new group is a system group.
        system: bool = false,
        /// Look at `/etc/group` only, not at directories such as LDAP.
        local: bool = false,
        /// Another group may have the same id.
        non_unique: bool = false,
        /// Remove it even if it is some user's primary group.
        force: bool = false,
        /// Smallest id for a new group.
        gid_min: Option<i64>,
        /// Largest id for a new group.
        gid_max: Option<i64>,
    }
    rules Rules { when: &[("non_unique", "True", &["gid"])], ..NO_RULES }
}

fn existing(params: &Params) -> Option<Group> {
    if params.local {
        let content = std::fs::read_to_string("/etc/group").unwrap_or_default();
        return content.lines().filter_map(Group::parse).find(|group| group.name == params.name);
    }
    accounts::group(&params.name)
}

/// The command that brings the group about; nothing if it is as declared.
fn command(params: &Params, group: Option<&Group>) -> Option<Cmd> {
    let mut cmd = match (params.state, group) {
        (State::Absent, None) => return None,
        (State::Absent, Some(_)) => {
            let cmd = Cmd::new("groupdel");
            if params.force { cmd.arg("-f") } else { cmd }
        }
        (State::Present, Some(group)) => {
            let gid = params.gid.filter(|gid| *gid != i64::from(group.gid))?;
            Cmd::new("groupmod").arg("-g").arg(gid.to_string())
        }
        (State::Present, None) => {
            let mut cmd = Cmd::new("groupadd");
            if let Some(gid) = params.gid {
                cmd = cmd.arg("-g").arg(gid.to_string());
            }
            if params.system {
                cmd = cmd.arg("-r");
            }
            for (key, bound) in [("GID_MIN", params.gid_min), ("GID_MAX", params.gid_max)] {
                if let Some(bound) = bound {
                    cmd = cmd.arg("-K").arg(format!("{key}={bound}"));
                }
            }
            cmd
        }
    };
    if params.non_unique && params.state == State::Present && params.gid.is_some() {
        cmd = cmd.arg("-o");
    }
    // A name that begins with a dash must not become an option.
    Some(cmd.arg("--").arg(&params.name))
}

/// Compares the group with what is declared.
///
/// # Errors
/// None while observing.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    let group = existing(&params);
    let result = map! { "name" => params.name.clone(), "state" => params.state.word() };
    let after = |result: Map, gid: Option<u32>| match gid {
        Some(gid) => result.into_iter().chain(map! { "system" => params.system, "gid" => gid }).collect(),
        None => result,
    };
    let present = params.state == State::Present;
    let Some(cmd) = command(&params, group.as_ref()) else {
        return Ok(Plan::ok(after(result, group.map(|group| group.gid))));
    };
    let gid = params.gid.and_then(|gid| u32::try_from(gid).ok()).filter(|_| present);
    let title = format!("group {}", params.name);
    let diff = match &group {
        Some(group) if present => {
            Diff::property(title, "gid", group.gid, params.gid.unwrap_or_else(|| group.gid.into()))
        }
        Some(_) => Diff::property(title, "state", "present", "absent"),
        None => Diff::property(title, "state", "absent", "present"),
    };
    Ok(Plan::change(after(result, gid), vec![diff], move |host| {
        let output = host.exec_ok(&cmd)?;
        let mut result = Map::new();
        for (name, text) in [("stdout", output.out()), ("stderr", output.err())] {
            if !text.is_empty() {
                result.insert(name.into(), text.into());
            }
        }
        if let Some(group) = existing(&params).filter(|_| present) {
            result.extend(map! { "system" => params.system, "gid" => group.gid });
        }
        Ok(result)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(args: Map, group: Option<&Group>) -> Option<String> {
        let cmd = command(&Params::parse(&args).unwrap(), group)?;
        Some(cmd.argv.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn says_the_exact_words() {
        let ops = Group { name: "ops".into(), gid: 900, members: Vec::new() };
        assert_eq!(words(map! { "name" => "ops" }, None).unwrap(), "groupadd -- ops");
        assert_eq!(
            words(map! { "name" => "ops", "gid" => 7, "system" => true, "non_unique" => true }, None)
                .unwrap(),
            "groupadd -g 7 -r -o -- ops"
        );
        assert_eq!(words(map! { "name" => "ops", "gid" => 900 }, Some(&ops)), None);
        assert_eq!(
            words(map! { "name" => "ops", "gid" => 901 }, Some(&ops)).unwrap(),
            "groupmod -g 901 -- ops"
        );
        assert_eq!(
            words(map! { "name" => "ops", "state" => "absent" }, Some(&ops)).unwrap(),
            "groupdel -- ops"
        );
        assert_eq!(words(map! { "name" => "ops", "state" => "absent" }, None), None);
    }

    #[test]
    fn an_existing_group_is_left_alone() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let plan = plan(Params::parse(&map! { "name" => "root" }).unwrap(), &host).unwrap();
        assert!(!plan.changes());
        assert_eq!(plan.result["gid"], 0.into());
    }
}
