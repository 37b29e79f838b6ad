//! The rig: scenarios to cells, cells to guests, evidence to outcomes, outcomes to verdicts, verdicts to reports.
//!
//! The pure core ([`cell`], [`evidence`], [`outcome`], [`phase`]) knows nothing of processes or files; everything that
//! starts, reads or writes stands at the rim.

pub mod cell;
pub mod evidence;
pub mod outcome;
pub mod phase;
