//! The symbols that a kernel carries for its own use (CONFIG_KALLSYMS), read out of its image: distributions ship System.map as a
//! stub, and an image has no ELF symbols.
//!
//! The tables have no header and no symbol that leads to them. They are found by what they must look like, and every step is
//! checked against the next. Their layout is what scripts/kallsyms.c of the kernel's build writes, and kernel/kallsyms.c reads:
//!
//! ```text
//! up to 6.3   offsets, relative_base, num_syms, names, markers, (seqs_of_names,) token_table, token_index
//! from 6.4    num_syms, names, markers, token_table, token_index, offsets, relative_base
//! ```
//!
//! Each begins at a multiple of the word's size. (`seqs_of_names` came with 6.2, and into later releases of 6.1.)

use crate::triage::vmlinux::Word;

/// Tokens: a byte of a compressed name stands for one of so many strings.
const TOKENS: usize = 256;
/// Each so many symbols there is a marker.
const MARKER_EVERY: usize = 256;
/// Longest token table: 256 tokens, of which few have more than ten bytes.
const LONGEST_TOKENS: usize = 16 << 10;
/// Fewer, or more, symbols than any kernel has that runs here.
const FEWEST: usize = 5_000;
const MOST: usize = 4_000_000;
/// Bytes from one marker to the next: of 256 names of two bytes and more.
const MARKER_STEP: std::ops::RangeInclusive<usize> = 512..=512 * MARKER_EVERY;
/// Most bytes from the markers to the token table: markers, and three bytes a symbol in those releases that have such a table.
const LARGEST_BETWEEN: usize = 4 << 20;
/// Most bytes of names; a distribution's kernel has two to three millions.
const LARGEST_NAMES: usize = 32 << 20;
/// From here on an address is a kernel's: 0xc0000000 with i386, the top 2 GiB with x86_64.
const LOWEST_32: u64 = 0x4000_0000;
const LOWEST_64: u64 = 0xffff_ffff_8000_0000;

/// A kernel's symbols, by link-time address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kallsyms {
    /// Address and name of functions and data in text sections, ascending.
    pub(super) symbols: Vec<(u64, String)>,
}

impl Kallsyms {
    /// Finds the tables in a kernel's uncompressed image; none where they are not there, or of a layout that is not known.
    pub fn find(image: &[u8], word: Word) -> Option<Self> {
        digits(image).find_map(|zero| Tables::read_around(image, word, zero))
    }

    /// The function that holds this link-time address, and how far behind its beginning that is.
    pub fn at(&self, address: u64) -> Option<(&str, u64)> {
        let next = self.symbols.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.symbols.get(next.checked_sub(1)?)?;
        // Of several names for one place, those of the linker's own begin with an underscore.
        let same = self.symbols[..next].iter().rev().take_while(|(other, _)| other == start);
        let name = same.map(|(_, name)| name).find(|name| !name.starts_with('_')).unwrap_or(name);
        // Behind the last symbol there is no function that it could be.
        (next < self.symbols.len()).then_some((name, address - start))
    }

    /// The link-time address of a symbol.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.symbols.iter().find(|(_, known)| known == name).map(|(address, _)| *address)
    }
}

/// Places where ten strings of a digit each follow each other: the tokens of the digits stand for themselves.
fn digits(image: &[u8]) -> impl Iterator<Item = usize> {
    const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";
    let mut from = 0;
    std::iter::from_fn(move || {
        // A scan for one byte is fast, and this one is rare enough.
        while let Some(at) = image.get(from..)?.iter().position(|&byte| byte == b'0') {
            let at = from + at;
            from = at + 1;
            if image[at..].starts_with(DIGITS) {
                return Some(at);
            }
        }
        from = image.len();
        None
    })
}

/// Where the tables lie.
struct Tables<'a> {
    image: &'a [u8],
    word: Word,
    /// The token strings.
    tokens: &'a [&'a [u8]],
    /// Number of symbols.
    count: usize,
    names: usize,
    /// Of each symbol, relative to `base`.
    offsets: usize,
    base: u64,
}

