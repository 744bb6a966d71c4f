//! The list of modules, and how a name in a playbook finds its module.

use crate::Map;
use crate::host::Host;
use crate::param::Spec;
use crate::plan::{Failure, Plan};

/// A module as the interpreter sees it.
pub struct Module {
    /// Its parameters.
    pub spec: &'static Spec,
    /// Other short names it goes by (`systemd_service`).
    pub aliases: &'static [&'static str],
    /// Observes the host and computes the change; changes nothing itself.
    pub plan: fn(&Map, &Host) -> Result<Plan, Failure>,
}

macro_rules! modules {
    ($($module:ident $(as [$($alias:literal),*])?),* $(,)?) => {
        &[$(Module {
            spec: &crate::$module::Params::SPEC,
            aliases: &[$($($alias),*)?],
            plan: |args, host| crate::$module::plan(crate::$module::Params::parse(args)?, host),
        }),*]
    };
}

/// One line per module; nothing else knows the list.
#[rustfmt::skip]
static MODULES: &[Module] = modules![
    apt,
    apt_key,
    apt_repository,
    assemble,
    authorized_key,
    blockinfile,
    command,
    copy,
    cron,
    deb822_repository,
    debconf,
    dpkg_selections,
    fetch,
    file,
    find,
    get_url,
    getent,
    git,
    group,
    hostname,
    ini_file,
    iptables,
    known_hosts,
    lineinfile,
    locale_gen,
    modprobe,
    mount,
    openssh_keypair,
    openssl_dhparam,
    package,
    package_facts,
    pam_limits,
    ping,
    raw,
    reboot,
    replace,
    script,
    service,
    service_facts,
    setup,
    shell,
    slurp,
    stat,
    sysctl,
    systemd as ["systemd"],
    tempfile,
    template,
    timezone,
    ufw,
    unarchive,
    uri,
    user,
    wait_for,
];

/// Collections whose modules debark knows under their short names.
const COLLECTIONS: [&str; 6] = [
    "ansible.builtin.",
    "ansible.legacy.",
    "ansible.posix.",
    "community.crypto.",
    "community.general.",
    "debark.builtin.",
];

/// The name without a known collection's prefix.
pub fn short_name(name: &str) -> &str {
    COLLECTIONS.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// The module of that name, with or without collection.
pub fn find(name: &str) -> Option<&'static Module> {
    let short = short_name(name);
    MODULES.iter().find(|module| short_name(module.spec.name) == short || module.aliases.contains(&short))
}

/// All modules.
pub fn names() -> impl Iterator<Item = &'static Module> {
    MODULES.iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_listed_once() {
        let mut names: Vec<&str> = MODULES.iter().map(|module| module.spec.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    /// Where the documentation has each module that is promised: collection, then names in it.
    const DOCUMENTED: &[(&str, &str)] = &[
        (
            "ansible.builtin",
            "apt package apt_repository deb822_repository apt_key dpkg_selections debconf copy template file lineinfile \
             blockinfile replace assemble stat find slurp fetch tempfile unarchive get_url uri git user group known_hosts \
             getent systemd systemd_service service service_facts package_facts cron command shell script raw hostname \
             iptables wait_for reboot ping setup",
        ),
        ("ansible.posix", "authorized_key sysctl mount"),
        ("community.crypto", "openssh_keypair openssl_dhparam"),
        ("community.general", "timezone locale_gen modprobe ini_file pam_limits ufw"),
    ];
    /// The same of what interpreter and controller do themselves.
    const ACTIONS: &str = "debug assert fail set_fact include_vars set_stats add_host group_by pause wait_for_connection meta \
                           include_tasks import_tasks import_playbook include_role import_role validate_argument_spec \
                           async_status";

    #[test]
    fn every_module_is_found_under_its_documented_names() {
        let mut found = Vec::new();
        for (collection, names) in DOCUMENTED {
            for name in names.split_whitespace() {
                let full = format!("{collection}.{name}");
                let module = find(&full).unwrap_or_else(|| panic!("there is no {full}"));
                let own = find(name).unwrap_or_else(|| panic!("there is no {name}"));
                assert_eq!(own.spec.name, module.spec.name, "{name}");
                // The name in the reference is one of the documented ones.
                assert!(
                    module.spec.name == full || module.aliases.contains(&name),
                    "{full} is called {}",
                    module.spec.name
                );
                found.push(module.spec.name);
            }
        }
        for module in super::names() {
            assert!(found.contains(&module.spec.name), "{} is in no table", module.spec.name);
        }
        for name in ACTIONS.split_whitespace() {
            for name in [format!("ansible.builtin.{name}"), name.to_owned()] {
                let spec =
                    crate::builtin::builtin_spec(&name).unwrap_or_else(|| panic!("there is no {name}"));
                assert!(spec.name.starts_with("ansible.builtin."), "{name} is called {}", spec.name);
            }
        }
        assert_eq!(crate::builtin::builtin_specs().count(), ACTIONS.split_whitespace().count());
    }
}
