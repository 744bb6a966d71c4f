//! How something is deployed.

use std::time::Duration;

use debark_order::Check;
use debark_playbook::Node;
use debark_value::Value;

use crate::Amount;

/// Ordinary tasks of a playbook, from the project file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tasks(pub Vec<Node>);

impl Tasks {
    /// As a playbook's `tasks` would have them. JSON is YAML: it can be written into a playbook as it is.
    pub fn to_value(&self) -> Value {
        Value::from(self.0.iter().map(Node::to_value).collect::<Vec<_>>())
    }
}

/// What a place of the file says of deployments; `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeployPart {
    /// See [`Deploy::hosts`], and so on.
    pub hosts: Option<String>,
    /// Waves.
    pub serial: Option<Vec<Amount>>,
    /// Hosts that may be dead.
    pub budget: Option<Amount>,
    /// Health checks.
    pub checks: Option<Vec<Check>>,
    /// Before a wave.
    pub pre: Option<Tasks>,
    /// After a wave.
    pub post: Option<Tasks>,
    /// Versions to keep.
    pub keep: Option<u32>,
    /// Until a host goes back by itself.
    pub confirm_within: Option<Duration>,
    /// For apt and maintainer scripts.
    pub install_within: Option<Duration>,
}

/// How a package is deployed to an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Deploy {
    /// Which hosts: a pattern; one host counts only if the environment has it.
    pub hosts: String,
    /// Waves, the last one repeated until all hosts are done. Never empty.
    pub serial: Vec<Amount>,
    /// How many hosts may be out of reach before it stops.
    pub budget: Amount,
    /// What is checked on each host, in this order.
    pub checks: Vec<Check>,
    /// Tasks for the hosts of a wave, before it: draining a load balancer.
    pub pre: Tasks,
    /// Tasks for the hosts of a wave, once it is healthy.
    pub post: Tasks,
    /// Versions that a host keeps, the live one included; at least 2.
    pub keep: u32,
    /// Until a host goes back by itself if nobody confirms.
    pub confirm_within: Duration,
    /// What apt and maintainer scripts may take altogether.
    pub install_within: Duration,
}

impl DeployPart {
    /// What the other says counts.
    pub fn override_with(&mut self, other: &Self) {
        fn over<T: Clone>(mine: &mut Option<T>, other: &Option<T>) {
            if other.is_some() {
                mine.clone_from(other);
            }
        }
        over(&mut self.hosts, &other.hosts);
        over(&mut self.serial, &other.serial);
        over(&mut self.budget, &other.budget);
        over(&mut self.checks, &other.checks);
        over(&mut self.pre, &other.pre);
        over(&mut self.post, &other.post);
        over(&mut self.keep, &other.keep);
        over(&mut self.confirm_within, &other.confirm_within);
        over(&mut self.install_within, &other.install_within);
    }

    /// With defaults: all hosts, one canary and then the rest, no dead host tolerated, 3 versions kept, 5 minutes to
    /// confirm, 10 minutes to install.
    pub fn resolve(self) -> Deploy {
        Deploy {
            hosts: self.hosts.unwrap_or_else(|| "all".into()),
            serial: self.serial.unwrap_or_else(|| vec![Amount::Count(1), Amount::Percent(100)]),
            budget: self.budget.unwrap_or(Amount::Count(0)),
            checks: self.checks.unwrap_or_default(),
            pre: self.pre.unwrap_or_default(),
            post: self.post.unwrap_or_default(),
            keep: self.keep.unwrap_or(3),
            confirm_within: self.confirm_within.unwrap_or(Duration::from_secs(300)),
            install_within: self.install_within.unwrap_or(Duration::from_secs(600)),
        }
    }
}
