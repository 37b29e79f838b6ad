//! How long cells took when they were last run: what runs are ordered and parted by. Pure, but for [`Durations::read`].
//!
//! ```text
//! { "format": 1, "accel": "tcg", "cells": { "<cell id>": seconds }, "alike": { "<outcome> <first> <capture>": seconds } }
//! ```
//!
//! Sorted, one line a cell, so that a change of one shows as one line. `alike` has the medians that a cell without a duration of its
//! own is guessed by. The numbers decide on time alone and never on a verdict: any file is a right one.

use crate::accel::Accel;
use crate::cell::{Cell, CellId};
use crate::outcome::{Expectation, OutcomeKind, Verdict};
use crate::report::CellResult;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The only format up to now.
const FORMAT: u32 = 1;

/// What a cell is taken to last of which nothing at all is known, in seconds: about the median of the suite `smoke` with TCG
/// on two cores.
pub const UNKNOWN_SECONDS: f64 = 10.0;

/// The longest duration that is believed, in seconds: a day.
const LONGEST: f64 = 86_400.0;

/// Recorded durations, in seconds of a guest's life, rounded to tenths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    accel: Option<Accel>,
    cells: BTreeMap<CellId, f64>,
    /// Medians, by [`Likeness`].
    alike: BTreeMap<String, f64>,
}

/// The file, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    accel: Accel,
    cells: BTreeMap<CellId, f64>,
    #[serde(default)]
    alike: BTreeMap<String, f64>,
}

/// A file of durations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DurationsError {
    /// It is there and cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} has no durations: {why}; `cargo xtask durations REPORT` writes such a file anew")]
    NoDurations {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Results that stand in no proportion to those that are there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these results are of {new}, and the durations up to now of {old}: they stand in no proportion")]
pub struct OtherAccel {
    old: Accel,
    new: Accel,
}

impl Durations {
    /// Reads a file of durations. One that is not there has none.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Self, DurationsError> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                parse(&text).map_err(|why| DurationsError::NoDurations { path: path.to_owned(), why })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(DurationsError::Unreadable { path: path.to_owned(), source }),
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Of how many cells the duration is known.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// What this cell took when it was last run, in seconds.
    pub fn seconds(&self, id: &CellId) -> Option<f64> {
        self.cells.get(id).copied()
    }

    /// What this cell will take, in seconds: what it took last; else the median of those most alike (of the same expected outcome and
    /// the same two kernels; else of the same expected outcome; else of all); else [`UNKNOWN_SECONDS`].
    pub fn estimate(&self, cell: &Cell) -> f64 {
        let likeness = Likeness::of(cell);
        self.seconds(&cell.id)
            .or_else(|| self.alike.get(&likeness.key()).copied())
            .or_else(|| {
                let outcome = format!("{} ", likeness.outcome);
                median(self.alike.iter().filter(|(key, _)| key.starts_with(&outcome)).map(|(_, s)| *s))
            })
            .or_else(|| median(self.cells.values().copied()))
            .unwrap_or(UNKNOWN_SECONDS)
    }

    /// Takes the durations of a run, in place of earlier ones of the same cells. Of a cell that was run several times, their median. What
    /// ended in an error lasted as long as the trouble, and is left out.
    ///
    /// # Errors
    /// They are of another accelerator. Nothing is taken then.
    pub fn record(&mut self, results: &[CellResult]) -> Result<(), OtherAccel> {
        let told: Vec<(&CellResult, f64)> = results
            .iter()
            .filter(|result| result.verdict != Verdict::Error)
            .filter_map(|result| Some((result, *result.seconds.get("total")?)))
            .filter(|(_, seconds)| is_duration(*seconds))
            .collect();
        let accel = told.iter().try_fold(self.accel, |before, (result, _)| match before {
            Some(old) if old != result.accel => Err(OtherAccel { old, new: result.accel }),
            Some(_) | None => Ok(Some(result.accel)),
        })?;
        let mut cells: BTreeMap<&CellId, Vec<f64>> = BTreeMap::new();
        let mut alike: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (result, seconds) in told {
            cells.entry(&result.id).or_default().push(seconds);
            alike.entry(Likeness::of(&result.cell).key()).or_default().push(seconds);
        }
        self.accel = accel;
        for (id, seconds) in cells {
            self.cells.extend(median(seconds).map(|seconds| (id.clone(), rounded(seconds))));
        }
        for (key, seconds) in alike {
            self.alike.extend(median(seconds).map(|seconds| (key, rounded(seconds))));
        }
        Ok(())
    }

    /// The file's text; none where nothing is known, for then there is nothing to say.
    pub fn text(&self) -> Option<String> {
        let written = Written {
            format: FORMAT,
            accel: self.accel?,
            cells: self.cells.clone(),
            alike: self.alike.clone(),
        };
        // Maps of texts and finite numbers always serialise.
        serde_json::to_string_pretty(&written).ok().map(|text| text + "\n")
    }
}

fn parse(text: &str) -> Result<Durations, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    // Told apart first: a later format has fields that are unknown here, and that would be what is complained of.
    let Format { format } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if format != FORMAT {
        return Err(format!("it is of format {format}, and this program knows format {FORMAT}"));
    }
    let Written { accel, cells, alike, .. } =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let named = cells.iter().map(|(id, seconds)| (&id.0, seconds)).chain(&alike);
    if let Some((name, seconds)) = named.into_iter().find(|(_, seconds)| !is_duration(**seconds)) {
        return Err(format!("{name} cannot have taken {seconds} seconds"));
    }
    Ok(Durations { accel: Some(accel), cells, alike })
}

