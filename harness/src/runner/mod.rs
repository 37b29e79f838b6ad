//! Runs many cells: several guests at a time, each trial judged and recorded as it ends.

mod admission;
mod attempt;
mod bench;
mod boot;
mod choose_accel;
mod event;
mod inquest;
mod memory;
mod options;
mod schedule;
mod trial;

pub use admission::guests_that_fit;
pub use bench::{BenchPlan, Benched, Broke, Lost, Measurement, Round, bench};
pub use event::{Conclusion, GuestOf, RunEvent, Summary, TrialId};
pub use memory::available_mib;
pub use options::Options;

use crate::artifacts::Artifacts;
use crate::cell::Cell;
use crate::cost::Meter;
use crate::guest::Deadlines;
use crate::outcome::Verdict;
use crate::qemu::{QemuVersionError, qemu_version};
use crate::report::{CellResult, MadeWith, PartRecord, Report, ReportError, RunHeader};
use crate::scenario::SkippedCell;
use crate::scratch::Scratch;
use crate::stop::Stop;
use attempt::Shared;
use boot::Booted;
use inquest::SymbolFiles;
use schedule::{Schedule, Work};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

/// Why a run could not be done at all, or not to its end. What befalls a single guest is that cell's outcome, never this.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// QEMU cannot be used.
    #[error(transparent)]
    Qemu(#[from] QemuVersionError),
    /// The accelerator that was asked for does not work here.
    #[error("{0}")]
    Accel(String),
    /// The report folder cannot be used or written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The report could not be written any more, and the run was ended.
    #[error(
        "{source}; the results before are kept in {report}, and --resume continues from there when that is mended"
    )]
    BrokeOff {
        /// Its folder.
        report: PathBuf,
        /// What could not be written.
        source: ReportError,
    },
    /// The host lacks something that every guest needs.
    #[error("{0}")]
    Host(String),
}

/// Runs all cells and returns the counts. Events come as things happen; a receiver that is gone stops nothing. `skipped` is
/// only written down.
///
/// After `stop` was requested no guest is started, those that run are ended, and their evidence is kept.
pub async fn run(
    cells: Vec<Cell>,
    skipped: &[SkippedCell],
    artifacts: Arc<Artifacts>,
    options: Options,
    events: UnboundedSender<RunEvent>,
    stop: Stop,
) -> Result<Summary, RunError> {
    let Begun { shared, version, jobs, trials, summary } =
        begin(cells, skipped, artifacts, &options, false, events.clone(), stop).await?;
    let schedule = Schedule::new(trials, shared.accel, options.fresh);
    let run = Run { shared, version, options, jobs };
    let mut summary = run.all(schedule, summary).await.map_err(|error| match error {
        RunError::Report(source) => {
            RunError::BrokeOff { report: run.shared.with_report(|report| report.folder().to_owned()), source }
        }
        other => other,
    })?;
    summary.cost = run.shared.meter.cost();
    // Every result is written by now, and a loader that was shown wrong must not hide behind a page that has no room.
    summary.unwritten =
        run.shared.with_report(|report| report.finish(&summary)).err().map(|error| error.to_string());
    let _ = events.send(RunEvent::RunEnded { summary: summary.clone() });
    Ok(summary)
}

/// What every run begins with.
struct Begun {
    shared: Arc<Shared>,
    version: String,
    jobs: usize,
    trials: Vec<Todo>,
    summary: Summary,
}

/// Looks at the host, decides what guests run by, and begins the report.
async fn begin(
    cells: Vec<Cell>,
    skipped: &[SkippedCell],
    artifacts: Arc<Artifacts>,
    options: &Options,
    counted: bool,
    events: UnboundedSender<RunEvent>,
    stop: Stop,
) -> Result<Begun, RunError> {
    let meter = Meter::begin();
    let qemu = on_path(&options.qemu);
    let version = qemu_version(&qemu).await?;
    let (scratch, mut notices) =
        Scratch::new().map_err(|error| RunError::Host(format!("cannot make a temporary folder: {error}")))?;
    notices.extend(artifacts.notices());
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let admission = admission::admit(&cells, options.jobs, cpus, memory::available_mib());
    notices.extend(admission.notice);
    let guests = admission.jobs.min(cells.len().saturating_mul(options.repeat.get() as usize)).max(1);
    let chosen = choose_accel::choose(&cells, &artifacts, options, guests, &qemu, &scratch, &stop).await?;
    let accel = chosen.accel;
    notices.extend(chosen.notice());

    let made_with = MadeWith::of(&cells, &artifacts, options);
    let mut trials = trials(cells, options.repeat.get());
    let header = RunHeader {
        rig: env!("CARGO_PKG_VERSION").into(),
        qemu: version.clone(),
        accel,
        accel_reason: Some(chosen.reason.clone()),
        jobs: admission.jobs,
        total: trials.len(),
        made_with,
        part: options.part.as_ref().map(PartRecord::of),
        merged: Vec::new(),
    };
    let (mut report, earlier) = if options.resume {
        Report::resume(&options.report, header)?
    } else {
        (Report::create(&options.report, header)?, Vec::new())
    };
    if let Some(part) = &options.part {
        report.write_plan(&part.plan)?;
    }
    report.add_skipped(skipped)?;
    let done: BTreeSet<TrialId> = earlier.iter().map(CellResult::trial).collect();
    trials.retain(|(id, _)| !done.contains(id));
    let mut summary = Summary::default();
    earlier.iter().for_each(|result| summary.add(result.verdict));
    let _ = events.send(RunEvent::RunStarted {
        total: trials.len(),
        earlier,
        jobs: admission.jobs,
        accel,
        qemu: version.clone(),
        report: report.folder().to_owned(),
        notices,
    });
    let shared = Arc::new(Shared {
        artifacts,
        qemu,
        qemu_version: version.clone(),
        accel,
        accel_reason: chosen.reason,
        fresh: options.fresh,
        counted,
        pvh: Mutex::new(BTreeMap::new()),
        deadlines: Deadlines { calibration: chosen.calibration, ..options.deadlines.clone() },
        // Where the first failure ends the run, nobody waits for more evidence of it.
        verbose: options.verbose && !options.fail_fast,
        dump: options.dump,
        symbols: SymbolFiles::default(),
        meter,
        scratch,
        report: Mutex::new(report),
        events,
        stop,
    });
    Ok(Begun { shared, version, jobs: admission.jobs, trials, summary })
}

