//! What became of the programs that an agent ran, and of the nonces that it planted.

use alloc::string::String;
use serde::{Deserialize, Serialize};

/// What became of the loader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// How the loader ended.
    pub exit: ExitKind,
    /// All that it wrote to standard output; of more than 64 KiB the first and the last 32, with a line that says so.
    pub stdout: String,
    /// All that it wrote to standard error, bounded likewise.
    pub stderr: String,
    /// /sys/kernel/kexec_crash_loaded after the loader ended.
    pub crash_loaded: bool,
    /// Whether an image was loaded before this run, by an earlier run that the circumstances ask for; none where they ask for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_before: Option<bool>,
    /// Wall-clock time of the loader's run, in milliseconds of guest time.
    pub milliseconds: u64,
    /// The same in detail; none in reports of agents that did not measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<RunTime>,
}

/// The time that a program took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunTime {
    /// From just before it was forked off until its end was seen, in nanoseconds of the guest's monotonic clock.
    pub wall_ns: u64,
    /// CPU time in its own code, in microseconds, as the kernel accounts it (getrusage(2)).
    pub user_us: u64,
    /// CPU time in the kernel for it, likewise.
    pub system_us: u64,
}

/// What became of an independent reader of /proc/vmcore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderReport {
    /// How it ended.
    pub exit: ExitKind,
    /// What it wrote to standard output, bounded as [`LoadReport::stdout`].
    pub stdout: String,
    /// What it wrote to standard error, bounded likewise.
    pub stderr: String,
    /// Wall-clock time of its run, in milliseconds of guest time.
    pub milliseconds: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum ExitKind {
    /// It exited with a status.
    Exited {
        /// 0 to 255.
        status: u8,
    },
    /// A signal killed it.
    Signaled {
        /// Signal number.
        signal: u8,
    },
    /// It could not be started.
    NotStarted {
        /// errno of execve.
        errno: i32,
    },
    /// It did not end within its time (`timeout_seconds` of the order) and was killed by the agent.
    TimedOut,
}

/// A nonce in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Planted {
    /// [`crate::Plant::id`] of the order.
    pub id: u32,
    /// Physical address of its first byte, read back just before this message.
    pub address: u64,
}
