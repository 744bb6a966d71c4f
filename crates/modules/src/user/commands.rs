//! The commands that bring an account about, as data: useradd(8), usermod(8), userdel(8), chage(1), chpasswd(8).

use std::collections::BTreeSet;

use super::{Cmd, Group, Params, Seen, UpdatePassword};
use crate::shadow::{Shadow, date};

/// One property that changes, in words that may be shown.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub name: &'static str,
    pub before: String,
    pub after: String,
}

pub(super) fn remove(params: &Params) -> Cmd {
    let mut cmd = Cmd::new("userdel");
    if params.force {
        cmd = cmd.arg("-f");
    }
    if params.remove {
        cmd = cmd.arg("-r");
    }
    cmd.arg("--").arg(&params.name)
}

/// `has_group`: a group of the user's name exists already, so that useradd must not make one.
pub(super) fn add(params: &Params, has_group: bool) -> Cmd {
    let mut cmd = Cmd::new("useradd");
    let mut option = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            cmd.argv.extend([flag.into(), value.into()]);
        }
    };
    option("-u", params.uid.map(|uid| uid.to_string()));
    option("-Z", params.seuser.clone());
    option("-g", params.group.clone());
    option("-G", params.groups.as_ref().filter(|g| !g.is_empty()).map(|g| g.join(",")));
    option("-c", params.comment.clone());
    option("-d", params.home.as_ref().map(|home| home.to_string_lossy().into_owned()));
    option("-s", params.shell.as_ref().map(|shell| shell.to_string_lossy().into_owned()));
    option("-e", params.expires.map(expiry));
    option("-f", params.password_expire_account_disable.map(|days| days.to_string()));
    if params.create_home {
        option("-k", params.skeleton.clone());
        option("-K", params.umask.as_ref().map(|mask| format!("UMASK={mask}")));
    }
    option("-K", params.uid_min.map(|id| format!("UID_MIN={id}")));
    option("-K", params.uid_max.map(|id| format!("UID_MAX={id}")));
    if params.uid.is_some() && params.non_unique {
        cmd = cmd.arg("-o");
    }
    if has_group {
        cmd = cmd.arg("-N");
    }
    cmd = cmd.arg(if params.create_home { "-m" } else { "-M" });
    if params.system {
        cmd = cmd.arg("-r");
    }
    cmd.arg("--").arg(&params.name)
}

/// What `-e` wants: a day, or nothing for never.
fn expiry(seconds: f64) -> String {
    if seconds < 0.0 { String::new() } else { date((seconds / 86_400.0).floor() as i64) }
}

/// Sets the hash over standard input.
pub(super) fn set_password(params: &Params) -> Option<Cmd> {
    let password = params.password.as_ref()?;
    if password.is_empty() {
        return Some(Cmd::new("passwd").args(["-q", "-d", "--", &params.name]));
    }
    let lock = if params.password_lock == Some(true) { "!" } else { "" };
    Some(Cmd::new("chpasswd").arg("-e").stdin(format!("{}:{lock}{password}\n", params.name)))
}

pub(super) fn ages(params: &Params, shadow: &Shadow) -> Option<Cmd> {
    let mut cmd = Cmd::new("chage");
    for (flag, wanted, current) in [
        ("-m", params.password_expire_min, shadow.min),
        ("-M", params.password_expire_max, shadow.max),
        ("-W", params.password_expire_warn, shadow.warn),
    ] {
        // chage writes -1 as an empty field.
        if let Some(days) = wanted.filter(|days| current.unwrap_or(-1) != *days) {
            cmd = cmd.arg(flag).arg(days.to_string());
        }
    }
    (cmd.argv.len() > 1).then(|| cmd.arg("--").arg(&params.name))
}