impl Tables<'_> {
    /// Reads the tables around a token table that has the digit 0 at `zero`.
    fn read_around(image: &[u8], word: Word, zero: usize) -> Option<Kallsyms> {
        let (table, index) = token_table(image, zero)?;
        let tokens: Vec<&[u8]> = (0..TOKENS)
            .map(|token| string(image, table + u16_at(image, index + 2 * token)?))
            .collect::<Option<_>>()?;
        let (count_at, names, count) =
            markers(image, table).find_map(|(end, markers)| names(image, word, end, &markers))?;
        // Behind the tokens, or else in front of all.
        let behind = word.align(word.align(index + 2 * TOKENS) + 4 * count);
        let front = count_at.checked_sub(word.size());
        let places = [
            Some((word.align(index + 2 * TOKENS), behind)),
            front.and_then(|base| Some((word.align_down(base.checked_sub(4 * count)?), base))),
        ];
        places.into_iter().flatten().find_map(|(offsets, base_at)| {
            let base = word.read(image, base_at).filter(|base| is_base(word, *base))?;
            Tables { image, word, tokens: &tokens, count, names, offsets, base }.read()
        })
    }

    fn read(&self) -> Option<Kallsyms> {
        let mut symbols = Vec::new();
        let mut at = self.names;
        for number in 0..self.count {
            let (length, begin) = name_length(self.image, at)?;
            let name: Vec<u8> = self
                .image
                .get(begin..begin + length)?
                .iter()
                .flat_map(|&token| self.tokens[usize::from(token)].iter().copied())
                .collect();
            at = begin + length;
            let offset = u32_at(self.image, self.offsets + 4 * number)?;
            let address = match (self.word, offset as i32) {
                // CONFIG_KALLSYMS_ABSOLUTE_PERCPU: what is not negative is an absolute value, such as a per-CPU offset.
                (Word::Bits64, 0..) => continue,
                (Word::Bits64, negative) => {
                    self.base.wrapping_sub(1).wrapping_sub(i64::from(negative) as u64)
                }
                (Word::Bits32, _) => self.base.wrapping_add(u64::from(offset)),
            };
            // The first letter is the kind, as nm prints it: t and T, w and W are code.
            if let Some((b't' | b'T' | b'w' | b'W', name)) = name.split_first() {
                symbols.push((address, String::from_utf8_lossy(name).into_owned()));
            }
        }
        // The build sorts them. Anything else was taken for tables that it is not.
        let sorted = symbols.is_sorted_by_key(|(address, _)| *address);
        (sorted && symbols.len() >= FEWEST / 2).then_some(Kallsyms { symbols })
    }
}

/// Begin of the token table with the digit 0 at `zero`, and of its index behind it: each token's offset, in 16 bits.
fn token_table(image: &[u8], zero: usize) -> Option<(usize, usize)> {
    // From the digit on the strings are plain to see; where those before it begin, the index tells.
    let mut begins = Vec::with_capacity(TOKENS);
    let mut at = zero;
    for _ in usize::from(b'0')..TOKENS {
        begins.push(at);
        at += string(image, at)?.len() + 1;
    }
    (at..at + 8).find_map(|index| {
        let table = zero.checked_sub(u16_at(image, index + 2 * usize::from(b'0'))?)?;
        let mut offsets = (usize::from(b'0')..TOKENS).map(|token| u16_at(image, index + 2 * token));
        let all = begins.iter().all(|begin| offsets.next().flatten() == Some(begin - table));
        (all && u16_at(image, index) == Some(0)).then_some((table, index))
    })
}

/// Arrays in front of the token table that may be the markers, nearest first: where each begins, and what stands in it.
fn markers(image: &[u8], table: usize) -> impl Iterator<Item = (usize, Vec<usize>)> {
    let farthest = table.saturating_sub(LARGEST_BETWEEN);
    (farthest..table & !3).rev().filter(|at| at % 4 == 0).filter_map(move |at| {
        let numbers = (at..table).step_by(4).map_while(|at| Some(u32_at(image, at)? as usize));
        let mut markers: Vec<usize> = Vec::new();
        for number in numbers {
            match markers.last() {
                None if number == 0 => markers.push(number),
                Some(last) if number.checked_sub(*last).is_some_and(|step| MARKER_STEP.contains(&step)) => {
                    markers.push(number);
                }
                _ => break,
            }
        }
        (markers.len() >= FEWEST / MARKER_EVERY).then_some((at, markers))
    })
}

/// Where the number of symbols stands, where the names begin, and the number. They end at or just before `end`, where the markers begin.
fn names(image: &[u8], word: Word, end: usize, markers: &[usize]) -> Option<(usize, usize, usize)> {
    let lowest = end.saturating_sub(LARGEST_NAMES);
    let mut at = word.align_down(end);
    while at > lowest {
        at -= word.size();
        let count = u32_at(image, at)? as usize;
        // What follows the markers may look like some more of them.
        let needed = count.div_ceil(MARKER_EVERY);
        let names = at + word.size();
        let fits = (FEWEST..MOST).contains(&count) && needed <= markers.len();
        if fits && markers_match(image, names, &markers[..needed]) {
            return Some((at, names, count));
        }
    }
    None
}

/// Whether each marker is where its symbol's name lies.
fn markers_match(image: &[u8], names: usize, markers: &[usize]) -> bool {
    let mut at = names;
    for pair in markers.windows(2) {
        for _ in 0..MARKER_EVERY {
            let Some((length, begin)) = name_length(image, at) else { return false };
            at = begin + length;
        }
        if at - names != pair[1] {
            return false;
        }
    }
    true
}

/// Length of the name at `at`, and where its tokens begin. Two bytes from 128 on (since 6.1).
fn name_length(image: &[u8], at: usize) -> Option<(usize, usize)> {
    match usize::from(*image.get(at)?) {
        short @ ..0x80 => Some((short, at + 1)),
        low => Some((low & 0x7f | usize::from(*image.get(at + 1)?) << 7, at + 2)),
    }
}

fn is_base(word: Word, base: u64) -> bool {
    match word {
        Word::Bits64 => base >= LOWEST_64,
        Word::Bits32 => base >= LOWEST_32,
    }
}

