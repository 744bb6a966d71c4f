//! What became of a check on a host.

use debark_value::{Value, to_json};
use serde_json::json;

use crate::checks::Severity;

/// What the evidence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// Nobody can tell: that is no pass.
    Unknown,
    /// It does not concern the host.
    Skipped,
}

impl Status {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

/// A check on a host.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The host's name in the inventory.
    pub host: String,
    /// Where it is.
    pub address: String,
    /// The check.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its policy.
    pub policy: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What the evidence means.
    pub status: Status,
    /// The evidence, as far as it is shown.
    pub observed: Value,
    /// Why nobody can tell.
    pub message: Option<String>,
    /// When, in seconds since 1970.
    pub time: u64,
}

impl Finding {
    /// An event with the fields of OCSF's class "Compliance Finding" (2003), version 1.3.
    pub fn ocsf(&self, version: &str) -> serde_json::Value {
        let (status_id, status) = match self.status {
            Status::Pass => (1, "Pass"),
            Status::Fail => (3, "Fail"),
            Status::Unknown => (0, "Unknown"),
            Status::Skipped => (99, "Not applicable"),
        };
        let (severity_id, severity) = match self.status {
            Status::Fail => (self.severity.id(), self.severity.name()),
            Status::Unknown => (0, "unknown"),
            _ => (1, "informational"),
        };
        let observed = to_json(&self.observed);
        json!({
            "class_uid": 2003, "class_name": "Compliance Finding", "category_uid": 2, "category_name": "Findings",
            "activity_id": 1, "activity_name": "Create", "type_uid": 200_301,
            "time": self.time * 1000, "severity_id": severity_id, "severity": severity,
            "status": self.status.name(), "message": self.message,
            "finding_info": {"uid": format!("{}/{}", self.host, self.id), "title": self.title, "analytic": {"uid": self.id, "type_id": 1}},
            "compliance": {"requirements": self.policy, "status": status, "status_id": status_id, "control": self.id},
            "resources": [{"name": self.host, "type": "host"}],
            "device": {"hostname": self.host, "ip": self.address, "type_id": 1},
            "evidences": [{"data": observed}],
            "unmapped": {"observed": observed},
            "metadata": {"version": "1.3.0", "product": {"name": "debark", "vendor_name": "debark", "version": version}},
        })
    }

    /// What was observed, on one line without control characters.
    pub fn shown(&self) -> String {
        let text = match (&self.observed, &self.message) {
            (_, Some(message)) => message.clone(),
            (Value::Null, None) => String::new(),
            (Value::Str(text), None) => text.to_string(),
            (Value::List(items), None) if items.is_empty() => "none".into(),
            (Value::List(items), None) => items.iter().map(line).collect::<Vec<_>>().join("; "),
            (Value::Map(map), None) => map
                .iter()
                .map(|(name, value)| format!("{name} {}", line(value)))
                .collect::<Vec<_>>()
                .join(", "),
            (value, None) => line(value),
        };
        text.chars().filter(|letter| !letter.is_control()).collect()
    }
}

fn line(value: &Value) -> String {
    match value {
        Value::Str(text) => text.to_string(),
        Value::Map(map) => {
            map.values().map(line).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
        }
        Value::Null => String::new(),
        other => to_json(other).to_string(),
    }
}
