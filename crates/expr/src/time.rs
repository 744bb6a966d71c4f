//! Dates: `now()`, `strftime`, `to_datetime` and what can be done with their results.

use std::time::{SystemTime, UNIX_EPOCH};

use debark_value::Value;

use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::value::{Thing, V};

const DAY: i64 = 86_400;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A point on a calendar: seconds since 1970 as the local clock shows them, and what is known of its zone.
#[derive(Clone)]
pub(crate) struct Date {
    /// Microseconds since 1970 by the local clock.
    pub local: i64,
    /// Seconds east of Greenwich, and the zone's name; none for a date without a zone.
    pub zone: Option<(i64, String)>,
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Counted from March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

impl Date {
    pub fn utc(micros: i64) -> Self {
        Self { local: micros, zone: Some((0, "UTC".into())) }
    }

    pub fn here(micros: i64) -> Self {
        let (offset, name) = crate::zone::zone_at(micros.div_euclid(1_000_000));
        Self { local: micros + offset * 1_000_000, zone: Some((offset, name)) }
    }

    /// Microseconds since 1970 in UTC; a date without a zone counts as UTC.
    pub fn micros(&self) -> i64 {
        self.local - self.zone.as_ref().map_or(0, |(offset, _)| offset * 1_000_000)
    }

    pub fn plus(&self, micros: i64) -> Self {
        Self { local: self.local.saturating_add(micros), zone: self.zone.clone() }
    }

    fn seconds(&self) -> i64 {
        self.local.div_euclid(1_000_000)
    }

    fn ymd(&self) -> (i64, i64, i64) {
        civil(self.seconds().div_euclid(DAY))
    }

    fn of_day(&self) -> i64 {
        self.seconds().rem_euclid(DAY)
    }

    fn weekday(&self) -> i64 {
        (self.seconds().div_euclid(DAY) + 4).rem_euclid(7)
    }

    fn year_day(&self) -> i64 {
        let (year, ..) = self.ymd();
        self.seconds().div_euclid(DAY) - days(year, 1, 1) + 1
    }

    /// ISO year and week.
    fn iso_week(&self) -> (i64, i64) {
        let weekday = (self.weekday() + 6) % 7;
        let thursday = self.seconds().div_euclid(DAY) - weekday + 3;
        let (year, ..) = civil(thursday);
        (year, (thursday - days(year, 1, 1)) / 7 + 1)
    }

    pub fn attribute(&self, name: &str) -> Option<V> {
        let (year, month, day) = self.ymd();
        Some(V::from(match name {
            "year" => year,
            "month" => month,
            "day" => day,
            "hour" => self.of_day() / 3600,
            "minute" => self.of_day() / 60 % 60,
            "second" => self.of_day() % 60,
            "microsecond" => self.local.rem_euclid(1_000_000),
            _ => return None,
        }))
    }

    /// As Python's `str()` of a `datetime` without a zone.
    pub fn print(&self, separator: char) -> String {
        let (year, month, day) = self.ymd();
        let time = self.of_day();
        let mut text = format!(
            "{year:04}-{month:02}-{day:02}{separator}{:02}:{:02}:{:02}",
            time / 3600,
            time / 60 % 60,
            time % 60
        );
        let micros = self.local.rem_euclid(1_000_000);
        if micros != 0 {
            text.push_str(&format!(".{micros:06}"));
        }
        text
    }

