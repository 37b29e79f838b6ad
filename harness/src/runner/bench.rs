//! Measures loaders beside each other: in the same guests, from the same saved states, one at a time and in turns, so that what
//! the host does meanwhile falls on all of them alike.

use super::attempt::Shared;
use super::boot::{Booted, SharedBoot, boot, cell_places};
use super::{Begun, Options, RunError, RunEvent, Todo, begin};
use crate::accel::Accel;
use crate::artifacts::Artifacts;
use crate::boot::grouped;
use crate::cell::{Cell, CellId};
use crate::classify;
use crate::cmdline::{first_cmdline, loader_argv_saying};
use crate::guest::{GuestPlan, Inquiry, Measured, Milestones, Origin, PanicTimes, measure_guest};
use crate::judge;
use crate::outcome::{Expectation, Outcome, Verdict};
use crate::pvh;
use crate::stop::Stop;
use crate::triage::SegmentMap;
use guest_protocol::{Message, RunTime};
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Bytes of a kernel by which it is known in memory. It begins with instructions that no other segment begins with.
const HEAD: usize = 64;

/// What was measured in one guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The loader's run, by the guest's clock.
    pub load: RunTime,
    /// The panic.
    pub panic: PanicTimes,
}

/// A cell, and what was measured of it, round by round.
#[derive(Clone, Debug)]
pub struct Benched {
    /// The cell.
    pub cell: Cell,
    /// The capture kernel's load address.
    pub kernel: u64,
    /// The rounds, in their order.
    pub rounds: Vec<Round>,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct BenchPlan {
    /// The cells.
    pub cells: Vec<Cell>,
    /// What they need.
    pub artifacts: Arc<Artifacts>,
    /// How often each.
    pub rounds: NonZeroU32,
    /// Guests run by the number of their instructions, which TCG alone does.
    pub counted: bool,
}

/// How often a guest is run again for the same figure where the rig, QEMU or the host failed. A loader gets no second try: one that fails
/// now and then must not be measured by the times that it does not.
const RETRIES: u32 = 2;

/// Why a cell was measured no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Its guest came to something that speaks of its loader.
    Loader(String),
    /// The rig, QEMU or the host failed, again and again.
    Rig(String),
}

/// Why a measurement ended before its end.
#[derive(Debug)]
pub enum Broke {
    /// A person wants it to.
    Interrupted,
    /// Nothing more could be run.
    Run(RunError),
}

/// What a measurement came to. What was measured is in it however it ended.
#[derive(Debug, Default)]
pub struct Measurement {
    /// The cells of which anything was measured.
    pub benched: Vec<Benched>,
    /// Those that were not measured to the end.
    pub lost: Vec<(CellId, Lost)>,
    /// Why it ended before its end, if it did.
    pub broke: Option<Broke>,
}

/// Why a guest gave no figures.
#[derive(Debug)]
enum Miss {
    /// This cell has no more.
    Lost(Lost),
    /// No cell has.
    Broke(Broke),
}

impl From<RunError> for Miss {
    fn from(error: RunError) -> Self {
        Self::Broke(Broke::Run(error))
    }
}

/// Measures. Cells that need the same boot start from one state, in turns; one guest runs at a time. `told` gets a line for people now
/// and then.
///
/// # Errors
/// Nothing could be begun.
pub async fn bench(
    plan: BenchPlan,
    options: Options,
    stop: Stop,
    told: &mut (dyn FnMut(String) + Send),
) -> Result<Measurement, RunError> {
    let BenchPlan { cells, artifacts, rounds, counted } = plan;
    let (events, mut news) = mpsc::unbounded_channel();
    let begun = begin(cells, &[], artifacts, &options, counted, events, stop).await?;
    let Begun { shared, trials, .. } = begun;
    if counted && shared.accel != Accel::Tcg {
        return Err(RunError::Accel("instructions can be counted with --accel tcg alone".to_owned()));
    }
    let mut bench = Bench { shared, rounds, told, ended: Measurement::default() };
    bench.ended.broke = bench.all(trials, &mut news).await.err();
    Ok(bench.ended)
}

