//! One guest: from a stopped machine to its evidence.
//!
//! A guest is a chain of types, so that what makes no sense cannot be written: QMP and both ports exist from [`Stopped`] on,
//! only a [`Running`] one can be made to panic, and evidence comes out of a [`Reaped`] one alone, when all that QEMU wrote
//! has been read.

mod changes;
mod console_tail;
mod cpu_log;
mod deadlines;
mod first_words;
mod inquiry;
mod measured;
mod news;
mod nonces;
mod ports;
mod probe;
mod ram;
mod reaped;
mod running;
mod saved;
mod stopped;
mod walk;

pub use deadlines::Deadlines;
pub use inquiry::Inquiry;
pub use measured::{Leg, Measured, Milestones, PanicTimes};
pub use news::{Listener, News};
pub use nonces::NONCE_BYTES;
pub use probe::{NoBanner, time_to_banner};
pub use ram::SharedRam;
pub use reaped::Reaped;
pub use running::Running;
pub(crate) use running::reader_order;
pub use saved::Saved;
pub use stopped::Stopped;

use crate::accel::Accel;
use crate::cell::Cell;
use crate::qemu::{CpuLog, MachineSpec, Start, Wiring, qemu_args};
use crate::scratch::GuestScratch;
use crate::stop::Stop;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// The pipe for QEMU's log of its CPUs, in the guest's private folder.
const CPU_LOG: &str = "cpu-log";

/// Where a guest begins.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// At power-on.
    PowerOn,
    /// At power-on, with its RAM where it can be saved.
    ToBeSaved(&'a Arc<SharedRam>),
    /// At *ready*, in the state of a guest that was booted with the same plan.
    Saved(&'a Saved),
}

/// All that is needed to run a cell's guest.
#[derive(Clone, Copy, Debug)]
pub struct GuestPlan<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// QEMU.
    pub qemu: &'a Path,
    /// The accelerator.
    pub accel: Accel,
    /// Where it begins.
    pub origin: Origin<'a>,
    /// The image of a firmware in place of QEMU's own.
    pub firmware: Option<&'a Path>,
    /// The first kernel's image: a bzImage, or an ELF with a PVH entry.
    pub kernel: &'a Path,
    /// Its initramfs.
    pub initramfs: &'a Path,
    /// The first kernel's command line.
    pub cmdline: &'a str,
    /// The loader and its arguments.
    pub loader_argv: &'a [String],
    /// How long each phase may take.
    pub deadlines: &'a Deadlines,
    /// File that QEMU itself writes the console to.
    pub console_log: &'a Path,
    /// How much is asked of it beside its outcome.
    pub inquiry: Inquiry<'a>,
}

impl GuestPlan<'_> {
    /// QEMU's arguments with the ports led to sockets in `scratch`.
    pub fn args(&self, scratch: &GuestScratch) -> Vec<OsString> {
        let (console, channel, qmp) = (scratch.path("console"), scratch.path("channel"), scratch.path("qmp"));
        let console_log = self.console_log;
        let cpu_log = scratch.path(CPU_LOG);
        let cpu_log = CpuLog { pipe: &cpu_log, trace: self.inquiry.trace };
        let wiring = Wiring::Rig { console: &console, console_log, channel: &channel, qmp: &qmp, cpu_log };
        let start = match self.origin {
            Origin::PowerOn => Start::PowerOn,
            Origin::ToBeSaved(ram) => Start::ToBeSaved { ram: ram.path() },
            Origin::Saved(saved) => Start::Incoming { ram: saved.ram.path() },
        };
        self.args_wired(wiring, start)
    }

    /// QEMU's arguments with the ports led elsewhere.
    pub fn args_wired(&self, wiring: Wiring<'_>, start: Start<'_>) -> Vec<OsString> {
        qemu_args(&MachineSpec {
            platform: &self.cell.platform,
            accel: self.accel,
            firmware: self.firmware,
            kernel: self.kernel,
            initrd: Some(self.initramfs),
            cmdline: self.cmdline,
            wiring,
            start,
            counted: self.inquiry.counted,
        })
    }
}

/// Runs a cell's guest from its origin to its end. `listener` is told what happens meanwhile.
pub async fn run_guest(
    plan: GuestPlan<'_>,
    scratch: GuestScratch,
    mut stop: Stop,
    listener: &mut Listener<'_>,
) -> Reaped {
    match start(&plan, &scratch, &mut stop, listener).await {
        Ok(running) => running.walk(&plan, stop, listener).await,
        Err(reaped) => *reaped,
    }
}

/// Boots a guest to *ready* and saves its state into a file in `state`.
///
/// # Errors
/// What is left of a guest that did not get there, or whose state could not be saved; its evidence's end says why.
pub async fn boot_and_save(
    plan: GuestPlan<'_>,
    scratch: GuestScratch,
    state: GuestScratch,
    mut stop: Stop,
    listener: &mut Listener<'_>,
) -> Result<Saved, Box<Reaped>> {
    let ram = SharedRam::new(plan.cell.platform.memory)
        .map_err(|error| Reaped::never_ran(format!("cannot make a file for the guest's RAM: {error}")))?;
    let ram = Arc::new(ram);
    let plan = GuestPlan { origin: Origin::ToBeSaved(&ram), ..plan };
    let running = start(&plan, &scratch, &mut stop, listener).await?;
    running.save_at_ready(&plan, ram.clone(), state, stop, listener).await
}

/// Runs a cell's guest to *armed*, and ends it; with milestones, it measures its panic before.
///
/// # Errors
/// What is left of a guest that did not get so far; its evidence says why.
pub async fn measure_guest(
    plan: GuestPlan<'_>,
    scratch: GuestScratch,
    milestones: Option<&Milestones>,
    mut stop: Stop,
    listener: &mut Listener<'_>,
) -> Result<Measured, Box<Reaped>> {
    let running = start(&plan, &scratch, &mut stop, listener).await?;
    running.measure(&plan, milestones, stop, listener).await
}

async fn start(
    plan: &GuestPlan<'_>,
    scratch: &GuestScratch,
    stop: &mut Stop,
    listener: &mut Listener<'_>,
) -> Result<Running, Box<Reaped>> {
    let stopped = Stopped::start(plan, scratch, stop).await?;
    listener(News::Started { pid: stopped.pid(), console: plan.console_log.to_owned() });
    stopped.cont(plan.origin, listener).await
}
