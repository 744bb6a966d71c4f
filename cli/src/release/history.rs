//! `debark history`: what happened, newest first. `debark show`: one entry.

use std::process::ExitCode;

use debark_ledger::policy::time;
use debark_ledger::{Entry, Filter, Kind, Recorded};
use debark_order::{Environment, PackageName, Sequence};
use serde_json::json;

use super::context::Problem;
use super::desk::{Desk, DeskArgs, at_desk};
use super::records;

/// Shows what happened, newest first
///
/// Exit codes: 0, 1 bad input.
#[derive(clap::Args)]
pub struct HistoryArgs {
    /// Only this environment
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<Environment>,
    /// Only this package
    #[arg(long, value_name = "PACKAGE")]
    package: Option<PackageName>,
    /// So many entries
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    lines: usize,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Shows one entry with all that is known of it
///
/// Exit codes: 0, 1 bad input or no such entry.
#[derive(clap::Args)]
pub struct ShowArgs {
    /// The entry's number
    #[arg(value_name = "SEQUENCE")]
    sequence: Sequence,
    /// Where
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Environment,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Environments that are asked for, or those of the project that have entries.
pub fn chosen(desk: &Desk, env: Option<&Environment>) -> Result<Vec<Environment>, Problem> {
    match env {
        Some(one) => Ok(vec![desk.environment(one)?.name.clone()]),
        None => Ok(desk.project.environments.keys().cloned().collect()),
    }
}

/// Runs `debark history`.
pub fn run(args: &HistoryArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        let mut all: Vec<(Recorded, Option<Entry>)> = Vec::new();
        for (index, environment) in chosen(desk, args.env.as_ref())?.iter().enumerate() {
            let ledger = desk.ledger(environment)?;
            if index == 0 {
                // One fetch brings all environments.
                desk.look(&ledger, environment)?;
            }
            let filter = Filter { limit: Some(args.lines), package: args.package.clone() };
            for recorded in ledger.entries(environment, &filter)? {
                let started = records::started(&ledger, environment, &recorded.entry);
                all.push((recorded, started));
            }
        }
        all.sort_by(|(one, _), (other, _)| {
            let key = |recorded: &Recorded| (recorded.entry.time, recorded.entry.sequence);
            key(other).cmp(&key(one)).then_with(|| one.entry.environment.cmp(&other.entry.environment))
        });
        all.truncate(args.lines);
        for (recorded, started) in &all {
            if desk.json {
                let mut value = records::json(recorded);
                if let (Some(object), Some(Kind::Started(started))) =
                    (value.as_object_mut(), started.as_ref().map(|started| &started.kind))
                {
                    object.insert("action".into(), json!(started.action));
                    object.insert("package".into(), json!(started.package));
                    object.insert("version".into(), json!(started.version));
                    object.insert("digest".into(), json!(started.digest));
                }
                anstream::println!("{value}");
            } else {
                let entry = &recorded.entry;
                let reason = entry
                    .reason
                    .as_ref()
                    .map_or_else(String::new, |reason| format!("  \"{}\"", records::plain(reason)));
                let length = entry
                    .kind
                    .finishes()
                    .map_or_else(String::new, |finished| format!(", {}", records::took(finished.took_ms)));
                anstream::println!(
                    "{}  {:<12} #{:<4} {}{length}  {}{reason}",
                    time(entry.time),
                    entry.environment.as_str(),
                    entry.sequence,
                    records::what(entry, started.as_ref()),
                    entry.actor
                );
            }
        }
        if all.is_empty() && !desk.json {
            anstream::eprintln!("note: nothing is on record yet");
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs `debark show`.
pub fn show(args: &ShowArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        let environment = &desk.environment(&args.env)?.name;
        let ledger = desk.ledger(environment)?;
        let mut found = ledger.entry(environment, args.sequence);
        if found.is_err() {
            desk.look(&ledger, environment)?;
            found = ledger.entry(environment, args.sequence);
        }
        let recorded = found?;
        if desk.json {
            anstream::println!("{}", serde_json::to_value(&recorded).unwrap_or_default());
            return Ok(ExitCode::SUCCESS);
        }
        let started = records::started(&ledger, environment, &recorded.entry);
        for (name, value) in lines(&recorded, started.as_ref()) {
            anstream::println!("{name:<12} {value}");
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn lines(recorded: &Recorded, started: Option<&Entry>) -> Vec<(String, String)> {
    let entry = &recorded.entry;
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| lines.push((name.to_owned(), value));
    add("entry", format!("{} #{}", entry.environment, entry.sequence));
    add("what", records::what(entry, started));
    add("when", time(entry.time));
    add("who", entry.actor.to_string());
    if let Some(reason) = &entry.reason {
        add("why", records::plain(reason));
    }
    if let Some(ci) = &entry.ci {
        let parts = [Some(&ci.system), ci.name.as_ref(), ci.url.as_ref(), ci.commit.as_ref()];
        let text: Vec<String> = parts.into_iter().flatten().map(|part| records::plain(part)).collect();
        add("job", text.join(" "));
    }
    let kind = match &entry.kind {
        Kind::Moved(moved) => {
            add(
                "made",
                format!(
                    "{} by {}, as #{} (commit {})",
                    time(moved.made),
                    moved.by,
                    moved.number,
                    records::plain(&moved.commit)
                ),
            );
            &*moved.entry
        }
        kind => kind,
    };
    match kind {
        Kind::Started(started) => {
            add("digest", started.digest.to_string());
            if let Some(commit) = &started.commit {
                add("built from", records::plain(commit));
            }
            if let Some(of) = started.of {
                add("deals with", format!("#{of}"));
            }
            let hosts: Vec<String> = started.hosts.iter().map(|host| records::plain(host)).collect();
            add("hosts", hosts.join(", "));
            add("lease", format!("{}s", started.lease_seconds));
        }
        Kind::Finished(finished) => {
            add("deployment", format!("#{}", finished.of));
            if let Some(Kind::Started(started)) = started.map(|started| &started.kind) {
                add("digest", started.digest.to_string());
            }
            add("took", records::took(finished.took_ms));
            if finished.bad {
                add("marked", "bad: not deployed here again until debark unhold".into());
            }
            if let Some(message) = &finished.message {
                add("message", records::plain(message));
            }
            for host in &finished.hosts {
                let version = |version: &Option<debark_order::PackageVersion>| {
                    version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
                };
                let message = host
                    .message
                    .as_ref()
                    .map_or_else(String::new, |text| format!(": {}", records::plain(text)));
                add(
                    "host",
                    format!(
                        "{} {} ({} -> {}, {}){message}",
                        records::plain(&host.host),
                        host.result.name(),
                        version(&host.before),
                        version(&host.after),
                        records::took(host.took_ms)
                    ),
                );
            }
        }
        Kind::Approved { digest, .. } => add("digest", digest.to_string()),
        Kind::Held { digest: Some(digest), .. } | Kind::Released { digest: Some(digest), .. } => {
            add("digest", digest.to_string());
        }
        _ => {}
    }
    add("commit", recorded.id.clone());
    lines
}
