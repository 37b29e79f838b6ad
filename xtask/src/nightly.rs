//! `cargo xtask nightly`: a suite in one part or in many, on this host or by Slurm, and one report of it all.
//!
//! What a part's run is told is a small contract that any engine can keep (README): `xtask e2e SUITE --partition M/N --report DIR`, in the
//! same tree or a staged copy, and `xtask merge DIR...` behind it. Slurm is one that keeps it, by the staged folder's `task.sh`.

mod slurm;
pub(crate) mod stage;

pub(crate) use slurm::Slurm;

use crate::cli::{CommandLine, E2eArgs, Engine, NightlyArgs, Verb};
use crate::e2e::{self, plan};
use crate::exit::{Exit, Failure, OrFail};
use crate::repo::Repo;
use crate::tools::{self, SBATCH};
use crate::{Host, history_verb, merge_verb, output};
use anyhow::anyhow;
use clap::Parser;
use harness::durations::Durations;
use harness::partition::{PartOfPlan, Partition};
use harness::report::{absolute_folder, lost_trials, merge};
use stage::Stage;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

pub(crate) async fn run(args: &NightlyArgs, host: &Host) -> Result<Exit, Failure> {
    match args.engine {
        Engine::Local => local(args, host).await,
        Engine::Slurm => {
            tools::provide(&[SBATCH], args.host.install, &host.interrupts).await?;
            Ok(by_slurm(args, &Slurm::of_this_host(), host).await?.exit)
        }
    }
}

/// A night on a cluster.
#[derive(Debug)]
pub(crate) struct Night {
    pub(crate) exit: Exit,
    /// The parts that were run a second time, for their first run was lost.
    pub(crate) again: Vec<Partition>,
}

/// The arguments of `e2e` that every part gets.
fn e2e_args(args: &NightlyArgs) -> Result<E2eArgs, Failure> {
    let words = ["xtask", "e2e"].into_iter().map(str::to_owned).chain(e2e_words(args));
    let Verb::E2e(parsed) = CommandLine::try_parse_from(words).map_err(anyhow::Error::from).or_input()?.verb
    else {
        return Err(Failure::Input(anyhow!("these are no arguments of e2e")));
    };
    let given = [
        ("--report", parsed.report.is_some()),
        ("--partition", parsed.partition.is_some()),
        ("--programs", parsed.programs.is_some()),
        ("--resume", parsed.resume),
        ("--list", parsed.list),
        ("--failed", parsed.failed),
        ("--fail-fast", parsed.fail_fast),
    ];
    if let Some((name, _)) = given.into_iter().find(|(_, given)| *given) {
        return Err(Failure::Input(anyhow!("{name} is nothing for the parts of a nightly run")));
    }
    Ok(E2eArgs { host: args.host, store: args.store.clone(), ..*parsed })
}

/// The words of a command line of `e2e` that say what is run, by all parts together.
fn e2e_words(args: &NightlyArgs) -> Vec<String> {
    args.suite.iter().chain(&args.e2e).cloned().collect()
}

/// The same for a part. What is recorded is the night, once, and not each part of it.
fn part_words(args: &NightlyArgs) -> Vec<String> {
    let mut words = e2e_words(args).into_iter();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--record" => {}
            "--history" => drop(words.next()),
            word if word.starts_with("--history=") => {}
            _ => kept.push(word),
        }
    }
    kept
}

/// The arguments of a part that is run here.
fn part_args(base: &E2eArgs, partition: Partition, report: PathBuf) -> E2eArgs {
    E2eArgs {
        partition: Some(partition.to_string()),
        report: Some(report),
        record: false,
        history: None,
        ..base.clone()
    }
}

fn report_folder(args: &NightlyArgs, repo: &Repo) -> Result<PathBuf, Failure> {
    let folder = args.report.clone().unwrap_or_else(|| repo.default_nightly_report());
    absolute_folder(&folder).or_input()
}

fn stage_folder(args: &NightlyArgs, report: &Path) -> Result<PathBuf, Failure> {
    let default = || {
        let mut name = report.as_os_str().to_owned();
        name.push(".stage");
        PathBuf::from(name)
    };
    absolute_folder(&args.stage.clone().unwrap_or_else(default)).or_input()
}

