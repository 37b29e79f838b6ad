//! Signals for the rig itself, runs that are resumed, and two rigs in each other's way.

use crate::faults::judge::{BeforeFault, NotInjected, Observed};
use crate::faults::list::RigSignal;
use crate::faults::observe;
use crate::faults::stage::{Cells, Rig, Stage};
use harness::outcome::{OutcomeKind, Verdict};
use harness::report::read_results;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::Path;

/// Sends a signal to the rig when its control has its result, and the faulted cell's guest waits for ever.
pub(super) async fn signal(stage: &Stage<'_>, signal: RigSignal) -> Result<Observed, NotInjected> {
    let report = stage.report();
    let command = stage.e2e(Cells::StandIn, &stage.stand_in(true)?, &report, &["-j", "2", "--offline"]);
    let rig = stage.start(command, "said.log")?;
    let moment = || stage.reached().exists() && has_result(&report);
    let rig = stage.moment(rig, &report, "the control's result", moment).await?;
    let signal = match signal {
        RigSignal::Int => Signal::INT,
        RigSignal::Term => Signal::TERM,
        RigSignal::Hup => Signal::HUP,
        RigSignal::Kill => return kill_and_resume(stage, rig).await,
    };
    rig.signal(signal).before_fault()?;
    Ok(stage.finish(rig, &report).await)
}

/// The text of a report's results.
fn results(report: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(report.join("results.jsonl"))
}

fn has_result(report: &Path) -> bool {
    results(report).is_ok_and(|text| text.ends_with('\n'))
}

/// Kills the rig; gives what it had done.
async fn kill(stage: &Stage<'_>, rig: Rig, report: &Path) -> Result<String, NotInjected> {
    let done = results(report).before_fault()?;
    rig.signal(Signal::KILL).before_fault()?;
    let killed = rig.wait().await;
    match killed.code() {
        None => Ok(done),
        Some(status) => stage
            .look(killed, report)
            .await
            .provided(false, format!("the rig ended by itself, with {status}"))
            .map(|_| done),
    }
}

/// Kills the rig: its guests must die with it. Then resumes its run, which must keep what was done, do the rest, and clean up.
async fn kill_and_resume(stage: &Stage<'_>, rig: Rig) -> Result<Observed, NotInjected> {
    let report = stage.report();
    let done = kill(stage, rig, &report).await?;
    // Files are left for the next run; processes must not be.
    let left = observe::processes_left(stage.temp()).await;
    let command =
        stage.e2e(Cells::StandIn, &stage.stand_in(false)?, &report, &["-j", "2", "--offline", "--resume"]);
    let mut observed = stage.observe(command, &report).await?;
    observed.left.extend(left.into_iter().map(|left| format!("{left} outlived the rig")));
    let now = observed.take("the resumed run's results", results(&report)).unwrap_or_default();
    observed.must(
        now.starts_with(&done) && now.lines().count() == 2,
        "the resumed run did not keep what was done and add the rest",
    );
    observed.must(
        observed.said.contains("left behind by a run that was killed"),
        "the resumed run does not say that it cleaned up",
    );
    Ok(observed)
}

/// Three real cells from one boot, one of each kind of outcome.
const REAL: [&str; 3] = ["smoke", "-E", "first=5.10-amd64 & userspace=i386 & reservation=256M@1968M"];

/// Runs real cells to their end, and the same again with a SIGKILL after the first result and a resumption: the results must agree.
pub(super) async fn killed_and_resumed(stage: &Stage<'_>) -> Result<Observed, NotInjected> {
    let run = |report: &Path, resume: bool| {
        let (programs, report) = (stage.shop.programs.display().to_string(), report.display().to_string());
        let qemu = stage.shop.qemu.display().to_string();
        let mut words = vec!["e2e"];
        words.extend(REAL);
        words.extend(["--accel", "tcg", "-j", "1", "--offline", "--programs", &programs, "--qemu", &qemu]);
        words.extend(["--report", &report]);
        words.extend(resume.then_some("--resume"));
        stage.rig(&words)
    };
    let (whole, report) = (stage.folder.join("whole"), stage.report());
    let unharmed = stage.start(run(&whole, false), "whole.log")?.wait().await;
    let unharmed = stage.look(unharmed, &whole).await;
    let ended = format!("the uninterrupted run ended with {:?}: {}", unharmed.exit, unharmed.said.trim());
    let all_done = unharmed.exit == Some(0);
    unharmed.provided(all_done, ended)?;
    let expected = outcomes(&whole).before_fault()?;
    let rig = stage.start(run(&report, false), "killed.log")?;
    let rig = stage.moment(rig, &report, "the first result", || has_result(&report)).await?;
    let done = kill(stage, rig, &report).await?;
    let mut observed = stage.observe(run(&report, true), &report).await?;
    let now = observed.take("the resumed run's results", results(&report)).unwrap_or_default();
    observed.must(now.starts_with(&done), "the resumed run did not keep what was done");
    if let Some(found) = observed.take("the resumed run's outcomes", outcomes(&report)) {
        let differs = format!("the resumed run came to {found:?}, the whole one to {expected:?}");
        observed.must(expected == found, differs);
    }
    // These are not the campaign's own cells.
    (observed.faulted, observed.control) = (Vec::new(), Vec::new());
    Ok(observed)
}

/// What each cell of a report came to.
fn outcomes(report: &Path) -> anyhow::Result<BTreeMap<String, (Verdict, OutcomeKind)>> {
    let results = read_results(report)?.trials;
    Ok(results.into_iter().map(|result| (result.id.0, (result.verdict, result.outcome.kind()))).collect())
}

/// Starts a second rig on the report that a first one writes: it must be turned away, and the first go on as if nothing were.
pub(super) async fn one_report(stage: &Stage<'_>) -> Result<Observed, NotInjected> {
    let (report, qemu) = (stage.report(), stage.stand_in(true)?);
    let command = || stage.e2e(Cells::StandIn, &qemu, &report, &["-j", "2", "--offline"]);
    let first = stage.start(command(), "said.log")?;
    let moment = || stage.reached().exists();
    let first = stage.moment(first, &report, "the faulted cell's order", moment).await?;
    let second = stage.start(command(), "second.log")?.wait().await;
    // The guest of the first has waited for that.
    let let_go = std::fs::remove_file(stage.reached());
    let mut observed = stage.finish(first, &report).await;
    observed.take("letting the guest go on", let_go);
    observed.must(second.code() == Some(2), format!("the second rig ended with {:?}", second.code()));
    observed.broken.extend(second.trouble);
    observed.said.push_str(&second.said);
    Ok(observed)
}
