//! A deadline for a QEMU which a starved host does not break: it moves by what QEMU waited for a CPU.
//!
//! Two clocks, for each alone is wrong. By the wall alone, a host that is suddenly loaded turns a slow guest into a hung one. By
//! the CPU time used alone, a guest that halts for good would never have had its deadline. So a limit is counted by the wall, and
//! what the host's scheduler withheld from QEMU's most starved thread does not count: while it was runnable and had no CPU. A halted
//! guest, a stopped QEMU and one that spins on a CPU of its own wait for none, and get the limit and no more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// However starved: no wait is longer than this many times its limit by the wall. A guest that gets less than a quarter of a CPU
/// for that long is the load's fault, which the result then shows.
const MOST: u32 = 4;
/// Least that a deadline moves, so that its last moments are not a loop over /proc.
const LEAST_MOVE: Duration = Duration::from_millis(100);

/// How long something may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// By the wall: so long it is always awaited.
    pub wall: Duration,
    /// Without the time that QEMU waits for a CPU. At most `wall`; less where `wall` allows for a load already.
    pub own: Duration,
}

impl Limit {
    /// The same by both clocks.
    pub const fn of(duration: Duration) -> Self {
        Self { wall: duration, own: duration }
    }

    /// How much longer to wait when so much has passed, of which QEMU waited so much for a CPU; none: that was all. Pure.
    fn more(self, passed: Duration, waited: Duration) -> Option<Duration> {
        let (wall, own) =
            (self.wall.saturating_sub(passed), self.own.saturating_sub(passed.saturating_sub(waited)));
        if wall > Duration::ZERO {
            return Some(wall);
        }
        let left = (self.wall * MOST).saturating_sub(passed);
        (own > Duration::ZERO && left > Duration::ZERO).then(|| own.max(LEAST_MOVE).min(left))
    }
}

/// The wait for something from a QEMU.
#[derive(Debug)]
pub(crate) struct Patience {
    pid: i32,
    since: Instant,
    waits: CpuWaits,
    /// How far the deadline has moved from where the limit's wall put it.
    moved: Duration,
}

impl Patience {
    /// Begins to wait, now.
    pub(crate) fn begin(pid: i32) -> Self {
        Self { pid, since: Instant::now(), waits: CpuWaits::of(pid), moved: Duration::ZERO }
    }

    /// When to look whether the limit has passed.
    pub(crate) fn until(&self, limit: Limit) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.since + limit.wall + self.moved)
    }

    /// The moment at which this has passed.
    pub(crate) fn at(&self, passed: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.since + passed)
    }

    /// The moment that [`until`](Self::until) named has come: whether QEMU is to be given more time, because the host withheld it.
    /// The deadline has moved then.
    pub(crate) fn moves(&mut self, limit: Limit) -> bool {
        let passed = self.since.elapsed();
        let more = limit.more(passed, self.waited());
        if let Some(more) = more {
            self.moved = (passed + more).saturating_sub(limit.wall);
        }
        more.is_some()
    }

    /// What has passed by the wall.
    pub(crate) fn passed(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long QEMU's most starved thread has waited for a CPU.
    pub(crate) fn waited(&self) -> Duration {
        CpuWaits::of(self.pid).since(&self.waits)
    }
}

/// How long each thread of a process has waited for a CPU in its life. Empty where the host's kernel does not tell
/// (CONFIG_SCHED_INFO), and when the process is gone: then deadlines stand as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CpuWaits(BTreeMap<u32, Duration>);

impl CpuWaits {
    fn of(pid: i32) -> Self {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Self::default() };
        let wait = |thread: std::fs::DirEntry| {
            let id = thread.file_name().to_str()?.parse().ok()?;
            Some((id, run_delay(&std::fs::read_to_string(thread.path().join("schedstat")).ok()?)?))
        };
        Self(threads.flatten().filter_map(wait).collect())
    }

    /// The longest that one thread has waited since. Never the sum: threads that wait at a time lose that time once.
    fn since(&self, earlier: &Self) -> Duration {
        let since =
            |(id, now): (&u32, &Duration)| now.saturating_sub(earlier.0.get(id).copied().unwrap_or_default());
        self.0.iter().map(since).max().unwrap_or_default()
    }
}

