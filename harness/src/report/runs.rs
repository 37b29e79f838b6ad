//! What the runs of each cell came to, where cells are run more than once: the distribution of their outcomes.

use super::CellResult;
use super::verdict_name;
use crate::cell::CellId;
use crate::outcome::{OutcomeKind, Verdict};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use std::collections::BTreeMap;

/// The runs of all cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(BTreeMap<CellId, CameTo>);

/// What the runs of one cell came to, and how often. At least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CameTo(BTreeMap<(OutcomeKind, Verdict), usize>);

impl Runs {
    /// The runs that these are the results of.
    pub fn of<'a>(results: impl IntoIterator<Item = &'a CellResult>) -> Self {
        let mut runs = Self::default();
        results.into_iter().for_each(|result| runs.add(result));
        runs
    }

    /// Adds a result.
    pub fn add(&mut self, result: &CellResult) {
        let came_to = self.0.entry(result.id.clone()).or_default();
        *came_to.0.entry((result.outcome.kind(), result.verdict)).or_insert(0) += 1;
    }

    /// The cells that were run more than once.
    pub fn repeated(&self) -> impl Iterator<Item = (&CellId, &CameTo)> {
        self.0.iter().filter(|(_, came_to)| came_to.total() > 1)
    }
}

impl CameTo {
    /// How many runs there were.
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Whether all runs came to the same, each at its first attempt.
    pub fn is_stable(&self) -> bool {
        self.0.len() == 1 && self.0.keys().all(|(_, verdict)| *verdict != Verdict::Flaky)
    }
}

impl std::fmt::Display for CameTo {
    /// For people: `5 runs: 4 captured, 1 hung`, the most frequent first. Where an outcome was judged in two ways, and where it took a
    /// retry, the verdict is added.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        write!(f, "{} runs: ", self.total())?;
        for (index, ((outcome, verdict), times)) in sorted.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{times} {}", outcome.name())?;
            let twice = self.0.keys().filter(|(other, _)| other == outcome).count() > 1;
            if twice || *verdict == Verdict::Flaky {
                write!(f, " ({})", verdict_name(*verdict))?;
            }
        }
        Ok(())
    }
}

impl Serialize for CameTo {
    /// A list of objects with `outcome`, `verdict` and `times`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Entry {
            outcome: OutcomeKind,
            verdict: Verdict,
            times: usize,
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (&(outcome, verdict), &times) in &self.0 {
            list.serialize_element(&Entry { outcome, verdict, times })?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::report::tests::result;

    /// Bug: a cell that came to something else once in five looks stable, or its runs are counted to another; and an outcome that
    /// was right four times and wrong once (a vmcore that is not verified) looks as if it were one and the same.
    #[test]
    fn outcomes_are_counted_for_each_cell() {
        let error =
            || CellResult { outcome: Outcome::RigError { what: "x".into() }, ..result("a", Verdict::Error) };
        let pass = |id| result(id, Verdict::Pass);
        let kind = pass("a").outcome.kind().name();
        let runs = Runs::of(&[error(), pass("a"), pass("b"), pass("a"), pass("c"), pass("c")]);
        let told: Vec<_> =
            runs.repeated().map(|(id, came)| (id.0.as_str(), came.to_string(), came.is_stable())).collect();
        assert_eq!(
            told,
            [
                ("a", format!("3 runs: 2 {kind}, 1 rig-error"), false),
                ("c", format!("2 runs: 2 {kind}"), true)
            ]
        );
        let runs = Runs::of(&[pass("a"), result("a", Verdict::Fail), pass("a")]);
        let (_, came) = runs.repeated().next().unwrap();
        assert_eq!(came.to_string(), format!("3 runs: 2 {kind} (pass), 1 {kind} (fail)"));
        assert_eq!(serde_json::to_value(came).unwrap()[0]["times"], 2);
        let runs = Runs::of(&[result("a", Verdict::Flaky), result("a", Verdict::Flaky)]);
        let (_, came) = runs.repeated().next().unwrap();
        assert!(!came.is_stable() && came.to_string().ends_with("(flaky)"), "{came}");
    }
}
