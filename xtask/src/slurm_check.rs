//! `cargo xtask slurm-check`: some cells in two parts on a real Slurm with two nodes, of which one task is killed and its node drained
//! in the middle, held against a plain run of the same cells.

mod cluster;

use crate::cli::{E2eArgs, Engine, JudgeArgs, JudgeFormat, NightlyArgs, SlurmCheckArgs};
use crate::e2e::{self, plan};
use crate::exit::{Exit, Failure, OrFail};
use crate::nightly::{self, Slurm, stage};
use crate::tools::{self, QEMU};
use crate::{Host, judge_verb, output};
use anyhow::anyhow;
use cluster::Cluster;
use harness::durations::Durations;
use harness::outcome::{OutcomeKind, Verdict};
use harness::partition::Partition;
use harness::report::{CellResult, read_results};
use harness::runner::TrialId;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The suite, and what is taken of it: a boot that several cells start from, so that one of its part's cells has ended when the task is
/// killed and others have not, and two more for the other part.
const SUITE: &str = "smoke";
const CELLS: &str =
    "platform=pc-4g & (first=5.10-686-pae | (first=5.10-amd64 & userspace=i386 & reservation=256M@1968M))";

const NODES: [&str; 2] = ["rig1", "rig2"];

/// How often a part's results are looked at. A file on a cluster's file system tells nobody that it has grown.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) async fn run(args: &SlurmCheckArgs, host: &Host) -> Result<Exit, Failure> {
    let mut needed = tools::SLURM.to_vec();
    needed.push(QEMU);
    tools::provide(&needed, args.host.install, &host.interrupts).await?;
    let folder = host.repo.slurm_check_reports();
    let plain = E2eArgs {
        filter: Some(CELLS.into()),
        report: Some(folder.join("plain")),
        ..E2eArgs::of_suites(vec![SUITE.into()], args.host, args.store.clone())
    };
    // Its status is not asked for: the same cells have to be red behind Slurm, if any are.
    if e2e::run(&plain, host).await? == Exit::Interrupted {
        return Ok(Exit::Interrupted);
    }
    let cluster = Cluster::start(&NODES).await?;
    let checked = on_cluster(cluster.slurm(), args, &plain, &folder, host).await;
    let ended = cluster.end().await;
    let exit = checked?;
    ended?;
    Ok(exit)
}

async fn on_cluster(
    slurm: &Slurm,
    args: &SlurmCheckArgs,
    plain: &E2eArgs,
    folder: &Path,
    host: &Host,
) -> Result<Exit, Failure> {
    let victim = victim(plain, host)?;
    let stage = std::path::absolute(folder.join("stage")).or_rig()?;
    let _ = std::fs::remove_dir_all(&stage);
    let merged = folder.join("merged");
    let night = NightlyArgs {
        engine: Engine::Slurm,
        suite: vec![SUITE.into()],
        parts: Some(victim.of()),
        report: Some(merged.clone()),
        stage: Some(stage.clone()),
        sbatch: Vec::new(),
        host: args.host,
        store: args.store.clone(),
        e2e: ["-E", CELLS, "-j", "1"].map(str::to_owned).to_vec(),
    };
    let running = nightly::by_slurm(&night, slurm, host);
    tokio::pin!(running);
    let killed = tokio::select! {
        killed = kill_a_task(slurm, &stage, victim) => killed?,
        ended = &mut running => {
            ended?;
            return Err(Failure::Rig(anyhow!("part {victim} ended before its task could be killed")));
        }
    };
    let night = running.await?;
    let then = stage::node(&stage, victim.part()).unwrap_or_default();
    output::line(format_args!(
        "part {victim}: killed on {} with {} results and the node drained; then run on {then}",
        killed.node, killed.results
    ));
    let mut complaints = Vec::new();
    if night.again != [victim] {
        complaints.push(format!("{:?} were run again, and not {victim} alone", night.again));
    }
    if then == killed.node {
        complaints.push(format!("it was run again on {then}, which was drained"));
    }
    let read = |folder: PathBuf| read_results(&folder).map(|results| came_to(&results.trials)).or_rig();
    let (alone, together) = (read(folder.join("plain"))?, read(merged.clone())?);
    complaints.extend(differences(&alone, &together));
    let judged = JudgeArgs { report: Some(merged), suite: Vec::new(), format: JudgeFormat::Text };
    if judge_verb::run(&judged, host)? != Exit::AsExpected {
        complaints.push("the merged report's evidence does not come to the same again".to_owned());
    }
    if complaints.is_empty() {
        output::line(format_args!(
            "{} cells: the merged report says what the plain run's says",
            together.len()
        ));
        return Ok(Exit::AsExpected);
    }
    Err(Failure::Check(anyhow!("{}", complaints.join("\n"))))
}

