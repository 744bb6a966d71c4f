//! Mending what an interrupted dpkg left.

use super::{Params, get, locks, transaction};
use crate::dpkg::Database;
use crate::exec::Cmd;
use crate::{Failure, Host};

/// Finishes what an earlier dpkg did not; yields the packages that were not right.
///
/// `dpkg --configure -a` mends most, but skips what is marked `reinstreq`: that has to be unpacked again.
///
/// # Errors
/// A package stays broken: which, and what to do.
pub(super) fn run(params: &Params, host: &Host) -> Result<Vec<String>, Failure> {
    locks::wait(params.lock_timeout)?;
    host.forget::<Database>();
    let db = Database::of(host)?;
    let broken: Vec<String> = db.broken().iter().map(|package| package.name().to_owned()).collect();
    if broken.is_empty() && !db.unmerged {
        return Ok(Vec::new());
    }
    let again: Vec<String> =
        db.broken().iter().filter(|p| p.must_reinstall()).map(|p| p.name().to_owned()).collect();
    // It fails on what the next steps mend; whether all is well is read from the database in the end.
    transaction::run(configure(params), params, host)?;
    if !again.is_empty() {
        let words =
            ["install", "--reinstall"].into_iter().map(str::to_owned).chain(again).collect::<Vec<_>>();
        transaction::run(get::command(params, &words), params, host)?;
    }
    host.forget::<Database>();
    let mut output = None;
    if !Database::of(host)?.broken().is_empty() {
        let words = ["install", "--fix-broken"].map(str::to_owned);
        output = Some(transaction::run(get::command(params, &words), params, host)?);
        host.forget::<Database>();
    }
    let db = Database::of(host)?;
    let left: Vec<String> = db.broken().iter().map(|package| package.name().to_owned()).collect();
    if left.is_empty() {
        return Ok(if broken.is_empty() { vec!["dpkg's journal".to_owned()] } else { broken });
    }
    let names = left.join(" ");
    let failure = Failure::new(format!("dpkg was interrupted and cannot finish {}", left.join(", "))).hint(format!(
        "see why with `dpkg --configure -a`; `dpkg --remove --force-remove-reinstreq {names}` gives up on it"
    ));
    Err(output.map(|output| output.result()).into_iter().fold(failure, Failure::with))
}

fn configure(params: &Params) -> Cmd {
    let options = params.dpkg_options.split(',').map(str::trim).filter(|option| !option.is_empty());
    get::environment(Cmd::new("dpkg"))
        .args(options.map(|option| format!("--{}", option.trim_start_matches("--"))))
        .args(["--configure", "-a"])
}
