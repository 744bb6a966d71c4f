//! `openssl_dhparam`: parameters for Diffie and Hellman's key exchange, by openssl-dhparam(1ssl).

use std::path::{Path, PathBuf};

use crate::atomic::{self, Replace};
use crate::exec::Cmd;
use crate::file_args::{FileArgs, path_value};
use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Map, Plan, Value, choices, map, params};

choices! {
    /// Whether the parameters should be there.
    pub enum State { Present = "present", Absent = "absent" }
}

choices! {
    /// What makes the parameters.
    pub enum Backend { Auto = "auto", Cryptography = "cryptography", Openssl = "openssl" }
}

params! {
    /// Makes parameters for Diffie and Hellman's key exchange, which takes up to minutes.
    pub struct Params for "community.crypto.openssl_dhparam" {
        /// The file.
        path: PathBuf,
        /// Whether it should be there.
        state: State = State::Present,
        /// Bits of the prime.
        size: i64 = 4096,
        /// Make new parameters in any case.
        force: bool = false,
        /// Keep a dated copy of what is replaced or removed.
        backup: bool = false,
        /// Return the file's content as `dhparams`.
        return_content: bool = false,
        /// Accepted and without effect: openssl makes them.
        select_crypto_backend: Backend = Backend::Auto,
    }
    common file: FileArgs;
    rules NO_RULES
}

/// No parameters of a size that is allowed are longer.
const LIMIT: u64 = 1 << 16;

/// Whether the file holds sound parameters of that size.
fn sound(path: &Path, size: i64, host: &Host) -> Result<bool, Failure> {
    let cmd = Cmd::new("openssl").args(["dhparam", "-check", "-text", "-noout", "-in"]).arg(path);
    let told = host.exec(&cmd)?;
    let says = told.out() + &told.err();
    Ok(told.rc == 0 && !says.contains("WARNING") && says.contains(&format!("Parameters: ({size} bit)")))
}

/// Compares the file with what is declared.
///
/// # Errors
/// The size is none that openssl makes; openssl is not there; the path is no file.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let size = params.size;
    if !(512..=16_384).contains(&size) {
        return Err(Failure::new(format!("parameters cannot have {size} bits")).hint("from 512 to 16384"));
    }
    let mut result = map! { "filename" => path_value(&params.path), "size" => size };
    let mut replace = Replace::observe(&params.path)?;
    if params.state == State::Absent {
        return Ok(absent(params, replace.seen.is_some(), result));
    }
    atomic::need_parent(host, &params.path)?;
    replace.wanted = params.file.resolve(host)?;
    replace.unsafe_writes = params.file.unsafe_writes;
    replace.backup = params.backup;
    let there = replace.seen.is_some();
    if there && !params.force && sound(&params.path, size, host)? {
        if params.return_content {
            result.insert("dhparams".into(), text(&atomic::read_limited(&params.path, LIMIT)?));
        }
        let attrs = replace.attrs(host)?;
        if attrs.is_empty() {
            return Ok(Plan::ok(result));
        }
        return Ok(Plan::change(result, attrs.diffs(), move |host| attrs.apply(host).map(|()| map! {})));
    }
    if params.return_content {
        result.insert("dhparams".into(), Value::Unknown("the parameters were not made in check mode".into()));
    }
    let before = if there { "others" } else { "absent" };
    let diff = Diff::property(params.path.display(), "parameters", before, format!("of {size} bits"));
    Ok(Plan::change(result, vec![diff], move |host| {
        let made = host.exec_ok(&Cmd::new("openssl").args(["dhparam", &size.to_string()]))?.out();
        let dest = replace.dest.clone();
        let saved = replace.commit(host, &mut |out| {
            out.write_all(made.as_bytes()).map_err(|error| Failure::io("cannot write", &dest, error))
        })?;
        let mut more: Map = saved.iter().map(|path| ("backup_file".into(), path_value(path))).collect();
        if params.return_content {
            more.insert("dhparams".into(), text(made.as_bytes()));
        }
        Ok(more)
    }))
}

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn absent(params: Params, there: bool, result: Map) -> Plan {
    if !there {
        return Plan::ok(result);
    }
    let diff = Diff::property(params.path.display(), "state", "file", "absent");
    Plan::change(result, vec![diff], move |_| {
        let saved = params.backup.then(|| atomic::backup(&params.path)).transpose()?;
        crate::guard::keep(&params.path)?;
        std::fs::remove_file(&params.path)
            .map_err(|error| Failure::io("cannot remove", &params.path, error))?;
        Ok(saved.iter().map(|path| ("backup_file".into(), path_value(path))).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Action;
    use crate::private_dir::PrivateDir;

    fn run(args: Map) -> Result<(bool, Map), Failure> {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let Plan { mut result, action, .. } = plan(Params::parse(&args)?, &host)?;
        let Action::Change(apply) = action else { return Ok((false, result)) };
        result.extend(apply(&host)?);
        Ok((true, result))
    }

    #[test]
    fn makes_keeps_and_removes() {
        let dir = PrivateDir::new(0).unwrap();
        let path = dir.path().join("dh.pem");
        let args = |more: Map| {
            let mut args = map! { "path" => path_value(&path), "size" => 512, "return_content" => true };
            args.extend(more);
            args
        };
        let (changed, made) = run(args(map! {})).unwrap();
        let content = || text(&std::fs::read(&path).unwrap());
        assert!(changed && made["dhparams"] == content());
        assert_eq!(run(args(map! {})).unwrap(), (false, made.clone()));
        assert!(run(args(map! { "mode" => "0640" })).unwrap().0 && content() == made["dhparams"]);

        // Others, and what is none at all, are replaced.
        let (changed, others) = run(args(map! { "size" => 520, "backup" => true })).unwrap();
        assert!(changed && others["dhparams"] != made["dhparams"] && others.contains_key("backup_file"));
        std::fs::write(&path, "nonsense").unwrap();
        assert!(run(args(map! {})).unwrap().0 && content() != text(b"nonsense"));
        assert!(run(args(map! { "size" => 8 })).unwrap_err().msg.contains("cannot have 8 bits"));

        assert!(run(args(map! { "state" => "absent" })).unwrap().0 && !path.exists());
        assert!(!run(args(map! { "state" => "absent" })).unwrap().0);
    }
}
