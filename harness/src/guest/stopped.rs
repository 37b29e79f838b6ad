//! A guest before its first instruction: QEMU runs, QMP is negotiated, both ports are drained.

use super::cpu_log::CpuLogPipe;
use super::ports::{Chunk, drain};
use super::{CPU_LOG, GuestPlan, Listener, News, Origin, Reaped, Running, saved};
use crate::evidence::GuestEnd;
use crate::process::Process;
use crate::qmp::{Qmp, Unasked};
use crate::scratch::GuestScratch;
use crate::stop::Stop;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// QEMU closes its sockets a moment before it ends.
pub(super) const END_AFTER_SOCKETS: Duration = Duration::from_secs(5);

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
    /// The console, for what is typed on it.
    pub(super) keyboard: OwnedWriteHalf,
    pub(super) cpu_log: CpuLogPipe,
    /// Where a gdb stub of QEMU may connect to.
    pub(super) gdb_socket: PathBuf,
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
            Origin::PowerOn | Origin::ToBeSaved(_) => None,
            Origin::Saved(saved) => Some(saved.open().await.map_err(not_restored)?),
        };
        let mut process = Process::spawn(plan.qemu, &plan.args(scratch), state)
            .await
            .map_err(|error| never_ran(error.to_string()))?;
        let attached = tokio::select! {
            biased;
            () = stop.requested() => Err(GuestEnd::Interrupted),
            attached = attach(listeners, plan.deadlines.command()) => attached.map_err(|what| GuestEnd::Trouble { what }),
            // It ends at once when it does not like its arguments.
            ended = process.wait() => Err(GuestEnd::Trouble { what: ended_early(ended, &process) }),
        };
        let (qmp, mut events, chunks, orders, keyboard) = match attached {
            Ok(attached) => attached,
            Err(end) => {
                let end = with_its_own_words(end, &mut process).await;
                return Err(Box::new(ended(process, started, end).await));
            }
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
                let end = with_its_own_words(end, &mut process).await;
                let reaped = ended(process, started, end).await;
                return Err(Box::new(Reaped { not_restored, ..reaped }));
            }
        }
        let gdb_socket = scratch.path("gdb");
        Ok(Self { started, process, qmp, events, chunks, orders, keyboard, cpu_log, gdb_socket })
    }

    /// Process id of QEMU.
    pub(super) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Lets the guest run, from where it begins.
    pub async fn cont(self, origin: Origin<'_>, listener: &mut Listener<'_>) -> Result<Running, Box<Reaped>> {
        // The clock starts before the command: RESUME comes before its reply.
        let mut running = match origin {
            Origin::PowerOn | Origin::ToBeSaved(_) => Running::new(self),
            Origin::Saved(saved) => Running::resumed(self, saved),
        };
        match running.cont().await {
            Ok(()) => {
                listener(News::Phase(running.phase()));
                Ok(running)
            }
            Err(error) => Err(Box::new(running.reap_after(error.to_string()).await)),
        }
    }
}

/// A socket that QEMU does not serve any more, most often because it is just ending, as it does when it cannot have the guest's
/// memory. Then what it says is the cause.
async fn with_its_own_words(end: GuestEnd, process: &mut Process) -> GuestEnd {
    match end {
        GuestEnd::Trouble { what } => match tokio::time::timeout(END_AFTER_SOCKETS, process.wait()).await {
            Ok(ended) => GuestEnd::Trouble { what: ended_early(ended, process) },
            Err(_) => GuestEnd::Trouble { what },
        },
        other => other,
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

type Attached =
    (Qmp, mpsc::UnboundedReceiver<Unasked>, mpsc::Receiver<Chunk>, OwnedWriteHalf, OwnedWriteHalf);

/// `command` is how long QEMU may take for a command; to start, and then to greet, it may take twice as long. All of it takes a tenth
/// of a second on an idle host.
async fn attach(listeners: Listeners, command: Duration) -> Result<Attached, String> {
    let start = command * 2;
    let accepted = tokio::time::timeout(start, listeners.accept()).await;
    let accepted = accepted.map_err(|_| format!("QEMU did not connect within {} s", start.as_secs()))?;
    let (console, channel, qmp) = accepted.map_err(|error| format!("cannot accept QEMU: {error}"))?;
    let (qmp, events) = Qmp::negotiate(qmp, start).await.map_err(|error| error.to_string())?;
    let qmp = qmp.with_command_deadline(command);
    let (channel, orders) = channel.into_split();
    let (console, keyboard) = console.into_split();
    Ok((qmp, events, drain(console, channel), orders, keyboard))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Bug: a QEMU that cannot have the guest's memory closes its sockets first and is "the connection ended", and what it says a
    /// moment later is lost; or one that is still there is waited for without end.
    #[tokio::test]
    async fn what_qemu_says_at_its_end_is_the_cause() {
        let trouble = || GuestEnd::Trouble { what: "the connection ended".into() };
        let qemu = |script: &'static str| async move {
            let args = ["-c", script].map(std::ffi::OsString::from);
            Process::spawn(Path::new("sh"), &args, None).await.unwrap()
        };
        let mut ending = qemu("sleep 0.2; echo 'cannot set up guest memory' >&2; exit 1").await;
        let GuestEnd::Trouble { what } = with_its_own_words(trouble(), &mut ending).await else {
            unreachable!("trouble stays trouble")
        };
        assert!(what.contains("cannot set up guest memory") && what.contains("exit status: 1"), "{what}");
        let mut living = qemu("sleep 600").await;
        assert_eq!(with_its_own_words(trouble(), &mut living).await, trouble());
        living.end(END_GRACE).await.unwrap();
    }
}