    /// C's `strftime` in the C locale.
    pub fn format(&self, format: &str) -> Res<String> {
        let (year, month, day) = self.ymd();
        let (time, weekday) = (self.of_day(), self.weekday());
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let half = if hour % 12 == 0 { 12 } else { hour % 12 };
        let name = |names: &[&'static str], at: i64| {
            usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or("")
        };
        let short = |text: &'static str| text.get(..3).unwrap_or(text);
        let (offset, zone) = self.zone.clone().unwrap_or_default();
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut code = chars.next().unwrap_or('%');
            let unpadded = code == '-';
            if unpadded {
                code = chars.next().unwrap_or('%');
            }
            let number = |value: i64, width: usize| {
                if unpadded { value.to_string() } else { format!("{value:0width$}") }
            };
            out.push_str(&match code {
                'Y' => year.to_string(),
                'C' => number(year / 100, 2),
                'y' => number(year.rem_euclid(100), 2),
                'm' => number(month, 2),
                'd' => number(day, 2),
                'e' => {
                    if unpadded {
                        day.to_string()
                    } else {
                        format!("{day:2}")
                    }
                }
                'H' => number(hour, 2),
                'k' => format!("{hour:2}"),
                'I' => number(half, 2),
                'l' => format!("{half:2}"),
                'M' => number(minute, 2),
                'S' => number(second, 2),
                'f' => format!("{:06}", self.local.rem_euclid(1_000_000)),
                'j' => number(self.year_day(), 3),
                'p' => {
                    if hour < 12 {
                        "AM".into()
                    } else {
                        "PM".into()
                    }
                }
                'P' => {
                    if hour < 12 {
                        "am".into()
                    } else {
                        "pm".into()
                    }
                }
                'a' => short(name(&DAYS, weekday)).to_owned(),
                'A' => name(&DAYS, weekday).to_owned(),
                'b' | 'h' => short(name(&MONTHS, month - 1)).to_owned(),
                'B' => name(&MONTHS, month - 1).to_owned(),
                'u' => (if weekday == 0 { 7 } else { weekday }).to_string(),
                'w' => weekday.to_string(),
                'U' => number((self.year_day() + 6 - weekday) / 7, 2),
                'W' => number((self.year_day() + 6 - (weekday + 6) % 7) / 7, 2),
                'V' => number(self.iso_week().1, 2),
                'G' => self.iso_week().0.to_string(),
                's' => self.micros().div_euclid(1_000_000).to_string(),
                'F' => self.format("%Y-%m-%d")?,
                'T' => self.format("%H:%M:%S")?,
                'R' => self.format("%H:%M")?,
                'D' | 'x' => self.format("%m/%d/%y")?,
                'X' => self.format("%H:%M:%S")?,
                'r' => self.format("%I:%M:%S %p")?,
                'c' => self.format("%a %b %e %H:%M:%S %Y")?,
                'z' if self.zone.is_some() => {
                    let sign = if offset < 0 { '-' } else { '+' };
                    format!("{sign}{:02}{:02}", offset.abs() / 3600, offset.abs() / 60 % 60)
                }
                'Z' => zone.clone(),
                'z' => String::new(),
                'n' => "\n".into(),
                't' => "\t".into(),
                '%' => "%".into(),
                other => format!("%{other}"),
            });
            if out.len() > 1 << 20 {
                return Err(crate::ops::too_large());
            }
        }
        Ok(out)
    }

    /// C's `strptime` in the C locale, for the fields that dates are written with.
    pub fn parse(text: &str, format: &str) -> Option<Self> {
        let (mut year, mut month, mut day) = (1900, 1, 1);
        let (mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0);
        let (mut pm, mut epoch, mut zone, mut year_day) = (None, None, None, None);
        let format = format
            .replace("%F", "%Y-%m-%d")
            .replace("%T", "%H:%M:%S")
            .replace("%R", "%H:%M")
            .replace("%D", "%m/%d/%y");
        let mut rest = text;
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c.is_whitespace() {
                rest = rest.trim_start();
                continue;
            }
            if c != '%' {
                rest = rest.strip_prefix(c)?;
                continue;
            }
            match chars.next()? {
                'Y' => year = digits(&mut rest, 4)?,
                'y' => {
                    let short = digits(&mut rest, 2)?;
                    year = if short < 69 { 2000 + short } else { 1900 + short };
                }
                'm' => month = digits(&mut rest, 2)?,
                'd' | 'e' => day = digits(&mut rest, 2)?,
                'H' | 'I' => hour = digits(&mut rest, 2)?,
                'M' => minute = digits(&mut rest, 2)?,
                'S' => second = digits(&mut rest, 2)?,
                'j' => year_day = Some(digits(&mut rest, 3)?),
                'f' => {
                    let length = rest.bytes().take(6).take_while(u8::is_ascii_digit).count();
                    let value = digits(&mut rest, 6)?;
                    micros = value * 10_i64.pow(6 - u32::try_from(length).ok()?);
                }
                'p' => {
                    let half = rest.get(..2)?.to_ascii_uppercase();
                    pm = Some(match half.as_str() {
                        "AM" => false,
                        "PM" => true,
                        _ => return None,
                    });
                    rest = rest.get(2..)?;
                }
                'b' | 'B' | 'h' => month = named(&mut rest, &MONTHS)? + 1,
                'a' | 'A' => {
                    named(&mut rest, &DAYS)?;
                }
                's' => epoch = Some(digits(&mut rest, 12)?),
                'z' => zone = Some(offset(&mut rest)?),
                'Z' => {
                    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
                    rest = rest.get(end..)?;
                }
                '%' => rest = rest.strip_prefix('%')?,
                _ => return None,
            }
        }
        if !rest.is_empty() || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 61 {
            return None;
        }
        match pm {
            Some(_) if !(1..=12).contains(&hour) => return None,
            Some(true) => hour = hour % 12 + 12,
            Some(false) => hour %= 12,
            None => {}
        }
        let length =
            days(if month == 12 { year + 1 } else { year }, month % 12 + 1, 1) - days(year, month, 1);
        if day < 1 || day > length {
            return None;
        }
        if let Some(epoch) = epoch {
            return Some(Self::here(epoch * 1_000_000)).map(|date| Self { zone: None, ..date });
        }
        let start = year_day.map_or_else(|| days(year, month, day), |nth| days(year, 1, 1) + nth - 1);
        let seconds = start * DAY + hour * 3600 + minute * 60 + second;
        Some(Self { local: seconds * 1_000_000 + micros, zone: zone.map(|offset| (offset, String::new())) })
    }
}

