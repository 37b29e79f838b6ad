//! A report as JUnit XML, for CI systems: suites are the rig's suites, cases its cells. Pure.
//!
//! A failure speaks of loader or kernels, an error of rig, host or platform; a cell that passed at a later attempt passes, with
//! what its earlier attempts came to as flaky failures. The elements are those of Maven Surefire's reports
//! (<https://maven.apache.org/surefire/maven-surefire-plugin/xsd/surefire-test-report.xsd>), which CI systems read.

use super::view::{AttemptView, ReportView, RunView, TrialView};
use super::visible::visible;
use super::{AttemptRecord, Look, SkippedRecord, verdict_name};
use crate::cell::Cell;
use crate::filter::Axis;
use crate::judge::{describe, describe_expectation, judge, near_miss};
use crate::outcome::Verdict;
use chrono::DateTime;
use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestRerun, TestSuite,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// The document for a report.
///
/// # Errors
/// None that a report could cause: texts are made fit for XML first.
pub fn junit(view: &ReportView) -> Result<String, SerializeError> {
    let mut suites: BTreeMap<&str, Vec<TestCase>> = BTreeMap::new();
    for trial in &view.trials {
        suites.entry(&trial.result.suite).or_default().push(case(trial));
    }
    for skipped in &view.skipped {
        suites.entry(&skipped.suite).or_default().push(skipped_case(skipped));
    }
    let mut report = Report::new("kdump-rig");
    let run = &view.run;
    if let Some(started) = run.started.and_then(|started| DateTime::from_timestamp(started.cast_signed(), 0))
    {
        report.set_timestamp(started.fixed_offset());
    }
    if let Some((started, ended)) = run.started.zip(run.ended) {
        report.set_time(Duration::from_secs(ended.saturating_sub(started)));
    }
    for (name, cases) in suites {
        let mut suite = TestSuite::new(visible(name));
        suite.set_time(cases.iter().filter_map(|case| case.time).sum());
        suite.add_properties(run_properties(run));
        suite.add_test_cases(cases);
        report.add_test_suite(suite);
    }
    report.to_string()
}

fn case(trial: &TrialView) -> TestCase {
    let result = &trial.result;
    let seconds = result.attempts.iter().map(|attempt| attempt.seconds).sum();
    let mut case = TestCase::new(visible(&result.trial().to_string()), status(trial));
    case.set_classname(class(&result.cell));
    case.set_time(duration(seconds));
    case.add_properties(axes(&result.cell));
    let versions = &result.versions;
    case.add_properties([
        property("accel", &result.accel.to_string()),
        property("outcome", Look::of(&result.outcome).words()),
        property("verdict", verdict_name(result.verdict)),
        property("qemu", &versions.qemu),
        property("version.first", &versions.first),
        property("version.capture", &versions.capture),
        property("version.loader", &versions.loader),
        property("version.agent", &versions.agent),
    ]);
    if let Some(evidence) =
        trial.deciding().filter(|view| !view.console.is_empty() && !trial.is_as_expected())
    {
        case.set_system_out(visible(&evidence.console.join("\n")));
    }
    case
}

fn status(trial: &TrialView) -> TestCaseStatus {
    let result = &trial.result;
    let deciding = trial.deciding_at();
    let attempts = result.attempts.iter().zip(&trial.attempts).enumerate();
    let reruns = attempts
        .filter(|(at, _)| Some(*at) != deciding)
        .filter_map(|(_, (record, view))| Some(rerun(kind_of(record.verdict)?, trial, record, view)));
    match kind_of(result.verdict) {
        None if result.verdict == Verdict::Skipped => TestCaseStatus::skipped(),
        None => {
            let mut status = TestCaseStatus::success();
            status.add_reruns(reruns);
            status
        }
        Some(kind) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(visible(&result.words));
            status.set_type(Look::of(&result.outcome).words());
            status.set_description(match trial.deciding_at() {
                Some(at) => text(trial, &result.attempts[at], trial.attempts.get(at)),
                None => visible(&format!("found: {}", result.words)),
            });
            status.add_reruns(reruns);
            status
        }
    }
}

