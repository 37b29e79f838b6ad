//! Tests of report folders.

use super::*;
use crate::cell::CellId;

fn header() -> RunHeader {
    RunHeader { rig: "0".into(), qemu: "7.2".into(), accel: Accel::Tcg, jobs: 2, total: 1 }
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
