//! `debark status`: what is meant to be, beside what is.

use std::process::ExitCode;

use debark_connect::Target;
use debark_ledger::State;
use debark_order::{Environment, PackageName};
use debark_release::status::{Row, Seen, Verdict, look, row};
use debark_value::Map;

use super::context::{Problem, need_packages};
use super::desk::{Desk, DeskArgs, at_desk};
use super::hosts::{Place, ReachArgs};
use crate::exit;

/// Shows what is live where, and whether it is what it should be
///
/// Asks every host for what dpkg and the gate know; with --recorded, nobody: then it is what the ledger says.
///
/// Exit codes: 0 all is as it should be, 1 bad input, 2 something is not, 4 or more some host could not be reached,
/// 6 or more both.
#[derive(clap::Args)]
pub struct StatusArgs {
    /// Only this environment
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<Environment>,
    /// Only this package
    #[arg(long, value_name = "PACKAGE")]
    package: Option<PackageName>,
    /// Ask no host
    #[arg(long)]
    recorded: bool,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Runs the command.
pub fn run(args: &StatusArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        need_packages(&desk.project)?;
        let environments: Vec<Environment> = match &args.env {
            Some(one) => vec![desk.environment(one)?.name.clone()],
            None => desk.project.environments.keys().cloned().collect(),
        };
        let mut code = 0;
        for environment in &environments {
            code = debark_connect::join(code, of(args, desk, environment)?);
        }
        Ok(ExitCode::from(code))
    })
}

fn of(args: &StatusArgs, desk: &Desk, name: &Environment) -> Result<u8, Problem> {
    let environment = desk.environment(name)?;
    let ledger = desk.ledger(name)?;
    let state = desk.look(&ledger, name)?;
    let packages: Vec<PackageName> = match &args.package {
        Some(package) => vec![desk.package(Some(package))?],
        None => desk.project.packages.keys().cloned().collect(),
    };
    let patterns = vec![environment.hosts.as_str()];
    let place = Place {
        inventory: &environment.inventory,
        patterns,
        reach: &args.reach,
        vars: Map::new(),
        vpn: &environment.vpn,
        known_hosts: environment.known_hosts.as_deref(),
        json: desk.json,
    };
    let hosts = place.hosts(&desk.sources)?;
    let seen: Option<Vec<Seen>> = if args.recorded {
        None
    } else {
        let targets: Result<Vec<Target>, String> =
            hosts.names.iter().map(|host| hosts.target(host)).collect();
        let targets = targets.map_err(Problem::input)?;
        Some(look(&targets, &packages, args.reach.at_once()))
    };
    let mut rows = Vec::new();
    for package in &packages {
        let deploy = desk.project.deploy(package, name);
        let patterns = vec![environment.hosts.as_str(), deploy.hosts.as_str()];
        let place = Place {
            inventory: &environment.inventory,
            patterns,
            reach: &args.reach,
            vars: Map::new(),
            vpn: &environment.vpn,
            known_hosts: environment.known_hosts.as_deref(),
            json: desk.json,
        };
        let meant = place.hosts(&desk.sources)?.names;
        for (index, host) in hosts.names.iter().enumerate().filter(|(_, host)| meant.contains(host)) {
            rows.push(row(host, package, &state, seen.as_ref().and_then(|seen| seen.get(index))));
        }
    }
    if desk.json {
        let open = state.open.as_ref();
        anstream::println!(
            "{}",
            serde_json::json!({"event": "environment", "environment": name, "sequence": state.sequence, "open": open, "holds": state.holds, "freezes": state.freezes})
        );
        for row in &rows {
            let mut line = serde_json::json!({"event": "status", "environment": name});
            if let (Some(line), Ok(serde_json::Value::Object(row))) =
                (line.as_object_mut(), serde_json::to_value(row))
            {
                line.extend(row);
            }
            anstream::println!("{line}");
        }
    } else {
        shown(name, &state, &rows);
    }
    let fine = |row: &Row| matches!(row.verdict, Verdict::Ok | Verdict::Recorded | Verdict::Unreachable);
    let failed = if rows.iter().all(fine) { 0 } else { exit::FAILED };
    let away = rows.iter().filter(|row| row.verdict == Verdict::Unreachable).map(|row| row.away);
    Ok(failed | debark_connect::exit_code(away))
}

fn shown(name: &Environment, state: &State, rows: &[Row]) {
    let bold = anstyle::Style::new().bold();
    anstream::println!("{bold}{name}{bold:#} (entry {})", state.sequence);
    if let Some(open) = &state.open {
        let over = if open.is_over(debark_release::now()) { "was given up by" } else { "is going on, by" };
        anstream::println!(
            "  {} {} {} {over} {} (entry {})",
            open.action.name(),
            open.package,
            open.version,
            open.by,
            open.sequence
        );
    }
    for hold in &state.holds {
        let what = hold.package.as_ref().map_or_else(|| "everything".to_owned(), ToString::to_string);
        anstream::println!(
            "  {what} is held by {}: {}",
            hold.by,
            hold.why.as_deref().unwrap_or("no reason given")
        );
    }
    for freeze in &state.freezes {
        anstream::println!(
            "  frozen by {}: {}",
            freeze.by,
            freeze.why.as_deref().unwrap_or("no reason given")
        );
    }
    let width = |column: fn(&Row) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let (hosts, packages) = (width(|row| row.host.len()), width(|row| row.package.as_str().len()));
    let versions = width(|row| row.actual.as_ref().map_or(1, |version| version.as_str().len()));
    for row in rows {
        let word = match row.verdict {
            Verdict::Ok => "ok",
            Verdict::Behind => "behind",
            Verdict::Drift => "drift",
            Verdict::Unconfirmed => "unconfirmed",
            Verdict::Broken => "broken",
            Verdict::Missing => "missing",
            Verdict::Unreachable => "unreachable",
            Verdict::Recorded => "recorded",
        };
        let style = match row.verdict {
            Verdict::Ok => anstyle::AnsiColor::Green.on_default(),
            Verdict::Recorded => anstyle::Style::new(),
            _ => anstyle::AnsiColor::Red.on_default(),
        };
        let actual = row.actual.as_ref().map_or("-", |version| version.as_str());
        let intended = match (&row.intended, row.verdict) {
            (Some(version), Verdict::Behind | Verdict::Missing | Verdict::Unreachable | Verdict::Broken) => {
                format!(" (should be {version})")
            }
            _ => String::new(),
        };
        let why = row.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        anstream::println!(
            "  {:hosts$}  {:packages$}  {actual:versions$}  {style}{word}{style:#}{intended}{why}",
            row.host,
            row.package.as_str()
        );
    }
}
