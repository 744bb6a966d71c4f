//! `debark audit`: evidence of what hosts are like, and whether that is as it should be.

mod gather;
mod look;
mod page;
mod print;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use debark_audit::{Check, Checks, Evidence, Finding, Judge, On, Probe, Status};
use debark_connect::{Problem as Unreachable, Target, Vpn};
use debark_playbook::{Diagnostic, SourceMap};
use debark_value::{Map, map};

use crate::chosen::{Chosen, Plays, Where, side_by_side};
use crate::common::{Common, refused};
use crate::exit;
use crate::signals::Signals;

/// Looks at hosts, and says whether what was seen is as the checks expect
///
/// Evidence is gathered in one SSH session per host, and from here: how the host greets, whether it answers outside of its
/// VPN. Nothing is changed. What cannot be known does not pass.
///
/// Exit codes: 0 all checks hold, 1 bad input, 2 some do not, 4 a host cannot be reached, 6 both.
#[derive(clap::Args)]
pub struct AuditArgs {
    /// The hosts: names, groups, patterns
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
    #[command(flatten)]
    place: Where,
    /// Further checks, in YAML; one with the id of another takes its place
    #[arg(long, value_name = "FILE")]
    checks: Vec<PathBuf>,
    /// Only checks with these ids: `ssh`, `ssh.root`
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// List the checks, and stop
    #[arg(long)]
    list: bool,
    /// Write an HTML page as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// What the hosts should be like: `--check` of these playbooks shows what has drifted
    #[arg(long, value_name = "FILE")]
    playbook: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub fn run(args: &AuditArgs) -> ExitCode {
    let signals = Signals::watch();
    let sources = Arc::new(SourceMap::default());
    match audit(args, &sources, &signals) {
        Ok(code) => code,
        Err(errors) => refused(&errors, &sources, &signals),
    }
}

fn chosen_checks(args: &AuditArgs, sources: &SourceMap) -> Result<Vec<Check>, Vec<Diagnostic>> {
    let mut checks = Checks::load(&args.checks, sources)?.0;
    let is = |check: &Check, only: &str| check.id == only || check.id.starts_with(&format!("{only}."));
    for only in &args.only {
        if !checks.iter().any(|check| is(check, only)) {
            let error = Diagnostic::error(format!("there is no check `{only}`"));
            return Err(vec![error.hint("`debark audit --list` lists them")]);
        }
    }
    checks.retain(|check| args.only.is_empty() || args.only.iter().any(|only| is(check, only)));
    Ok(checks)
}

fn audit(args: &AuditArgs, sources: &Arc<SourceMap>, signals: &Signals) -> Result<ExitCode, Vec<Diagnostic>> {
    let checks = chosen_checks(args, sources)?;
    if args.list {
        print::list(&checks, args.common.json);
        return Ok(ExitCode::SUCCESS);
    }
    let play = |pattern: &str| gather::play(pattern, &checks);
    let chosen = args.place.open(args.pattern.as_deref(), &args.common, &Plays::Text(&play), sources)?;
    let drift = match args.playbook.as_slice() {
        [] => None,
        files => {
            let common = Common { check: true, diff: false, ..args.common.clone() };
            Some(args.place.open(args.pattern.as_deref(), &common, &Plays::Files(files), sources)?)
        }
    };
    let Chosen { site, ways, hosts, inventory } = chosen;
    let mut found: Vec<Host> = Vec::new();
    let extra = site.options().extra_vars.clone();
    for name in hosts {
        let mut vars = Map::clone(&*inventory.vars(&name, &[])?);
        vars.extend(extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        let target = site.target(&name).map_err(Unreachable::from).and_then(|mut target| {
            ways.prepare(&mut target)?;
            Ok(target)
        });
        found.push(Host { name, vars: Arc::new(vars), target });
    }
    let forks = site.options().forks;
    // From both sides at once: what hosts say of themselves, and what they show to us.
    let (inside, outside) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| side_by_side(&found, forks, |host| look::all(host, &checks)));
        let inside = gather::run(site, &checks, signals);
        (inside, looking.join().unwrap_or_default())
    });
    let drifted = drift.map(|drift| gather::drift(drift.site, signals));
    // Its tunnels end here.
    drop(ways);
    if signals.came() {
        return Ok(ExitCode::from(exit::INTERRUPTED));
    }
    let mut findings = Vec::new();
    let (mut unreachable, mut open) = (0, 0);
    for (host, seen) in found.iter().zip(outside) {
        let by_drift = drifted.as_ref().and_then(|drifted| drifted.lost(&host.name));
        let lost = inside.lost(&host.name).or_else(|| seen.lost.clone()).or(by_drift);
        if lost.is_some() {
            unreachable = exit::UNREACHABLE;
        }
        let judge = host.judge(!args.playbook.is_empty());
        for check in &checks {
            let evidence: Evidence = match (&check.probe, check.on) {
                (Probe::Named("drift"), _) => match &drifted {
                    Some(drifted) => drifted.drifted(&host.name),
                    None => Err("no playbook is given".into()),
                },
                (_, On::Controller) => seen.of(check),
                (_, On::Host) => inside.evidence(check, &host.name, &judge),
            };
            let finding = judge.finding(check, &evidence);
            let is_open = matches!(finding.status, Status::Fail | Status::Unknown);
            if finding.status == Status::Fail || is_open && lost.is_none() {
                open = exit::FAILED;
            }
            findings.push(finding);
        }
    }
    print::findings(&findings, args.common.json, args.common.verbose > 0);
    if let Some(file) = &args.report {
        page::write(file, &findings).map_err(|why| vec![Diagnostic::error(why)])?;
    }
    Ok(ExitCode::from(unreachable | open))
}

/// A host that is audited.
struct Host {
    name: String,
    vars: Arc<Map>,
    target: Result<Target, Unreachable>,
}

impl Host {
    fn judge(&self, playbook: bool) -> Judge {
        let vpn = self.target.as_ref().is_ok_and(|target| target.vpn != Vpn::None);
        let address = self.target.as_ref().map_or("", |target| target.host.as_str());
        let facts = map! { "vpn" => vpn, "playbook" => playbook, "inventory_hostname" => self.name.as_str() };
        Judge::new(&self.name, address, self.vars.clone(), facts, now())
    }
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// How many findings have which status.
fn count(findings: &[Finding], status: Status) -> usize {
    findings.iter().filter(|finding| finding.status == status).count()
}
