//! `bisect run`: drives a bisection from its two ends to a culprit and a report, in a work tree of its own.

mod begun;
mod conclusion;
mod ends;
mod lock;

use self::begun::{LOG, hunt_args, latest, new_folder};
use self::lock::Lock;
use super::axis::{self, Axis};
use super::candidate::{Builder, NoCandidate};
use super::confidence::accumulated;
use super::git::Git;
use super::log::{self, Started, Step};
use super::paper::Confirmed;
use super::search::{self, Mark, Next};
use super::select;
use super::tester::{CellFinding, Finding, Given, Tested, Tester, Thoroughness, cache_folder, toolchain};
use crate::Host;
use crate::cli::{HuntArgs, LogArgs, Over, ReplayArgs};
use crate::exit::{Exit, Failure, OrFail};
use crate::table::{one_line, plural};
use crate::tools::GIT;
use crate::{output, store};
use anyhow::{Context, anyhow};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

/// The file of its report.
const REPORT: &str = "report.md";

pub(crate) async fn run(args: &HuntArgs, host: &Host) -> Result<Exit, Failure> {
    if args.resume {
        let folder = latest(args.judging.cache.as_deref())?;
        let (started, steps) = log::read(&folder.join(LOG)).or_input()?;
        output::line(format_args!("going on with {}, {} steps are known", folder.display(), steps.len()));
        return go_on(started, steps, folder, host).await;
    }
    let words = begun::own_words(std::env::args_os());
    let here = std::env::current_dir().context("there is no current folder").or_input()?;
    let folder = new_folder(args.judging.cache.as_deref())?;
    let started = Started { words, folder: here, ends: None };
    // Begun only when it is known that it can be: a hunt with a typo is nothing to go on with.
    Hunt::open(args, Vec::new(), folder, started, true, host).await
}

/// Prints the log of the last hunt, as `git bisect log` does.
pub(crate) fn print_log(args: &LogArgs) -> Result<Exit, Failure> {
    let folder = latest(args.cache.as_deref())?;
    let path = folder.join(LOG);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display())).or_input()?;
    output::line(String::from_utf8_lossy(&bytes).trim_end());
    Ok(Exit::AsExpected)
}

/// Does a hunt again with the verdicts of a log, and goes on where it ends.
pub(crate) async fn replay(args: &ReplayArgs, host: &Host) -> Result<Exit, Failure> {
    let (started, steps) = log::read(&args.file).or_input()?;
    let hunt = hunt_args(&started)?;
    go_to_its_folder(&started)?;
    // Only now: a cache that is named relative to that folder is there.
    let folder = new_folder(hunt.judging.cache.as_deref())?;
    Hunt::open(&hunt, steps, folder, started, true, host).await
}

async fn go_on(started: Started, steps: Vec<Step>, folder: PathBuf, host: &Host) -> Result<Exit, Failure> {
    let hunt = hunt_args(&started)?;
    go_to_its_folder(&started)?;
    Hunt::open(&hunt, steps, folder, started, false, host).await
}

/// Goes to where a hunt's arguments were given.
fn go_to_its_folder(started: &Started) -> Result<(), Failure> {
    std::env::set_current_dir(&started.folder)
        .with_context(|| format!("cannot go to {}, where it was started", started.folder.display()))
        .or_input()
}

/// A hunt while it goes on.
struct Hunt<'a> {
    args: &'a HuntArgs,
    axis: Axis<'a>,
    tester: Tester<'a>,
    folder: PathBuf,
    steps: Vec<Step>,
}

/// Where a search came to its end.
struct Found {
    first_bad: String,
    /// Those before it that cannot be tested and may be it instead.
    among: Vec<String>,
}

/// How many verdicts are corrected, one after the other, before that is given up.
const MOST_CORRECTIONS: u32 = 5;

/// The ends, verified.
struct Verified {
    good: Tested,
    bad: Tested,
    error: f64,
}

