//! Sorting in few bytes.
//!
//! The standard library's sort is made anew for every type that is sorted, 4 KB each time, and the agent has to stay
//! small. Here one sort of indices serves all types.

use std::cmp::Ordering;

/// Stable sorting of slices, for what runs on hosts.
pub trait Order<T> {
    /// As [`slice::sort_by`].
    fn order_by(&mut self, compare: impl FnMut(&T, &T) -> Ordering);

    /// As [`slice::sort`].
    fn order(&mut self)
    where
        T: Ord,
    {
        self.order_by(T::cmp);
    }
}

impl<T> Order<T> for [T] {
    fn order_by(&mut self, mut compare: impl FnMut(&T, &T) -> Ordering) {
        let mut from = indices(self.len(), &mut |a, b| compare(&self[a], &self[b]));
        // Each cycle of the permutation is walked once; a place that has its item points to itself.
        for start in 0..from.len() {
            let mut place = start;
            while from[place] != start {
                let next = from[place];
                self.swap(place, next);
                from[place] = place;
                place = next;
            }
            from[place] = place;
        }
    }
}

/// The indices below `len` in the order that `compare` wants: a merge from the bottom up. The standard library's sort
/// panics where comparisons contradict each other, as those of values of different types may.
#[inline(never)]
fn indices(len: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut sorted: Vec<usize> = (0..len).collect();
    let mut width = 1;
    while width < len {
        let mut merged = Vec::with_capacity(len);
        for run in sorted.chunks(width.saturating_mul(2)) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let (Some(a), Some(b)) = (left.first(), right.first()) {
                // Of equals the left one comes first: it stood first.
                let side = if compare(*a, *b).is_gt() { &mut right } else { &mut left };
                if let Some((first, rest)) = side.split_first() {
                    merged.push(*first);
                    *side = rest;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        sorted = merged;
        width = width.saturating_mul(2);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_as_the_standard_library_does() {
        // A small generator of numbers: many repeats, so that stability shows.
        let mut seed = 7_u32;
        for length in [0, 1, 2, 3, 10, 100, 1000] {
            let mut items: Vec<(u32, usize)> = (0..length)
                .map(|at| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ((seed >> 16) % 40, at)
                })
                .collect();
            let mut sorted = items.clone();
            sorted.sort_by_key(|item| item.0);
            items.order_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(items, sorted);
        }
        // Comparisons that make no order: every item is still there once.
        let mut items: Vec<u32> = (0..500).collect();
        items.order_by(|a, b| (a * 7 % 5).cmp(&(b * 3 % 11)));
        items.order();
        assert_eq!(items, (0..500).collect::<Vec<_>>());
        let mut words = ["pear", "apple", "fig"].map(String::from);
        words.order();
        assert_eq!(words, ["apple", "fig", "pear"]);
    }
}