fn string(image: &[u8], at: usize) -> Option<&[u8]> {
    let rest = image.get(at..at + LONGEST_TOKENS.min(image.len().checked_sub(at)?))?;
    rest.iter().position(|&byte| byte == 0).map(|end| &rest[..end])
}

fn u16_at(image: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?)))
}

fn u32_at(image: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 6000;

    /// In which order a release has the tables.
    #[derive(Clone, Copy, Debug)]
    enum Layout {
        /// Up to 6.1.
        Front,
        /// With a table of three bytes a symbol behind the markers.
        FrontWithSequence,
        /// From 6.4 on.
        Behind,
    }

    /// An image with the tables of [`COUNT`] functions of 16 bytes each, the first at `base`, behind what looks almost like tables.
    fn image(word: Word, layout: Layout, base: u64) -> Vec<u8> {
        let mut names = Vec::new();
        let mut offsets = Vec::new();
        let mut markers = Vec::new();
        for number in 0..COUNT {
            if number % MARKER_EVERY == 0 {
                markers.extend((names.len() as u32).to_le_bytes());
            }
            // Token 1 stands for "function_"; the second symbol has a long name, whose length takes two bytes.
            let mut name = if number == 1 { vec![b'l'; 200] } else { format!("\u{1}{number}").into_bytes() };
            name.insert(0, b't');
            if name.len() >= 0x80 {
                names.push(name.len() as u8 | 0x80);
                names.push((name.len() >> 7) as u8);
            } else {
                names.push(name.len() as u8);
            }
            names.extend(&name);
            let offset = (16 * number) as u32;
            offsets.extend(match word {
                Word::Bits64 => (!offset).to_le_bytes(),
                Word::Bits32 => offset.to_le_bytes(),
            });
        }
        let mut tokens = Vec::new();
        let mut index = Vec::new();
        for token in 0..=255u8 {
            index.extend((tokens.len() as u16).to_le_bytes());
            match token {
                1 => tokens.extend(b"function_"),
                b'!'..=b'~' => tokens.push(token),
                _ => {}
            }
            tokens.push(0);
        }
        let base = base.to_le_bytes()[..word.size()].to_vec();
        let count = (COUNT as u32).to_le_bytes().to_vec();
        let sequence = vec![7; 3 * COUNT];
        let order: &[&[u8]] = match layout {
            Layout::Front => &[&offsets, &base, &count, &names, &markers, &tokens, &index],
            Layout::FrontWithSequence => {
                &[&offsets, &base, &count, &names, &markers, &sequence, &tokens, &index]
            }
            Layout::Behind => &[&count, &names, &markers, &tokens, &index, &offsets, &base],
        };
        let mut image = b"\x7fELF0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00 no tables".to_vec();
        for table in order {
            image.resize(word.align(image.len()), 0);
            image.extend(*table);
        }
        // Behind them lies something else, which could be taken for addresses.
        image.extend((0..64u32 << 10).map(|number| (number.wrapping_mul(0x9e37_79b1) >> 24) as u8 | 0x40));
        image
    }

    /// Bug: a layout is read as another one, whose addresses are then nonsense (seen: offsets of an i386 kernel were taken from
    /// behind the tokens, where they are in newer ones).
    #[test]
    fn every_layout_is_read() {
        for (word, base) in [(Word::Bits64, 0xffff_ffff_8100_0000), (Word::Bits32, 0xc100_0000)] {
            for layout in [Layout::Front, Layout::FrontWithSequence, Layout::Behind] {
                let found = Kallsyms::find(&image(word, layout, base), word);
                let found = found.unwrap_or_else(|| panic!("no symbols in {word:?} {layout:?}"));
                assert_eq!(found.at(base + 16 * 4711 + 5), Some(("function_4711", 5)), "{word:?} {layout:?}");
                assert_eq!(found.address("function_2"), Some(base + 32));
                assert_eq!(found.at(base + 20).map(|(name, _)| name.len()), Some(200));
                assert_eq!(found.at(base - 1), None);
            }
        }
    }

    /// Bug: damage in an image, or an image without the tables, ends the rig or gives wrong names.
    #[test]
    fn what_is_not_whole_is_not_read() {
        let whole = image(Word::Bits64, Layout::Front, 0xffff_ffff_8100_0000);
        for length in [0, 10, 100, whole.len() / 3, whole.len() / 2, whole.len() - (64 << 10) - 100] {
            assert_eq!(Kallsyms::find(&whole[..length], Word::Bits64), None, "{length}");
        }
        assert_eq!(Kallsyms::find(&vec![0; 1 << 20], Word::Bits64), None);
    }

    /// Bug: a function's alias for the linker hides its name.
    #[test]
    fn of_names_for_one_place_the_functions_own_is_told() {
        let symbols =
            ["_text", "__cpuidle_text_start", "default_idle", "__pfx_x"].map(|name| (0x10, name.to_owned()));
        let symbols = symbols.into_iter().chain([(0x40, "next".to_owned())]).collect();
        assert_eq!(Kallsyms { symbols }.at(0x14), Some(("default_idle", 4)));
    }
}
