//! sshd's settings, and the algorithms that a server offers.

use debark_value::{Map, Value};

/// What sshd makes of its configuration (sshd(8), -T), by the first words of lines; they end at `@keys`.
pub fn read(output: &str) -> Map {
    output
        .lines()
        .take_while(|line| *line != "@keys")
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name.into(), Value::from(value)))
        .collect()
}

/// Parts of names of algorithms that should be offered no more, and why.
const WEAK: &[&str] = &[
    "sha1", "-cbc", "arcfour", "3des", "md5", "ssh-dss", "umac-64", "ripemd", "none", "blowfish", "cast128",
];

/// Those of a list that are weak. `ssh-rsa` is a signature with SHA-1 (RFC 8332).
pub fn weak<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let is_weak = |name: &str| {
        name == "ssh-rsa"
            || name.starts_with("diffie-hellman-group1-")
            || WEAK.iter().any(|part| name.contains(part))
    };
    names.into_iter().filter(|name| is_weak(name)).collect()
}

/// What a server offers, from ssh's debug output of level 2: `kex`, `host_keys`, `ciphers`, `macs` and `weak`, each a list.
/// `None`: it got not so far.
pub fn algorithms(debug: &str) -> Option<Map> {
    let offer = debug.lines().skip_while(|line| !line.contains("peer server KEXINIT proposal"));
    let mut found = Map::new();
    let mut all: Vec<&str> = Vec::new();
    let kinds = [
        ("KEX algorithms: ", "kex"),
        ("host key algorithms: ", "host_keys"),
        ("ciphers stoc: ", "ciphers"),
        ("MACs stoc: ", "macs"),
    ];
    for line in offer.take(20) {
        let Some(line) = line.trim_end().strip_prefix("debug2: ") else { continue };
        for (start, name) in kinds {
            if let Some(list) = line.strip_prefix(start) {
                let names: Vec<&str> = list.split(',').filter(|name| !name.is_empty()).collect();
                all.extend(&names);
                found.insert(name.into(), Value::list(names));
            }
        }
    }
    if found.len() < kinds.len() {
        return None;
    }
    found.insert("weak".into(), Value::list(weak(all)));
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_offer() {
        let debug = "debug2: local client KEXINIT proposal\ndebug2: KEX algorithms: local\n\
                     debug2: peer server KEXINIT proposal\r\ndebug2: KEX algorithms: curve25519-sha256,diffie-hellman-group14-sha1\r\n\
                     debug2: host key algorithms: ssh-ed25519,ssh-rsa\ndebug2: ciphers ctos: a\ndebug2: ciphers stoc: aes256-gcm@openssh.com,aes128-cbc\n\
                     debug2: MACs ctos: a\ndebug2: MACs stoc: hmac-sha2-256-etm@openssh.com,umac-64@openssh.com\n";
        let found = algorithms(debug).unwrap();
        assert_eq!(
            found["weak"],
            Value::list(["diffie-hellman-group14-sha1", "ssh-rsa", "aes128-cbc", "umac-64@openssh.com"])
        );
        assert_eq!(algorithms("debug2: peer server KEXINIT proposal\n"), None);
    }
}
