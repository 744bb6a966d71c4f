//! Runs a site to its end: connections, signals, exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use debark_connect::{Agents, Problem};
use debark_controller::{Engine, Monitor, Outcome, Settings, Site, Ssh};
use debark_wire::Logins;

use crate::common::Common;
use crate::signals::Signals;
use crate::{exit, render, vpn};

/// Runs a site to its end, and draws it as for `debark run`.
pub fn go(site: Site, common: &Common, signals: &Signals) -> ExitCode {
    let monitor = render::monitor(&render::Options {
        json: common.json,
        verbosity: site.options().run.verbosity,
        check: common.check,
    });
    drive(site, monitor, signals)
}

/// Runs a site to its end.
pub fn drive(site: Site, mut monitor: Box<dyn Monitor>, signals: &Signals) -> ExitCode {
    let agents = match Agents::find() {
        Ok(agents) => agents,
        Err(why) => {
            return exit::usage(&why, Some("run scripts/build-agent, or use a release build of debark"));
        }
    };
    let site = Arc::new(site);
    let reach = site.clone();
    let talkative = site.options().run.verbosity >= render::TALKATIVE;
    let ways = vpn::ways(site.vault());
    let target = move |host: &str, logins: &Logins| -> Result<_, Problem> {
        let mut target = reach.target_by(host, logins)?;
        let prepared = ways.prepare(&mut target);
        ways.warnings().iter().for_each(|text| anstream::eprintln!("warning: {text}"));
        prepared?;
        if talkative && !target.local {
            anstream::eprintln!("{host}: {}", target.ssh().argv.join(" "));
        }
        Ok(target)
    };
    let connector = Ssh::new(agents, cache_dir(), target);
    let settings = Settings { forks: site.options().forks, ..Settings::default() };
    let engine = Engine::new(site, &connector, monitor.as_mut(), settings);
    signals.are_for(engine.interrupter());
    let outcome = engine.run();
    // The live display is gone before anything is said below it.
    drop(monitor);
    code(&outcome)
}

fn code(outcome: &Outcome) -> ExitCode {
    if let Some(error) = &outcome.error {
        return exit::usage(error, None);
    }
    if outcome.interrupted > 0 {
        return ExitCode::from(exit::INTERRUPTED);
    }
    let failed = if outcome.failed.is_empty() { 0 } else { exit::FAILED };
    let unreachable = debark_connect::exit_code(outcome.unreachable.values().copied());
    ExitCode::from(failed | unreachable)
}

/// Where this machine's own agent is kept: the XDG cache directory.
pub fn cache_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    base.unwrap_or_else(|| PathBuf::from("/var/cache")).join("debark")
}
