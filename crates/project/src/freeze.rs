//! Freezes: times in which nothing is deployed.

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A freeze: between two times, on some days of the week, at some hours; all that is said has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// From then on.
    pub from: Option<DateTime>,
    /// Until then, exclusively.
    pub until: Option<DateTime>,
    /// On these days; empty: on all.
    pub weekdays: Vec<Weekday>,
    /// From one time of day until the other; past midnight if the second is not later. `None`: all day. Hours past
    /// midnight belong to the day on which they began.
    pub hours: Option<(Time, Time)>,
    /// Where those times are.
    pub zone: TimeZone,
    /// Why, for people.
    pub reason: Option<String>,
}

impl Freeze {
    /// Whether it is on at that moment.
    pub fn covers(&self, at: Timestamp) -> bool {
        let now = self.zone.to_datetime(at);
        if self.from.is_some_and(|from| now < from) || self.until.is_some_and(|until| now >= until) {
            return false;
        }
        let on = |day: Weekday| self.weekdays.is_empty() || self.weekdays.contains(&day);
        match self.hours {
            None => on(now.weekday()),
            Some((begin, end)) if begin < end => on(now.weekday()) && now.time() >= begin && now.time() < end,
            Some((begin, end)) => {
                (on(now.weekday()) && now.time() >= begin)
                    || (on(now.weekday().previous()) && now.time() < end)
            }
        }
    }

    /// When it is over, if it is on at that moment: to the minute, within two years.
    pub fn ends(&self, at: Timestamp) -> Option<Timestamp> {
        if !self.covers(at) {
            return None;
        }
        // Freezes change only at the times they name, and at midnight.
        let start = self.zone.to_datetime(at);
        let mut candidates: Vec<DateTime> = self.until.into_iter().collect();
        let mut day = start.date();
        for _ in 0..=731 {
            candidates.push(day.to_datetime(Time::midnight()));
            candidates.extend(self.hours.map(|(_, end)| day.to_datetime(end)));
            match day.checked_add(1.day()) {
                Ok(next) => day = next,
                Err(_) => break,
            }
        }
        candidates.retain(|candidate| *candidate > start);
        candidates.sort_unstable();
        candidates.into_iter().find_map(|candidate| {
            let moment = self.zone.to_timestamp(candidate).ok()?;
            (moment > at && !self.covers(moment)).then_some(moment)
        })
    }
}

impl std::fmt::Display for Freeze {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if let Some(from) = self.from {
            parts.push(format!("from {}", from.strftime("%Y-%m-%d %H:%M")));
        }
        if let Some(until) = self.until {
            parts.push(format!("until {}", until.strftime("%Y-%m-%d %H:%M")));
        }
        if !self.weekdays.is_empty() {
            let days: Vec<&str> = self.weekdays.iter().map(|day| day_name(*day)).collect();
            parts.push(format!("on {}", days.join(", ")));
        }
        if let Some((begin, end)) = self.hours {
            parts.push(format!("{} to {}", begin.strftime("%H:%M"), end.strftime("%H:%M")));
        }
        write!(to, "{}", parts.join(" "))?;
        match &self.reason {
            Some(reason) => write!(to, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// `mon`.
pub(crate) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn day_name(day: Weekday) -> &'static str {
    DAYS.get(usize::try_from(day.to_monday_zero_offset()).unwrap_or_default()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn freeze() -> Freeze {
        Freeze {
            from: None,
            until: None,
            weekdays: Vec::new(),
            hours: None,
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            reason: None,
        }
    }

    #[test]
    fn dates_are_those_of_the_zone() {
        let freeze = Freeze {
            from: Some("2026-12-20T00:00".parse().unwrap()),
            until: Some("2027-01-02T00:00".parse().unwrap()),
            ..freeze()
        };
        assert!(!freeze.covers(at("2026-12-19T22:59:59Z")));
        assert!(freeze.covers(at("2026-12-19T23:00:00Z")));
        assert!(!freeze.covers(at("2027-01-01T23:00:00Z")));
        assert_eq!(freeze.ends(at("2026-12-24T12:00:00Z")), Some(at("2027-01-01T23:00:00Z")));
        assert_eq!(freeze.ends(at("2026-11-24T12:00:00Z")), None);
    }

    #[test]
    fn hours_past_midnight_belong_to_the_day_before() {
        let freeze = Freeze {
            weekdays: vec![Weekday::Friday],
            hours: Some(("16:00".parse().unwrap(), "06:00".parse().unwrap())),
            ..freeze()
        };
        // 2026-11-27 is a Friday; Berlin is one hour ahead.
        assert!(!freeze.covers(at("2026-11-27T04:00:00Z")), "the morning belongs to Thursday");
        assert!(freeze.covers(at("2026-11-27T15:00:00Z")));
        assert!(freeze.covers(at("2026-11-28T04:59:00Z")));
        assert!(!freeze.covers(at("2026-11-28T05:00:00Z")));
        assert_eq!(freeze.ends(at("2026-11-27T20:00:00Z")), Some(at("2026-11-28T05:00:00Z")));
    }

    #[test]
    fn whole_days_in_a_row_end_together() {
        let freeze = Freeze { weekdays: vec![Weekday::Saturday, Weekday::Sunday], ..freeze() };
        assert_eq!(freeze.ends(at("2026-11-28T10:00:00Z")), Some(at("2026-11-29T23:00:00Z")));
    }
}
