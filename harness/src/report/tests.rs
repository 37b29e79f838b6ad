//! Tests of report folders.

use super::*;
use crate::cell::{Cell, CellId};
use crate::outcome::{Outcome, VmcoreState};
use crate::testing;

pub(crate) fn header() -> RunHeader {
    RunHeader {
        rig: "0".into(),
        qemu: "7.2".into(),
        accel: Accel::Tcg,
        accel_reason: None,
        jobs: 2,
        total: 1,
        made_with: MadeWith::default(),
        part: None,
        merged: Vec::new(),
    }
}

/// A result with this id and verdict; the rest is that of a cell that was captured.
pub(crate) fn result(id: &str, verdict: Verdict) -> CellResult {
    let cell = Cell { id: CellId(id.into()), ..testing::cell() };
    CellResult {
        id: cell.id.clone(),
        repetition: 1,
        suite: cell.suite.clone(),
        expected: cell.expected.clone(),
        cell,
        outcome: Outcome::captured(VmcoreState::Verified),
        words: "captured, vmcore verified".into(),
        verdict,
        attempts: Vec::new(),
        seconds: BTreeMap::new(),
        evidence: id.into(),
        versions: Versions {
            qemu: "7.2".into(),
            first: "1".into(),
            capture: "1".into(),
            loader: "1".into(),
            agent: "1".into(),
            firmware: None,
        },
        accel: Accel::Tcg,
        accel_reason: None,
    }
}

fn ids(results: &[CellResult]) -> Vec<&str> {
    results.iter().map(|result| result.id.0.as_str()).collect()
}

/// Bug: what was run is run again; an error is never run again; a half line spoils the next one; evidence of a trial that a
/// killed run left stands in the way.
#[test]
fn a_report_is_continued_where_it_ended() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("r");
    let (mut report, earlier) = Report::resume(&folder, header()).unwrap();
    assert!(earlier.is_empty(), "begun");
    let skipped = SkippedCell { cell: testing::cell(), why: "no time".into() };
    report.add_skipped(std::slice::from_ref(&skipped)).unwrap();
    for (id, verdict) in [("a", Verdict::Pass), ("b", Verdict::Error), ("c", Verdict::Fail)] {
        report.add(&result(id, verdict)).unwrap();
    }
    let trial = TrialId { cell: CellId("d".into()), repetition: 1 };
    std::fs::write(report.attempt_folder(&trial, 1).unwrap().path.join("console.log"), "half").unwrap();
    drop(report);
    let path = folder.join(RESULTS_FILE);
    let mut lines = std::fs::read(&path).unwrap();
    lines.extend(b"{\"id\":\"d\",\"verd");
    std::fs::write(&path, lines).unwrap();

    let (mut report, earlier) = Report::resume(&folder, RunHeader { jobs: 7, ..header() }).unwrap();
    assert_eq!(ids(&earlier), ["a", "c"]);
    assert_eq!(std::fs::read_dir(report.attempt_folder(&trial, 1).unwrap().path).unwrap().count(), 0);
    report.add_skipped(&[skipped]).unwrap();
    report.add(&result("b", Verdict::Pass)).unwrap();
    report.add(&result("d", Verdict::Pass)).unwrap();
    let read = read_results(&folder).unwrap();
    assert_eq!(ids(&read.trials), ["a", "b", "c", "d"]);
    assert_eq!(read.skipped.len(), 1);
}

