//! `package`: packages, whatever installs them. On Debian that is apt.

use crate::param::NO_RULES;
use crate::{Failure, Host, Map, Plan, Value, apt, map, params};

params! {
    /// Installs and removes packages with the host's package manager, which is apt.
    pub struct Params for "ansible.builtin.package" {
        /// Packages.
        name | pkg: Vec<String>,
        /// What should hold: `present`, `absent`, `latest`.
        state: apt::State = apt::State::Present,
        /// Accepted; `auto` and `apt` are the same here.
        r#use: String = "auto".to_owned(),
        /// Whether the lists of packages are fetched first.
        update_cache: Option<bool>,
        /// Lists younger than this many seconds need not be fetched.
        cache_valid_time: Option<i64>,
        /// Whether recommended packages are installed.
        install_recommends: Option<bool>,
        /// Whether configuration files go as well.
        purge: Option<bool>,
        /// Whether packages that nothing needs any more are removed.
        autoremove: Option<bool>,
    }
    rules NO_RULES
}

/// As `apt`.
///
/// # Errors
/// As `apt`, and another package manager is asked for.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let asked = crate::registry::short_name(&params.r#use).to_owned();
    if !matches!(asked.as_str(), "auto" | "apt" | "") {
        return Err(Failure::new(format!("package: `use: {asked}` is not to be had on a Debian host"))
            .hint("leave `use` out"));
    }
    let mut args: Map = map! { "name" => Value::list(params.name), "state" => params.state.word() };
    let given: [(&str, Option<Value>); 5] = [
        ("update_cache", params.update_cache.map(Value::from)),
        ("cache_valid_time", params.cache_valid_time.map(Value::from)),
        ("install_recommends", params.install_recommends.map(Value::from)),
        ("purge", params.purge.map(Value::from)),
        ("autoremove", params.autoremove.map(Value::from)),
    ];
    args.extend(given.into_iter().filter_map(|(name, value)| Some((name.into(), value?))));
    apt::plan(apt::Params::parse(&args)?, host)
}
