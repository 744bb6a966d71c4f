//! Random numbers; from a seed the same ones as Python's `random` makes of it, so that `60 | random(seed=inventory_hostname)`
//! stays what it was under Ansible.

use sha2::{Digest, Sha512};

const WORDS: usize = 624;

/// The Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998). All its places are taken below [`WORDS`], the length of
/// its state.
pub struct Dice {
    state: Vec<u32>,
    at: usize,
}

impl Dice {
    /// As `random.Random(seed)` of a text.
    pub fn of_text(seed: &str) -> Self {
        let mut bytes = seed.as_bytes().to_vec();
        bytes.extend_from_slice(&Sha512::digest(seed.as_bytes()));
        // The words of one large number, the lowest first.
        let words =
            bytes.rchunks(4).map(|chunk| chunk.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)));
        Self::of_words(&words.collect::<Vec<_>>())
    }

    /// As `random.Random(seed)` of a whole number.
    pub fn of_number(seed: i64) -> Self {
        let seed = seed.unsigned_abs();
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        Self::of_words(&[low, high])
    }

    /// Unpredictable.
    pub fn unseeded() -> Self {
        use std::hash::{BuildHasher, Hasher};
        Self::of_number(std::hash::RandomState::new().build_hasher().finish() as i64)
    }

    fn of_words(key: &[u32]) -> Self {
        let key: &[u32] = match key.iter().rposition(|word| *word != 0) {
            Some(last) => key.get(..=last).unwrap_or(key),
            None => &[0],
        };
        let mut state = vec![19_650_218u32; WORDS];
        for at in 1..WORDS {
            let before = state[at - 1];
            state[at] = (before ^ before >> 30).wrapping_mul(1_812_433_253).wrapping_add(at as u32);
        }
        let mut at = 1;
        let mut mix = |state: &mut Vec<u32>, factor: u32, add: u32| {
            let before = state[at - 1];
            state[at] = (state[at] ^ (before ^ before >> 30).wrapping_mul(factor)).wrapping_add(add);
            at += 1;
            if at == WORDS {
                state[0] = state[WORDS - 1];
                at = 1;
            }
            at as u32
        };
        let mut place = 1;
        for (nth, word) in key.iter().enumerate().cycle().take(WORDS.max(key.len())) {
            place = mix(&mut state, 1_664_525, word.wrapping_add(nth as u32));
        }
        for _ in 1..WORDS {
            place = mix(&mut state, 1_566_083_941, place.wrapping_neg());
        }
        state[0] = 1 << 31;
        Self { state, at: WORDS }
    }

    fn next(&mut self) -> u32 {
        if self.at >= WORDS {
            for at in 0..WORDS {
                let joined = self.state[at] & 1 << 31 | self.state[(at + 1) % WORDS] & !(1 << 31);
                let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[at] = self.state[(at + 397) % WORDS] ^ joined >> 1 ^ odd;
            }
            self.at = 0;
        }
        let mut word = self.state[self.at];
        self.at += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// As `randrange(limit)`; 0 below a limit of 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let bits = 64 - limit.leading_zeros();
        if limit <= 1 && bits == 0 {
            return 0;
        }
        loop {
            let number = if bits <= 32 {
                u64::from(self.next() >> (32 - bits))
            } else {
                u64::from(self.next()) | u64::from(self.next() >> (64 - bits)) << 32
            };
            if number < limit {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_python() {
        // random.Random('web1').randrange(60), and so on.
        assert_eq!(Dice::of_text("web1").below(60), 52);
        assert_eq!(Dice::of_number(42).below(100), 81);
        let mut dice = Dice::of_text("y");
        let mut items = [1, 2, 3, 4, 5];
        for at in (1..items.len()).rev() {
            items.swap(at, dice.below(at as u64 + 1) as usize);
        }
        assert_eq!(items, [5, 1, 4, 3, 2]);
        assert_eq!(Dice::unseeded().below(0), 0);
        assert_eq!(Dice::unseeded().below(1), 0);
        assert_eq!(Dice::of_number(-7).below(u64::MAX), 17_485_029_721_327_973_432);
        assert_eq!(Dice::of_number((1 << 40) + 5).below(1000), 516);
    }
}
