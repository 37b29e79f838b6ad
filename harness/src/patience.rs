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
/// How long the rig itself may have been away (stopped by a shell, asleep with its host) before that time counts for nobody: what
/// the guest said meanwhile was not heard. A waiter looks twice a second.
const AWAY: Duration = Duration::from_secs(3);
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

    /// One after the other.
    pub(crate) fn and(self, next: Self) -> Self {
        Self { wall: self.wall + next.wall, own: self.own + next.own }
    }

    /// So long is waited at the most, by the wall.
    pub(crate) fn longest(self) -> Duration {
        self.wall * MOST
    }

    /// How it stands when so much has passed, of which QEMU waited so much for a CPU. Pure.
    fn after(self, passed: Duration, waited: Duration) -> Standing {
        let (wall, own) =
            (self.wall.saturating_sub(passed), self.own.saturating_sub(passed.saturating_sub(waited)));
        if wall > Duration::ZERO {
            return Standing::More(wall);
        }
        let left = self.longest().saturating_sub(passed);
        match (own, left) {
            (Duration::ZERO, _) => Standing::Spent,
            (_, Duration::ZERO) => Standing::Starved,
            (own, left) => Standing::More(own.max(LEAST_MOVE).min(left)),
        }
    }
}

/// How a wait stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// So much longer.
    More(Duration),
    /// QEMU has had its time.
    Spent,
    /// QEMU has not had its time, and no longer wait would be of use: the host withholds it.
    Starved,
}

/// What a look at the deadline came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// The deadline has moved.
    Moved,
    /// QEMU has had its time.
    Spent,
    /// The host did not give QEMU its time: whatever the guest did not do, it is no fault of the guest's.
    Starved,
}

/// The wait for something from a QEMU.
#[derive(Debug)]
pub(crate) struct Patience {
    pid: i32,
    since: Instant,
    waits: CpuWaits,
    /// How far the deadline has moved from where the limit's wall put it.
    moved: Duration,
    /// When the waiter was last seen awake.
    awake: Instant,
}

impl Patience {
    /// Begins to wait, now.
    pub(crate) fn begin(pid: i32) -> Self {
        let now = Instant::now();
        Self { pid, since: now, waits: CpuWaits::of(pid), moved: Duration::ZERO, awake: now }
    }

    /// To be called as often as the waiter looks, several times in [`AWAY`]: time in which it was not there to look is taken out of
    /// the wait.
    pub(crate) fn awake(&mut self) {
        self.awake_at(Instant::now());
    }

    fn awake_at(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.awake);
        if gap >= AWAY {
            self.since += gap;
        }
        self.awake = now;
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
    pub(crate) fn look(&mut self, limit: Limit) -> Looked {
        let passed = self.since.elapsed();
        match limit.after(passed, self.waited()) {
            Standing::More(more) => {
                self.moved = (passed + more).saturating_sub(limit.wall);
                Looked::Moved
            }
            Standing::Spent => Looked::Spent,
            Standing::Starved => Looked::Starved,
        }
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

/// The CPU time that the threads of a process have had in their lives, to the nanosecond. None where the host's kernel does not tell
/// (CONFIG_SCHED_INFO), and when the process is gone.
pub(crate) fn cpu_time(pid: i32) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let time = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        // Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat": time on the CPU stands first.
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    };
    let times: Vec<Duration> = threads.flatten().filter_map(time).collect();
    (!times.is_empty()).then(|| times.iter().sum())
}

/// How long the threads of a process that are there have waited for a CPU in their lives, all together.
pub(crate) fn withheld(pid: i32) -> Duration {
    CpuWaits::of(pid).0.values().sum()
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
    /// limit allows for already is allowed for twice; or a guest that the host withheld the CPU from to the end counts as hung.
    #[test]
    fn what_was_withheld_does_not_count() {
        use Standing::{More, Spent, Starved};
        let limit = Limit::of(s(40));
        let loaded = Limit { wall: s(160), own: s(40) };
        for (limit, passed, waited, standing) in [
            (limit, 39, 0, More(s(1))),
            (limit, 40, 0, Spent),
            (limit, 40, 30, More(s(30))),
            (limit, 70, 30, Spent),
            (limit, 70, 60, More(s(30))),
            (limit, 150, 149, More(s(10))),
            (limit, 160, 160, Starved),
            (limit, 160, 119, Spent),
            // At a load of four from the start the wall's limit is longer.
            (loaded, 160, 120, Spent),
            (loaded, 160, 0, Spent),
            (loaded, 160, 150, More(s(30))),
        ] {
            assert_eq!(limit.after(s(passed), s(waited)), standing, "{passed} s, {waited} s of them waited");
        }
    }

    /// Bug: the deadline of a guest that has nearly had its time moves by nothing, again and again.
    #[test]
    fn a_deadline_moves_by_something() {
        let limit = Limit::of(s(40));
        let (passed, waited) = (s(50), s(10) + Duration::from_nanos(1));
        assert_eq!(limit.after(passed, waited), Standing::More(LEAST_MOVE));
    }

    /// Bug: a rig that was stopped for minutes calls its guests hung when it goes on, before it has heard what they said meanwhile;
    /// or every look, however usual, moves the deadline.
    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        let mut patience = Patience::begin(1);
        let began = patience.since;
        let (usual, away) = (began + s(1), began + s(601));
        patience.awake_at(usual);
        assert_eq!(patience.since, began);
        patience.awake_at(away);
        assert_eq!(patience.since, began + s(600));
        patience.awake_at(away + s(1));
        assert_eq!(patience.since, began + s(600));
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
