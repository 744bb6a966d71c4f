//! Lookups that run on the controller.

mod files;
mod password;
mod programs;
mod tables;
mod url;

use std::path::Path;
use std::sync::Arc;

use debark_expr::{Engine, LayerKind, Scope};
use debark_playbook::inventory::{Inventory, Limit};
use debark_playbook::vault::Vault;
use debark_value::{Map, Value};

use crate::site::Quiet;

/// Where relative paths are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// Directory of the playbook.
    pub playbook_dir: &'a Path,
    /// Directory of the role of the task that asks.
    pub role_path: Option<&'a Path>,
    /// Opens encrypted files.
    pub vault: Option<&'a Vault>,
}

/// The result of a lookup: a list of results, as all these plugins yield one per term.
///
/// # Errors
/// One sentence; also for a lookup that does not exist.
pub fn lookup(name: &str, args: &[Value], kwargs: &Map, around: Around<'_>) -> Result<Value, String> {
    let terms = terms(args)?;
    let results = match name {
        "env" => terms.iter().map(|term| Ok(env(term, kwargs))).collect(),
        "file" => terms.iter().map(|term| files::file(term, kwargs, around)).collect(),
        "fileglob" => files::fileglob(&terms, around),
        "first_found" => files::first_found(args, kwargs, around),
        "unvault" => terms.iter().map(|term| files::read(term, around).map(Value::from)).collect(),
        "password" => terms.iter().map(|term| password::password(term, kwargs, around)).collect(),
        "csvfile" => {
            let found = terms.iter().map(|term| tables::csvfile(term, kwargs, around));
            found.collect::<Result<Vec<_>, _>>().map(|found| found.into_iter().flatten().collect())
        }
        "ini" => {
            let found = terms.iter().map(|term| tables::ini(term, kwargs, around));
            found.collect::<Result<Vec<_>, _>>().map(|found| found.into_iter().flatten().collect())
        }
        "config" if kwargs.get("on_missing").and_then(Value::as_str) == Some("skip") => Ok(Vec::new()),
        "config" => {
            Err("there is no Ansible configuration to look into; put the value into a variable".into())
        }
        "pipe" => terms.iter().map(|term| programs::pipe(term, around)).collect(),
        "lines" => programs::lines(&terms, around),
        "url" => {
            let found = terms.iter().map(|term| url::url(term, kwargs));
            found.collect::<Result<Vec<_>, _>>().map(|found| found.into_iter().flatten().collect())
        }
        other => Err(format!("there is no lookup `{other}`")),
    };
    results.map(Value::list).map_err(|why| format!("lookup `{name}`: {why}"))
}

/// The hosts of the inventory that a pattern means; none if it is malformed.
pub fn inventory_hostnames(inventory: &Inventory, args: &[Value]) -> Result<Value, String> {
    let found = inventory.select(&terms(args)?.join(","), &Limit::default());
    Ok(Value::list(found.unwrap_or_default().hosts.into_iter().map(Value::Str)))
}

/// A term that may carry options as `key=value`, with those given by name below them: the rest of the term, and all
/// options.
fn options(term: &str, kwargs: &Map, known: &[&str]) -> Result<(String, Map), String> {
    let check = |name: &str| {
        if known.contains(&name) { Ok(()) } else { Err(format!("there is no option `{name}`")) }
    };
    let mut all = Map::new();
    for (name, value) in kwargs.iter().filter(|(name, _)| &***name != "wantlist") {
        check(name)?;
        all.insert(name.clone(), value.clone());
    }
    if !term.contains('=') {
        return Ok((term.trim().to_owned(), all));
    }
    let mut rest = Vec::new();
    for word in debark_modules::shlex::split(term)? {
        match word.split_once('=') {
            Some((name, value)) => {
                check(name)?;
                all.insert(name.into(), value.into());
            }
            None => rest.push(word),
        }
    }
    Ok((rest.join(" "), all))
}

/// Evaluates an expression over these variables alone.
fn quiet(expression: &str, vars: Map) -> Result<Value, String> {
    let mut scope = Scope::new();
    scope.push(Arc::new(vars), LayerKind::Plain);
    Engine::new(Arc::new(Quiet)).eval(expression, &scope).map_err(|error| error.to_string())
}

