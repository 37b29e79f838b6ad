//! Tests of judging again.

use super::*;
use crate::evidence::GuestEnd;
use crate::outcome::VmcoreState;
use crate::testing;
use crate::triage::Finding;

fn captured() -> Outcome {
    Outcome::captured(VmcoreState::Verified)
}

/// What evidence of a guest comes to that the rig could not go on with.
fn trouble(what: &str) -> Evidence {
    Evidence { end: Some(GuestEnd::Trouble { what: what.into() }), ..Evidence::default() }
}

fn rig_error(what: &str) -> Outcome {
    Outcome::RigError { what: what.into() }
}

/// A result of attempts with these outcomes, as the runner records it.
fn result(outcomes: &[Outcome]) -> CellResult {
    let mut result = testing::result(outcomes.last().unwrap().clone());
    let record = |(index, outcome): (usize, &Outcome)| AttemptRecord {
        attempt: index as u32 + 1,
        outcome: outcome.clone(),
        verdict: judge::judge(outcome, &result.expected),
        seconds: 1.0,
        boot: None,
        notes: Vec::new(),
        peak_mib: None,
        last_phase: None,
        triage: None,
        verbose: None,
        evidence: format!("attempt-{index}").into(),
    };
    result.attempts = outcomes.iter().enumerate().map(record).collect();
    let verdicts: Vec<Verdict> = result.attempts.iter().map(|attempt| attempt.verdict).collect();
    result.verdict = judge::overall(&verdicts).unwrap();
    result
}

/// Bug: what comes to the same is told as different, or the other way round.
#[test]
fn what_was_recorded_is_held_against_what_the_evidence_says() {
    let mut result = result(&[rig_error("QEMU died")]);
    let whole = |what: &'static str| move |_: &AttemptRecord| Saved::Evidence(Box::new(trouble(what)));
    assert!(!rejudge(&result, &result.expected, whole("QEMU died")).differs());
    let now = rejudge(&result, &result.expected, whole("QEMU was killed"));
    assert!(now.differs());
    assert_eq!((now.was.outcome, now.now.outcome), (rig_error("QEMU died"), rig_error("QEMU was killed")));
    // Other rules for the verdict on all attempts, the attempts' own being the same.
    result.verdict = Verdict::Flaky;
    assert!(rejudge(&result, &result.expected, whole("QEMU died")).differs());
}

/// Bug: another cause is no difference; or every attempt differs that was recorded before there were sentences.
#[test]
fn another_cause_is_a_difference() {
    let mut result = result(&[rig_error("QEMU died")]);
    let whole = |_: &AttemptRecord| Saved::Evidence(Box::new(trouble("QEMU died")));
    let why = rejudge(&result, &result.expected, whole).now.why;
    assert!(why.is_some_and(|why| why.contains("QEMU died")));
    let triage = Finding::RigTrouble { what: "QEMU died".into() };
    result.attempts[0].triage = Some(triage.into());
    assert!(!rejudge(&result, &result.expected, whole).differs());
    result.attempts[0].triage = Some(Finding::RigTrouble { what: "it was tired".into() }.into());
    assert!(rejudge(&result, &result.expected, whole).differs());
}

/// Bug: another expectation changes nothing, since only outcomes are compared.
#[test]
fn another_expectation_makes_another_verdict() {
    let result = result(&[captured()]);
    let none = |_: &AttemptRecord| Saved::None;
    let now = rejudge(&result, &Expectation::Unreserved, none);
    assert_eq!((now.was.verdict, now.now.verdict, now.differs()), (Verdict::Pass, Verdict::Fail, true));
}

/// Bug: an attempt with spoilt evidence stops the others, counts as judged, or loses its recorded outcome.
#[test]
fn spoilt_evidence_is_told_and_changes_nothing() {
    let result = result(&[rig_error("QEMU died"), captured()]);
    assert_eq!(result.verdict, Verdict::Flaky);
    let saved = |record: &AttemptRecord| match record.attempt {
        1 => Saved::Evidence(Box::new(trouble("QEMU died"))),
        _ => Saved::Unreadable { why: "evidence.json is cut off".into() },
    };
    let trial = rejudge(&result, &result.expected, saved);
    assert!(!trial.differs());
    assert_eq!(trial.now.verdict, Verdict::Flaky);
    let counts = Counts::of(&[trial]);
    let expected = Counts { same: 1, judged: 1, unreadable: 1, ..Counts::default() };
    assert_eq!(counts, expected);
}

/// Bug: the folder of an attempt that never had one is taken to be the report's own; a folder that is gone is spoilt evidence.
#[test]
fn what_was_never_saved_is_no_spoilt_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = result(&[captured()]).attempts.remove(0);
    assert!(matches!(saved_evidence(folder.path(), &record), Saved::None));
    std::fs::create_dir(folder.path().join(&record.evidence)).unwrap();
    let file = folder.path().join(&record.evidence).join("evidence.json");
    std::fs::write(file, "{").unwrap();
    let Saved::Unreadable { why } = saved_evidence(folder.path(), &record) else { panic!("readable") };
    assert!(why.contains("attempt-0/evidence.json") && why.contains("line 1"), "{why}");
    record.evidence = PathBuf::new();
    std::fs::write(folder.path().join("evidence.json"), "{").unwrap();
    assert!(matches!(saved_evidence(folder.path(), &record), Saved::None));
}

/// Bug: a changed detail looks like no change in the table.
#[test]
fn the_table_shows_changes_first() {
    let result = result(&[rig_error("QEMU died")]);
    let of =
        |what: &'static str| rejudge(&result, &result.expected, |_| Saved::Evidence(Box::new(trouble(what))));
    let rows = table(&[of("QEMU died"), of("other"), of("QEMU died")]).rows;
    let expected = [
        ["error: rig error", "error: rig error, with other details", "1"],
        ["error: rig error", "the same", "2"],
    ];
    assert_eq!(rows, expected);
}
