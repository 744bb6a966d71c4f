//! An environment's rules, from the project file to what `policy` wants.

use debark_ledger::policy::{self, Refusal, Rule};
use debark_order::{Environment as EnvironmentName, Identity};
use debark_project::{Environment, TestGate};
use jiff::Timestamp;

use super::context::Problem;
use super::desk::Desk;

/// What to do where an environment names nobody.
pub const NOBODY: &str = "name identities of its signers' file in debark.yml, such as `allow: [alice@example.org]`, and run `debark enroll`";

/// The rules as they are at that moment.
pub fn of(environment: &Environment, now: Timestamp) -> policy::Rules {
    let gates = &environment.gates;
    policy::Rules {
        promote_from: environment.promote_from.clone(),
        soak: gates.soak.map_or(0, |soak| soak.as_secs()),
        tests: gates.tests != TestGate::None,
        approvals: gates.approvals.as_ref().map_or(0, |approvals| approvals.count),
        approvers: gates.approvals.as_ref().map_or_else(Vec::new, |approvals| approvals.by.clone()),
        freezes: environment
            .freezes
            .iter()
            .filter(|freeze| freeze.covers(now))
            .map(|freeze| policy::Closed { name: freeze.to_string(), until: freeze.ends(now) })
            .collect(),
    }
}

/// Whether somebody may deploy to it at all. The hosts ask the same; here it shows before anything begins.
pub fn allowed(environment: &Environment, actor: &Identity) -> Option<Refusal> {
    if environment.allow.contains(actor) {
        return None;
    }
    if environment.allow.is_empty() {
        let message = format!("nobody may deploy to {}: the environment has no `allow`", environment.name);
        return Some(Refusal { rule: Rule::Allowed, message, hint: NOBODY.into() });
    }
    let who: Vec<&str> = environment.allow.iter().map(Identity::as_str).collect();
    Some(Refusal {
        rule: Rule::Allowed,
        message: format!("{actor} may not deploy to {}", environment.name),
        hint: format!(
            "`allow` of that environment in debark.yml names {}; hosts learn of a change by debark enroll",
            who.join(", ")
        ),
    })
}

/// Demands that whoever signs may deploy to the environment: only they lift what keeps others from it.
///
/// # Errors
/// They may not, or nobody is known to sign.
pub fn may(desk: &Desk, environment: &EnvironmentName) -> Result<(), Problem> {
    let ledger = desk.ledger(environment)?;
    desk.signer()?;
    let actor = ledger.actor()?;
    match allowed(desk.environment(environment)?, &actor) {
        None => Ok(()),
        Some(refusal) => Err(Problem::refused(refusal.message).hint(refusal.hint)),
    }
}