impl Hunt<'_> {
    /// Provides what is needed, and hunts. `begin` begins a log.
    async fn open(
        args: &HuntArgs,
        known: Vec<Step>,
        folder: PathBuf,
        mut started: Started,
        begin: bool,
        host: &Host,
    ) -> Result<Exit, Failure> {
        let (Some(over), Some(good), Some(bad)) = (args.over, &args.good, &args.bad) else {
            return Err(Failure::Input(anyhow!("--over, --good and --bad are needed")));
        };
        let recipe = begun::recipe(args, over)?;
        let cells =
            select::cells(&args.judging.cells, &args.judging.suite, &recipe, args.host, &args.store, host)?;
        let store = store::open(&args.store)?;
        let i686 = toolchain(&recipe, &[GIT], &args.judging, (args.host, &args.store), &store, host).await?;
        let cache = cache_folder(args.judging.cache.as_deref())?;
        let axis = match over {
            Over::Loader | Over::Kernel => {
                let repo = args.repo.clone().unwrap_or_else(|| PathBuf::from("."));
                let git = Git::open(&repo, &cache.join("trees"), &host.interrupts).await?;
                if git.is_dirty(&repo).await? {
                    output::note("what is changed in the work tree and not committed is not tested");
                }
                let builds = cache.join("builds").join(git.tree().file_name().unwrap_or_default());
                let builder = Builder { folder: builds, i686: &i686, interrupts: &host.interrupts };
                let archs = cells.iter().map(|cell| cell.userspace).collect();
                Axis::Git { git, recipe, builder, archs }
            }
            Over::KernelPackages => axis::kernels(&cells, args.side, good, bad)?,
            Over::KexecTools => axis::kexec_tools(good, bad)?,
        };
        // Names may stand for something else by the time that a hunt goes on.
        let (good, bad) = match started.ends.clone() {
            Some(ends) => ends,
            None => (axis.resolve(good).await?, axis.resolve(bad).await?),
        };
        started.ends = Some((good.clone(), bad.clone()));
        if good == bad {
            return Err(Failure::Input(anyhow!(
                "--good and --bad are the same, {good}: nothing lies between"
            )));
        }
        if let Axis::Git { git, .. } = &axis {
            ends::check_order(git, &good, &bad).await?;
        }
        // One hunt at a time has the work tree and the builds.
        let lock = cache.join("trees").join(match &axis {
            Axis::Git { git, .. } => format!("{}.lock", git.tree().file_name().unwrap_or_default().display()),
            Axis::Kernels { .. } | Axis::KexecTools { .. } => "packages.lock".to_owned(),
        });
        std::fs::create_dir_all(cache.join("trees")).or_rig()?;
        let lock = Lock::take(&lock)?;
        let given = Given {
            args: &args.judging,
            criteria: args.criteria(),
            host_args: args.host,
            store_args: &args.store,
            store,
            cells,
            i686: &i686,
            own_loader: matches!(over, Over::Kernel | Over::KernelPackages),
        };
        let tester = Tester::new(given, host).await?;
        let log = folder.join(LOG);
        if begin {
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))
                .or_rig()?;
            log::begin(&log, &started).or_rig()?;
            for step in &known {
                log::add(&log, step).or_rig()?;
            }
        }
        let mut hunt = Hunt { args, axis, tester, folder, steps: known };
        let ended = hunt.hunt(&good, &bad).await;
        if let Axis::Git { git, .. } = &hunt.axis {
            match &ended {
                // It is gone on with there.
                Err(Failure::Interrupted) => {
                    output::note("`bisect run --resume` goes on from here");
                }
                // What is built in it may have taken an hour, and the next try comes soon.
                Ok(_) if args.keep_tree => git.tell_of_tree(),
                Err(_) => git.tell_of_tree(),
                // An interruption comes too late to change what was found.
                Ok(_) => {
                    if let Err(failure) = git.remove_tree().await {
                        let tree = git.tree().display();
                        output::note(format_args!("the work tree {tree} is left: {failure}"));
                    }
                }
            }
        }
        drop(lock);
        ended
    }

    async fn hunt(&mut self, good: &str, bad: &str) -> Result<Exit, Failure> {
        let began = Instant::now();
        let verified = self.verify_ends(good, bad).await?;
        // A culprit that is not one when it is tested once more was a flake's victim: the search goes on without that verdict. Each time
        // one verdict is corrected, so that there is an end to it.
        for _ in 0..=MOST_CORRECTIONS {
            let found = self.search(good, bad).await?;
            let (confirmed, sides) = self.confirm(&found, &verified).await?;
            if confirmed == Confirmed::Corrected {
                continue;
            }
            let errors = self.steps.iter().filter_map(|step| step.error).chain([verified.error]);
            let error = accumulated(errors);
            return self.conclude(found, bad, confirmed, sides, error, began).await;
        }
        Err(Failure::Rig(anyhow!(
            "{MOST_CORRECTIONS} verdicts had to be corrected, one after the other: the cells flake in ways that their ends do not show; \
             more --end-runs, or another --confidence, may help. `bisect log` has what is known"
        )))
    }

    /// Halves what lies between the ends until there is nothing left to test.
    async fn search(&mut self, good: &str, bad: &str) -> Result<Found, Failure> {
        let began = Instant::now();
        let mut goods = vec![good.to_owned()];
        let mut first_bad = bad.to_owned();
        let (mut streak, mut tested_now) = (0, 0_u32);
        loop {
            let between = self.axis.between(&goods, &first_bad).await?;
            let skipped = self.steps.iter().filter(|step| step.mark == Mark::Skip);
            let skipped: BTreeSet<String> = skipped.map(|step| step.revision.clone()).collect();
            let revision = match search::next(&between, &skipped, streak) {
                Next::Found => return Ok(Found { first_bad, among: Vec::new() }),
                Next::Bracketed(among) => return Ok(Found { first_bad, among }),
                Next::Test(revision) => revision,
            };
            let (step, is_new) = match self.known(&revision) {
                Some(step) => (step, false),
                None => (self.test(&revision).await?, true),
            };
            match step.mark {
                Mark::Good => goods.push(revision),
                Mark::Bad => first_bad = revision,
                Mark::Skip => {}
            }
            streak = if step.mark == Mark::Skip { streak + 1 } else { 0 };
            if !is_new {
                continue;
            }
            tested_now += 1;
            let left = self.axis.between(&goods, &first_bad).await?.len();
            let each = began.elapsed().as_secs_f64() / f64::from(tested_now);
            self.record(step, Some((left, each)))?;
        }
    }

    /// Writes a step down, and shows it. It takes the place of an earlier one on the same revision.
    fn record(&mut self, step: Step, left: Option<(usize, f64)>) -> Result<(), Failure> {
        let log = self.folder.join(LOG);
        match self.known(&step.revision) {
            Some(_) => log::correct(&log, &step).or_rig()?,
            None => log::add(&log, &step).or_rig()?,
        }
        let left = left.map_or_else(String::new, |(left, each)| {
            let steps = search::steps_left(left);
            let time = duration(each * f64::from(steps));
            format!("; {left} left, about {}, {time}", plural(steps as usize, "step"))
        });
        output::line(format_args!(
            "{} {:<4} {} ({}, {}{left}) {}",
            self.short(&step.revision),
            step.mark.name(),
            clip(&step.subject, 60),
            plural(step.runs as usize, "run"),
            spent(step.seconds, step.building),
            clip(&step.words, 90)
        ));
        self.steps.retain(|earlier| earlier.revision != step.revision);
        self.steps.push(step);
        Ok(())
    }

    /// What was found out of a revision before.
    fn known(&self, revision: &str) -> Option<Step> {
        self.steps.iter().find(|step| step.revision == revision).cloned()
    }

    async fn try_revision(&self, revision: &str, how: Thoroughness) -> Result<Tested, Failure> {
        let began = Instant::now();
        let candidate = self.axis.candidate(revision).await;
        self.try_candidate(candidate, how, began).await
    }

    /// Tests what was made, if it was; what `began` was when that was begun.
    async fn try_candidate(
        &self,
        candidate: Result<super::candidate::Candidate, NoCandidate>,
        how: Thoroughness,
        began: Instant,
    ) -> Result<Tested, Failure> {
        let building = began.elapsed().as_secs_f64();
        let tested = match candidate {
            Ok(candidate) => self.tester.test(&candidate, how).await?,
            Err(NoCandidate::Untestable(why)) => Tested::untestable(why),
            Err(NoCandidate::Failed(failure)) => return Err(failure),
        };
        Ok(Tested { seconds: began.elapsed().as_secs_f64(), building, ..tested })
    }

    async fn test(&self, revision: &str) -> Result<Step, Failure> {
        let how = Thoroughness { least: 1, again: self.args.judging.again, exactly: false };
        let tested = self.try_revision(revision, how).await?;
        self.step_of(revision, tested).await
    }

    /// What is written down of a test.
    async fn step_of(&self, revision: &str, tested: Tested) -> Result<Step, Failure> {
        let mark = tested.mark();
        let words = tested.cells.iter().filter_map(CellFinding::telling).map(|seen| one_line(&seen.words));
        let words = words.collect::<Vec<_>>().join("; ");
        let (error, words) = match tested.finding {
            Finding::Good { error } | Finding::Bad { error } => (Some(error), words),
            Finding::Untestable { why } => (None, one_line(&why)),
        };
        let subject = self.axis.subject(revision).await?;
        let Tested { runs, seconds, building, .. } = tested;
        Ok(Step { revision: revision.to_owned(), subject, mark, error, words, runs, seconds, building })
    }

    /// A revision as people read it: commits are cut.
    fn short(&self, revision: &str) -> String {
        match self.axis {
            Axis::Git { .. } => revision.chars().take(12).collect(),
            Axis::Kernels { .. } | Axis::KexecTools { .. } => revision.to_owned(),
        }
    }
}

fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// How long something took, and how much of that was its build, where that is worth a word.
fn spent(seconds: f64, building: f64) -> String {
    let of_it = if building < 1.0 { String::new() } else { format!(", {building:.0} s of it to build") };
    format!("{seconds:.0} s{of_it}")
}

fn duration(seconds: f64) -> String {
    if seconds < 90.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}