/// The commands for an account that exists, and what they change.
pub(super) fn modify(
    params: &Params,
    seen: &Seen,
    find_group: impl Fn(&str) -> Option<Group>,
) -> (Vec<Cmd>, Vec<Change>) {
    let (user, shadow) = (&seen.user, &seen.shadow);
    let mut changes: Vec<Change> = Vec::new();
    let mut cmd = Cmd::new("usermod");
    let mut set = |name: &'static str, before: String, after: String, argv: &[&str]| {
        if before != after {
            cmd.argv.extend(argv.iter().map(Into::into));
            changes.push(Change { name, before, after });
        }
    };
    if let Some(uid) = params.uid {
        let uid = uid.to_string();
        let unique: &[&str] = &["-u", &uid];
        let shared: &[&str] = &["-u", &uid, "-o"];
        set("uid", user.uid.to_string(), uid.clone(), if params.non_unique { shared } else { unique });
    }
    if let Some(group) = &params.group {
        // A group that is not there yet (check mode) is named rather than numbered.
        let gid = find_group(group).map_or_else(|| group.clone(), |group| group.gid.to_string());
        set("group", user.gid.to_string(), gid.clone(), &["-g", &gid]);
    }
    if let Some(groups) = &params.groups {
        let current: BTreeSet<String> = seen.groups.iter().cloned().collect();
        let named: BTreeSet<String> =
            groups.iter().map(|group| find_group(group).map_or_else(|| group.clone(), |g| g.name)).collect();
        // The primary group needs no membership, and asking for it as well changes nothing.
        let primary = params.group.as_deref().and_then(&find_group).map_or(user.gid, |group| group.gid);
        let named: BTreeSet<String> = named
            .into_iter()
            .filter(|name| current.contains(name) || find_group(name).is_none_or(|g| g.gid != primary))
            .collect();
        let wanted: BTreeSet<String> =
            if params.append { current.union(&named).cloned().collect() } else { named.clone() };
        let words = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
        let list = words(&named);
        let whole: &[&str] = &["-G", &list];
        let more: &[&str] = &["-a", "-G", &list];
        set("groups", words(&current), words(&wanted), if params.append { more } else { whole });
    }
    if let Some(comment) = &params.comment {
        set("comment", user.gecos.clone(), comment.clone(), &["-c", comment]);
    }
    if let Some(home) = &params.home {
        let home = home.to_string_lossy().into_owned();
        let stay: &[&str] = &["-d", &home];
        let along: &[&str] = &["-d", &home, "-m"];
        let before = user.home.to_string_lossy().into_owned();
        set("home", before, home.clone(), if params.move_home { along } else { stay });
    }
    if let Some(shell) = &params.shell {
        let shell = shell.to_string_lossy().into_owned();
        set("shell", user.shell.clone(), shell.clone(), &["-s", &shell]);
    }
    if let Some(expires) = params.expires {
        let day = expiry(expires);
        let before = shadow.expire.filter(|days| *days >= 0).map(date).unwrap_or_default();
        set("expires", before, day.clone(), &["-e", &day]);
    }
    if let Some(days) = params.password_expire_account_disable {
        let days = days.to_string();
        set("inactive", shadow.inactive.unwrap_or(-1).to_string(), days.clone(), &["-f", &days]);
    }
    let always = params.update_password == UpdatePassword::Always;
    let bare = |hash: &str| hash.trim_start_matches('!').to_owned();
    let password = params.password.as_ref().filter(|p| always && bare(p) != bare(&shadow.password));
    // A new hash is written with or without the lock, so nothing is left to lock. A password that is only a lock
    // cannot be unlocked: usermod refuses to leave an account without any.
    let lock = params.password_lock.filter(|lock| {
        password.is_none() && *lock != shadow.is_locked() && (*lock || !bare(&shadow.password).is_empty())
    });
    let word = |locked: bool| if locked { "yes" } else { "no" }.to_owned();
    if let Some(lock) = lock {
        set("password locked", word(!lock), word(lock), &[if lock { "-L" } else { "-U" }]);
    }
    let mut cmds = Vec::new();
    if cmd.argv.len() > 1 {
        cmds.push(cmd.arg("--").arg(&params.name));
    }
    if password.is_some() {
        cmds.extend(set_password(params));
        changes.push(Change { name: "password", before: "(hidden)".into(), after: "(hidden, new)".into() });
    }
    if let Some(cmd) = ages(params, shadow) {
        cmds.push(cmd);
        let days = |s: [Option<i64>; 3]| s.map(|d| d.map_or("-".into(), |d: i64| d.to_string())).join("/");
        let wanted = [
            params.password_expire_min.or(shadow.min),
            params.password_expire_max.or(shadow.max),
            params.password_expire_warn.or(shadow.warn),
        ];
        changes.push(Change {
            name: "password min/max/warn days",
            before: days([shadow.min, shadow.max, shadow.warn]),
            after: days(wanted),
        });
    }
    (cmds, changes)
}
