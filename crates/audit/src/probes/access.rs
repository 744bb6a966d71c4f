//! Who may log in: the keys of all users, and the CAs that sshd trusts.

use debark_connect::fingerprint;
use debark_value::{Map, Value, map};

use super::Around;

/// What sshd makes of its configuration (sshd(8), -T); and after `@keys` `USER<tab>LINE` for each line of each user's files, wherever
/// sshd looks for them; `@ca` for CAs that may sign for all.
pub const SCRIPT: &str = "PATH=$PATH:/usr/sbin:/sbin; command -v sshd >/dev/null || { echo '!there is no sshd'; exit; }
[ \"$(id -u)\" = 0 ] || { echo '!only root can ask sshd for its settings, and read the keys of all users: -b'; exit; }
conf=$(sshd -T 2>/dev/null) || { sshd -t 2>&1; echo '!sshd does not take its own configuration'; exit; }
printf '%s\\n@keys\\n' \"$conf\"; t=$(printf '\\t')
files=$(printf '%s\\n' \"$conf\" | sed -n 's/^authorizedkeysfile //p'); [ -n \"$files\" ] || files='.ssh/authorized_keys .ssh/authorized_keys2'
lines() { while IFS= read -r line || [ -n \"$line\" ]; do printf '%s\\t%s\\n' \"$1\" \"$line\"; done < \"$2\"; }
getent passwd | while IFS=: read -r user x uid gid gecos home shell; do for f in $files; do
case $f in *%*) f=$(printf '%s' \"$f\" | sed \"s|%h|$home|g; s|%u|$user|g; s|%U|$uid|g; s|%%|%|g\");; esac
case $f in /*) ;; *) f=$home/$f;; esac
[ -f \"$f\" ] && lines \"$user\" \"$f\"; done; done
ca=$(printf '%s\\n' \"$conf\" | sed -n 's/^trustedusercakeys //p'); [ -f \"$ca\" ] && lines @ca \"$ca\"; :";

/// Type, base64 and comment of an authorized_keys line (sshd(8), AUTHORIZED_KEYS FILE FORMAT): options come first, and
/// blanks within quotes are theirs.
fn key_of(line: &str) -> Option<(&str, &str, &str)> {
    let mut quoted = false;
    let mut start = 0;
    let is_type =
        |word: &str| word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-");
    let bytes = line.as_bytes();
    for at in 0..=bytes.len() {
        let byte = bytes.get(at).copied().unwrap_or(b' ');
        if byte == b'"' && at.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'\\') {
            quoted = !quoted;
        }
        if quoted || !byte.is_ascii_whitespace() {
            continue;
        }
        let word = line.get(start..at)?;
        if is_type(word) {
            let rest = line.get(at..)?.trim_start();
            let (key, comment) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            return Some((word, key, comment.trim()));
        }
        start = at + 1;
    }
    None
}

/// Fingerprints of people's keys, with their names. `people` maps names to keys (`ssh-ed25519 AAAA...`) or fingerprints, one or a
/// list; or is a list of mappings with `name` and `key` or `keys`.
fn known(people: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut take = |name: &str, value: &Value| {
        let one = std::slice::from_ref(value);
        let items: Vec<&Value> = match value {
            Value::List(items) => items.iter().collect(),
            _ => one.iter().collect(),
        };
        for item in items {
            let Some(text) = item.as_str() else { continue };
            for line in text.lines() {
                let print = match line.trim().starts_with("SHA256:") {
                    true => line.split_whitespace().next().map(str::to_owned),
                    false => key_of(line.trim()).and_then(|(_, key, _)| fingerprint(key)),
                };
                found.extend(print.map(|print| (print, name.to_owned())));
            }
        }
    };
    match people {
        Value::Map(people) => people.iter().for_each(|(name, value)| take(name, value)),
        Value::List(people) => {
            for person in people.iter() {
                let name = person.get("name").and_then(Value::as_str).unwrap_or_default();
                for key in ["key", "keys"] {
                    if let Some(value) = person.get(key) {
                        take(name, value);
                    }
                }
            }
        }
        _ => {}
    }
    found
}

/// `keys`: all, with `user`, `type`, `fingerprint`, `comment`, `who`; `unknown`: those of nobody.
pub fn read(output: &str, around: &Around) -> Map {
    let people = known(&around.people);
    let (mut keys, mut unknown) = (Vec::new(), Vec::new());
    for line in output.lines() {
        let Some((user, line)) = line.split_once('\t') else { continue };
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let (kind, key, comment) = key_of(line.trim()).unwrap_or(("unreadable", "", line));
        let print = fingerprint(key).filter(|_| !key.is_empty()).unwrap_or_default();
        let who = people
            .iter()
            .find(|(known, _)| *known == print && !print.is_empty())
            .map(|(_, name)| name.as_str());
        let comment: String = comment.chars().take(200).collect();
        let entry = map! {
            "user" => if user == "@ca" { "CA for all users" } else { user }, "type" => kind, "fingerprint" => print,
            "comment" => comment,
        };
        if who.is_none() {
            unknown.push(Value::from(entry.clone()));
        }
        let mut entry = entry;
        entry.insert("who".into(), who.map_or(Value::Null, Value::from));
        keys.push(Value::from(entry));
    }
    map! { "keys" => Value::from(keys), "unknown" => Value::from(unknown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBvdfVPpTUpUUIqHUeHJKDhXwWkQRiRUzJo7nlU4b7Lw";

    #[test]
    fn keys_behind_options() {
        assert_eq!(key_of(&format!("ssh-ed25519 {KEY} a b")), Some(("ssh-ed25519", KEY, "a b")));
        let line = format!("command=\"echo \\\"ssh-rsa x\\\" y\",no-pty ssh-ed25519 {KEY}");
        assert_eq!(key_of(&line), Some(("ssh-ed25519", KEY, "")));
        assert_eq!(key_of("no key"), None);
    }

    #[test]
    fn strangers_are_listed() {
        let output = format!(
            "root\tssh-ed25519 {KEY} alice\nbob\t# nothing\nbob\tssh-ed25519 {}w== eve\n",
            &KEY[..60]
        );
        let people = Value::from(map! { "alice@example.org" => format!("ssh-ed25519 {KEY}") });
        let found = read(&output, &Around { people, now: 0 });
        let Value::List(unknown) = &found["unknown"] else { panic!() };
        assert_eq!(unknown.len(), 1);
        assert_eq!(unknown[0].get("user").and_then(Value::as_str), Some("bob"));
        let print = Value::from(map! { "alice" => fingerprint(KEY).unwrap() });
        let list = Value::from(vec![Value::from(
            map! { "name" => "a", "keys" => Value::list([format!("ssh-ed25519 {KEY}")]) },
        )]);
        for people in [print, list] {
            let found = read(&format!("root\tssh-ed25519 {KEY}"), &Around { people, now: 0 });
            assert_eq!(found["unknown"], Value::from(Vec::<Value>::new()));
        }
    }
}
