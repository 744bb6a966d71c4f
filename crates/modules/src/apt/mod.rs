//! `apt`: packages.
//!
//! That named packages are there is read from dpkg's own database and costs no process. Only what apt alone knows
//! (candidates, what an upgrade brings) is asked of apt, for all names at once. `apt-get update` is a preparation:
//! it reads what archives offer and installs nothing, and what it brings decides what is to be done. A check leaves it
//! out and predicts from the lists that are there.

use std::path::PathBuf;
use std::rc::Rc;

use crate::dpkg::Database;
use crate::param::{NO_RULES, Rules};
use crate::plan::Action;
use crate::{Diff, Failure, Host, Map, Plan, Value, choices, command, map, params};
use update::Cache;

mod deb;
mod get;
mod locks;
mod policy;
mod repair;
mod simulate;
mod spec;
mod transaction;
mod update;

pub(crate) use deb::{Downloads, fetch};
pub(crate) use update::refresh_patiently;

choices! {
    /// What should hold.
    pub enum State {
        Present = "present", Absent = "absent", Latest = "latest", BuildDep = "build-dep", Fixed = "fixed",
        // Old playbooks have these words; Ansible took them once.
        Installed = "installed", Removed = "removed",
    }
}

choices! {
    /// How to upgrade all packages.
    pub enum Upgrade { No = "no", Yes = "yes", Safe = "safe", Full = "full", Dist = "dist" }
}

params! {
    /// Installs, upgrades and removes packages with apt.
    pub struct Params for "ansible.builtin.apt" {
        /// Packages: `name`, `name=version`, `name>=version`, with patterns in both; `*` with `latest` means all.
        name | package | pkg: Vec<String>,
        /// What should hold.
        state: State = State::Present,
        /// Whether the lists of packages are fetched first.
        update_cache | "update-cache": Option<bool>,
        /// How often fetching the lists is tried.
        update_cache_retries: i64 = 5,
        /// The longest pause between tries, in seconds.
        update_cache_retry_max_delay: i64 = 12,
        /// Lists younger than this many seconds need not be fetched.
        cache_valid_time: i64 = 0,
        /// Whether configuration files go as well.
        purge: bool = false,
        /// The release that is preferred, as `apt-get -t`.
        default_release | "default-release": Option<String>,
        /// Whether recommended packages are installed; without it as apt is configured.
        install_recommends | "install-recommends": Option<bool>,
        /// Whether apt may do what is dangerous (downgrade, unauthenticated, essential, held).
        force: bool = false,
        /// Whether fetched package files are thrown away first.
        clean: bool = false,
        /// Whether packages without a valid signature may be installed.
        allow_unauthenticated | "allow-unauthenticated": bool = false,
        /// Whether a lower version may replace a higher one.
        allow_downgrade | "allow-downgrade" | allow_downgrades | "allow-downgrades": bool = false,
        /// Whether packages on hold may change.
        allow_change_held_packages: bool = false,
        /// Upgrade of all packages: `safe` removes none, `dist` and `full` may.
        upgrade: Upgrade = Upgrade::No,
        /// Options for dpkg, without dashes, at commas.
        dpkg_options: String = "force-confdef,force-confold".to_owned(),
        /// A package file on the host, or its URL; several at commas.
        deb: Option<PathBuf>,
        /// Whether packages that nothing needs any more are removed.
        autoremove: bool = false,
        /// Whether package files that no archive has any more are thrown away.
        autoclean: bool = false,
        /// What /usr/sbin/policy-rc.d answers meanwhile; 101 keeps services from starting.
        policy_rc_d: Option<i64>,
        /// Whether only installed packages are touched.
        only_upgrade: bool = false,
        /// Whether the task fails rather than remove a package.
        fail_on_autoremove: bool = false,
        /// Accepted; apt-get is always used.
        force_apt_get: bool = false,
        /// How long to wait for another apt or dpkg, in seconds.
        lock_timeout: i64 = 60,
    }
    rules Rules { exclusive: &[&["deb", "name", "upgrade"]], ..NO_RULES }
}

