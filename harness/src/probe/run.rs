//! Runs probe guests: QEMU with the ROM, one serial port, and nothing else.

use super::rom::{EXCEPTIONS, MEMORY_MIB, SAYS_BEGIN, SAYS_END, rom};
use super::speed::Speed;
use crate::accel::Accel;
use crate::patience::{Limit, Looked, Patience};
use crate::process::{Process, ProcessError};
use crate::qemu::option_path;
use crate::scratch::{GuestScratch, Scratch};
use crate::stop::Stop;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// Name of the machine, by which process lists and tests tell it from cells' guests.
const NAME: &str = "kdump-rig-probe";
/// Longest that a guest may have to say: two lines of some 30 bytes. More is not its own.
const MOST_SAID: u64 = 4096;
/// How long QEMU may take to end on SIGTERM before it is killed: it has nothing to save.
const END_GRACE: Duration = Duration::from_secs(2);
/// QEMU closes its sockets a moment before it ends.
const END_AFTER_SOCKETS: Duration = Duration::from_secs(5);

/// How long a probe may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From QEMU's start to the guest's *begin*.
    pub start: Limit,
    /// From *begin* to *end*.
    pub work: Limit,
}

impl Limits {
    /// Under TCG, which is always expected to come to its end: what a host needs that is a hundred times slower than the
    /// reference. Most of the start is QEMU's own, a tenth of a second on an idle host.
    pub const TCG: Self =
        Self { start: Limit::of(Duration::from_secs(20)), work: Limit::of(Duration::from_secs(50)) };
}

/// Why a probe has no figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missed {
    /// The run is to stop.
    #[error("the probe was interrupted")]
    Interrupted,
    /// Something of the host's failed before the guest ran.
    #[error("{0}")]
    NotStarted(String),
    /// QEMU ended by itself.
    #[error("QEMU ended ({status}) before the probe's guest was done: {said}")]
    Ended {
        /// How.
        status: String,
        /// What it wrote to its standard error.
        said: String,
    },
    /// The guest did not get to *begin*: it entered no long mode.
    #[error("the probe's guest did not begin within {:.1} s{said}", after.as_secs_f64())]
    NotBegun {
        /// How long it was awaited.
        after: Duration,
        /// What QEMU said of that, in words that follow, or nothing.
        said: String,
    },
    /// The guest did not get to *end*.
    #[error("the probe's guest began and was not done after {:.1} s{said}", after.as_secs_f64())]
    NotDone {
        /// How long it was awaited.
        after: Duration,
        /// As above.
        said: String,
    },
    /// The guest said something else than it must: it was not executed as written.
    #[error("the probe's guest said {found:?} in place of {expected:?}")]
    Wrong {
        /// What it said.
        found: String,
        /// What it must say.
        expected: String,
    },
    /// QEMU cannot be ended: a fault of the run.
    #[error("{0}")]
    Leaked(String),
}

/// Runs `guests` probe guests at a time under `accel`, and gives the speed of the slowest. They are gone when this returns.
///
/// # Errors
/// One of them had no figure. When the first did not, what befell it is told.
pub async fn probe(
    qemu: &Path,
    accel: Accel,
    guests: usize,
    limits: Limits,
    scratch: &Scratch,
    stop: &Stop,
) -> Result<Speed, Missed> {
    let no_file = |error: io::Error| Missed::NotStarted(format!("cannot write the probe's ROM: {error}"));
    let folder = scratch.guest().map_err(no_file)?;
    let image = folder.path("rom");
    std::fs::write(&image, rom()).map_err(no_file)?;
    let mut running = JoinSet::new();
    // All of them before the first guest: whoever leaves here leaves none behind.
    let folders: Vec<_> =
        (0..guests.max(1)).map(|_| scratch.guest()).collect::<Result<_, _>>().map_err(no_file)?;
    for folder in folders {
        let (qemu, image, stop) = (qemu.to_owned(), image.clone(), stop.clone());
        running.spawn(async move { one(&qemu, accel, &image, limits, &folder, stop).await });
    }
    let mut all = None;
    let mut missed = None;
    while let Some(ended) = running.join_next().await {
        match ended.unwrap_or_else(|died| Err(Missed::NotStarted(format!("the probe's task died: {died}")))) {
            Ok(speed) => all = Some(all.map_or(speed, |others: Speed| others.slowest(speed))),
            // A process that is left weighs more than whatever else went wrong.
            Err(leaked @ Missed::Leaked(_)) => missed = Some(leaked),
            Err(why) => missed = missed.or(Some(why)),
        }
    }
    match (all, missed) {
        (_, Some(missed)) => Err(missed),
        (Some(speed), None) => Ok(speed),
        (None, None) => Err(Missed::NotStarted("no probe was run".into())),
    }
}

