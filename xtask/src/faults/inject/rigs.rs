//! Signals for the rig itself, runs that are resumed, and two rigs in each other's way.

use crate::faults::judge::Observed;
use crate::faults::list::RigSignal;
use crate::faults::observe;
use crate::faults::stage::{Cells, Rig, Stage};
use anyhow::{Context, ensure};
use harness::outcome::{OutcomeKind, Verdict};
use harness::report::read_results;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::Path;

/// Sends a signal to the rig when its control has its result, and the faulted cell's guest waits for ever.
pub(super) async fn signal(stage: &Stage<'_>, signal: RigSignal) -> anyhow::Result<Observed> {
    let report = stage.report();
    let command = stage.e2e(Cells::StandIn, &stage.stand_in(true)?, &report, &["-j", "2", "--offline"]);
    let mut rig = stage.start(command, "said.log")?;
    let results = report.join("results.jsonl");
    let whole = || std::fs::read_to_string(&results).is_ok_and(|text| text.ends_with('\n'));
    rig.until("the control's result", || stage.reached().exists() && whole()).await?;
    let signal = match signal {
        RigSignal::Int => Signal::INT,
        RigSignal::Term => Signal::TERM,
        RigSignal::Hup => Signal::HUP,
        RigSignal::Kill => return kill_and_resume(stage, rig).await,
    };
    rig.signal(signal)?;
    stage.finish(rig, &report).await
}

/// Kills the rig: its guests must die with it. Then resumes its run, which must keep what was done, do the rest, and clean up.
async fn kill_and_resume(stage: &Stage<'_>, rig: Rig) -> anyhow::Result<Observed> {
    let report = stage.report();
    let done = std::fs::read_to_string(report.join("results.jsonl"))?;
    rig.signal(Signal::KILL)?;
    let killed = rig.wait().await?;
    ensure!(killed.status.code().is_none(), "the rig ended by itself ({})", killed.status);
    // Files are left for the next run; processes must not be.
    let left = observe::left(stage.temp()).await.into_iter().filter(|left| left.starts_with("process"));
    let left: Vec<String> = left.map(|left| format!("{left} outlived the rig")).collect();
    let command =
        stage.e2e(Cells::StandIn, &stage.stand_in(false)?, &report, &["-j", "2", "--offline", "--resume"]);
    let mut observed = stage.observe(command, &report).await?;
    observed.left.extend(left);
    let now = std::fs::read_to_string(report.join("results.jsonl"))?;
    if !now.starts_with(&done) || now.lines().count() != 2 {
        observed.broken.push("the resumed run did not keep what was done and add the rest".to_owned());
    }
    if !observed.said.contains("left behind by a run that was killed") {
        observed.broken.push("the resumed run does not say that it cleaned up".to_owned());
    }
    Ok(observed)
}

/// Three real cells from one boot, one of each kind of outcome.
const REAL: [&str; 3] = ["smoke", "-E", "first=5.10-amd64 & userspace=i386 & reservation=256M@1968M"];

/// Runs real cells to their end, and the same again with a SIGKILL after the first result and a resumption: the results must agree.
pub(super) async fn killed_and_resumed(stage: &Stage<'_>) -> anyhow::Result<Observed> {
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
    let ended = stage.start(run(&whole, false), "whole.log")?.wait().await?;
    ensure!(
        ended.status.success(),
        "the uninterrupted run ended with {}: {}",
        ended.status,
        ended.said.trim()
    );
    let mut rig = stage.start(run(&report, false), "killed.log")?;
    let first =
        || std::fs::read_to_string(report.join("results.jsonl")).is_ok_and(|text| text.ends_with('\n'));
    rig.until("the first result", first).await?;
    rig.signal(Signal::KILL)?;
    let killed = rig.wait().await?;
    ensure!(killed.status.code().is_none(), "the rig ended by itself ({})", killed.status);
    let done = std::fs::read_to_string(report.join("results.jsonl"))?;
    let mut observed = stage.observe(run(&report, true), &report).await?;
    let now = std::fs::read_to_string(report.join("results.jsonl"))?;
    if !now.starts_with(&done) {
        observed.broken.push("the resumed run did not keep what was done".to_owned());
    }
    let (expected, found) = (outcomes(&whole)?, outcomes(&report)?);
    if expected != found {
        observed.broken.push(format!("the resumed run came to {found:?}, the whole one to {expected:?}"));
    }
    // These are not the campaign's own cells.
    (observed.faulted, observed.control) = (None, None);
    Ok(observed)
}

/// What each cell of a report came to.
fn outcomes(report: &Path) -> anyhow::Result<BTreeMap<String, (Verdict, OutcomeKind)>> {
    let results = read_results(report)?.trials;
    Ok(results.into_iter().map(|result| (result.id.0, (result.verdict, result.outcome.kind()))).collect())
}

/// Starts a second rig on the report that a first one writes: it must be turned away, and the first go on as if nothing were.
pub(super) async fn one_report(stage: &Stage<'_>) -> anyhow::Result<Observed> {
    let (report, qemu) = (stage.report(), stage.stand_in(true)?);
    let command = || stage.e2e(Cells::StandIn, &qemu, &report, &["-j", "2", "--offline"]);
    let mut first = stage.start(command(), "said.log")?;
    first.until("the faulted cell's order", || stage.reached().exists()).await?;
    let second = stage.start(command(), "second.log")?.wait().await?;
    // The guest of the first has waited for that.
    std::fs::remove_file(stage.reached()).context("cannot let the guest go on")?;
    let mut observed = stage.finish(first, &report).await?;
    if second.status.code() != Some(2) {
        observed.broken.push(format!("the second rig ended with {}", second.status));
    }
    observed.said.push_str(&second.said);
    Ok(observed)
}
