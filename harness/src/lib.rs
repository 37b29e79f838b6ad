//! The rig: scenarios to cells, cells to guests, evidence to outcomes, outcomes to verdicts, verdicts to reports.
//!
//! The pure core ([`cell`], [`evidence`], [`outcome`], [`phase`]) knows nothing of processes or files; everything that
//! starts, reads or writes stands at the rim.

pub mod accel;
pub mod agreement;
pub mod artifacts;
pub mod bench;
pub mod boot;
pub mod cell;
pub mod channel;
pub mod classify;
pub mod cmdline;
pub mod cost;
pub mod durations;
mod elf;
pub mod evidence;
pub mod filter;
pub mod first_image;
pub mod gdb;
pub mod guest;
pub mod judge;
pub mod last_lines;
pub mod monitor;
pub mod outcome;
pub mod paging;
pub mod partition;
pub mod patience;
pub mod payload;
pub mod phase;
pub mod probe;
pub mod process;
pub mod pvh;
pub mod qemu;
pub mod qmp;
mod quote;
pub mod registers;
pub mod rejudge;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod scratch;
pub mod shell;
pub mod stop;
pub mod store_source;
pub mod triage;

#[cfg(test)]
mod testing;
