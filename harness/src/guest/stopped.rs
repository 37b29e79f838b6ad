//! A guest before its first instruction: QEMU runs, QMP is negotiated, both ports are drained.

use super::cpu_log::CpuLogPipe;
use super::ports::{Chunk, drain};
use super::{CPU_LOG, GuestPlan, Origin, Reaped, Running, saved};
use crate::evidence::GuestEnd;
use crate::phase::Phase;
use crate::process::Process;
use crate::qmp::{Qmp, Unasked};
use crate::scratch::GuestScratch;
use crate::stop::Stop;
use std::io;
use std::time::{Duration, Instant};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// How long QEMU may take from its start to connected sockets: a tenth of a second on an idle host.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// How long QEMU may take to end on SIGTERM.
pub(super) const END_GRACE: Duration = Duration::from_secs(5);

/// A guest that does not run yet.
#[derive(Debug)]
pub struct Stopped {
    pub(super) started: Instant,
    pub(super) process: Process,
    pub(super) qmp: Qmp,
    pub(super) events: mpsc::UnboundedReceiver<Unasked>,
    pub(super) chunks: mpsc::Receiver<Chunk>,
    pub(super) orders: OwnedWriteHalf,
    pub(super) cpu_log: CpuLogPipe,
}

/// The three sockets that QEMU connects to.
struct Listeners {
    console: UnixListener,
    channel: UnixListener,
    qmp: UnixListener,
}

impl Listeners {
    fn bind(scratch: &GuestScratch) -> io::Result<Self> {
        let bind = |name| UnixListener::bind(scratch.path(name));
        Ok(Self { console: bind("console")?, channel: bind("channel")?, qmp: bind("qmp")? })
    }

    async fn accept(self) -> io::Result<(UnixStream, UnixStream, UnixStream)> {
        let (console, _) = self.console.accept().await?;
        let (channel, _) = self.channel.accept().await?;
        let (qmp, _) = self.qmp.accept().await?;
        Ok((console, channel, qmp))
    }
}

impl Stopped {
    /// Starts QEMU with `-S`, and attaches. A QEMU that does not get that far is reaped.
    pub async fn start(
        plan: &GuestPlan<'_>,
        scratch: &GuestScratch,
        stop: &mut Stop,
    ) -> Result<Self, Box<Reaped>> {
        let started = Instant::now();
        let never_ran = |what| Box::new(Reaped::never_ran(what));
        let not_restored = |what| Box::new(Reaped { not_restored: true, ..Reaped::never_ran(what) });
        let listeners = Listeners::bind(scratch).map_err(|error| {
            never_ran(format!("cannot listen in {}: {error}", scratch.path("").display()))
        })?;
        let cpu_log = CpuLogPipe::open(&scratch.path(CPU_LOG)).map_err(|error| {
            never_ran(format!("cannot make a pipe in {}: {error}", scratch.path("").display()))
        })?;
        let state = match plan.origin {
            Origin::PowerOn => None,
            Origin::Saved(saved) => Some(saved.open().map_err(not_restored)?),
        };
        let mut process = Process::spawn(plan.qemu, &plan.args(scratch), state)
            .await
            .map_err(|error| never_ran(error.to_string()))?;
        let attached = tokio::select! {
            biased;
            () = stop.requested() => Err(GuestEnd::Interrupted),
            attached = tokio::time::timeout(START_DEADLINE, attach(listeners)) => match attached {
                Ok(attached) => attached.map_err(|what| GuestEnd::Trouble { what }),
                Err(_) => Err(GuestEnd::Trouble {
                    what: format!("QEMU did not connect within {} s", START_DEADLINE.as_secs()),
                }),
            },
            // It ends at once when it does not like its arguments.
            ended = process.wait() => Err(GuestEnd::Trouble { what: ended_early(ended, &process) }),
        };
        let (qmp, mut events, chunks, orders) = match attached {
            Ok(attached) => attached,
            Err(end) => return Err(Box::new(ended(process, started, end).await)),
        };
        if let Origin::Saved(_) = plan.origin {
            let restored = tokio::select! {
                biased;
                () = stop.requested() => Err(GuestEnd::Interrupted),
                restored = saved::restore(plan.cell.platform.memory, &qmp, &mut events, &mut process) => {
                    restored.map_err(|what| GuestEnd::Trouble { what })
                }
            };
            if let Err(end) = restored {
                let not_restored = end != GuestEnd::Interrupted;
                let reaped = ended(process, started, end).await;
                return Err(Box::new(Reaped { not_restored, ..reaped }));
            }
        }
        Ok(Self { started, process, qmp, events, chunks, orders, cpu_log })
    }

    /// Lets the guest run, from where it begins.
    pub async fn cont(
        self,
        origin: Origin<'_>,
        on_phase: &mut (dyn FnMut(Phase) + Send),
    ) -> Result<Running, Box<Reaped>> {
        // The clock starts before the command: RESUME comes before its reply.
        let mut running = match origin {
            Origin::PowerOn => Running::new(self),
            Origin::Saved(saved) => Running::resumed(self, saved),
        };
        match running.cont().await {
            Ok(()) => {
                on_phase(running.phase());
                Ok(running)
            }
            Err(error) => Err(Box::new(running.reap(GuestEnd::Trouble { what: error.to_string() }).await)),
        }
    }
}

/// What is left of a QEMU whose guest never ran.
async fn ended(mut process: Process, started: Instant, end: GuestEnd) -> Reaped {
    let leaked = process.end(END_GRACE).await.err().map(|error| error.to_string());
    let mut reaped =
        Reaped { leaked, stderr: process.stderr(), lasted: started.elapsed(), ..Reaped::default() };
    reaped.evidence.end = Some(end);
    reaped
}

type Attached = (Qmp, mpsc::UnboundedReceiver<Unasked>, mpsc::Receiver<Chunk>, OwnedWriteHalf);

async fn attach(listeners: Listeners) -> Result<Attached, String> {
    let (console, channel, qmp) =
        listeners.accept().await.map_err(|error| format!("cannot accept QEMU: {error}"))?;
    let (qmp, events) = Qmp::negotiate(qmp, START_DEADLINE).await.map_err(|error| error.to_string())?;
    let (channel, orders) = channel.into_split();
    Ok((qmp, events, drain(console, channel), orders))
}

fn ended_early(
    ended: Result<std::process::ExitStatus, crate::process::ProcessError>,
    process: &Process,
) -> String {
    let ended = match ended {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    format!("QEMU ended before the guest ran ({ended}): {}", process.stderr().trim())
}
