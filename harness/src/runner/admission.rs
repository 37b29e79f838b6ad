//! How many guests may run at a time: no more than CPUs, and no more than fit into memory.

use crate::cell::{Cell, Mib};
use std::num::NonZeroUsize;

/// Memory that is left to the rest of the host, in MiB.
const KEPT_FREE_MIB: u64 = 1024;
/// What QEMU takes beside the guest's RAM, in MiB: its translated code above all (half of the cells' blocks at most).
const QEMU_MIB: u64 = 384;
/// RAM that a guest of any size touches, in MiB: two kernels, the initramfs images, the crash region's part that is used.
/// A 4 GiB guest was seen to use 163 MiB when its crash image was loaded.
const TOUCHED_MIB: u64 = 512;
/// Beyond that the kernel touches its page tables and page structs: 64 bytes for each 4 KiB page, doubled for safety.
const TOUCHED_SHARE: u64 = 32;

/// How many guests at a time, and why fewer than wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) jobs: usize,
    pub(super) notice: Option<String>,
}

/// Decides from what was asked for, the number of CPUs, and the memory that is available (none: unknown). Pure.
pub(super) fn admit(
    cells: &[Cell],
    wanted: Option<NonZeroUsize>,
    cpus: usize,
    available_mib: Option<u64>,
) -> Admission {
    let wanted = wanted.map_or(cpus, NonZeroUsize::get).max(1);
    let Some(available) = available_mib else {
        return Admission { jobs: wanted, notice: None };
    };
    let largest = cells.iter().map(|cell| guest_mib(cell.platform.memory)).max().unwrap_or(1);
    let fit = that_fit(available, largest).max(1);
    let notice = (fit < wanted).then(|| {
        format!("{fit} guests at a time instead of {wanted}: {available} MiB of memory are available, and the largest guest takes up to {largest} MiB")
    });
    Admission { jobs: wanted.min(fit), notice }
}

/// How many guests with this memory fit into what is available, in MiB, at a time. A run starts one also where none fits.
pub fn guests_that_fit(available_mib: u64, memory: Mib) -> usize {
    that_fit(available_mib, guest_mib(memory))
}

fn that_fit(available_mib: u64, guest_mib: u64) -> usize {
    usize::try_from(available_mib.saturating_sub(KEPT_FREE_MIB) / guest_mib).unwrap_or(usize::MAX)
}

/// Upper bound of what a guest takes of the host, in MiB. Its RAM is committed as it is touched.
fn guest_mib(memory: Mib) -> u64 {
    let memory = u64::from(memory.0.get());
    QEMU_MIB + memory.min(TOUCHED_MIB + memory / TOUCHED_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Bug: `-j 8` on a small host ends in the OOM killer, which looks like a rig error at random.
    #[test]
    fn memory_bounds_the_guests() {
        let cells = [testing::cell()];
        // A 4 GiB guest counts 384 + 512 + 128 = 1024 MiB.
        assert_eq!(admit(&cells, NonZeroUsize::new(8), 2, Some(1024 + 3 * 1024)).jobs, 3);
        assert!(admit(&cells, NonZeroUsize::new(8), 2, Some(4096)).notice.is_some());
        assert_eq!(admit(&cells, None, 2, Some(64 << 10)), Admission { jobs: 2, notice: None });
    }

    /// Bug: too little memory for one guest makes the run wait for ever with no guest admitted.
    #[test]
    fn one_guest_always_runs() {
        assert_eq!(admit(&[testing::cell()], None, 4, Some(100)).jobs, 1);
        assert_eq!(admit(&[], None, 0, None).jobs, 1);
    }
}
