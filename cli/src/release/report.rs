//! `debark report`: one page for people who have no debark.

use std::path::PathBuf;
use std::process::ExitCode;

use debark_ledger::policy::time;
use debark_ledger::{Entry, Filter, HostOutcome, Kind, Outcome, Recorded, State};
use debark_order::Environment;
use serde::Serialize;
use serde_json::json;

use super::context::Problem;
use super::desk::{DeskArgs, at_desk};
use super::history::chosen;
use super::records;

const TEMPLATE: &str = include_str!("../../../templates/report.html");

/// Writes one HTML page: environments, and what happened
///
/// The page needs nothing from elsewhere. Exit codes: 0, 1 bad input or the file cannot be written.
#[derive(clap::Args)]
pub struct ReportArgs {
    /// The file
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// Only this environment
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<Environment>,
    /// So many entries
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 500)]
    lines: usize,
    #[command(flatten)]
    desk: DeskArgs,
}

/// What the template is given. All texts are plain; the template's engine escapes them.
#[derive(Serialize)]
struct Page {
    title: String,
    made: String,
    entries: u64,
    faults: usize,
    environments: Vec<Card>,
    rows: Vec<Row>,
    more: usize,
}

#[derive(Serialize)]
struct Card {
    name: String,
    releases: Vec<Live>,
    words: Vec<Word>,
}

#[derive(Serialize)]
struct Live {
    package: String,
    version: String,
    since: String,
    by: String,
    sequence: u64,
    digest: String,
    commit: String,
    hosts: String,
}

