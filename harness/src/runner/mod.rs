//! Runs many cells: several guests at a time, each trial judged and recorded as it ends.

mod event;
mod options;

pub use event::{Conclusion, RunEvent, Summary, TrialId};
pub use options::Options;

use crate::artifacts::Artifacts;
use crate::cell::Cell;
use crate::stop::Stop;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// Why a run could not be done at all. What befalls a single guest is that cell's outcome, never this.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// QEMU cannot be used.
    #[error("{0}")]
    Qemu(String),
    /// The accelerator that was asked for does not work here.
    #[error("{0}")]
    Accel(String),
    /// The report folder cannot be used or written.
    #[error("{0}")]
    Report(String),
    /// The host lacks something that every guest needs.
    #[error("{0}")]
    Host(String),
}

/// Runs all cells and returns the counts. Events come as things happen; a receiver that is gone stops nothing.
pub async fn run(
    cells: Vec<Cell>,
    artifacts: Arc<Artifacts>,
    options: Options,
    events: UnboundedSender<RunEvent>,
    stop: Stop,
) -> Result<Summary, RunError> {
    let _ = (cells, artifacts, options, events, stop);
    Err(RunError::Host("running guests is not built yet".into()))
}