/// On this host: a plain run, or, where parts are asked for, one after the other and merged.
async fn local(args: &NightlyArgs, host: &Host) -> Result<Exit, Failure> {
    let base = e2e_args(args)?;
    let report = report_folder(args, &host.repo)?;
    let Some(of) = args.parts.filter(|parts| parts.get() > 1) else {
        return e2e::run(&E2eArgs { report: Some(report), ..base }, host).await;
    };
    let whole = plan::make(&base, &host.repo)?;
    let dealt = plan::deal(&whole, &Durations::read(&host.repo.durations()).or_input()?, of);
    let recorder = base.record.then(|| history_verb::recorder(&base, &host.repo));
    let folder = stage_folder(args, &report)?;
    let _taken = stage::take(&folder)?;
    let mut folders = Vec::new();
    for partition in Partition::all(of).filter(|partition| !dealt.empty().contains(partition)) {
        output::line(format_args!("==> part {partition}"));
        let part = folder.join("parts").join(partition.part().to_string());
        folders.push(part.clone());
        // What is wrong with cells is told by the merged report.
        if e2e::run(&part_args(&base, partition, part), host).await? == Exit::Interrupted {
            return Ok(Exit::Interrupted);
        }
    }
    let exit = merge_verb::told(&merge(&folders, &report).map_err(merge_verb::failure_of)?);
    history_verb::record_run(&base, &report, recorder, exit, &host.repo)
}

/// On the nodes of a cluster: staged once, run as a job array, lost parts a second time, merged.
pub(crate) async fn by_slurm(args: &NightlyArgs, slurm: &Slurm, host: &Host) -> Result<Night, Failure> {
    let base = e2e_args(args)?;
    let report = report_folder(args, &host.repo)?;
    let whole = plan::make(&base, &host.repo)?;
    let of = match args.parts {
        Some(parts) => parts,
        None => {
            let nodes = slurm.nodes().await?.len() as u64;
            NonZeroU64::new(nodes).ok_or_else(|| {
                Failure::Rig(anyhow!(
                    "Slurm has no node that is up; `sinfo` shows why, and --parts N waits for one"
                ))
            })?
        }
    };
    let recorder = base.record.then(|| history_verb::recorder(&base, &host.repo));
    let dealt = plan::deal(&whole, &Durations::read(&host.repo.durations()).or_input()?, of);
    let empty = dealt.empty();
    let parts: Vec<PartOfPlan> = Partition::all(of)
        .filter(|partition| !empty.contains(partition))
        .map(|partition| PartOfPlan { partition, plan: dealt.clone() })
        .collect();
    let stage =
        Stage::make(&stage_folder(args, &report)?, &whole.cells, &part_words(args), of, &base, slurm, host)
            .await?;
    output::line(format_args!(
        "{} cells in {} parts, staged in {}",
        dealt.cells.len(),
        parts.len(),
        stage.folder().display()
    ));

    let lost = |parts: &[PartOfPlan]| -> Vec<PartOfPlan> {
        let lost = |part: &&PartOfPlan| {
            !lost_trials(&stage.report(part.partition), part, base.repeat.get()).is_empty()
        };
        parts.iter().filter(lost).cloned().collect()
    };
    slurm.run(&stage, &parts, &[], &args.sbatch, host).await?;
    let again = lost(&parts);
    if !again.is_empty() {
        let elsewhere =
            elsewhere(&slurm.nodes().await?, again.iter().filter_map(|part| stage.node(part.partition)));
        output::note(format_args!("{}, and run again", told(&again, &stage)));
        slurm.run(&stage, &again, &elsewhere, &args.sbatch, host).await?;
    }
    let still = lost(&again);
    if !still.is_empty() {
        return Err(Failure::Rig(anyhow!("{}, for the second time", told(&still, &stage))));
    }
    let folders: Vec<PathBuf> = parts.iter().map(|part| stage.report(part.partition)).collect();
    let exit = merge_verb::told(&merge(&folders, &report).map_err(merge_verb::failure_of)?);
    let exit = history_verb::record_run(&base, &report, recorder, exit, &host.repo)?;
    Ok(Night { exit, again: again.into_iter().map(|part| part.partition).collect() })
}

/// The nodes to keep away from: those on which tasks were lost, as long as any other is up.
fn elsewhere(up: &[String], lost_on: impl Iterator<Item = String>) -> Vec<String> {
    let mut bad: Vec<String> = lost_on.filter(|node| up.contains(node)).collect();
    bad.sort_unstable();
    bad.dedup();
    if bad.len() < up.len() { bad } else { Vec::new() }
}

