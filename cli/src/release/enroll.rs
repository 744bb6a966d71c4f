//! `debark enroll`: what makes a host one that releases can go to.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use debark_artifact::Keyring;
use debark_connect::enroll::{EnrolError, Enrolment, Source, enroll};
use debark_connect::{Agents, Target};
use debark_order::Environment as EnvironmentName;
use debark_order::gate::GUARD_UNIT;
use debark_project::Environment;
use debark_value::Map;

use super::context::{Problem, ProjectArgs, finish};
use super::hosts::{Place, ReachArgs};
use super::rules::NOBODY;
use crate::exit;

/// Sets hosts up for releases: the gate, whom it trusts, and its guard
///
/// Brings debark-gate and the environment's trust (who may deploy, whose packages are installed, which keys are revoked) to
/// its hosts, and an apt source if `hosts_url` of the store says where they find it, as root or by sudo. Run it again after each change of keys or of `allow`: it changes what differs, and says
/// so. A host belongs to one environment.
///
/// Exit codes: 0 fine, 1 bad input, 2 it failed on some host, 4 or more a host could not be reached, 6 or more both.
#[derive(clap::Args)]
pub struct EnrollArgs {
    /// Which hosts: a pattern [default: those of the environment]
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
    /// The environment that they belong to
    #[arg(long, value_name = "ENVIRONMENT")]
    env: EnvironmentName,
    /// An inventory, instead of the environment's
    #[arg(short, long, value_name = "INVENTORY")]
    inventory: Vec<String>,
    /// Change nothing; say what would change
    #[arg(short = 'C', long)]
    check: bool,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub fn run(args: &EnrollArgs) -> ExitCode {
    finish(args.project.json, |sources| {
        let project = args.project.load(sources)?;
        let environment = project.environments.get(&args.env).ok_or_else(|| {
            let names: Vec<&str> = project.environments.keys().map(EnvironmentName::as_str).collect();
            Problem::input(format!("there is no environment `{}`", args.env)).hint(format!(
                "{} has {}",
                project.file.display(),
                names.join(", ")
            ))
        })?;
        if environment.allow.is_empty() {
            let message =
                format!("the environment `{}` has no `allow`: its hosts would obey nobody", args.env);
            return Err(Problem::input(message).hint(NOBODY));
        }
        let enrolment = enrolment(environment)?;
        let inventory = if args.inventory.is_empty() { &environment.inventory } else { &args.inventory };
        let place = Place {
            inventory,
            patterns: vec![args.pattern.as_deref().unwrap_or(&environment.hosts)],
            reach: &args.reach,
            vars: Map::default(),
            vpn: &environment.vpn,
            known_hosts: environment.known_hosts.as_deref(),
            json: args.project.json,
        };
        let hosts = place.hosts(sources)?;
        let mut targets = Vec::new();
        for name in &hosts.names {
            targets.push(hosts.target(name).map_err(Problem::input)?);
        }
        let archive = enrolment
            .archive()
            .map_err(|error| Problem::input(format!("the gate within debark: {error}")))?;
        if enrolment.source.is_none() && !args.project.json {
            anstream::eprintln!(
                "note: hosts get no apt source, as `store: {{hosts_url: URL}}` does not say where they find the store"
            );
        }
        Ok(all(args, &targets, &enrolment.gate.machine, &archive))
    })
}

/// What is brought to an environment's hosts.
fn enrolment(environment: &Environment) -> Result<Enrolment, Problem> {
    let gates = Agents::gates().map_err(|why| {
        Problem::input(why).hint("run scripts/build-agent, or use a release build of debark")
    })?;
    let gate = gates.all().first().cloned().ok_or_else(|| Problem::input("this debark carries no gate"))?;
    let trust = &environment.trust;
    let signers = read(&trust.signers)?.ok_or_else(|| {
        Problem::input(format!("there is no {}", trust.signers.display()))
            .hint("write one line per identity: `alice@example.org namespaces=\"git,order@debark\" ssh-ed25519 AAAA...`")
    })?;
    let build_keys = build_keys(&trust.build_keys)?;
    let settings = serde_json::json!({ "environment": environment.name, "allow": environment.allow });
    Ok(Enrolment {
        gate,
        settings: format!("{settings:#}\n"),
        signers,
        revoked: read(&trust.revoked)?.unwrap_or_default(),
        build_keys,
        unit: GUARD_UNIT.into(),
        source: source(environment)?,
    })
}

/// The apt source, if it is said where hosts find the store.
fn source(environment: &Environment) -> Result<Option<Source>, Problem> {
    let Some(url) = &environment.store.hosts_url else { return Ok(None) };
    let failed = |error: debark_artifact::KeyError| Problem::input(error.message).maybe_hint(error.hint);
    let trust = &environment.trust;
    let keyring = Keyring::load(&trust.build_keys, &trust.revoked).map_err(failed)?;
    let mut packets = Vec::new();
    for key in keyring.keys.iter().filter(|key| !key.revoked) {
        packets.extend(key.packets().map_err(failed)?);
    }
    Ok(Some(Source {
        name: environment.name.to_string(),
        url: url.clone(),
        suite: environment.store.suite.clone(),
        keyring: packets,
    }))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem::input(format!("{}: {error}", path.display()))),
    }
}

