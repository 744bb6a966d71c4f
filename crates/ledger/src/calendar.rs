//! Freezes by calendar: times of the week, and dates, in a time zone.

use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Why a freeze of the calendar cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidWindow(pub String);

/// A time in which nothing is deployed, except rollbacks.
///
/// Days and dates are those on which it begins; one whose end is not after its beginning ends on the next day, so `fri`
/// from `17:00` to `09:00` ends on Saturday morning.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// For messages: `weekend`.
    pub name: String,
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    dates: Option<(Date, Date)>,
    zone: TimeZone,
}

/// A window as it is written in a project file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowText<'a> {
    /// For messages.
    pub name: &'a str,
    /// `fri`, `sat-sun`, `mon,wed-fri`; empty: every day.
    pub days: &'a str,
    /// `17:00`; empty: midnight, when the day begins.
    pub from: &'a str,
    /// `09:00`; empty: midnight, when the day ends.
    pub to: &'a str,
    /// `2026-12-20`; empty: no first date.
    pub since: &'a str,
    /// `2027-01-06`, the last date; empty: no last date.
    pub until: &'a str,
    /// `Europe/Berlin`; empty: UTC.
    pub timezone: &'a str,
}

impl Window {
    /// Reads a window.
    ///
    /// # Errors
    /// A day, a time, a date or a time zone that is none; or the system has no time zones (package `tzdata`).
    pub fn parse(text: &WindowText<'_>) -> Result<Self, InvalidWindow> {
        let zone = match text.timezone {
            "" | "UTC" | "Etc/UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| {
                InvalidWindow(format!("{name:?} is no time zone that this system knows (package tzdata)"))
            })?,
        };
        let time = |text: &str| match text {
            "" | "24:00" => Ok(Time::midnight()),
            text => {
                // Times without minutes are read differently by everybody.
                let fits = text.len() == 5 && text.as_bytes().get(2) == Some(&b':');
                let time = fits.then(|| Time::from_str(&format!("{text}:00")).ok()).flatten();
                time.ok_or_else(|| InvalidWindow(format!("{text:?} is no time of day, such as 17:00")))
            }
        };
        let date = |text: &str, or: Date| match text {
            "" => Ok(or),
            text => Date::from_str(text)
                .map_err(|_| InvalidWindow(format!("{text:?} is no date, such as 2026-12-24"))),
        };
        let (since, until) = (date(text.since, Date::MIN)?, date(text.until, Date::MAX)?);
        if since > until {
            return Err(InvalidWindow(format!("{since} is after {until}")));
        }
        Ok(Self {
            name: text.name.to_owned(),
            days: days(text.days)?,
            from: time(text.from)?,
            to: time(text.to)?,
            dates: (since != Date::MIN || until != Date::MAX).then_some((since, until)),
            zone,
        })
    }

    /// When the window that `at` lies in ends; none if it lies in none. Windows that follow without a gap count as one,
    /// for at most a year.
    pub fn ends(&self, at: Timestamp) -> Option<Timestamp> {
        let mut end = self.piece(at)?;
        for _ in 0..366 {
            match self.piece(end) {
                Some(next) if next > end => end = next,
                _ => break,
            }
        }
        Some(end)
    }

    /// The end of the one day's window that `at` lies in.
    fn piece(&self, at: Timestamp) -> Option<Timestamp> {
        let today = self.zone.to_datetime(at).date();
        // It may have begun yesterday.
        let begun = [today.yesterday().ok(), Some(today)];
        begun
            .into_iter()
            .flatten()
            .filter_map(|day| self.on(day))
            .find(|(from, to)| *from <= at && at < *to)
            .map(|(_, to)| to)
    }

    fn on(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.days.contains(&day.weekday())
            || self.dates.is_some_and(|(since, until)| day < since || day > until)
        {
            return None;
        }
        let last = if self.to > self.from { day } else { day.checked_add(1.day()).ok()? };
        // A time that a change of clocks skips or repeats is taken as RFC 5545 does.
        let at = |day: Date, time| self.zone.to_timestamp(day.to_datetime(time)).ok();
        Some((at(day, self.from)?, at(last, self.to)?))
    }
}

