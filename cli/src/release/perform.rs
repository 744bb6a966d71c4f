//! A deployment as the commands share it: rules, plan, the engine, the last words.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use debark_connect::Target;
use debark_ledger::policy::{self, Proposal};
use debark_ledger::{
    AppendError, DeployAction, Draft, Finished, HostOutcome, Kind, Ledger, Offline, Outcome, Started, State,
};
use debark_order::{Digest, PackageName, PackageVersion, Sequence};
use debark_project::Deploy;
use debark_release::{Book, Ending, Monitor, Rules, Site, Stage, Wanted, deploy, waves};
use debark_value::{Map, Value};

use super::context::Problem;
use super::desk::Desk;
use super::hosts::{Hosts, Place, ReachArgs};
use super::monitor::{Json, Lines};
use super::{problem, rules, tell};
use crate::exit;

/// Where the .deb comes from, if a host lacks it.
pub type Fetch<'a> = dyn Fn() -> Result<PathBuf, String> + Sync + 'a;

/// What is to be done.
pub struct Job<'a> {
    /// Project, key, output.
    pub desk: &'a Desk,
    /// Where.
    pub environment: &'a debark_project::Environment,
    /// Its ledger.
    pub ledger: &'a Ledger,
    /// What the ledger says now.
    pub state: State,
    /// What it is.
    pub action: DeployAction,
    /// The package.
    pub package: PackageName,
    /// Its version.
    pub version: PackageVersion,
    /// Of the .deb.
    pub digest: Digest,
    /// Of the .deb, in bytes.
    pub size: u64,
    /// The git commit.
    pub commit: Option<String>,
    /// Where it is promoted from.
    pub from: Option<debark_order::Environment>,
    /// The deployment that is resumed or aborted.
    pub of: Option<Sequence>,
    /// Only these hosts; `None`: all that the project says.
    pub only: Option<Vec<String>>,
    /// What its provenance says of tests.
    pub tests_passed: Option<bool>,
    /// Its .deb.
    pub fetch: &'a Fetch<'a>,
    /// Why.
    pub reason: Option<String>,
    /// Print what would happen, and stop.
    pub plan: bool,
    /// Show every step of every host.
    pub verbose: bool,
    /// Seconds of a lease.
    pub lease: u32,
    /// How hosts are reached.
    pub reach: &'a ReachArgs,
}

