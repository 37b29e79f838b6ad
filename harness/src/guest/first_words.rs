//! Looks for kernels' first words in a console that grows piece by piece, each byte about once. Pure.

use crate::classify::console::kernel_started;

/// First words of the kernel proper (init/version.c).
const BANNER: &[u8] = b"Linux version ";
/// Bytes before a new piece that are looked at again, for words that arrive in two pieces. At least the longest that a kernel
/// is known by, less one byte: they have 14 to 19.
const OVERLAP: usize = 64;

/// Whether a kernel has begun to speak since the trigger. `from` is the console's length at the trigger, `new` its length
/// before its last piece.
pub(super) fn started_after_trigger(console: &[u8], from: usize, new: usize) -> bool {
    kernel_started(with_overlap(console, from, new))
}

/// Whether the kernel proper has begun to speak. `new` is the console's length before its last piece.
pub(super) fn banner(console: &[u8], new: usize) -> bool {
    with_overlap(console, 0, new).windows(BANNER.len()).any(|bytes| bytes == BANNER)
}

/// The last piece with what words in it may have begun in, but nothing before `from`.
fn with_overlap(console: &[u8], from: usize, new: usize) -> &[u8] {
    let begin = new.saturating_sub(OVERLAP).max(from);
    console.get(begin..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where in `console`, given in pieces of `size`, `seen` says yes first.
    fn seen_at(console: &[u8], size: usize, seen: impl Fn(&[u8], usize) -> bool) -> Option<usize> {
        let ends = (0..console.len()).step_by(size).map(|new| (new, console.len().min(new + size)));
        ends.into_iter().find(|&(new, end)| seen(&console[..end], new)).map(|(_, end)| end)
    }

    /// Bug: words that arrive in two pieces are missed, and the capture kernel is given the panic's deadline.
    #[test]
    fn words_in_pieces_are_seen() {
        let first: &[u8] = b"Linux version 5.10\r\npanic\xc3";
        let console = [first, &[b'x'; 200], b"\xc3early console in extract_kernel\r\n"].concat();
        for size in 1..80 {
            let end = seen_at(&console, size, |seen, new| {
                seen.len() > first.len() && started_after_trigger(seen, first.len(), new)
            });
            assert!(end.is_some_and(|end| end > first.len() + 200), "pieces of {size}: {end:?}");
        }
    }

    /// Bug: a kernel whose decompressor says its first words and then stalls, as under a KVM that hardly runs, counts as one
    /// that runs.
    #[test]
    fn the_decompressor_is_not_the_kernel() {
        let decompressor = "early console in extract_kernel\r\nDecompressing Linux... ";
        let whole = format!("{decompressor}Parsing ELF... done.\r\n[    0.000000] Linux version 6.1.0-1\r\n");
        for size in 1..80 {
            assert_eq!(seen_at(decompressor.as_bytes(), size, banner), None);
            assert!(seen_at(whole.as_bytes(), size, banner).is_some(), "pieces of {size}");
        }
    }
}