/// What apt-get is to do, and what is already known about it.
struct Job {
    /// Subcommand and its arguments.
    words: Vec<String>,
    /// Packages that are there but marked as installed automatically.
    unmark: Vec<String>,
    /// Whether it is sure to change something; otherwise a simulation tells.
    certain: bool,
    /// A directory with downloaded files, kept until they are installed.
    keep: Option<Rc<crate::apt::deb::Downloads>>,
}

impl Job {
    fn unsure(words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Self { words, unmark: Vec::new(), certain: false, keep: None }
    }
}

/// Reads dpkg's database, asks apt where it must, and says what apt-get would do.
///
/// # Errors
/// A package is not available, apt cannot be asked, or the lists cannot be fetched.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    // What an earlier run had begun decides what there is to do. A check leaves the report to a run.
    if transaction::any_begun() && !host.is_check() {
        return Ok(Plan::prepare(move |host| {
            let warnings = transaction::settle(params.lock_timeout, host)?;
            let plan = observe(params, host)?;
            Ok(if warnings.is_empty() { plan } else { warned(plan, warnings) })
        }));
    }
    observe(params, host)
}

/// The plan with these warnings before its own.
fn warned(mut plan: Plan, warnings: Vec<String>) -> Plan {
    plan = plan.with("warnings", Value::list(warnings.clone()));
    plan.action = match plan.action {
        Action::Change(apply) => Action::Change(Box::new(move |host| also_warned(apply(host), &warnings))),
        Action::Prepare(first) => Action::Prepare(Box::new(move |host| Ok(warned(first(host)?, warnings)))),
        action => action,
    };
    plan
}

/// The outcome with these warnings before its own.
fn also_warned(outcome: Result<Map, Failure>, earlier: &[String]) -> Result<Map, Failure> {
    let add = |result: &mut Map| {
        let own = result.get("warnings").and_then(Value::as_list).unwrap_or_default().to_vec();
        let all = earlier.iter().map(|text| Value::from(text.as_str())).chain(own);
        result.insert("warnings".into(), Value::list(all));
    };
    outcome
        .map(|mut result| {
            add(&mut result);
            result
        })
        .map_err(|mut failure| {
            add(&mut failure.result);
            failure
        })
}

fn observe(mut params: Params, host: &Host) -> Result<Plan, Failure> {
    params.name =
        params.name.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    check(&params)?;
    let cache = Cache::look(&params);
    if !cache.stale {
        return decide(params, &cache, host);
    }
    if !host.is_check() {
        return Ok(Plan::prepare(move |host| {
            let cache = cache.bring(&params, host)?;
            decide(params, &cache, host)
        }));
    }
    // What fails with old lists may well be found in new ones.
    match decide(params, &cache, host) {
        Err(failure) => Ok(Plan::run(|_| Err(failure))),
        plan => plan,
    }
}

