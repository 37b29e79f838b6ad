//! `cargo xtask bench matrix`: the same cells as a script around QEMU runs them, with fresh boots, and with all that the rig has.

use crate::cli::{AccelArg, BenchMatrixArgs, E2eArgs, WayArg};
use crate::e2e::Ran;
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, e2e, output};
use anyhow::Context;
use harness::accel::Accel;
use harness::agreement::disagreements;
use harness::bench::{Comparison, Lap, Way};
use harness::report::CellResult;
use harness::runner::Options;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

/// The figures, in the report's folder.
const FILE: &str = "bench.json";

pub(super) async fn run(args: &BenchMatrixArgs, host: &Host) -> Result<Exit, Failure> {
    let plan = e2e::plan::make(&e2e_args(args, host), &host.repo)?;
    let artifacts = e2e::provide(&plan, &e2e_args(args, host), host).await?;
    let folder = args.report.clone().unwrap_or_else(|| host.repo.matrix_bench_report());
    let (mut laps, mut first, mut exit) = (Vec::new(), None::<(Way, Vec<CellResult>)>, Exit::AsExpected);
    let mut guests = args.guests.clone();
    for round in 1..=args.rounds.get() {
        for way in ways(&args.ways, round) {
            output::line(format_args!("       Round {round}/{}: {}", args.rounds, way.name()));
            let report = folder.join(format!("{}.{round}", way.name()));
            let e2e_args = E2eArgs { guests: guests.clone(), report: Some(report), ..e2e_args(args, host) };
            let options = options_of(way, silence(args), e2e::options(&e2e_args, host));
            let ran = e2e::run_cells_by(plan.clone(), artifacts.clone(), &e2e_args, options, host).await?;
            guests.accel = found(&ran).unwrap_or(guests.accel);
            exit = worse(exit, ran.exit);
            if ran.exit == Exit::Interrupted {
                return Ok(exit);
            }
            let Ran { results, took, cost, .. } = ran;
            laps.push(Lap { way, round, cells: results.len(), seconds: took.as_secs_f64(), cost });
            match &first {
                None => first = Some((way, results)),
                Some((one, them)) if differ((*one, them), (way, &results)) => {
                    exit = worse(exit, Exit::NotAsExpected);
                }
                Some(_) => {}
            }
            // After each lap: the next one may not come to its end.
            write(&folder, &compared(&laps)).or_rig()?;
        }
    }
    compared(&laps).lines().iter().for_each(output::line);
    Ok(exit)
}

fn compared(laps: &[Lap]) -> Comparison {
    Comparison::of(laps.to_vec(), std::thread::available_parallelism().map_or(1, usize::from))
}

/// The ways of a round that are wanted, in its order.
fn ways(wanted: &[WayArg], round: u32) -> impl Iterator<Item = Way> {
    let way = |one: &WayArg| match one {
        WayArg::Loop => Way::Loop,
        WayArg::Fresh => Way::Fresh,
        WayArg::Rig => Way::Rig,
    };
    Way::order(round).filter(move |one| wanted.is_empty() || wanted.iter().any(|wanted| way(wanted) == *one))
}

fn silence(args: &BenchMatrixArgs) -> Duration {
    Duration::from_secs(args.silence.get().into())
}

/// How cells are run in this way.
fn options_of(way: Way, silence: Duration, mut options: Options) -> Options {
    // A further run of a cell that is red is evidence, and no part of what is compared.
    options.verbose = false;
    match way {
        Way::Rig => {}
        Way::Fresh => options.fresh = true,
        Way::Loop => {
            options.fresh = true;
            options.jobs = Some(NonZeroUsize::MIN);
            options.deadlines.silence = Some(silence);
        }
    }
    options
}

/// What the run before has found out about KVM, which need not be found out again.
fn found(ran: &Ran) -> Option<AccelArg> {
    ran.results.first().map(|result| match result.accel {
        Accel::Kvm => AccelArg::Kvm,
        Accel::Tcg => AccelArg::Tcg,
    })
}

/// Whether two laps came to different outcomes, which are told.
fn differ((one, of_one): (Way, &[CellResult]), (other, of_other): (Way, &[CellResult])) -> bool {
    let differ = disagreements(of_one, of_other);
    for cell in &differ {
        let words = |words: &Option<String>| words.clone().unwrap_or_else(|| "no result".into());
        output::line(format_args!(
            "    Disagree {}\n             {}: {}\n             {}: {}",
            cell.cell,
            one.name(),
            words(&cell.one),
            other.name(),
            words(&cell.other)
        ));
    }
    !differ.is_empty()
}

/// What a run of several laps ends with: the rig's own failure says the least of the cells, a person's wish the most of all.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Interrupted => 3,
        Exit::NotAsExpected => 2,
        Exit::AsExpected => 0,
        _ => 1,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn write(folder: &Path, comparison: &Comparison) -> anyhow::Result<()> {
    let path = folder.join(FILE);
    let text = serde_json::to_string_pretty(comparison)?;
    std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

fn e2e_args(args: &BenchMatrixArgs, host: &Host) -> E2eArgs {
    E2eArgs {
        filter: args.filter.clone(),
        guests: args.guests.clone(),
        report: Some(args.report.clone().unwrap_or_else(|| host.repo.matrix_bench_report())),
        ..E2eArgs::of_suites(args.suites.clone(), args.host, args.store.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{BenchAction, CommandLine, Verb};
    use clap::Parser;

    fn args(words: &str) -> Box<BenchMatrixArgs> {
        let line = ["xtask", "bench", "matrix"].into_iter().chain(words.split_whitespace());
        match CommandLine::try_parse_from(line).unwrap().verb {
            Verb::Bench { action: BenchAction::Matrix(args) } => args,
            other => panic!("{other:?}"),
        }
    }

    /// Bug: the loop has what a script has not: a second guest, a saved boot, an eye on the registers; or the rig lacks one of them.
    #[test]
    fn each_way_has_its_means() {
        let args = args("-j 4 --silence 20");
        let of = |way| {
            let given = Options { jobs: args.guests.jobs, ..Options::default() };
            let options = options_of(way, silence(&args), given);
            (options.jobs.map(NonZeroUsize::get), options.fresh, options.deadlines.silence, options.verbose)
        };
        assert_eq!(of(Way::Loop), (Some(1), true, Some(Duration::from_secs(20)), false));
        assert_eq!(of(Way::Fresh), (Some(4), true, None, false));
        assert_eq!(of(Way::Rig), (Some(4), false, None, false));
    }

    /// Bug: `--ways` changes who begins, or no way at all is run without it.
    #[test]
    fn wanted_ways_keep_their_turns() {
        let of = |words: &str, round| ways(&args(words).ways, round).collect::<Vec<_>>();
        assert_eq!(of("", 2), [Way::Fresh, Way::Rig, Way::Loop]);
        assert_eq!(of("--ways loop,rig", 1), [Way::Loop, Way::Rig]);
        assert_eq!(of("--ways loop,rig", 2), [Way::Rig, Way::Loop]);
    }

    /// Bug: a lap in which the rig failed hides cells that were not as expected in another.
    #[test]
    fn a_wrong_cell_outweighs_a_failed_rig() {
        assert_eq!(worse(Exit::RigFailed, Exit::NotAsExpected), Exit::NotAsExpected);
        assert_eq!(worse(Exit::NotAsExpected, Exit::RigFailed), Exit::NotAsExpected);
        assert_eq!(worse(Exit::AsExpected, Exit::RigFailed), Exit::RigFailed);
        assert_eq!(worse(Exit::NotAsExpected, Exit::Interrupted), Exit::Interrupted);
    }
}
