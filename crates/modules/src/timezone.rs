//! `timezone`: the host's time zone, and whether its hardware clock runs in it.

use std::path::Path;

use crate::edit::{Edit, Owner};
use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Map, Plan, choices, facts, params};

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

/// The zone that `/etc/localtime` leads to, localtime(5); without it the clock is in UTC. A copied file has no name
/// but in `/etc/timezone`.
fn current() -> String {
    let target = match std::fs::read_link(LOCALTIME) {
        Ok(target) => target,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return "UTC".to_owned(),
        Err(_) => Path::new("").to_owned(),
    };
    match target.to_string_lossy().split_once("zoneinfo/") {
        Some((_, zone)) => zone.to_owned(),
        None => std::fs::read_to_string(TIMEZONE).map(|zone| zone.trim().to_owned()).unwrap_or_default(),
    }
}

/// systemd's own service sets the zone where it runs: it links relatively, keeps Debian's `/etc/timezone` as the
/// release wants it, and tells the programs that listen.
fn zone_command(zone: &str) -> Cmd {
    Cmd::new("timedatectl").args(["set-timezone", zone])
}

fn clock_command(clock: Clock) -> Cmd {
    Cmd::new("timedatectl").args(["set-local-rtc", if clock == Clock::Local { "yes" } else { "no" }])
}

/// Links `/etc/localtime` and names the zone in `/etc/timezone`, as Debian's tzdata does.
fn set_zone(host: &Host, zone: &str) -> Result<(), Failure> {
    let temporary = Path::new("/etc/.localtime.debark");
    let _ = std::fs::remove_file(temporary);
    crate::guard::keep(Path::new(LOCALTIME))?;
    std::os::unix::fs::symlink(Path::new(ZONES).join(zone), temporary)
        .and_then(|()| std::fs::rename(temporary, LOCALTIME))
        .map_err(|e| Failure::io("cannot set", LOCALTIME, e))?;
    let name = Edit::read(Path::new(TIMEZONE))?;
    if name.text().trim() != zone {
        name.write(host, &format!("{zone}\n"), Owner::default(), false)?;
    }
    Ok(())
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
    if zone.is_none() && clock.is_none() {
        return Ok(Plan::ok(Map::new()));
    }
    Ok(Plan::change(Map::new(), diff, move |host| {
        let systemd = facts::program("timedatectl").is_some() && Path::new("/run/systemd/system").exists();
        let commands = [zone.as_deref().map(zone_command), clock.map(clock_command)].into_iter().flatten();
        let mut said = Vec::new();
        let mut asked = systemd;
        for command in commands {
            // It needs D-Bus, which a small host may do without.
            asked = asked && host.exec(&command)?.rc == 0;
            said.push(format!("executed `{}`", command.argv.join(" ".as_ref()).to_string_lossy()));
        }
        if asked {
            return Ok(crate::map! { "msg" => said.join("\n") });
        }
        if let Some(zone) = zone {
            set_zone(host, &zone)?;
        }
        if let Some(clock) = clock {
            adjtime.write(host, &set_clock(adjtime.text(), clock), Owner::default(), false)?;
        }
        Ok(Map::new())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map;

    #[test]
    fn systemd_is_asked() {
        let words = |command: Cmd| command.argv.join(" ".as_ref()).to_string_lossy().into_owned();
        assert_eq!(words(zone_command("Europe/Berlin")), "timedatectl set-timezone Europe/Berlin");
        assert_eq!(words(clock_command(Clock::Local)), "timedatectl set-local-rtc yes");
        assert_eq!(words(clock_command(Clock::Utc)), "timedatectl set-local-rtc no");
    }

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
