//! One guest: from a stopped machine to its evidence.
//!
//! A guest is a chain of types, so that what makes no sense cannot be written: QMP and both ports exist from [`Stopped`] on,
//! only a [`Running`] one can be made to panic, and evidence comes out of a [`Reaped`] one alone, when all that QEMU wrote
//! has been read.

mod deadlines;
mod first_words;
mod nonces;
mod ports;
mod probe;
mod reaped;
mod running;
mod stopped;
mod walk;

pub use deadlines::Deadlines;
pub use probe::time_to_banner;
pub use reaped::Reaped;
pub use running::Running;
pub use stopped::Stopped;

use crate::accel::Accel;
use crate::cell::Cell;
use crate::phase::Phase;
use crate::qemu::{MachineSpec, Wiring, qemu_args};
use crate::scratch::GuestScratch;
use crate::stop::Stop;
use std::ffi::OsString;
use std::path::Path;

/// All that is needed to run a cell's guest.
#[derive(Clone, Copy, Debug)]
pub struct GuestPlan<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// QEMU.
    pub qemu: &'a Path,
    /// The accelerator.
    pub accel: Accel,
    /// The first kernel's image.
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
}

impl GuestPlan<'_> {
    /// QEMU's arguments with the ports led to sockets in `scratch`.
    pub fn args(&self, scratch: &GuestScratch) -> Vec<OsString> {
        let (console, channel, qmp) = (scratch.path("console"), scratch.path("channel"), scratch.path("qmp"));
        let console_log = self.console_log;
        let wiring = Wiring::Rig { console: &console, console_log, channel: &channel, qmp: &qmp };
        self.args_wired(wiring)
    }

    /// QEMU's arguments with the ports led elsewhere.
    pub fn args_wired(&self, wiring: Wiring<'_>) -> Vec<OsString> {
        qemu_args(&MachineSpec {
            platform: &self.cell.platform,
            accel: self.accel,
            kernel: self.kernel,
            initrd: Some(self.initramfs),
            cmdline: self.cmdline,
            wiring,
        })
    }
}

/// Runs a cell's guest from start to end. `on_phase` is told each phase that begins.
pub async fn run_guest(
    plan: GuestPlan<'_>,
    scratch: GuestScratch,
    mut stop: Stop,
    on_phase: &mut (dyn FnMut(Phase) + Send),
) -> Reaped {
    let stopped = match Stopped::start(&plan, &scratch, &mut stop).await {
        Ok(stopped) => stopped,
        Err(reaped) => return *reaped,
    };
    let running = match stopped.cont(on_phase).await {
        Ok(running) => running,
        Err(reaped) => return *reaped,
    };
    running.walk(&plan, stop, on_phase).await
}
