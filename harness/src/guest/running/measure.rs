//! The time from the panic to the capture kernel's first instruction, by breakpoints that QEMU keeps: the guest is not asked.

use super::{Ending, Goal, Running, Walk};
use crate::evidence::GuestEnd;
use crate::gdb::{Attached, GdbError, Going, Stop as Stopped};
use crate::guest::measured::{Leg, Measured, Milestones, PanicTimes};
use crate::guest::ports::Port;
use crate::guest::{GuestPlan, Listener, Reaped};
use crate::monitor;
use crate::patience::cpu_time;
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
                    timed = self.time_panic(plan, milestones) => {
                        timed.map_err(|what| GuestEnd::Trouble { what })
                    }
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
    ) -> Result<PanicTimes, String> {
        let text = |error: GdbError| error.to_string();
        let Milestones { jump, kernel, head } = milestones;
        let mut gdb =
            Attached::attach(&self.qmp, &self.gdb_socket, plan.deadlines.command()).await.map_err(text)?;
        if gdb.read(*kernel, head.len()).await.map_err(text)? != *head {
            return Err(format!(
                "the capture kernel does not lie at {kernel:#x}, where the loader put it before in the same guest"
            ));
        }
        let entries = milestones.entries();
        for address in [*jump].iter().chain(&entries) {
            gdb.break_at(*address).await.map_err(text)?;
        }
        self.trigger().await?;
        let limit = plan.deadlines.of(Phase::Panicking).wall + plan.deadlines.of(Phase::Purgatory).wall;
        let (mut gdb, to_purgatory) = self.leg(gdb, &[*jump], limit).await?;
        // A page with a breakpoint in it is run instruction by instruction (`check_for_breakpoints`, QEMU accel/tcg/cpu-exec.c).
        gdb.unbreak(*jump).await.map_err(text)?;
        let (_, to_kernel) = self.leg(gdb, &entries, limit).await?;
        Ok(PanicTimes { to_purgatory, to_kernel })
    }

    /// Lets the machine run to one of these breakpoints.
    async fn leg(&mut self, gdb: Attached, to: &[u64], limit: Duration) -> Result<(Attached, Leg), String> {
        let text = |error: GdbError| error.to_string();
        let (ticks, cpu) = (self.pm_timer().await?, cpu_time(self.pid()));
        let going = gdb.go().await.map_err(text)?;
        let (mut gdb, stopped, wall) = self.wait(going, limit).await.map_err(text)?;
        let cpu = cpu_time(self.pid()).zip(cpu).map(|(after, before)| after.saturating_sub(before));
        let ip = gdb.instruction_pointer().await.map_err(text)?;
        if stopped != Stopped::Breakpoint || !to.contains(&ip) {
            return Err(format!(
                "a breakpoint at {} was awaited, and the machine stopped at {ip:#x} ({stopped:?})",
                to.iter().map(|address| format!("{address:#x}")).collect::<Vec<_>>().join(" or ")
            ));
        }
        let passed = self.pm_timer().await?.wrapping_sub(ticks) & ((1 << PM_TIMER_BITS) - 1);
        Ok((gdb, Leg { at: ip, wall, cpu, pm_ticks: passed }))
    }

    /// Waits for a stop, and takes what the guest says meanwhile: a full queue would hold it up.
    async fn wait(
        &mut self,
        going: Going,
        limit: Duration,
    ) -> Result<(Attached, Stopped, Duration), GdbError> {
        let mut stopped = std::pin::pin!(going.stopped(limit));
        loop {
            tokio::select! {
                biased;
                stopped = &mut stopped => return stopped,
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
