//! The hosts of a play, in order and in batches.

/// A size in `serial`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// So many hosts; 0 means all.
    Hosts(usize),
    /// So much of the play's hosts, in percent.
    Percent(f64),
}

impl Size {
    /// Reads `3`, `"3"` or `"30%"`.
    ///
    /// # Errors
    /// It is neither: a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`serial` takes a number or a percentage, got `{text}`");
        match text.trim().strip_suffix('%') {
            Some(number) => match number.trim().parse::<f64>() {
                Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(Self::Percent(percent)),
                _ => Err(wrong()),
            },
            None => text.trim().parse().map(Self::Hosts).map_err(|_| wrong()),
        }
    }

    /// Ansible rounds percentages down, but to no less than one host.
    fn of(self, total: usize) -> usize {
        match self {
            Self::Hosts(0) => total,
            Self::Hosts(count) => count.min(total),
            Self::Percent(percent) => ((total as f64 * percent / 100.0) as usize).clamp(1, total.max(1)),
        }
    }
}

/// Cuts hosts into batches of the given sizes, the last of which repeats. Without sizes there is one batch.
pub fn batches(hosts: &[String], sizes: &[Size]) -> Vec<Vec<String>> {
    let (mut rest, mut cut) = (hosts, Vec::new());
    let mut sizes = sizes.iter().copied();
    let mut size = sizes.next().unwrap_or(Size::Hosts(0));
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(size.of(hosts.len()).clamp(1, rest.len()));
        cut.push(batch.to_vec());
        rest = later;
        size = sizes.next().unwrap_or(size);
    }
    cut
}

/// `order` of a play.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// As in the inventory.
    #[default]
    Inventory,
    /// The other way round.
    ReverseInventory,
    /// By name.
    Sorted,
    /// By name, the other way round.
    ReverseSorted,
    /// Different each time.
    Shuffle,
}

impl Order {
    /// Reads the keyword's value.
    ///
    /// # Errors
    /// There is no such order: a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "inventory" => Self::Inventory,
            "reverse_inventory" => Self::ReverseInventory,
            "sorted" => Self::Sorted,
            "reverse_sorted" => Self::ReverseSorted,
            "shuffle" => Self::Shuffle,
            other => {
                return Err(format!(
                    "`order` is one of inventory, reverse_inventory, sorted, reverse_sorted, shuffle, got `{other}`"
                ));
            }
        })
    }
}

/// Puts hosts in order; `seed` decides a shuffle.
pub fn ordered(mut hosts: Vec<String>, order: Order, seed: u64) -> Vec<String> {
    match order {
        Order::Inventory => {}
        Order::ReverseInventory => hosts.reverse(),
        Order::Sorted => hosts.sort(),
        Order::ReverseSorted => hosts.sort_by(|one, other| other.cmp(one)),
        Order::Shuffle => {
            // xorshift64: no secret hangs on who comes first.
            let mut state = seed | 1;
            for index in (1..hosts.len()).rev() {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                hosts.swap(index, (state % (index as u64 + 1)) as usize);
            }
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("h{number}")).collect()
    }

    fn sizes(count: usize, texts: &[&str]) -> Vec<usize> {
        let sizes: Vec<Size> = texts.iter().map(|text| Size::parse(text).unwrap()).collect();
        batches(&hosts(count), &sizes).iter().map(Vec::len).collect()
    }

    #[test]
    fn batches_are_as_documented() {
        assert_eq!(sizes(5, &[]), [5]);
        assert_eq!(sizes(5, &["2"]), [2, 2, 1]);
        assert_eq!(sizes(10, &["1", "30%"]), [1, 3, 3, 3]);
        assert_eq!(sizes(3, &["10%"]), [1, 1, 1]);
        assert_eq!(sizes(4, &["0"]), [4]);
        assert_eq!(sizes(0, &["2"]), Vec::<usize>::new().as_slice());
        assert!(Size::parse("many").is_err() && Size::parse("-1").is_err() && Size::parse("nan%").is_err());
    }

    #[test]
    fn orders() {
        let names = vec!["b".to_owned(), "c".into(), "a".into()];
        assert_eq!(ordered(names.clone(), Order::ReverseInventory, 0), ["a", "c", "b"]);
        assert_eq!(ordered(names.clone(), Order::Sorted, 0), ["a", "b", "c"]);
        assert_eq!(ordered(names, Order::ReverseSorted, 0), ["c", "b", "a"]);
        let mut shuffled = ordered(hosts(20), Order::Shuffle, 42);
        assert_ne!(shuffled, hosts(20));
        shuffled.sort_by_key(|name| name[1..].parse::<u32>().unwrap());
        assert_eq!(shuffled, hosts(20));
    }
}
