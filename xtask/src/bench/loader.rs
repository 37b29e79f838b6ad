//! `cargo xtask bench loader`: loaders beside each other, in the same guests: how long a load takes, and how long it takes from the
//! panic to the capture kernel's first instruction.

use crate::cli::{BenchLoaderArgs, E2eArgs, GuestsArgs};
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, e2e, output};
use anyhow::{Context, anyhow};
use harness::accel::AccelChoice;
use harness::bench::{Basis, Contest, contests, table};
use harness::cell::CellId;
use harness::runner::{self, BenchPlan, Benched, Broke, Lost, Measurement, Options};
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
    lost: &'a [LostRecord],
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

/// A cell that was not measured to the end.
#[derive(Serialize)]
struct LostRecord {
    cell: CellId,
    counted: bool,
    why: String,
}

impl CellRecord {
    fn of(benched: &Benched, counted: bool) -> Self {
        let Benched { cell, kernel, rounds } = benched;
        let entries = rounds.iter().map(|round| round.panic.to_kernel.at.wrapping_sub(*kernel)).collect();
        Self { cell: cell.id.clone(), counted, kernel: *kernel, entries }
    }
}

/// One way of measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pass {
    /// Guests run by the number of their instructions.
    counted: bool,
    rounds: NonZeroU32,
    accel: AccelChoice,
}

impl Pass {
    const fn bases(self) -> &'static [Basis] {
        if self.counted { &[Basis::Instructions] } else { &[Basis::Time, Basis::Cpu] }
    }
}

/// What is to be done, in this order. Instructions are counted by TCG alone, whatever guests run by elsewhere.
///
/// # Errors
/// [`Failure::Input`] where KVM is to count instructions, or nothing is to be measured.
fn passes(args: &BenchLoaderArgs, accel: AccelChoice) -> Result<Vec<Pass>, Failure> {
    if accel == AccelChoice::Kvm && args.counted_runs > 0 {
        return Err(Failure::Input(anyhow!(
            "--accel kvm cannot count instructions, which TCG alone does: add --counted-runs 0, or leave --accel to the rig"
        )));
    }
    let ways = [(false, args.runs, accel), (true, args.counted_runs, AccelChoice::Tcg)];
    let passes: Vec<Pass> = ways
        .into_iter()
        .filter_map(|(counted, rounds, accel)| {
            Some(Pass { counted, rounds: NonZeroU32::new(rounds)?, accel })
        })
        .collect();
    if passes.is_empty() {
        return Err(Failure::Input(anyhow!("--runs 0 --counted-runs 0 measures nothing")));
    }
    Ok(passes)
}

pub(super) async fn run(args: &BenchLoaderArgs, host: &Host) -> Result<Exit, Failure> {
    let e2e_args = e2e_args(args, host);
    let options = e2e::options(&e2e_args, host);
    let passes = passes(args, options.accel)?;
    let plan = e2e::plan::make(&e2e_args, &host.repo)?;
    let artifacts = e2e::provide(&plan, &e2e_args, host).await?;
    let (mut all, mut cells, mut all_lost) = (Vec::new(), Vec::new(), Vec::new());
    let mut exit = Exit::AsExpected;
    for pass in passes {
        let Pass { counted, rounds, accel } = pass;
        let bench = BenchPlan { cells: plan.cells.clone(), artifacts: artifacts.clone(), rounds, counted };
        let of_pass = Options { report: options.report.join(way(counted)), accel, ..options.clone() };
        let Measurement { benched, lost, broke } = measure(bench, of_pass, host).await;
        for contest in pass.bases().iter().flat_map(|&basis| contests(&benched, basis)) {
            table(&contest).iter().for_each(output::line);
            output::line("");
            all.push(contest);
        }
        cells.extend(benched.iter().map(|one| CellRecord::of(one, counted)));
        for (cell, lost) in &lost {
            let (Lost::Loader(why) | Lost::Rig(why)) = lost;
            output::note(format_args!("{cell} was not measured to the end: {why}"));
            all_lost.push(LostRecord { cell: cell.clone(), counted, why: why.clone() });
        }
        let broke = match broke.map(failure_of) {
            Some(failure) if cells.is_empty() && all_lost.is_empty() => return Err(failure),
            other => other,
        };
        // After each pass: the next one may not come to its end.
        write(&options.report, &all, &cells, &all_lost).or_rig()?;
        exit = worse(exit, exit_of(lost.iter().map(|(_, lost)| lost)));
        if let Some(failure) = broke {
            output::note(&failure);
            exit = worse(exit, failure.exit());
            break;
        }
    }
    output::line(format_args!("    Figures {}", options.report.join(FILE).display()));
    Ok(exit)
}

