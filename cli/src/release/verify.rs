//! `debark verify`: the whole chain, from the commit to the process that runs.

use std::path::Path;
use std::process::{Command, ExitCode};

use debark_artifact::provenance::{Envelope, Provenance};
use debark_artifact::{Deb, Keyring};
use debark_connect::Target;
use debark_ledger::State;
use debark_order::{Environment, PackageName};
use debark_project::Source;
use debark_release::status::files;
use debark_value::Map;

use super::context::Problem;
use super::desk::{Desk, DeskArgs, Spec, at_desk};
use super::fetch;
use super::hosts::{Place, ReachArgs};
use crate::exit;

/// Checks the whole chain, from the commit to the process that runs
///
/// Commit, provenance, digest and signature of the package, approvals, ledger, files on the hosts, executables of running processes. One
/// byte that is not as it should be fails, and is named. Nobody is trusted but the project's signers and build keys. What cannot be
/// looked at from here is marked `unknown`: the commit of a source that is not on this machine, an interpreter's process,
/// configuration that was changed on a host.
///
/// Exit codes: 0 all that was looked at holds, 1 bad input, 2 something does not, 4 some host could not be reached, 6 both.
#[derive(clap::Args)]
pub struct VerifyArgs {
    /// What: an environment, a host, or PACKAGE@VERSION
    #[arg(value_name = "ENVIRONMENT|HOST|PACKAGE@VERSION")]
    what: Option<String>,
    /// Only this package
    #[arg(long, value_name = "PACKAGE")]
    package: Option<PackageName>,
    /// What is unknown fails as well
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Says what holds and what does not, and remembers.
struct Findings {
    json: bool,
    strict: bool,
    code: u8,
    unknown: usize,
}

impl Findings {
    fn say(&mut self, place: &str, link: &str, result: Result<String, String>) -> bool {
        match result {
            Ok(text) => self.mark(place, link, Some(true), &text),
            Err(text) => self.mark(place, link, Some(false), &text),
        }
    }

    /// What nobody can look at from here: neither good nor bad.
    fn unknown(&mut self, place: &str, link: &str, text: &str) {
        self.mark(place, link, None, text);
        self.unknown += 1;
    }

    fn mark(&mut self, place: &str, link: &str, holds: Option<bool>, text: &str) -> bool {
        if self.json {
            anstream::println!(
                "{}",
                serde_json::json!({"event": "verify", "place": place, "link": link, "holds": holds, "text": text})
            );
        } else {
            let (word, color) = match holds {
                Some(true) => ("ok", anstyle::AnsiColor::Green),
                Some(false) => ("FAILED", anstyle::AnsiColor::Red),
                None => ("unknown", anstyle::AnsiColor::Yellow),
            };
            let style = color.on_default().bold();
            anstream::println!("{style}{word:7}{style:#} {place}  {link}: {text}");
        }
        if holds == Some(false) || (self.strict && holds.is_none()) {
            self.code |= exit::FAILED;
        }
        holds == Some(true)
    }
}

/// Runs the command.
pub fn run(args: &VerifyArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        let mut findings = Findings { json: desk.json, strict: args.strict, code: 0, unknown: 0 };
        let named = args.what.as_deref().and_then(|what| what.parse::<Environment>().ok());
        let environments: Vec<&Environment> = desk.project.environments.keys().collect();
        match (&args.what, named.filter(|name| desk.project.environments.contains_key(name))) {
            (None, _) => {
                for name in environments {
                    environment(args, desk, name, None, &mut findings)?;
                }
            }
            (Some(_), Some(name)) => environment(args, desk, &name, None, &mut findings)?,
            (Some(what), None) => {
                let spec = what
                    .parse::<Spec>()
                    .ok()
                    .filter(|spec| desk.project.packages.contains_key(&spec.package));
                match spec {
                    Some(spec) => version(desk, &spec, &mut findings)?,
                    None => host(args, desk, what, &mut findings)?,
                }
            }
        }
        if findings.unknown > 0 && !desk.json {
            anstream::eprintln!("note: {} links are unknown: nobody looked at them", findings.unknown);
        }
        Ok(ExitCode::from(findings.code))
    })
}

/// A host, in whichever environments have it.
fn host(args: &VerifyArgs, desk: &Desk, name: &str, findings: &mut Findings) -> Result<(), Problem> {
    let mut found = false;
    for environment_name in desk.project.environments.keys() {
        let known = place(desk, args, environment_name, Vec::new())?.hosts(&desk.sources)?.names;
        if known.iter().any(|known| known == name) {
            found = true;
            environment(args, desk, environment_name, Some(name), findings)?;
        }
    }
    if found {
        return Ok(());
    }
    Err(Problem::input(format!("{name} is no environment, no host of one, and no package of this project"))
        .hint("give PACKAGE@VERSION, or a name that `debark status` shows"))
}

