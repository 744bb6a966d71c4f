//! `hostname`: the host's name, now and after a boot.

use crate::edit::{Edit, Owner};
use crate::exec::Cmd;
use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Plan, facts, map, params};
use std::path::Path;

crate::choices! {
    /// How the name is set; here always through the kernel and `/etc/hostname`, which systemd reads as well.
    pub enum Use {
        Alpine = "alpine", Debian = "debian", FreeBsd = "freebsd", Generic = "generic", Macos = "macos",
        MacosxDarwin = "macosx", Darwin = "darwin", OpenBsd = "openbsd", OpenRc = "openrc", RedHat = "redhat",
        Sles = "sles", Solaris = "solaris", Systemd = "systemd",
    }
}

params! {
    /// Sets the host's name.
    pub struct Params for "ansible.builtin.hostname" {
        /// The name.
        name: String,
        /// Accepted for playbooks that set it.
        r#use: Option<Use>,
    }
    rules NO_RULES
}

const FILE: &str = "/etc/hostname";

/// The command that sets the name: systemd's where it runs, so that it tells others of it.
fn command(name: &str, systemd: bool) -> Cmd {
    if systemd {
        Cmd::new("hostnamectl").args(["set-hostname", "--", name])
    } else {
        Cmd::new("hostname").args(["--", name])
    }
}

/// Compares the names with what is declared.
///
/// # Errors
/// It is no host name, hostname(7).
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let name = params.name;
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(valid) || name.starts_with(['-', '.']) {
        return Err(Failure::new(format!("{name:?} is no host name"))
            .hint("at most 64 letters, digits, dots and hyphens"));
    }
    let current = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let file = Edit::read(Path::new(FILE))?;
    let permanent = file.text().lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'));
    let permanent = permanent.unwrap_or_default().to_owned();
    let known = facts::gather(&[facts::Family::Fqdn], &[], Path::new(facts::FACT_PATH), host)?;
    let fact = |name: &str| known.get(name).cloned().unwrap_or_default();
    let result = map! {
        "name" => name.clone(),
        "ansible_facts" => map! {
            "ansible_hostname" => name.split('.').next().unwrap_or_default(), "ansible_nodename" => name.clone(),
            "ansible_fqdn" => fact("fqdn"), "ansible_domain" => fact("domain"),
        },
    };
    if current == name && permanent == name {
        return Ok(Plan::ok(result));
    }
    let before = if current == name { permanent.clone() } else { current.clone() };
    let diff = vec![Diff::text(FILE, format!("hostname = {before}\n"), format!("hostname = {name}\n"))];
    Ok(Plan::change(result, diff, move |host| {
        if permanent != name {
            file.write(host, &format!("{name}\n"), Owner::default(), false)?;
        }
        if current != name {
            let systemd =
                facts::program("hostnamectl").is_some() && Path::new("/run/systemd/system").exists();
            let output = host.exec(&command(&name, systemd))?;
            if output.rc != 0 {
                // hostnamectl needs D-Bus, which a small host may do without.
                host.exec_ok(&command(&name, false))?;
            }
        }
        Ok(map! {})
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_name() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        for name in ["", "-x", "a b", "a\nb", &"x".repeat(65)] {
            assert!(plan(Params::parse(&map! { "name" => name }).unwrap(), &host).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_name_now_is_left_alone() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let current = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let plan = plan(Params::parse(&map! { "name" => current.clone() }).unwrap(), &host).unwrap();
        let permanent = std::fs::read_to_string(FILE).unwrap_or_default();
        assert_eq!(plan.changes(), permanent.trim() != current);
        assert_eq!(command("a", true).argv.join(" ".as_ref()), "hostnamectl set-hostname -- a");
    }
}