impl Job<'_> {
    /// Does it.
    ///
    /// # Errors
    /// It did not begin, or was taken over.
    pub fn perform(self) -> Result<ExitCode, Problem> {
        let deploy = self.desk.project.deploy(&self.package, &self.environment.name);
        let place = self.place(&deploy);
        let hosts = place.hosts(&self.desk.sources)?;
        place.check(&deploy.pre, &self.desk.sources)?;
        place.check(&deploy.post, &self.desk.sources)?;
        let names: Vec<String> = match &self.only {
            Some(only) => hosts.names.iter().filter(|name| only.contains(name)).cloned().collect(),
            None => hosts.names.clone(),
        };
        let sizes = if self.is_forward() { deploy.serial.as_slice() } else { &[] };
        let waves = waves(&names, sizes);
        if self.plan {
            let refusals = self.refusals()?;
            self.show_plan(&waves, &deploy);
            return if refusals.is_empty() {
                Ok(ExitCode::SUCCESS)
            } else {
                Err(problem::refused(&refusals, self.desk.json))
            };
        }
        let refusals = self.refusals()?;
        if !refusals.is_empty() {
            tell::refused(&self, &refusals);
            return Err(problem::refused(&refusals, self.desk.json));
        }
        let wanted = self.wanted(waves, &deploy);
        let actor = self.ledger.actor()?;
        let signer = self.desk.signer()?;
        let site = DeploySite { hosts: &hosts, place: &place, deploy: &deploy, fetch: self.fetch };
        let begun = |sequence: Sequence| tell::started(&self, sequence, &actor);
        let book =
            LedgerBook { ledger: self.ledger, state: &self.state, offline: self.offline(), begun: &begun };
        let monitor: Box<dyn Monitor> = if self.desk.json {
            Box::new(Json::default())
        } else {
            Box::new(Lines::new(self.environment.name.as_str(), self.verbose))
        };
        let interrupted = AtomicBool::new(false);
        let interrupted = Arc::new(interrupted);
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The second one ends the process: what it leaves is for `--resume` and the hosts' guards.
            let _ = signal_hook::flag::register_conditional_shutdown(
                signal,
                exit::INTERRUPTED.into(),
                interrupted.clone(),
            );
            let _ = signal_hook::flag::register(signal, interrupted.clone());
        }
        let ending =
            deploy_now(&wanted, &self, &actor, &signer, &book, &site, monitor.as_ref(), &interrupted)?;
        Ok(self.close(&ending, &actor))
    }

    /// Rollbacks and aborts need nobody's leave, and no remote.
    const fn offline(&self) -> Offline {
        if self.is_forward() { Offline::Refuse } else { Offline::Allow }
    }

    const fn is_forward(&self) -> bool {
        matches!(self.action, DeployAction::Deploy | DeployAction::Promote)
    }

    fn place<'p>(&'p self, deploy: &'p Deploy) -> Place<'p> {
        let mut vars = Map::new();
        for (name, value) in [
            ("debark_environment", self.environment.name.as_str()),
            ("debark_package", self.package.as_str()),
            ("debark_version", self.version.as_str()),
        ] {
            vars.insert(name.into(), Value::from(value));
        }
        Place {
            inventory: &self.environment.inventory,
            patterns: vec![&self.environment.hosts, &deploy.hosts],
            reach: self.reach,
            vars,
            vpn: &self.environment.vpn,
            known_hosts: self.environment.known_hosts.as_deref(),
            json: self.desk.json,
        }
    }

    fn refusals(&self) -> Result<Vec<policy::Refusal>, Problem> {
        let source = match &self.environment.promote_from {
            Some(from) => Some(self.desk.ledger(from)?.trusted(from)?),
            None => None,
        };
        let actor = self.ledger.actor()?;
        let now = jiff::Timestamp::now();
        let rules = rules::of(self.environment, now);
        let proposal = Proposal {
            action: self.action,
            package: &self.package,
            version: &self.version,
            digest: self.digest,
            actor: &actor,
            tests_passed: self.tests_passed,
        };
        let mut refusals = policy::check(&rules, &proposal, &self.state, source.as_ref(), now);
        if self.of.is_some() {
            // A deployment that is given up is what is being dealt with.
            let over = self.state.open.as_ref().is_none_or(|open| open.is_over(debark_release::now()));
            refusals.retain(|refusal| !(over && refusal.rule == policy::Rule::Lease));
        }
        refusals.extend(rules::allowed(self.environment, &actor));
        Ok(refusals)
    }

    fn wanted(&self, waves: Vec<Vec<String>>, deploy: &Deploy) -> Wanted {
        let all = waves.iter().map(Vec::len).sum();
        let seconds =
            |duration: std::time::Duration| u32::try_from(duration.as_secs().max(1)).unwrap_or(u32::MAX);
        Wanted {
            environment: self.environment.name.clone(),
            action: self.action,
            package: self.package.clone(),
            version: self.version.clone(),
            digest: self.digest,
            size: self.size,
            commit: self.commit.clone(),
            from: self.from.clone(),
            of: self.of,
            waves,
            budget: deploy.budget.at_most(all),
            reason: self.reason.clone(),
            rules: Rules {
                checks: deploy.checks.clone(),
                keep: deploy.keep,
                confirm_within: seconds(deploy.confirm_within),
                install_within: seconds(deploy.install_within),
                lease: self.lease,
                at_once: self.reach.at_once(),
            },
        }
    }

    fn show_plan(&self, waves: &[Vec<String>], deploy: &Deploy) {
        let record = self.state.packages.get(&self.package);
        let before = |host: &String| record.and_then(|record| record.hosts.get(host)?.version.clone());
        let hosts: usize = waves.iter().map(Vec::len).sum();
        let asked = self.ledger.asked().filter(|_| self.ledger.remote_name().is_some());
        let asked = asked.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let asked = asked.map(|since| since.as_secs());
        if self.desk.json {
            let waves: Vec<serde_json::Value> = waves.iter().map(|wave| {
                wave.iter().map(|host| serde_json::json!({"host": host, "before": before(host), "after": self.version})).collect()
            }).collect();
            anstream::println!(
                "{}",
                serde_json::json!({
                    "event": "plan", "action": self.action.name(), "environment": self.environment.name, "package": self.package,
                    "version": self.version, "digest": self.digest, "commit": self.commit, "sequence": self.state.sequence + 1,
                    "waves": waves, "budget": deploy.budget.at_most(hosts), "checks": deploy.checks,
                    "remote_asked": asked,
                })
            );
            return;
        }
        anstream::println!(
            "{} {} {} ({}) in {}, as entry {} of its ledger:",
            self.action.name(),
            self.package,
            self.version,
            self.digest.short(),
            self.environment.name,
            self.state.sequence + 1
        );
        if let Some(remote) = self.ledger.remote_name() {
            let age = asked.map(|time| policy::duration(debark_release::now().saturating_sub(time)));
            let age =
                age.map_or_else(|| "never asked from here".to_owned(), |age| format!("asked {age} ago"));
            anstream::println!("as far as is known here; the ledger's remote {remote} was {age}");
        }
        for (number, wave) in waves.iter().enumerate() {
            anstream::println!("wave {} of {}:", number + 1, waves.len());
            if !deploy.pre.0.is_empty() {
                anstream::println!("  {} tasks before it", deploy.pre.0.len());
            }
            for host in wave {
                match before(host) {
                    Some(version) if version == self.version => {
                        anstream::println!("  {host}: {version}, stays; is checked")
                    }
                    Some(version) => anstream::println!("  {host}: {version} -> {}", self.version),
                    None => anstream::println!(
                        "  {host}: {} is new there, as far as the ledger knows",
                        self.version
                    ),
                }
            }
            for check in &deploy.checks {
                anstream::println!("  then: {} within {} s", check.name, check.within / 1000);
            }
            if !deploy.post.0.is_empty() {
                anstream::println!("  {} tasks after it", deploy.post.0.len());
            }
        }
        if deploy.checks.is_empty() {
            anstream::println!("no health checks: what is installed counts as healthy");
        }
    }

    fn close(&self, ending: &Ending, actor: &debark_order::Identity) -> ExitCode {
        let total = ending.hosts.len();
        let count = |result: HostOutcome| ending.hosts.iter().filter(|host| host.result == result).count();
        let good = count(HostOutcome::Ok);
        let (package, version, environment) = (&self.package, &self.version, &self.environment.name);
        let why = ending.message.as_deref().unwrap_or("");
        let text = match (ending.outcome, self.action) {
            (Outcome::Succeeded, DeployAction::Abort) => {
                format!("{package} {version} is undone in {environment} on {good} of {total} hosts")
            }
            (Outcome::Succeeded, _) => {
                format!("{package} {version} is live in {environment} on {good} of {total} hosts")
            }
            (Outcome::Reverted, _) => format!("{package} {version} was put back in {environment}: {why}"),
            (Outcome::Aborted, _) => format!("{package} {version} was stopped in {environment}: {why}"),
            (Outcome::Refused, _) => format!("{package} {version} was not begun in {environment}: {why}"),
            (Outcome::Failed, _) => format!("{package} {version} failed in {environment}: {why}"),
        };
        let seconds = std::time::Duration::from_millis(ending.took).as_secs_f64();
        if self.desk.json {
            anstream::println!(
                "{}",
                serde_json::json!({
                    "event": "finished", "sequence": ending.sequence, "result": ending.outcome, "bad": ending.bad, "text": text,
                    "message": ending.message, "hosts": ending.hosts, "took_ms": ending.took,
                })
            );
        } else if ending.outcome == Outcome::Succeeded {
            let green = anstyle::AnsiColor::Green.on_default().bold();
            anstream::println!("{green}{text}{green:#} ({seconds:.1} s)");
        } else {
            exit::usage(&format!("{text} ({seconds:.1} s)"), None);
        }
        let behind = count(HostOutcome::Behind);
        if behind > 0 && !self.desk.json {
            let hosts: Vec<&str> = ending
                .hosts
                .iter()
                .filter(|host| host.result == HostOutcome::Behind)
                .map(|host| host.host.as_str())
                .collect();
            anstream::eprintln!(
                "{behind} behind: {}; debark deploy --resume --to {environment} brings them up to date",
                hosts.join(", ")
            );
        }
        if ending.bad && !self.desk.json {
            anstream::eprintln!(
                "{package} {version} is marked bad in {environment}: it is not deployed there again"
            );
        }
        if let Some(error) = &ending.unrecorded {
            exit::usage(&format!("the end could not be recorded: {error}"), error.hint().as_deref());
        }
        tell::finished(self, ending, actor, &text);
        self.code(ending, behind, good)
    }

    fn code(&self, ending: &Ending, behind: usize, good: usize) -> ExitCode {
        let away = debark_connect::exit_code(ending.away.iter().copied());
        let lost = if behind > 0 { away.max(exit::UNREACHABLE) } else { 0 };
        let code = match ending.outcome {
            _ if ending.interrupted => exit::INTERRUPTED,
            // Within the budget: the deployment is good, and says who is behind.
            Outcome::Succeeded if self.is_forward() && ending.unrecorded.is_none() => 0,
            Outcome::Succeeded if good > 0 && behind == 0 && ending.unrecorded.is_none() => {
                let failed = ending.hosts.iter().any(|host| match host.result {
                    HostOutcome::Failed => true,
                    // It would not: what is live there is what was to be got rid of.
                    HostOutcome::Untouched => host.message.is_some(),
                    _ => false,
                });
                if failed { exit::FAILED } else { 0 }
            }
            Outcome::Succeeded => lost,
            _ if ending.unreachable => away.max(exit::UNREACHABLE),
            Outcome::Refused if ending.hosts.iter().all(|host| host.result != HostOutcome::Behind) => {
                exit::REFUSED
            }
            _ => exit::FAILED | lost,
        };
        ExitCode::from(if ending.unrecorded.is_some() && code == 0 { exit::FAILED } else { code })
    }
}

