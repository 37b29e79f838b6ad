//! Running a program: fork, execve, both its streams drained, a deadline, and nobody left behind.

use super::{bound, errno};
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr;
use guest_agent::circumstances::Bound;
use guest_agent::conversation::Run;
use guest_agent::failure::{Errno, Failure};
use guest_agent::output::Output;
use guest_protocol::{ExitKind, RunTime};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::read;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, wait, waitpid,
};
use rustix::time::{ClockId, clock_gettime};
use syscalls::{Sysno, syscall};

/// What a program is given as its environment.
const ENVIRONMENT: [&CStr; 2] = [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin", c"HOME=/"];

/// How often a child is looked at on kernels before 5.3, which have no pidfd to wait for, in milliseconds.
const TICK_MS: u64 = 20;

/// Runs a program to its end, or to the end of its time, within a bound.
///
/// # Errors
/// What the agent itself could not do, the bound included. A program that cannot be started is [`ExitKind::NotStarted`].
pub(crate) fn run(argv: &[String], timeout_seconds: u32, bound: Option<Bound>) -> Result<Run, Failure> {
    let program = Program::new(argv)?;
    let (cpu_before, started) = (cpu_of_children()?, nanoseconds());
    let mut child = match Child::start(&program, bound)? {
        Ok(child) => child,
        Err(Errno(errno)) => {
            let exit = ExitKind::NotStarted { errno };
            let time = RunTime { wall_ns: 0, user_us: 0, system_us: 0 };
            return Ok(Run { exit, stdout: String::new(), stderr: String::new(), time });
        }
    };
    let limit = u64::from(timeout_seconds) * 1_000_000_000;
    let (exit, ended) = child.watch(started.saturating_add(limit))?;
    let cpu = cpu_of_children()?;
    // Read once more: what was written last lies in the pipes still.
    child.stdout.drain();
    child.stderr.drain();
    Ok(Run {
        exit,
        stdout: child.stdout.output.into_text(),
        stderr: child.stderr.output.into_text(),
        time: RunTime {
            wall_ns: ended.saturating_sub(started),
            user_us: cpu.user_us.saturating_sub(cpu_before.user_us),
            system_us: cpu.system_us.saturating_sub(cpu_before.system_us),
        },
    })
}

/// CPU time in microseconds.
struct CpuTime {
    user_us: u64,
    system_us: u64,
}

/// CPU time of all children that have ended and were waited for.
fn cpu_of_children() -> Result<CpuTime, Failure> {
    /// RUSAGE_CHILDREN (include/uapi/linux/resource.h).
    const CHILDREN: isize = -1;
    // `struct rusage` (the same file): two times of two `long` each, seconds and microseconds, and 14 further `long`. `isize` is
    // `long` in both userspaces.
    let mut usage = [0_isize; 18];
    // SAFETY: the kernel writes one `struct rusage`, which is what is pointed to.
    unsafe { syscall!(Sysno::getrusage, CHILDREN, usage.as_mut_ptr()) }
        .map_err(|error| Failure::errno("ask for the CPU time of children", Errno(error.into_raw())))?;
    let [user_s, user_us, system_s, system_us, ..] = usage;
    let time = |seconds: isize, micros: isize| {
        seconds.unsigned_abs() as u64 * 1_000_000 + micros.unsigned_abs() as u64
    };
    Ok(CpuTime { user_us: time(user_s, user_us), system_us: time(system_s, system_us) })
}

/// Forks; `None` in the child. The program has one thread, so that the child is a whole copy and may do anything.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: fork(2) touches no memory of ours; the child goes on with a copy of it, on a copy of this stack.
    match unsafe { syscall!(Sysno::fork) } {
        Ok(pid) => Ok(Pid::from_raw(pid as i32)),
        Err(error) => Err(Errno(error.into_raw())),
    }
}

/// The arguments as execve wants them.
struct Program {
    _strings: Vec<CString>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

impl Program {
    fn new(argv: &[String]) -> Result<Self, Failure> {
        let strings: Vec<CString> =
            argv.iter().map(|arg| CString::new(arg.as_bytes())).collect::<Result<_, _>>().map_err(|_| {
                Failure::new(format!("an argument of {argv:?} holds a NUL, which execve cannot pass"))
            })?;
        let null = [ptr::null()];
        Ok(Self {
            argv: strings.iter().map(|string| string.as_ptr()).chain(null).collect(),
            envp: ENVIRONMENT.iter().map(|string| string.as_ptr()).chain(null).collect(),
            _strings: strings,
        })
    }
}

/// One of a child's streams.
struct Stream {
    /// `None` after its end.
    pipe: Option<OwnedFd>,
    output: Output,
}

impl Stream {
    fn new(pipe: OwnedFd) -> Result<Self, Failure> {
        fcntl_setfl(&pipe, OFlags::NONBLOCK)
            .map_err(|error| Failure::errno("make a pipe not blocking", errno(error)))?;
        Ok(Self { pipe: Some(pipe), output: Output::new() })
    }

