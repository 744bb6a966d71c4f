//! Spans of time as people write them.

/// Seconds of `90`, `90s`, `5m` or `1h`.
pub fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_numbers_and_units() {
        assert_eq!(["90", "90s", " 5 m", "1h"].map(seconds), [Some(90), Some(90), Some(300), Some(3600)]);
        assert_eq!(["", "s", "-1", "1.5", "1d", "99999999999999999999"].map(seconds), [None; 6]);
        assert_eq!(seconds("9999999999999999999h"), None);
    }
}
