//! What must come of faults, in the words of the list.

use crate::exit::Exit;
use crate::faults::judge::{Expected, Fate};
use harness::outcome::{OutcomeKind, Verdict};

/// Both cells as if nothing were.
pub(super) const UNNOTICED: Expected = Expected {
    exit: Some(Exit::AsExpected),
    faulted: Fate::Pass,
    control: Fate::Pass,
    says: &[],
    peak_mib: None,
};

/// The faulted cell is in error, with this in its words; the control is as it should be.
pub(super) const fn error(words: &'static str) -> Expected {
    let faulted = Fate::Ends { verdict: Verdict::Error, outcome: OutcomeKind::RigError, words };
    Expected { exit: Some(Exit::RigFailed), faulted, ..UNNOTICED }
}

/// The loader of the faulted cell has failed, with this in its words.
pub(super) const fn load_failed(words: &'static str) -> Expected {
    let faulted = Fate::Ends { verdict: Verdict::Fail, outcome: OutcomeKind::LoadFailed, words };
    Expected { exit: Some(Exit::NotAsExpected), faulted, ..UNNOTICED }
}

/// No cell is run, and this is said.
pub(super) const fn not_run(exit: Exit, says: &'static [&'static str]) -> Expected {
    Expected { exit: Some(exit), faulted: Fate::NoResult, control: Fate::NoResult, says, peak_mib: None }
}

pub(super) const fn says(expected: Expected, says: &'static [&'static str]) -> Expected {
    Expected { says, ..expected }
}

/// The rig needs no more memory than this, in MiB, whatever is poured into it; 70 are the guests' files.
const BOUNDED: Option<u64> = Some(160);

pub(super) const fn bounded(expected: Expected) -> Expected {
    Expected { peak_mib: BOUNDED, ..expected }
}

/// The rig ends what runs: the faulted cell was interrupted, and the control had its result before.
pub(super) const INTERRUPTED: Expected = Expected {
    exit: Some(Exit::Interrupted),
    faulted: Fate::Ends { verdict: Verdict::Error, outcome: OutcomeKind::RigError, words: "interrupted" },
    ..UNNOTICED
};

/// The faulted cell hangs in this phase, and that is no pass.
pub(super) const fn hung(phase: &'static str) -> Expected {
    let faulted = Fate::Ends { verdict: Verdict::Fail, outcome: OutcomeKind::Hung, words: phase };
    Expected { exit: Some(Exit::NotAsExpected), faulted, ..UNNOTICED }
}
