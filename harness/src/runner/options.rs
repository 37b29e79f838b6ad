//! How a run is to be done: values that the command line fills in.

use crate::accel::AccelChoice;
use crate::guest::Deadlines;
use crate::partition::PartOfPlan;
use std::num::NonZeroU32;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// How a run is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Guests at a time; none: as many as there are CPUs. Memory may allow fewer, which is told.
    pub jobs: Option<NonZeroUsize>,
    /// The accelerator.
    pub accel: AccelChoice,
    /// Further attempts for a trial that was not as expected. Every attempt is listed; passing at a later one is *flaky*.
    pub retries: u32,
    /// Boot every guest from power-on, by its bzImage. Else cells that need the same boot start from its saved state, where that
    /// is faster.
    pub fresh: bool,
    /// How often each cell is run.
    pub repeat: NonZeroU32,
    /// Start nothing more after the first trial that fails.
    pub fail_fast: bool,
    /// Where results and evidence go. An earlier report there is kept as `DIR.old`, or continued.
    pub report: PathBuf,
    /// Continue the report that is there: what has a result in it is not run again, unless that was an error.
    pub resume: bool,
    /// The QEMU to use: a path, or a name on PATH.
    pub qemu: PathBuf,
    /// Run a cell once more, verbosely, whose guest hung or was reset unexpectedly.
    pub verbose: bool,
    /// Dump the memory of guests that do not end as expected into their evidence.
    pub dump: bool,
    /// How long each phase may take.
    pub deadlines: Deadlines,
    /// The part of a whole plan that the cells are; none where they are all.
    pub part: Option<PartOfPlan>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            jobs: None,
            accel: AccelChoice::Auto,
            retries: 0,
            fresh: false,
            repeat: NonZeroU32::MIN,
            fail_fast: false,
            report: PathBuf::from("target/e2e/latest"),
            resume: false,
            // The x86_64 binary runs i386 kernels as well, on the same machine types.
            qemu: PathBuf::from("qemu-system-x86_64"),
            verbose: true,
            dump: false,
            deadlines: Deadlines::default(),
            part: None,
        }
    }
}
