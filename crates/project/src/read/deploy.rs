//! `deploy`.

use std::time::Duration;

use debark_order::{Check, Probe};
use debark_playbook::yaml::Node;

use super::Reader;
use crate::deploy::{DeployPart, Tasks};
use crate::tables;

const PROBES: [&str; 4] = ["http", "tcp", "command", "unit"];

impl Reader<'_> {
    pub fn deploy(&self, node: &Node) -> DeployPart {
        let Some(fields) = self.fields(node, &tables::DEPLOY) else { return DeployPart::default() };
        let second = Duration::from_secs(1);
        let serial = fields
            .get("serial")
            .map(|node| self.items(node).iter().filter_map(|node| self.amount(node, 1)).collect::<Vec<_>>());
        DeployPart {
            hosts: fields.get("hosts").and_then(|node| self.line(node)),
            serial: serial.filter(|waves| !waves.is_empty()),
            budget: fields.get("budget").and_then(|node| self.amount(node, 0)),
            checks: fields
                .get("checks")
                .map(|node| self.list(node, "`checks`").iter().filter_map(|node| self.check(node)).collect()),
            pre: fields.get("pre").map(|node| Tasks(self.list(node, "`pre`").to_vec())),
            post: fields.get("post").map(|node| Tasks(self.list(node, "`post`").to_vec())),
            keep: fields.get("keep").and_then(|node| self.int(node, 2, 100)),
            confirm_within: fields.get("confirm_within").and_then(|node| self.duration(node, second * 10)),
            install_within: fields.get("install_within").and_then(|node| self.duration(node, second * 10)),
        }
    }

    fn check(&self, node: &Node) -> Option<Check> {
        let fields = self.fields(node, &tables::CHECK)?;
        let (kind, node) = self.one_of(&fields, &PROBES)?;
        if kind != "http" {
            for key in ["status", "contains", "host"] {
                if let Some(span) = fields.key(key) {
                    self.bad(span, format!("`{key}` is for checks over HTTP"), "remove it");
                }
            }
        }
        let (what, probe) = match kind {
            "http" => {
                let url = self.url(node)?;
                if !url.starts_with("http://") {
                    self.bad(
                        node.span,
                        "a check over HTTP is made from the host itself, without TLS",
                        "write `http://127.0.0.1:PORT/PATH`; for anything else, use `command`",
                    );
                    return None;
                }
                let status = fields.get("status").map(|node| self.items(node)).unwrap_or_default();
                let status = status.iter().filter_map(|node| self.int(node, 100, 599));
                let probe = Probe::Http {
                    status: status.filter_map(|code| u16::try_from(code).ok()).collect(),
                    contains: fields.get("contains").and_then(|node| self.text(node)),
                    host: fields.get("host").and_then(|node| self.line(node)),
                    url: url.clone(),
                };
                (url, probe)
            }
            "tcp" => {
                let text = self.line(node)?;
                let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
                let Some((host, port)) = parts.filter(|(host, port)| !host.is_empty() && *port != 0) else {
                    self.bad(
                        node.span,
                        format!("{text:?} is no host and port"),
                        "write it as `127.0.0.1:5432`",
                    );
                    return None;
                };
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                (text.clone(), Probe::Tcp { host, port })
            }
            "command" => {
                let argv = self.command(node)?;
                (argv.join(" "), Probe::Command { argv })
            }
            _ => {
                let unit = self.line(node)?;
                let unit = if unit.contains('.') { unit } else { format!("{unit}.service") };
                (unit.clone(), Probe::Unit { unit })
            }
        };
        let get = |name: &str, default| self.millis(fields.get(name), default);
        let check = Check {
            name: format!("{kind} {what}"),
            probe,
            within: get("within", 60_000),
            interval: get("interval", 1_000).max(10),
            healthy_for: get("healthy_for", 0),
            timeout: get("timeout", 5_000).max(10),
        };
        if check.healthy_for >= check.within {
            self.bad(
                fields.get("healthy_for").or(fields.get("within")).map_or(fields.span, |node| node.span),
                "a check can never hold for that long: `healthy_for` is not below `within`",
                "make `within` longer",
            );
        }
        Some(check)
    }

    /// Words, split at spaces if they stand on one line.
    fn command(&self, node: &Node) -> Option<Vec<String>> {
        let argv: Vec<String> = match node.as_seq() {
            Some(items) => items.iter().map(|node| self.text(node)).collect::<Option<_>>()?,
            None => self.line(node)?.split_whitespace().map(str::to_owned).collect(),
        };
        if !argv.first().is_some_and(|program| program.starts_with('/')) {
            self.bad(
                node.span,
                "a check's command begins with the absolute path of a program",
                "write it as `[/usr/bin/PROGRAM, ARGUMENT]`; for a shell, `[/bin/sh, -c, ...]`",
            );
            return None;
        }
        if let (None, Some(word)) =
            (node.as_seq(), argv.iter().find(|word| word.contains(['\'', '"', '$', '|', '>', ';', '&'])))
        {
            self.bad(
                node.span,
                format!("a check's command is run without a shell, and {word:?} would reach it as it is"),
                "write a list of words, such as `[/bin/sh, -c, ...]`",
            );
            return None;
        }
        Some(argv)
    }
}
