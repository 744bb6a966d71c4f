//! A lab as an inventory: the same variables for debark, Ansible and pyinfra, and the ssh configuration that
//! `debark lab ssh` uses.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::state::State;
use crate::store::LabDir;

/// Strict from the first connection: the hosts' keys were made before they booted.
const OPTIONS: &[(&str, &str)] = &[
    ("StrictHostKeyChecking", "yes"),
    ("GlobalKnownHostsFile", "/dev/null"),
    ("IdentitiesOnly", "yes"),
    ("PreferredAuthentications", "publickey"),
];

fn common_args(dir: &LabDir) -> String {
    let mut args = format!("-o UserKnownHostsFile={}", dir.known_hosts().display());
    for (name, value) in OPTIONS {
        let _ = write!(args, " -o {name}={value}");
    }
    args
}

/// As an INI inventory. Every host has all its variables on its own line, because not every reader of such files
/// knows `[all:vars]`. `groups` are names with their hosts.
pub fn ini(state: &State, dir: &LabDir, groups: &[(String, Vec<String>)]) -> String {
    let mut text = String::new();
    for (name, host) in state.in_order() {
        let _ = write!(
            text,
            "{name} ansible_host={} ansible_user=root ansible_ssh_private_key_file={} ansible_ssh_common_args='{}'",
            host.address,
            dir.key().display(),
            common_args(dir)
        );
        if state.gateway {
            let config = dir.wireguard();
            let _ = write!(text, " debark_vpn=\"{{'wireguard': {{'config': '{}'}}}}\"", config.display());
        }
        text.push('\n');
    }
    for (group, hosts) in groups {
        let _ = writeln!(text, "\n[{group}]");
        for host in hosts {
            let _ = writeln!(text, "{host}");
        }
    }
    text
}

/// As what an inventory script prints for `--list`.
pub fn json(state: &State, dir: &LabDir) -> Value {
    let hosts = state.in_order();
    let vars: serde_json::Map<String, Value> = hosts
        .iter()
        .map(|(name, host)| {
            let mut vars = json!({
                "ansible_host": host.address,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": dir.key(),
                "ansible_ssh_common_args": common_args(dir),
            });
            if state.gateway {
                vars["debark_vpn"] = json!({"wireguard": {"config": dir.wireguard()}});
            }
            ((*name).clone(), vars)
        })
        .collect();
    let names: Vec<_> = hosts.iter().map(|(name, _)| name.as_str()).collect();
    json!({"all": {"hosts": names}, "_meta": {"hostvars": vars}})
}

/// As an inventory of pyinfra, which reads Python and no INI. JSON's strings are Python's, too.
pub fn pyinfra(state: &State, dir: &LabDir) -> String {
    let mut text = "hosts = [\n".to_owned();
    for (name, host) in state.in_order() {
        let data = json!({
            "ssh_hostname": host.address,
            "ssh_user": "root",
            "ssh_key": dir.key(),
            "ssh_known_hosts_file": dir.known_hosts(),
            "ssh_strict_host_key_checking": "yes",
        });
        let _ = writeln!(text, "    ({}, {data}),", json!(name));
    }
    text.push_str("]\n");
    text
}

/// As an ssh_config(5) file that knows nothing but the lab's hosts.
pub fn ssh_config(state: &State, dir: &LabDir) -> String {
    let mut text = String::new();
    for (name, host) in state.in_order() {
        let _ = writeln!(text, "Host {name}\n  HostName {}\n  HostKeyAlias {}", host.address, host.address);
    }
    let _ = writeln!(
        text,
        "Host *\n  User root\n  IdentityFile {}\n  UserKnownHostsFile {}\n  LogLevel ERROR",
        dir.key().display(),
        dir.known_hosts().display()
    );
    for (name, value) in OPTIONS {
        let _ = writeln!(text, "  {name} {value}");
    }
    text
}

/// The known_hosts file: every host by address, by name, and behind each of its delaying proxies. `key` gives a
/// host's public key, `ssh-ed25519 AAAA...`.
pub fn known_hosts(state: &State, key: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    for (name, host) in state.in_order() {
        let Some(key) = key(name) else { continue };
        let key = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let mut names = format!("{},{name}", host.address);
        for delay in state.delays.iter().filter(|delay| &delay.host == name) {
            let _ = write!(names, ",[{}]:{}", delay.listen.ip(), delay.listen.port());
        }
        let _ = writeln!(text, "{names} {key}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::names::Range;
    use crate::state::{DelayState, HostState, Suite};

    fn state() -> State {
        let host = HostState {
            number: 1,
            address: Range(0).host(1),
            suite: Suite::Bookworm,
            base: "b".into(),
            bare: false,
            packages: vec![],
            namespace: "debark-x.h1".into(),
        };
        State {
            name: "x".into(),
            range: 0,
            controller: "debark-x".into(),
            hosts: BTreeMap::from([("h1".to_owned(), host)]),
            gateway: false,
            delays: vec![DelayState {
                host: "h1".into(),
                listen: "10.213.0.1:40001".parse().unwrap(),
                round_trip_ms: 50,
            }],
        }
    }

    fn dir() -> LabDir {
        LabDir { path: "/l/x".into() }
    }

    #[test]
    fn the_inventory_is_strict_and_grouped() {
        let text = ini(&state(), &dir(), &[("web".to_owned(), vec!["h1".to_owned()])]);
        assert_eq!(
            text,
            "h1 ansible_host=10.213.0.11 ansible_user=root ansible_ssh_private_key_file=/l/x/id_ed25519 \
             ansible_ssh_common_args='-o UserKnownHostsFile=/l/x/known_hosts -o StrictHostKeyChecking=yes \
             -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o PreferredAuthentications=publickey'\n\
             \n[web]\nh1\n"
        );
    }

    #[test]
    fn pyinfra_gets_python() {
        let text = pyinfra(&state(), &dir());
        assert!(text.starts_with("hosts = [\n    (\"h1\", {\"ssh_hostname\":\"10.213.0.11\""), "{text}");
        assert!(text.ends_with("}),\n]\n"), "{text}");
    }

    #[test]
    fn json_has_the_same_variables() {
        let json = json(&state(), &dir());
        assert_eq!(json["_meta"]["hostvars"]["h1"]["ansible_host"], "10.213.0.11");
        assert_eq!(json["all"]["hosts"][0], "h1");
    }

    #[test]
    fn a_host_is_known_behind_its_proxies_too() {
        let text = known_hosts(&state(), &|_| Some("ssh-ed25519 AAAA root@h1\n".into()));
        assert_eq!(text, "10.213.0.11,h1,[10.213.0.1]:40001 ssh-ed25519 AAAA\n");
    }
}