fn place<'a>(
    desk: &'a Desk,
    args: &'a VerifyArgs,
    name: &Environment,
    more: Vec<&'a str>,
) -> Result<Place<'a>, Problem> {
    let environment = desk.environment(name)?;
    let mut patterns = vec![environment.hosts.as_str()];
    patterns.extend(more);
    Ok(Place {
        inventory: &environment.inventory,
        patterns,
        reach: &args.reach,
        vars: Map::new(),
        vpn: &environment.vpn,
        known_hosts: environment.known_hosts.as_deref(),
        json: desk.json,
    })
}

fn environment(
    args: &VerifyArgs,
    desk: &Desk,
    name: &Environment,
    only: Option<&str>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let ledger = desk.ledger(name)?;
    let state = desk.look(&ledger, name)?;
    let verified = ledger.verify(name, false)?;
    let chain = match verified.faults.as_slice() {
        [] => Ok(format!("{} entries, each signed by its actor", verified.entries)),
        [first, others @ ..] => {
            let more =
                if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
            Err(format!("{}{more}", first.message))
        }
    };
    findings.say(name.as_str(), "ledger", chain);
    for package in desk
        .project
        .packages
        .keys()
        .filter(|package| args.package.as_ref().is_none_or(|only| only == *package))
    {
        let Some(live) = state.live(package) else { continue };
        let spec = Spec { package: package.clone(), version: Some(live.version.clone()) };
        let subject = format!("{name} {package} {}", live.version);
        let found = fetch::find(desk, desk.environment(name)?, package, Some(&live.version));
        match found {
            Ok(found) => {
                let same = found.digest == live.digest;
                let text = if same {
                    Ok(format!("the ledger and the store say {}", live.digest.short()))
                } else {
                    Err(format!("the store has {}, and the ledger says {}", found.digest, live.digest))
                };
                if findings.say(&subject, "digest", text) {
                    let provenance = artifact(desk, name, &spec, &subject, findings)?;
                    let commit =
                        match (&live.commit, provenance.as_ref().map(|provenance| &provenance.commit)) {
                            (Some(recorded), Some(built)) if recorded != built => {
                                Err(format!("the ledger says {recorded}, and the provenance {built}"))
                            }
                            (Some(recorded), _) => Ok(format!("the ledger says {recorded}")),
                            (None, _) => Err("the ledger says nothing of a commit".into()),
                        };
                    findings.say(&subject, "recorded commit", commit);
                }
            }
            Err(problem) => {
                findings.say(&subject, "artifact store", Err(problem.message()));
            }
        }
        approvals(desk, name, package, &state, &subject, findings)?;
        on_hosts(args, desk, name, package, &state, only, findings)?;
    }
    Ok(())
}

/// A version by itself: what the store has of it.
fn version(desk: &Desk, spec: &Spec, findings: &mut Findings) -> Result<(), Problem> {
    let name = desk.project.environments.keys().next().cloned();
    let Some(name) = name else { return Err(Problem::input("the project has no environments")) };
    let found = fetch::find(desk, desk.environment(&name)?, &spec.package, spec.version.as_ref())?;
    let spec = Spec { package: spec.package.clone(), version: Some(found.version.clone()) };
    let subject = format!("{} {}", spec.package, found.version);
    artifact(desk, &name, &spec, &subject, findings)?;
    Ok(())
}

/// The .deb, its signature, its provenance, the commit.
fn artifact(
    desk: &Desk,
    name: &Environment,
    spec: &Spec,
    subject: &str,
    findings: &mut Findings,
) -> Result<Option<Provenance>, Problem> {
    let environment = desk.environment(name)?;
    let found = fetch::find(desk, environment, &spec.package, spec.version.as_ref())?;
    let file = fetch::fresh(desk, environment, &spec.package, &found.version, found.digest);
    let file = match file {
        Ok(file) => file,
        Err(why) => {
            findings.say(subject, "package", Err(why));
            return Ok(None);
        }
    };
    let now = debark_release::now();
    let keyring = Keyring::load(&environment.trust.build_keys, &environment.trust.revoked)
        .map_err(|error| Problem::input(error.to_string()))?;
    let deb = match Deb::open(file.path()) {
        Ok(deb) => deb,
        Err(error) => {
            findings.say(subject, "package", Err(error.to_string()));
            return Ok(None);
        }
    };
    let signed = match deb.payload() {
        Ok(payload) => match keyring.verify(deb.signature.as_deref(), payload, now) {
            Ok(key) => Ok(format!("by {} ({})", key.user, key.fingerprint)),
            Err(why) => Err(why.to_string()),
        },
        Err(error) => Err(error.to_string()),
    };
    findings.say(subject, "signature", signed);
    let Some(bytes) = fetch::provenance(desk, environment, &spec.package, &found.version)? else {
        findings.say(subject, "provenance", Err("the store has none".into()));
        return Ok(None);
    };
    let opened = Envelope::parse(&bytes).and_then(|envelope| {
        let (provenance, key) = envelope.verify(&keyring, now)?;
        provenance.is_of(&deb)?;
        Ok((provenance, key.fingerprint.clone()))
    });
    let provenance = match opened {
        Ok((provenance, key)) => {
            let tests = provenance.tests.len();
            findings.say(
                subject,
                "provenance",
                Ok(format!("built by {}, {tests} tests, signed by {key}", provenance.builder)),
            );
            provenance
        }
        Err(why) => {
            findings.say(subject, "provenance", Err(why.to_string()));
            return Ok(None);
        }
    };
    match commit(desk, &spec.package, &provenance) {
        Some(result) => drop(findings.say(subject, "commit", result)),
        None => {
            let text = format!(
                "{} of {}, which is not on this machine: not looked at",
                provenance.commit, provenance.repository
            );
            findings.unknown(subject, "commit", &text);
        }
    }
    Ok(Some(provenance))
}

