//! Times as Python prints them, in the host's time zone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::facts::date_time::zone;

/// `2017-09-29 22:03:48.083128`, as `str(datetime.now())`.
pub fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Only a clock beyond the year 9999 has no time.
    let time =
        i64::try_from(since.as_micros()).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let Some(time) = time else { return String::new() };
    let local = zone().to_datetime(time);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second(),
        since.subsec_micros()
    )
}

/// `0:00:00.001529`, as `str(timedelta)`.
pub fn delta(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".into(),
        days => format!("{days} days, "),
    };
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{days}{hours}:{minutes:02}:{seconds:02}.{:06}", elapsed.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delta_as_python_prints_it() {
        assert_eq!(delta(Duration::from_micros(1529)), "0:00:00.001529");
        assert_eq!(delta(Duration::from_secs(90_061)), "1 day, 1:01:01.000000");
    }

    #[test]
    fn stamp_has_the_shape_of_a_datetime() {
        assert_eq!(stamp(SystemTime::now()).len(), "2017-09-29 22:03:48.083128".len());
    }
}