/// A measurement that goes on.
struct Bench<'a> {
    shared: Arc<Shared>,
    rounds: NonZeroU32,
    told: &'a mut (dyn FnMut(String) + Send),
    ended: Measurement,
}

/// A cell whose loads are known.
struct Known {
    cell: Arc<Cell>,
    milestones: Milestones,
    rounds: Vec<Round>,
}

impl Bench<'_> {
    async fn all(
        &mut self,
        trials: Vec<Todo>,
        news: &mut mpsc::UnboundedReceiver<RunEvent>,
    ) -> Result<(), Broke> {
        for mut group in grouped(trials, |(_, cell)| cell) {
            let mut failures = 0;
            while !group.is_empty() {
                let booted = boot(self.shared.clone(), group).await;
                if self.shared.stop.is_requested() {
                    return Err(Broke::Interrupted);
                }
                if let Some(leaked) = booted.leaked {
                    return Err(Broke::Run(RunError::Host(leaked)));
                }
                // Of a guest's other news nothing is of use here.
                let failed = std::iter::from_fn(|| news.try_recv().ok()).filter_map(|event| match event {
                    RunEvent::BootEnded { failed, .. } => failed,
                    _ => None,
                });
                let why = failed.last().unwrap_or_else(|| "its boot was not saved".to_owned());
                let Booted { mut ready, rest, boot, .. } = booted;
                group = rest;
                match boot {
                    Some(state) => {
                        failures = 0;
                        self.of_one_boot(&state, ready).await?;
                    }
                    None if failures < RETRIES => {
                        failures += 1;
                        (self.told)(format!("{why}; booting again"));
                        ready.append(&mut group);
                        group = ready;
                    }
                    None => ready.iter().for_each(|(_, cell)| self.lose(cell, Lost::Rig(why.clone()))),
                }
            }
        }
        Ok(())
    }

    /// Measures cells that start from one state. What is measured is kept in any case.
    async fn of_one_boot(&mut self, state: &SharedBoot, group: Vec<Todo>) -> Result<(), Broke> {
        let mut all = Vec::new();
        let ended = self.in_turns(state, group, &mut all).await;
        let measured = all.into_iter().filter(|known| !known.rounds.is_empty());
        self.ended.benched.extend(measured.map(|Known { cell, milestones, rounds }| Benched {
            cell: Cell::clone(&cell),
            kernel: milestones.kernel,
            rounds,
        }));
        ended
    }

    async fn in_turns(
        &mut self,
        state: &SharedBoot,
        group: Vec<Todo>,
        all: &mut Vec<Known>,
    ) -> Result<(), Broke> {
        let (shared, rounds) = (self.shared.clone(), self.rounds);
        for (_, cell) in group {
            let found = again(&cell, self.told, async || {
                let measured = guest(&shared, state, &cell, None).await?;
                milestones(&shared, &cell, &measured).map_err(Miss::Lost)
            });
            if let Some(milestones) =
                found.await.map_or_else(|miss| self.missed(&cell, miss), |m| Ok(Some(m)))?
            {
                let Milestones { jump, kernel, .. } = &milestones;
                (self.told)(format!("{}: jump to {jump:#x}, kernel at {kernel:#x}", cell.id));
                all.push(Known { cell, milestones, rounds: Vec::new() });
            }
        }
        for round in 1..=rounds.get() {
            // Who begins changes from round to round: the first guest after another loader's finds other caches than the second.
            for turn in order(round, all.len()) {
                let Known { cell, milestones, rounds: measured } = &mut all[turn];
                // A cell that was lost has had its last round.
                if measured.len() + 1 < round as usize {
                    continue;
                }
                let one = again(cell, self.told, async || {
                    let one = guest(&shared, state, cell, Some(milestones)).await?;
                    let load = loaded(&one);
                    let round = load.zip(one.panic).map(|(load, panic)| Round { load, panic });
                    round.ok_or_else(|| Miss::Lost(Lost::Rig("nothing was measured".to_owned())))
                });
                if let Some(one) =
                    one.await.map_or_else(|miss| self.missed(cell, miss), |one| Ok(Some(one)))?
                {
                    (self.told)(format!("{} {round}/{rounds}: {}", cell.id, in_words(&one.load, &one.panic)));
                    measured.push(one);
                }
            }
        }
        Ok(())
    }

    fn missed<T>(&mut self, cell: &Cell, miss: Miss) -> Result<Option<T>, Broke> {
        match miss {
            Miss::Lost(lost) => {
                self.lose(cell, lost);
                Ok(None)
            }
            Miss::Broke(broke) => Err(broke),
        }
    }

    fn lose(&mut self, cell: &Cell, lost: Lost) {
        self.ended.lost.push((cell.id.clone(), lost));
    }
}