fn digits(rest: &mut &str, most: usize) -> Option<i64> {
    let length = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    number.parse().ok()
}

fn named(rest: &mut &str, names: &[&str]) -> Option<i64> {
    let lower = rest.to_ascii_lowercase();
    for (index, name) in names.iter().enumerate() {
        let name = name.to_ascii_lowercase();
        for length in [name.len(), 3] {
            if lower.starts_with(name.get(..length)?) {
                *rest = rest.get(length..)?;
                return i64::try_from(index).ok();
            }
        }
    }
    None
}

fn offset(rest: &mut &str) -> Option<i64> {
    if let Some(tail) = rest.strip_prefix('Z') {
        *rest = tail;
        return Some(0);
    }
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    *rest = rest.strip_prefix(['+', '-'])?;
    let hours = digits(rest, 2)?;
    *rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = digits(rest, 2)?;
    Some(sign * (hours * 3600 + minutes * 60))
}

fn present() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// `now(utc=false, fmt='')`
pub(crate) fn now(_: &mut Ctx<'_>, args: &Args) -> Res<V> {
    let mut date = if args.flag(0, "utc")? { Date::utc(present()) } else { Date::here(present()) };
    if let Some(format) = args.text(1, "fmt")?.filter(|format| !format.is_empty()) {
        return date.format(&format).map(V::from);
    }
    // Python's result has no zone, so that it can be compared with parsed dates.
    if date.zone.as_ref().is_some_and(|(offset, _)| *offset == 0) || !args.flag(0, "utc")? {
        date.zone = None;
    }
    Ok(V::thing(Thing::Date(date)))
}

/// The filter `strftime`: the format, applied to seconds since 1970 (or now).
pub(crate) fn strftime(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let format = input.to_text()?;
    let micros = match args.value(0, "second")? {
        None | Some(Value::Null) => present(),
        Some(value) => {
            let seconds =
                value.to_float().map_err(|_| Error::call("needs seconds since 1970 as a number"))?;
            (seconds * 1e6) as i64
        }
    };
    let date = if args.flag(1, "utc")? { Date::utc(micros) } else { Date::here(micros) };
    date.format(&format).map(V::from)
}

/// The filter `to_datetime`.
pub(crate) fn to_datetime(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    let format = args.text(0, "format")?.unwrap_or_else(|| "%Y-%m-%d %H:%M:%S".into());
    let date = Date::parse(&text, &format)
        .ok_or_else(|| Error::call(format!("needs a date in the format '{format}'")))?;
    Ok(V::thing(Thing::Date(date)))
}

pub(crate) fn is_method(name: &str) -> bool {
    matches!(
        name,
        "strftime" | "isoformat" | "timestamp" | "date" | "weekday" | "isoweekday" | "ctime" | "timetuple"
    )
}

pub(crate) fn method(date: &Date, name: &str, args: &Args) -> Res<V> {
    Ok(match name {
        "strftime" => V::from(date.format(&args.need_text(0, "format")?)?),
        "isoformat" => {
            let separator = args.text(0, "sep")?.and_then(|sep| sep.chars().next()).unwrap_or('T');
            V::from(date.print(separator))
        }
        "timestamp" => V::from(match &date.zone {
            Some(_) => date.micros() as f64 / 1e6,
            // A date without a zone is local.
            None => (date.local - crate::zone::zone_at(date.local / 1_000_000).0 * 1_000_000) as f64 / 1e6,
        }),
        "date" => V::from(date.format("%Y-%m-%d")?),
        "weekday" => V::from((date.weekday() + 6) % 7),
        "isoweekday" => V::from((date.weekday() + 6) % 7 + 1),
        "ctime" => V::from(date.format("%c")?),
        _ => return Err(Error::call("is not supported")),
    })
}

/// `.days`, `.seconds` and `.microseconds` of a span, normalised as Python does.
pub(crate) fn delta_attribute(micros: i64, name: &str) -> Option<V> {
    let seconds = micros.div_euclid(1_000_000);
    Some(V::from(match name {
        "days" => seconds.div_euclid(DAY),
        "seconds" => seconds.rem_euclid(DAY),
        "microseconds" => micros.rem_euclid(1_000_000),
        _ => return None,
    }))
}

pub(crate) fn delta_text(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000);
    let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    let fraction = match micros.rem_euclid(1_000_000) {
        0 => String::new(),
        fraction => format!(".{fraction:06}"),
    };
    match days {
        0 => clock + &fraction,
        1 | -1 => format!("{days} day, {clock}{fraction}"),
        _ => format!("{days} days, {clock}{fraction}"),
    }
}
