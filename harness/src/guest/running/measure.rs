//! The time from the panic to the capture kernel's first instruction, by breakpoints that QEMU keeps: the guest is not asked.

use super::look::too_loaded;
use super::{Ending, Goal, Running, Walk};
use crate::evidence::GuestEnd;
use crate::gdb::{Attached, Going, Stop as Stopped};
use crate::guest::measured::{Leg, Measured, Milestones, PanicTimes};
use crate::guest::ports::Port;
use crate::guest::{GuestPlan, Listener, Reaped};
use crate::monitor;
use crate::patience::{Limit, Looked, Patience, cpu_time};
use crate::phase::Phase;
use crate::qmp::QmpError;
use crate::stop::Stop;
use qapi::qmp;
use std::time::Duration;

/// The port of the ACPI power-management timer: behind PMBASE, 0x600 by every firmware of QEMU's x86 machines, at 8 (ACPI 6.5, 4.8.3.3).
const PM_TIMER: &str = "i /4x 0x608";

/// Bits of the timer: it wraps after 4.7 s.
const PM_TIMER_BITS: u32 = 24;

impl Running {
    /// Follows the guest to *armed*; with milestones, then measures its panic. The guest is ended.
    ///
    /// # Errors
    /// What is left of a guest that did not get so far; its evidence says why.
    pub(in crate::guest) async fn measure(
        mut self,
        plan: &GuestPlan<'_>,
        milestones: Option<&Milestones>,
        mut stop: Stop,
        listener: &mut Listener<'_>,
    ) -> Result<Measured, Box<Reaped>> {
        self.walk = Walk::new(Goal::Armed, self.walk.phase());
        match self.follow(plan, &mut stop, listener).await {
            Ok(Ending::Arrived) => {}
            Ok(ending) => return Err(Box::new(self.reap_at(ending).await)),
            Err(error) => return Err(Box::new(self.reap_after(error).await)),
        }
        let panic = match milestones {
            None => None,
            Some(milestones) => {
                let timed = tokio::select! {
                    biased;
                    () = stop.requested() => Err(GuestEnd::Interrupted),
                    timed = self.time_panic(plan, milestones) => timed,
                };
                match timed {
                    Ok(times) => Some(times),
                    Err(end) => return Err(Box::new(self.reap(end).await)),
                }
            }
        };
        Ok(Measured { reaped: self.reap(GuestEnd::Concluded).await, panic })
    }

    async fn time_panic(
        &mut self,
        plan: &GuestPlan<'_>,
        milestones: &Milestones,
    ) -> Result<PanicTimes, GuestEnd> {
        let Milestones { jump, kernel, head } = milestones;
        let mut gdb =
            Attached::attach(&self.qmp, &self.gdb_socket, plan.deadlines.command()).await.map_err(trouble)?;
        if gdb.read(*kernel, head.len()).await.map_err(trouble)? != *head {
            return Err(trouble(format!(
                "the capture kernel does not lie at {kernel:#x}, where the loader put it before in the same guest"
            )));
        }
        let entries = milestones.entries();
        for address in [*jump].iter().chain(&entries) {
            gdb.break_at(*address).await.map_err(trouble)?;
        }
        self.trigger(plan.cell.trigger).await.map_err(trouble)?;
        // For both phases, since breakpoints make either slower.
        let limit = plan.deadlines.of(Phase::Panicking).and(plan.deadlines.of(Phase::Purgatory));
        let (mut gdb, to_purgatory) = self.leg(gdb, &[*jump], Phase::Panicking, limit).await?;
        // A page with a breakpoint in it is run instruction by instruction (`check_for_breakpoints`, QEMU accel/tcg/cpu-exec.c).
        gdb.unbreak(*jump).await.map_err(trouble)?;
        let (_, to_kernel) = self.leg(gdb, &entries, Phase::Purgatory, limit).await?;
        Ok(PanicTimes { to_purgatory, to_kernel })
    }

    /// Lets the machine run to one of these breakpoints, through this phase.
    async fn leg(
        &mut self,
        gdb: Attached,
        to: &[u64],
        phase: Phase,
        limit: Limit,
    ) -> Result<(Attached, Leg), GuestEnd> {
        let (ticks, cpu) = (self.pm_timer().await.map_err(trouble)?, cpu_time(self.pid()));
        let going = gdb.go().await.map_err(trouble)?;
        let (mut gdb, stopped, wall) = self.wait(going, phase, limit).await?;
        let cpu = cpu_time(self.pid()).zip(cpu).map(|(after, before)| after.saturating_sub(before));
        let ip = gdb.instruction_pointer().await.map_err(trouble)?;
        if stopped != Stopped::Breakpoint || !to.contains(&ip) {
            return Err(trouble(format!(
                "a breakpoint at {} was awaited, and the machine stopped at {ip:#x} ({stopped:?})",
                to.iter().map(|address| format!("{address:#x}")).collect::<Vec<_>>().join(" or ")
            )));
        }
        let passed = self.pm_timer().await.map_err(trouble)?.wrapping_sub(ticks) & ((1 << PM_TIMER_BITS) - 1);
        Ok((gdb, Leg { at: ip, wall, cpu, pm_ticks: passed }))
    }

    /// Waits for a stop, and takes what the guest says meanwhile: a full queue would hold it up.
    async fn wait(
        &mut self,
        going: Going,
        phase: Phase,
        limit: Limit,
    ) -> Result<(Attached, Stopped, Duration), GuestEnd> {
        let mut patience = Patience::begin(self.pid());
        // The deadline is kept here, where it is known what the host withholds from QEMU.
        let mut stopped = std::pin::pin!(going.stopped(limit.longest() * 2));
        loop {
            tokio::select! {
                biased;
                stopped = &mut stopped => return stopped.map_err(trouble),
                () = tokio::time::sleep_until(patience.until(limit)) => match patience.look(limit) {
                    Looked::Moved => {}
                    Looked::Spent => {
                        let seconds = u32::try_from(patience.passed().as_secs()).unwrap_or(u32::MAX);
                        return Err(GuestEnd::Deadline { phase, seconds });
                    }
                    Looked::Starved => return Err(GuestEnd::Trouble {
                        what: too_loaded(phase, patience.passed(), patience.waited()),
                    }),
                },
                Some(chunk) = self.chunks.recv() => {
                    if chunk.port == Port::Console {
                        self.keep_console(&chunk);
                    }
                }
            }
        }
    }

    async fn pm_timer(&self) -> Result<u32, String> {
        let command = qmp::human_monitor_command { command_line: PM_TIMER.into(), cpu_index: None };
        let answer = self.qmp.execute(command).await.map_err(|error: QmpError| error.to_string())?;
        monitor::port(&answer).ok_or_else(|| format!("the monitor's {PM_TIMER:?} answered {answer:?}"))
    }
}

/// The rig's or QEMU's.
fn trouble(what: impl ToString) -> GuestEnd {
    GuestEnd::Trouble { what: what.to_string() }
}
