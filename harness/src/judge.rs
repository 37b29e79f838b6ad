//! Compares an outcome with its expectation. Pure; what was observed is decided in [`crate::classify`], not here.

mod told;
mod words;

use crate::outcome::{
    Expectation, ExpectedPurgatoryEnd, ExpectedRefuser, ExpectedVmcore, HangCause, HangProof, Outcome,
    PurgatoryEnd, Refuser, Verdict, VmcoreState,
};
pub use words::{describe, describe_beside, describe_expectation, near_miss, telling_line};
pub(crate) use words::{errno_words, signal_words};

/// The verdict on one attempt.
pub fn judge(outcome: &Outcome, expected: &Expectation) -> Verdict {
    if meets(outcome, expected) {
        return Verdict::Pass;
    }
    match outcome {
        // These say nothing on the loader, whatever was expected.
        Outcome::Unreserved { .. } | Outcome::NoFirstKernel { .. } | Outcome::RigError { .. } => {
            Verdict::Error
        }
        Outcome::Captured { .. }
        | Outcome::Refused { .. }
        | Outcome::LoadFailed { .. }
        | Outcome::Hung { .. }
        | Outcome::CapturePanicked { .. }
        | Outcome::StoppedByPurgatory { .. }
        | Outcome::Reset { .. }
        | Outcome::NotPanicked { .. } => Verdict::Fail,
    }
}

/// The verdict on a cell from those of its attempts, in their order; none when there was no attempt.
///
/// A pass after something else is flaky, and nothing else: a retry never turns into a plain pass. Without a pass the last
/// attempt that said something on the loader counts, since trouble of the rig must not hide a failure.
pub fn overall(attempts: &[Verdict]) -> Option<Verdict> {
    let last = *attempts.last()?;
    if attempts.iter().all(|&verdict| verdict == last) {
        return Some(last);
    }
    if attempts.iter().any(|verdict| matches!(verdict, Verdict::Pass | Verdict::Flaky)) {
        return Some(Verdict::Flaky);
    }
    Some(if attempts.contains(&Verdict::Fail) { Verdict::Fail } else { last })
}

/// The attempt that the verdict on the whole rests on: the last one with that verdict, which for a flaky trial is a pass.
/// The last of all may be another: a rig error after a failure does not hide the failure.
pub(crate) fn deciding(attempts: &[Verdict], overall: Verdict) -> Option<usize> {
    let wanted = match overall {
        Verdict::Flaky => Verdict::Pass,
        Verdict::Pass | Verdict::Fail | Verdict::Error | Verdict::Skipped => overall,
    };
    attempts.iter().rposition(|verdict| *verdict == wanted)
}

fn meets(outcome: &Outcome, expected: &Expectation) -> bool {
    match (expected, outcome) {
        (Expectation::Captured { vmcore, told: expected }, Outcome::Captured { vmcore: found, told }) => {
            vmcore_meets(found, vmcore) && told::wrong(told.as_ref(), expected).is_empty()
        }
        (Expectation::Refused { by, message }, Outcome::Refused { by: refuser, message: said }) => {
            refuser_meets(*refuser, *by) && missing_texts(said, message).is_empty()
        }
        (Expectation::Hung { cause }, Outcome::Hung { at: _, proof, cause: found }) => {
            proves(proof) && cause_meets(*found, *cause)
        }
        (
            Expectation::StoppedByPurgatory { segment, message, end },
            Outcome::StoppedByPurgatory { line, segment: found, end: found_end },
        ) => {
            (segment.is_none() || segment == found)
                && missing_texts(line, message).is_empty()
                && end_meets(found_end, *end)
        }
        (Expectation::Unreserved, Outcome::Unreserved { .. }) => true,
        (Expectation::Observed, outcome) => speaks_of_the_loader(outcome),
        // An outcome of another kind never meets an expectation; `judge` names every kind when it says what it is instead.
        (
            Expectation::Captured { .. }
            | Expectation::Refused { .. }
            | Expectation::Hung { .. }
            | Expectation::StoppedByPurgatory { .. }
            | Expectation::Unreserved,
            _,
        ) => false,
    }
}

/// Whether an outcome says what came of the load: of a guest that never loaded, or never panicked, none does.
const fn speaks_of_the_loader(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Captured { .. }
        | Outcome::Refused { .. }
        | Outcome::LoadFailed { .. }
        | Outcome::Hung { .. }
        | Outcome::CapturePanicked { .. }
        | Outcome::StoppedByPurgatory { .. }
        | Outcome::Reset { .. } => true,
        Outcome::NotPanicked { .. }
        | Outcome::Unreserved { .. }
        | Outcome::NoFirstKernel { .. }
        | Outcome::RigError { .. } => false,
    }
}

fn vmcore_meets(found: &VmcoreState, expected: &ExpectedVmcore) -> bool {
    match (found, expected) {
        (VmcoreState::Verified, ExpectedVmcore::Verified)
        | (VmcoreState::Absent { .. }, ExpectedVmcore::Absent) => true,
        (VmcoreState::Wrong { why: found }, ExpectedVmcore::Wrong { why }) => {
            missing_texts(found, why).is_empty()
        }
        (VmcoreState::Verified, ExpectedVmcore::Absent | ExpectedVmcore::Wrong { .. })
        | (VmcoreState::Absent { .. }, ExpectedVmcore::Verified | ExpectedVmcore::Wrong { .. })
        | (VmcoreState::Wrong { .. }, ExpectedVmcore::Verified | ExpectedVmcore::Absent) => false,
    }
}

const fn refuser_meets(found: Refuser, expected: ExpectedRefuser) -> bool {
    match (found, expected) {
        (Refuser::Loader, ExpectedRefuser::Loader) | (Refuser::Kernel { .. }, ExpectedRefuser::Kernel) => {
            true
        }
        (Refuser::Loader, ExpectedRefuser::Kernel) | (Refuser::Kernel { .. }, ExpectedRefuser::Loader) => {
            false
        }
    }
}

const fn end_meets(found: &PurgatoryEnd, expected: ExpectedPurgatoryEnd) -> bool {
    match (found, expected) {
        (PurgatoryEnd::Halted { .. } | PurgatoryEnd::Loops { .. }, ExpectedPurgatoryEnd::Stopped)
        | (PurgatoryEnd::Reset { .. }, ExpectedPurgatoryEnd::Reset) => true,
        (PurgatoryEnd::Halted { .. } | PurgatoryEnd::Loops { .. }, ExpectedPurgatoryEnd::Reset)
        | (PurgatoryEnd::Reset { .. }, ExpectedPurgatoryEnd::Stopped) => false,
    }
}

/// Whether a proof is strong enough for an expected hang: silence is not, any hang would do.
const fn proves(proof: &HangProof) -> bool {
    match proof {
        HangProof::AllHaltedIrqsOff { .. } | HangProof::EndOfPanic { .. } => true,
        HangProof::Silence { .. } => false,
    }
}

/// An unknown cause never meets an expectation, not even one that was written as "unknown".
fn cause_meets(found: HangCause, expected: HangCause) -> bool {
    match found {
        HangCause::Unknown => false,
        HangCause::DestinationTooLarge | HangCause::FaultInPanicPath | HangCause::NothingTookOver => {
            found == expected
        }
    }
}

/// The expected texts that a refusal, or what is said of a vmcore, does not contain.
fn missing_texts<'a>(said: &str, expected: &'a [String]) -> Vec<&'a str> {
    expected.iter().map(String::as_str).filter(|text| !said.contains(text)).collect()
}

#[cfg(test)]
mod tests;
