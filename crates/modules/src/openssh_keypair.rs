//! `openssh_keypair`: a private key of OpenSSH's and its public half, by ssh-keygen(1).

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::atomic::{self, Replace};
use crate::exec::Cmd;
use crate::file_args::{FileArgs, path_value};
use crate::param::NO_RULES;
use crate::private_dir::PrivateDir;
use crate::{Diff, Failure, Host, Map, Plan, Value, choices, map, params};

choices! {
    /// Whether the keys should be there.
    pub enum State { Present = "present", Absent = "absent" }
}

choices! {
    /// The algorithm.
    pub enum Type { Rsa = "rsa", Dsa = "dsa", Rsa1 = "rsa1", Ecdsa = "ecdsa", Ed25519 = "ed25519" }
}

choices! {
    /// When a key that is there is replaced.
    pub enum Regenerate {
        Never = "never", Fail = "fail", Partial = "partial_idempotence", Full = "full_idempotence", Always = "always",
    }
}

choices! {
    /// What makes the keys.
    pub enum Backend { Auto = "auto", Cryptography = "cryptography", Binary = "opensshbin" }
}

choices! {
    /// How the private key is written.
    pub enum Format { Auto = "auto", Ssh = "ssh" }
}

params! {
    /// Makes a private key of OpenSSH's and its public half (`path`.pub). There is no passphrase: who can read the file
    /// has the key.
    pub struct Params for "community.crypto.openssh_keypair" {
        /// The private key; the public one is beside it, with `.pub` behind its name.
        path: PathBuf,
        /// Whether the keys should be there.
        state: State = State::Present,
        /// The algorithm.
        r#type: Type = Type::Rsa,
        /// Bits: 4096 for `rsa` and 256 for `ecdsa` unless said otherwise.
        size: Option<i64>,
        /// Make new keys in any case.
        force: bool = false,
        /// The public key's comment.
        comment: Option<String>,
        /// When a key that is there is replaced: where it has another type or size (`partial_idempotence`), also where it cannot be
        /// read (`full_idempotence`), or `always`; `fail` is an error instead, and `never` leaves any key that can be read.
        regenerate: Regenerate = Regenerate::Partial,
        /// Accepted and without effect: ssh-keygen makes the keys.
        backend: Backend = Backend::Auto,
        /// Accepted and without effect: OpenSSH's own format is what ssh-keygen writes.
        private_key_format: Format = Format::Auto,
    }
    common file: FileArgs;
    rules NO_RULES
}

/// What a public key says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Public {
    kind: String,
    data: String,
    comment: String,
}

impl Public {
    fn of(line: &str) -> Option<Self> {
        let mut words = line.trim().splitn(3, ' ');
        let (kind, data) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Self { kind, data, comment: words.next().unwrap_or_default().trim().to_owned() })
    }

    fn line(&self) -> String {
        format!("{} {} {}", self.kind, self.data, self.comment).trim_end().to_owned()
    }
}

/// A private key that could be read.
struct Private {
    public: Public,
    size: i64,
    fingerprint: String,
}

impl Private {
    /// None if it has a passphrase, or is no key.
    fn read(path: &Path, host: &Host) -> Result<Option<Self>, Failure> {
        let (_dir, copy) = copied(path)?;
        let shown = host.exec(&Cmd::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(copy))?;
        let Some(public) = Public::of(&shown.out()).filter(|_| shown.rc == 0) else { return Ok(None) };
        let told = host.exec_ok(&Cmd::new("ssh-keygen").args(["-l", "-f", "-"]).stdin(public.line()))?.out();
        let mut words = told.split_whitespace();
        let size = words.next().and_then(|word| word.parse().ok());
        Ok(size.zip(words.next()).map(|(size, print)| Self { public, size, fingerprint: print.to_owned() }))
    }

    fn is(&self, kind: Type, size: i64) -> bool {
        let word = self.public.kind.trim_start_matches("ssh-");
        let same = match kind {
            Type::Dsa => word == "dss",
            Type::Ecdsa => word.starts_with("ecdsa-"),
            other => word == other.word(),
        };
        same && self.size == size
    }
}