fn days(text: &str) -> Result<Vec<Weekday>, InvalidWindow> {
    const WEEK: [(&str, Weekday); 7] = [
        ("mon", Weekday::Monday),
        ("tue", Weekday::Tuesday),
        ("wed", Weekday::Wednesday),
        ("thu", Weekday::Thursday),
        ("fri", Weekday::Friday),
        ("sat", Weekday::Saturday),
        ("sun", Weekday::Sunday),
    ];
    let all = || WEEK.map(|(_, day)| day).to_vec();
    if text.trim().is_empty() {
        return Ok(all());
    }
    let place = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        let found = WEEK.iter().position(|(short, _)| name.starts_with(short) && name.len() <= 9);
        found.ok_or_else(|| InvalidWindow(format!("{name:?} is no day, such as mon, or sat-sun")))
    };
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (place(first)?, place(last)?);
        // `fri-mon` goes over the week's end.
        let length = (last + 7 - first) % 7;
        days.extend((first..=first + length).filter_map(|at| WEEK.get(at % 7)).map(|(_, day)| *day));
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: WindowText<'_>) -> Window {
        Window::parse(&text).unwrap()
    }

    fn ends(window: &Window, at: &str) -> Option<String> {
        window.ends(at.parse().unwrap()).map(|end| end.to_string())
    }

    #[test]
    fn weekends_begin_and_end_in_their_time_zone() {
        let text = WindowText {
            days: "fri",
            from: "17:00",
            to: "",
            timezone: "Europe/Berlin",
            ..Default::default()
        };
        let friday = window(text.clone());
        // 2026-07-03 is a Friday; Berlin is two hours ahead of UTC in summer.
        assert_eq!(ends(&friday, "2026-07-03T14:59:59Z"), None);
        assert_eq!(ends(&friday, "2026-07-03T15:00:00Z").unwrap(), "2026-07-03T22:00:00Z");
        // And one in winter.
        assert_eq!(ends(&friday, "2026-12-04T15:30:00Z"), None);
        assert_eq!(ends(&friday, "2026-12-04T16:00:00Z").unwrap(), "2026-12-04T23:00:00Z");

        let weekend = window(WindowText { days: "sat-sun", ..text });
        assert_eq!(weekend.days.len(), 2);
        let whole = window(WindowText { days: "sat,sun", ..Default::default() });
        assert_eq!(ends(&whole, "2026-07-04T12:00:00Z").unwrap(), "2026-07-06T00:00:00Z");
    }

    #[test]
    fn nights_and_holidays() {
        let night = window(WindowText { from: "22:00", to: "06:00", ..Default::default() });
        assert_eq!(ends(&night, "2026-07-04T05:59:00Z").unwrap(), "2026-07-04T06:00:00Z");
        assert_eq!(ends(&night, "2026-07-04T06:00:00Z"), None);
        let text = WindowText { since: "2026-12-20", until: "2027-01-06", ..Default::default() };
        let holidays = window(text);
        assert_eq!(ends(&holidays, "2026-12-19T23:59:59Z"), None);
        assert_eq!(ends(&holidays, "2026-12-24T12:00:00Z").unwrap(), "2027-01-07T00:00:00Z");
        assert_eq!(
            ends(&window(WindowText { days: "fri-mon", ..Default::default() }), "2026-07-07T00:00:00Z"),
            None
        );
    }

    #[test]
    fn what_is_none_is_told() {
        for bad in [
            WindowText { days: "funday", ..Default::default() },
            WindowText { from: "25:00", ..Default::default() },
            WindowText { to: "9", ..Default::default() },
            WindowText { since: "2026-02-30", ..Default::default() },
            WindowText { since: "2026-02-02", until: "2026-02-01", ..Default::default() },
            WindowText { timezone: "Mars/Olympus", ..Default::default() },
        ] {
            Window::parse(&bad).unwrap_err();
        }
    }
}
