//! What the host must have beside programs: memory, disk, limits of the kernel, a clock. Each check is a pure function of what was
//! read; the verb reads.

use super::check::Check;
use harness::cell::Mib;
use harness::runner::guests_that_fit;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Memory of the largest guests of the suite `seed`.
const LARGEST_GUEST: Mib = Mib(match NonZeroU32::new(6144) {
    Some(size) => size,
    None => NonZeroU32::MIN,
});
/// What the cache holds when everything is fetched and unpacked: 432 MiB were seen; packages replace locked ones in time.
pub(super) const CACHE_MIB: u64 = 640;
/// The largest package and what it unpacks to.
pub(super) const PACKAGE_MIB: u64 = 128;
/// A report of the suite `seed`, kernels and initramfs images included, and the one before, which is kept: 216 MiB each were seen.
pub(super) const REPORTS_MIB: u64 = 640;
/// The initramfs of a boot with all its capture kernels, and its saved state, whose RAM is in memory; one boot's is there for each guest that
/// runs. 90 MiB were seen.
const STATE_MIB: u64 = 200;
/// Open files that a guest costs the rig: three sockets, three listeners, pipes, logs, a state. With room.
const FILES_PER_GUEST: u64 = 24;
/// Open files that the rig has anyway.
const FILES: u64 = 64;
/// A clock may stand so much before this program's own file: time zones that somebody confused.
const CLOCK_SLACK: Duration = Duration::from_secs(24 * 60 * 60);

/// Room for guests in what is available to this process, its control groups' limits included.
pub(super) fn memory(available_mib: Option<u64>, jobs: usize) -> Check {
    let Some(available) = available_mib else {
        return Check::note(
            "memory",
            "/proc/meminfo tells nothing",
            "choose the number of guests by hand: -j N",
        );
    };
    let fit = guests_that_fit(available, LARGEST_GUEST);
    let found = format!(
        "{available} MiB available: room for {fit} guests of {} MiB at a time, {jobs} wanted",
        LARGEST_GUEST.0
    );
    match fit {
        0 => Check::missing("memory", found, "free some memory, or run cells with small guests only, by -E"),
        fit if fit < jobs => {
            Check::note("memory", found, "a run takes no more than fit; fewer guests take longer")
        }
        _ => Check::ok("memory", found),
    }
}

/// The load beside the CPUs: content of /proc/loadavg.
pub(super) fn load(loadavg: &str, cpus: usize) -> Check {
    let load = loadavg.split_whitespace().next().and_then(|load| load.parse::<f64>().ok());
    let found = match load {
        Some(load) => format!("{cpus}, with a load of {load:.1} in the last minute"),
        None => format!("{cpus}; the load is unknown"),
    };
    match load {
        // So much is somebody else's work that a run would share every CPU.
        Some(load) if load >= cpus as f64 => Check::note(
            "CPUs",
            found,
            "guests will wait for CPUs, and their deadlines for them; better measure later",
        ),
        _ => Check::ok("CPUs", found),
    }
}

/// Free space for something that needs `need_mib`.
pub(super) fn disk(check: &str, folder: &Path, free_mib: Option<u64>, need_mib: u64, way_out: &str) -> Check {
    let place = folder.display();
    match free_mib {
        None => Check::note(check, format!("cannot tell the free space of {place}"), way_out),
        Some(free) if free < need_mib => Check::missing(
            check,
            format!("{free} MiB free in {place}, and up to {need_mib} MiB are needed"),
            way_out,
        ),
        Some(free) => Check::ok(check, format!("{free} MiB free in {place}, up to {need_mib} MiB needed")),
    }
}

/// What a run's temporary folder needs, in MiB.
pub(super) fn temporary_mib(jobs: usize) -> u64 {
    STATE_MIB * jobs as u64
}

/// The limit of open files (RLIMIT_NOFILE); none: unlimited.
pub(super) fn files(limit: Option<u64>, jobs: usize) -> Check {
    let need = FILES + FILES_PER_GUEST * jobs as u64;
    match limit {
        Some(limit) if limit < need => Check::missing(
            "open files",
            format!("at most {limit}, and {jobs} guests at a time need {need}"),
            format!("ulimit -n {need}, or fewer guests: -j N"),
        ),
        Some(limit) => Check::ok("open files", format!("at most {limit}, {need} needed")),
        None => Check::ok("open files", "no limit"),
    }
}

