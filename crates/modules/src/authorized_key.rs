//! `authorized_key`: who may log in as a user, sshd(8) section AUTHORIZED_KEYS FILE FORMAT.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::edit::{Edit, Owner};
use crate::file_args::path_info;
use crate::param::NO_RULES;
use crate::{Failure, Host, Plan, Value, accounts, choices, map, params};

choices! {
    /// Whether the keys should be in the file.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Adds keys to a user's authorized keys, or removes them.
    pub struct Params for "ansible.posix.authorized_key" {
        /// Whose file it is.
        user: String,
        /// The keys, one a line; `http(s)://` and `file://` name where they are.
        key: String,
        /// The file, instead of `~/.ssh/authorized_keys`.
        path: Option<PathBuf>,
        /// Make the file's directory, and see to its owner and mode.
        manage_dir: bool = true,
        /// Whether the keys should be there.
        state: State = State::Present,
        /// Options before the key, as in the file.
        key_options: Option<String>,
        /// Remove all other keys.
        exclusive: bool = false,
        /// The key's comment, instead of its own.
        comment: Option<String>,
        /// For keys from `https`: the server's certificate must be valid.
        validate_certs: bool = true,
        /// Write to what a link leads to.
        follow: bool = false,
    }
    rules NO_RULES
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq)]
enum Line {
    Key {
        options: Option<String>,
        kind: String,
        key: String,
        comment: String,
    },
    /// Comments, blank lines and what is no key stay as they are.
    Other(String),
}

fn is_kind(word: &str) -> bool {
    const PREFIXES: [&str; 6] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-", "webauthn-sk-"];
    PREFIXES.iter().any(|prefix| word.starts_with(prefix)) && !word.contains(['"', '=', ','])
}

/// Splits at the first blank outside quotes.
fn first_word(text: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                let (word, rest) = text.split_at(at);
                return (word, rest.trim_start());
            }
            _ => {}
        }
    }
    (text, "")
}

fn parse(line: &str) -> Line {
    let text = line.trim();
    let other = || Line::Other(line.to_owned());
    if text.is_empty() || text.starts_with('#') {
        return other();
    }
    let (word, rest) = first_word(text);
    let (options, kind, rest) = if is_kind(word) {
        (None, word, rest)
    } else {
        let (kind, rest) = first_word(rest);
        if !is_kind(kind) {
            return other();
        }
        (Some(word.to_owned()), kind, rest)
    };
    let (key, comment) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if key.is_empty() {
        return other();
    }
    let comment = comment.trim().to_owned();
    Line::Key { options, kind: kind.to_owned(), key: key.to_owned(), comment }
}

impl Line {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Key { key, .. } => Some(key),
            Self::Other(_) => None,
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key { options, kind, key, comment } => {
                let options = options.as_ref().map(|o| format!("{o} ")).unwrap_or_default();
                let space = if comment.is_empty() { "" } else { " " };
                write!(f, "{options}{kind} {key}{space}{comment}")
            }
            Self::Other(line) => f.write_str(line),
        }
    }
}

/// The file's new text.
///
/// # Errors
/// A line of `key` is no key.
fn edited(before: &str, keys: &str, params: &Params) -> Result<String, Failure> {
    let mut lines: Vec<Line> = before.lines().map(parse).collect();
    let mut wanted = Vec::new();
    for text in keys.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut line = parse(text);
        let Line::Key { options, comment, .. } = &mut line else {
            return Err(Failure::new(format!(
                "the key for user {} is no SSH public key: {text:?}",
                params.user
            )));
        };
        if let Some(given) = &params.key_options {
            *options = Some(given.clone()).filter(|given| !given.is_empty());
        }
        if let Some(given) = &params.comment {
            comment.clone_from(given);
        }
        wanted.push(line);
    }
    for line in &wanted {
        let found = lines.iter().position(|known| known.id() == line.id());
        match (params.state, found) {
            (State::Present, Some(at)) if lines.get(at) == Some(line) => {}
            (State::Present, found) => {
                // What differs in options or comment moves to the end, as with Ansible.
                if let Some(at) = found {
                    lines.remove(at);
                }
                lines.push(line.clone());
            }
            (State::Absent, _) => lines.retain(|known| known.id() != line.id()),
        }
    }
    if params.exclusive && params.state == State::Present {
        lines.retain(|line| wanted.iter().any(|known| known.id() == line.id()));
    }
    let same = lines == before.lines().map(parse).collect::<Vec<_>>();
    Ok(if same { before.to_owned() } else { lines.iter().map(|line| format!("{line}\n")).collect() })
}

fn keys(params: &Params, host: &Host) -> Result<String, Failure> {
    if !params.key.starts_with("http://")
        && !params.key.starts_with("https://")
        && !params.key.starts_with("file://")
    {
        return Ok(params.key.clone());
    }
    let request = crate::http::Request { validate_certs: params.validate_certs, ..Default::default() };
    let mut bytes = Vec::new();
    crate::http::download(host, &params.key, &request, &mut bytes, 1 << 20)?;
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("{} is no text", params.key)))
}

