//! The table of mutants: a line a cell as it ends, then the counts, and once more all that was not caught. Lines are made purely.

use super::judge::{CellVerdict, Fate, Row, Seen};
use super::list::{Mutant, UNMUTATED};
use crate::table::paint::Paint;
use harness::outcome::Verdict;
use std::path::Path;

/// Widths of the columns, and colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub(super) name: usize,
    pub(super) cell: usize,
    pub(super) paint: Paint,
}

impl Columns {
    pub(super) fn new(mutants: &[Mutant], paint: Paint) -> Self {
        let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
        Self {
            name: widest(&mut mutants.iter().map(|mutant| mutant.name.len())).max(UNMUTATED.len()),
            cell: widest(
                &mut mutants.iter().flat_map(|mutant| &mutant.catches).map(|catch| catch.alias.len()),
            ),
            paint,
        }
    }

    /// A cell with the programs as they are.
    pub(super) fn control(&self, cell: &str, seen: &Seen) -> String {
        let word = match seen.verdict {
            Verdict::Pass => "control",
            Verdict::Fail | Verdict::Flaky | Verdict::Skipped | Verdict::Error => "CONTROL RED",
        };
        self.line(self.paint.as_verdict(word, seen.verdict), UNMUTATED, cell, seen.seconds, &seen.words)
    }

    /// A cell with a mutant.
    pub(super) fn row(&self, name: &str, row: &Row) -> String {
        self.line(self.head(row.verdict), name, &row.cell, row.seconds, &row.words)
    }

    fn line(&self, head: String, name: &str, cell: &str, seconds: f64, words: &str) -> String {
        let (name_width, cell_width) = (self.name, self.cell);
        let words = crate::table::one_line(words);
        format!("{head} [{seconds:>8.1}s] {name:<name_width$}  {cell:<cell_width$}  {words}")
    }

    fn head(&self, verdict: CellVerdict) -> String {
        let (word, colour) = match verdict {
            CellVerdict::Caught => ("caught", Verdict::Pass),
            CellVerdict::OtherReason => ("OTHER REASON", Verdict::Fail),
            CellVerdict::Survived => ("SURVIVED", Verdict::Fail),
            CellVerdict::NotRun => ("NOT RUN", Verdict::Skipped),
            CellVerdict::Unclear => ("UNCLEAR", Verdict::Error),
            CellVerdict::ControlRed => ("CONTROL RED", Verdict::Error),
        };
        self.paint.as_verdict(word, colour)
    }

    /// A mutant that was not tried, if it was not.
    pub(super) fn untried(&self, name: &str, fate: &Fate) -> Option<String> {
        let (word, why) = match fate {
            Fate::Tried { .. } => return None,
            Fate::Stale { why } => ("STALE", why),
            Fate::NotBuilt { why } => ("NO PROGRAM", why),
        };
        let head = self.paint.as_verdict(word, Verdict::Fail);
        Some(format!("{head} {name}: {}", why.replace('\n', "\n             ")))
    }

    /// What stands under the table: all that was not caught, with what it is and what was to be seen, and the counts.
    pub(super) fn summary(&self, fates: &[(&Mutant, Fate)], report: &Path, seconds: f64) -> Vec<String> {
        let mut lines = vec!["------------".to_owned()];
        for (mutant, fate) in fates.iter().filter(|(_, fate)| fate.verdict() != Some(CellVerdict::Caught)) {
            lines.extend(self.untried(&mutant.name, fate));
            if let Fate::Tried { cells } = fate {
                for row in cells.iter().filter(|row| row.verdict != CellVerdict::Caught) {
                    lines.push(self.row(&mutant.name, row));
                    lines.push(format!("{:>12} bug: {}", "", mutant.bug));
                    lines.push(format!("{:>12} foreseen: {}", "", row.foreseen));
                    if let Some(evidence) = &row.evidence {
                        lines.push(format!("{:>12} evidence: {}", "", report.join(evidence).display()));
                    }
                }
            }
        }
        let count = |wanted: &[Option<CellVerdict>]| {
            fates.iter().filter(|(_, fate)| wanted.contains(&fate.verdict())).count()
        };
        use CellVerdict::{Caught, ControlRed, NotRun, OtherReason, Survived, Unclear};
        let caught = count(&[Some(Caught)]);
        let mut counts = format!("{caught} caught, {} survived", count(&[Some(Survived)]));
        for (count, words) in [
            (count(&[Some(OtherReason)]), "red for another reason"),
            (count(&[None]), "stale or not built"),
            (count(&[Some(ControlRed), Some(Unclear), Some(NotRun)]), "not judged"),
        ] {
            if count > 0 {
                counts.push_str(&format!(", {count} {words}"));
            }
        }
        let head = match caught == fates.len() {
            true => self.paint.head("Summary"),
            false => self.paint.warning("Summary"),
        };
        lines.push(format!("{head} [{seconds:>8.1}s] {} mutants: {counts}", fates.len()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::tests::seen;
    use super::super::list::tests::repositorys_own;
    use super::*;
    use harness::outcome::Outcome;

    fn row(verdict: CellVerdict, words: &str) -> Row {
        Row {
            cell: "64-to-64".into(),
            verdict,
            foreseen: "captured, and /0 NT_PRSTATUS/".into(),
            words: words.into(),
            seconds: 12.5,
            evidence: Some("loader/x/try-1".into()),
        }
    }

    /// Catches a survivor that scrolled away, or that stands there without what one needs to close the hole.
    #[test]
    fn what_was_not_caught_comes_once_more() {
        let list = repositorys_own();
        let columns = Columns { name: 12, cell: 8, paint: Paint::new(false) };
        let (first, second) = (&list.mutants[0], &list.mutants[1]);
        let fates = [
            (first, Fate::Tried { cells: vec![row(CellVerdict::Survived, "captured, vmcore verified")] }),
            (second, Fate::Tried { cells: vec![row(CellVerdict::Caught, "captured, vmcore wrong")] }),
            (second, Fate::Stale { why: "a\nb".into() }),
        ];
        assert_eq!(
            columns.summary(&fates, Path::new("r"), 61.5),
            [
                "------------",
                "    SURVIVED [    12.5s] no-cpu-notes  64-to-64  captured, vmcore verified",
                &format!("             bug: {}", first.bug),
                "             foreseen: captured, and /0 NT_PRSTATUS/",
                "             evidence: r/loader/x/try-1",
                &format!("       STALE {}: a\n             b", second.name),
                "     Summary [    61.5s] 3 mutants: 1 caught, 1 survived, 1 stale or not built",
            ]
        );
    }

    /// Catches a red control that looks like a green one, and a line that somebody else's text breaks in two.
    #[test]
    fn a_red_control_stands_out() {
        let columns = Columns { name: 9, cell: 4, paint: Paint::new(false) };
        let red = seen(Verdict::Error, Outcome::RigError { what: "a\nb".into() });
        assert_eq!(columns.control("low", &red), " CONTROL RED [    12.5s] unmutated  low   rig error: a b");
    }
}