/// Bug: results of two versions of a kernel stand in one report; a report of a version that did not say what it was made with
/// is continued with anything; or a run that goes on elsewhere is continued.
#[test]
fn a_report_of_another_run_is_not_continued() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("r");
    let living = Report::create(&folder, header()).unwrap();
    assert!(matches!(Report::resume(&folder, header()), Err(ReportError::Busy(_))));
    drop(living);
    let other = RunHeader { qemu: "9.0".into(), ..header() };
    let why = Report::resume(&folder, other).unwrap_err().to_string();
    assert!(why.contains("QEMU was 7.2 and is 9.0; run without --resume"), "{why}");
    std::fs::write(folder.join(RUN_FILE), "{\"started\":1}").unwrap();
    let why = Report::resume(&folder, header()).unwrap_err().to_string();
    assert!(why.contains("does not say what it was made with"), "{why}");
    let foreign = parent.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.tex"), "").unwrap();
    assert!(matches!(Report::resume(&foreign, header()), Err(ReportError::Foreign(_))));
}

/// Bug: a second run overwrites the evidence of the first, or piles up folders without end.
#[test]
fn one_earlier_report_is_kept() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("latest");
    for run in 0..3 {
        let report = Report::create(&folder, header()).unwrap();
        std::fs::write(folder.join("mark"), run.to_string()).unwrap();
        report.finish(&Summary::default()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(folder.join("mark")).unwrap(), "2");
    assert_eq!(std::fs::read_to_string(parent.path().join("latest.old/mark")).unwrap(), "1");
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 2);
}

/// Bug: a slash behind the folder's name, as shells complete it, has the second run move the first one's report into itself.
#[test]
fn an_earlier_report_is_kept_beside_a_folder_with_a_slash() {
    let parent = tempfile::tempdir().unwrap();
    let folder = PathBuf::from(format!("{}/latest/", parent.path().display()));
    for run in 0..3 {
        let report = Report::create(&folder, header()).unwrap();
        assert_eq!(report.folder().as_os_str(), parent.path().join("latest").as_os_str());
        std::fs::write(folder.join("mark"), run.to_string()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(parent.path().join("latest.old/mark")).unwrap(), "1");
    let (report, _) = Report::resume(&folder, header()).unwrap();
    assert_eq!(report.folder().as_os_str(), parent.path().join("latest").as_os_str());
}

/// Bug: `--report ~` moves somebody's home away.
#[test]
fn a_folder_that_is_no_report_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "").unwrap();
    assert!(matches!(Report::create(folder.path(), header()), Err(ReportError::Foreign(_))));
    assert!(folder.path().join("thesis.tex").exists());
}

/// Bug: two runs with the same folder move each other's results away while they write.
#[test]
fn a_living_run_keeps_its_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("latest");
    let _living = Report::create(&folder, header()).unwrap();
    assert!(matches!(Report::create(&folder, header()), Err(ReportError::Busy(_))));
}

/// Bug: attempts share a folder, or an id leads out of the report.
#[test]
fn folder_names() {
    let trial = |id: &str, repetition| TrialId { cell: CellId(id.into()), repetition };
    assert_eq!(folder_name(&trial("a.256M@1968M", 1), 1), "a.256M@1968M");
    assert_eq!(folder_name(&trial("a", 2), 3), "a.run-2.attempt-3");
    assert_eq!(folder_name(&trial("../b c", 1), 1), ".._b_c");
}

/// Bug: of two runs that begin at the same time in one folder, one takes the other's half-made report for an earlier one and moves
/// it away, or both write into it; or the loser is told of a broken disk.
#[test]
fn runs_that_begin_at_the_same_time_do_not_meet() {
    let temp = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let folder = temp.path().join(format!("report-{round}"));
        let at_once = std::sync::Barrier::new(8);
        let begun: Vec<_> = std::thread::scope(|scope| {
            let begin = || {
                at_once.wait();
                Report::create(&folder, header())
            };
            let runs: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        let (have_it, told): (Vec<_>, Vec<_>) = begun.into_iter().partition(Result::is_ok);
        assert_eq!(have_it.len(), 1, "{told:?}");
        assert!(told.iter().all(|told| matches!(told, Err(ReportError::Busy(_)))), "{told:?}");
        assert!(folder.join(RUN_FILE).is_file() && !folder.with_extension("old").exists());
    }
}
