//! What evidence means: the expressions of checks over it.

use std::sync::Arc;

use debark_expr::{Engine, LayerKind, Scope, Services, Truth};
use debark_value::{Map, Value};

use crate::checks::Check;
use crate::finding::{Finding, Status};

/// What was observed, or why nothing was.
pub type Evidence = Result<Value, String>;

/// Expressions of checks look nothing up.
struct Nothing;

impl Services for Nothing {
    fn lookup(&self, name: &str, _: &[Value], _: &Map, _: &Scope) -> Result<Value, String> {
        Err(format!("the lookup {name} is none for checks"))
    }

    fn hostvars(&self, _: &str) -> Result<Option<Value>, String> {
        Ok(None)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        Err(format!("checks read no files: {path}"))
    }
}

/// Judges one host.
pub struct Judge {
    engine: Engine,
    scope: Scope,
    /// The host's name.
    pub host: String,
    /// Where it is.
    pub address: String,
    /// When it was looked at, in seconds since 1970.
    pub time: u64,
}

impl Judge {
    /// `vars` are the host's variables, `facts` what the audit knows itself: `vpn`, `playbook`.
    pub fn new(host: &str, address: &str, vars: Arc<Map>, facts: Map, time: u64) -> Self {
        let mut scope = Scope::new();
        scope.push(vars, LayerKind::Templated);
        scope.push(Arc::new(facts), LayerKind::Plain);
        Self {
            engine: Engine::new(Arc::new(Nothing)),
            scope,
            host: host.to_owned(),
            address: address.to_owned(),
            time,
        }
    }

    /// Whether a check concerns the host.
    ///
    /// # Errors
    /// Its condition cannot be evaluated.
    pub fn concerns(&self, check: &Check) -> Result<bool, String> {
        match &check.when {
            Some(condition) => self.holds(condition, &self.scope),
            None => Ok(true),
        }
    }

    fn holds(&self, condition: &str, scope: &Scope) -> Result<bool, String> {
        match self.engine.test(&Value::from(condition), scope) {
            Ok(Truth::True) => Ok(true),
            Ok(Truth::False) => Ok(false),
            Ok(Truth::Unknown(reason)) => Err(format!("`{condition}` cannot be known: {reason}")),
            Err(error) => Err(format!("`{condition}`: {error}")),
        }
    }

    /// The value of an expression over the host's variables.
    pub fn value(&self, expression: &str) -> Option<Value> {
        self.engine.eval(expression, &self.scope).ok()
    }

    /// What the evidence means for a check.
    pub fn finding(&self, check: &Check, evidence: &Evidence) -> Finding {
        let mut finding = Finding {
            host: self.host.clone(),
            address: self.address.clone(),
            id: check.id.clone(),
            title: check.title.clone(),
            policy: check.policy.clone(),
            severity: check.severity,
            status: Status::Unknown,
            observed: Value::Null,
            message: None,
            time: self.time,
        };
        match self.concerns(check) {
            Ok(true) => {}
            Ok(false) => {
                finding.status = Status::Skipped;
                return finding;
            }
            Err(why) => {
                finding.message = Some(why);
                return finding;
            }
        }
        let observed = match evidence {
            Ok(observed) => observed,
            Err(why) => {
                finding.message = Some(why.clone());
                return finding;
            }
        };
        let mut scope = self.scope.clone();
        let own: Map = [(Arc::from("observed"), observed.clone())].into_iter().collect();
        scope.push(Arc::new(own), LayerKind::Plain);
        let shown = check.show.as_ref().and_then(|show| self.engine.eval(show, &scope).ok());
        finding.observed = shown.unwrap_or_else(|| observed.clone());
        finding.status = Status::Pass;
        for condition in &check.expect {
            match self.holds(condition, &scope) {
                Ok(true) => {}
                Ok(false) => {
                    finding.status = Status::Fail;
                    return finding;
                }
                Err(why) => {
                    finding.status = Status::Unknown;
                    finding.message = Some(why);
                    return finding;
                }
            }
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Checks;
    use debark_value::map;

    fn judge(vars: Map) -> Judge {
        Judge::new("h1", "10.0.0.1", Arc::new(vars), map! { "vpn" => false, "playbook" => false }, 0)
    }

    fn finding(id: &str, vars: Map, evidence: &Evidence) -> Finding {
        let checks = Checks::load(&[], &debark_playbook::SourceMap::default()).unwrap();
        judge(vars).finding(checks.0.iter().find(|check| check.id == id).unwrap(), evidence)
    }

    #[test]
    fn both_outcomes_and_neither() {
        let offers =
            |methods: &[&str]| Ok(Value::from(map! { "methods" => Value::list(methods.iter().copied()) }));
        assert_eq!(finding("ssh.passwords", Map::new(), &offers(&["publickey"])).status, Status::Pass);
        let bad = finding("ssh.passwords", Map::new(), &offers(&["publickey", "password"]));
        assert_eq!((bad.status, bad.shown().as_str()), (Status::Fail, "publickey; password"));
        assert_eq!(bad.ocsf("0")["severity_id"], 5);
        let unknown = finding("ssh.passwords", Map::new(), &Err("no way".into()));
        assert_eq!((unknown.status, unknown.shown().as_str()), (Status::Unknown, "no way"));
        assert_eq!(
            finding("ssh.passwords", Map::new(), &Ok(Value::from(Map::new()))).status,
            Status::Unknown
        );
        assert_eq!(finding("ssh.outside", Map::new(), &Err("x".into())).status, Status::Skipped);
    }

    #[test]
    fn the_hosts_variables_count() {
        let ports = Ok(Value::from(map! { "ports" => Value::list(["tcp/22", "tcp/80"]) }));
        assert_eq!(finding("network.ports", Map::new(), &ports).shown(), "tcp/80");
        let declared = map! { "debark_open_ports" => Value::list(["tcp/22", "tcp/80"]) };
        assert_eq!(finding("network.ports", declared, &ports).status, Status::Pass);
    }
}
