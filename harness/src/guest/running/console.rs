//! Keeps the console within bounds: a kernel that prints for ever must not fill the host's memory. What is left out is from the middle,
//! for a guest's beginning and its last words tell the most. Pure.

use crate::evidence::Evidence;

/// Most that is kept. A boot prints 50 KB.
const MOST: usize = 16 << 20;
/// What is kept of the beginning.
const HEAD: usize = 4 << 20;
/// What is left out at a time: much, so that the rest is seldom moved.
const PIECE: usize = 4 << 20;

/// Leaves out a piece of the middle when the console is full; gives its length, or 0.
pub(super) fn make_room(evidence: &mut Evidence) -> usize {
    if evidence.console.len() < MOST {
        return 0;
    }
    evidence.console.drain(HEAD..HEAD + PIECE);
    // What was in the piece is now where the piece was.
    evidence.console_at_trigger =
        evidence.console_at_trigger.map(|at| if at < HEAD { at } else { at.saturating_sub(PIECE).max(HEAD) });
    PIECE
}

/// What people are told of it.
pub(super) fn note(left_out: usize) -> Option<String> {
    (left_out > 0).then(|| {
        format!(
            "the console was too long: {} MiB are left out after its first {} MiB",
            left_out >> 20,
            HEAD >> 20
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: of a guest that printed without end its last words are missing, or those after the trigger are taken for those before it.
    #[test]
    fn beginning_and_end_are_kept() {
        let text = |length: usize| (0..length / 8).flat_map(|number| (number as u64).to_le_bytes());
        for (at, moved) in [(0, 0), (HEAD - 8, HEAD - 8), (HEAD + 8, HEAD), (MOST - 8, MOST - 8 - PIECE)] {
            let mut evidence = Evidence {
                console: text(MOST).collect(),
                console_at_trigger: Some(at),
                ..Evidence::default()
            };
            let word = |evidence: &Evidence, at: usize| evidence.console[at..at + 8].to_vec();
            let (first, last) = (word(&evidence, HEAD - 8), word(&evidence, MOST - 8));
            assert_eq!(make_room(&mut evidence), PIECE);
            assert_eq!(evidence.console_at_trigger, Some(moved));
            assert_eq!((word(&evidence, HEAD - 8), word(&evidence, MOST - PIECE - 8)), (first, last));
            assert_eq!(make_room(&mut evidence), 0);
        }
        assert!(note(0).is_none() && note(PIECE).is_some_and(|note| note.contains("4 MiB are left out")));
    }
}
