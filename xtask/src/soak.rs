//! `cargo xtask soak`: the same cells again and again, beside other work that keeps the CPUs busy. What is wrong or unstable then is a
//! fault of the rig: a deadline that measures the host, a race, a resource that runs out.

mod figures;

use crate::cli::{E2eArgs, SoakArgs};
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, e2e, output};
use anyhow::Context;
use harness::process::Process;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

/// A process that does nothing but take a CPU.
const BUSY: [&str; 2] = ["-c", "while :; do :; done"];
/// How long a busy process may take to end: a shell ends at once.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: &SoakArgs, host: &Host) -> Result<Exit, Failure> {
    let e2e_args = e2e_args(args, host);
    let plan = e2e::plan::make(&e2e_args, &host.repo)?;
    let e2e_args = E2eArgs { repeat: times(args.cells, plan.cells.len()), ..e2e_args };
    let artifacts = e2e::provide(&plan, &e2e_args, host).await?;
    let options = e2e::options(&e2e_args, host);
    let (deadlines, report) = (options.deadlines.clone(), options.report.clone());

    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let load = args.load.unwrap_or(cpus);
    let busy = start_load(load).await?;
    output::line(format_args!(
        "{} cells, each {} times, beside {load} busy processes on {cpus} CPUs",
        plan.cells.len(),
        e2e_args.repeat
    ));
    let ran = e2e::run_cells(plan, artifacts, &e2e_args, host).await;
    let still_busy = end_load(busy).await;
    let ran = ran?;

    figures::lines(&ran.results, &ran.not_shared, &deadlines, &report, ran.took)
        .iter()
        .for_each(output::line);
    if let Err(error) = &still_busy {
        output::line(format_args!("No soak: {error:#}"));
    }
    Ok(exit(ran.exit, figures::is_stable(&ran.results), still_busy.is_ok()))
}

/// What was wrong counts whatever the load was; that all was well says little of a host that had nothing else to do.
const fn exit(ran: Exit, is_stable: bool, was_busy: bool) -> Exit {
    match (ran, is_stable, was_busy) {
        (Exit::AsExpected, false, _) => Exit::NotAsExpected,
        (Exit::AsExpected, true, false) => Exit::RigFailed,
        (exit, ..) => exit,
    }
}

/// The command line of an end-to-end run that is like this one.
fn e2e_args(args: &SoakArgs, host: &Host) -> E2eArgs {
    E2eArgs {
        filter: args.filter.clone(),
        guests: args.guests.clone(),
        report: Some(args.report.clone().unwrap_or_else(|| host.repo.default_soak_report())),
        ..E2eArgs::of_suites(args.suites.clone(), args.host, args.store.clone())
    }
}

/// How often all cells must be run to make up so many trials.
fn times(wanted: NonZeroU32, cells: usize) -> NonZeroU32 {
    let cells = u32::try_from(cells).unwrap_or(u32::MAX).max(1);
    NonZeroU32::new(wanted.get().div_ceil(cells)).unwrap_or(NonZeroU32::MIN)
}

/// Starts processes that end with this one, however it ends.
async fn start_load(count: usize) -> Result<Vec<Process>, Failure> {
    let mut busy = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Process::spawn(Path::new("sh"), &BUSY.map(Into::into), None).await;
        busy.push(started.context("cannot keep the CPUs busy").or_rig()?);
    }
    Ok(busy)
}

/// Ends them. One that had ended by itself did not keep any CPU busy, and the soak was none.
async fn end_load(busy: Vec<Process>) -> anyhow::Result<()> {
    for mut process in busy {
        let ended = tokio::time::timeout(Duration::ZERO, process.wait()).await;
        process.end(GRACE).await?;
        anyhow::ensure!(ended.is_err(), "a busy process ended by itself: the CPUs were not kept busy");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a soak that ends before it has run what was asked for.
    #[test]
    fn cells_are_run_often_enough() {
        let times = |wanted, cells| super::times(NonZeroU32::new(wanted).unwrap(), cells).get();
        assert_eq!((times(300, 7), times(7, 7), times(1, 98), times(5, 0)), (43, 1, 1, 5));
    }

    /// Catches wrong cells that pass for trouble of the host, and a soak that was none and succeeds.
    #[test]
    fn what_is_wrong_decides() {
        let status = |ran, is_stable, was_busy| exit(ran, is_stable, was_busy).status();
        assert_eq!(status(Exit::AsExpected, true, true), 0);
        assert_eq!(status(Exit::AsExpected, true, false), 3);
        for was_busy in [true, false] {
            assert_eq!(status(Exit::NotAsExpected, false, was_busy), 1);
            assert_eq!(status(Exit::AsExpected, false, was_busy), 1);
            assert_eq!(status(Exit::Interrupted, true, was_busy), 130);
        }
    }

    /// Catches load that outlives the soak, or is none.
    #[tokio::test]
    async fn the_load_ends() {
        let busy = start_load(2).await.unwrap();
        let pids: Vec<_> = busy.iter().map(Process::pid).collect();
        end_load(busy).await.unwrap();
        assert!(pids.iter().all(|pid| !Path::new("/proc").join(pid.to_string()).exists()));
        let mut busy = start_load(1).await.unwrap();
        busy[0].end(GRACE).await.unwrap();
        assert!(end_load(busy).await.is_err());
    }
}
