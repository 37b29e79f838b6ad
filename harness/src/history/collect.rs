//! Makes a night of a report. Pure but for [`RunFacts::read`].

use super::night::{CellNight, End, FORMAT, Header, Night, NightId, Revision};
use crate::accel::Accel;
use crate::artifacts::digest;
use crate::cell::CellId;
use crate::judge::describe_expectation;
use crate::outcome::Verdict;
use crate::report::{CellResult, Look, RUN_FILE, ReadError, Results, SkippedRecord};
use chrono::DateTime;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What `run.json` says, as far as a night holds it. Of reports of other versions what they have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RunFacts {
    started: u64,
    ended: Option<u64>,
    not_run: Option<usize>,
    interrupted: Option<bool>,
    accel: Option<Accel>,
    jobs: Option<usize>,
    qemu: Option<String>,
    made_with: MadeWithFacts,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct MadeWithFacts {
    artifacts: BTreeMap<String, String>,
}

impl RunFacts {
    /// Reads those of the report in `folder`.
    ///
    /// # Errors
    /// There is no `run.json`, or it is none: without the time of its begin a run has no place among the nights.
    pub fn read(folder: &Path) -> Result<Self, ReadError> {
        let path = folder.join(RUN_FILE);
        let text = std::fs::read(&path);
        let read = text.and_then(|text| serde_json::from_slice(&text).map_err(std::io::Error::from));
        read.map_err(|source| ReadError::Unreadable { path, source })
    }
}

/// What only whoever records a night knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorder {
    /// The machine.
    pub host: Option<String>,
    /// What chose among the suites' cells.
    pub selection: Option<String>,
    /// The work tree that the guests' programs were built from.
    pub revision: Option<Revision>,
}

/// The night of a report. `folder` is the report's, for the way to the evidence.
///
/// The same report is always the same night, whoever records it: its name depends on when its run began and on what its cells came to.
/// That of a run that went on since it was recorded (`--resume`) has another name; which of the two counts is decided where the history is
/// read.
pub fn night_of(run: &RunFacts, results: &Results, recorder: Recorder, folder: &Path) -> Night {
    let mut trials: BTreeMap<&CellId, Vec<&CellResult>> = BTreeMap::new();
    results.trials.iter().for_each(|result| trials.entry(&result.id).or_default().push(result));
    let mut cells: BTreeMap<CellId, CellNight> =
        results.skipped.iter().map(|skipped| (skipped.id.clone(), skipped_cell(skipped))).collect();
    let ran = trials.into_values().filter_map(|runs| one_of(&runs, folder));
    cells.extend(ran.map(|cell| (cell.id.clone(), cell)));
    let header = Header {
        format: FORMAT,
        id: name(run.started, &cells),
        began: run.started,
        time: date(run.started, "%Y-%m-%d %H:%M:%S UTC"),
        host: recorder.host,
        accel: run.accel,
        jobs: run.jobs,
        suites: cells.values().map(|cell| cell.suite.clone()).collect(),
        selection: recorder.selection,
        qemu: run.qemu.clone(),
        versions: run.made_with.artifacts.clone(),
        revision: recorder.revision,
    };
    let mut night = Night { header, cells, end: None };
    night.end = run.ended.map(|ended| End {
        ended,
        counts: night.counts(),
        cells: night.cells.len(),
        not_run: run.not_run.unwrap_or(0),
        interrupted: run.interrupted.unwrap_or(false),
    });
    night
}

/// A moment as text. One that no calendar has is told by its number.
pub(super) fn date(seconds: u64, form: &str) -> String {
    let date = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    date.map_or_else(|| seconds.to_string(), |date| date.format(form).to_string())
}

fn name(began: u64, cells: &BTreeMap<CellId, CellNight>) -> NightId {
    // All that a file of the same report would hold again, wherever the report lies by then.
    let of =
        |cell: &CellNight| format!("{} {} {} {:?}\n", cell.id, cell.verdict as u8, cell.words, cell.seconds);
    let content: String = cells.values().map(of).collect();
    NightId::of(began, &digest(content.as_bytes()))
}

/// All runs of a cell as one: that of the worst verdict, with the median time. None of no run.
fn one_of(runs: &[&CellResult], folder: &Path) -> Option<CellNight> {
    let shown = runs.iter().min_by_key(|run| rank(run.verdict))?;
    let passed = |run: &&&CellResult| matches!(run.verdict, Verdict::Pass | Verdict::Flaky);
    let mut by_time: Vec<&&CellResult> = runs.iter().collect();
    by_time.sort_by(|a, b| seconds(a).total_cmp(&seconds(b)));
    // The lower one of the two in the middle, so that its phases are those of one run.
    let median = by_time.get((by_time.len() - 1) / 2)?;
    let shared = |run: &CellResult| {
        run.deciding()
            .and_then(|attempt| attempt.boot.as_ref())
            .is_some_and(|boot| boot.saved_state.is_some())
    };
    // Milliseconds are as exact as the measurement is.
    let rounded = |(phase, seconds): (&String, &f64)| (phase.clone(), (seconds * 1000.0).round() / 1000.0);
    Some(CellNight {
        id: shown.id.clone(),
        suite: shown.suite.clone(),
        expected: describe_expectation(&shown.expected),
        outcome: Some(Look::of(&shown.outcome)),
        words: shown.words.clone(),
        verdict: shown.verdict,
        why: shown.triage().map(|triage| triage.sentence.clone()),
        seconds: median.seconds.iter().map(rounded).collect(),
        shared: shared(median),
        attempts: runs.iter().map(|run| run.attempts.len()).sum(),
        runs: runs.len(),
        passed: runs.iter().filter(passed).count(),
        evidence: folder.join(&shown.evidence),
        versions: Some(shown.versions.clone()),
    })
}

