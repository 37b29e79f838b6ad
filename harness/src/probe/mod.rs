//! The probe: a tiny guest of our own whose time tells whether an accelerator works here, and how fast this host is.
//!
//! Everything less has misled: a /dev/kvm that opens, creates machines and runs firmware may still be far slower than TCG, or
//! hang. The guest ([`rom`]) needs no kernel and no firmware, and does in half a second what a kernel's early boot consists of.

mod look;
mod rom;
mod run;
mod speed;

pub use look::{Kvm, Probed, look};
pub use run::{Limits, Missed, probe};
pub use speed::{Calibration, REFERENCE, Speed, WORTH_TELLING};