#[allow(clippy::too_many_arguments, reason = "passes them on")]
fn deploy_now(
    wanted: &Wanted,
    job: &Job<'_>,
    actor: &debark_order::Identity,
    signer: &debark_order::sshsig::Signer,
    book: &dyn Book,
    site: &dyn Site,
    monitor: &dyn Monitor,
    interrupted: &AtomicBool,
) -> Result<Ending, Problem> {
    Ok(deploy(wanted, job.state.sequence + 1, actor, signer, book, site, monitor, interrupted)?)
}

struct DeploySite<'a> {
    hosts: &'a Hosts,
    place: &'a Place<'a>,
    deploy: &'a Deploy,
    fetch: &'a Fetch<'a>,
}

// Inventories are read by one thread at a time; see `Hosts::target`.
impl Site for DeploySite<'_> {
    fn target(&self, host: &str) -> Result<Target, String> {
        self.hosts.target(host)
    }

    fn tasks(&self, stage: Stage, hosts: &[String]) -> Result<(), String> {
        let tasks = match stage {
            Stage::Pre => &self.deploy.pre,
            Stage::Post => &self.deploy.post,
        };
        self.place.run(tasks, hosts)
    }

    fn package(&self) -> Result<PathBuf, String> {
        (self.fetch)()
    }
}

