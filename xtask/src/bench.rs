//! `cargo xtask bench`: measurements in one run, side by side, as ratios. They are never asserted; what must agree is.

mod loader;
mod matrix;

use crate::cli::{BenchAction, E2eArgs};
use crate::exit::{Exit, Failure};
use crate::{Host, e2e, output};
use anyhow::anyhow;
use harness::agreement::disagreements;
use harness::cost::Cost;

pub(crate) async fn run(action: &BenchAction, host: &Host) -> Result<Exit, Failure> {
    match action {
        BenchAction::Boots(args) | BenchAction::Overhead(args) if args.list => {
            Err(Failure::Input(anyhow!("bench runs cells; `cargo xtask e2e --list` shows them")))
        }
        BenchAction::Boots(args) => boots(args, host).await,
        BenchAction::Overhead(args) => overhead(args, host).await,
        BenchAction::Loader(args) => loader::run(args, host).await,
        BenchAction::Matrix(args) => matrix::run(args, host).await,
    }
}

/// The rig beside its guests.
async fn overhead(args: &E2eArgs, host: &Host) -> Result<Exit, Failure> {
    let plan = e2e::plan::make(args, &host.repo)?;
    let artifacts = e2e::provide(&plan, args, host).await?;
    let ran = e2e::run_cells(plan, artifacts, args, host).await?;
    overhead_lines(&ran.cost).iter().for_each(output::line);
    Ok(ran.exit)
}

fn overhead_lines(cost: &Cost) -> [String; 3] {
    let share = cost.cpu_share().map_or("no guest ran".to_owned(), |share| format!("{:.1} %", share * 100.0));
    [
        format!(
            "    CPU time rig {:.1} s, all QEMUs {:.1} s: {share}",
            cost.rig_cpu_seconds, cost.guests_cpu_seconds
        ),
        format!(
            "      Memory rig {} MiB at most, one QEMU {} MiB at most",
            cost.rig_peak_mib, cost.guest_peak_mib
        ),
        format!(
            "    Verdicts {:.2} s after the agents' last message (median), {:.2} s at most",
            cost.verdict_median_seconds, cost.verdict_longest_seconds
        ),
    ]
}

/// Fresh boots beside shared ones: how much faster, and whether they come to the same.
pub(crate) async fn boots(args: &E2eArgs, host: &Host) -> Result<Exit, Failure> {
    let [fresh, shared] = e2e::run_both_ways(args, host).await?;
    let ratio = fresh.took.as_secs_f64() / shared.took.as_secs_f64().max(f64::MIN_POSITIVE);
    let differ = disagreements(&fresh.results, &shared.results);
    for cell in &differ {
        let words = |words: &Option<String>| words.clone().unwrap_or_else(|| "no result".into());
        output::line(format_args!(
            "    Disagree {}\n             fresh:  {}\n             shared: {}",
            cell.cell,
            words(&cell.one),
            words(&cell.other)
        ));
    }
    output::line(format_args!(
        "       Boots {} cells: fresh {:.1} s, shared {:.1} s, {ratio:.2} times as fast; {} of them agree",
        fresh.results.len(),
        fresh.took.as_secs_f64(),
        shared.took.as_secs_f64(),
        fresh.results.len().saturating_sub(differ.len()),
    ));
    // What is wrong with the cells themselves outweighs: then the comparison says little.
    Ok(match (fresh.exit, shared.exit) {
        (Exit::AsExpected, Exit::AsExpected) if differ.is_empty() => Exit::AsExpected,
        (Exit::AsExpected, Exit::AsExpected) => Exit::NotAsExpected,
        (Exit::AsExpected, other) | (other, _) => other,
    })
}
