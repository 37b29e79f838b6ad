//! Runs the cells over one thing under test, until it is sure of every cell or gives up.

mod place;
mod round;
mod trial;

pub(crate) use place::{cache_folder, programs_folder, toolchain};

use super::candidate::{self, Candidate};
use super::confidence::{Belief, Counts, Label, Past};
use super::criterion::{Criteria, Side};
use super::disk;
use super::memory::{self, Key, Memory, Observation};
use super::search::Mark;
use crate::Host;
use crate::build;
use crate::cli::{HostArgs, JudgingArgs, StoreArgs};
use crate::e2e::ready::{self, GuestFiles};
use crate::exit::{Failure, OrFail};
use crate::process::OWN_PROGRAM;
use crate::store::Shared;
use crate::tools::{self, QEMU};
use anyhow::anyhow;
use guest_protocol::Arch;
use harness::artifacts::{Artifacts, capture_userspace};
use harness::cell::{Cell, CellId};
use harness::outcome::Outcome;
use place::programs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;
use trial::{Rules, Trial, whole};

/// Everything that every step of a bisection has in common.
pub(crate) struct Tester<'a> {
    pub(crate) host: &'a Host,
    pub(crate) args: JudgingArgs,
    host_args: HostArgs,
    store_args: StoreArgs,
    store: Shared,
    pub(crate) criteria: Criteria,
    /// The cells, as the suites have them.
    pub(crate) cells: Vec<Cell>,
    /// PID 1 of the guests, and this repository's loader where cells have it and something else is tested.
    programs: GuestFiles,
    /// Names this program: another one may judge the same evidence otherwise.
    rig: String,
    qemu: String,
    pub(crate) folder: PathBuf,
    /// What is known of contents: that of the ends, once they are verified.
    pub(crate) labels: BTreeMap<String, Label>,
}

/// What a tester is made of.
pub(crate) struct Given<'a> {
    pub(crate) args: &'a JudgingArgs,
    pub(crate) criteria: Criteria,
    pub(crate) host_args: HostArgs,
    pub(crate) store_args: &'a StoreArgs,
    pub(crate) store: Shared,
    /// As the suites have them, at least one.
    pub(crate) cells: Vec<Cell>,
    pub(crate) i686: &'a build::Toolchain,
    /// Whether cells are run with this repository's own loader, since something else is tested.
    pub(crate) own_loader: bool,
}

/// What is to be said of one thing under test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finding {
    Good { error: f64 },
    Bad { error: f64 },
    Untestable { why: String },
}

/// One cell of a thing under test.
#[derive(Clone, Debug)]
pub(crate) struct CellFinding {
    /// As the suite has it.
    pub(crate) id: CellId,
    pub(crate) key: Key,
    pub(crate) counts: Counts,
    pub(crate) finding: Option<Finding>,
    /// What it was seen to do, the last time on each side.
    pub(crate) good: Option<Observation>,
    pub(crate) bad: Option<Observation>,
    /// All that was seen of what is tested.
    pub(crate) seen: Vec<Observation>,
    /// Runs that say nothing of it: trouble of the rig, no region, no first kernel.
    pub(crate) vain: Vec<Observation>,
}

impl CellFinding {
    /// What stands for the whole.
    pub(crate) fn telling(&self) -> Option<&Observation> {
        if self.counts.bad > self.counts.good {
            self.bad.as_ref()
        } else {
            self.good.as_ref().or(self.bad.as_ref())
        }
    }
}

/// What testing one thing came to.
#[derive(Clone, Debug)]
pub(crate) struct Tested {
    pub(crate) finding: Finding,
    pub(crate) cells: Vec<CellFinding>,
    /// Runs that were made for it now; the others were known.
    pub(crate) runs: u32,
    pub(crate) seconds: f64,
    /// Those of the seconds until there was something to run.
    pub(crate) building: f64,
}

/// How a thing is to be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thoroughness {
    /// At least so many runs of each cell.
    pub(crate) least: u32,
    /// Do not use what is known of the same content.
    pub(crate) again: bool,
    /// Exactly `least` runs of every cell, whether they are enough for a verdict or not: for ends, which are judged beside each other.
    pub(crate) exactly: bool,
}