    /// Reads what is there.
    fn drain(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(pipe) = &self.pipe {
            match read(pipe, &mut bytes) {
                Ok(count) if count > 0 => self.output.push(&bytes[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Ok(_) | Err(_) => self.pipe = None,
            }
        }
    }
}

struct Child {
    pid: Pid,
    /// Becomes readable when the child ends; `None` on kernels before 5.3.
    pidfd: Option<OwnedFd>,
    stdout: Stream,
    stderr: Stream,
}

impl Child {
    /// Starts the program; the inner error is execve's.
    fn start(program: &Program, bound: Option<Bound>) -> Result<Result<Self, Errno>, Failure> {
        let pipe = || {
            pipe_with(PipeFlags::CLOEXEC)
                .map_err(|error| Failure::errno("create a pipe for the loader", errno(error)))
        };
        let nothing = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| Failure::errno("open /dev/null", errno(error)))?;
        let (stdout, child_stdout) = pipe()?;
        let (stderr, child_stderr) = pipe()?;
        // The child's end closes when execve succeeds; else the child writes there what failed, and its errno.
        let (failure, child_failure) = pipe()?;
        let forked = fork().map_err(|error| Failure::errno("fork for the loader", error))?;
        let Some(pid) = forked else {
            become_program(program, bound, [&nothing, &child_stdout, &child_stderr], &child_failure)
        };
        drop((nothing, child_stdout, child_stderr, child_failure));
        let mut failed = [0; 5];
        let refused = loop {
            match read(&failure, &mut failed) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(5) => break Some(failed),
                Ok(_) => break None,
                Err(error) => return Err(Failure::errno("wait for the loader's start", errno(error))),
            }
        };
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
        let child = Self { pid, pidfd, stdout: Stream::new(stdout)?, stderr: Stream::new(stderr)? };
        Ok(match refused {
            Some([stage, errno @ ..]) => {
                child.status(WaitOptions::empty())?;
                let error = Errno(i32::from_ne_bytes(errno));
                if stage == IN_BOUND {
                    return Err(Failure::errno(format!("bind the loader by {bound:?}"), error));
                }
                Err(error)
            }
            None => Ok(child),
        })
    }

    /// Drains the child's streams until it has ended, or kills it at the deadline (in nanoseconds of [`nanoseconds`]); and says when
    /// it ended. Only the child itself is waited for: a process that it leaves behind, with its streams open, is killed.
    fn watch(&mut self, deadline: u64) -> Result<(ExitKind, u64), Failure> {
        let exit = loop {
            let left = deadline.saturating_sub(nanoseconds()).div_ceil(1_000_000);
            self.wait_for_event(if self.pidfd.is_some() { left } else { left.min(TICK_MS) })?;
            self.stdout.drain();
            self.stderr.drain();
            if let Some(status) = self.status(WaitOptions::NOHANG)? {
                break exit_kind(status);
            }
            if nanoseconds() >= deadline {
                break ExitKind::TimedOut;
            }
        };
        let ended = nanoseconds();
        // Fails where nobody is left in the group, which is the rule.
        let _ = kill_process_group(self.pid, Signal::KILL);
        if exit == ExitKind::TimedOut {
            self.status(WaitOptions::empty())?;
        }
        reap_all();
        Ok((exit, ended))
    }

    fn wait_for_event(&self, milliseconds: u64) -> Result<(), Failure> {
        let sources = [self.stdout.pipe.as_ref(), self.stderr.pipe.as_ref(), self.pidfd.as_ref()];
        let mut polled: Vec<PollFd<'_>> = sources
            .into_iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
            .collect();
        let timeout = Timespec {
            tv_sec: (milliseconds / 1000) as i64,
            // At most 999 999 999, which every type of this field holds.
            tv_nsec: (milliseconds % 1000 * 1_000_000) as _,
        };
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Failure::errno("wait for the loader's output", errno(error))),
        }
    }

    fn status(&self, options: WaitOptions) -> Result<Option<WaitStatus>, Failure> {
        loop {
            match waitpid(Some(self.pid), options) {
                Ok(ended) => return Ok(ended.map(|(_, status)| status)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Failure::errno("wait for the loader's end", errno(error))),
            }
        }
    }
}

/// What a child says before the errno of what failed: starting the program, or taking on its bound.
const IN_START: u8 = 0;
const IN_BOUND: u8 = 1;

/// In the child: puts its streams in place, in a session of its own, takes on the bound, and becomes the program.
fn become_program(program: &Program, bound: Option<Bound>, streams: [&OwnedFd; 3], failure: &OwnedFd) -> ! {
    let place_streams = || -> Result<(), syscalls::Errno> {
        // SAFETY: setsid(2) and dup2(2) take numbers and touch no memory.
        unsafe {
            syscall!(Sysno::setsid)?;
            for (target, stream) in streams.into_iter().enumerate() {
                syscall!(Sysno::dup2, stream.as_raw_fd(), target)?;
            }
        }
        Ok(())
    };
    let become_it = || -> Result<usize, (u8, syscalls::Errno)> {
        place_streams().map_err(|error| (IN_START, error))?;
        if let Some(bound) = bound {
            bound::take_on(bound).map_err(|error| (IN_BOUND, error))?;
        }
        // SAFETY: execve(2) reads strings and arrays which end in null and live as long as `program`.
        unsafe { syscall!(Sysno::execve, program.argv[0], program.argv.as_ptr(), program.envp.as_ptr()) }
            .map_err(|error| (IN_START, error))
    };
    if let Err((stage, error)) = become_it() {
        let [a, b, c, d] = error.into_raw().to_ne_bytes();
        // Should the parent not learn of it, it sees the status.
        let _ = rustix::io::write(failure, &[stage, a, b, c, d]);
    }
    static_start::exit(127)
}

/// Takes the status of everybody who has ended: PID 1 inherits all orphans.
fn reap_all() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// Signal numbers and statuses have at most 8 bits (wait(2)).
fn exit_kind(status: WaitStatus) -> ExitKind {
    match status.terminating_signal() {
        Some(signal) => ExitKind::Signaled { signal: signal as u8 },
        None => ExitKind::Exited { status: status.exit_status().unwrap_or_default() as u8 },
    }
}

/// The monotonic clock, in nanoseconds.
fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
