//! `timezone`: the host's time zone, and whether its hardware clock runs in it.

use std::path::Path;

use crate::edit::{Edit, Owner};
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Map, Plan, choices, map, params};

choices! {
    /// What the hardware clock shows.
    pub enum Clock { Utc = "UTC", Local = "local" }
}

params! {
    /// Sets the time zone.
    pub struct Params for "community.general.timezone" {
        /// The zone (`Europe/Berlin`).
        name: Option<String>,
        /// What the hardware clock shows.
        hwclock | rtc: Option<Clock>,
    }
    rules Rules { one_of: &[&["name", "hwclock"]], ..NO_RULES }
}

const ZONES: &str = "/usr/share/zoneinfo";
const LOCALTIME: &str = "/etc/localtime";
const TIMEZONE: &str = "/etc/timezone";
const ADJTIME: &str = "/etc/adjtime";

/// The zone that `/etc/localtime` leads to, localtime(5); a copied file has no name but in `/etc/timezone`.
fn current() -> String {
    let target = std::fs::read_link(LOCALTIME).unwrap_or_default();
    let target = target.to_string_lossy();
    match target.split_once("zoneinfo/") {
        Some((_, zone)) => zone.to_owned(),
        None => std::fs::read_to_string(TIMEZONE).map(|zone| zone.trim().to_owned()).unwrap_or_default(),
    }
}

/// The third line of adjtime(5): `UTC` unless it says `LOCAL`.
fn clock_of(adjtime: &str) -> Clock {
    if adjtime.lines().nth(2).map(str::trim) == Some("LOCAL") { Clock::Local } else { Clock::Utc }
}

fn set_clock(adjtime: &str, clock: Clock) -> String {
    let mut lines = adjtime.lines();
    let first = lines.next().unwrap_or("0.0 0 0.0");
    let second = lines.next().unwrap_or("0");
    let word = if clock == Clock::Local { "LOCAL" } else { "UTC" };
    format!("{first}\n{second}\n{word}\n")
}

/// Compares zone and clock with what is declared.
///
/// # Errors
/// There is no such zone on the host.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    let mut diff = Vec::new();
    let zone = params.name.clone().filter(|name| *name != current());
    if let Some(name) = &params.name {
        let sane = !name.is_empty() && !name.starts_with('/') && !name.split('/').any(|part| part == "..");
        if !sane || !Path::new(ZONES).join(name).is_file() {
            return Err(Failure::new(format!("there is no time zone {name} on the host"))
                .hint("the package tzdata has the zones, tzdata-legacy their old names"));
        }
    }
    if let Some(zone) = &zone {
        diff.push(Diff::property("timezone", "name", current(), zone));
    }
    let adjtime = Edit::read(Path::new(ADJTIME))?;
    let clock = params.hwclock.filter(|clock| *clock != clock_of(adjtime.text()));
    if let Some(clock) = clock {
        diff.push(Diff::property("timezone", "hwclock", clock_of(adjtime.text()).word(), clock.word()));
    }
    let mut result = Map::new();
    if zone.is_none() && clock.is_none() {
        return Ok(Plan::ok(result));
    }
    if let Some(zone) = &zone {
        result.insert("name".into(), zone.as_str().into());
    }
    Ok(Plan::change(result, diff, move |host| {
        if let Some(zone) = zone {
            let temporary = Path::new("/etc/.localtime.debark");
            let _ = std::fs::remove_file(temporary);
            std::os::unix::fs::symlink(Path::new(ZONES).join(&zone), temporary)
                .and_then(|()| std::fs::rename(temporary, LOCALTIME))
                .map_err(|e| Failure::io("cannot set", LOCALTIME, e))?;
            // Debian's own programs read the name here, where the file is kept.
            let name = Edit::read(Path::new(TIMEZONE))?;
            if name.text().trim() != zone {
                name.write(host, &format!("{zone}\n"), Owner::default(), false)?;
            }
        }
        if let Some(clock) = clock {
            adjtime.write(host, &set_clock(adjtime.text(), clock), Owner::default(), false)?;
        }
        Ok(map! {})
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_adjtime() {
        assert_eq!(clock_of(""), Clock::Utc);
        let local = set_clock("", Clock::Local);
        assert_eq!((clock_of(&local), local.as_str()), (Clock::Local, "0.0 0 0.0\n0\nLOCAL\n"));
        assert_eq!(set_clock("1.5 2 0\n2\nLOCAL\n", Clock::Utc), "1.5 2 0\n2\nUTC\n");
    }

    #[test]
    fn refuses_unknown_zones() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        for name in ["Mars/Olympus", "../../../etc/passwd", "/etc/passwd"] {
            let error = plan(Params::parse(&map! { "name" => name }).unwrap(), &host).err().unwrap();
            assert!(error.msg.starts_with("there is no time zone"), "{}", error.msg);
        }
    }
}