fn build_keys(directory: &Path) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    let failed = |error: std::io::Error| Problem::input(format!("{}: {error}", directory.display()));
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            return Err(failed(error)
                .hint("`debark keys new` makes a build key, `debark keys trust` takes one that exists"));
        }
    };
    let mut keys = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.ends_with(".asc") && !name.starts_with('.') && name.bytes().all(fits) {
            keys.extend(read(&entry.path())?.map(|bytes| (name, bytes)));
        }
    }
    keys.sort();
    if keys.is_empty() {
        return Err(Problem::input(format!("{} holds no build key", directory.display()))
            .hint("`debark keys new` makes one, `debark keys trust` takes one that exists"));
    }
    Ok(keys)
}

/// Enrols all hosts, several at once, and says of each what was different.
fn all(args: &EnrollArgs, targets: &[Target], machine: &str, archive: &[u8]) -> ExitCode {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let code = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..args.reach.at_once().min(targets.len()) {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let result = enroll(target, machine, archive, args.check);
                    // One host's lines stay together.
                    let mut code = code.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    *code = debark_connect::join(*code, show(args, target, &result));
                }
            });
        }
    });
    ExitCode::from(code.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn show(args: &EnrollArgs, target: &Target, result: &Result<Vec<String>, EnrolError>) -> u8 {
    let name = &target.name;
    if args.project.json {
        let (changes, error) = match result {
            Ok(changes) => (changes.clone(), None),
            Err(EnrolError::Unreachable(problem)) => (Vec::new(), Some(problem.message.clone())),
            Err(EnrolError::Failed(message, _)) => (Vec::new(), Some(message.clone())),
        };
        let event = serde_json::json!({
            "event": "enrolled", "host": name, "environment": args.env, "check": args.check,
            "changes": changes, "error": error,
        });
        anstream::println!("{event}");
    }
    match result {
        Ok(_) if args.project.json => 0,
        Ok(changes) if changes.is_empty() => {
            anstream::println!("{name}: belongs to {}, nothing to change", args.env);
            0
        }
        Ok(changes) => {
            let verb = if args.check { "would be enrolled" } else { "is enrolled" };
            anstream::println!("{name}: {verb} in {}", args.env);
            changes.iter().for_each(|change| anstream::println!("  {change}"));
            0
        }
        Err(EnrolError::Unreachable(problem)) => {
            exit::usage(&problem.message, problem.hint.as_deref());
            problem.kind.code()
        }
        Err(EnrolError::Failed(message, hint)) => {
            exit::usage(message, hint.as_deref());
            exit::FAILED
        }
    }
}