/// What cells that were not measured mean to the caller.
fn exit_of<'a>(lost: impl Iterator<Item = &'a Lost>) -> Exit {
    let each = lost.map(|lost| match lost {
        Lost::Loader(_) => Exit::NotAsExpected,
        Lost::Rig(_) => Exit::RigFailed,
    });
    each.fold(Exit::AsExpected, worse)
}

/// What it means to the caller that a measurement ended before its end.
fn failure_of(broke: Broke) -> Failure {
    match broke {
        Broke::Interrupted => Failure::Interrupted,
        Broke::Run(error) => e2e::failure_of(error),
    }
}

/// Of two, the one that outweighs: an interruption, then a loader that was shown wrong, which trouble must not hide.
fn worse(one: Exit, other: Exit) -> Exit {
    let weight = |exit: Exit| match exit {
        Exit::AsExpected => 0,
        Exit::RigFailed => 1,
        Exit::BadInput | Exit::CannotTest | Exit::Stop => 2,
        Exit::NotAsExpected => 3,
        Exit::Interrupted => 4,
    };
    if weight(other) > weight(one) { other } else { one }
}

/// Folder of what guests boot with, in the report's.
const fn way(counted: bool) -> &'static str {
    if counted { "counted" } else { "timed" }
}

async fn measure(plan: BenchPlan, options: Options, host: &Host) -> Measurement {
    let (stopper, stop) = stop::stop();
    let mut interrupts = host.interrupts.clone();
    let bridge = tokio::spawn(async move {
        interrupts.wait().await;
        stopper.request();
    });
    let benched = runner::bench(plan, options, stop, &mut |line| output::note(line)).await;
    bridge.abort();
    // A pass that cannot even begin leaves what the one before it has measured.
    benched.unwrap_or_else(|error| Measurement { broke: Some(Broke::Run(error)), ..Measurement::default() })
}

fn write(
    report: &Path,
    contests: &[Contest],
    cells: &[CellRecord],
    lost: &[LostRecord],
) -> anyhow::Result<()> {
    let record = Record { rig: env!("CARGO_PKG_VERSION"), contests, cells, lost };
    let path = report.join(FILE);
    let text = serde_json::to_vec_pretty(&record)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The command line of an end-to-end run with the same cells. One guest at a time: others would take its CPU.
fn e2e_args(args: &BenchLoaderArgs, host: &Host) -> E2eArgs {
    E2eArgs {
        filter: args.filter.clone(),
        guests: GuestsArgs { jobs: Some(NonZeroUsize::MIN), accel: args.accel, qemu: args.qemu.clone() },
        report: Some(args.report.clone().unwrap_or_else(|| host.repo.loader_bench_report())),
        ..E2eArgs::of_suites(args.suites.clone(), args.host, args.store.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{BenchAction, CommandLine, Verb};
    use clap::Parser;

    fn passes_of(words: &str, accel: AccelChoice) -> Result<Vec<(bool, AccelChoice)>, u8> {
        let line = ["xtask", "bench", "loader"].into_iter().chain(words.split_whitespace());
        let Verb::Bench { action: BenchAction::Loader(args) } =
            CommandLine::try_parse_from(line).unwrap().verb
        else {
            panic!("not bench loader")
        };
        let passes = passes(&args, accel).map_err(|failure| failure.exit().status())?;
        Ok(passes.into_iter().map(|pass| (pass.counted, pass.accel)).collect())
    }

    /// Catches a loader that refuses and ends as trouble of the rig, trouble that hides it, and an interruption that ends as either.
    #[test]
    fn a_loader_that_fails_outweighs_trouble() {
        let (loader, rig) = (|| Lost::Loader("x".into()), || Lost::Rig("x".into()));
        let statuses = [vec![], vec![rig()], vec![loader(), rig()]].map(|lost| exit_of(lost.iter()).status());
        assert_eq!(statuses, [0, 3, 1]);
        let broke = failure_of(Broke::Run(harness::runner::RunError::Host("x".into()))).exit();
        assert_eq!(worse(exit_of([loader()].iter()), broke), Exit::NotAsExpected);
        assert_eq!(worse(exit_of([loader()].iter()), failure_of(Broke::Interrupted).exit()).status(), 130);
    }

    /// Catches a run with its defaults that measures for minutes under KVM and then cannot count, and one that is asked for what
    /// cannot be and says so only after it has measured.
    #[test]
    fn instructions_are_counted_by_tcg() {
        let (auto, tcg, kvm) = (AccelChoice::Auto, AccelChoice::Tcg, AccelChoice::Kvm);
        assert_eq!(passes_of("", auto), Ok(vec![(false, auto), (true, tcg)]));
        assert_eq!(passes_of("", kvm), Err(2));
        assert_eq!(passes_of("--counted-runs 0", kvm), Ok(vec![(false, kvm)]));
        assert_eq!(passes_of("--runs 0", tcg), Ok(vec![(true, tcg)]));
        assert_eq!(passes_of("--runs 0 --counted-runs 0", auto), Err(2));
    }
}
