//! Health checks, made by the host itself.

use std::path::Path;
use std::time::{Duration, Instant};

use debark_order::gate::CheckResult;
use debark_order::{Check, Probe};

use crate::{command, http, units};

/// The controller hears something at least that often, but for a single try that takes longer.
const ALIVE: Duration = Duration::from_secs(10);

/// Makes checks in their order, until one fails.
pub fn all(checks: &[Check], said: &mut dyn FnMut(&str)) -> Vec<CheckResult> {
    let mut results = Vec::new();
    for check in checks {
        said(&format!("checks {}", check.name));
        let result = one(check, said);
        let failed = result.problem.is_some();
        results.push(result);
        if failed {
            break;
        }
    }
    results
}

/// What one try found.
struct Tried {
    problem: Option<String>,
    /// No further try can end otherwise.
    hopeless: bool,
    log: Vec<String>,
    /// A unit's process: another one is an interruption.
    process: Option<String>,
}

/// The last run of tries without a failure has to begin before `within` is over, and to last for `healthy_for`.
fn one(check: &Check, said: &mut dyn FnMut(&str)) -> CheckResult {
    let start = Instant::now();
    let mut spoke = start;
    let millis = Duration::from_millis;
    let (within, interval, healthy_for) =
        (millis(check.within), millis(check.interval), millis(check.healthy_for));
    let mut tries = 0;
    let mut healthy_since: Option<(Instant, Option<String>)> = None;
    let result = |tries, problem, log| CheckResult {
        name: check.name.clone(),
        problem,
        tries,
        took: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        log,
    };
    loop {
        let tried = probe(&check.probe, millis(check.timeout.max(1)));
        tries += 1;
        if spoke.elapsed() > ALIVE {
            // So that the controller knows that the host lives.
            spoke = Instant::now();
            said(&format!("still checks {}", check.name));
        }
        let mut problem = tried.problem;
        if problem.is_none() {
            match &healthy_since {
                Some((_, process)) if *process != tried.process => {
                    problem = Some("it was started again meanwhile".into());
                }
                Some(_) => {}
                None => healthy_since = Some((Instant::now(), tried.process.clone())),
            }
        }
        match problem {
            None => {
                let since = healthy_since.as_ref().map_or_else(Instant::now, |(since, _)| *since);
                if since.elapsed() >= healthy_for {
                    return result(tries, None, Vec::new());
                }
                let left = healthy_for.saturating_sub(since.elapsed());
                std::thread::sleep(interval.min(left).min(ALIVE).max(millis(1)));
            }
            Some(problem) => {
                healthy_since = None;
                let left = within.saturating_sub(start.elapsed());
                if tried.hopeless || left <= interval {
                    let log = if tried.log.is_empty() { log(&check.probe) } else { tried.log };
                    return result(tries, Some(problem), log);
                }
                std::thread::sleep(interval.min(ALIVE).max(millis(1)));
            }
        }
    }
}

fn log(probe: &Probe) -> Vec<String> {
    match probe {
        Probe::Unit { unit } => units::log(unit),
        _ => Vec::new(),
    }
}

fn probe(probe: &Probe, timeout: Duration) -> Tried {
    let plain = |problem: Option<String>| Tried { problem, hopeless: false, log: Vec::new(), process: None };
    match probe {
        Probe::Http { url, status, contains, host } => {
            plain(asked(url, status, contains.as_deref(), host.as_deref(), timeout))
        }
        Probe::Tcp { host, port } => plain(http::connect(host, *port, timeout).err()),
        Probe::Command { argv } => ran(argv, timeout),
        Probe::Unit { unit } => stands(unit),
    }
}

fn asked(
    url: &str,
    wanted: &[u16],
    contains: Option<&str>,
    host: Option<&str>,
    timeout: Duration,
) -> Option<String> {
    let answer = match http::get(url, host, timeout) {
        Ok(answer) => answer,
        Err(problem) => return Some(problem),
    };
    let fine =
        if wanted.is_empty() { (200..400).contains(&answer.status) } else { wanted.contains(&answer.status) };
    if !fine {
        let wanted: Vec<String> = wanted.iter().map(u16::to_string).collect();
        let wanted = if wanted.is_empty() { "200 to 399".into() } else { wanted.join(" or ") };
        return Some(format!("status {} instead of {wanted}", answer.status));
    }
    let contains = contains?;
    (!answer.body.contains(contains)).then(|| format!("the answer does not contain {contains:?}"))
}

fn ran(argv: &[String], timeout: Duration) -> Tried {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let failed = |problem: String, log| Tried { problem: Some(problem), hopeless: false, log, process: None };
    if !words.first().is_some_and(|program| Path::new(program).is_absolute()) {
        return Tried { hopeless: true, ..failed("the program has no absolute path".into(), Vec::new()) };
    }
    match command::output(&words, None, timeout) {
        Err(error) => failed(format!("it cannot be run: {error}"), Vec::new()),
        Ok(ended) if ended.is_fine() => {
            Tried { problem: None, hopeless: false, log: Vec::new(), process: None }
        }
        Ok(ended) => {
            let problem = ended
                .status
                .map_or_else(|| "it took too long".into(), |status| format!("it ended with {status}"));
            failed(problem, ended.last_lines(20))
        }
    }
}

fn stands(unit: &str) -> Tried {
    let shown = units::show(
        &[unit.to_owned()],
        "LoadState,ActiveState,SubState,MainPID,ExecMainStartTimestampMonotonic,Result",
    );
    let shown = shown.into_iter().next().unwrap_or_default();
    let get = |name: &str| shown.get(name).map(String::as_str).unwrap_or_default();
    let process = format!("{} {}", get("MainPID"), get("ExecMainStartTimestampMonotonic"));
    let active = get("ActiveState");
    let missing = get("LoadState") == "not-found";
    let problem = match active {
        "active" => None,
        _ if missing => Some("there is no such unit".into()),
        "failed" => Some(format!("it has failed: {}", get("Result"))),
        "" => Some("systemctl does not tell".into()),
        other => Some(format!("it is {other} ({})", get("SubState"))),
    };
    Tried { problem, hopeless: missing || active == "failed", log: Vec::new(), process: Some(process) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn check(probe: Probe, within: u64) -> Check {
        Check { name: "x".into(), probe, within, interval: 5, healthy_for: 0, timeout: 5000 }
    }

    #[test]
    fn a_connection_has_to_last_as_long_as_it_is_told_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let probe = Probe::Tcp { host: "localhost".into(), port };
        let once = one(&check(probe.clone(), 60_000), &mut |_| {});
        assert_eq!((once.problem, once.tries), (None, 1));
        let long = one(&Check { healthy_for: 30, ..check(probe.clone(), 0) }, &mut |_| {});
        assert!(long.problem.is_none() && long.tries >= 2 && long.took >= 30, "{long:?}");
        drop(listener);
        let refused = one(&check(probe.clone(), 30), &mut |_| {});
        assert!(refused.problem.is_some() && refused.tries > 1, "{refused:?}");
        let both = all(&[check(probe.clone(), 0), check(probe, 0)], &mut |_| {});
        assert_eq!(both.len(), 1, "the second is not made");
    }
}