/// /proc/sys/vm/overcommit_memory (Documentation/mm/overcommit-accounting): with 2, memory is refused that is only reserved.
pub(super) fn overcommit(mode: &str) -> Option<Check> {
    let found = "vm.overcommit_memory is 2: guests' whole memory counts, whether they touch it or not";
    let advice = "set it to 0 or 1, or run as few guests as have all their memory at hand: -j N";
    (mode.trim() == "2").then(|| Check::note("overcommit", found, advice))
}

/// Whether the kernel tells how long QEMU waits for a CPU.
pub(super) fn waits(told: bool) -> Check {
    match told {
        true => {
            Check::ok("starvation", "the kernel tells how long QEMU waits for a CPU; deadlines move by it")
        }
        false => Check::note(
            "starvation",
            "the kernel has no /proc/self/schedstat (CONFIG_SCHEDSTATS)",
            "deadlines are calibrated at the start of a run only: keep a load away while it goes on",
        ),
    }
}

/// The clock beside the time of this program's own file, which was built before it ran.
pub(super) fn clock(now: SystemTime, built: Option<SystemTime>, source: Option<&str>) -> Check {
    // What the kernel falls back to where the time-stamp counter is unusable (its x86 clocksources). Reading them leaves a guest
    // of a hypervisor, and QEMU reads the time often.
    const SLOW: [&str; 4] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies"];
    let source = source.map_or("unknown", str::trim);
    if let Some(behind) = built.and_then(|built| built.duration_since(now).ok())
        && behind > CLOCK_SLACK
    {
        return Check::missing(
            "clock",
            format!("it stands {} days before this program was built", behind.as_secs() / (24 * 60 * 60)),
            "set it: certificates and signatures do not verify in the past",
        );
    }
    match SLOW.contains(&source) {
        true => Check::note(
            "clock",
            format!("its source is {source}, which is slow to read"),
            "guests are slower than need be; /sys/devices/system/clocksource has the choice",
        ),
        false => Check::ok("clock", format!("its source is {source}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Findings;
    use super::*;

    fn text(check: Check) -> String {
        Findings::new(vec![check], None).text()
    }

    /// Catches memory that is too small for the wanted guests, or for one, and is no more than a figure.
    #[test]
    fn memory_is_what_may_be_used() {
        assert!(text(memory(Some(20_000), 4)).starts_with("ok "));
        // A guest of 6 GiB counts 384 + 512 + 192 = 1088 MiB, and 1024 MiB are kept free.
        let limited = text(memory(Some(1024 + 2 * 1088), 4));
        assert!(limited.starts_with("note ") && limited.contains("room for 2"), "{limited}");
        assert!(text(memory(Some(2000), 1)).starts_with("missing "));
    }

    /// Catches a disk or a limit that is too small by one and passes, or one that suffices and is a lack.
    #[test]
    fn what_suffices_and_what_does_not() {
        let disk = |free| text(disk("cache", Path::new("/c"), Some(free), 640, "make room"));
        assert!(disk(640).starts_with("ok ") && disk(639).starts_with("missing "));
        let need = FILES + 2 * FILES_PER_GUEST;
        assert!(text(files(Some(need), 2)).starts_with("ok "));
        assert!(text(files(Some(need - 1), 2)).contains(&format!("ulimit -n {need}")));
        assert!(overcommit("0\n").is_none() && overcommit("2\n").is_some());
    }

    /// Catches a loaded host that looks idle, and figures that were measured beside somebody else's work unsaid.
    #[test]
    fn a_load_is_told() {
        assert!(text(load("0.15 0.5 1 1/90 7\n", 2)).starts_with("ok "));
        assert!(text(load("6.75 7.69 5.91 7/131 21828\n", 2)).starts_with("note "));
        assert!(text(load("", 2)).contains("unknown"));
    }

    /// Catches a clock in the past, where every fetch fails with words about certificates.
    #[test]
    fn a_clock_in_the_past_is_a_lack() {
        let built = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        assert!(text(clock(built, Some(built), Some("tsc\n"))).starts_with("ok "));
        assert!(text(clock(SystemTime::UNIX_EPOCH, Some(built), Some("tsc"))).starts_with("missing "));
        assert!(text(clock(built, Some(built), Some("hpet\n"))).starts_with("note "));
    }
}
