//! Inputs for who has no coverage to go by: pieces of the corpus, changed at random. The same seed gives the same inputs.

use crate::Body;

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }
}

/// Longest input. The largest real one, /proc/iomem, has some KiB on a small machine.
const LONGEST: usize = 8 << 10;

/// Makes an input out of some of the corpus.
pub fn input(body: &Body, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = match corpus {
        [_, ..] if random.below(8) > 0 => corpus[random.below(corpus.len())].clone(),
        _ => (0..random.below(512)).map(|_| random.number() as u8).collect(),
    };
    for _ in 0..1 + random.below(8) {
        change(body, corpus, &mut bytes, random);
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Changes something.
fn change(body: &Body, corpus: &[Vec<u8>], bytes: &mut Vec<u8>, random: &mut Random) {
    /// Bytes and numbers at which something ends.
    const EDGES: [u64; 12] =
        [0, 1, 0x7f, 0x80, 0xff, 0xfff, 0x1000, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];
    let length = bytes.len();
    let at = random.below(length + 1);
    let until = at + random.below((length - at).min(64) + 1);
    match random.below(8) {
        0 if at < length => bytes[at] ^= 1 << random.below(8),
        1 if at < length => bytes[at] = random.number() as u8,
        2 => drop(bytes.drain(at..until)),
        3 => {
            let piece = bytes[at..until].to_vec();
            let to = random.below(length + 1);
            drop(bytes.splice(to..to, piece));
        }
        4 => {
            let width = 1 << random.below(4);
            let edge = EDGES[random.below(EDGES.len())].wrapping_add(random.below(3) as u64).to_le_bytes();
            for (byte, new) in bytes[at..].iter_mut().zip(&edge[..width]) {
                *byte = *new;
            }
        }
        5 if !body.words.is_empty() => {
            let word = body.words[random.below(body.words.len())].bytes();
            drop(bytes.splice(at..at, word));
        }
        6 if !corpus.is_empty() => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => drop(bytes.splice(at..until, [random.number() as u8])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches inputs that another run cannot make again, and a maker that makes few.
    #[test]
    fn a_seed_is_as_good_as_its_inputs() {
        let corpus = [b"0-3 : System RAM\n".to_vec(), b"abc".to_vec()];
        let some = |seed| {
            let mut random = Random(seed);
            (0..500).map(|_| input(&crate::ALL[1], &corpus, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(some(1), some(1));
        assert_ne!(some(1), some(2));
        let mut different = some(1);
        different.sort();
        different.dedup();
        assert!(different.len() > 400, "{}", different.len());
    }
}