#[derive(Serialize)]
struct Word {
    class: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Row {
    time: String,
    environment: String,
    sequence: u64,
    what: String,
    class: &'static str,
    result: &'static str,
    took: String,
    message: String,
    actor: String,
    job: String,
    url: String,
    reason: String,
    hosts: String,
}

/// Runs the command.
pub fn run(args: &ReportArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        let mut page = Page {
            title: desk.project.packages.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            made: time(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)),
            entries: 0,
            faults: 0,
            environments: Vec::new(),
            rows: Vec::new(),
            more: 0,
        };
        let mut all: Vec<(Recorded, Option<Entry>)> = Vec::new();
        for (index, environment) in chosen(desk, args.env.as_ref())?.iter().enumerate() {
            let ledger = desk.ledger(environment)?;
            if index == 0 {
                desk.look(&ledger, environment)?;
            }
            let found = ledger.verify(environment, false)?;
            page.entries += found.entries;
            page.faults += found.faults.len();
            page.environments.push(card(&ledger.state(environment)?));
            let filter = Filter { limit: Some(args.lines), package: None };
            for recorded in ledger.entries(environment, &filter)? {
                let started = records::started(&ledger, environment, &recorded.entry);
                all.push((recorded, started));
            }
        }
        all.sort_by_key(|(recorded, _)| std::cmp::Reverse((recorded.entry.time, recorded.entry.sequence)));
        all.truncate(args.lines);
        page.more = usize::try_from(page.entries).unwrap_or(usize::MAX).saturating_sub(all.len());
        page.rows = all.iter().map(|(recorded, started)| row(&recorded.entry, started.as_ref())).collect();
        let text = crate::page::render(TEMPLATE, &page)
            .map_err(|error| Problem::input(format!("the report's template: {error}")))?;
        std::fs::write(&args.output, text)
            .map_err(|error| Problem::input(format!("cannot write {}: {error}", args.output.display())))?;
        if desk.json {
            anstream::println!(
                "{}",
                json!({"event": "report", "file": args.output, "entries": page.entries, "faults": page.faults})
            );
        } else {
            anstream::println!("{}", args.output.display());
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn card(state: &State) -> Card {
    let mut words = Vec::new();
    let mut say = |class, text| words.push(Word { class, text });
    if let Some(open) = &state.open {
        say(
            "note",
            format!(
                "{} {} {} by {} is going on, or was given up (entry {})",
                open.action.name(),
                open.package,
                open.version,
                open.by,
                open.sequence
            ),
        );
    }
    let why = |why: &Option<String>| {
        why.as_ref().map_or_else(String::new, |why| format!(": {}", records::plain(why)))
    };
    for freeze in &state.freezes {
        let until = freeze.until.map_or_else(String::new, |until| format!(" until {}", time(until)));
        say("note", format!("Frozen by {}{until}{}", freeze.by, why(&freeze.why)));
    }
    for hold in &state.holds {
        let what = hold.package.as_ref().map_or_else(|| "everything".to_owned(), ToString::to_string);
        let version = hold.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
        say("note", format!("{} holds {what}{version}{}", hold.by, why(&hold.why)));
    }
    let mut releases = Vec::new();
    for (name, package) in &state.packages {
        for bad in &package.bad {
            say("bad", format!("{name} {} is bad here: {}", bad.version, records::plain(&bad.why)));
        }
        let behind: Vec<String> = state.behind(name).map(|(host, _)| records::plain(host)).collect();
        if !behind.is_empty() {
            say("bad", format!("Behind with {name}: {}", behind.join(", ")));
        }
        if let Some(live) = &package.live {
            releases.push(Live {
                package: name.to_string(),
                version: live.version.to_string(),
                since: time(live.since),
                by: live.by.to_string(),
                sequence: live.sequence,
                digest: live.digest.to_string(),
                commit: live.commit.as_deref().map(records::plain).unwrap_or_default(),
                hosts: format!("{} of {}", package.hosts.len() - behind.len(), package.hosts.len()),
            });
        }
    }
    Card { name: state.environment.to_string(), releases, words }
}

fn row(entry: &Entry, started: Option<&Entry>) -> Row {
    let finished = entry.kind.finishes();
    let what = records::what(entry, started);
    let (what, result) = match finished {
        Some(finished) => {
            let result = finished.result.name();
            (what.trim_end_matches(result).trim_end_matches(": ").to_owned(), result)
        }
        None => (what, ""),
    };
    let class = match (finished.map(|finished| finished.result), &entry.kind) {
        (Some(Outcome::Succeeded), _) => "good",
        (Some(_), _) => "bad",
        (None, Kind::Started(_)) => "soft",
        (None, Kind::Held { .. } | Kind::Frozen { .. } | Kind::KeyRevoked { .. }) => "note",
        _ => "",
    };
    let hosts = finished.map_or_else(String::new, |finished| {
        let list = |outcome: HostOutcome| {
            let names: Vec<String> = finished
                .hosts
                .iter()
                .filter(|host| host.result == outcome)
                .map(|host| records::plain(&host.host))
                .collect();
            (!names.is_empty()).then(|| format!("{}: {}", outcome.name(), names.join(", ")))
        };
        use HostOutcome::{Behind, Failed, Ok, Reverted, Untouched};
        [Ok, Reverted, Behind, Failed, Untouched].into_iter().filter_map(list).collect::<Vec<_>>().join("; ")
    });
    let ci = entry.ci.as_ref();
    let job = ci.map_or_else(String::new, |ci| records::plain(ci.name.as_ref().unwrap_or(&ci.system)));
    let plain = |text: Option<&String>| text.map(|text| records::plain(text)).unwrap_or_default();
    Row {
        time: time(entry.time).trim_end_matches(" UTC").to_owned(),
        environment: entry.environment.to_string(),
        sequence: entry.sequence,
        what,
        class,
        result,
        took: finished.map_or_else(String::new, |finished| records::took(finished.took_ms)),
        message: plain(finished.and_then(|finished| finished.message.as_ref())),
        actor: entry.actor.to_string(),
        job,
        // An entry may say anything; a link may only lead to a page.
        url: plain(ci.and_then(|ci| ci.url.as_ref()).filter(|url| url.starts_with("https://"))),
        reason: plain(entry.reason.as_ref()),
        hosts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_escaped_and_nothing_comes_from_elsewhere() {
        let text = |kind: serde_json::Value| -> Row {
            let mut entry = json!({
                "format": 1, "environment": "prod", "sequence": 1, "time": 0, "actor": "alice@example.org",
                "reason": "<script>alert(1)</script>", "ci": {"system": "github", "url": "javascript:alert(1)", "name": "\"><b>"},
            });
            if let (Some(entry), serde_json::Value::Object(kind)) = (entry.as_object_mut(), kind) {
                entry.extend(kind);
            }
            row(&serde_json::from_value(entry).unwrap(), None)
        };
        let hosts = json!([{"host": "<i>web1</i>", "result": "ok"}]);
        let rows = vec![
            text(
                json!({"kind": "finished", "of": 1, "result": "reverted", "hosts": hosts, "took_ms": 12, "message": "a & b"}),
            ),
            text(json!({"kind": "key_revoked", "use": "build", "fingerprint": "<u>"})),
        ];
        let mut state = State::empty("prod".parse().unwrap());
        state.freezes.push(
            serde_json::from_value(
                json!({"sequence": 1, "by": "bob@example.org", "since": 0, "why": "<hr>"}),
            )
            .unwrap(),
        );
        let page = Page {
            title: "shop".into(),
            made: "now".into(),
            entries: 2,
            faults: 0,
            environments: vec![card(&state)],
            rows,
            more: 3,
        };
        let html = crate::page::render(TEMPLATE, &page).unwrap();
        for bad in ["<script", "<b>", "<i>", "<u>", "<hr>", "javascript:", "http://", "https://", "src="] {
            assert!(!html.contains(bad), "{bad}: {html}");
        }
        for good in [
            "&lt;script&gt;",
            "a &amp; b",
            "reverted",
            "Frozen by bob@example.org",
            "3 older entries",
            "Nothing is live",
        ] {
            assert!(html.contains(good), "{good}: {html}");
        }
    }
}
