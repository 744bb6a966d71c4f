//! `known_hosts`: keys of hosts that ssh trusts, sshd(8) section SSH_KNOWN_HOSTS FILE FORMAT.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::edit::{Edit, Owner};
use crate::file_args::path_info;
use crate::param::{NO_RULES, Rules};
use crate::{Failure, Host, Plan, Value, choices, map, params};

choices! {
    /// Whether the key should be known.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Adds or removes keys of hosts.
    pub struct Params for "ansible.builtin.known_hosts" {
        /// The host, `[host]:port` for another port than 22.
        name | host: String,
        /// The line as ssh-keyscan(1) prints it.
        key: Option<String>,
        /// The file.
        path: PathBuf = crate::paths::expand("~/.ssh/known_hosts"),
        /// Hide the name.
        hash_host: bool = false,
        /// Whether the key should be known.
        state: State = State::Present,
    }
    rules Rules { when: &[("state", "present", &["key"])], ..NO_RULES }
}

/// A line's parts.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    marker: Option<String>,
    hosts: String,
    kind: String,
    key: String,
}

fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace().peekable();
    if words.peek()?.starts_with('#') {
        return None;
    }
    let marker = words.next_if(|word| word.starts_with('@')).map(str::to_owned);
    let mut next = || words.next().map(str::to_owned);
    Some(Entry { marker, hosts: next()?, kind: next()?, key: next()? })
}

fn digest(salt: &[u8], name: &str) -> [u8; 20] {
    use sha1::{Digest, Sha1};
    // HMAC-SHA1, RFC 2104; the salt is shorter than a block.
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(salt).for_each(|(b, s)| *b ^= s);
        block
    };
    let inner = Sha1::new().chain_update(pad(0x36)).chain_update(name).finalize();
    Sha1::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

impl Entry {
    /// Whether ssh would find this line for the name.
    fn is_for(&self, name: &str) -> bool {
        if let Some(hashed) = self.hosts.strip_prefix("|1|") {
            let Some((salt, hash)) = hashed.split_once('|') else { return false };
            let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
            return salt.len() <= 64 && digest(&salt, name).as_slice() == hash;
        }
        let matches = |pattern: &str| crate::fnmatch::matches(pattern, name);
        let mut found = false;
        for pattern in self.hosts.to_lowercase().split(',') {
            match pattern.strip_prefix('!') {
                Some(pattern) if matches(pattern) => return false,
                None if matches(pattern) => found = true,
                _ => {}
            }
        }
        found
    }
}

fn hashed(name: &str) -> Result<String, Failure> {
    let mut salt = [0u8; 20];
    let mut filled = 0;
    while let Some(rest) = salt.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| Failure::new(format!("the kernel gives no random bytes: {e}")))?;
    }
    Ok(format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(digest(&salt, name))))
}

/// The file's new text.
///
/// # Errors
/// The key is not one of that host.
fn edited(before: &str, params: &Params) -> Result<String, Failure> {
    let name = params.name.to_lowercase();
    let lines: Vec<&str> = before.lines().collect();
    let is_own = |line: &str| parse(line).is_some_and(|entry| entry.is_for(&name));
    let text = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let Some(given) = params.key.as_deref().map(str::trim) else {
        let kept: Vec<&str> = lines.iter().copied().filter(|line| !is_own(line)).collect();
        return Ok(if kept.len() == lines.len() { before.to_owned() } else { text(&kept) });
    };
    let key = parse(given).filter(|_| !given.contains('\n'));
    let key = key.ok_or_else(|| Failure::new(format!("the key of {name} is no line of known_hosts")))?;
    if !key.is_for(&name) {
        return Err(Failure::new(format!("the key given for {name} is of another host"))
            .hint("the line must begin with the name"));
    }
    let same = |entry: &Entry| (&entry.marker, &entry.kind, &entry.key) == (&key.marker, &key.kind, &key.key);
    let spelled = |entry: &Entry| {
        let hidden = entry.hosts.starts_with("|1|");
        if params.hash_host {
            hidden
        } else {
            entry.hosts == key.hosts || hidden && key.hosts.starts_with("|1|")
        }
    };
    let own = |line: &str| parse(line).filter(|entry| entry.is_for(&name));
    if params.state == State::Absent {
        let kept: Vec<&str> = lines.iter().copied().filter(|l| !own(l).is_some_and(|e| same(&e))).collect();
        return Ok(if kept.len() == lines.len() { before.to_owned() } else { text(&kept) });
    }
    if lines.iter().any(|line| own(line).is_some_and(|entry| same(&entry) && spelled(&entry))) {
        return Ok(before.to_owned());
    }
    let line = if params.hash_host {
        let hosts = hashed(&name)?;
        let marker = key.marker.as_ref().map(|marker| format!("{marker} ")).unwrap_or_default();
        format!("{marker}{hosts} {} {}", key.kind, key.key)
    } else {
        given.to_owned()
    };
    // One key of a type per host; authorities and revocations stand beside.
    let replaced = lines.iter().position(|line| {
        own(line)
            .is_some_and(|entry| entry.kind == key.kind && entry.marker.is_none() && key.marker.is_none())
    });
    let kept = lines.iter().enumerate().filter(|(at, _)| Some(*at) != replaced).map(|(_, line)| *line);
    Ok(text(&kept.chain([line.as_str()]).collect::<Vec<_>>()))
}