/// What people need to know of lost parts.
fn told(lost: &[PartOfPlan], stage: &Stage) -> String {
    let one = |part: &PartOfPlan| {
        let node = stage.node(part.partition).unwrap_or_else(|| "no node".to_owned());
        format!(
            "part {} was lost (on {node}; its output: {})",
            part.partition,
            stage.log(part.partition).display()
        )
    };
    lost.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &str) -> NightlyArgs {
        let words = ["xtask", "nightly"].into_iter().chain(words.split_whitespace());
        match CommandLine::try_parse_from(words).unwrap().verb {
            Verb::Nightly(args) => args,
            other => panic!("{other:?}"),
        }
    }

    /// Catches arguments of `e2e` that do not reach the parts, and those that would break a part apart from the others.
    #[test]
    fn parts_get_what_e2e_takes() {
        let night = args(
            "--engine slurm --suite smoke --sbatch --exclusive --offline -- -E userspace=i386 --retries 2",
        );
        assert_eq!(e2e_words(&night), ["smoke", "-E", "userspace=i386", "--retries", "2"]);
        let e2e = e2e_args(&night).unwrap();
        assert_eq!(
            (e2e.retries, e2e.filter.as_deref(), e2e.store.offline),
            (2, Some("userspace=i386"), true)
        );
        assert_eq!(night.sbatch, ["--exclusive"]);
        assert_eq!(args("--engine local").suite, ["nightly"]);
        for bad in ["--report r", "--partition 1/2", "--resume", "--fail-fast", "--no-such"] {
            let why = e2e_args(&args(&format!("--engine local -- {bad}"))).unwrap_err();
            assert_eq!(why.exit(), Exit::BadInput, "{bad}: {why}");
        }
    }

    /// Bug: each part of a night is recorded as a night of its own, in a history that is the stage's and goes with it; or the night is not.
    #[test]
    fn a_night_in_parts_is_recorded_once() {
        for words in ["--record --history /h", "--history=/h --record"] {
            let night = args(&format!("--engine slurm --suite smoke -- -E a=b {words} --retries 2"));
            assert_eq!(part_words(&night), ["smoke", "-E", "a=b", "--retries", "2"], "{words}");
            let base = e2e_args(&night).unwrap();
            assert_eq!((base.record, base.history.as_deref()), (true, Some(Path::new("/h"))), "{words}");
            let part = part_args(&base, "1/2".parse().unwrap(), "/r".into());
            assert_eq!((part.record, part.history, part.filter.as_deref()), (false, None, Some("a=b")));
        }
    }

    /// Bug: a slash behind `--report DIR/` puts the stage, or the earlier report, into the report's own folder, where the report of a
    /// whole night is refused for it; or one behind `--stage DIR/` does the same to what lies beside the stage.
    #[test]
    fn a_slash_behind_a_folder_changes_nothing() {
        for words in
            ["--report /r/night", "--report /r/night/", "--report /r/night//", "--report /r/./night/."]
        {
            let night = args(&format!("--engine local {words}"));
            let report = report_folder(&night, &Repo::find()).unwrap();
            // As text: paths that differ in their last slash alone are equal.
            assert_eq!(report.as_os_str(), "/r/night", "{words}");
            assert_eq!(stage_folder(&night, &report).unwrap().as_os_str(), "/r/night.stage", "{words}");
        }
        let night = args("--engine local --stage /shared/stage/");
        assert_eq!(stage_folder(&night, Path::new("/r")).unwrap().as_os_str(), "/shared/stage");
    }

    /// Catches a lost part that is given to the same broken node again, and one that waits for ever because no other node is there.
    #[test]
    fn lost_parts_go_elsewhere_where_there_is_an_elsewhere() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let up = names(&["a", "b"]);
        assert_eq!(elsewhere(&up, names(&["b", "b"]).into_iter()), ["b"]);
        assert_eq!(elsewhere(&up, names(&["a", "b"]).into_iter()), Vec::<String>::new());
        assert_eq!(elsewhere(&up, names(&["gone"]).into_iter()), Vec::<String>::new());
        assert_eq!(elsewhere(&names(&["a"]), names(&["a"]).into_iter()), Vec::<String>::new());
    }
}