impl Tested {
    /// As git names it.
    pub(crate) const fn mark(&self) -> Mark {
        match self.finding {
            Finding::Good { .. } => Mark::Good,
            Finding::Bad { .. } => Mark::Bad,
            Finding::Untestable { .. } => Mark::Skip,
        }
    }

    /// What cannot be tested.
    pub(crate) const fn untestable(why: String) -> Self {
        Self { finding: Finding::Untestable { why }, cells: Vec::new(), runs: 0, seconds: 0.0, building: 0.0 }
    }
}

impl<'a> Tester<'a> {
    /// Provides all but what is tested.
    ///
    /// # Errors
    /// Whatever keeps every step from being done.
    pub(crate) async fn new(given: Given<'_>, host: &'a Host) -> Result<Tester<'a>, Failure> {
        let Given { args, criteria, host_args, store_args, store, cells, i686, own_loader } = given;
        let nothing_is_bad =
            cells.iter().find(|cell| cell.expected == harness::outcome::Expectation::Observed);
        if let (Some(cell), true) = (nothing_is_bad, criteria.by_expectation()) {
            return Err(Failure::Input(anyhow!(
                "{}: its suite expects nothing of it, so that nothing would be bad; say what is: --bad-is hung",
                cell.id
            )));
        }
        let programs = programs(&cells, own_loader, i686, host).await?;
        let program = Path::new(OWN_PROGRAM);
        let qemu = args.guests.qemu.clone().unwrap_or_else(|| QEMU.program.into());
        let qemu = qemu.to_str().and_then(tools::find).unwrap_or(qemu);
        let qemu = harness::qemu::qemu_version(&qemu).await.or_input()?;
        let folder = cache_folder(args.cache.as_deref())?;
        Ok(Tester {
            host,
            args: args.clone(),
            host_args,
            store_args: store_args.clone(),
            store,
            criteria,
            cells,
            programs,
            rig: candidate::content(program)?,
            qemu,
            folder,
            labels: BTreeMap::new(),
        })
    }

    fn memory(&self) -> Memory {
        Memory::at(self.folder.join("seen"))
    }

    pub(crate) fn archs(&self) -> BTreeSet<Arch> {
        self.cells.iter().map(|cell| cell.userspace).collect()
    }

    /// What is believed of a cell's flakes, from all that was run of it with other contents.
    pub(crate) fn belief(&self, key: &Key) -> Result<Belief, Failure> {
        let others = self.memory().others(key).or_rig()?;
        let past: Vec<Past> = others
            .iter()
            .map(|(content, seen)| Past {
                counts: memory::count(seen, &self.criteria),
                label: self.labels.get(content).copied().unwrap_or(Label::Unknown),
            })
            .collect();
        Ok(Belief::after(&past))
    }

    /// Runs the cells with this in them until it is sure.
    ///
    /// # Errors
    /// What ends the bisection: an interruption, a full disk, a process that outlived its guest, a broken host.
    pub(crate) async fn test(&self, candidate: &Candidate, how: Thoroughness) -> Result<Tested, Failure> {
        let began = Instant::now();
        let untestable = |why| Tested { seconds: began.elapsed().as_secs_f64(), ..Tested::untestable(why) };
        let mut owns = Vec::new();
        let mut put: Vec<Cell> = Vec::new();
        for cell in &self.cells {
            match candidate.put_into(cell) {
                // Cells that differed in nothing but what is tested are one and the same now.
                Ok(changed) if put.iter().any(|known| known.id == changed.id) => {}
                Ok(changed) => {
                    owns.push(cell);
                    put.push(changed);
                }
                Err(why) => return Ok(untestable(format!("{}: {why}", cell.id))),
            }
        }
        match ready::prefetch(&put, &self.store, self.host).await {
            // A released package that there is not for this architecture, or not any more.
            Err(Failure::Input(why)) if candidate.is_released() => return Ok(untestable(format!("{why:#}"))),
            prefetched => prefetched?,
        }
        let mut files = self.programs.clone();
        if let Candidate::OwnLoader(built) = candidate {
            files.loaders.clone_from(built);
        }
        // The agents are there and what is locked is fetched: what is missing or unfit now is what is tested.
        let artifacts = match ready::resolve(&put, self.store.clone(), files, self.host).await {
            Ok(artifacts) => artifacts,
            Err(Failure::Input(why)) => {
                disk::check(&[&self.folder])?;
                return Ok(untestable(format!("{why:#}")));
            }
            Err(failure) => return Err(failure),
        };
        let mut trials = Vec::new();
        for (own, put) in owns.into_iter().zip(put) {
            let key = self.key(candidate, own, &put, &artifacts);
            let seen = if how.again { Vec::new() } else { self.memory().of(&key).or_rig()? };
            let belief = self.belief(&key)?;
            trials.push(Trial { id: own.id.clone(), cell: put, key, belief, seen, vain: Vec::new() });
        }
        let mut runs = 0;
        loop {
            let confidence = self.args.confidence;
            let rules =
                Rules { confidence, least: how.least, most: self.args.most_runs.get(), exactly: how.exactly };
            let open: Vec<(usize, u32)> = (0..)
                .zip(&trials)
                .filter_map(|(at, trial)| Some((at, trial.to_run(&self.criteria, rules)?)))
                .collect();
            let is_bad =
                |trial: &Trial| matches!(trial.finding(&self.criteria, rules), Some(Finding::Bad { .. }));
            let decided = !how.exactly && trials.iter().any(is_bad);
            if open.is_empty() || decided {
                let cells: Vec<_> =
                    trials.into_iter().map(|trial| trial.end(&self.criteria, rules)).collect();
                let finding = whole(&cells);
                let seconds = began.elapsed().as_secs_f64();
                return Ok(Tested { finding, cells, runs, seconds, building: 0.0 });
            }
            // As many of each as the one that needs fewest: the others are looked at again then.
            let repeat = open.iter().map(|(_, more)| *more).min().unwrap_or(1).max(1);
            let cells: Vec<Cell> = open.iter().map(|(at, _)| trials[*at].cell.clone()).collect();
            let results = self.run(cells, artifacts.clone(), repeat).await?;
            for (result, evidence) in results {
                let Some(trial) = trials.iter_mut().find(|trial| trial.cell.id == result.id) else {
                    continue;
                };
                runs += 1;
                let observation = Observation {
                    outcome: result.outcome.clone(),
                    verdict: result.verdict,
                    words: result.words.clone(),
                    seconds: result.attempts.iter().map(|attempt| attempt.seconds).sum(),
                    evidence,
                };
                if let Outcome::RigError { what } = &observation.outcome
                    && disk::is_told(what)
                {
                    return Err(Failure::Rig(anyhow!("the disk is full: {what}")));
                }
                match observation.side(&self.criteria) {
                    Some(Side::Good | Side::Bad) => {
                        self.memory().add(&trial.key, &observation).or_rig()?;
                        trial.seen.push(observation);
                    }
                    Some(Side::Neither) | None => trial.vain.push(observation),
                }
            }
        }
    }

    /// Names what is tested, and all else that takes part.
    fn key(&self, candidate: &Candidate, own: &Cell, put: &Cell, artifacts: &Artifacts) -> Key {
        let kernel = |kernel| artifacts.kernel(kernel).map(|image| image.digest.clone());
        let (first, capture) = (kernel(&put.first), kernel(&put.capture));
        let loader = artifacts.loader(&put.loader, put.userspace).map(|files| files.version().to_owned());
        let agents: Vec<_> = [put.userspace, capture_userspace(put)]
            .iter()
            .map(|arch| artifacts.agent(*arch).map(|agent| agent.digest.clone()))
            .collect();
        let only = |tested: bool, version: &Option<String>| if tested { None } else { version.clone() };
        let cell = memory::digest_of(&serde_json::json!({
            "rig": self.rig,
            "qemu": self.qemu,
            "accel": format!("{:?}", self.args.guests.accel),
            "agents": agents,
            "cell": candidate.taken_out_of(own),
            "first": only(candidate.tests_first(), &first),
            "capture": only(candidate.tests_capture(), &capture),
            "loader": only(candidate.tests_loader(), &loader),
            "firmware": artifacts.firmware(put.platform.firmware).map(|file| file.version.clone()),
            "reader": format!("{:?}", put.reader),
        }));
        let content = memory::digest_of(&serde_json::json!({
            "first": only(!candidate.tests_first(), &first),
            "capture": only(!candidate.tests_capture(), &capture),
            "loader": only(!candidate.tests_loader(), &loader),
        }));
        Key { cell, content }
    }
}