fn decide(params: Params, cache: &Cache, host: &Host) -> Result<Plan, Failure> {
    let nothing_else = params.name.is_empty() && params.deb.is_none() && params.upgrade == Upgrade::No;
    if cache.wanted && nothing_else && !params.clean && !params.autoclean && !params.autoremove {
        return Ok(cache.plan());
    }
    let jobs = jobs(&params, host)?;
    let clean = params.clean && get::has_archives();
    let mut result = map! { "cache_updated" => cache.updated, "cache_update_time" => cache.time };
    let mut changes = Vec::new();
    let mut wanted = Vec::new();
    let mut printed = (String::new(), String::new());
    // apt answers nothing about packages that dpkg left half done; mending them is a change.
    let works = jobs.iter().any(|job| job.words.first().is_some_and(|word| word != "autoclean"));
    let broken = if works { repair::needed(host)? } else { Vec::new() };
    for job in jobs {
        if !broken.is_empty() {
            wanted.push(job);
            continue;
        }
        // A run that is sure to change something asks apt only once: while doing it.
        if job.words.is_empty() || job.certain && !host.is_check() && !host.wants_diff() {
            wanted.push(job);
            continue;
        }
        let simulated = simulate::run(&params, &job.words, host)?;
        printed.0 += &simulated.stdout;
        printed.1 += &simulated.stderr;
        if simulated.changes() {
            changes.extend(simulated.steps);
            wanted.push(job);
        } else if !job.unmark.is_empty() {
            wanted.push(Job { words: Vec::new(), ..job });
        }
    }
    result.extend(text_result(&printed.0, &printed.1));
    if params.upgrade != Upgrade::No {
        result.insert("msg".into(), printed.0.into());
    }
    if !wanted.iter().any(|job| !job.words.is_empty()) && !clean {
        let marks: Vec<String> = wanted.into_iter().flat_map(|job| job.unmark).collect();
        // As in Ansible, that a package counts as wanted by hand is set right, but is no change.
        if marks.is_empty() || host.is_check() {
            return Ok(Plan::ok(result));
        }
        return Ok(Plan {
            result: result.clone(),
            ..Plan::run(move |host| {
                get::mark_manual(&marks, host)?;
                Ok(map! { "changed" => false })
            })
        });
    }
    let mut diff = if host.wants_diff() { simulate::diff(&changes) } else { Vec::new() };
    diff.extend(broken.iter().map(|name| Diff::property(name, "dpkg", "interrupted", "repaired")));
    Ok(Plan::change(result, diff, move |host| apply(&params, &wanted, clean, host)))
}

fn check(params: &Params) -> Result<(), Failure> {
    let idle = params.name.is_empty()
        && params.deb.is_none()
        && params.upgrade == Upgrade::No
        && params.update_cache.is_none()
        && params.cache_valid_time == 0
        && params.state != State::Fixed
        && !(params.autoremove || params.autoclean || params.clean);
    // An empty list of names is what a loop or a variable may well yield: nothing to do. Saying nothing is a slip.
    if idle && params.default_release.is_none() && params.purge {
        return Err(Failure::new("apt: `purge` needs packages").hint("give `name`, or `autoremove: true`"));
    }
    if let Some(name) = params.name.iter().find(|name| name.matches('=').count() > 1) {
        return Err(Failure::new(format!("invalid package spec: {name}")));
    }
    if params.deb.is_some() && params.state != State::Present {
        return Err(Failure::new("deb only supports state=present"));
    }
    if params.name.len() > 1 && params.name.iter().any(|name| name == "*") && params.state == State::Latest {
        return Err(Failure::new(
            "unable to install additional packages when upgrading all installed packages",
        ));
    }
    if let Some(code) = params.policy_rc_d.filter(|code| !(0..=255).contains(code)) {
        return Err(Failure::new(format!(
            "apt: `policy_rc_d` must be an exit code from 0 to 255, got {code}"
        )));
    }
    Ok(())
}

