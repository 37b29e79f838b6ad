//! Whether two runs of the same cells came to the same. Pure.

use crate::cell::CellId;
use crate::outcome::{HangCause, Outcome, OutcomeKind, Refuser, Verdict, VmcoreState};
use crate::report::CellResult;
use std::collections::BTreeMap;

/// What of an outcome must be the same each time. Texts hold addresses, which KASLR moves, and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Essence {
    kind: OutcomeKind,
    verdict: Verdict,
    detail: Option<Detail>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Verified,
    Wrong,
    Absent,
    By(Refuser),
    Because(HangCause),
}

fn essence(result: &CellResult) -> Essence {
    let detail = match &result.outcome {
        Outcome::Captured { vmcore, .. } => Some(match vmcore {
            VmcoreState::Verified => Detail::Verified,
            VmcoreState::Wrong { .. } => Detail::Wrong,
            VmcoreState::Absent { .. } => Detail::Absent,
        }),
        Outcome::Refused { by, .. } => Some(Detail::By(*by)),
        Outcome::Hung { cause, .. } => Some(Detail::Because(*cause)),
        Outcome::LoadFailed { .. }
        | Outcome::CapturePanicked { .. }
        | Outcome::StoppedByPurgatory { .. }
        | Outcome::Reset { .. }
        | Outcome::NotPanicked { .. }
        | Outcome::Unreserved { .. }
        | Outcome::NoFirstKernel { .. }
        | Outcome::RigError { .. } => None,
    };
    Essence { kind: result.outcome.kind(), verdict: result.verdict, detail }
}

/// A cell that two runs do not agree about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The cell.
    pub cell: CellId,
    /// What the first run says of it, in words; none: it has no result there.
    pub one: Option<String>,
    /// What the second run says.
    pub other: Option<String>,
}

/// The cells about which the runs do not agree, by id. A cell that only one of them has is among them.
pub fn disagreements(one: &[CellResult], other: &[CellResult]) -> Vec<Disagreement> {
    let mut cells: BTreeMap<&CellId, (Option<&CellResult>, Option<&CellResult>)> = BTreeMap::new();
    one.iter().for_each(|result| cells.entry(&result.id).or_default().0 = Some(result));
    other.iter().for_each(|result| cells.entry(&result.id).or_default().1 = Some(result));
    let words = |result: Option<&CellResult>| result.map(|result| result.words.clone());
    cells
        .into_iter()
        .filter(|(_, (one, other))| one.map(essence) != other.map(essence))
        .map(|(cell, (one, other))| Disagreement { cell: cell.clone(), one: words(one), other: words(other) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn captured(vmcore: VmcoreState) -> CellResult {
        testing::result(Outcome::captured(vmcore))
    }

    /// Bug: a vmcore that is wrong one way and right the other passes for the same outcome.
    #[test]
    fn details_that_matter_are_compared() {
        let verified = [captured(VmcoreState::Verified)];
        let wrong = [captured(VmcoreState::Wrong { why: "a nonce".into() })];
        assert_eq!(disagreements(&verified, &verified), []);
        let found = disagreements(&verified, &wrong);
        assert_eq!(found.len(), 1);
        assert!(found[0].one != found[0].other, "{found:?}");
        assert_eq!(disagreements(&verified, &[]).len(), 1, "a cell that was run one way only");
    }

    /// Bug: refusals of the same region at another address, which KASLR chose, count as a difference.
    #[test]
    fn texts_are_not() {
        let refused = |message: &str| {
            testing::result(Outcome::Refused { by: Refuser::Loader, message: message.into() })
        };
        assert_eq!(disagreements(&[refused("crash region 0x1")], &[refused("crash region 0x2")]), []);
        let by_kernel =
            testing::result(Outcome::Refused { by: Refuser::Kernel { errno: 12 }, message: "ENOMEM".into() });
        assert_eq!(disagreements(&[refused("x")], &[by_kernel]).len(), 1);
    }
}