/// Whether the commit is in the source's repository, with the tree that was built; `None` if the repository is elsewhere.
fn commit(desk: &Desk, package: &PackageName, provenance: &Provenance) -> Option<Result<String, String>> {
    match desk.project.packages.get(package).map(|package| &package.source) {
        Some(Source::Directory(directory)) => Some(commit_in(directory, provenance)),
        _ => None,
    }
}

fn commit_in(directory: &Path, provenance: &Provenance) -> Result<String, String> {
    let wanted = &provenance.commit;
    if !wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) || wanted.len() < 40 {
        return Err(format!("{wanted:?} is no commit"));
    }
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{wanted}^{{tree}}")])
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    let tree = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        return Err(format!("{wanted} is not in {}", directory.display()));
    }
    if tree != provenance.tree {
        return Err(format!("{wanted} has the tree {tree}, and {} was built", provenance.tree));
    }
    Ok(format!("{wanted}, with the tree that was built"))
}

fn approvals(
    desk: &Desk,
    name: &Environment,
    package: &PackageName,
    state: &State,
    subject: &str,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let Some(wanted) = &desk.environment(name)?.gates.approvals else { return Ok(()) };
    let Some(live) = state.live(package) else { return Ok(()) };
    let given: Vec<&str> = state
        .approvals(package, &live.digest)
        .iter()
        .map(|approval| &approval.identity)
        .filter(|who| **who != live.by && wanted.by.contains(who))
        .map(|who| who.as_str())
        .collect();
    let enough = given.len() >= wanted.count as usize;
    let text = format!("{} of {} ({})", given.len(), wanted.count, given.join(", "));
    findings.say(subject, "approvals", if enough { Ok(text) } else { Err(text) });
    Ok(())
}

fn on_hosts(
    args: &VerifyArgs,
    desk: &Desk,
    name: &Environment,
    package: &PackageName,
    state: &State,
    only: Option<&str>,
    findings: &mut Findings,
) -> Result<(), Problem> {
    let Some(live) = state.live(package) else { return Ok(()) };
    let deploy = desk.project.deploy(package, name);
    let hosts = place(desk, args, name, vec![deploy.hosts.as_str()])?.hosts(&desk.sources)?;
    let names: Vec<&String> =
        hosts.names.iter().filter(|host| only.is_none_or(|only| *host == only)).collect();
    let targets: Result<Vec<Target>, String> = names.iter().map(|host| hosts.target(host)).collect();
    let targets = targets.map_err(Problem::input)?;
    for (host, report) in names.iter().zip(files(&targets, package, args.reach.at_once())) {
        let subject = format!("{name} {host}");
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                if matches!(error, debark_release::HostError::Unreachable(_)) {
                    findings.say(&subject, "host", Err(error.to_string()));
                    findings.code =
                        (findings.code & !exit::FAILED) | exit::UNREACHABLE | (findings.code & exit::FAILED);
                } else {
                    findings.say(&subject, "host", Err(error.to_string()));
                }
                continue;
            }
        };
        let installed = match &report.live {
            Some(found) if found.digest == Some(live.digest) => {
                Ok(format!("{package} {}, {}", found.version, live.digest.short()))
            }
            Some(found) => Err(format!(
                "{package} {} is installed, from another file than {}",
                found.version,
                live.digest.short()
            )),
            None => Err(format!("{package} is not installed")),
        };
        findings.say(&subject, "installed", installed);
        let kept = match report.kept_is_whole {
            Some(true) => Ok("the .deb that it keeps is whole".into()),
            Some(false) => Err("the .deb that it keeps has been changed".into()),
            None => Err("it keeps no .deb of it".into()),
        };
        findings.say(&subject, "kept", kept);
        let files = match report.wrong.as_slice() {
            [] => Ok(format!("{} as in the package", report.files)),
            wrong => Err(wrong.iter().take(20).cloned().collect::<Vec<_>>().join("; ")),
        };
        findings.say(&subject, "files", files);
        if !report.configuration.is_empty() {
            findings.unknown(&subject, "configuration", &report.configuration.join("; "));
        }
        if !report.processes.is_empty() {
            findings.say(&subject, "processes", Err(report.processes.join("; ")));
        } else if report.running > 0 {
            let text = format!("{} run the executables that are there", report.running);
            findings.say(&subject, "processes", Ok(text));
        }
        if !report.unknown.is_empty() {
            findings.unknown(&subject, "processes", &report.unknown.join("; "));
        }
    }
    Ok(())
}
