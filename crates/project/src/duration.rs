//! Durations as people write them: `500ms`, `30s`, `5m`, `1h30m`, `2d`.

use std::time::Duration;

/// Text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration")]
pub struct InvalidDuration(pub String);

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// The longest that is read: ten years.
const MOST: u64 = 10 * 366 * 86_400_000;

/// Reads a duration: numbers each with a unit of `ms`, `s`, `m`, `h` or `d`, from large to small.
///
/// # Errors
/// It is none, or longer than ten years.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let bad = || InvalidDuration(text.chars().take(40).collect());
    let mut rest = text.trim();
    let mut total: u64 = 0;
    let mut smaller_than = u64::MAX;
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        if *factor >= smaller_than {
            return Err(bad());
        }
        let number: u64 = number.parse().map_err(|_| bad())?;
        total = number.checked_mul(*factor).and_then(|more| total.checked_add(more)).ok_or_else(bad)?;
        smaller_than = *factor;
        rest = after;
    }
    if total > MOST { Err(bad()) } else { Ok(Duration::from_millis(total)) }
}

/// The shortest text that reads as this duration, to the millisecond: `1h30m`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in UNITS.iter().rev() {
        if rest >= *factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in
            [("0", 0), ("0s", 0), ("30s", 30_000), ("500ms", 500), ("1h30m", 5_400_000), ("2d", 172_800_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "5", "s", "5 s", "1m1h", "1s1s", "-1s", "1.5h", "99999999999999999999s", "99999d", "5M", "é"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["1h30m", "2d", "1d1ms", "0s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }
}