/// What makes cells take about as long: what is to come of them, and the two kernels that boot.
struct Likeness<'a> {
    outcome: &'static str,
    first: &'a str,
    capture: &'a str,
}

impl<'a> Likeness<'a> {
    fn of(cell: &'a Cell) -> Self {
        let outcome = match cell.expected {
            Expectation::Captured { .. } => OutcomeKind::Captured.name(),
            Expectation::Refused { .. } => OutcomeKind::Refused.name(),
            Expectation::Hung { .. } => OutcomeKind::Hung.name(),
            Expectation::StoppedByPurgatory { .. } => OutcomeKind::StoppedByPurgatory.name(),
            Expectation::Unreserved => OutcomeKind::Unreserved.name(),
            Expectation::Observed => "observed",
        };
        Self { outcome, first: &cell.first.name, capture: &cell.capture.name }
    }

    fn key(&self) -> String {
        format!("{} {} {}", self.outcome, self.first, self.capture)
    }
}

fn is_duration(seconds: f64) -> bool {
    (0.0..=LONGEST).contains(&seconds)
}

/// To tenths: more is noise, which would make every line of the file differ from night to night.
fn rounded(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

/// The median, of an even number of values the lower of the two in the middle.
fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ExpectedRefuser;
    use crate::report::tests::result;
    use crate::testing;

    fn took(id: &str, seconds: f64) -> CellResult {
        CellResult { seconds: [("total".to_owned(), seconds)].into(), ..result(id, Verdict::Pass) }
    }

    fn of(results: &[CellResult]) -> Durations {
        let mut durations = Durations::default();
        durations.record(results).unwrap();
        durations
    }

    fn id(text: &str) -> CellId {
        CellId(text.into())
    }

    /// Bug: the hour that a dying disk took is what a cell is planned by from then on; of five runs the last one counts alone; an
    /// earlier run stands in place of a newer one.
    #[test]
    fn the_newest_run_counts_and_errors_do_not() {
        let error = CellResult { verdict: Verdict::Error, ..took("a", 3600.0) };
        let mut durations = of(&[took("a", 9.0), took("b", 4.04), took("b", 6.06), took("b", 99.0)]);
        durations.record(&[took("a", 8.0), error]).unwrap();
        assert_eq!((durations.seconds(&id("a")), durations.seconds(&id("b"))), (Some(8.0), Some(6.1)));
        assert_eq!((durations.seconds(&id("c")), durations.len()), (None, 2));
    }

    /// Bug: a new cell is guessed by what has nothing to do with it, or counts as nothing, and a part that is full of new cells never
    /// ends.
    #[test]
    fn a_new_cell_is_guessed_by_those_alike() {
        let new = Cell { id: id("new"), ..testing::cell() };
        assert_eq!(Durations::default().estimate(&new), UNKNOWN_SECONDS);
        let refused = Expectation::Refused { by: ExpectedRefuser::Loader, message: Vec::new() };
        let with = |id: &str, seconds: f64, change: &dyn Fn(&mut Cell)| {
            let mut result = took(id, seconds);
            change(&mut result.cell);
            result
        };
        let durations = of(&[
            took("a", 10.0),
            took("b", 12.0),
            took("c", 90.0),
            with("d", 3.0, &|cell| cell.expected = refused.clone()),
            with("e", 30.0, &|cell| cell.capture.name = "6.1-amd64".into()),
        ]);
        assert_eq!(durations.estimate(&new), 12.0, "the same outcome and kernels");
        assert_eq!(durations.estimate(&Cell { id: id("a"), ..new.clone() }), 10.0, "its own");
        let mut other = new.clone();
        other.first.name = "6.12-amd64".into();
        assert_eq!(durations.estimate(&other), 12.0, "the same outcome: of 12 and 30 the lower");
        assert_eq!(durations.estimate(&Cell { expected: refused, ..other.clone() }), 3.0);
        let nothing_alike = Cell { expected: Expectation::Unreserved, ..other };
        assert_eq!(durations.estimate(&nothing_alike), 12.0, "the median of all");
    }

    /// Bug: cells under KVM, ten times faster, stand among cells under TCG, and all that is new looks endless.
    #[test]
    fn accelerators_are_kept_apart() {
        let mut durations = of(&[took("a", 9.0)]);
        let before = durations.clone();
        let why = durations.record(&[CellResult { accel: Accel::Kvm, ..took("b", 1.0) }]).unwrap_err();
        assert!(why.to_string().contains("of kvm, and the durations up to now of tcg"), "{why}");
        assert_eq!(durations, before);
    }

    /// Bug: the file is not what was recorded, is in another order every time, or has cells in one line that nobody can review.
    #[test]
    fn what_is_written_is_read() {
        let durations = of(&[took("b", 6.06), took("a", 4.0)]);
        let text = durations.text().unwrap();
        assert!(text.contains("  \"cells\": {\n    \"a\": 4.0,\n    \"b\": 6.1\n  }"), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("durations.json");
        assert_eq!(Durations::read(&path).unwrap(), Durations::default());
        std::fs::write(&path, &text).unwrap();
        assert_eq!(Durations::read(&path).unwrap(), durations);
        assert_eq!(Durations::default().text(), None);
    }

    /// Bug: a file with a duration of minus one or of a century, or of a later format, is taken, and all cells land in one part.
    #[test]
    fn what_are_no_durations_is_refused() {
        for (text, told) in [
            ("", "EOF"),
            (r#"{"format":2,"new":1}"#, "format 2"),
            (r#"{"format":1,"accel":"tcg"}"#, "cells"),
            (r#"{"format":1,"accel":"tcg","cells":{"a":-1}}"#, "a cannot have taken -1 seconds"),
            (r#"{"format":1,"accel":"tcg","cells":{"a":1e9}}"#, "cannot have taken"),
            (r#"{"format":1,"accel":"tcg","cells":{},"alike":{"x":-2}}"#, "x cannot have taken"),
            (r#"{"format":1,"accel":"fast","cells":{}}"#, "fast"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(told), "{text}: {why}");
        }
    }
}
