//! Users and groups of the host: `/etc/passwd` and `/etc/group` first, `getent` for what is not there.
//!
//! The agent is linked statically, so it cannot load NSS modules itself (LDAP, systemd's dynamic users); `getent`
//! can.

use std::path::PathBuf;
use std::process::Command;

/// One line of the passwd database, as in passwd(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numeric user id.
    pub uid: u32,
    /// Numeric id of the primary group.
    pub gid: u32,
    /// Comment.
    pub gecos: String,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: String,
}

/// One line of the group database, as in group(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Group name.
    pub name: String,
    /// Numeric id.
    pub gid: u32,
    /// Login names of the members that do not have it as primary group.
    pub members: Vec<String>,
}

impl User {
    /// Reads a line of passwd(5).
    pub fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, gecos, home, shell] = fields.as_slice() else { return None };
        Some(Self {
            name: (*name).to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            gecos: (*gecos).to_owned(),
            home: PathBuf::from(home),
            shell: (*shell).to_owned(),
        })
    }
}

impl Group {
    /// Reads a line of group(5).
    pub fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields.as_slice() else { return None };
        let members = members.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
        Some(Self { name: (*name).to_owned(), gid: gid.parse().ok()?, members })
    }
}

fn lines(database: &str, file: &str, key: &str) -> Vec<String> {
    let local: Vec<String> =
        std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect();
    let is_match = |line: &String| {
        let mut fields = line.split(':');
        fields.next() == Some(key) || fields.nth(1) == Some(key)
    };
    if local.iter().any(is_match) {
        return local;
    }
    // A key that starts with a dash would be an option to getent.
    if key.is_empty() || key.starts_with('-') {
        return Vec::new();
    }
    let output = Command::new("getent").arg(database).arg(key).output();
    output
        .map(|o| String::from_utf8_lossy(&o.stdout).lines().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The user of that name.
pub fn user(name: &str) -> Option<User> {
    lines("passwd", "/etc/passwd", name)
        .iter()
        .filter_map(|line| User::parse(line))
        .find(|user| user.name == name)
}

/// The user with that id.
pub fn user_by_id(uid: u32) -> Option<User> {
    let key = uid.to_string();
    lines("passwd", "/etc/passwd", &key)
        .iter()
        .filter_map(|line| User::parse(line))
        .find(|user| user.uid == uid)
}

/// The group of that name.
pub fn group(name: &str) -> Option<Group> {
    lines("group", "/etc/group", name)
        .iter()
        .filter_map(|line| Group::parse(line))
        .find(|group| group.name == name)
}

/// The group with that id.
pub fn group_by_id(gid: u32) -> Option<Group> {
    let key = gid.to_string();
    lines("group", "/etc/group", &key)
        .iter()
        .filter_map(|line| Group::parse(line))
        .find(|group| group.gid == gid)
}

/// The home directory of that user.
pub fn home_of(name: &str) -> Option<PathBuf> {
    user(name).map(|user| user.home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_root_both_ways() {
        assert_eq!(user("root").unwrap().uid, 0);
        assert_eq!(user_by_id(0).unwrap().name, "root");
        assert_eq!(group("root").unwrap().gid, 0);
        assert_eq!(group_by_id(0).unwrap().name, "root");
        assert_eq!(user("no-such-user-here"), None);
    }
}