async fn one(
    qemu: &Path,
    accel: Accel,
    image: &Path,
    limits: Limits,
    folder: &GuestScratch,
    stop: Stop,
) -> Result<Speed, Missed> {
    let socket = folder.path("console");
    let listener = UnixListener::bind(&socket)
        .map_err(|error| Missed::NotStarted(format!("cannot listen at {}: {error}", socket.display())))?;
    let process = Process::spawn(qemu, &args(accel, image, &socket), None)
        .await
        .map_err(|error| Missed::NotStarted(error.to_string()))?;
    let mut guest = Guest { process, stop };
    let timed = guest.time(listener, limits).await;
    guest.process.end(END_GRACE).await.map_err(|error| Missed::Leaked(error.to_string()))?;
    timed
}

/// A probe guest while it runs.
struct Guest {
    process: Process,
    stop: Stop,
}

impl Guest {
    async fn time(&mut self, listener: UnixListener, limits: Limits) -> Result<Speed, Missed> {
        let not_begun = |after, said| Missed::NotBegun { after, said };
        let not_done = |after, said| Missed::NotDone { after, said };
        let mut patience = Patience::begin(self.process.pid());
        let (console, _) = self.awaited(listener.accept(), &mut patience, limits.start, not_begun).await?;
        let mut console = BufReader::new(console.take(MOST_SAID));
        let mut line = Vec::new();
        self.awaited(console.read_until(b'\n', &mut line), &mut patience, limits.start, not_begun).await?;
        self.check(&line, SAYS_BEGIN).await?;
        let start = patience.passed();

        let mut patience = Patience::begin(self.process.pid());
        line.clear();
        self.awaited(console.read_until(b'\n', &mut line), &mut patience, limits.work, not_done).await?;
        let (took, waited) = (patience.passed(), patience.waited());
        self.check(&line, &format!("{SAYS_END}{EXCEPTIONS:08x}")).await?;
        Ok(Speed::new(start, took, waited))
    }

    /// Waits for something from QEMU, within `limit` and what a starved host adds to it.
    async fn awaited<T>(
        &mut self,
        something: impl Future<Output = io::Result<T>>,
        patience: &mut Patience,
        limit: Limit,
        missed: fn(Duration, String) -> Missed,
    ) -> Result<T, Missed> {
        let mut something = std::pin::pin!(something);
        loop {
            tokio::select! {
                biased;
                () = self.stop.requested() => return Err(Missed::Interrupted),
                came = &mut something => {
                    return came.map_err(|error| Missed::NotStarted(format!("cannot read the probe's console: {error}")));
                }
                ended = self.process.wait() => return Err(self.ended(ended)),
                () = tokio::time::sleep_until(patience.until(limit)) => match patience.look(limit) {
                    Looked::Moved => {}
                    Looked::Spent | Looked::Starved => {
                        return Err(missed(patience.passed(), complaint(&self.process.stderr())));
                    }
                }
            }
        }
    }

    /// Whether the guest said just this line. A line without an end is QEMU's last.
    async fn check(&mut self, line: &[u8], expected: &str) -> Result<(), Missed> {
        let line = String::from_utf8_lossy(line);
        if line.strip_suffix('\n') == Some(expected) {
            return Ok(());
        }
        if !line.ends_with('\n')
            && let Ok(ended) = tokio::time::timeout(END_AFTER_SOCKETS, self.process.wait()).await
        {
            return Err(self.ended(ended));
        }
        Err(Missed::Wrong { found: line.trim_end().to_owned(), expected: expected.to_owned() })
    }

    fn ended(&self, ended: Result<std::process::ExitStatus, ProcessError>) -> Missed {
        match ended {
            Ok(status) => {
                let said = match self.process.stderr().trim() {
                    // What a triple fault is to a machine that may not reboot.
                    "" => "it said nothing; the guest may have reset itself".to_owned(),
                    said => said.to_owned(),
                };
                Missed::Ended { status: status.to_string(), said }
            }
            Err(error) => Missed::Leaked(error.to_string()),
        }
    }
}

/// What QEMU says of a guest that it gave up, in words that follow others: the first line that is no mere warning. A KVM that can
/// not go on is an "internal error", and the registers after it; the machine stays, paused.
fn complaint(stderr: &str) -> String {
    let line = stderr.lines().map(str::trim).find(|line| !line.is_empty() && !line.contains("warning:"));
    line.map(|line| format!("; QEMU said: {line}")).unwrap_or_default()
}

/// QEMU's arguments: the machine and CPU that most cells have, as far as the probe needs them.
fn args(accel: Accel, image: &Path, socket: &Path) -> Vec<OsString> {
    let memory = format!("{MEMORY_MIB}M");
    let mut args: Vec<OsString> = [
        &["-name", NAME][..],
        &["-nodefaults", "-no-user-config", "-nic", "none", "-display", "none", "-no-reboot"],
        &["-accel", accel.name(), "-machine", "pc", "-cpu", "qemu64", "-smp", "1", "-m", &memory],
    ]
    .concat()
    .into_iter()
    .map(OsString::from)
    .collect();
    let port = option_path("socket,id=console,path=", socket);
    args.extend(["-bios".into(), image.into(), "-chardev".into(), port]);
    args.extend(["-serial".into(), "chardev:console".into()]);
    args
}