/// No key is longer.
const LIMIT: u64 = 1 << 16;

fn bits(params: &Params) -> Result<i64, Failure> {
    let (usual, fits): (i64, fn(i64) -> bool) = match params.r#type {
        Type::Rsa => (4096, |size| (1024..=16_384).contains(&size)),
        Type::Dsa => (1024, |size| size == 1024),
        Type::Ecdsa => (256, |size| [256, 384, 521].contains(&size)),
        Type::Ed25519 => return Ok(256),
        Type::Rsa1 => {
            return Err(Failure::new(
                "keys of the type rsa1 are for SSH's protocol 1, which OpenSSH no longer has",
            ));
        }
    };
    let size = params.size.unwrap_or(usual);
    if fits(size) {
        return Ok(size);
    }
    Err(Failure::new(format!("a key of the type {} cannot have {size} bits", params.r#type.word()))
        .hint("rsa takes from 1024 to 16384, ecdsa 256, 384 or 521, dsa 1024"))
}

fn result(path: &Path, kind: Type, size: i64, key: Option<&Private>) -> Map {
    let (print, line, comment) = key.map_or_else(Default::default, |key| {
        (key.fingerprint.clone(), key.public.line(), key.public.comment.clone())
    });
    map! {
        "filename" => path_value(path), "type" => kind.word(), "size" => size,
        "fingerprint" => print, "public_key" => line, "comment" => comment,
    }
}

/// Compares the keys with what is declared.
///
/// # Errors
/// The size does not go with the type; a key is there that cannot be read, or, with `regenerate: fail`, is another one.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let mut public_path = params.path.clone().into_os_string();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    let both = [params.path.clone(), public_path.clone()];
    let (kind, size) = (params.r#type, bits(&params)?);
    if params.path.is_dir() {
        return Err(Failure::new(format!("{} is a directory", params.path.display())));
    }
    if params.state == State::Absent {
        return Ok(absent(both, result(&params.path, kind, size, None)));
    }
    atomic::need_parent(host, &params.path)?;
    let always = params.force || params.regenerate == Regenerate::Always;
    let there = params.path.exists();
    let key = if there { Private::read(&params.path, host)? } else { None };
    if there && key.is_none() && !always && params.regenerate != Regenerate::Full {
        return Err(Failure::new(format!("{} has a passphrase, or is no key", params.path.display()))
            .hint("`regenerate: full_idempotence` or `force: true` replaces it"));
    }
    let wanted =
        key.filter(|_| !always).filter(|key| params.regenerate == Regenerate::Never || key.is(kind, size));
    if there && wanted.is_none() && params.regenerate == Regenerate::Fail && !params.force {
        return Err(Failure::new(format!(
            "{} is no key of {size} bits of the type {}",
            params.path.display(),
            kind.word()
        )));
    }
    let [mut private, mut public] = [Replace::observe(&both[0])?, Replace::observe(&both[1])?];
    for (file, mode) in [(&mut private, 0o600), (&mut public, 0o644)] {
        file.wanted = params.file.resolve(host)?;
        file.unsafe_writes = params.file.unsafe_writes;
        // A new key is nobody else's to read, whatever the umask.
        if wanted.is_none() && file.seen.is_none() {
            file.base.mode = mode;
        }
    }
    let Some(mut key) = wanted else {
        let diff = Diff::property(
            params.path.display(),
            "key",
            if there { "another" } else { "absent" },
            kind.word(),
        );
        let mut told = result(&params.path, kind, size, None);
        for key in ["fingerprint", "public_key"] {
            told.insert(key.into(), Value::Unknown("the key was not made in check mode".into()));
        }
        told.insert(
            "comment".into(),
            params.comment.clone().map_or_else(|| told["public_key"].clone(), Value::from),
        );
        return Ok(Plan::change(told, vec![diff], move |host| make(&params, size, [private, public], host)));
    };
    let found = std::fs::read_to_string(&public_path).ok().and_then(|text| Public::of(&text));
    let comment = params.comment.clone().or_else(|| found.as_ref().map(|found| found.comment.clone()));
    let before = key.public.comment.clone();
    key.public.comment = comment.unwrap_or(before);
    let told = result(&params.path, kind, size, Some(&key));
    let (attrs, public_attrs) = (private.attrs(host)?, public.attrs(host)?);
    let restore = found.as_ref() != Some(&key.public);
    if !restore && attrs.is_empty() && public_attrs.is_empty() {
        return Ok(Plan::ok(told));
    }
    let mut diff = attrs.diffs();
    diff.extend(public_attrs.diffs());
    let line = key.public.line() + "\n";
    if restore {
        diff.push(Diff::text(
            public_path.display(),
            found.map_or_else(String::new, |found| found.line() + "\n"),
            &line,
        ));
    }
    Ok(Plan::change(told, diff, move |host| {
        match params.comment.filter(|_| restore) {
            // What ssh-keygen writes it writes in place: a copy gets the comment, and then the key's place.
            Some(comment) => {
                let (_dir, copy) = copied(&params.path)?;
                let cmd = Cmd::new("ssh-keygen").args(["-q", "-c", "-P", "", "-C", &comment, "-f"]);
                let _ = host.exec_ok(&cmd.arg(&copy))?;
                put(private, &atomic::read_limited(&copy, LIMIT)?, host)?;
            }
            None => attrs.apply(host)?,
        }
        if restore {
            put(public, line.as_bytes(), host)?
        } else {
            public_attrs.apply(host)?
        }
        Ok(map! {})
    }))
}

/// A copy that is nobody else's to read: ssh-keygen refuses keys that are, and a task may want its key to be.
fn copied(path: &Path) -> Result<(PrivateDir, PathBuf), Failure> {
    let dir = PrivateDir::new(LIMIT)?;
    let copy = dir.path().join("key");
    let bytes = atomic::read_limited(path, LIMIT)?;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy);
    let written = made.and_then(|mut file| file.write_all(&bytes));
    written.map_err(|error| Failure::io("cannot write", &copy, error))?;
    Ok((dir, copy))
}