/// What is to be done, as far as it takes no simulation to know.
fn jobs(params: &Params, host: &Host) -> Result<Vec<Job>, Failure> {
    let all = params.state == State::Latest && params.name.iter().any(|name| name == "*");
    let names: Vec<String> = params.name.iter().filter(|name| *name != "*").cloned().collect();
    if all || params.upgrade != Upgrade::No {
        let full = matches!(params.upgrade, Upgrade::Dist | Upgrade::Full);
        let words: &[&str] = if full { &["dist-upgrade"] } else { &["upgrade", "--with-new-pkgs"] };
        return Ok(vec![Job::unsure(words)]);
    }
    if let Some(files) = &params.deb {
        return deb::jobs(params, &files.to_string_lossy(), host);
    }
    if names.is_empty() {
        let mut jobs = Vec::new();
        if params.autoclean {
            jobs.push(Job::unsure(&["autoclean"]));
        }
        if params.autoremove {
            jobs.push(Job::unsure(&["autoremove"]));
        }
        if params.state == State::Fixed {
            jobs.push(Job::unsure(&["install", "--fix-broken"]));
        }
        return Ok(jobs);
    }
    let db = Database::of(host)?;
    match params.state {
        State::Absent | State::Removed => {
            let names = spec::to_remove(&names, params.purge, &db)?;
            if names.is_empty() {
                return Ok(Vec::new());
            }
            let words = ["remove".to_owned()].into_iter().chain(names).collect();
            Ok(vec![Job { words, unmark: Vec::new(), certain: true, keep: None }])
        }
        State::BuildDep => {
            let words = ["build-dep".to_owned()].into_iter().chain(names).collect();
            Ok(vec![Job { words, unmark: Vec::new(), certain: false, keep: None }])
        }
        State::Present | State::Installed | State::Latest | State::Fixed => {
            let needs = spec::to_install(params, &names, &db, host)?;
            let mut words = Vec::new();
            if !needs.install.is_empty() {
                words.push("install".to_owned());
                words.extend((params.state == State::Fixed).then(|| "--fix-broken".to_owned()));
                words.extend(needs.install);
            }
            if words.is_empty() && needs.unmark.is_empty() {
                return Ok(Vec::new());
            }
            Ok(vec![Job { words, unmark: needs.unmark, certain: true, keep: None }])
        }
    }
}

fn apply(params: &Params, jobs: &[Job], clean: bool, host: &Host) -> Result<Map, Failure> {
    let outcome = apply_all(params, jobs, clean, host);
    // Maintainer scripts make users, units and files.
    host.forget_all();
    outcome
}

fn apply_all(params: &Params, jobs: &[Job], clean: bool, host: &Host) -> Result<Map, Failure> {
    get::need_root()?;
    let mut warnings = transaction::settle(params.lock_timeout, host)?;
    if clean {
        transaction::run(get::bare(params).arg("clean"), params, host)?;
    }
    let mut printed = (String::new(), String::new());
    let mut done = clean;
    let mut repaired = Vec::new();
    for job in jobs {
        if !job.words.is_empty() {
            if !matches!(job.words.first().map(String::as_str), Some("autoclean")) {
                repaired.extend(repair::run(params, host)?);
            }
            let output = transaction::run(get::command(params, &job.words), params, host)?;
            done |= !job.certain || !get::did_nothing(&output.out());
            printed.0 += &output.out();
            printed.1 += &output.err();
            if output.rc != 0 {
                let failure = get::failure(&job.words, &output, host);
                return Err(failure
                    .with(text_result(&printed.0, &printed.1))
                    .with(map! { "rc" => output.rc }));
            }
        }
        if !job.unmark.is_empty() {
            get::mark_manual(&job.unmark, host)?;
        }
        drop(job.keep.clone());
    }
    let mut result = text_result(&printed.0, &printed.1);
    if params.upgrade != Upgrade::No {
        result.insert("msg".into(), printed.0.into());
    }
    if !repaired.is_empty() {
        warnings.push(format!("dpkg had been interrupted; repaired {}", repaired.join(", ")));
        result.insert("repaired".into(), Value::list(repaired));
        done = true;
    }
    if !warnings.is_empty() {
        result.insert("warnings".into(), Value::list(warnings));
    }
    if !done {
        result.insert("changed".into(), false.into());
    }
    Ok(result)
}

fn text_result(stdout: &str, stderr: &str) -> Map {
    if stdout.is_empty() && stderr.is_empty() {
        return Map::new();
    }
    map! {
        "stdout" => stdout, "stdout_lines" => command::lines(stdout),
        "stderr" => stderr, "stderr_lines" => command::lines(stderr),
    }
}

#[cfg(test)]
mod tests;
