//! The clock, in the host's own time zone.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::{Dst, TimeZone};

use crate::{Map, map};

pub(super) fn date_time(map: &mut Map) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let Ok(now) = Timestamp::from_microsecond(i64::try_from(now.as_micros()).unwrap_or(0)) else { return };
    map.insert("date_time".into(), at(now, zone()).into());
}

/// The host's zone: `TZ` if it names a file, else `/etc/localtime`, else UTC.
pub(crate) fn zone() -> TimeZone {
    let named = std::env::var("TZ").ok().map(|name| name.trim_start_matches(':').to_owned());
    let path = match named {
        // A zone's name never climbs out of the zone directory.
        Some(name) if !name.is_empty() && !name.contains("..") => {
            if name.starts_with('/') {
                name
            } else {
                format!("/usr/share/zoneinfo/{name}")
            }
        }
        _ => "/etc/localtime".into(),
    };
    std::fs::read(path).ok().and_then(|bytes| TimeZone::tzif("local", &bytes).ok()).unwrap_or(TimeZone::UTC)
}

fn at(now: Timestamp, zone: TimeZone) -> Map {
    let info = zone.to_offset_info(now);
    let abbreviation = info.abbreviation().to_owned();
    let minutes = info.offset().seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let offset = format!("{sign}{:02}{:02}", minutes.abs() / 60, minutes.abs() % 60);
    let summer = summer_name(now, &zone).unwrap_or_else(|| abbreviation.clone());
    let local = zone.to_datetime(now);
    let utc = TimeZone::UTC.to_datetime(now);
    let sunday = i64::from(local.date().weekday().to_sunday_zero_offset());
    let monday = (sunday + 6) % 7;
    let day_of_year = i64::from(local.date().day_of_year());
    let date = format!("{:04}-{:02}-{:02}", local.year(), local.month(), local.day());
    let time = format!("{:02}:{:02}:{:02}", local.hour(), local.minute(), local.second());
    let iso = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        utc.year(),
        utc.month(),
        utc.day(),
        utc.hour(),
        utc.minute(),
        utc.second()
    );
    let micro = now.subsec_microsecond();
    let basic = format!("{}T{}", date.replace('-', ""), time.replace(':', ""));
    map! {
        "year" => format!("{:04}", local.year()),
        "month" => format!("{:02}", local.month()),
        "weekday" => ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
            .get(usize::try_from(sunday).unwrap_or(0)).copied().unwrap_or_default(),
        "weekday_number" => sunday.to_string(),
        // strftime(3) %W: weeks begin on Mondays, days before the first Monday are in week 0.
        "weeknumber" => format!("{:02}", (day_of_year + 6 - monday) / 7),
        "day" => format!("{:02}", local.day()),
        "hour" => format!("{:02}", local.hour()),
        "minute" => format!("{:02}", local.minute()),
        "second" => format!("{:02}", local.second()),
        "epoch" => now.as_second().to_string(),
        "epoch_int" => now.as_second().to_string(),
        "date" => date,
        "time" => time,
        "iso8601_micro" => format!("{iso}.{micro:06}Z"),
        "iso8601" => format!("{iso}Z"),
        "iso8601_basic" => format!("{basic}{micro:06}"),
        "iso8601_basic_short" => basic,
        "tz" => abbreviation,
        "tz_dst" => summer,
        "tz_offset" => offset,
    }
}

/// The zone's name in summer, if it has one: looked for in the year around now.
fn summer_name(now: Timestamp, zone: &TimeZone) -> Option<String> {
    const MONTH: i64 = 30 * 24 * 3600;
    (0..13).find_map(|months| {
        let then = Timestamp::from_second(now.as_second().checked_add(months * MONTH)?).ok()?;
        let info = zone.to_offset_info(then);
        (info.dst() == Dst::Yes).then(|| info.abbreviation().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn says_what_strftime_says() {
        let now = Timestamp::from_microsecond(1_795_471_847_785_440).unwrap();
        let facts = at(now, TimeZone::UTC);
        let text = |name: &str| facts[name].to_string();
        assert_eq!(text("iso8601_micro"), "2026-11-23T22:10:47.785440Z");
        assert_eq!(text("iso8601_basic"), "20261123T221047785440");
        assert_eq!(
            (text("weekday"), text("weekday_number"), text("weeknumber")),
            ("Monday".into(), "1".into(), "47".into())
        );
        assert_eq!(
            (text("tz"), text("tz_dst"), text("tz_offset")),
            ("UTC".into(), "UTC".into(), "+0000".into())
        );
        assert_eq!(facts["epoch"], Value::from("1795471847"));
    }

    #[test]
    fn reads_zone_files() {
        let Ok(bytes) = std::fs::read("/usr/share/zoneinfo/Europe/Berlin") else { return };
        let facts = at(Timestamp::from_second(1_795_471_847).unwrap(), TimeZone::tzif("x", &bytes).unwrap());
        assert_eq!(facts["tz"], Value::from("CET"));
        assert_eq!(facts["tz_dst"], Value::from("CEST"));
        assert_eq!(facts["tz_offset"], Value::from("+0100"));
        assert_eq!(facts["time"], Value::from("23:10:47"));
    }
}
