//! A small made-up report that the pages' tests start from.

use super::machine::tests::{PLACED, evidence};
use super::view::{AttemptView, ReportView, RunView, TrialView};
use super::{AttemptRecord, BootRecord, CellResult, SkippedRecord, VerboseRecord, Versions};
use crate::accel::Accel;
use crate::cell::{Cell, CellId, Loader, Reader};
use crate::evidence::{Evidence, Timed};
use crate::first_image::Route;
use crate::judge;
use crate::outcome::{
    Expectation, ExpectedRefuser, HangCause, HangProof, Outcome, Refuser, Verdict, VmcoreState,
};
use crate::phase::Phase;
use crate::scenario::SkippedCell;
use crate::testing;
use crate::triage::{Finding, Triage};

/// A file of a known outcome: the pages of [`report`] are held against it, character for character. With the environment
/// variable BLESS set, it is written anew, to be looked at before it is committed.
pub(crate) fn hold_against(name: &str, page: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((number, (page, known))) =
        page.lines().zip(known.lines()).enumerate().find(|(_, (page, known))| page != known)
    {
        panic!("{name}, line {}: {page:?} and not {known:?}; see BLESS", number + 1);
    }
    assert_eq!(page.len(), known.len(), "{name}: one ends before the other");
}

/// A report with a cell of each verdict, `text` wherever a guest, a file or a person could have written something.
pub(super) fn report(text: &str) -> ReportView {
    let passed = Outcome::captured(VmcoreState::Verified);
    let hung = Outcome::Hung {
        at: Phase::Panicking,
        proof: HangProof::EndOfPanic { line: format!("---[ end Kernel panic {text}") },
        cause: HangCause::NothingTookOver,
    };
    let refused = Outcome::Refused {
        by: Refuser::Loader,
        message: format!("crash region lies above 0x37ffffff {text}"),
    };
    let broken = Outcome::RigError { what: format!("QEMU ended: {text}") };
    let trials = vec![
        trial("captured", "256M@640M", std::slice::from_ref(&passed), text),
        trial("refused", "256M@1968M", &[refused], text),
        trial("flaky", "192M,high", &[hung.clone(), passed], text),
        trial("failed", "256M@1968M", &[broken.clone(), hung], text),
        trial("broken", "64M", &[broken], text),
    ];
    let skipped = SkippedCell { cell: cell("skipped", "64M", text), why: format!("known {text}") };
    let run = RunView {
        rig: Some("0.1.0".into()),
        qemu: Some(format!("7.2 {text}")),
        accel: Some("tcg".into()),
        jobs: Some(2),
        total: Some(6),
        started: Some(1_795_576_949),
        ended: Some(1_795_578_587),
        not_run: Some(1),
        interrupted: Some(false),
        made_with: super::view::MadeWithView {
            artifacts: [(format!("kernel {text}"), format!("5.10 {text}"))].into(),
        },
        more: [(format!("host {text}"), serde_json::json!({ "cpu": text }))].into(),
    };
    ReportView { run, trials, skipped: vec![SkippedRecord::from(&skipped)] }
}

fn cell(name: &str, reservation: &str, text: &str) -> Cell {
    let mut cell = Cell { reservation: reservation.parse().unwrap(), ..testing::cell() };
    cell.id = CellId(format!("{name}.{text}"));
    cell.suite = format!("suite {text}");
    cell.first.name = format!("5.10-amd64 {text}");
    cell.capture.name = format!("6.1-686 {text}");
    cell.loader = Loader::KexecTools(format!("2.0 {text}"));
    cell.loader_args = vec![format!("--debug {text}")];
    cell.reader = Some(Reader::VmcoreDmesg(text.to_owned()));
    cell.platform.machine = format!("pc {text}");
    cell.first_cmdline = vec![text.to_owned()];
    cell.capture_cmdline = vec![text.to_owned()];
    if name == "refused" {
        let message = vec!["0x37ffffff".to_owned()];
        cell.expected = Expectation::Refused { by: ExpectedRefuser::Loader, message };
    }
    cell
}

/// A trial with these outcomes at its attempts, each with a folder of its own.
fn trial(name: &str, reservation: &str, outcomes: &[Outcome], text: &str) -> TrialView {
    let cell = cell(name, reservation, text);
    let verdicts: Vec<Verdict> =
        outcomes.iter().map(|outcome| judge::judge(outcome, &cell.expected)).collect();
    let folder = |at: usize| format!("{name}.attempt-{at} {text}").into();
    let record = |(at, (outcome, verdict)): (usize, (&Outcome, &Verdict))| AttemptRecord {
        attempt: at as u32 + 1,
        outcome: outcome.clone(),
        verdict: *verdict,
        seconds: 12.5,
        boot: Some(BootRecord { kernel: Route::Pvh, saved_state: Some(text.to_owned()) }),
        notes: vec![format!("note {text}")],
        peak_mib: None,
        last_phase: Some(Phase::Panicking.into()),
        triage: (*verdict != Verdict::Pass).then(|| why(text)),
        verbose: (*verdict != Verdict::Pass).then(|| VerboseRecord {
            outcome: outcome.clone(),
            triage: why(text),
            seconds: 20.0,
            evidence: format!("{name}.attempt-{at}.verbose {text}").into(),
        }),
        evidence: folder(at),
    };
    let attempts: Vec<AttemptRecord> = outcomes.iter().zip(&verdicts).enumerate().map(record).collect();
    let verdict = judge::overall(&verdicts).unwrap();
    let deciding = judge::deciding(&verdicts, verdict).unwrap();
    let version = || format!("1 {text}");
    let result = CellResult {
        id: cell.id.clone(),
        repetition: 1,
        suite: cell.suite.clone(),
        expected: cell.expected.clone(),
        words: judge::describe(&outcomes[deciding]),
        verdict,
        outcome: outcomes[deciding].clone(),
        attempts,
        seconds: [("total".to_owned(), 12.5)].into(),
        evidence: folder(deciding),
        versions: Versions {
            qemu: version(),
            first: version(),
            capture: version(),
            loader: version(),
            agent: version(),
            firmware: None,
        },
        accel: Accel::Tcg,
        accel_reason: None,
        cell,
    };
    let attempts = outcomes.iter().map(|_| attempt(text)).collect();
    TrialView { result, attempts }
}

fn why(text: &str) -> Triage {
    Finding::NothingTookOver { line: format!("end Kernel panic {text}") }.into()
}

/// What a guest left behind that came up and was ended in its panic.
fn attempt(text: &str) -> AttemptView {
    let phases =
        [(0, Phase::Firmware), (300, Phase::FirstKernel), (8000, Phase::Loading), (9000, Phase::Panicking)];
    let stderr = format!("{PLACED}kexec-load: segment: {text} 0x31000000-0x31000fff\n");
    let evidence = Evidence {
        phases: phases.into_iter().map(|(ms, what)| Timed { ms, what }).collect(),
        console: [evidence("").console, format!("last words {text}").into_bytes()].concat(),
        last_console_ms: Some(12_500),
        ..evidence(&stderr)
    };
    AttemptView {
        files: vec!["console.log".into(), "repro.sh".into(), format!("further {text}")],
        trouble: Some(format!("cannot read {text}")),
        ..AttemptView::of(&evidence)
    }
}
