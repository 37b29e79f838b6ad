//! Looks for landmarks in a console that grows piece by piece, each byte about once, and for a kernel's last word. Pure.

use crate::classify::console::Landmark;

/// Bytes before a new piece that are looked at again, for words that arrive in two pieces.
const OVERLAP: usize = Landmark::LONGEST;

/// The landmarks in the console's last piece, in their order. `from` is where the console begins to count, `new` its length
/// before its last piece. One that lies in what is looked at again may be given twice.
pub(super) fn landmarks(console: &[u8], from: usize, new: usize) -> impl Iterator<Item = Landmark> {
    let begin = new.saturating_sub(OVERLAP).max(from);
    let piece = console.get(begin..).unwrap_or_default();
    Landmark::ALL.into_iter().filter(|landmark| landmark.is_in(piece))
}

/// What a kernel says that is to power off and cannot, as one without ACPI (Linux kernel/reboot.c, `kernel_halt`).
const HALTED: &[u8] = b"reboot: System halted";
/// The end of a console that is looked at: the word, and what a terminal gets behind it.
const LAST_WORDS: usize = 128;

/// Whether a kernel's last word is that it does nothing any more: nobody need wait for its machine to be off.
pub(super) fn has_halted(console: &[u8]) -> bool {
    let end = &console[console.len().saturating_sub(LAST_WORDS)..];
    end.windows(HALTED.len()).any(|words| words == HALTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where in `console`, given in pieces of `size`, each landmark is seen first.
    fn seen_at(console: &[u8], from: usize, size: usize) -> [Option<usize>; 3] {
        let mut seen = [None; 3];
        for new in (0..console.len()).step_by(size) {
            let end = console.len().min(new + size);
            for landmark in landmarks(&console[..end], from, new) {
                seen[landmark as usize].get_or_insert(end);
            }
        }
        seen
    }

    /// Bug: words that arrive in two pieces are missed, and the capture kernel is given the panic's deadline; or the first
    /// kernel's own first words count as the capture kernel's.
    #[test]
    fn words_in_pieces_are_seen() {
        let first: &[u8] = b"Linux version 5.10\r\n\xc3";
        let panic: &[u8] = b"Kernel panic - not syncing: NMI\r\n";
        // The second has no early console: what it gives up with is its first word.
        for words in
            ["early console in extract_kernel\r\n", "\n\nDestination address too large\n\n -- System halted"]
        {
            let console = [first, panic, &[b'x'; 200], b"\xc3", words.as_bytes()].concat();
            for size in 1..80 {
                let [panicked, decompressor, banner] = seen_at(&console, first.len(), size);
                assert!(panicked.is_some_and(|end| end > first.len()), "pieces of {size}: {panicked:?}");
                assert!(decompressor.is_some_and(|end| end > first.len() + panic.len() + 200), "{size}");
                assert_eq!(banner, None, "pieces of {size}");
            }
        }
    }

    /// Bug: each guest of a kernel that cannot power off takes the whole deadline of the power-off, or one that is on its way there, or whose
    /// first kernel said so once, is ended.
    #[test]
    fn a_kernel_that_has_halted_says_so_last() {
        assert!(has_halted(b"[    1.3] guest-agent: done\r\n[    1.360047] reboot: System halted\r\n"));
        assert!(!has_halted(b"[    1.360047] reboot: Power down\r\n"));
        assert!(!has_halted(&[b"reboot: System halted\r\n", &[b'x'; 200][..]].concat()));
        assert!(!has_halted(b""));
    }

    /// Bug: a kernel whose decompressor says its first words and then stalls, as under a KVM that hardly runs, counts as one
    /// that runs.
    #[test]
    fn the_decompressor_is_not_the_kernel() {
        let decompressor = "early console in extract_kernel\r\nDecompressing Linux... ";
        let whole = format!("{decompressor}Parsing ELF... done.\r\n[    0.000000] Linux version 6.1.0-1\r\n");
        for size in 1..80 {
            assert_eq!(seen_at(decompressor.as_bytes(), 0, size)[Landmark::Banner as usize], None);
            assert!(
                seen_at(whole.as_bytes(), 0, size)[Landmark::Banner as usize].is_some(),
                "pieces of {size}"
            );
        }
    }
}
