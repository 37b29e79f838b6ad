//! One guest: from a stopped machine to its evidence.

mod deadlines;

pub use deadlines::Deadlines;
