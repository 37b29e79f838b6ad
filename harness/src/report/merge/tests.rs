//! Tests of merged reports.

use super::*;
use crate::cell::{Cell, CellId, Reservation};
use crate::durations::Durations;
use crate::outcome::{Outcome, Verdict};
use crate::partition::WholePlan;
use crate::report::tests::{header, result};
use crate::report::{AttemptRecord, PartRecord, read_run};
use crate::runner::Conclusion;
use crate::scenario::SkippedCell;
use crate::testing;
use std::num::NonZeroU64;

/// Cells of as many boots.
fn cells(ids: &[&str]) -> Vec<Cell> {
    let cell = |(index, id): (usize, &&str)| Cell {
        id: CellId((*id).into()),
        reservation: Reservation::At {
            size: testing::mib(256),
            offset_mib: 512 + 16 * u32::try_from(index).unwrap(),
        },
        ..testing::cell()
    };
    ids.iter().enumerate().map(cell).collect()
}

fn plan(of: u64) -> WholePlan {
    let (run, skipped) = (cells(&["a", "b", "c", "d", "e"]), cells(&["s"]));
    WholePlan::deal(&run, &skipped, &Durations::default(), NonZeroU64::new(of).unwrap())
}

fn part(number: usize, of: u64) -> Part {
    let part = PartOfPlan { partition: format!("{number}/{of}").parse().unwrap(), plan: plan(of) };
    let header = RunHeader { part: Some(PartRecord::of(&part)), ..header() };
    let run = RecordedRun {
        header,
        started: 100 + number as u64,
        ended: Some(200 + number as u64),
        not_run: Some(0),
        interrupted: Some(false),
        leaked: Vec::new(),
        cost: None,
    };
    let own = part.plan.ids(part.partition.part());
    let trials = own.iter().filter(|id| id.0 != "s").map(|id| result(&id.0, Verdict::Pass)).collect();
    let skipped = SkippedCell { cell: cells(&["s"]).remove(0), why: "why".into() };
    let skipped = own.iter().filter(|id| id.0 == "s").map(|_| SkippedRecord::from(&skipped)).collect();
    Part { name: format!("p{number}"), run, part, results: Results { trials, skipped } }
}

fn parts() -> Vec<Part> {
    vec![part(2, 3), part(1, 3), part(3, 3)]
}

fn told(parts: &[Part]) -> String {
    text(&join(parts).unwrap_err())
}

/// Bug: a merged report lacks a cell or has one twice, is in another order every night, or says of itself what is true of one part
/// alone.
#[test]
fn parts_make_up_the_whole() {
    let joined = join(&parts()).unwrap();
    let ids: Vec<_> = joined.trials.iter().map(|(_, result)| result.id.0.as_str()).collect();
    assert_eq!((ids, joined.skipped.len()), (vec!["a", "b", "c", "d", "e"], 1));
    assert_eq!((joined.started, joined.ended), (101, 203));
    assert_eq!((joined.header.jobs, joined.header.total, joined.header.part), (6, 5, None));
    let merged: Vec<_> = joined.header.merged.iter().map(|run| run.partition.to_string()).collect();
    assert_eq!(merged, ["1/3", "2/3", "3/3"]);
    assert_eq!(joined.summary.count(Verdict::Pass), 5);
}

/// Bug: a host that died takes its cells along, and the night is green.
#[test]
fn what_is_missing_is_named() {
    let without = [part(1, 3), part(3, 3)];
    let cells: Vec<_> =
        plan(3).ids(NonZeroU64::new(2).unwrap()).iter().map(|id| format!("\n  {id}")).collect();
    let expected = format!("no report is of part 2/3, which has {} cells:{}", cells.len(), cells.concat());
    assert_eq!(told(&without), expected);

    let mut killed = parts();
    let lost = killed[0].results.trials.pop().unwrap();
    (killed[0].run.ended, killed[0].run.not_run) = (None, None);
    let expected = "p2 lacks 1 cell, for its run was killed or goes on; --resume continues it:\n  ";
    assert_eq!(told(&killed), format!("{expected}{}", lost.id));

    let mut skipped = parts();
    skipped.iter_mut().for_each(|part| part.results.skipped.clear());
    assert!(told(&skipped).ends_with("lacks 1 cell:\n  s"), "{}", told(&skipped));
    let mut repeated = parts();
    repeated.iter_mut().for_each(|part| part.run.header.made_with.repeat = 2);
    assert!(told(&repeated).contains("\n  a#2"), "{}", told(&repeated));
}