fn put(file: Replace, bytes: &[u8], host: &Host) -> Result<(), Failure> {
    let dest = file.dest.clone();
    file.commit(host, &mut |out| {
        out.write_all(bytes).map_err(|error| Failure::io("cannot write", &dest, error))
    })
    .map(drop)
}

/// New keys, in place of what is there.
fn make(params: &Params, size: i64, files: [Replace; 2], host: &Host) -> Result<Map, Failure> {
    let dir = PrivateDir::new(LIMIT)?;
    let new = dir.path().join("key");
    let cmd =
        Cmd::new("ssh-keygen").args(["-q", "-N", "", "-t", params.r#type.word(), "-b", &size.to_string()]);
    let cmd = params.comment.iter().fold(cmd, |cmd, comment| cmd.args(["-C", comment]));
    let _ = host.exec_ok(&cmd.arg("-f").arg(&new))?;
    let key = Private::read(&new, host)?;
    for (file, from) in files.into_iter().zip([new.clone(), new.with_extension("pub")]) {
        put(file, &atomic::read_limited(&from, LIMIT)?, host)?;
    }
    Ok(result(&params.path, params.r#type, size, key.as_ref()))
}

fn absent(both: [PathBuf; 2], result: Map) -> Plan {
    let there: Vec<PathBuf> = both.into_iter().filter(|path| path.symlink_metadata().is_ok()).collect();
    if there.is_empty() {
        return Plan::ok(result);
    }
    let diff = there.iter().map(|path| Diff::property(path.display(), "state", "file", "absent")).collect();
    Plan::change(result, diff, move |_| {
        for path in &there {
            crate::guard::keep(path)?;
            std::fs::remove_file(path).map_err(|error| Failure::io("cannot remove", path, error))?;
        }
        Ok(map! {})
    })
}

#[cfg(test)]
mod tests;
