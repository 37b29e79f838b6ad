//! Values out of a fuzzer's bytes. Where the bytes end, all values are zero, so that any input means something.

/// The bytes that are left.
pub(crate) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    /// Yes or no, one byte.
    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// One of some values, one byte.
    pub(crate) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::from(self.byte()) % values.len()]
    }

    /// A number of any size: a byte says how many bytes follow, and whether they are shifted to where addresses lie.
    pub(crate) fn number(&mut self) -> u64 {
        let form = self.byte();
        let value = (0..form % 9).fold(0u64, |value, _| value << 8 | u64::from(self.byte()));
        match form / 9 {
            0..=9 => value,
            10..=14 => value << 12,
            15..=19 => value << 20,
            20..=23 => (value << 28).wrapping_sub(1),
            _ => !value,
        }
    }

    /// A number, or nothing.
    pub(crate) fn maybe(&mut self) -> Option<u64> {
        self.flag().then(|| self.number())
    }

    /// A run of bytes with its length, of at most 255, in front.
    pub(crate) fn run(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (run, rest) = self.0.split_at(length);
        self.0 = rest;
        run
    }

    /// Whatever is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