/// The order of a round's entrants, counted from 0: each of them is first, second and so on as often as the others.
fn order(round: u32, entrants: usize) -> impl Iterator<Item = usize> {
    (0..entrants).map(move |turn| (round as usize + turn) % entrants)
}

/// Gets a figure, again where it was not for the loader that there was none.
async fn again<T>(
    cell: &Cell,
    told: &mut (dyn FnMut(String) + Send),
    mut figure: impl AsyncFnMut() -> Result<T, Miss>,
) -> Result<T, Miss> {
    for _ in 0..RETRIES {
        match figure().await {
            Err(Miss::Lost(Lost::Rig(why))) => told(format!("{}: {why}; once more", cell.id)),
            other => return other,
        }
    }
    figure().await
}

/// Runs a guest: to *armed* and with `--debug`, or with milestones beyond its panic and without.
async fn guest(
    shared: &Arc<Shared>,
    state: &SharedBoot,
    cell: &Cell,
    milestones: Option<&Milestones>,
) -> Result<Measured, Miss> {
    let places = cell_places(shared, cell).map_err(RunError::Host)?;
    let scratch = shared.scratch.guest();
    let scratch =
        scratch.map_err(|error| RunError::Host(format!("cannot make a temporary folder: {error}")))?;
    let console_log = scratch.path("console.log");
    let (cmdline, argv) = (first_cmdline(cell), loader_argv_saying(cell, &places, milestones.is_none()));
    let plan = GuestPlan {
        cell,
        qemu: &shared.qemu,
        accel: shared.accel,
        origin: Origin::Saved(&state.saved),
        firmware: state.files.firmware.as_deref(),
        kernel: &state.files.kernel,
        initramfs: &state.files.initramfs,
        cmdline: &cmdline,
        loader_argv: &argv,
        deadlines: &shared.deadlines,
        console_log: &console_log,
        inquiry: Inquiry { counted: shared.counted, ..Inquiry::default() },
    };
    let measured = measure_guest(plan, scratch, milestones, shared.stop.clone(), &mut |_| {}).await;
    let reaped = match &measured {
        Ok(measured) => &measured.reaped,
        Err(reaped) => reaped,
    };
    if let Some(leaked) = &reaped.leaked {
        return Err(RunError::Host(leaked.clone()).into());
    }
    if shared.stop.is_requested() {
        return Err(Miss::Broke(Broke::Interrupted));
    }
    measured.map_err(|reaped| Miss::Lost(lost(&classify::classify(cell, &reaped.evidence))))
}

/// A guest that came to this in place of its figures.
fn lost(outcome: &Outcome) -> Lost {
    let why = judge::describe(outcome);
    // Of a loader that is only compared, anything that speaks of it is an observation.
    match judge::judge(outcome, &Expectation::Observed) {
        Verdict::Error => Lost::Rig(why),
        Verdict::Pass | Verdict::Fail | Verdict::Flaky | Verdict::Skipped => Lost::Loader(why),
    }
}

