//! Which hosts come when.

use debark_project::Amount;

/// Hosts in waves. As with `serial` of plays, the last size is that of all further waves, and a wave has one host at least.
/// Without sizes there is one wave.
pub fn waves(hosts: &[String], sizes: &[Amount]) -> Vec<Vec<String>> {
    let (mut rest, mut waves) = (hosts, Vec::new());
    let mut sizes = sizes.iter().copied();
    let mut size = None;
    while !rest.is_empty() {
        size = sizes.next().or(size);
        let length = size.map_or(rest.len(), |size: Amount| size.wave(hosts.len())).clamp(1, rest.len());
        let (wave, others) = rest.split_at(length);
        waves.push(wave.to_vec());
        rest = others;
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_size_repeats_and_no_wave_is_empty() {
        let hosts: Vec<String> = (1..=10).map(|number| format!("h{number}")).collect();
        let lengths = |sizes: &[Amount]| waves(&hosts, sizes).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(&[]), [10]);
        assert_eq!(lengths(&[Amount::Count(1), Amount::Percent(40)]), [1, 4, 4, 1]);
        assert_eq!(lengths(&[Amount::Percent(1), Amount::Count(100)]), [1, 9]);
        assert_eq!(lengths(&[Amount::Count(0)]), [1; 10]);
        assert!(waves(&[], &[Amount::Count(1)]).is_empty());
    }
}