/// Bug: a part that ran twice counts twice, and a cell that failed on one host and passed on another is whatever came last.
#[test]
fn duplicates_and_contradictions_are_named() {
    let mut again = parts();
    let mut copy = again[0].clone();
    copy.name = "copy".into();
    again.push(copy);
    assert!(told(&again).starts_with("p2 and copy both have "), "{}", told(&again));
    let failed = again[3].results.trials.first_mut().unwrap();
    failed.verdict = Verdict::Error;
    (failed.outcome, failed.words) = (Outcome::RigError { what: "x".into() }, "rig error".into());
    let id = failed.id.clone();
    let expected = format!(
        "p2 and copy contradict each other in 1 cell:\n  {id}: pass (captured, vmcore verified), and error (rig error)"
    );
    assert!(told(&again).ends_with(&expected), "{}", told(&again));

    let mut foreign = parts();
    foreign[0].results.trials.push(result("alien", Verdict::Pass));
    assert_eq!(told(&foreign), "p2 has 1 cell that its part does not have:\n  alien");
}

/// Bug: results of two versions of QEMU or of two loaders stand in one report, or parts of another night's plan.
#[test]
fn other_plans_and_means_are_refused() {
    let mut qemu = parts();
    qemu[2].run.header.qemu = "9.0".into();
    assert_eq!(told(&qemu), "p3 was not run as p2 was: QEMU was 7.2 and is 9.0");
    let mut loaders = parts();
    let loader = |version: &str| [("loader in-tree for i386".to_owned(), version.to_owned())].into();
    loaders[0].run.header.made_with.artifacts = loader("aa");
    loaders[1].run.header.made_with.artifacts = loader("bb");
    loaders[2].run.header.made_with.artifacts = loader("aa");
    assert_eq!(told(&loaders), "p1 was not run as p2 was: loader in-tree for i386 was aa and is bb");
    let plans = [part(1, 2), part(2, 3), part(3, 3)];
    assert!(told(&plans).starts_with("p2 and p1 are parts of different plans"), "{}", told(&plans));
}

/// The only attempt of a result.
fn attempt(result: &CellResult, evidence: PathBuf) -> AttemptRecord {
    AttemptRecord {
        attempt: 1,
        outcome: result.outcome.clone(),
        verdict: result.verdict,
        seconds: 1.0,
        peak_mib: None,
        boot: None,
        notes: Vec::new(),
        last_phase: None,
        triage: None,
        verbose: None,
        evidence,
    }
}

