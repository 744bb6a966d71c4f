//! MD5 of many short texts side by side (RFC 1321). Each of its steps waits for the one before, so that a processor that hashes one text at a time is
//! idle most of the time; libraries know of one at a time only, and `md5sums` wants thousands.

/// As `md5sums` has it (deb-md5sums(5)).
pub(super) type Sum = [u8; 16];

/// Texts at once: what one register of the least x86-64 holds, so that all of the state stays in registers.
const LANES: usize = 4;
const BLOCK: usize = 64;

/// A value of each lane.
type Lanes = [u32; LANES];

const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// By how much steps rotate, round by round.
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// 2³² times the absolute sine of the steps' numbers, which no floating-point unit gets wrong by so much.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// One text that is being hashed.
struct Lane<'a> {
    /// Which it is.
    number: usize,
    /// Its whole blocks that are left.
    left: &'a [[u8; BLOCK]],
    /// Its end, padded, in one block or two; and how many of them are left.
    end: [[u8; BLOCK]; 2],
    ends: usize,
}

impl<'a> Lane<'a> {
    fn new(number: usize, text: &'a [u8]) -> Self {
        let (left, rest) = text.as_chunks::<BLOCK>();
        let mut end = [[0; BLOCK]; 2];
        let ends = if rest.len() < BLOCK - 8 { 1 } else { 2 };
        let length = (text.len() as u64).wrapping_mul(8).to_le_bytes();
        let bytes = end.as_flattened_mut();
        let padded = rest.iter().chain(&[0x80]).zip(bytes.iter_mut());
        padded.for_each(|(from, to)| *to = *from);
        bytes.iter_mut().skip(ends * BLOCK - 8).zip(length).for_each(|(to, from)| *to = from);
        if ends == 1 {
            end.swap(0, 1);
        }
        Self { number, left, end, ends }
    }

    fn next(&mut self) -> Option<&[u8; BLOCK]> {
        if let Some((first, rest)) = self.left.split_first() {
            self.left = rest;
            return Some(first);
        }
        self.ends = self.ends.checked_sub(1)?;
        self.end.get(1 - self.ends)
    }

    fn is_over(&self) -> bool {
        self.left.is_empty() && self.ends == 0
    }
}

/// The sums of texts, in their order.
pub(super) fn md5(texts: &[&[u8]]) -> Vec<Sum> {
    let mut sums = vec![Sum::default(); texts.len()];
    let mut waiting = texts.iter().enumerate();
    let mut state = START.map(|word| [word; LANES]);
    let mut lanes: [Option<Lane<'_>>; LANES] = [const { None }; LANES];
    loop {
        let mut words = [[0; LANES]; 16];
        let mut idle = true;
        for (place, lane) in lanes.iter_mut().enumerate() {
            if lane.is_none()
                && let Some((number, text)) = waiting.next()
            {
                *lane = Some(Lane::new(number, text));
                state.iter_mut().zip(START).for_each(|(lanes, start)| lanes[place] = start);
            }
            let Some(block) = lane.as_mut().and_then(Lane::next) else { continue };
            idle = false;
            for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
                word[place] = u32::from_le_bytes(*bytes);
            }
        }
        if idle {
            return sums;
        }
        compress(&mut state, &words);
        for (place, lane) in lanes.iter_mut().enumerate() {
            let Some(over) = lane.take_if(|lane| lane.is_over()) else { continue };
            if let Some(sum) = sums.get_mut(over.number) {
                let words = state.iter().map(|lanes| lanes[place].to_le_bytes());
                sum.as_chunks_mut::<4>().0.iter_mut().zip(words).for_each(|(to, from)| *to = from);
            }
        }
    }
}

/// One step of one round.
#[inline(always)]
fn step(mix: impl Fn(u32, u32, u32) -> u32, [a, b, c, d]: [&Lanes; 4], word: &Lanes, number: usize) -> Lanes {
    let (sine, shift) = (SINES[number], SHIFTS[number / 16][number % 4]);
    std::array::from_fn(|lane| {
        let sum = a[lane].wrapping_add(mix(b[lane], c[lane], d[lane])).wrapping_add(sine);
        b[lane].wrapping_add(sum.wrapping_add(word[lane]).rotate_left(shift))
    })
}

/// One block of each lane.
fn compress(state: &mut [Lanes; 4], words: &[Lanes; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    // Written out: only what is known of each step beforehand becomes instructions for all lanes.
    macro_rules! steps {
        ($mix:expr, $round:literal, $factor:literal, $first:literal: $($number:literal)*) => {$(
            let word = &words[($factor * $number + $first) % 16];
            (a, d, c, b) = (d, c, b, step($mix, [&a, &b, &c, &d], word, 16 * $round + $number));
        )*};
    }
    steps!(|b, c, d| d ^ (b & (c ^ d)), 0, 1, 0: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    steps!(|b, c, d| c ^ (d & (b ^ c)), 1, 5, 1: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    steps!(|b, c, d| b ^ c ^ d, 2, 3, 5: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    steps!(|b, c, d| c ^ (b | !d), 3, 7, 0: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    for (lanes, new) in state.iter_mut().zip([a, b, c, d]) {
        lanes.iter_mut().zip(new).for_each(|(lane, new)| *lane = lane.wrapping_add(new));
    }
}

#[cfg(test)]
mod tests {
    use md5::{Digest as _, Md5};

    use super::*;

    /// As the library has it, whatever the lengths of those beside.
    #[test]
    fn sums_are_those_of_the_library() {
        let mut seed = 7_u64;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        // Around the ends of blocks one by one, and then anything.
        let mut lengths: Vec<usize> = (0..200).collect();
        lengths.extend((0..500).map(|_| random(5000)));
        lengths.extend([0, 0, 1 << 20, 0, 55, 56, 63, 64, 119, 120]);
        let texts: Vec<Vec<u8>> =
            lengths.iter().map(|length| (0..*length).map(|_| random(256) as u8).collect()).collect();
        let expected: Vec<Sum> = texts.iter().map(|text| Md5::digest(text).into()).collect();
        let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        assert_eq!(md5(&texts), expected);
        for count in 0..20 {
            assert_eq!(md5(&texts[40..40 + count]), expected[40..40 + count]);
        }
    }
}
