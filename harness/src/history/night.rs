//! One recorded night: what it holds, and its text, a JSON object a line. Pure. An interface: scripts read the files.

use super::collect::date;
use crate::accel::Accel;
use crate::cell::CellId;
use crate::outcome::Verdict;
use crate::report::{Look, Versions, verdict_name};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Version of the file's form. A file of a higher one is refused, not misread.
pub(super) const FORMAT: u32 = 1;

/// Name of a night: the UTC time at which its run began and some digits of a digest of its cells, as in
/// `20261129-030012-3fa1c2`. Names of later nights sort behind those of earlier ones, and two machines do not choose the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NightId(String);

/// A text that names no night.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a night: letters, digits, '-', '_' and '.' alone, and no '.' at its beginning")]
pub struct BadNightId(String);

impl NightId {
    /// The name of a night that began then (seconds since the epoch) and whose cells have this digest, in hexadecimal.
    pub(super) fn of(began: u64, digest: &str) -> Self {
        // A date in digits and hyphens, or the number itself: no character that a name may not have.
        Self(format!("{}-{}", date(began, "%Y%m%d-%H%M%S"), digest.get(..6).unwrap_or(digest)))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NightId {
    type Error = BadNightId;

    fn try_from(text: String) -> Result<Self, BadNightId> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match text.starts_with('.') || text.is_empty() || !text.chars().all(fits) {
            true => Err(BadNightId(text)),
            false => Ok(Self(text)),
        }
    }
}

impl From<NightId> for String {
    fn from(id: NightId) -> Self {
        id.0
    }
}

impl std::fmt::Display for NightId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// The work tree that the guests' programs were built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The commit.
    pub commit: String,
    /// Whether tracked files differed from it.
    pub changed: bool,
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = self.commit.get(..12).unwrap_or(&self.commit);
        write!(f, "{short}{}", if self.changed { " with changes" } else { "" })
    }
}

/// What is known of a night as a whole when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// Its name.
    pub id: NightId,
    /// When its run began, in seconds since the epoch.
    pub began: u64,
    /// The same for people, in UTC.
    pub time: String,
    /// The machine; none where nobody said it.
    pub host: Option<String>,
    /// The accelerator; none in reports that do not say it.
    pub accel: Option<Accel>,
    /// Guests at a time.
    pub jobs: Option<usize>,
    /// Names of the suites that its cells are of.
    pub suites: BTreeSet<String>,
    /// What chose among the suites' cells, as words of a command line; none: nothing did, or nobody said it.
    pub selection: Option<String>,
    /// Version of QEMU.
    pub qemu: Option<String>,
    /// Versions and digests of kernels, loaders and agents, by their names.
    pub versions: BTreeMap<String, String>,
    /// The work tree, where it is known.
    pub revision: Option<Revision>,
}

/// What a cell came to. Several runs of it (`--repeat`) are one: the worst verdict, the median of the times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellNight {
    /// Its id.
    pub id: CellId,
    /// Its suite.
    pub suite: String,
    /// What must come of it, in words.
    pub expected: String,
    /// What became of it; none where it was skipped.
    pub outcome: Option<Look>,
    /// The outcome in words; of a skipped cell the reason.
    pub words: String,
    /// Beside the expectation.
    pub verdict: Verdict,
    /// Why it was not as expected, or how it hung, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Seconds by phase of the attempt that decided, with `total`. Boots that were shared are not in them.
    pub seconds: BTreeMap<String, f64>,
    /// Whether that attempt's guest began in a saved state: times with and without are not compared.
    pub shared: bool,
    /// How many attempts its runs took together.
    pub attempts: usize,
    /// How often it was run.
    pub runs: usize,
    /// How many of these runs were as expected, at whichever attempt.
    pub passed: usize,
    /// Folder of that attempt's evidence.
    pub evidence: PathBuf,
    /// What took part; none where it was skipped.
    pub versions: Option<Versions>,
}

impl CellNight {
    /// The time of its deciding attempt, in seconds.
    pub fn total(&self) -> Option<f64> {
        self.seconds.get("total").copied().filter(|seconds| seconds.is_finite() && *seconds > 0.0)
    }
}

