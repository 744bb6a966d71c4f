//! `hostname`: the host's name, now and after a boot.

use crate::edit::{Edit, Owner};
use crate::exec::Cmd;
use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Map, Plan, facts, map, params};
use std::path::Path;

crate::choices! {
    /// How the name is set: `debian` and `systemd` ask hostnamectl, the others write `/etc/hostname`.
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
        /// How; without it hostnamectl where systemd runs.
        r#use: Option<Use>,
    }
    rules NO_RULES
}

const FILE: &str = "/etc/hostname";

/// hostnamectl's words for one of the two names; the static one takes the pretty one (`/etc/machine-info`) along.
fn hostnamectl(name: &str, kind: &str) -> Cmd {
    let cmd = Cmd::new("hostnamectl");
    if kind == "static" { cmd.arg("--pretty") } else { cmd }.args([
        &format!("--{kind}"),
        "set-hostname",
        name,
    ])
}

/// Whether systemd sets the name.
fn by_systemd(wanted: Option<Use>) -> bool {
    let runs = || facts::program("hostnamectl").is_some() && Path::new("/run/systemd/system").exists();
    matches!(wanted, None | Some(Use::Debian | Use::Systemd)) && runs()
}

/// The facts that the name changes; the domain is what resolving the present name gives.
fn names(name: &str, host: &Host) -> Result<Map, Failure> {
    let known =
        facts::gather(&[facts::Family::Fqdn], &[], Path::new(facts::FACT_PATH), facts::TIMEOUT, host)?;
    let fact = |name: &str| known.get(name).cloned().unwrap_or_default();
    Ok(map! {
        "ansible_hostname" => name.split('.').next().unwrap_or_default(), "ansible_nodename" => name,
        "ansible_fqdn" => fact("fqdn"), "ansible_domain" => fact("domain"),
    })
}

/// Compares the names with what is declared.
///
/// # Errors
/// It is no host name, hostname(7).
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let (name, wanted) = (params.name, params.r#use);
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(valid) || name.starts_with(['-', '.']) {
        return Err(Failure::new(format!("{name:?} is no host name"))
            .hint("at most 64 letters, digits, dots and hyphens"));
    }
    let current = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let file = Edit::read(Path::new(FILE))?;
    let permanent = file.text().lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'));
    let permanent = permanent.unwrap_or_default().to_owned();
    let result = map! { "name" => name.clone(), "ansible_facts" => names(&name, host)? };
    if current == name && permanent == name {
        return Ok(Plan::ok(result));
    }
    let before = if current == name { permanent.clone() } else { current.clone() };
    let diff = vec![Diff::text(FILE, format!("hostname = {before}\n"), format!("hostname = {name}\n"))];
    Ok(Plan::change(result, diff, move |host| {
        let systemd = by_systemd(wanted);
        if permanent != name {
            // hostnamectl needs D-Bus, which a small host may do without.
            if !systemd || host.exec(&hostnamectl(&name, "static"))?.rc != 0 {
                file.write(host, &format!("{name}\n"), Owner::default(), false)?;
            }
        }
        let now = rustix::system::uname().nodename().to_string_lossy().into_owned();
        if now != name && (!systemd || host.exec(&hostnamectl(&name, "transient"))?.rc != 0) {
            host.exec_ok(&Cmd::new("hostname").args(["--", &name]))?;
        }
        Ok(map! { "ansible_facts" => names(&name, host)? })
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
    }

    #[test]
    fn the_permanent_name_is_the_pretty_one_too() {
        let words = |kind: &str| hostnamectl("a", kind).argv.join(" ".as_ref());
        assert_eq!(words("static"), "hostnamectl --pretty --static set-hostname a");
        assert_eq!(words("transient"), "hostnamectl --transient set-hostname a");
    }
}