/// One trial to do.
type Todo = (TrialId, Arc<Cell>);

/// All trials, in the cells' order; a further run of all cells follows when all have had one.
fn trials(cells: Vec<Cell>, repeat: u32) -> Vec<Todo> {
    let cells: Vec<Arc<Cell>> = cells.into_iter().map(Arc::new).collect();
    let run = |repetition| {
        cells.iter().map(move |cell| (TrialId { cell: cell.id.clone(), repetition }, cell.clone()))
    };
    (1..=repeat).flat_map(run).collect()
}

struct Run {
    shared: Arc<Shared>,
    version: String,
    options: Options,
    jobs: usize,
}

/// What a task of the run has come to.
enum Ended {
    Boot(Booted),
    Trial(Box<CellResult>, Option<String>),
}

impl Run {
    /// Runs what is scheduled, and adds it to the counts.
    ///
    /// # Errors
    /// The report cannot be written. No guest is left then, and what the report has is whole.
    async fn all(&self, schedule: Schedule, summary: Summary) -> Result<Summary, RunError> {
        let mut running = JoinSet::new();
        let ended = self.until_done(schedule, summary, &mut running).await;
        // Awaited, not just aborted: each task takes its guest and its temporary folder along.
        running.shutdown().await;
        ended
    }

    async fn until_done(
        &self,
        mut schedule: Schedule,
        mut summary: Summary,
        running: &mut JoinSet<Result<Ended, RunError>>,
    ) -> Result<Summary, RunError> {
        let mut trials: HashMap<tokio::task::Id, Vec<Todo>> = HashMap::new();
        let mut enough = false;
        loop {
            while running.len() < self.jobs && !enough && !self.shared.stop.is_requested() {
                let Some(work) = schedule.next() else { break };
                let (task, waiting) = self.start(work, running);
                trials.insert(task, waiting);
            }
            let Some(ended) = running.join_next_with_id().await else { break };
            let (task, ended) = match ended {
                Ok((task, ended)) => (task, Ok(ended?)),
                Err(error) => (error.id(), Err(error)),
            };
            let waiting = trials.remove(&task).unwrap_or_default();
            let results = match ended {
                Ok(Ended::Boot(booted)) => {
                    summary.leaked.extend(booted.leaked);
                    schedule.boot_again(booted.rest);
                    schedule.start_from(booted.ready, booted.boot.as_ref());
                    Vec::new()
                }
                Ok(Ended::Trial(result, leaked)) => {
                    summary.leaked.extend(leaked);
                    vec![*result]
                }
                // A panic in the rig's own code, caught here so that the other trials go on.
                Err(error) if !waiting.is_empty() => {
                    let died = |(id, cell): &Todo| {
                        let outcome = attempt::task_died(&error);
                        trial::result_without_attempts(&self.shared, cell, id, outcome, &self.version)
                    };
                    waiting.iter().map(died).collect()
                }
                Err(error) => return Err(RunError::Host(format!("a task of the run died: {error}"))),
            };
            for result in results {
                summary.add(result.verdict);
                self.shared.with_report(|report| report.add(&result))?;
                enough |= self.options.fail_fast && matches!(result.verdict, Verdict::Fail | Verdict::Error);
                let _ = self.shared.events.send(RunEvent::TrialEnded { result: Box::new(result) });
            }
        }
        summary.not_run += schedule.len();
        summary.interrupted = self.shared.stop.is_requested();
        Ok(summary)
    }

    /// Starts a piece of work, and says which trials wait for it.
    fn start(
        &self,
        work: Work,
        running: &mut JoinSet<Result<Ended, RunError>>,
    ) -> (tokio::task::Id, Vec<Todo>) {
        let shared = self.shared.clone();
        match work {
            Work::Boot(group) => {
                let waiting = group.clone();
                let boot = async move { Ok(Ended::Boot(boot::boot(shared, group).await)) };
                (running.spawn(boot).id(), waiting)
            }
            Work::Trial((id, cell), boot) => {
                let waiting = vec![(id.clone(), cell.clone())];
                let (retries, version) = (self.options.retries, self.version.clone());
                let trial = async move {
                    let (result, leaked) = trial::trial(shared, cell, id, retries, version, boot).await?;
                    Ok(Ended::Trial(Box::new(result), leaked))
                };
                (running.spawn(trial).id(), waiting)
            }
        }
    }
}

/// A bare program name as the path that PATH leads to, so that the scripts run the same one.
fn on_path(program: &Path) -> PathBuf {
    if program.components().count() != 1 {
        return std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Bug: `--repeat` runs a cell many times before the others have had a turn, so that a stopped run says nothing of them.
    #[test]
    fn repetitions_go_round() {
        let mut second = testing::cell();
        second.id.0 = "b".into();
        let order: Vec<_> = trials(vec![testing::cell(), second], 2)
            .into_iter()
            .map(|(id, _)| (id.cell.0.len() > 1, id.repetition))
            .collect();
        assert_eq!(order, [(true, 1), (false, 1), (true, 2), (false, 2)]);
    }
}