/// The second number of a schedstat file: nanoseconds spent waiting on a run queue (Documentation/scheduler/sched-stats.rst).
fn run_delay(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// Whether this host's kernel tells how long threads wait for a CPU.
pub fn host_tells_waits() -> bool {
    std::fs::read_to_string("/proc/self/schedstat").is_ok_and(|text| run_delay(&text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;
    use std::path::Path;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Bug: a starved guest counts as hung; or a halted one, which never waits for a CPU, is awaited for ever; or a load that the
    /// limit allows for already is allowed for twice.
    #[test]
    fn what_was_withheld_does_not_count() {
        let limit = Limit::of(s(40));
        for (limit, passed, waited, more) in [
            (limit, 39, 0, Some(1)),
            (limit, 40, 0, None),
            (limit, 40, 30, Some(30)),
            (limit, 70, 30, None),
            (limit, 70, 60, Some(30)),
            (limit, 150, 149, Some(10)),
            (limit, 160, 160, None),
            // At a load of four from the start the wall's limit is longer.
            (Limit { wall: s(160), own: s(40) }, 160, 120, None),
            (Limit { wall: s(160), own: s(40) }, 160, 0, None),
            (Limit { wall: s(160), own: s(40) }, 160, 150, Some(30)),
        ] {
            assert_eq!(
                limit.more(s(passed), s(waited)),
                more.map(s),
                "{passed} s, {waited} s of them waited"
            );
        }
    }

    /// Bug: the deadline of a guest that has nearly had its time moves by nothing, again and again.
    #[test]
    fn a_deadline_moves_by_something() {
        let limit = Limit::of(s(40));
        let (passed, waited) = (s(50), s(10) + Duration::from_nanos(1));
        assert_eq!(limit.more(passed, waited), Some(LEAST_MOVE));
    }

    /// Bug: the time on the CPU is read for the time without one; or threads that wait at a time are added up.
    #[test]
    fn the_most_starved_thread_counts() {
        assert_eq!(run_delay("376627 2912825 5\n"), Some(Duration::from_nanos(2_912_825)));
        assert_eq!(run_delay(""), None);
        let waits = |of: &[(u32, u64)]| CpuWaits(of.iter().map(|(id, seconds)| (*id, s(*seconds))).collect());
        assert_eq!(waits(&[(1, 5), (2, 9), (3, 1)]).since(&waits(&[(1, 4), (2, 3)])), s(6));
        assert_eq!(waits(&[]).since(&waits(&[(1, 4)])), Duration::ZERO, "gone");
    }

    /// Bug: the figures are those of a process's first thread, in which a guest never runs; or a process that sleeps is taken for
    /// a starved one. Two programs that want the same CPU wait for each other; one that sleeps does not.
    #[tokio::test]
    async fn a_process_that_wants_a_taken_cpu_waits() {
        if !host_tells_waits() {
            eprintln!("not tried: this kernel has no /proc/self/schedstat");
            return;
        }
        let spawn = |script: &'static str| async move {
            let args = ["-c", script].map(std::ffi::OsString::from);
            Process::spawn(Path::new("sh"), &args, None).await.unwrap()
        };
        let mut busy = [spawn("while :; do :; done").await, spawn("while :; do :; done").await];
        let mut idle = spawn("exec sleep 600").await;
        let mut one = rustix::thread::CpuSet::new();
        let all = rustix::thread::sched_getaffinity(None).unwrap();
        one.set((0..rustix::thread::CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
        for process in &busy {
            let pid = rustix::process::Pid::from_raw(process.pid());
            rustix::thread::sched_setaffinity(pid, &one).unwrap();
        }
        let patience = [busy[0].pid(), idle.pid()].map(Patience::begin);
        while patience[0].waited() < Duration::from_millis(200) {
            assert!(patience[0].passed() < s(60), "a busy process never waits");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(patience[1].waited() < Duration::from_millis(200), "{:?}", patience[1].waited());
        for process in busy.iter_mut().chain([&mut idle]) {
            process.end(s(1)).await.unwrap();
        }
    }
}