/// How a night ended. A file without it is of a run that was killed, or a copy that broke off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Seconds since the epoch.
    pub ended: u64,
    /// Cells by their verdicts.
    pub counts: BTreeMap<String, usize>,
    /// Number of the lines of cells before it.
    pub cells: usize,
    /// Trials that the run did not get to.
    pub not_run: usize,
    /// Whether somebody interrupted it.
    pub interrupted: bool,
}

/// A night.
#[derive(Clone, Debug, PartialEq)]
pub struct Night {
    /// Its head.
    pub header: Header,
    /// What each cell came to.
    pub cells: BTreeMap<CellId, CellNight>,
    /// Its end; none where there is none.
    pub end: Option<End>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line {
    Night(Header),
    Cell(Box<CellNight>),
    End(End),
}

/// A text that is no night.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct NotANight {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Night {
    /// Whether every cell that was meant to run has its result.
    pub fn is_complete(&self) -> bool {
        self.end.as_ref().is_some_and(|end| !end.interrupted && end.not_run == 0)
    }

    /// Whether it is complete, and all that ran was as expected.
    pub fn is_good(&self) -> bool {
        let bad = |cell: &CellNight| matches!(cell.verdict, Verdict::Fail | Verdict::Error);
        let ran = |cell: &CellNight| cell.verdict != Verdict::Skipped;
        self.is_complete() && self.cells.values().any(ran) && !self.cells.values().any(bad)
    }