struct LedgerBook<'a> {
    ledger: &'a Ledger,
    state: &'a State,
    offline: Offline,
    begun: &'a (dyn Fn(Sequence) + Sync),
}

impl Book for LedgerBook<'_> {
    fn start(&self, sequence: Sequence, started: Started, reason: Option<&str>) -> Result<(), AppendError> {
        let draft =
            Draft { sequence, reason: reason.map(str::to_owned), kind: Kind::Started(Box::new(started)) };
        let appended = self.ledger.append(&self.state.environment, self.state, draft, self.offline)?;
        if let Some(why) = appended.unpushed {
            anstream::eprintln!("warning: the ledger's remote does not know yet: {why}");
        }
        (self.begun)(sequence);
        Ok(())
    }

    fn renew(&self, sequence: Sequence) -> Result<(), AppendError> {
        self.ledger.renew(&self.state.environment, sequence).map(drop)
    }

    fn finish(&self, finished: Finished) -> Result<(), AppendError> {
        // How it went is true whether the remote hears of it or not.
        let kind = Kind::Finished(finished);
        let appended = self.ledger.record(&self.state.environment, None, kind, Offline::Allow)?;
        if let Some(why) = appended.unpushed {
            anstream::eprintln!(
                "warning: the ledger's remote does not know yet: {why}; later: debark ledger push"
            );
        }
        Ok(())
    }
}
