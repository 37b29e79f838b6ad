//! One cell while something is tested in it: what is known, what is still to be run, what is to be said. Pure.

use super::{CellFinding, Finding};
use crate::bisect::confidence::{Belief, Confidence, Said, accumulated};
use crate::bisect::criterion::{Criteria, Side};
use crate::bisect::memory::{self, Key, Observation};
use harness::cell::{Cell, CellId};

/// Runs that say nothing of what is tested (rig trouble, no region, no first kernel) after which a cell is given up.
const VAIN_RUNS: usize = 3;

/// A cell with what is tested in it, while it is tested.
pub(super) struct Trial {
    pub(super) id: CellId,
    pub(super) cell: Cell,
    pub(super) key: Key,
    pub(super) belief: Belief,
    pub(super) seen: Vec<Observation>,
    /// What runs said that say nothing of what is tested.
    pub(super) vain: Vec<Observation>,
}

#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) confidence: Confidence,
    pub(super) least: u32,
    pub(super) most: u32,
    pub(super) exactly: bool,
}

impl Trial {
    /// What is to be said, as soon as something is.
    pub(super) fn finding(&self, criteria: &Criteria, rules: Rules) -> Option<Finding> {
        let counts = memory::count(&self.seen, criteria);
        match self.belief.say(counts, rules.confidence, rules.least) {
            Said::Good { error } => Some(Finding::Good { error }),
            Said::Bad { error } => Some(Finding::Bad { error }),
            Said::Undecided { .. } if self.vain.len() >= VAIN_RUNS => {
                let last = self.vain.last().map(|seen| seen.words.clone());
                Some(Finding::Untestable { why: last.unwrap_or_default() })
            }
            Said::Undecided { bad, .. } if counts.total() >= rules.most => Some(Finding::Untestable {
                why: format!(
                    "not sure after {} runs ({} good, {} bad): bad with a probability of {bad:.2}",
                    counts.total(),
                    counts.good,
                    counts.bad
                ),
            }),
            Said::Undecided { .. } => None,
        }
    }

    /// How often it is to be run now; none where no more is needed.
    pub(super) fn to_run(&self, criteria: &Criteria, rules: Rules) -> Option<u32> {
        if rules.exactly {
            let total = memory::count(&self.seen, criteria).total();
            return (total < rules.least && self.vain.len() < VAIN_RUNS).then(|| rules.least - total);
        }
        if self.finding(criteria, rules).is_some() {
            return None;
        }
        let counts = memory::count(&self.seen, criteria);
        match self.belief.say(counts, rules.confidence, rules.least) {
            Said::Undecided { more, .. } => Some(more.min(rules.most.saturating_sub(counts.total()).max(1))),
            Said::Good { .. } | Said::Bad { .. } => None,
        }
    }

    pub(super) fn end(self, criteria: &Criteria, rules: Rules) -> CellFinding {
        let finding = self.finding(criteria, rules);
        let of = |wanted| self.seen.iter().rfind(|seen| seen.side(criteria) == Some(wanted)).cloned();
        CellFinding {
            counts: memory::count(&self.seen, criteria),
            good: of(Side::Good),
            bad: of(Side::Bad),
            seen: self.seen,
            vain: self.vain,
            id: self.id,
            key: self.key,
            finding,
        }
    }
}

/// What all cells together say: bad where one is, good where all are.
pub(super) fn whole(cells: &[CellFinding]) -> Finding {
    let found = |cell: &&CellFinding| matches!(cell.finding, Some(Finding::Bad { .. }));
    if let Some(CellFinding { finding: Some(bad), .. }) = cells.iter().find(found) {
        return bad.clone();
    }
    let mut errors = Vec::new();
    for cell in cells {
        match &cell.finding {
            Some(Finding::Good { error }) => errors.push(*error),
            Some(Finding::Untestable { why }) => {
                return Finding::Untestable { why: format!("{}: {why}", cell.id) };
            }
            // None: of the ends, which have no verdict of their own.
            Some(Finding::Bad { .. }) | None => {}
        }
    }
    Finding::Good { error: accumulated(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::confidence::Counts;

    fn cell(finding: Finding) -> CellFinding {
        let key = Key { cell: "c".into(), content: "d".into() };
        CellFinding {
            id: CellId("x".into()),
            key,
            counts: Counts::default(),
            finding: Some(finding),
            good: None,
            bad: None,
            seen: Vec::new(),
            vain: Vec::new(),
        }
    }

    /// Bug: a cell that could not be tested makes a commit good, or hides that another cell is bad.
    #[test]
    fn one_bad_cell_is_enough_and_good_needs_all() {
        let good = || cell(Finding::Good { error: 0.01 });
        let bad = || cell(Finding::Bad { error: 0.002 });
        let lost = || cell(Finding::Untestable { why: "no region".into() });
        assert_eq!(whole(&[good(), lost(), bad()]), Finding::Bad { error: 0.002 });
        assert_eq!(whole(&[good(), lost()]), Finding::Untestable { why: "x: no region".into() });
        assert!(matches!(whole(&[good(), good()]), Finding::Good { error } if (error - 0.0199).abs() < 1e-9));
    }
}
