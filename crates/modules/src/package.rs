//! `package`: packages, whatever installs them. On Debian that is apt.

use crate::param::NO_RULES;
use crate::{Failure, Host, Plan, apt, params};

params! {
    /// Installs and removes packages with the host's package manager, which is apt. Takes apt's parameters.
    pub struct Params for "ansible.builtin.package" {
        /// Accepted; `auto` and `apt` are the same here.
        r#use: String = "auto".to_owned(),
    }
    common apt: apt::Params;
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
    apt::plan(params.apt, host)
}
