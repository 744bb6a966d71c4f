//! `getent`: entries of the system's databases, as facts.

use crate::exec::Cmd;
use crate::param::NO_RULES;
use crate::{Failure, Host, Map, Plan, Value, map, params};

params! {
    /// Reads a database (`passwd`, `group`, `hosts`, ...) with getent(1) into the fact `getent_DATABASE`.
    pub struct Params for "ansible.builtin.getent" {
        /// The database.
        database: String,
        /// The entry; all if left out.
        key: Option<String>,
        /// The source to ask (`files`, `dns`, ...).
        service: Option<String>,
        /// What separates fields; `:` for passwd, shadow, group and gshadow, blanks otherwise.
        split: Option<String>,
        /// Fail if the entry is not there.
        fail_key: bool = true,
    }
    rules NO_RULES
}

fn command(params: &Params) -> Cmd {
    let mut cmd = Cmd::new("getent");
    if let Some(service) = &params.service {
        cmd = cmd.arg("-s").arg(service);
    }
    cmd.arg("--").arg(&params.database).args(&params.key)
}

/// Fields by first field; where one stands more than once, a list of them.
fn table(out: &str, split: Option<&str>) -> Map {
    let mut table = Map::new();
    let mut counts: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for line in out.lines() {
        let mut fields: Vec<&str> = match split {
            Some(split) if !split.is_empty() => line.split(split).collect(),
            _ => line.split_whitespace().collect(),
        };
        if fields.is_empty() {
            continue;
        }
        let key = fields.remove(0);
        let record = Value::list(fields);
        let count = counts.entry(key.to_owned()).or_default();
        *count += 1;
        let together = match (*count, table.get(key)) {
            (2, Some(first)) => Value::list([first.clone(), record]),
            (3.., Some(Value::List(all))) => Value::list(all.iter().cloned().chain([record])),
            _ => record,
        };
        table.insert(key.into(), together);
    }
    table
}

/// Reads; changes nothing.
///
/// # Errors
/// The database is unknown or cannot be listed, or the entry is not there.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let output = host.exec(&command(&params))?;
    let database = &params.database;
    let fact = format!("getent_{database}");
    let key = params.key.as_deref().unwrap_or_default();
    let facts = match output.rc {
        0 => {
            let colons = ["passwd", "shadow", "group", "gshadow"].contains(&database.as_str());
            table(&output.out(), params.split.as_deref().or(colons.then_some(":")))
        }
        2 if !params.fail_key => {
            let none = map! { fact => map! { key => Value::Null } };
            let msg = "One or more supplied key could not be found in the database.";
            return Ok(Plan::ok(map! { "ansible_facts" => none, "msg" => msg }));
        }
        2 => return Err(Failure::new(format!("the database {database} has no entry {key}"))),
        3 => return Err(Failure::new(format!("the database {database} cannot be listed"))),
        _ => return Err(Failure::new(format!("getent does not know the database {database}"))),
    };
    Ok(Plan::ok(map! { "ansible_facts" => map! { fact => facts } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_as_ansible_has_them() {
        let passwd = table("root:x:0:0:root:/root:/bin/sh\n", Some(":"));
        assert_eq!(passwd["root"].as_list().unwrap().len(), 6);
        let hosts = table("127.0.0.1 a\n127.0.0.1 b\n127.0.0.1 c\n", None);
        assert_eq!(hosts["127.0.0.1"].as_list().unwrap().len(), 3);
        assert_eq!(hosts["127.0.0.1"].as_list().unwrap()[2], Value::list(["c"]));
    }

    #[test]
    fn asks_the_host() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let ask = |args: Map| plan(Params::parse(&args).unwrap(), &host);
        let plan = ask(map! { "database" => "passwd", "key" => "root" }).unwrap();
        assert!(plan.result["ansible_facts"].get("getent_passwd").unwrap().get("root").is_some());
        assert!(ask(map! { "database" => "passwd", "key" => "no-such" }).is_err());
        assert!(ask(map! { "database" => "passwd", "key" => "no-such", "fail_key" => false }).is_ok());
    }
}
