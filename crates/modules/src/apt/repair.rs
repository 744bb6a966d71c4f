//! Mending what an interrupted dpkg left.

use super::{Params, get, locks, transaction};
use crate::dpkg::Database;
use crate::exec::Cmd;
use crate::{Failure, Host};

/// What an earlier dpkg did not finish: packages, or its journal.
pub(super) fn needed(host: &Host) -> Result<Vec<String>, Failure> {
    let db = Database::of(host)?;
    let mut broken: Vec<String> = db.broken().iter().map(|package| package.name().to_owned()).collect();
    if broken.is_empty() && db.unmerged {
        broken.push("dpkg's journal".to_owned());
    }
    Ok(broken)
}

/// Finishes what an earlier dpkg did not; yields the packages that were not right.
///
/// `dpkg --configure -a` mends most, but skips what is marked `reinstreq`: that has to be unpacked again, or where no
/// archive has it, given up, since apt refuses every other work before.
///
/// # Errors
/// A package stays broken: which, and what to do.
pub(super) fn run(params: &Params, host: &Host) -> Result<Vec<String>, Failure> {
    locks::wait(params.lock_timeout)?;
    host.forget::<Database>();
    let broken = needed(host)?;
    if broken.is_empty() {
        return Ok(broken);
    }
    let again = unpacked_in_part(&*Database::of(host)?);
    // It fails on what the next steps mend; whether all is well is read from the database in the end.
    transaction::run(dpkg(params).args(["--configure", "-a"]), params, host)?;
    if !again.is_empty() {
        reinstall(&again, params, host)?;
        let mut left = unpacked_in_part(&*Database::of(host)?);
        // With one among them that no archive has, apt does nothing for the others.
        let lost: Vec<String> = left.extract_if(.., |name| !is_offered(name, host)).collect();
        if !lost.is_empty() {
            let cmd = dpkg(params).args(["--force-remove-reinstreq", "--remove", "--"]).args(lost);
            transaction::run(cmd, params, host)?;
            host.forget::<Database>();
            if !left.is_empty() {
                reinstall(&left, params, host)?;
            }
        }
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
        return Ok(broken);
    }
    let names = left.join(" ");
    let failure = Failure::new(format!("dpkg was interrupted and cannot finish {}", left.join(", "))).hint(format!(
        "see why with `dpkg --configure -a`; `dpkg --remove --force-remove-reinstreq {names}` gives up on it"
    ));
    Err(output.map(|output| output.result()).into_iter().fold(failure, Failure::with))
}

/// Packages whose files are there in part only.
fn unpacked_in_part(db: &Database) -> Vec<String> {
    db.broken().iter().filter(|package| package.must_reinstall()).map(|p| p.name().to_owned()).collect()
}

fn reinstall(names: &[String], params: &Params, host: &Host) -> Result<(), Failure> {
    let words: Vec<String> =
        ["install", "--reinstall"].into_iter().map(str::to_owned).chain(names.iter().cloned()).collect();
    transaction::run(get::command(params, &words), params, host)?;
    host.forget::<Database>();
    Ok(())
}

/// Whether an archive has it in some version.
fn is_offered(name: &str, host: &Host) -> bool {
    let cmd = get::environment(Cmd::new("apt-get")).args(["-qq", "download", "--print-uris", "--"]).arg(name);
    host.exec(&cmd).is_ok_and(|output| output.rc == 0 && !output.stdout.is_empty())
}

fn dpkg(params: &Params) -> Cmd {
    let options = params.dpkg_options.split(',').map(str::trim).filter(|option| !option.is_empty());
    get::environment(Cmd::new("dpkg"))
        .args(options.map(|option| format!("--{}", option.trim_start_matches("--"))))
}
