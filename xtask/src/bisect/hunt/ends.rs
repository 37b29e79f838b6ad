//! The ends of a hunt: verified before it begins, and at its own end the culprit and what comes before it once more.

use super::{Found, Hunt, Verified, clip, spent};
use crate::bisect::confidence::{Belief, Ends, Label, accumulated, ends};
use crate::bisect::git::Git;
use crate::bisect::paper::Confirmed;
use crate::bisect::search::Mark;
use crate::bisect::tester::{CellFinding, Finding, Tested, Thoroughness};
use crate::cli::HuntArgs;
use crate::exit::Failure;
use crate::output;
use crate::table::{one_line, plural};
use anyhow::anyhow;
use std::collections::BTreeSet;

impl Hunt<'_> {
    /// Tests the culprit and what comes before it anew, with what both showed then. A verdict that does not stand is corrected.
    pub(super) async fn confirm(
        &mut self,
        found: &Found,
        verified: &Verified,
    ) -> Result<(Confirmed, (Tested, Tested)), Failure> {
        let ends = (verified.good.clone(), verified.bad.clone());
        if !found.among.is_empty() {
            return Ok((Confirmed::NotTried, ends));
        }
        let Some(before) = self.axis.before(&found.first_bad).await? else {
            return Ok((Confirmed::NotTried, ends));
        };
        output::line(format_args!("once more: {} and what comes before it", self.short(&found.first_bad)));
        let how = Thoroughness { least: end_runs(self.args), again: true, exactly: false };
        let of_before = self.try_revision(&before, how).await?;
        let of_culprit = self.try_revision(&found.first_bad, how).await?;
        let mut confirmed = Confirmed::Yes;
        for (revision, tested, mark) in
            [(before.as_str(), &of_before, Mark::Good), (found.first_bad.as_str(), &of_culprit, Mark::Bad)]
        {
            let again = once_more(mark, tested.mark(), self.known(revision).is_some());
            if again == Confirmed::Corrected {
                let step = self.step_of(revision, tested.clone()).await?;
                self.record(step, None)?;
            }
            if let (Confirmed::Open, Finding::Untestable { why }) = (again, &tested.finding) {
                output::note(format_args!("{} cannot be tested once more: {why}", self.short(revision)));
            }
            confirmed = confirmed.max(again);
        }
        Ok((confirmed, (of_before, of_culprit)))
    }

    /// Tests both ends until they are known to differ; cells in which they do not are left out from then on.
    pub(super) async fn verify_ends(&mut self, good: &str, bad: &str) -> Result<Verified, Failure> {
        let most = self.args.judging.most_runs.get();
        let mut least = end_runs(self.args);
        loop {
            let of_good = self.test_end(good, "good", least).await?;
            let of_bad = self.test_end(bad, "bad", least).await?;
            let beliefs = (of_good.cells.iter().zip(&of_bad.cells)).map(|(good, bad)| {
                ends(&Belief::after(&[]), good.counts, bad.counts, self.args.judging.confidence)
            });
            let told: Vec<Ends> = beliefs.collect();
            let same = of_good
                .cells
                .iter()
                .zip(&of_bad.cells)
                .all(|(good, bad)| good.key.content == bad.key.content);
            if same {
                return Err(Failure::Input(anyhow!(
                    "both ends are the same to the byte once they are built: nothing between them can have changed anything here"
                )));
            }
            for (cell, told) in of_bad.cells.iter().zip(&told) {
                let wrong = match told {
                    Ends::BothBad => {
                        "the good end is bad as well: take an older one, or say what is bad: --bad-is"
                    }
                    Ends::Swapped => {
                        "the good end is bad and the bad one good: change them, or say what is bad: --bad-is"
                    }
                    Ends::Differ { .. } | Ends::BothGood | Ends::Undecided => continue,
                };
                return Err(Failure::Input(anyhow!(
                    "{}: {wrong}\n{}",
                    cell.id,
                    self.both(&of_good, &of_bad)
                )));
            }
            if told.iter().any(|told| matches!(told, Ends::Undecided)) && least < most {
                least = (least + least.max(4)).min(most);
                continue;
            }
            let differ: Vec<bool> = told.iter().map(|told| matches!(told, Ends::Differ { .. })).collect();
            if !differ.contains(&true) {
                return Err(Failure::Input(anyhow!(
                    "the ends do not differ: no cell is good at the one and bad at the other. Take other cells, or say what is bad: \
                     --bad-is\n{}",
                    self.both(&of_good, &of_bad)
                )));
            }
            let keep = |tested: Tested| {
                let cells = tested.cells.into_iter().zip(&differ).filter(|(_, differs)| **differs);
                Tested { cells: cells.map(|(cell, _)| cell).collect(), ..tested }
            };
            let (of_good, of_bad) = (keep(of_good), keep(of_bad));
            let ids: BTreeSet<_> = of_good.cells.iter().map(|cell| cell.id.clone()).collect();
            self.tester.cells.retain(|cell| ids.contains(&cell.id));
            for (tested, label) in [(&of_good, Label::Good), (&of_bad, Label::Bad)] {
                let contents = tested.cells.iter().map(|cell| (cell.key.content.clone(), label));
                self.tester.labels.extend(contents);
            }
            let errors = told.iter().map(|told| match told {
                Ends::Differ { error } => *error,
                _ => 0.0,
            });
            let error = accumulated(errors);
            for (tested, end, revision) in [(&of_good, "good", good), (&of_bad, "bad", bad)] {
                let words =
                    tested.cells.iter().filter_map(CellFinding::telling).map(|seen| one_line(&seen.words));
                output::line(format_args!(
                    "{} {:<12} {} ({}, {}) {}",
                    self.short(revision),
                    format!("{end} end"),
                    clip(&self.axis.subject(revision).await?, 60),
                    plural(tested.runs as usize, "run"),
                    spent(tested.seconds, tested.building),
                    clip(&words.collect::<Vec<_>>().join("; "), 90)
                ));
            }
            return Ok(Verified { good: of_good, bad: of_bad, error });
        }
    }

    async fn test_end(&self, revision: &str, end: &str, least: u32) -> Result<Tested, Failure> {
        let how = Thoroughness { least, again: self.args.judging.again, exactly: true };
        let tested = self.try_revision(revision, how).await?;
        match &tested.finding {
            Finding::Untestable { why } => Err(Failure::Input(anyhow!(
                "the {end} end, {}, cannot be tested: {why}",
                self.short(revision)
            ))),
            Finding::Good { .. } | Finding::Bad { .. } => Ok(tested),
        }
    }

    /// What both ends showed, and by what it was judged.
    fn both(&self, good: &Tested, bad: &Tested) -> String {
        let side = |name: &str, tested: &Tested| {
            let cells = tested.cells.iter().map(|cell| {
                let words = cell.telling().map(|seen| one_line(&seen.words)).unwrap_or_default();
                format!("  {name}: {}: {} good, {} bad: {words}", cell.id, cell.counts.good, cell.counts.bad)
            });
            cells.collect::<Vec<_>>().join("\n")
        };
        let criteria = self.tester.criteria.in_words();
        format!("{}\n{}\n  judged by: {criteria}", side("good end", good), side("bad end", bad))
    }
}