    /// How many of its cells have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cells.values().filter(|cell| cell.verdict == verdict).count()
    }

    /// Wall time from its begin to its end, in seconds.
    pub fn took(&self) -> Option<u64> {
        self.end.as_ref().map(|end| end.ended.saturating_sub(self.header.began))
    }

    /// Whether both are runs of the same suites, chosen from in the same way: only such nights are compared by themselves.
    pub fn is_like(&self, other: &Self) -> bool {
        let of = |night: &Self| (night.header.suites.clone(), night.header.selection.clone());
        of(self) == of(other)
    }

    /// Whether both are records of one run, which was recorded, went on (`--resume`), and was recorded again: it began once, on one
    /// machine, by means that may not change while it goes on. A record that is not of its end may have no cell yet of a later suite.
    pub fn is_of_the_run_of(&self, other: &Self) -> bool {
        let (a, b) = (&self.header, &other.header);
        // Nobody has to say on which machine it was.
        let same_host = a.host.is_none() || b.host.is_none() || a.host == b.host;
        same_host
            && (a.began, a.accel, &a.qemu, &a.selection) == (b.began, b.accel, &b.qemu, &b.selection)
            && (a.suites.is_subset(&b.suites) || b.suites.is_subset(&a.suites))
    }

    /// How much of its run a record has: that of more cells, then that of the later end.
    pub(super) fn wholeness(&self) -> (usize, Option<u64>) {
        (self.cells.len(), self.end.as_ref().map(|end| end.ended))
    }

    /// Cells by the names of their verdicts.
    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for cell in self.cells.values() {
            *counts.entry(verdict_name(cell.verdict).to_owned()).or_insert(0) += 1;
        }
        counts
    }

    /// Its file.
    pub fn to_text(&self) -> serde_json::Result<String> {
        let mut text = String::new();
        let mut add = |line: Line| {
            text.push_str(&serde_json::to_string(&line)?);
            text.push('\n');
            Ok::<(), serde_json::Error>(())
        };
        add(Line::Night(self.header.clone()))?;
        self.cells.values().try_for_each(|cell| add(Line::Cell(Box::new(cell.clone()))))?;
        self.end.iter().try_for_each(|end| add(Line::End(end.clone())))?;
        Ok(text)
    }

    /// Reads a file back. Half a last line, as a copy that broke off leaves it, is none.
    pub fn parse(text: &str) -> Result<Self, NotANight> {
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut night: Option<Self> = None;
        for (index, text) in whole.lines().enumerate() {
            let wrong = |why: String| NotANight { line: index + 1, why };
            let line = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
            match (line, &mut night) {
                (Line::Night(header), None) if header.format > FORMAT => {
                    return Err(wrong(format!(
                        "form {} is later than this program's, {FORMAT}",
                        header.format
                    )));
                }
                (Line::Night(header), None) => {
                    night = Some(Self { header, cells: BTreeMap::new(), end: None });
                }
                (Line::Night(_), Some(_)) => return Err(wrong("a second head".to_owned())),
                (Line::Cell(_) | Line::End(_), None) => return Err(wrong("no head before it".to_owned())),
                (_, Some(Self { end: Some(_), .. })) => return Err(wrong("behind the end".to_owned())),
                (Line::Cell(cell), Some(night)) => {
                    let id = cell.id.clone();
                    if night.cells.insert(id.clone(), *cell).is_some() {
                        return Err(wrong(format!("the cell {id} a second time")));
                    }
                }
                (Line::End(end), Some(night)) if end.cells != night.cells.len() => {
                    let there = night.cells.len();
                    return Err(wrong(format!("{there} cells before the end, which says {}", end.cells)));
                }
                (Line::End(end), Some(night)) => night.end = Some(end),
            }
        }
        night.ok_or(NotANight { line: 1, why: "there is no whole line".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::samples::{cell, night};

    /// Bug: something of a night is lost on its way to the disk and back.
    #[test]
    fn a_night_is_read_as_it_was_written() {
        let night = night(3, [cell("a", Verdict::Pass, 1.5), cell("b", Verdict::Fail, 2.0)]);
        let text = night.to_text().unwrap();
        assert_eq!((Night::parse(&text).unwrap(), text.lines().count()), (night, 4));
    }

    /// Bug: a copy that broke off counts as a good night; or it cannot be read at all.
    #[test]
    fn what_breaks_off_is_an_interrupted_night() {
        let night = night(3, [cell("a", Verdict::Pass, 1.5), cell("b", Verdict::Pass, 2.0)]);
        let text = night.to_text().unwrap();
        assert!(night.is_good());
        for cut in text.find('\n').unwrap() + 1..text.len() {
            if text.is_char_boundary(cut) {
                let read = Night::parse(&text[..cut]).unwrap();
                assert!(!read.is_complete() && !read.is_good() && read.end.is_none(), "{cut}");
            }
        }
    }

    /// Bug: damage in the middle of a file, two nights in one, or a later program's form passes for a night.
    #[test]
    fn what_is_no_night_is_refused_with_its_place() {
        let text =
            night(3, [cell("a", Verdict::Pass, 1.5), cell("b", Verdict::Pass, 2.0)]).to_text().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [head, a, b, end] = lines[..] else { panic!("{text}") };
        let newer = head.replace("\"format\":1", "\"format\":2");
        for (lines, line, why) in [
            (vec![head, a, end], 3, "1 cells before the end, which says 2"),
            (vec![a, b, end], 1, "no head"),
            (vec![head, a, b, end, a], 5, "behind the end"),
            (vec![head, head], 2, "second head"),
            (vec![head, a, a], 3, "a second time"),
            (vec![head, "{}", a], 2, "kind"),
            (vec![&newer], 1, "form 2 is later"),
            (vec![], 1, "no whole line"),
        ] {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let error = Night::parse(&text).unwrap_err();
            assert!(error.line == line && error.why.contains(why), "{error}");
        }
    }

    /// Bug: a night that nothing ran in, or that somebody interrupted, is what later nights are held against as good.
    #[test]
    fn what_counts_as_good() {
        let good = night(1, [cell("a", Verdict::Flaky, 1.0), cell("b", Verdict::Skipped, 1.0)]);
        assert!(good.is_good());
        let end = |change: fn(&mut End)| {
            let mut night = good.clone();
            night.end.iter_mut().for_each(change);
            night.is_good()
        };
        assert!(!end(|end| end.not_run = 1) && !end(|end| end.interrupted = true));
        assert!(!night(1, [cell("b", Verdict::Skipped, 1.0)]).is_good());
        assert!(!night(1, [cell("a", Verdict::Pass, 1.0), cell("b", Verdict::Error, 1.0)]).is_good());
    }

    /// Bug: a night's name leads out of the history's folder.
    #[test]
    fn names_are_files() {
        for bad in ["", "..", "a/b", "../x", ".hidden", "a b", "é"] {
            assert!(NightId::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert_eq!(NightId::try_from("20261129-030012-3fa1c2".to_owned()).unwrap().as_str().len(), 22);
    }
}
