//! `apt_key`: keys that apt trusts for all archives.
//!
//! apt-key(8) is gone from newer Debian and needs gpg, so key files are read and written directly. Without `keyring`
//! a key gets a file of its own in /etc/apt/trusted.gpg.d; Ansible puts it into /etc/apt/trusted.gpg, which apt
//! calls legacy and warns about. A key counts as there wherever apt looks.

use std::path::{Path, PathBuf};

use crate::openpgp::{self, Key};
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Map, Plan, Value, choices, deb822_repository, map, params, textfile};
use debark_value::Order;

choices! {
    /// What should hold.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Adds keys that apt trusts; newer playbooks give archives their own with deb822_repository.
    pub struct Params for "ansible.builtin.apt_key" {
        /// The key's id or fingerprint.
        id: Option<String>,
        /// The key itself.
        data: Option<String>,
        /// A file on the host with the key.
        file: Option<PathBuf>,
        /// A keyring file instead of those that apt reads for all archives.
        keyring: Option<PathBuf>,
        /// Where the key comes from.
        url: Option<String>,
        /// A key server that has it.
        keyserver: Option<String>,
        /// What should hold.
        state: State = State::Present,
        /// Accepted; certificates are always checked.
        validate_certs: bool = true,
    }
    rules Rules {
        exclusive: &[&["data", "file", "keyserver", "url"]],
        one_of: &[&["data", "file", "id", "keyserver", "url"]],
        ..NO_RULES
    }
}

const MAIN: &str = "/etc/apt/trusted.gpg";
const PARTS: &str = "/etc/apt/trusted.gpg.d";

/// Reads apt's key files, and the key unless its id shows that it is there.
///
/// # Errors
/// The id is none, or the key cannot be had or read.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let id = params.id.as_deref().map(clean_id).transpose()?;
    let files = files(params.keyring.as_deref())?;
    let known: Vec<&Key> = files.iter().flat_map(|(_, keys)| keys).collect();
    let before = ids(&known);
    let there = id.as_deref().is_some_and(|id| known.iter().any(|key| key.has_id(id)));
    if params.state == State::Absent {
        let wanted = match &id {
            Some(id) => vec![id.clone()],
            None => fetch(&params, None, host)?
                .into_iter()
                .filter_map(|key| key.fingerprints.into_iter().next())
                .collect(),
        };
        return absent(&wanted, files, before);
    }
    if there {
        return Ok(Plan::ok(result(id.as_deref().unwrap_or_default(), &before, &before)));
    }
    let fetched = fetch(&params, id.as_deref(), host)?;
    if let Some(id) = id.as_deref().filter(|id| !fetched.iter().any(|key| key.has_id(id))) {
        return Err(Failure::new(format!(
            "the key has not the id {id}, but {}",
            ids(&fetched.iter().collect::<Vec<_>>()).join(", ")
        ))
        .hint("compare its fingerprint with what its owner publishes"));
    }
    let first = |key: &Key| key.fingerprints.first().cloned().unwrap_or_default();
    let new: Vec<Key> =
        fetched.iter().filter(|key| !known.iter().any(|old| old.has_id(&first(key)))).cloned().collect();
    let shown = id.unwrap_or_else(|| fetched.first().map(first).unwrap_or_default());
    if new.is_empty() {
        return Ok(Plan::ok(result(&shown, &before, &before)));
    }
    let mut after = before.clone();
    after.extend(ids(&new.iter().collect::<Vec<_>>()));
    let diff = vec![Diff::text("keys", lines(&before), lines(&after))];
    let keyring = params.keyring.clone();
    Ok(Plan::change(result(&shown, &before, &after), diff, move |_| {
        let dest = keyring.unwrap_or_else(|| {
            Path::new(PARTS).join(format!("{}.gpg", new.first().map(first).unwrap_or_default()))
        });
        let mut content = textfile::read(&dest)?.unwrap_or_default();
        // Keyrings are joined as they are; an armored one is made binary by that.
        if !content.is_empty() {
            let old = openpgp::keys(&content).map_err(|why| unreadable(&dest, &why))?;
            content = old.into_iter().flat_map(|key| key.bytes).collect();
        }
        content.extend(new.into_iter().flat_map(|key| key.bytes));
        textfile::write(&dest, &content, Some(0o644)).map(|()| Map::new())
    }))
}

fn unreadable(path: &Path, why: &str) -> Failure {
    Failure::new(format!("{} is no keyring: {why}", path.display()))
}

fn lines(ids: &[String]) -> String {
    ids.iter().map(|id| format!("{id}\n")).collect()
}

fn ids(keys: &[&Key]) -> Vec<String> {
    keys.iter().filter_map(|key| key.fingerprints.first()).map(|fpr| tail(fpr, 16)).collect()
}

fn tail(id: &str, length: usize) -> String {
    id.get(id.len().saturating_sub(length)..).unwrap_or(id).to_owned()
}

fn result(id: &str, before: &[String], after: &[String]) -> Map {
    map! {
        "id" => id, "key_id" => tail(id, 16), "short_id" => tail(id, 8), "fp" => id,
        "before" => Value::list(before.iter().map(String::as_str)),
        "after" => Value::list(after.iter().map(String::as_str)),
    }
}

fn clean_id(id: &str) -> Result<String, Failure> {
    let upper = id.trim().to_uppercase().replace(' ', "");
    let digits = upper.strip_prefix("0X").unwrap_or(&upper).to_owned();
    if digits.len() >= 8 && digits.len() <= 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits);
    }
    Err(Failure::new(format!("apt_key: `id` must be 8 to 40 hexadecimal digits, got {id:?}")))
}

