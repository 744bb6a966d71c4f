//! `user`: accounts of the host, with shadow-utils as Debian ships them.
//!
//! Password hashes reach `chpasswd -e` on standard input: an argument of `useradd` or `usermod` could be read by
//! anyone who lists processes.

mod commands;
mod home;
mod key;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::accounts::{self, Group, User};
use crate::exec::Cmd;
use crate::param::NO_RULES;
use crate::shadow::Shadow;
use crate::{Diff, Failure, Host, Map, Plan, Value, choices, map, params};

choices! {
    /// Whether it should exist.
    pub enum State { Present = "present", Absent = "absent" }
}

choices! {
    /// When the password is set.
    pub enum UpdatePassword { Always = "always", OnCreate = "on_create" }
}

params! {
    /// Manages user accounts.
    pub struct Params for "ansible.builtin.user" {
        /// Login name.
        name | user: String,
        /// Whether the account should exist.
        state: State = State::Present,
        /// Numeric user id.
        uid: Option<i64>,
        /// Another user may have the same id.
        non_unique: bool = false,
        /// Primary group, by name or id.
        group: Option<String>,
        /// Further groups; an empty list takes all away.
        groups: Option<Vec<String>>,
        /// Add to `groups` instead of making them the whole list.
        append: bool = false,
        /// Full name or description (GECOS).
        comment: Option<String>,
        /// Home directory.
        home: Option<PathBuf>,
        /// Login shell.
        shell: Option<PathBuf>,
        /// Hash of the password, as in `/etc/shadow`.
        password: Option<String>,
        /// Whether `password` applies to an account that exists already.
        update_password: UpdatePassword = UpdatePassword::Always,
        /// Lock the password, or unlock it.
        password_lock: Option<bool>,
        /// Days after which the password must be changed.
        password_expire_max: Option<i64>,
        /// Days before which it may not be changed.
        password_expire_min: Option<i64>,
        /// Days of warning before it must be changed.
        password_expire_warn: Option<i64>,
        /// Days after expiry until the account is disabled.
        password_expire_account_disable: Option<i64>,
        /// When the account expires, in seconds since 1970; negative for never.
        expires: Option<f64>,
        /// Create the home directory.
        create_home | createhome: bool = true,
        /// Move the home directory's content if `home` changes.
        move_home: bool = false,
        /// Directory whose files a new home begins with.
        skeleton: Option<String>,
        /// File mode creation mask for a new home.
        umask: Option<String>,
        /// A new account is a system account.
        system: bool = false,
        /// With `state: absent` remove although logged in; with `generate_ssh_key` overwrite the key.
        force: bool = false,
        /// With `state: absent` remove home and mail as well.
        remove: bool = false,
        /// Look at `/etc/passwd` only, not at directories such as LDAP.
        local: Option<bool>,
        /// Make an SSH key for the user.
        generate_ssh_key: Option<bool>,
        /// Its size in bits; 0 for the type's own.
        ssh_key_bits: i64 = 0,
        /// Its type.
        ssh_key_type: String = "rsa".to_owned(),
        /// Its file, relative to the home directory.
        ssh_key_file: Option<PathBuf>,
        /// Its comment.
        ssh_key_comment: Option<String>,
        /// Its passphrase.
        ssh_key_passphrase: Option<String>,
        /// SELinux user.
        seuser: Option<String>,
        /// Smallest id for a new account.
        uid_min: Option<i64>,
        /// Largest id for a new account.
        uid_max: Option<i64>,
        /// Of BSD and macOS; has no effect on Debian.
        login_class: Option<String>,
        /// Of macOS; has no effect on Debian.
        hidden: Option<bool>,
        /// Of Solaris; has no effect on Debian.
        profile: Option<String>,
        /// Of Solaris; has no effect on Debian.
        authorization: Option<String>,
        /// Of Solaris; has no effect on Debian.
        role: Option<String>,
    }
    rules NO_RULES
}

