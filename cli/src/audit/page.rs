//! Findings as one HTML page for people who have no debark.

use std::path::Path;

use debark_audit::{Finding, Status};
use debark_connect::certificate::time;
use serde::Serialize;

use super::{count, now};

const TEMPLATE: &str = include_str!("../../../templates/audit.html");

/// What the template is given. All texts are plain; the template's engine escapes them.
#[derive(Serialize)]
struct Page {
    made: String,
    hosts: usize,
    pass: usize,
    fail: usize,
    unknown: usize,
    sections: Vec<Section>,
}

#[derive(Serialize)]
struct Section {
    host: String,
    address: String,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    status: &'static str,
    class: &'static str,
    id: String,
    title: String,
    severity: &'static str,
    policy: String,
    observed: String,
    time: String,
}

/// Writes the page.
///
/// # Errors
/// A sentence that names the file.
pub fn write(file: &Path, findings: &[Finding]) -> Result<(), String> {
    let text = render(findings).map_err(|error| format!("the report's template: {error}"))?;
    std::fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn render(findings: &[Finding]) -> Result<String, tera::Error> {
    let mut sections: Vec<Section> = Vec::new();
    for finding in findings {
        if sections.last().is_none_or(|section| section.host != finding.host) {
            let (host, address) = (finding.host.clone(), finding.address.clone());
            sections.push(Section { host, address, rows: Vec::new() });
        }
        if let Some(section) = sections.last_mut().filter(|_| finding.status != Status::Skipped) {
            section.rows.push(row(finding));
        }
    }
    let page = Page {
        made: time(now()),
        hosts: sections.len(),
        pass: count(findings, Status::Pass),
        fail: count(findings, Status::Fail),
        unknown: count(findings, Status::Unknown),
        sections,
    };
    crate::page::render(TEMPLATE, &page)
}

fn row(finding: &Finding) -> Row {
    Row {
        status: finding.status.name(),
        class: match finding.status {
            Status::Pass => "good",
            Status::Fail => "bad",
            Status::Unknown | Status::Skipped => "note",
        },
        id: finding.id.clone(),
        title: finding.title.clone(),
        severity: finding.severity.name(),
        policy: finding.policy.join("; "),
        observed: finding.shown(),
        time: time(finding.time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use debark_audit::Severity;
    use debark_value::Value;

    #[test]
    fn everything_is_escaped_and_nothing_comes_from_elsewhere() {
        let finding = Finding {
            host: "<i>h1</i>".into(),
            address: "10.0.0.1".into(),
            id: "access.people".into(),
            title: "Only people".into(),
            policy: vec!["A.9.2 <b>".into()],
            severity: Severity::High,
            status: Status::Fail,
            observed: Value::from("<script>alert(1)</script>"),
            message: None,
            time: 0,
        };
        let html = render(&[finding]).unwrap();
        for bad in ["<script", "<b>", "<i>", "http://", "https://", "src="] {
            assert!(!html.contains(bad), "{bad}: {html}");
        }
        for good in ["&lt;script&gt;", "1970-01-01", "A.9.2", "1 do not"] {
            assert!(html.contains(good), "{good}: {html}");
        }
    }
}
