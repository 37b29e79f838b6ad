//! Result files and evidence folders of a run.

mod record;

pub use record::{AttemptRecord, CellResult, Versions};