/// What the host knows of the account.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Its passwd entry.
    pub user: User,
    /// Its shadow entry; the default if it cannot be read.
    pub shadow: Shadow,
    /// The groups that list it as member.
    pub groups: Vec<String>,
}

fn observe(params: &Params) -> Option<Seen> {
    let user = if params.local == Some(true) {
        let content = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        content.lines().filter_map(User::parse).find(|user| user.name == params.name)?
    } else {
        accounts::user(&params.name)?
    };
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let groups = groups.lines().filter_map(Group::parse).filter(|g| g.members.contains(&user.name));
    let groups = groups.map(|group| group.name).collect();
    Some(Seen { shadow: Shadow::of(&user.name).unwrap_or_default(), groups, user })
}

/// A group by id or name, as Ansible reads it: a number is an id first.
fn find_group(group: &str) -> Option<Group> {
    group.parse().ok().and_then(accounts::group_by_id).or_else(|| accounts::group(group))
}

/// Compares the account with what is declared.
///
/// # Errors
/// A group that does not exist (in check mode an earlier task may be about to make it), a bad `umask`.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    check(&params, host)?;
    let seen = observe(&params);
    let mut result = map! { "name" => params.name.clone(), "state" => params.state.word() };
    if params.password.is_some() && params.state == State::Present {
        result.insert("password".into(), "NOT_LOGGING_PASSWORD".into());
    }
    let title = format!("user {}", params.name);
    match (params.state, seen) {
        (State::Absent, None) => Ok(Plan::ok(result)),
        (State::Absent, Some(_)) => {
            result.extend(map! { "force" => params.force, "remove" => params.remove });
            let diff = vec![Diff::property(title, "state", "present", "absent")];
            let cmd = commands::remove(&params);
            Ok(Plan::change(result, diff, move |host| Ok(texts(&[host.exec_ok(&cmd)?]))))
        }
        (State::Present, None) => {
            result.extend(map! { "system" => params.system, "create_home" => params.create_home });
            if let Some(groups) = &params.groups {
                result.insert("groups".into(), groups.join(",").into());
            }
            let diff = vec![Diff::property(title, "state", "absent", "present")];
            Ok(Plan::change(result, diff, move |host| create(&params, host)))
        }
        (State::Present, Some(seen)) => {
            result.extend(map! { "append" => params.append, "move_home" => params.move_home });
            let (cmds, changes) = commands::modify(&params, &seen, find_group);
            let text = |side: fn(&commands::Change) -> &str| {
                changes.iter().map(|c| format!("{}: {}\n", c.name, side(c))).collect::<String>()
            };
            let (before, after) = (text(|c| &c.before), text(|c| &c.after));
            let home = params.home.clone().unwrap_or_else(|| seen.user.home.clone());
            let needs_home =
                params.create_home && !home.exists() && !(params.move_home && params.home.is_some());
            let needs_key = params.generate_ssh_key == Some(true) && key::is_wanted(&params, &home);
            result.extend(describe(&params, &seen.user, &home)?);
            if cmds.is_empty() && !needs_home && !needs_key {
                if params.generate_ssh_key == Some(true) {
                    result.extend(key::facts(&params, &home, host));
                }
                return Ok(Plan::ok(result));
            }
            let mut diff = Vec::new();
            if !changes.is_empty() {
                diff.push(Diff::text(&title, before, after));
            }
            if needs_home {
                diff.push(Diff::property(home.display(), "state", "absent", "directory"));
            }
            if needs_key {
                diff.push(Diff::property(key::path(&params, &home).display(), "state", "absent", "file"));
            }
            Ok(Plan::change(result, diff, move |host| {
                let outputs = cmds.iter().map(|cmd| host.exec_ok(cmd)).collect::<Result<Vec<_>, _>>()?;
                let mut result = finish(&params, host)?;
                result.extend(texts(&outputs));
                Ok(result)
            }))
        }
    }
}