/// Bug: a merged report lacks a cell's evidence, the archive that its script needs or its pages; or a merge overwrites what it reads.
#[test]
fn a_merged_report_is_one() {
    let parent = tempfile::tempdir().unwrap();
    let mut folders = Vec::new();
    for (index, part) in parts().into_iter().enumerate() {
        let folder = parent.path().join(format!("part-{index}"));
        let mut report = Report::create(&folder, part.run.header.clone()).unwrap();
        report.write_plan(&part.part.plan).unwrap();
        report.keep("initramfs", &format!("{index}.cpio"), b"archive").unwrap();
        part.results.skipped.iter().for_each(|skipped| report.add_line(skipped).unwrap());
        for mut result in part.results.trials {
            let attempt = report.attempt_folder(&result.trial(), 1).unwrap();
            std::fs::write(attempt.path.join("console.log"), &result.id.0).unwrap();
            result.evidence.clone_from(&attempt.name);
            result.attempts.push(self::attempt(&result, attempt.name));
            report.add(&result).unwrap();
        }
        report.finish(&Summary { leaked: vec![format!("group {index}")], ..Summary::default() }).unwrap();
        folders.push(folder);
    }
    assert!(matches!(merge(&folders, &folders[0]), Err(MergeError::Onto(_))));
    let out = parent.path().join("merged");
    let merged = merge(&folders, &out).unwrap();
    assert_eq!((merged.skipped, merged.summary.leaked.len()), (1, 3));
    assert_eq!(merged.summary.conclusion(), Conclusion::RigFailed, "processes were left behind");
    let results = read_results(&out).unwrap();
    assert_eq!((results.trials.len(), results.skipped.len()), (5, 1));
    for result in &results.trials {
        let console = out.join(&result.evidence).join("console.log");
        assert_eq!(std::fs::read_to_string(console).unwrap(), result.id.0);
    }
    for file in ["report.html", "junit.xml", "initramfs/0.cpio", "initramfs/2.cpio"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    let run = read_run(&out).unwrap();
    assert_eq!((run.header.merged.len(), run.header.part, run.interrupted), (3, None, Some(false)));
    let why = merge(&[out], &parent.path().join("again")).unwrap_err().to_string();
    assert!(why.contains("is not of a part"), "{why}");

    std::fs::write(folders[1].join("results.jsonl"), "").unwrap();
    let why = merge(&folders, &parent.path().join("lost")).unwrap_err().to_string();
    assert!(why.contains("part-1 lacks ") && !parent.path().join("lost").exists(), "{why}");
}

/// Bug: cells that failed are told as trouble of the host, because a page of the merged report cannot be written; or that is not told.
#[test]
fn a_page_without_room_hides_no_failure() {
    for (verdict, conclusion) in
        [(Verdict::Fail, Conclusion::SomeFailed), (Verdict::Pass, Conclusion::RigFailed)]
    {
        let parent = tempfile::tempdir().unwrap();
        let mut part = part(1, 1);
        part.results.trials[0].verdict = verdict;
        let folder = parent.path().join("p");
        let mut report = Report::create(&folder, part.run.header.clone()).unwrap();
        report.write_plan(&part.part.plan).unwrap();
        part.results.skipped.iter().for_each(|skipped| report.add_line(skipped).unwrap());
        for result in &part.results.trials {
            // Evidence that takes the page's place.
            let evidence = folder.join("report.html");
            std::fs::create_dir_all(&evidence).unwrap();
            std::fs::write(evidence.join("console.log"), "x").unwrap();
            let attempts = vec![attempt(result, "report.html".into())];
            report.add(&CellResult { attempts, ..result.clone() }).unwrap();
        }
        let merged = merge(&[folder], &parent.path().join("merged")).unwrap();
        assert_eq!(merged.summary.conclusion(), conclusion);
        let why = merged.summary.unwritten.unwrap_or_default();
        assert!(why.contains("report.html"), "{why}");
    }
}

/// Bug: a task that was lost is not seen to be, or one that is whole is run again.
#[test]
fn lost_trials_are_found() {
    let parent = tempfile::tempdir().unwrap();
    let part = part(1, 3);
    let folder = parent.path().join("p");
    let all = part.results.trials.len();
    assert_eq!(super::super::lost_trials(&folder, &part.part, 1).len(), all, "there is no report");
    let mut report = Report::create(&folder, part.run.header.clone()).unwrap();
    report.write_plan(&part.part.plan).unwrap();
    report.add(&part.results.trials[0]).unwrap();
    let lost = |repeat| super::super::lost_trials(&folder, &part.part, repeat).len();
    assert_eq!((lost(1), lost(2)), (all - 1, 2 * all - 1));
    part.results.trials[1..].iter().for_each(|result| report.add(result).unwrap());
    assert_eq!(lost(1), 0);
    let other = PartOfPlan { plan: plan(4), partition: "1/4".parse().unwrap() };
    assert!(!super::super::lost_trials(&folder, &other, 1).is_empty(), "of another plan");
}
