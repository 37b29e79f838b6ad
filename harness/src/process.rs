//! A child process that cannot outlive the rig: its own process group, a parent-death signal, and an end that is checked.

use crate::cost::peak_mib;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How much of a child's standard error is kept. QEMU says a line or two.
const KEPT_OF_STDERR: usize = 64 << 10;

/// How long a killed process may take to vanish. A guest's memory is given back first, which takes a moment for gigabytes.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How long the last words of a child that ended are awaited.
const STDERR_PATIENCE: Duration = Duration::from_millis(500);

/// A child process and its process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
    stderr: Arc<Mutex<Vec<u8>>>,
    stderr_reader: Option<JoinHandle<()>>,
    reaped: Option<ExitStatus>,
    peak_mib: Option<u64>,
}

/// Something went wrong with a child process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It cannot be started.
    #[error("cannot start {program:?}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It, or another process of its group, is still there after SIGKILL.
    #[error("process group {group} outlived SIGKILL by {seconds} s")]
    Lingers {
        /// The group's id, which is the child's process id.
        group: i32,
        /// How long it was awaited.
        seconds: u64,
    },
    /// Its end cannot be awaited.
    #[error("cannot wait for process {pid}: {source}")]
    Wait {
        /// The process.
        pid: i32,
        /// Why.
        source: io::Error,
    },
}

impl Process {
    /// Starts `program` with this file, or nothing, as its standard input, its standard output thrown away, and its standard
    /// error kept.
    pub async fn spawn(program: &Path, args: &[OsString], input: Option<File>) -> Result<Self, ProcessError> {
        let failed = |source| ProcessError::Spawn { program: program.display().to_string(), source };
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(input.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        die_with_this_one(&mut command);
        let mut child = spawn_from_lasting_thread(command).await.map_err(failed)?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = group.ok_or_else(|| failed(io::Error::other("it has no process id")))?;
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let stderr_reader = child.stderr.take().map(|pipe| tokio::spawn(keep(pipe, stderr.clone())));
        Ok(Self { child, group, stderr, stderr_reader, reaped: None, peak_mib: None })
    }

    /// Its process id, which is its group's as well.
    pub fn pid(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// The most memory that it had in use before it was ended, in MiB; none of one that ended by itself.
    pub fn peak_mib(&self) -> Option<u64> {
        self.peak_mib
    }

    /// What it wrote to its standard error so far, lossy.
    pub fn stderr(&self) -> String {
        let bytes = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for its end. May be cancelled and called again.
    pub async fn wait(&mut self) -> Result<ExitStatus, ProcessError> {
        let status = match self.reaped {
            Some(status) => status,
            None => {
                let pid = self.pid();
                self.child.wait().await.map_err(|source| ProcessError::Wait { pid, source })?
            }
        };
        self.reaped = Some(status);
        // What it said last is often why it ended. A grandchild may hold the pipe open, so not for ever.
        if let Some(reader) = &mut self.stderr_reader {
            let _ = tokio::time::timeout(STDERR_PATIENCE, reader).await;
            self.stderr_reader = None;
        }
        Ok(status)
    }

    /// Ends it: SIGTERM to its group, SIGKILL after `grace`, and a look whether anything survived.
    pub async fn end(&mut self, grace: Duration) -> Result<ExitStatus, ProcessError> {
        if self.reaped.is_none() {
            // A process that is gone cannot be asked any more.
            self.peak_mib = peak_mib(self.pid().unsigned_abs());
            self.signal(Signal::TERM);
            // Stopped processes take no SIGTERM before they go on.
            self.signal(Signal::CONT);
            if let Ok(waited) = tokio::time::timeout(grace, self.wait()).await {
                waited?;
            }
        }
        // Whoever else is in the group: a wrapper's children, or the child itself when it took no SIGTERM.
        self.signal(Signal::KILL);
        let gone = async {
            let status = self.wait().await;
            // There is no event for the end of grandchildren; init reaps them within moments.
            while rustix::process::test_kill_process_group(self.group) != Err(Errno::SRCH) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            status
        };
        let ended = tokio::time::timeout(KILL_PATIENCE, gone).await;
        ended.unwrap_or_else(|_| {
            Err(ProcessError::Lingers { group: self.pid(), seconds: KILL_PATIENCE.as_secs() })
        })
    }

    /// Signals the group. A group that is gone is what was wanted.
    fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process_group(self.group, signal);
    }
}

impl Drop for Process {
    /// The net under [`Process::end`], for a task that was cancelled or panicked.
    fn drop(&mut self) {
        // The group's id cannot have been given to others while its leader is not reaped.
        if self.reaped.is_none() {
            self.signal(Signal::KILL);
        }
    }
}

/// Lets the kernel kill the child when this process dies, by whatever death, or the thread that starts it ends.
pub fn die_with_this_one(command: &mut Command) {
    let rig = rustix::process::getpid();
    // SAFETY: between fork and exec only async-signal-safe things may be done: two system calls, and no allocation.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The rig may have died before the line above: then the child has another parent and no signal will come.
            match rustix::process::getppid() == Some(rig) {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(Errno::SRCH.raw_os_error())),
            }
        });
    }
}

struct SpawnRequest {
    command: Command,
    runtime: tokio::runtime::Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Forks from one thread that lives as long as the rig. The parent-death signal comes at the death of the *thread* that
/// forked, and tokio ends its worker threads with each runtime.
async fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<SpawnRequest>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts guests is gone");
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<SpawnRequest>();
        std::thread::spawn(move || {
            for mut request in requests {
                let child = {
                    let _in_runtime = request.runtime.enter();
                    request.command.spawn()
                };
                // A requester that is gone drops the child, which kills it.
                let _ = request.reply.send(child);
            }
        });
        sender
    });
    let (reply, spawned) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    spawner.send(SpawnRequest { command, runtime, reply }).map_err(|_| gone())?;
    spawned.await.map_err(|_| gone())?
}

async fn keep(mut pipe: impl tokio::io::AsyncRead + Unpin, kept: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT_OF_STDERR.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn args(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    /// Bug: a wrapper around QEMU dies and QEMU itself stays, holding memory and sockets.
    #[tokio::test]
    async fn the_whole_group_ends() {
        let script = "sleep 600 & echo $! >&2; exec sleep 600";
        let mut process = Process::spawn(Path::new("sh"), &args(&["-c", script]), None).await.unwrap();
        let grandchild = loop {
            match process.stderr().trim().parse() {
                Ok(pid) => break Pid::from_raw(pid).unwrap(),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        process.end(Duration::from_secs(5)).await.unwrap();
        assert_eq!(rustix::process::test_kill_process(grandchild), Err(Errno::SRCH));
    }

    /// Bug: a guest that is stopped, or does not take SIGTERM, keeps the run waiting for ever.
    #[tokio::test]
    async fn the_deaf_are_killed() {
        let script = "trap '' TERM; echo up >&2; while :; do sleep 1; done";
        let mut process = Process::spawn(Path::new("sh"), &args(&["-c", script]), None).await.unwrap();
        while process.stderr().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = process.end(Duration::from_millis(50)).await.unwrap();
        assert_eq!(status.signal(), Some(9));
    }

    /// Bug: the error of a missing program does not name it.
    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Process::spawn(Path::new("/nowhere/qemu"), &[], None).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/qemu"), "{error}");
    }
}
