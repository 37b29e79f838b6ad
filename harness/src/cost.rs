//! What a run costs: CPU time and memory of the rig beside those of its guests, and how long a verdict takes once all is said.
//! Kept with every run, so that a rig that becomes a load of its own shows.

use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a run has cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU time of the rig itself, in seconds.
    pub rig_cpu_seconds: f64,
    /// CPU time of every QEMU, in seconds.
    pub guests_cpu_seconds: f64,
    /// The most memory that the rig ever had in use, in MiB.
    pub rig_peak_mib: u64,
    /// The most memory that one QEMU had in use, in MiB: of a guest's memory only what it has touched counts.
    pub guest_peak_mib: u64,
    /// From the last message of a guest's agents to its verdict, its evidence written: the median of all attempts, in seconds.
    pub verdict_median_seconds: f64,
    /// The longest of these.
    pub verdict_longest_seconds: f64,
}

impl Cost {
    /// What several runs have cost together: their times added, their peaks the highest. Of their median times to a verdict, the
    /// highest as well, for single times are not kept.
    pub fn sum<'a>(costs: impl IntoIterator<Item = &'a Self>) -> Self {
        costs.into_iter().fold(Self::default(), |sum, cost| Self {
            rig_cpu_seconds: sum.rig_cpu_seconds + cost.rig_cpu_seconds,
            guests_cpu_seconds: sum.guests_cpu_seconds + cost.guests_cpu_seconds,
            rig_peak_mib: sum.rig_peak_mib.max(cost.rig_peak_mib),
            guest_peak_mib: sum.guest_peak_mib.max(cost.guest_peak_mib),
            verdict_median_seconds: sum.verdict_median_seconds.max(cost.verdict_median_seconds),
            verdict_longest_seconds: sum.verdict_longest_seconds.max(cost.verdict_longest_seconds),
        })
    }

    /// The rig's CPU time as a share of its guests'; none where no guest ran.
    pub fn cpu_share(&self) -> Option<f64> {
        (self.guests_cpu_seconds > 0.0).then(|| self.rig_cpu_seconds / self.guests_cpu_seconds)
    }
}

/// Measures a run.
#[derive(Debug)]
pub(crate) struct Meter {
    began: CpuTimes,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    guest_peak_mib: u64,
    verdicts: Vec<Duration>,
}

impl Meter {
    /// Begins, now.
    pub(crate) fn begin() -> Self {
        Self { began: CpuTimes::now(), seen: Mutex::default() }
    }

    /// Takes note of an attempt: the most memory of its QEMU, and how long the verdict took where an agent had spoken.
    pub(crate) fn take(&self, peak_mib: Option<u64>, verdict: Option<Duration>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.guest_peak_mib = seen.guest_peak_mib.max(peak_mib.unwrap_or(0));
        seen.verdicts.extend(verdict);
    }

    /// What has been spent up to now. Guests that still run are not in it.
    pub(crate) fn cost(&self) -> Cost {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = CpuTimes::now().since(self.began);
        let mut verdicts: Vec<f64> = seen.verdicts.iter().map(Duration::as_secs_f64).collect();
        verdicts.sort_by(f64::total_cmp);
        Cost {
            rig_cpu_seconds: spent.own,
            guests_cpu_seconds: spent.children,
            rig_peak_mib: peak_mib(std::process::id()).unwrap_or(0),
            guest_peak_mib: seen.guest_peak_mib,
            verdict_median_seconds: verdicts.get(verdicts.len() / 2).copied().unwrap_or(0.0),
            verdict_longest_seconds: verdicts.last().copied().unwrap_or(0.0),
        }
    }
}

/// CPU time in seconds: of this process, and of its children that have ended and were waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct CpuTimes {
    own: f64,
    children: f64,
}

impl CpuTimes {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self::of(&text, rustix::param::clock_ticks_per_second() as f64)
    }

    fn of(stat: &str, ticks: f64) -> Self {
        let [user, system, children_user, children_system] = ticks_of(stat).unwrap_or_default();
        Self {
            own: (user + system) as f64 / ticks,
            children: (children_user + children_system) as f64 / ticks,
        }
    }

    fn since(self, earlier: Self) -> Self {
        Self { own: self.own - earlier.own, children: self.children - earlier.children }
    }
}

/// `utime`, `stime`, `cutime` and `cstime` of a stat file, in clock ticks (proc(5): fields 14 to 17).
fn ticks_of(stat: &str) -> Option<[u64; 4]> {
    // The second field is the program's name in parentheses, which may have anything in it. After it comes the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(14 - 3).map(|field| field.parse().ok());
    Some([fields.next()??, fields.next()??, fields.next()??, fields.next()??])
}

/// The most memory that a process ever had in use, in MiB (proc(5): `VmHWM`); none where it is gone.
pub fn peak_mib(pid: u32) -> Option<u64> {
    peak_of(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn peak_of(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.div_ceil(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: fields are counted from the wrong one, or from a blank in the program's name.
    #[test]
    fn the_fields_of_the_kernels_files() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 200 0 0 11 12 13 14 20 0 1 0 5";
        assert_eq!(ticks_of(stat), Some([11, 12, 13, 14]));
        assert_eq!(ticks_of("7 (a) S 1"), None);
        assert_eq!(peak_of("VmPeak:\t 9999 kB\nVmHWM:\t    2049 kB\n"), Some(3));
    }

    /// Bug: this process's own time is taken for its guests', or what was spent before the run counts.
    #[test]
    fn own_time_is_told_from_that_of_guests() {
        let stat = |times: &str| format!("7 (a) S 1 7 7 0 -1 4194304 100 200 0 0 {times} 20 0 1 0 5");
        let times = |text: &str| CpuTimes::of(&stat(text), 100.0);
        let spent = times("150 60 1020 70").since(times("100 10 20 30"));
        assert_eq!((spent.own, spent.children), (1.0, 10.4));
        assert_eq!(CpuTimes::of("", 100.0), CpuTimes::default());
        let cost = Cost { rig_cpu_seconds: 1.0, guests_cpu_seconds: 10.0, ..Cost::default() };
        assert_eq!((cost.cpu_share(), Cost::default().cpu_share()), (Some(0.1), None));
        assert!(Meter::begin().cost().rig_peak_mib > 0);
    }

    /// Bug: the longest wait for a verdict hides behind the others, or one slow attempt passes for all.
    #[test]
    fn the_median_and_the_longest_are_told() {
        let meter = Meter::begin();
        for (mib, ms) in [(300, 100), (900, 200), (200, 5000)] {
            meter.take(Some(mib), Some(Duration::from_millis(ms)));
        }
        meter.take(None, None);
        let cost = meter.cost();
        assert_eq!(
            (cost.guest_peak_mib, cost.verdict_median_seconds, cost.verdict_longest_seconds),
            (900, 0.2, 5.0)
        );
    }
}
