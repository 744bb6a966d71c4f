//! `environments`.

use std::time::Duration;

use debark_order::Environment as EnvironmentName;
use debark_playbook::diagnostic::did_you_mean;
use debark_playbook::yaml::Node;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;

use super::{Fields, Reader};
use crate::environment::{Approvals, Environment, Gates, Store, StoreLocation, TestGate, Trust, Vpn};
use crate::freeze::DAYS;
use crate::{Freeze, Project, tables};

const WEEKDAYS: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

impl Reader<'_> {
    pub fn environment(
        &self,
        name: EnvironmentName,
        node: &Node,
        store: &Store,
        trust: &Trust,
    ) -> Option<Environment> {
        let fields = self.fields(node, &tables::ENVIRONMENT)?;
        let allow = fields.get("allow").map(|node| self.names(node)).unwrap_or_default();
        let inventory = fields.get("inventory").map(|node| self.words(node)).unwrap_or_default();
        Some(Environment {
            inventory: inventory.into_iter().map(|text| self.inventory(text)).collect(),
            hosts: fields.get("hosts").and_then(|node| self.line(node)).unwrap_or_else(|| "all".into()),
            store: fields.get("store").and_then(|node| self.store(node)).unwrap_or_else(|| store.clone()),
            trust: self.trust(fields.get("trust"), trust),
            allow,
            promote_from: fields.get("promote_from").and_then(|node| self.name(node)),
            gates: fields.get("gates").map(|node| self.gates(node)).unwrap_or_default(),
            freezes: fields
                .get("freezes")
                .map(|node| {
                    self.list(node, "`freezes`").iter().filter_map(|node| self.freeze(node)).collect()
                })
                .unwrap_or_default(),
            vpn: fields.get("vpn").and_then(|node| self.vpn(node)).unwrap_or_default(),
            known_hosts: fields.get("known_hosts").and_then(|node| self.path(node)),
            deploy: fields.get("deploy").map(|node| self.deploy(node)).unwrap_or_default(),
            name,
        })
    }

    /// Hosts with a comma stay as they are, paths begin at the project.
    fn inventory(&self, text: String) -> String {
        if text.contains(',') { text } else { self.root.join(text).display().to_string() }
    }

    /// The store of a project that names none.
    pub fn own_store(&self) -> Store {
        store_at(StoreLocation::Directory(self.root.join(".debark/store")))
    }

    pub fn store(&self, node: &Node) -> Option<Store> {
        if node.as_map().is_none() {
            return self.location(node, None).map(store_at);
        }
        let fields = self.fields(node, &tables::STORE)?;
        let mut store = store_at(self.location(fields.get("url")?, Some(&fields))?);
        if let Some(node) = fields.get("suite")
            && let Some(text) = self.line(node)
        {
            // A part of a path and a field of Release.
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if text.starts_with('.') || !text.bytes().all(fits) {
                self.bad(
                    node.span,
                    format!("{text:?} is no suite"),
                    "letters, digits, `-`, `.` and `_` may be in it",
                );
            }
            store.suite = text;
        }
        if let Some(valid) =
            fields.get("valid_for").and_then(|node| self.duration(node, Duration::from_secs(60)))
        {
            store.valid_for = valid;
        }
        if let Some(keep) = fields.get("keep").and_then(|node| self.int(node, 1, 100_000)) {
            store.keep = keep;
        }
        store.hosts_url = fields.get("hosts_url").and_then(|node| self.source_url(node));
        Some(store)
    }

    /// A URL of an apt source (sources.list(5)).
    fn source_url(&self, node: &Node) -> Option<String> {
        let text = self.line(node)?;
        let rest = ["https://", "http://", "file:/"].iter().find_map(|scheme| text.strip_prefix(scheme));
        // It becomes a line of a file that apt reads.
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || rest.is_none_or(str::is_empty) {
            self.bad(
                node.span,
                format!("{text:?} is no URL of an apt source"),
                "write it as `https://packages.example.org/shop`, or `file:/srv/packages` for a directory of the hosts' own",
            );
            return None;
        }
        Some(text)
    }

    fn location(&self, node: &Node, fields: Option<&Fields<'_>>) -> Option<StoreLocation> {
        let text = self.line(node)?;
        let Some(rest) = text.strip_prefix("s3://") else {
            if text.contains("://") {
                self.bad(
                    node.span,
                    format!("{text:?} is no store"),
                    "write a directory or `s3://BUCKET/PREFIX`",
                );
                return None;
            }
            for key in ["endpoint", "region"] {
                if let Some(span) = fields.and_then(|fields| fields.key(key)) {
                    self.bad(span, format!("`{key}` is for `s3://` stores"), "remove it");
                }
            }
            return self.path(node).map(StoreLocation::Directory);
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let good = |text: &str, more: &[u8]| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte) || more.contains(&byte))
        };
        if bucket.is_empty()
            || !good(bucket, b"")
            || !good(prefix, b"/")
            || prefix.split('/').any(|part| part == "..")
        {
            self.bad(
                node.span,
                format!("{text:?} is no bucket and prefix"),
                "write it as `s3://BUCKET/PREFIX`",
            );
            return None;
        }
        let get = |name: &str| fields.and_then(|fields| fields.get(name));
        Some(StoreLocation::S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint: get("endpoint").and_then(|node| self.url(node)),
            region: get("region").and_then(|node| self.line(node)),
        })
    }

    pub fn trust(&self, node: Option<&Node>, default: &Trust) -> Trust {
        let fields = node.and_then(|node| self.fields(node, &tables::TRUST));
        let get =
            |name: &str| fields.as_ref().and_then(|fields| fields.get(name)).and_then(|node| self.path(node));
        Trust {
            signers: get("signers").unwrap_or_else(|| default.signers.clone()),
            build_keys: get("build_keys").unwrap_or_else(|| default.build_keys.clone()),
            revoked: get("revoked").unwrap_or_else(|| default.revoked.clone()),
        }
    }

    fn gates(&self, node: &Node) -> Gates {
        let Some(fields) = self.fields(node, &tables::GATES) else { return Gates::default() };
        let tests = fields.get("tests").map(|node| match node.as_str() {
            Some("all") => TestGate::All,
            _ => TestGate::Named(self.words(node)),
        });
        Gates {
            soak: fields.get("soak").and_then(|node| self.duration(node, Duration::ZERO)),
            tests: tests.unwrap_or_default(),
            approvals: fields.get("approvals").and_then(|node| self.approvals(node)),
        }
    }

    fn approvals(&self, node: &Node) -> Option<Approvals> {
        let fields = self.fields(node, &tables::APPROVALS)?;
        let by: Vec<_> = self.names(fields.get("by")?);
        let count = fields.get("count").map_or(Some(1), |node| self.int(node, 1, 1000))?;
        if count as usize > by.len() {
            self.bad(
                fields.get("count").map_or(fields.span, |node| node.span),
                format!("{count} approvals can never be there: {} may approve", by.len()),
                "name more identities in `by`, or ask for fewer",
            );
        }
        Some(Approvals { count, by })
    }

    fn vpn(&self, node: &Node) -> Option<Vpn> {
        if node.as_map().is_none() {
            self.choice(node, "a way to reach hosts", &["none"], &[()])?;
            return Some(Vpn::None);
        }
        let fields = self.fields(node, &tables::VPN)?;
        match self.one_of(&fields, &["wireguard", "interface"])? {
            ("wireguard", node) if node.as_map().is_some() => {
                let fields = self.fields(node, &tables::WIREGUARD)?;
                let path = |name: &str| fields.get(name).and_then(|node| self.path(node));
                Some(Vpn::Wireguard { config: path("config")?, identity: path("identity") })
            }
            ("wireguard", node) => Some(Vpn::Wireguard { config: self.path(node)?, identity: None }),
            (_, node) => {
                let name = self.line(node)?;
                // As the kernel's dev_valid_name().
                if name.len() > 15
                    || name.contains(['/', ':'])
                    || name.contains(char::is_whitespace)
                    || name.starts_with('.')
                {
                    self.bad(
                        node.span,
                        format!("{name:?} is no network interface"),
                        "write a name such as `wg0`",
                    );
                }
                Some(Vpn::Interface(name))
            }
        }
    }

    fn freeze(&self, node: &Node) -> Option<Freeze> {
        let fields = self.fields(node, &tables::FREEZE)?;
        let zone = fields.get("zone").map_or(Some(TimeZone::UTC), |node| self.zone(node))?;
        let freeze = Freeze {
            from: fields.get("from").and_then(|node| self.moment(node, false)),
            until: fields.get("until").and_then(|node| self.moment(node, true)),
            weekdays: fields
                .get("weekdays")
                .map(|node| {
                    self.items(node)
                        .iter()
                        .filter_map(|node| self.choice(node, "a day of the week", &DAYS, &WEEKDAYS))
                        .collect()
                })
                .unwrap_or_default(),
            hours: fields.get("hours").and_then(|node| self.hours(node)),
            reason: fields.get("reason").and_then(|node| self.line(node)),
            zone,
        };
        if ["from", "until", "weekdays", "hours"].iter().all(|key| fields.get(key).is_none()) {
            self.bad(
                fields.span,
                "this freeze never ends and never began",
                "say when: `from`, `until`, `weekdays`, `hours`",
            );
        }
        if let (Some(from), Some(until)) = (freeze.from, freeze.until)
            && from >= until
        {
            self.bad(
                fields.get("until").map_or(fields.span, |node| node.span),
                "this freeze ends before it begins",
                "`until` has to be later than `from`",
            );
        }
        Some(freeze)
    }

    fn zone(&self, node: &Node) -> Option<TimeZone> {
        let name = self.line(node)?;
        let zone = TimeZone::get(&name).ok();
        if zone.is_none() {
            let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            let hint = did_you_mean(&name, names.iter().map(String::as_str));
            self.bad(
                node.span,
                format!("{name:?} is no time zone"),
                &hint.unwrap_or_else(|| "write it as `Europe/Berlin`".into()),
            );
        }
        zone
    }

    /// A date or a time; a date that is the end means the end of that day.
    fn moment(&self, node: &Node, end: bool) -> Option<DateTime> {
        let text = self.text(node)?;
        let date = text.trim().parse::<Date>().ok().filter(|_| text.trim().len() == 10);
        let moment = match date {
            Some(date) if end => date.tomorrow().ok().map(|next| next.to_datetime(Time::midnight())),
            Some(date) => Some(date.to_datetime(Time::midnight())),
            None => DateTime::strptime("%Y-%m-%d %H:%M", text.trim())
                .or_else(|_| DateTime::strptime("%Y-%m-%dT%H:%M", text.trim()))
                .ok(),
        };
        if moment.is_none() {
            self.bad(
                node.span,
                format!("{text:?} is no date or time"),
                "write it as `2026-12-20` or `2026-12-20 18:00`",
            );
        }
        moment
    }

    fn hours(&self, node: &Node) -> Option<(Time, Time)> {
        let text = self.text(node)?;
        let read = |text: &str| match text.trim() {
            "24:00" => Some(Time::midnight()),
            text => Time::strptime("%H:%M", text).ok(),
        };
        let hours = text.split_once('-').and_then(|(from, until)| Some((read(from)?, read(until)?)));
        if hours.is_none() {
            self.bad(node.span, format!("{text:?} are no hours"), "write them as `16:00-24:00`");
        }
        hours
    }

    /// Promotions lead from environments that are there, and not in a circle.
    pub fn promotions(&self, node: Option<&Node>, project: &Project) {
        for (name, environment) in &project.environments {
            let Some(from) = &environment.promote_from else {
                let span = node
                    .and_then(|node| node.get(name.as_str())?.get("gates")?.entry("soak"))
                    .map(|(key, _)| key.span);
                if let (Some(span), Some(_)) = (span, environment.gates.soak) {
                    self.bad(
                        span,
                        "`soak` needs `promote_from`: it is the time in that environment",
                        "add `promote_from`, or remove it",
                    );
                }
                continue;
            };
            let span =
                node.and_then(|node| node.get(name.as_str())?.get("promote_from")).map(|node| node.span);
            let Some(span) = span else { continue };
            if !project.environments.contains_key(from) {
                // One with mistakes of its own is there all the same.
                if node.and_then(|node| node.get(from.as_str())).is_none() {
                    let known = project.environments.keys().map(|name| name.as_str());
                    let hint = did_you_mean(from.as_str(), known)
                        .unwrap_or_else(|| "name one of `environments`".into());
                    self.bad(span, format!("there is no environment `{from}`"), &hint);
                }
                continue;
            }
            let mut at = Some(from);
            for _ in 0..=project.environments.len() {
                if at == Some(name) {
                    self.bad(
                        span,
                        format!("`{name}` is promoted from itself, over `{from}`"),
                        "promotions lead one way, such as from staging to prod",
                    );
                    break;
                }
                at = at.and_then(|at| project.environments.get(at)?.promote_from.as_ref());
            }
        }
    }

    /// Tests that a gate names are those of some package.
    pub fn required_tests(&self, node: Option<&Node>, project: &Project) {
        let known: Vec<&str> = project
            .packages
            .values()
            .flat_map(|package| &package.tests)
            .map(|test| test.name.as_str())
            .collect();
        for (name, environment) in &project.environments {
            let TestGate::Named(names) = &environment.gates.tests else { continue };
            for test in names.iter().filter(|test| !known.contains(&test.as_str())) {
                let span = node
                    .and_then(|node| node.get(name.as_str())?.get("gates")?.get("tests"))
                    .map(|node| node.span);
                let hint = did_you_mean(test, known.iter().copied())
                    .unwrap_or_else(|| "give a test of a package that `name`".into());
                self.bad(span.unwrap_or_default(), format!("no package has a test {test:?}"), &hint);
            }
        }
    }
}

fn store_at(location: StoreLocation) -> Store {
    Store {
        location,
        suite: "stable".into(),
        valid_for: Duration::from_secs(7 * 86_400),
        keep: 10,
        hosts_url: None,
    }
}
