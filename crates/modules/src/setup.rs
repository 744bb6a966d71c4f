//! `setup`: gathers facts.

use std::path::PathBuf;

use crate::param::NO_RULES;
use crate::{Failure, Host, Map, Plan, Value, facts, map, params};

params! {
    /// Gathers facts about the host.
    pub struct Params for "ansible.builtin.setup" {
        /// Which facts: `all`, `min`, `hardware`, `network`, `virtual`, ...; `!` before a word leaves it out.
        gather_subset: Vec<String> = vec!["all".to_owned()],
        /// Shell patterns; only facts whose names match are returned.
        filter: Vec<String>,
        /// How many seconds a program in `fact_path` may take; 60 if nothing is said. Nothing else here can hang.
        gather_timeout: Option<i64>,
        /// The directory with the host's own facts.
        fact_path: PathBuf = PathBuf::from(facts::FACT_PATH),
    }
    rules NO_RULES
}

/// Gathers; changes nothing.
///
/// # Errors
/// An unknown word in `gather_subset`.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let families = facts::families_of(&params.gather_subset)?;
    let timeout = facts::patience(params.gather_timeout);
    let gathered = facts::gather(&families, &params.filter, &params.fact_path, timeout, host)?;
    let mut named: Map =
        gathered.into_iter().map(|(name, value)| (format!("ansible_{name}").into(), value)).collect();
    named.insert("gather_subset".into(), Value::list(params.gather_subset));
    named.insert("module_setup".into(), true.into());
    Ok(Plan::ok(map! { "ansible_facts" => named }))
}