/// What an attempt is that is not the one which decided.
fn rerun(kind: NonSuccessKind, trial: &TrialView, record: &AttemptRecord, view: &AttemptView) -> TestRerun {
    let mut rerun = TestRerun::new(kind);
    rerun.set_time(duration(record.seconds));
    rerun.set_message(visible(&describe(&record.outcome)));
    rerun.set_type(Look::of(&record.outcome).words());
    rerun.set_description(text(trial, record, Some(view)));
    rerun
}

/// None: as expected, or not run.
const fn kind_of(verdict: Verdict) -> Option<NonSuccessKind> {
    match verdict {
        Verdict::Fail => Some(NonSuccessKind::Failure),
        Verdict::Error => Some(NonSuccessKind::Error),
        Verdict::Pass | Verdict::Flaky | Verdict::Skipped => None,
    }
}

/// All that a person needs to begin with, who sees nothing but this text.
fn text(trial: &TrialView, record: &AttemptRecord, view: Option<&AttemptView>) -> String {
    let (expected, outcome) = (&trial.result.expected, &record.outcome);
    let mut lines = vec![
        format!("expected: {}", describe_expectation(expected)),
        format!("found: {}", describe(outcome)),
    ];
    if judge(outcome, expected) != Verdict::Pass {
        lines.extend(near_miss(outcome, expected).map(|how| format!("differs: {how}")));
    }
    lines.extend(record.triage.iter().map(|triage| format!("why: {}", triage.sentence)));
    lines.extend(record.last_phase.iter().map(|last| format!("last phase: {last}")));
    if let Some(verbose) = &record.verbose {
        let (words, sentence) = (describe(&verbose.outcome), &verbose.triage.sentence);
        lines.push(format!("once more, verbosely: {words}; {sentence} ({})", verbose.evidence.display()));
    }
    if !record.evidence.as_os_str().is_empty() {
        lines.push(format!("evidence: {}", record.evidence.display()));
    }
    if let Some(trouble) = view.and_then(|view| view.trouble.as_ref()) {
        lines.push(format!("its evidence cannot be shown: {trouble}"));
    }
    if let Some(view) = view.filter(|view| !view.console.is_empty()) {
        lines.push("the console's last lines:".to_owned());
        lines.extend(view.console.iter().map(|line| format!("  {line}")));
    }
    visible(&lines.join("\n"))
}

fn skipped_case(skipped: &SkippedRecord) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_message(visible(&skipped.why));
    let mut case = TestCase::new(visible(&skipped.id.0), status);
    case.set_classname(class(&skipped.cell));
    case.add_properties(axes(&skipped.cell));
    case
}

/// By it CI systems group cases: the suite, the kernels' architectures, the userspace's and the loader.
fn class(cell: &Cell) -> String {
    let Cell { suite, first, capture, userspace, loader, .. } = cell;
    visible(&format!("{suite}.{}-to-{}.{userspace}.{loader}", first.arch, capture.arch))
}

fn axes(cell: &Cell) -> Vec<Property> {
    let of = |axis: Axis| axis.values(cell).last().map(|value| property(axis.name(), value));
    Axis::ALL.into_iter().filter(|axis| !matches!(axis, Axis::Id | Axis::Suite)).filter_map(of).collect()
}

fn run_properties(run: &RunView) -> Vec<Property> {
    let counted = |count: Option<usize>| count.map(|count| count.to_string());
    let all = [
        ("rig", run.rig.clone()),
        ("qemu", run.qemu.clone()),
        ("accel", run.accel.clone()),
        ("jobs", counted(run.jobs)),
        ("not-run", counted(run.not_run)),
        ("interrupted", run.interrupted.map(|interrupted| interrupted.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| value.map(|value| property(name, &value))).collect()
}

fn property(name: &str, value: &str) -> Property {
    Property::new(name, visible(value))
}

/// Zero for what is no duration.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests;