/// What a second test says of a verdict. An end, and what nobody had a verdict on (a parent off the path), is not `known` and cannot be
/// corrected. That it cannot be tested now, for trouble of the rig or the host, does not say that the verdict was wrong.
fn once_more(verdict: Mark, now: Mark, known: bool) -> Confirmed {
    match now {
        Mark::Skip => Confirmed::Open,
        now if now == verdict => Confirmed::Yes,
        _ if known => Confirmed::Corrected,
        _ => Confirmed::No,
    }
}

/// Runs of each cell at the ends, and of the culprit: never more than those after which it is given up, or nothing could be tested.
pub(super) fn end_runs(args: &HuntArgs) -> u32 {
    args.end_runs.min(args.judging.most_runs).get()
}

/// That the bad end comes after the good one.
///
/// # Errors
/// [`Failure::Input`]: it does not. Git cannot be started.
pub(super) async fn check_order(git: &Git<'_>, good: &str, bad: &str) -> Result<(), Failure> {
    if git.is_ancestor(good, bad).await? {
        return Ok(());
    }
    if git.is_ancestor(bad, good).await? {
        return Err(Failure::Input(anyhow!(
            "the bad commit {bad} comes before the good one, {good}. --good is the old end, --bad the new one. To find what mended \
             something, say what the new end does: --bad-is pass, and the old one is good all the same"
        )));
    }
    Err(Failure::Input(anyhow!(
        "the good commit {good} is not in the history of the bad one, {bad}: they are on two branches. Take an older good one, from where \
         both have their beginnings: `git merge-base` names it"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::hunt::begun::hunt_args;
    use crate::bisect::log::Started;

    /// Bug: trouble of the rig or the host, when the culprit is tested once more, takes the place of a sound verdict, and the culprit is lost;
    /// or a verdict that does not stand is kept.
    #[test]
    fn only_another_verdict_corrects_one() {
        for (verdict, other) in [(Mark::Good, Mark::Bad), (Mark::Bad, Mark::Good)] {
            for known in [true, false] {
                assert_eq!(once_more(verdict, verdict, known), Confirmed::Yes);
                assert_eq!(once_more(verdict, Mark::Skip, known), Confirmed::Open);
            }
            assert_eq!(once_more(verdict, other, true), Confirmed::Corrected);
            assert_eq!(once_more(verdict, other, false), Confirmed::No);
        }
        // Of the two that are tested once more, what weighs most is what counts.
        assert!(Confirmed::Yes < Confirmed::Open && Confirmed::Open < Confirmed::No);
        assert!(Confirmed::No < Confirmed::Corrected);
    }

    /// Bug: with fewer runs at most than runs at the ends, every culprit is one that cannot be tested again.
    #[test]
    fn a_culprit_is_not_asked_for_more_runs_than_it_gets() {
        let of = |words: &str| {
            let words = format!("--over loader --good a --bad b {words} -- c");
            let words = words.split_whitespace().map(str::to_owned).collect();
            end_runs(&hunt_args(&Started { words, folder: "/".into(), ends: None }).unwrap())
        };
        assert_eq!(of("--end-runs 5 --most-runs 2"), 2);
        assert_eq!((of("--end-runs 5"), of("")), (5, 3));
    }
}
