//! Numbers of hosts: a count or a share.

use std::fmt;

/// A count of hosts, or a percentage of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many of a hundred, 0 to 100.
    Percent(u32),
}

impl Amount {
    /// How many of `total` that is at most: percentages are rounded down.
    pub fn at_most(self, total: usize) -> usize {
        match self {
            Self::Count(count) => (count as usize).min(total),
            Self::Percent(percent) => total.saturating_mul(percent.min(100) as usize) / 100,
        }
    }

    /// How many of `total` make a wave: as [`Self::at_most`], and at least one (as Ansible's `serial`).
    pub fn wave(self, total: usize) -> usize {
        self.at_most(total).max(1)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(to, "{count}"),
            Self::Percent(percent) => write!(to, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_hosts() {
        assert_eq!(Amount::Percent(25).at_most(7), 1);
        assert_eq!(Amount::Percent(10).at_most(7), 0);
        assert_eq!(Amount::Percent(10).wave(7), 1);
        assert_eq!(Amount::Count(9).wave(7), 7);
        assert_eq!(Amount::Percent(100).wave(0), 1);
    }
}
