//! `gather_subset`: words for groups of facts, and what they leave out.

use std::collections::BTreeSet;

use super::{FAMILIES, Family};
use crate::Failure;

const HARDWARE: [Family; 7] =
    [Family::Cpu, Family::Memory, Family::Dmi, Family::Devices, Family::Uptime, Family::Lvm, Family::Mounts];

/// What `min` stands for; every other word adds to it.
const MINIMAL: [Family; 19] = [
    Family::Platform,
    Family::Fqdn,
    Family::Distribution,
    Family::Lsb,
    Family::Selinux,
    Family::Apparmor,
    Family::Fips,
    Family::Caps,
    Family::PkgMgr,
    Family::ServiceMgr,
    Family::Python,
    Family::Cmdline,
    Family::DateTime,
    Family::Env,
    Family::SshKeys,
    Family::User,
    Family::Dns,
    Family::Local,
    // Not in Ansible's list, but as cheap and needed by roles that gather the minimum.
    Family::Chroot,
];

const WORDS: &[(&str, &[Family])] = &[
    ("hardware", &HARDWARE),
    ("network", &[Family::Network]),
    ("virtual", &[Family::Virtual]),
    ("platform", &[Family::Platform, Family::Fqdn]),
    ("distribution", &[Family::Distribution]),
    ("lsb", &[Family::Lsb]),
    ("selinux", &[Family::Selinux]),
    ("apparmor", &[Family::Apparmor]),
    ("chroot", &[Family::Chroot]),
    ("fips", &[Family::Fips]),
    ("caps", &[Family::Caps]),
    // With what Ansible's collectors of these require.
    ("pkg_mgr", &[Family::PkgMgr, Family::Distribution]),
    ("service_mgr", &[Family::ServiceMgr, Family::Platform, Family::Distribution]),
    ("cmdline", &[Family::Cmdline]),
    ("date_time", &[Family::DateTime]),
    ("env", &[Family::Env]),
    ("loadavg", &[Family::Loadavg]),
    ("ssh_pub_keys", &[Family::SshKeys]),
    ("user", &[Family::User]),
    ("systemd", &[Family::Systemd]),
    ("dns", &[Family::Dns]),
    ("fibre_channel_wwn", &[Family::FibreChannel]),
    ("iscsi", &[Family::Iscsi]),
    ("nvme", &[Family::Nvme]),
    ("local", &[Family::Local]),
    ("python", &[Family::Python]),
    // Facts of other tools: nothing here yields them.
    ("facter", &[]),
    ("ohai", &[]),
];

fn expand(word: &str) -> Option<Vec<Family>> {
    if let Some((_, families)) = WORDS.iter().find(|(name, _)| *name == word) {
        return Some(families.to_vec());
    }
    // Ansible also takes names of facts (`distribution_version`, `mounts`).
    let fact = FAMILIES.iter().any(|(_, _, names)| {
        names.iter().any(|known| known.strip_suffix('*').map_or(*known == word, |p| word.starts_with(p)))
    });
    fact.then(|| super::families_for(word).into_iter().collect())
}

/// The families that `gather_subset` asks for: `all`, `min`, names of groups or of facts, and `!` before what is left
/// out. The minimum is always in, unless `!min` takes it away.
///
/// # Errors
/// A word that means nothing, with the words that do.
pub fn families_of(words: &[String]) -> Result<Vec<Family>, Failure> {
    let all: BTreeSet<Family> = super::all().collect();
    let minimal = BTreeSet::from(MINIMAL);
    let mut wanted = minimal.clone();
    let mut left_out = BTreeSet::new();
    let mut named = BTreeSet::new();
    for word in words {
        match word.as_str() {
            "all" => wanted.extend(&all),
            "min" => wanted.extend(&minimal),
            "!all" => left_out.extend(all.difference(&minimal)),
            "!min" => left_out.extend(&minimal),
            word => match word.strip_prefix('!') {
                // Leaving out what there is not is no error, as with Ansible.
                Some(word) => left_out.extend(expand(word).unwrap_or_default()),
                None => {
                    let families = expand(word).ok_or_else(|| unknown(word))?;
                    wanted.extend(&families);
                    named.extend(families);
                }
            },
        }
    }
    if words.is_empty() {
        wanted.extend(&all);
    }
    Ok(super::all()
        .filter(|family| wanted.contains(family) && (named.contains(family) || !left_out.contains(family)))
        .collect())
}

fn unknown(word: &str) -> Failure {
    let known: Vec<&str> = WORDS.iter().map(|(name, _)| *name).collect();
    Failure::new(format!("gather_subset does not know `{word}`"))
        .hint(format!("it takes all, min, {}, names of facts, and any of them after `!`", known.join(", ")))
}