/// Key files and the keys in them; those in formats that only gpg reads are passed over.
fn files(keyring: Option<&Path>) -> Result<Vec<(PathBuf, Vec<Key>)>, Failure> {
    let paths: Vec<PathBuf> = match keyring {
        Some(path) => vec![path.to_owned()],
        None => {
            let parts = std::fs::read_dir(PARTS)
                .into_iter()
                .flatten()
                .filter_map(Result::ok)
                .map(|entry| entry.path());
            let mut parts: Vec<PathBuf> = parts
                .filter(|path| path.extension().is_some_and(|end| end == "gpg" || end == "asc"))
                .collect();
            parts.order();
            [PathBuf::from(MAIN)].into_iter().chain(parts).collect()
        }
    };
    let mut files = Vec::new();
    for path in paths {
        if let Some(content) = textfile::read(&path)? {
            files.push((path, openpgp::keys(&content).unwrap_or_default()));
        }
    }
    Ok(files)
}

fn fetch(params: &Params, id: Option<&str>, host: &Host) -> Result<Vec<Key>, Failure> {
    let (from, content) = if let Some(data) = &params.data {
        ("`data`".to_owned(), data.clone().into_bytes())
    } else if let Some(file) = &params.file {
        let content = textfile::read(file)?;
        (
            file.display().to_string(),
            content.ok_or_else(|| Failure::new(format!("{} does not exist", file.display())))?,
        )
    } else if let Some(url) = &params.url {
        (url.clone(), deb822_repository::download(url, host)?)
    } else if let (Some(server), Some(id)) = (&params.keyserver, id) {
        let server = server.trim_start_matches("hkps://").trim_start_matches("hkp://").trim_end_matches('/');
        let base = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
        let url = format!("{base}/pks/lookup?op=get&options=mr&search=0x{id}");
        let content = deb822_repository::download(&url, host)?;
        (url, content)
    } else {
        return Err(Failure::new(format!(
            "the key {} is not there, and nothing says where it comes from",
            id.unwrap_or("?")
        ))
        .hint("give `url`, `data` or `file`"));
    };
    openpgp::keys(&content).map_err(|why| Failure::new(format!("{from} is no OpenPGP key: {why}")))
}

fn absent(wanted: &[String], files: Vec<(PathBuf, Vec<Key>)>, before: Vec<String>) -> Result<Plan, Failure> {
    let goes = |key: &Key| wanted.iter().any(|id| key.has_id(id));
    let after: Vec<String> =
        ids(&files.iter().flat_map(|(_, keys)| keys).filter(|key| !goes(key)).collect::<Vec<_>>());
    let shown = wanted.first().cloned().unwrap_or_default();
    let result = result(&shown, &before, &after);
    let touched: Vec<(PathBuf, Vec<u8>)> = files
        .into_iter()
        .filter(|(_, keys)| keys.iter().any(goes))
        .map(|(path, keys)| {
            (path, keys.into_iter().filter(|key| !goes(key)).flat_map(|key| key.bytes).collect())
        })
        .collect();
    if touched.is_empty() {
        return Ok(Plan::ok(result));
    }
    if let Some((path, _)) = touched
        .iter()
        .find(|(path, rest)| !rest.is_empty() && path.extension().is_some_and(|end| end == "asc"))
    {
        // apt takes the ending at its word: binary content in it would make apt fail.
        return Err(Failure::new(format!(
            "{} holds other keys as well, and cannot be split",
            path.display()
        ))
        .hint("replace the file by one without that key"));
    }
    let diff = vec![Diff::text("keys", lines(&before), lines(&after))];
    Ok(Plan::change(result, diff, move |_| {
        for (path, rest) in touched {
            if rest.is_empty() { textfile::remove(&path)? } else { textfile::write(&path, &rest, None)? }
        }
        Ok(Map::new())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;

    #[test]
    fn adds_and_removes_in_a_keyring() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let dir = tempfile::tempdir().unwrap();
        let keyring = dir.path().join("k.gpg").display().to_string();
        let run = |args: Map| {
            let plan = plan(Params::parse(&args).unwrap(), &host).unwrap();
            match plan.action {
                Action::Change(apply) => apply(&host).map(|_| true).unwrap(),
                _ => false,
            }
        };
        let file = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let add = map! { "file" => file, "keyring" => keyring.as_str(), "id" => "0xB7C5D7D6350947F8" };
        assert!(run(add.clone()) && !run(add));
        assert_eq!(std::fs::read(&keyring).unwrap(), std::fs::read(file).unwrap());
        let remove = map! { "keyring" => keyring.as_str(), "id" => "B7C5D7D6350947F8", "state" => "absent" };
        assert!(run(remove.clone()) && !run(remove));
        let remove = map! { "keyring" => keyring.as_str(), "file" => file, "state" => "absent" };
        assert!(run(remove) && !Path::new(&keyring).exists());
    }

    #[test]
    fn refuses_wrong_keys() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let message =
            |args: Map| plan(Params::parse(&args).unwrap(), &host).err().map(|failure| failure.msg).unwrap();
        assert!(message(map! { "id" => "xyz" }).contains("hexadecimal"));
        assert!(message(map! { "data" => "hello", "keyring" => "/no/such" }).contains("no OpenPGP key"));
        let file = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let args = map! { "id" => "DEADBEEF", "file" => file, "keyring" => "/no/such" };
        assert!(message(args).contains("has not the id DEADBEEF"));
    }
}