/// Where this cell's load puts what, as the loader said it, and what the kernel's image begins with.
fn milestones(shared: &Shared, cell: &Cell, measured: &Measured) -> Result<Milestones, Lost> {
    let map = SegmentMap::of(&measured.reaped.evidence);
    let kernel = map.segments().iter().find(|segment| segment.name == "kernel");
    let (Some(jump), Some(kernel)) = (map.jump(), kernel) else {
        return Err(Lost::Rig(
            "its loader does not say where it puts the kernel and where the jump goes".to_owned(),
        ));
    };
    let image = shared.artifacts.kernel(&cell.capture);
    let head = image.and_then(|image| pvh::protected_mode(&image.bytes)?.get(..HEAD));
    let head = head.ok_or_else(|| Lost::Rig(format!("{} is no bzImage", cell.capture.name)))?;
    Ok(Milestones { jump, kernel: kernel.range.start, head: head.to_vec() })
}

fn loaded(measured: &Measured) -> Option<RunTime> {
    measured.reaped.evidence.reports.iter().find_map(|report| match &report.what.message {
        Message::Loaded(load) => load.time,
        _ => None,
    })
}

fn in_words(load: &RunTime, panic: &PanicTimes) -> String {
    let ms = |nanoseconds: u128| nanoseconds as f64 / 1e6;
    format!(
        "load {:.1} ms, panic to purgatory {:.1} ms, purgatory to kernel {:.1} ms",
        ms(load.wall_ns.into()),
        ms(panic.to_purgatory.wall.as_nanos()),
        ms(panic.to_kernel.wall.as_nanos())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Refuser, VmcoreState};
    use crate::testing;

    /// Bug: one hiccup of the host loses a measurement; or a loader that fails now and then is measured by the times that it does not.
    #[tokio::test]
    async fn the_rig_gets_another_try_and_a_loader_does_not() {
        let rig = || Err(Miss::Lost(Lost::Rig("x".into())));
        let loader = || Err(Miss::Lost(Lost::Loader("y".into())));
        for (of_each, tries, ended) in [
            (vec![rig(), rig(), Ok(3)], 3, "Ok(3)"),
            (vec![rig(), rig(), rig(), Ok(4)], 3, "Err(Lost(Rig(\"x\")))"),
            (vec![loader(), Ok(1)], 1, "Err(Lost(Loader(\"y\")))"),
            (vec![Err(Miss::Broke(Broke::Interrupted)), Ok(1)], 1, "Err(Broke(Interrupted))"),
        ] {
            let (mut of_each, mut tried) = (of_each.into_iter(), 0);
            let (cell, told) = (testing::cell(), &mut |_| {});
            let figure = async || {
                tried += 1;
                of_each.next().unwrap()
            };
            let got: Result<u32, Miss> = again(&cell, told, figure).await;
            assert_eq!((format!("{got:?}"), tried), (ended.to_owned(), tries));
        }
    }

    /// Bug: the same loader is the first of every round, or one is left out of a round.
    #[test]
    fn everybody_is_first_in_turn() {
        let orders: Vec<Vec<usize>> = (1..=3).map(|round| order(round, 3).collect()).collect();
        assert_eq!(orders, [[1, 2, 0], [2, 0, 1], [0, 1, 2]]);
        assert_eq!(order(1, 0).count(), 0);
    }

    /// Bug: a loader that refuses passes for trouble of the rig, and is tried again; or trouble passes for a loader's fault.
    #[test]
    fn a_refusal_is_the_loaders() {
        let refused = Outcome::Refused { by: Refuser::Loader, message: "no".into() };
        assert!(matches!(lost(&refused), Lost::Loader(_)));
        assert!(matches!(lost(&Outcome::captured(VmcoreState::Absent { why: "x".into() })), Lost::Loader(_)));
        assert!(matches!(lost(&Outcome::RigError { what: "qmp".into() }), Lost::Rig(_)));
    }
}