fn terms(args: &[Value]) -> Result<Vec<String>, String> {
    let mut terms = Vec::new();
    for arg in args {
        match arg {
            Value::List(items) => terms.extend(items.iter().map(Value::to_string)),
            Value::Map(_) => {}
            other => terms.push(other.to_string()),
        }
    }
    Ok(terms)
}

/// An unset variable is the default, which is empty if none is given.
fn env(term: &str, kwargs: &Map) -> Value {
    match std::env::var_os(term) {
        Some(value) => Value::from(value.to_string_lossy().into_owned()),
        None => kwargs.get("default").cloned().unwrap_or_else(|| Value::from("")),
    }
}

/// Renders by Tera, in a process of its own, from what is given and nothing else.
///
/// # Errors
/// The order is none.
pub fn tera(args: &[Value]) -> Result<Value, String> {
    let order = args.first().map(debark_value::to_json).unwrap_or_default();
    let order =
        serde_json::from_value(order).map_err(|error| format!("this is no order for Tera: {error}"))?;
    let outcome = serde_json::to_value(debark_tera::apart(&order)).map_err(|error| error.to_string())?;
    Ok(debark_value::from_json(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, args: &[Value], dir: &Path) -> Result<String, String> {
        lookup(name, args, &Map::new(), Around { playbook_dir: dir, role_path: None, vault: None })
            .map(|found| found.to_string())
    }

    #[test]
    fn files_and_programs() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("files")).unwrap();
        std::fs::write(dir.path().join("files/motd"), "hello\n").unwrap();
        assert_eq!(ask("file", &["motd".into()], dir.path()).unwrap(), "['hello']");
        assert_eq!(ask("pipe", &["printf 'a\\nb\\n'".into()], dir.path()).unwrap(), "['a\\nb']");
        assert_eq!(ask("lines", &["printf 'a\\nb\\n'".into()], dir.path()).unwrap(), "['a', 'b']");
        assert_eq!(ask("env", &["DEBARK_NO_SUCH".into()], dir.path()).unwrap(), "['']");
        let role = dir.path().join("roles/web");
        std::fs::create_dir_all(role.join("tasks")).unwrap();
        std::fs::write(role.join("tasks/beside.conf"), "").unwrap();
        let around = Around { playbook_dir: dir.path(), role_path: Some(&role), vault: None };
        let found = lookup("fileglob", &["bes*.conf".into()], &Map::new(), around).unwrap().to_string();
        assert!(found.contains("tasks/beside.conf"), "{found}");
        let found = ask("first_found", &[Value::list(["nope", "motd"])], dir.path()).unwrap();
        assert!(found.contains("files/motd"), "{found}");
        assert!(ask("fileglob", &["mot*".into()], dir.path()).unwrap().contains("files/motd"));
        assert!(ask("pipe", &["exit 3".into()], dir.path()).unwrap_err().contains("ended with 3"));
        assert!(ask("file", &["nope".into()], dir.path()).unwrap_err().contains("nope"));
        assert!(ask("nope", &[], dir.path()).is_err());
    }

    #[test]
    fn encrypted_files_and_options() {
        let dir = tempfile::tempdir().unwrap();
        let mut vault = Vault::default();
        vault.add("default", b"pw".to_vec().into());
        let sealed = vault.encrypt(b" token\n", None).unwrap();
        std::fs::write(dir.path().join("sealed"), sealed).unwrap();
        let around = Around { playbook_dir: dir.path(), role_path: None, vault: Some(&vault) };
        let ask = |name: &str, term: &str, kwargs: Map| {
            lookup(name, &[term.into()], &kwargs, around).map(|found| found.to_string())
        };
        assert_eq!(ask("file", "sealed", Map::new()).unwrap(), "[' token']");
        let bare = debark_value::map! { "lstrip" => true, "rstrip" => false };
        assert_eq!(ask("file", "sealed", bare).unwrap(), "['token\\n']");
        assert_eq!(ask("unvault", "sealed", Map::new()).unwrap(), "[' token\\n']");
        assert!(vault.secrets().iter().any(|secret| secret.contains("token")));
        let skip = debark_value::map! { "skip" => true, "files" => Value::list(["nope"]) };
        assert_eq!(lookup("first_found", &[], &skip, around).unwrap().to_string(), "[]");
        assert!(ask("first_found", "nope", Map::new()).unwrap_err().contains("nope"));
        assert!(ask("config", "x", Map::new()).unwrap_err().contains("no Ansible configuration"));
    }
}