/// Compares the user's authorized keys with what is declared.
///
/// # Errors
/// There is no such user (in check mode an earlier task may be about to make it), or a key is none.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let user = accounts::user(&params.user);
    if user.is_none() && !host.may_come() {
        return Err(Failure::new(format!("there is no user {}, so it has no authorized keys", params.user)));
    }
    let home = user.as_ref().map_or_else(|| Path::new("/home").join(&params.user), |user| user.home.clone());
    let file = params.path.clone().unwrap_or_else(|| home.join(".ssh/authorized_keys"));
    let text = keys(&params, host)?;
    let edit = if params.follow { Edit::read(&file)? } else { Edit::read_exact(&file)? };
    let after = edited(edit.text(), &text, &params)?;
    let mut result = map! {
        "user" => params.user.clone(), "key" => params.key.clone(), "state" => params.state.word(),
        "keyfile" => file.to_string_lossy().into_owned(), "manage_dir" => params.manage_dir,
        "exclusive" => params.exclusive, "key_options" => Value::from(params.key_options.clone()),
        "comment" => Value::from(params.comment.clone()), "follow" => params.follow,
        "path" => Value::from(params.path.as_ref().map(|p| p.to_string_lossy().into_owned())),
        "validate_certs" => params.validate_certs,
    };
    if after == edit.text() {
        if let Some(path) = &params.path {
            result.extend(path_info(path)?);
        }
        return Ok(Plan::ok(result));
    }
    let diff = vec![edit.diff(&after)];
    Ok(Plan::change(result, diff, move |host| {
        let user = accounts::user(&params.user)
            .ok_or_else(|| Failure::new(format!("there is no user {}", params.user)))?;
        let ids = (user.uid, user.gid);
        if let Some(dir) = file.parent().filter(|_| params.manage_dir) {
            own_dir(dir, ids)?;
        }
        edit.write(host, &after, Owner { ids: Some(ids), mode: Some(0o600) }, false)?;
        params.path.as_deref().map_or_else(|| Ok(map! {}), path_info)
    }))
}

/// sshd ignores keys in directories that others may write to.
fn own_dir(dir: &Path, (uid, gid): (u32, u32)) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::io("cannot prepare", dir, e);
    match dir.symlink_metadata() {
        Err(_) => {
            crate::guard::keep(dir)?;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
            chown(dir, Some(uid), Some(gid)).map_err(failed)
        }
        Ok(meta) if !meta.is_dir() => Ok(()),
        Ok(meta) => {
            if (meta.uid(), meta.gid()) != (uid, gid) {
                chown(dir, Some(uid), Some(gid)).map_err(failed)?;
            }
            if meta.mode() & 0o777 != 0o700 {
                std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Map;

    const FILE: &str = "# team\nssh-ed25519 AAAA1 ann@x\nno-pty,command=\"a b\" ssh-rsa AAAA2 bob\n\n";

    fn edit(args: Map) -> String {
        let mut all = map! { "user" => "ann" };
        all.extend(args);
        let params = Params::parse(&all).unwrap();
        edited(FILE, &params.key.clone(), &params).unwrap()
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        assert_eq!(edit(map! { "key" => "ssh-ed25519 AAAA1 ann@x" }), FILE);
        assert_eq!(edit(map! { "key" => "no-pty,command=\"a b\" ssh-rsa AAAA2 bob" }), FILE);
        assert_eq!(edit(map! { "key" => "ssh-rsa AAAA9", "state" => "absent" }), FILE);
    }

    #[test]
    fn adds_changes_and_removes() {
        assert!(
            edit(map! { "key" => "ssh-ed25519 AAAA3 c\n\n# x\nssh-ed25519 AAAA4" })
                .ends_with("AAAA3 c\nssh-ed25519 AAAA4\n")
        );
        let options = edit(map! { "key" => "ssh-ed25519 AAAA1 ann@x", "key_options" => "from=\"10.0.0.1\"" });
        assert!(options.ends_with("from=\"10.0.0.1\" ssh-ed25519 AAAA1 ann@x\n"), "{options}");
        assert!(!edit(map! { "key" => "ssh-rsa AAAA2", "state" => "absent" }).contains("AAAA2"));
        assert_eq!(
            edit(map! { "key" => "ssh-ed25519 AAAA1 ann@x", "exclusive" => true }),
            "ssh-ed25519 AAAA1 ann@x\n"
        );
    }

    #[test]
    fn refuses_what_is_no_key() {
        let params = Params::parse(&map! { "user" => "ann", "key" => "hello" }).unwrap();
        assert!(edited(FILE, "hello world", &params).unwrap_err().msg.contains("is no SSH public key"));
    }
}
