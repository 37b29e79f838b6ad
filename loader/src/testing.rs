//! Helpers of the unit tests.

use crate::addr::{PhysAddr, Span};

/// The span from `start` to `last`.
pub(crate) fn span(start: u64, last: u64) -> Span {
    Span::new(PhysAddr(start), PhysAddr(last)).unwrap()
}