fn check(params: &Params, host: &Host) -> Result<(), Failure> {
    if params.state == State::Absent {
        return Ok(());
    }
    // In check mode an earlier task may be about to make the group.
    let groups = params.group.iter().chain(params.groups.iter().flatten());
    if let Some(missing) = groups.filter(|_| !host.may_come()).find(|group| find_group(group).is_none()) {
        return Err(Failure::new(format!(
            "group {missing} does not exist, so user {} cannot be in it",
            params.name
        ))
        .hint("make it first with the group module"));
    }
    if let Some(mask) = &params.umask
        && u32::from_str_radix(mask, 8).map_or(true, |bits| bits > 0o777)
    {
        return Err(Failure::new(format!("umask wants an octal number such as \"077\", got {mask:?}")));
    }
    // A line break or a colon would begin another account's line or field on chpasswd's input.
    if params.password.as_ref().is_some_and(|p| p.contains([':', '\n', '\r', '\0'])) {
        return Err(Failure::new(format!(
            "the password of user {} is no hash: it holds a colon or a line break",
            params.name
        ))
        .hint("use the password_hash filter"));
    }
    if params.name.contains([':', '\n', ',']) || params.name.is_empty() {
        return Err(Failure::new(format!("{:?} cannot be a user name", params.name)));
    }
    Ok(())
}

fn create(params: &Params, host: &Host) -> Result<Map, Failure> {
    let parent = params.home.as_deref().and_then(Path::parent).filter(|parent| !parent.is_dir());
    if let Some(parent) = parent.filter(|_| params.create_home) {
        std::fs::create_dir_all(parent).map_err(|e| Failure::io("cannot create", parent, e))?;
    }
    let own_group = params.group.is_none() && accounts::group(&params.name).is_some();
    let mut outputs = vec![host.exec_ok(&commands::add(params, own_group))?];
    if let Some(cmd) = commands::set_password(params) {
        outputs.push(host.exec_ok(&cmd)?);
    }
    let ages = commands::ages(params, &Shadow::of(&params.name).unwrap_or_default());
    if let Some(cmd) = ages {
        outputs.push(host.exec_ok(&cmd)?);
    }
    let mut result = finish(params, host)?;
    result.extend(texts(&outputs));
    Ok(result)
}

/// Home directory and SSH key, once the account is as declared; yields what the account is now.
fn finish(params: &Params, host: &Host) -> Result<Map, Failure> {
    let seen = observe(params)
        .ok_or_else(|| Failure::new(format!("user {} is not there after it was made", params.name)))?;
    let home = params.home.clone().unwrap_or_else(|| seen.user.home.clone());
    if params.create_home && !home.exists() {
        home::create(params, &home, &seen.user, host)?;
    }
    if params.generate_ssh_key == Some(true) && key::is_wanted(params, &home) {
        key::generate(params, &home, &seen.user, host)?;
    }
    let mut result = describe(params, &seen.user, &home)?;
    if params.generate_ssh_key == Some(true) {
        result.extend(key::facts(params, &home, host));
    }
    Ok(result)
}

fn describe(params: &Params, user: &User, home: &Path) -> Result<Map, Failure> {
    let id = |value: Option<i64>, now: u32| value.unwrap_or_else(|| now.into());
    let group = params.group.as_deref().and_then(find_group).map_or(user.gid, |group| group.gid);
    let mut result = map! {
        "uid" => id(params.uid, user.uid),
        "group" => group,
        "comment" => params.comment.clone().unwrap_or_else(|| user.gecos.clone()),
        "home" => home.to_string_lossy().into_owned(),
        "shell" => params.shell.as_ref().map_or_else(|| user.shell.clone(), |s| s.to_string_lossy().into_owned()),
    };
    if let Some(groups) = &params.groups {
        result.insert("groups".into(), groups.join(",").into());
    }
    Ok(result)
}

fn texts(outputs: &[crate::exec::Output]) -> Map {
    let mut result = Map::new();
    for (name, text) in [
        ("stdout", outputs.iter().map(crate::exec::Output::out).collect::<String>()),
        ("stderr", outputs.iter().map(crate::exec::Output::err).collect::<String>()),
    ] {
        if !text.is_empty() {
            result.insert(name.into(), Value::from(text));
        }
    }
    result
}
