//! `cargo xtask bench loader`: loaders beside each other, in the same guests: how long a load takes, and how long it takes from the
//! panic to the capture kernel's first instruction.

use crate::cli::{BenchLoaderArgs, E2eArgs};
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, e2e, output};
use anyhow::Context;
use harness::bench::{Basis, Contest, contests, table};
use harness::cell::CellId;
use harness::runner::{self, BenchPlan, Benched, Options};
use harness::stop;
use serde::Serialize;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;

/// The figures, in the report's folder.
const FILE: &str = "bench.json";

/// What is written of a run.
#[derive(Serialize)]
struct Record<'a> {
    rig: &'a str,
    contests: &'a [Contest],
    cells: &'a [CellRecord],
}

/// A cell that was measured.
#[derive(Serialize)]
struct CellRecord {
    cell: CellId,
    /// Whether its guests ran by the number of their instructions.
    counted: bool,
    /// Where its kernel was loaded.
    kernel: u64,
    /// At which of the kernel's entries each round ended: 0 is the 32-bit one, 512 the 64-bit one.
    entries: Vec<u64>,
}

impl CellRecord {
    fn of(benched: &Benched, counted: bool) -> Self {
        let Benched { cell, kernel, rounds } = benched;
        let entries = rounds.iter().map(|round| round.panic.to_kernel.at.wrapping_sub(*kernel)).collect();
        Self { cell: cell.id.clone(), counted, kernel: *kernel, entries }
    }
}

pub(super) async fn run(args: &BenchLoaderArgs, host: &Host) -> Result<Exit, Failure> {
    let e2e_args = e2e_args(args, host);
    let plan = e2e::plan::make(&e2e_args, &host.repo)?;
    let artifacts = e2e::provide(&plan, &e2e_args, host).await?;
    let options = e2e::options(&e2e_args, host);
    let (mut all, mut cells) = (Vec::new(), Vec::new());
    for (counted, rounds) in [(false, args.runs), (true, args.counted_runs)] {
        let Some(rounds) = NonZeroU32::new(rounds) else { continue };
        let cells_to_run = plan.cells.clone();
        let plan = BenchPlan { cells: cells_to_run, artifacts: artifacts.clone(), rounds, counted };
        let options = Options { report: options.report.join(way(counted)), ..options.clone() };
        let benched = measure(plan, options, host).await?;
        let bases: &[Basis] = if counted { &[Basis::Instructions] } else { &[Basis::Time, Basis::Cpu] };
        all.extend(bases.iter().flat_map(|&basis| contests(&benched, basis)));
        cells.extend(benched.iter().map(|one| CellRecord::of(one, counted)));
    }
    for contest in &all {
        table(contest).iter().for_each(output::line);
        output::line("");
    }
    write(&options.report, &all, &cells).or_rig()?;
    Ok(Exit::AsExpected)
}

/// Folder of what guests boot with, in the report's.
const fn way(counted: bool) -> &'static str {
    if counted { "counted" } else { "timed" }
}

async fn measure(plan: BenchPlan, options: Options, host: &Host) -> Result<Vec<Benched>, Failure> {
    let (stopper, stop) = stop::stop();
    let mut interrupts = host.interrupts.clone();
    let bridge = tokio::spawn(async move {
        interrupts.wait().await;
        stopper.request();
    });
    let benched = runner::bench(plan, options, stop, &mut |line| output::note(line)).await;
    bridge.abort();
    benched.map_err(e2e::failure_of)
}

fn write(report: &Path, contests: &[Contest], cells: &[CellRecord]) -> anyhow::Result<()> {
    let record = Record { rig: env!("CARGO_PKG_VERSION"), contests, cells };
    let path = report.join(FILE);
    let text = serde_json::to_vec_pretty(&record)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    output::line(format_args!("    Figures {}", path.display()));
    Ok(())
}

/// The command line of an end-to-end run with the same cells. One guest at a time: others would take its CPU.
fn e2e_args(args: &BenchLoaderArgs, host: &Host) -> E2eArgs {
    E2eArgs {
        filter: args.filter.clone(),
        jobs: Some(NonZeroUsize::MIN),
        accel: args.accel,
        qemu: args.qemu.clone(),
        report: Some(args.report.clone().unwrap_or_else(|| host.repo.loader_bench_report())),
        ..E2eArgs::of_suites(args.suites.clone(), args.host, args.store.clone())
    }
}
