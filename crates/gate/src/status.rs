//! What is there: for the controller and for people.

use std::path::Path;
use std::process::ExitCode;

use debark_order::PackageName;
use debark_order::gate::{HostState, OpenOrder, PackageState, Version};

use crate::dpkg::Database;
use crate::failure::Result;
use crate::state::State;
use crate::{locks, place, store, trust, units};

/// The installed version of a package, with its digest if the gate has installed that version.
pub fn live(database: &Database, state: &State, package: &PackageName) -> Option<Version> {
    let version = database.version(package)?;
    let known = state.packages.get(package).filter(|live| live.version == version);
    Some(Version { version, digest: known.and_then(|live| live.digest) })
}

/// The same, without the digest if somebody else has installed another package of that version.
pub fn found(database: &Database, state: &State, package: &PackageName) -> Option<Version> {
    let recorded = live(database, state, package)?;
    let untouched = state.packages.get(package).is_none_or(|live| live.is_untouched(package, database));
    Some(Version { digest: recorded.digest.filter(|_| untouched), ..recorded })
}

/// The host's state; of all packages that the gate ever installed, if `packages` is empty.
///
/// # Errors
/// Some file cannot be read, or not be trusted.
pub fn host(packages: &[PackageName]) -> Result<HostState> {
    place::prepare()?;
    let state = State::load()?;
    let database = Database::read()?;
    let kept = store::all()?;
    let mut names: Vec<PackageName> = packages.to_vec();
    if names.is_empty() {
        names.extend(state.packages.keys().cloned());
        names.extend(kept.iter().map(|kept| kept.package.clone()));
        names.sort();
        names.dedup();
    }
    let architecture = database.architecture();
    let of_units: Vec<Vec<String>> = names.iter().map(|name| units::of_package(name, architecture)).collect();
    // One run of systemctl for all of them.
    let units = units::states(&of_units.concat());
    let package = |(name, own): (&PackageName, &Vec<String>)| {
        let known = state.packages.get(name);
        PackageState {
            package: name.clone(),
            live: found(&database, &state, name),
            sequence: known.map_or(0, |live| live.sequence),
            confirmed: known.is_some_and(|live| live.confirmed),
            kept: kept.iter().filter(|kept| kept.package == *name).map(store::Kept::as_version).collect(),
            trouble: database.package(name).and_then(crate::dpkg::Stanza::trouble),
            units: units.iter().filter(|unit| own.contains(&unit.unit)).cloned().collect(),
        }
    };
    let packages = names.iter().zip(&of_units).map(package).collect();
    let running = locks::works()?;
    let open = state.open.map(|open| OpenOrder {
        sequence: open.order.sequence,
        action: open.order.action,
        package: open.order.package,
        version: open.order.version,
        step: open.step.name().into(),
        running,
        reverts_at: open.deadline,
    });
    let mut notes = Vec::new();
    if Path::new("/run/reboot-required").exists() || Path::new("/var/run/reboot-required").exists() {
        notes.push("the host wants a reboot".into());
    }
    if let Some(last) = state.last.filter(|last| !last.confirmed) {
        notes.push(format!("the last order was undone: {}", last.why));
        notes.extend(last.notes);
    }
    notes.extend(
        state.aside.keys().map(|path| format!("{path} is put aside as {path}{}", crate::install::ASIDE)),
    );
    Ok(HostState { sequence: state.sequence, packages, open, notes })
}

/// `debark-gate state`.
pub fn main() -> ExitCode {
    match print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            if let Some(hint) = failure.hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn print() -> Result<()> {
    match trust::settings()? {
        Some(settings) => println!("environment  {}", settings.environment),
        None => println!("environment  none: this host is not enrolled"),
    }
    let state = host(&[])?;
    println!("sequence     {}", state.sequence);
    for package in &state.packages {
        let name = |version: &Version| {
            let digest = version.digest.map(|digest| format!(" ({})", digest.short())).unwrap_or_default();
            format!("{}{digest}", version.version)
        };
        let live = package.live.as_ref().map_or_else(|| "not installed".into(), name);
        let confirmed = if package.live.is_none() || package.confirmed { "" } else { ", not confirmed" };
        println!("{:<12} {live}{confirmed}", package.package.as_str());
        if let Some(trouble) = &package.trouble {
            println!("  dpkg       {trouble}");
        }
        let kept: Vec<String> = package.kept.iter().map(name).collect();
        println!("  kept       {}", if kept.is_empty() { "none".into() } else { kept.join(", ") });
        for unit in &package.units {
            println!("  {}  {}", unit.unit, unit.active);
        }
    }
    if let Some(open) = &state.open {
        let running = if open.running { ", at work" } else { "" };
        println!(
            "open         order {}: {} {}, {}{running}",
            open.sequence, open.package, open.version, open.step
        );
        if let Some(at) = open.reverts_at {
            println!("  goes back  in {} s", at.saturating_sub(crate::state::now()));
        }
    }
    state.notes.iter().for_each(|note| println!("note: {note}"));
    Ok(())
}
