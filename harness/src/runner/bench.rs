//! Measures loaders beside each other: in the same guests, from the same saved states, one at a time and in turns, so that what
//! the host does meanwhile falls on all of them alike.

use super::attempt::Shared;
use super::boot::{SharedBoot, boot, cell_places};
use super::{Begun, Options, RunError, Todo, TrialId, begin};
use crate::accel::Accel;
use crate::artifacts::Artifacts;
use crate::boot::grouped;
use crate::cell::Cell;
use crate::classify;
use crate::cmdline::{first_cmdline, loader_argv_saying};
use crate::guest::{GuestPlan, Inquiry, Measured, Milestones, Origin, PanicTimes, measure_guest};
use crate::judge;
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

/// Measures. Cells that need the same boot start from one state, in turns; one guest runs at a time. `told` gets a line for people now
/// and then.
///
/// # Errors
/// A guest did not get to the capture kernel, or anything of the rig failed: there is no measurement then.
pub async fn bench(
    plan: BenchPlan,
    options: Options,
    stop: Stop,
    told: &mut (dyn FnMut(String) + Send),
) -> Result<Vec<Benched>, RunError> {
    let BenchPlan { cells, artifacts, rounds, counted } = plan;
    // A guest's news are of no use here.
    let (events, _) = mpsc::unbounded_channel();
    let begun = begin(cells, &[], artifacts, &options, counted, events, stop).await?;
    let Begun { shared, trials, .. } = begun;
    if counted && shared.accel != Accel::Tcg {
        return Err(RunError::Accel("instructions can be counted with --accel tcg alone".to_owned()));
    }
    let mut benched = Vec::new();
    for mut group in grouped(trials, |(_, cell)| cell) {
        while !group.is_empty() {
            let booted = boot(shared.clone(), group).await;
            if let Some(leaked) = booted.leaked {
                return Err(RunError::Host(leaked));
            }
            let state =
                booted.boot.ok_or_else(|| failed(&shared, &booted.ready, "its boot was not saved"))?;
            benched.extend(of_one_boot(&shared, &state, &booted.ready, rounds, told).await?);
            group = booted.rest;
        }
    }
    Ok(benched)
}

async fn of_one_boot(
    shared: &Arc<Shared>,
    state: &SharedBoot,
    group: &[Todo],
    rounds: NonZeroU32,
    told: &mut (dyn FnMut(String) + Send),
) -> Result<Vec<Benched>, RunError> {
    let mut all = Vec::new();
    for (_, cell) in group {
        let measured = guest(shared, state, cell, None).await?;
        let milestones = milestones(shared, cell, &measured)?;
        told(format!("{}: jump to {:#x}, kernel at {:#x}", cell.id, milestones.jump, milestones.kernel));
        all.push((cell, milestones, Vec::new()));
    }
    for round in 1..=rounds.get() {
        for (cell, milestones, measured) in &mut all {
            let one = guest(shared, state, cell, Some(milestones)).await?;
            let load = loaded(&one);
            let (Some(load), Some(panic)) = (load, one.panic) else {
                return Err(failed(shared, &[], &format!("{}: nothing was measured", cell.id)));
            };
            told(format!("{} {round}/{rounds}: {}", cell.id, in_words(&load, &panic)));
            measured.push(Round { load, panic });
        }
    }
    let benched = |(cell, milestones, rounds): (&Arc<Cell>, Milestones, Vec<Round>)| Benched {
        cell: Cell::clone(cell),
        kernel: milestones.kernel,
        rounds,
    };
    Ok(all.into_iter().map(benched).collect())
}

/// Runs a guest: to *armed* and with `--debug`, or with milestones beyond its panic and without.
async fn guest(
    shared: &Arc<Shared>,
    state: &SharedBoot,
    cell: &Cell,
    milestones: Option<&Milestones>,
) -> Result<Measured, RunError> {
    let host = |what: String| RunError::Host(what);
    let places = cell_places(shared, cell).map_err(host)?;
    let scratch = shared.scratch.guest();
    let scratch = scratch.map_err(|error| host(format!("cannot make a temporary folder: {error}")))?;
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
    match measured {
        Ok(measured) => match &measured.reaped.leaked {
            Some(leaked) => Err(host(leaked.clone())),
            None => Ok(measured),
        },
        Err(reaped) => {
            let outcome = classify::classify(cell, &reaped.evidence);
            Err(host(format!("{} was not measured: {}", cell.id, judge::describe(&outcome))))
        }
    }
}

/// Where this cell's load puts what, as the loader said it, and what the kernel's image begins with.
fn milestones(shared: &Shared, cell: &Cell, measured: &Measured) -> Result<Milestones, RunError> {
    let map = SegmentMap::of(&measured.reaped.evidence);
    let kernel = map.segments().iter().find(|segment| segment.name == "kernel");
    let (Some(jump), Some(kernel)) = (map.jump(), kernel) else {
        return Err(RunError::Host(format!(
            "{} was not measured: its loader does not say where it puts the kernel and where the jump goes",
            cell.id
        )));
    };
    let image = shared.artifacts.kernel(&cell.capture);
    let head = image.and_then(|image| pvh::protected_mode(&image.bytes)?.get(..HEAD));
    let head = head.ok_or_else(|| RunError::Host(format!("{} is no bzImage", cell.capture.name)))?;
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

/// Nothing could be measured; an interruption is told as one.
fn failed(shared: &Shared, group: &[Todo], why: &str) -> RunError {
    let of = group.first().map_or(String::new(), |(TrialId { cell, .. }, _)| format!("{cell}: "));
    match shared.stop.is_requested() {
        true => RunError::Host("interrupted".to_owned()),
        false => RunError::Host(format!("{of}{why}")),
    }
}