fn seconds(run: &CellResult) -> f64 {
    run.seconds.get("total").copied().unwrap_or(0.0)
}

/// The worst first.
const fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Fail => 0,
        Verdict::Error => 1,
        Verdict::Flaky => 2,
        Verdict::Pass => 3,
        Verdict::Skipped => 4,
    }
}

fn skipped_cell(skipped: &SkippedRecord) -> CellNight {
    CellNight {
        id: skipped.id.clone(),
        suite: skipped.suite.clone(),
        expected: describe_expectation(&skipped.expected),
        outcome: None,
        words: skipped.why.clone(),
        verdict: Verdict::Skipped,
        why: None,
        seconds: BTreeMap::new(),
        shared: false,
        attempts: 0,
        runs: 0,
        passed: 0,
        evidence: std::path::PathBuf::new(),
        versions: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::result;
    use crate::scenario::SkippedCell;
    use crate::testing;

    fn run(ended: Option<u64>) -> RunFacts {
        RunFacts { started: 1_795_921_212, ended, ..RunFacts::default() }
    }

    fn of(run: &RunFacts, results: &Results) -> Night {
        night_of(run, results, Recorder::default(), Path::new("/r"))
    }

    /// Bug: a run that was killed is recorded as a whole night; or a report that is recorded twice becomes two nights.
    #[test]
    fn the_same_report_is_the_same_night() {
        let results = Results { trials: vec![result("a", Verdict::Pass)], skipped: Vec::new() };
        let (killed, whole) = (of(&run(None), &results), of(&run(Some(1_795_921_300)), &results));
        assert!(killed.end.is_none() && whole.is_good());
        assert_eq!(whole.header.id, of(&run(Some(1_795_921_300)), &results).header.id);
        assert_eq!(whole.took(), Some(88));
        let host = Recorder { host: Some("x".into()), ..Recorder::default() };
        let elsewhere = night_of(&run(Some(1_795_921_300)), &results, host, Path::new("/elsewhere"));
        assert_eq!(whole.header.id, elsewhere.header.id);
        let other = Results { trials: vec![result("a", Verdict::Fail)], skipped: Vec::new() };
        assert_ne!(whole.header.id, of(&run(Some(1_795_921_300)), &other).header.id);
        assert!(whole.header.id.as_str().starts_with("20261129-030012-"), "{}", whole.header.id);
    }

    /// Bug: of several runs of a cell a pass hides a failure, or one slow run stands for its time.
    #[test]
    fn runs_of_a_cell_are_one() {
        let timed = |repetition, verdict, total: f64| {
            let seconds = [("total".to_owned(), total)].into();
            CellResult { repetition, seconds, ..result("a", verdict) }
        };
        let trials = vec![
            timed(1, Verdict::Pass, 9.0),
            timed(2, Verdict::Fail, 1.00049),
            timed(3, Verdict::Pass, 2.0),
        ];
        let night = of(&run(Some(1)), &Results { trials, skipped: Vec::new() });
        let cell = night.cells.values().next().unwrap();
        assert_eq!((cell.verdict, cell.runs, cell.passed, cell.total()), (Verdict::Fail, 3, 2, Some(2.0)));
        assert_eq!(cell.evidence, Path::new("/r/a"));
    }

    /// Bug: a skipped cell is lost, so that it seems to have vanished from its suite.
    #[test]
    fn skipped_cells_are_kept() {
        let skipped = SkippedRecord::from(&SkippedCell { cell: testing::cell(), why: "no memory".into() });
        let night = of(&run(Some(1)), &Results { trials: Vec::new(), skipped: vec![skipped] });
        let cell = night.cells.values().next().unwrap();
        assert_eq!((cell.verdict, cell.outcome, cell.words.as_str()), (Verdict::Skipped, None, "no memory"));
        assert_eq!(night.header.suites, [testing::cell().suite].into());
    }

    /// Bug: a folder that is no report is recorded as a night of 1970.
    #[test]
    fn a_report_without_its_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(RunFacts::read(folder.path()).is_err());
        std::fs::write(folder.path().join(RUN_FILE), "{\"started\":7,\"accel\":\"tcg\",\"host\":{}}")
            .unwrap();
        let read = RunFacts::read(folder.path()).unwrap();
        assert_eq!((read.started, read.accel), (7, Some(Accel::Tcg)));
    }
}
