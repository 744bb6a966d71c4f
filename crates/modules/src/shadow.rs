//! Shadow entries and the site's defaults for new accounts: shadow(5), login.defs(5).

/// What `/etc/shadow` says of one account. Fields that are empty there are `None`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Shadow {
    /// The password's hash; `!` before it locks it.
    pub password: String,
    /// Days that must pass before the password may be changed.
    pub min: Option<i64>,
    /// Days after which the password must be changed.
    pub max: Option<i64>,
    /// Days of warning before that.
    pub warn: Option<i64>,
    /// Days after that until the account is disabled.
    pub inactive: Option<i64>,
    /// The day, counted from 1970-01-01, on which the account expires.
    pub expire: Option<i64>,
}

/// Hashes stay out of logs and messages.
impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadow").field("expire", &self.expire).finish_non_exhaustive()
    }
}

impl Shadow {
    /// The entry of that account in the text of a shadow file.
    pub fn find(content: &str, name: &str) -> Option<Self> {
        let line = content.lines().find(|line| line.split(':').next() == Some(name))?;
        let fields: Vec<&str> = line.split(':').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
        Some(Self {
            password: fields.get(1).copied().unwrap_or_default().to_owned(),
            min: number(3),
            max: number(4),
            warn: number(5),
            inactive: number(6),
            expire: number(7),
        })
    }

    /// The entry of an account of this host; nothing if there is none or it may not be read.
    pub fn of(name: &str) -> Option<Self> {
        Self::find(&std::fs::read_to_string("/etc/shadow").ok()?, name)
    }

    /// Whether the password is locked.
    pub fn is_locked(&self) -> bool {
        self.password.starts_with('!')
    }
}

/// A setting of `/etc/login.defs`.
pub fn login_def(name: &str) -> Option<String> {
    let content = std::fs::read_to_string("/etc/login.defs").ok()?;
    content.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == name).then(|| words.next().map(str::to_owned))?
    })
}

/// The day `days` after 1970-01-01 as `YYYY-MM-DD`, for `useradd -e`.
pub fn date(days: i64) -> String {
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_entry() {
        let shadow = Shadow::find("a:!$6$x:19000:0:99999:7:::\nb:*:1:2:3:4:5:6:\n", "b").unwrap();
        assert_eq!((shadow.min, shadow.max, shadow.warn), (Some(2), Some(3), Some(4)));
        assert_eq!((shadow.inactive, shadow.expire), (Some(5), Some(6)));
        let locked = Shadow::find("a:!$6$x:19000:0:99999:7:::\n", "a").unwrap();
        assert!(locked.is_locked() && locked.expire.is_none());
        assert!(!format!("{locked:?}").contains("$6$"));
    }

    #[test]
    fn days_are_dates() {
        assert_eq!((date(0).as_str(), date(19_782).as_str()), ("1970-01-01", "2024-02-29"));
        assert_eq!(date(-1), "1969-12-31");
    }
}