/// Compares the file with what is declared.
///
/// # Errors
/// The key is none, or of another host.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    let edit = Edit::read(&params.path)?;
    let after = edited(edit.text(), &params)?;
    let mut result = map! {
        "name" => params.name.clone(), "key" => Value::from(params.key.clone()), "state" => params.state.word(),
        "path" => params.path.to_string_lossy().into_owned(), "hash_host" => params.hash_host,
    };
    if after == edit.text() {
        result.extend(path_info(&params.path)?);
        return Ok(Plan::ok(result));
    }
    let diff = vec![edit.diff(&after)];
    Ok(Plan::change(result, diff, move |host| {
        if let Some(dir) = params.path.parent().filter(|dir| !dir.exists() && dir.ends_with(".ssh")) {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(dir)
                .map_err(|e| Failure::io("cannot create", dir, e))?;
        }
        edit.write(host, &after, Owner::default(), false)?;
        path_info(&params.path)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Map;

    fn edit(before: &str, args: Map) -> Result<String, String> {
        let mut all = map! { "name" => "web1", "path" => "/x" };
        all.extend(args);
        edited(before, &Params::parse(&all).unwrap()).map_err(|e| e.msg)
    }

    #[test]
    fn adds_replaces_and_removes() {
        let file = "web1,10.0.0.1 ssh-ed25519 AAAA\nweb2 ssh-ed25519 BBBB\n";
        let key = "web1,10.0.0.1 ssh-ed25519 AAAA";
        assert_eq!(edit(file, map! { "key" => key }).unwrap(), file);
        let new = edit(file, map! { "key" => "web1 ssh-ed25519 CCCC" }).unwrap();
        assert_eq!(new, "web2 ssh-ed25519 BBBB\nweb1 ssh-ed25519 CCCC\n");
        assert!(edit(file, map! { "key" => "web1 ssh-rsa DDDD" }).unwrap().starts_with(file));
        assert_eq!(edit(file, map! { "state" => "absent" }).unwrap(), "web2 ssh-ed25519 BBBB\n");
        assert_eq!(edit(file, map! { "state" => "absent", "key" => "web1 ssh-rsa ZZZZ" }).unwrap(), file);
        assert!(edit(file, map! { "key" => "web3 ssh-rsa DDDD" }).unwrap_err().contains("of another host"));
    }

    #[test]
    fn tells_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known").to_string_lossy().into_owned();
        let run = |args: Map| {
            let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
            let mut all = map! { "name" => "web1", "path" => path.as_str() };
            all.extend(args);
            let planned = plan(Params::parse(&all).unwrap(), &host).unwrap();
            let mut result = planned.result;
            if let crate::Action::Change(apply) = planned.action {
                result.extend(apply(&host).unwrap());
            }
            (result["state"].to_string(), result.get("size").map(ToString::to_string))
        };
        assert_eq!(run(map! { "state" => "absent" }), ("absent".to_owned(), None));
        let key = || map! { "key" => "web1 ssh-ed25519 AAAA" };
        assert_eq!(run(key()), ("file".to_owned(), Some("22".to_owned())));
        assert_eq!(run(key()).0, "file");
    }

    #[test]
    fn hashes_as_ssh_does() {
        let before = edit("", map! { "key" => "web1 ssh-ed25519 AAAA", "hash_host" => true }).unwrap();
        assert!(before.starts_with("|1|") && !before.contains("web1"));
        assert_eq!(
            edit(&before, map! { "key" => "web1 ssh-ed25519 AAAA", "hash_host" => true }).unwrap(),
            before
        );
        let dir = std::env::temp_dir().join(format!("debark-known-{}", std::process::id()));
        std::fs::write(&dir, &before).unwrap();
        let found =
            std::process::Command::new("ssh-keygen").args(["-F", "web1", "-f"]).arg(&dir).output().unwrap();
        std::fs::remove_file(&dir).unwrap();
        assert!(String::from_utf8_lossy(&found.stdout).contains("found: line 1"));
    }
}