/// The part whose task is killed: of two, the one with more cells.
fn victim(plain: &E2eArgs, host: &Host) -> Result<Partition, Failure> {
    let of = NonZeroU64::MIN.saturating_add(1);
    let whole = plan::make(plain, &host.repo)?;
    let dealt = plan::deal(&whole, &Durations::read(&host.repo.durations()).or_input()?, of);
    let most = Partition::all(of).max_by_key(|partition| dealt.ids(partition.part()).len());
    most.ok_or_else(|| Failure::Rig(anyhow!("there are no parts")))
}

/// A task that was killed.
struct Killed {
    node: String,
    /// Results that its report had by then.
    results: usize,
}

/// Kills the task of this part as a host's out-of-memory killer does, once it has a result, and drains its node.
async fn kill_a_task(slurm: &Slurm, stage: &Path, victim: Partition) -> Result<Killed, Failure> {
    let results = || {
        let file = stage::report(stage, victim.part()).join("results.jsonl");
        std::fs::read(file).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
    };
    while results() == 0 {
        tokio::time::sleep(LOOK).await;
    }
    let pid = std::fs::read_to_string(stage.join(format!("parts/{}.pid", victim.part()))).or_rig()?;
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::Rig(anyhow!("part {victim} says no process id")))?;
    let killed = kill_process(pid, Signal::KILL);
    let results = results();
    killed.map_err(|error| anyhow!("cannot kill the task of part {victim}: {error}")).or_rig()?;
    let node = stage::node(stage, victim.part()).unwrap_or_default();
    let name = format!("nodename={node}");
    slurm.ask("scontrol", &["update", &name, "state=drain", "reason=slurm-check"]).await?;
    Ok(Killed { node, results })
}

type CameTo = BTreeMap<TrialId, (OutcomeKind, Verdict)>;

fn came_to(results: &[CellResult]) -> CameTo {
    results.iter().map(|result| (result.trial(), (result.outcome.kind(), result.verdict))).collect()
}

/// In what two reports differ, by name.
fn differences(alone: &CameTo, together: &CameTo) -> Vec<String> {
    let mut all: Vec<&TrialId> = alone.keys().chain(together.keys()).collect();
    all.sort_unstable();
    all.dedup();
    let said = |came_to: Option<&(OutcomeKind, Verdict)>| match came_to {
        Some((outcome, verdict)) => {
            format!("{} ({})", outcome.name(), harness::report::verdict_name(*verdict))
        }
        None => "nothing".to_owned(),
    };
    all.into_iter()
        .filter(|trial| alone.get(trial) != together.get(trial))
        .map(|trial| {
            let (alone, together) = (said(alone.get(trial)), said(together.get(trial)));
            format!("{trial}: {alone} in the plain run, and {together} in the merged report")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{CommandLine, Verb};
    use clap::Parser;

    /// Catches a cell that vanished on its way through the cluster, or came to something else there, and nobody notices.
    #[test]
    fn a_difference_is_told() {
        let trial = |id: &str| TrialId { cell: harness::cell::CellId(id.into()), repetition: 1 };
        let passed = (OutcomeKind::Captured, Verdict::Pass);
        let alone: CameTo = [(trial("a"), passed), (trial("b"), passed), (trial("c"), passed)].into();
        assert!(differences(&alone, &alone).is_empty());
        let together = [(trial("a"), passed), (trial("b"), (OutcomeKind::Hung, Verdict::Fail))].into();
        assert_eq!(
            differences(&alone, &together),
            [
                "b: captured (pass) in the plain run, and hung (fail) in the merged report",
                "c: captured (pass) in the plain run, and nothing in the merged report",
            ]
        );
    }

    /// Catches a filter that no longer selects cells of several boots, of which one has more than one cell: then nothing is left to be
    /// lost when the task is killed.
    #[test]
    fn there_is_something_to_lose() {
        let words = ["xtask", "e2e", SUITE, "-E", CELLS];
        let Verb::E2e(args) = CommandLine::try_parse_from(words).unwrap().verb else { panic!() };
        let plan = plan::make(&args, &crate::Repo::find()).unwrap();
        let dealt = plan::deal(&plan, &Durations::default(), NonZeroU64::new(2).unwrap());
        assert!(dealt.empty().is_empty() && plan.cells.len() >= 4, "{dealt:?}");
    }
}
