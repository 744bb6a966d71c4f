//! Findings on a terminal, and for a SIEM.

use anstyle::AnsiColor;
use debark_audit::{Check, Finding, On, Probe, Status};
use serde_json::json;

use super::count;

/// All checks.
pub fn list(checks: &[Check], json: bool) {
    for check in checks {
        let probe = match &check.probe {
            Probe::Named(name) => name,
            Probe::Command(command) => command.as_str(),
        };
        let on = if check.on == On::Host { "host" } else { "controller" };
        if json {
            let line = json!({
                "id": check.id, "title": check.title, "policy": check.policy, "severity": check.severity.name(), "on": on,
                "probe": probe, "when": check.when, "expect": check.expect,
            });
            anstream::println!("{line}");
            continue;
        }
        anstream::println!("{:<18} {:<8} {:<10} {}", check.id, check.severity.name(), on, check.title);
    }
}

/// A table, or one event per line.
pub fn findings(findings: &[Finding], json: bool, verbose: bool) {
    if json {
        return findings
            .iter()
            .for_each(|finding| anstream::println!("{}", finding.ocsf(env!("CARGO_PKG_VERSION"))));
    }
    let mut host = "";
    for finding in findings.iter().filter(|finding| verbose || finding.status != Status::Skipped) {
        if finding.host != host {
            host = &finding.host;
            anstream::println!("{host}  {}", finding.address);
        }
        let colour = match finding.status {
            Status::Pass => AnsiColor::Green,
            Status::Fail => AnsiColor::Red,
            Status::Unknown => AnsiColor::Magenta,
            Status::Skipped => AnsiColor::Cyan,
        }
        .on_default();
        let word = finding.status.name();
        anstream::println!("  {colour}{word:<8}{colour:#}{:<18} {}", finding.id, finding.title);
        let shown: String = finding.shown().chars().take(400).collect();
        if !shown.is_empty() {
            anstream::println!("          {shown}");
        }
    }
    anstream::println!(
        "{} hold, {} do not, {} cannot be known",
        count(findings, Status::Pass),
        count(findings, Status::Fail),
        count(findings, Status::Unknown)
    );
}
