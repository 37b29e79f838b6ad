//! Which guests may run beside each other: as many as there are places, and each only while what it may take of memory is there beside
//! what those that run may still take.

use crate::cell::{Cell, Mib};
use std::collections::BTreeMap;
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
/// What is added to the most that a guest of the same memory was seen to take: another kernel or region takes more now and then.
const MARGIN_PARTS: u64 = 4;

/// How many guests at a time, and what people must be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) jobs: usize,
    pub(super) notice: Option<String>,
}

/// Decides from what was asked for, the number of CPUs, and the memory that is available (none: unknown). There are no more places than
/// of the smallest guests fit; that larger ones will have fewer is told. Pure.
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
    let sizes = cells.iter().map(|cell| guest_mib(cell.platform.memory));
    let (smallest, largest) = (sizes.clone().min().unwrap_or(1), sizes.max().unwrap_or(1));
    let jobs = that_fit(available, smallest).clamp(1, wanted);
    let of_largest = that_fit(available, largest).max(1);
    let notice = if jobs < wanted {
        Some(format!(
            "{jobs} guests at a time instead of {wanted}: {available} MiB of memory are available, and each guest takes up to {smallest} MiB or more"
        ))
    } else if of_largest < wanted {
        Some(format!(
            "fewer than {wanted} of the largest guests at a time: {available} MiB of memory are available, and they take up to {largest} MiB each"
        ))
    } else {
        None
    };
    Admission { jobs, notice }
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

/// What guests take, by their memory: the most that was measured of one in this run, and else the bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes(BTreeMap<u32, u64>);

impl Sizes {
    /// Takes what a guest of this cell's memory took at its most, in MiB.
    pub(super) fn measured(&mut self, cell: &Cell, peak_mib: u64) {
        let most = self.0.entry(cell.platform.memory.0.get()).or_default();
        *most = peak_mib.max(*most);
    }

    /// What this cell's guest may take, in MiB.
    pub(super) fn of(&self, cell: &Cell) -> u64 {
        match self.0.get(&cell.platform.memory.0.get()) {
            Some(measured) => measured + measured / MARGIN_PARTS,
            None => guest_mib(cell.platform.memory),
        }
    }
}

/// What the guests that run take of memory, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Guests.
    pub(super) guests: usize,
    /// What they may take in all.
    pub(super) promised_mib: u64,
    /// What they have taken by now, which is no longer among what is available.
    pub(super) used_mib: u64,
}

/// Whether a guest that may take so much can start beside those that run, with this memory available now (none: unknown). One guest
/// always runs. Pure.
pub(super) fn has_room(guest_mib: u64, taken: Taken, available_mib: Option<u64>) -> bool {
    let Some(available) = available_mib else { return true };
    let still_to_come = taken.promised_mib.saturating_sub(taken.used_mib);
    taken.guests == 0 || guest_mib + still_to_come + KEPT_FREE_MIB <= available
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn of_memory(mib: u32) -> Cell {
        let mut cell = testing::cell();
        cell.platform.memory = testing::mib(mib);
        cell
    }

    /// Bug: `-j 8` on a small host ends in the OOM killer, which looks like a rig error at random.
    #[test]
    fn memory_bounds_the_guests() {
        let cells = [testing::cell()];
        // A 4 GiB guest counts 384 + 512 + 128 = 1024 MiB.
        assert_eq!(admit(&cells, NonZeroUsize::new(8), 2, Some(1024 + 3 * 1024)).jobs, 3);
        assert!(admit(&cells, NonZeroUsize::new(8), 2, Some(4096)).notice.is_some());
        assert_eq!(admit(&cells, None, 2, Some(64 << 10)), Admission { jobs: 2, notice: None });
    }

    /// Bug: one guest of 64 GiB in a suite takes the second place from all of the small ones; or nobody is told that it runs alone.
    #[test]
    fn a_large_guest_bounds_itself_alone() {
        let cells = [testing::cell(), of_memory(64 << 10)];
        let admission = admit(&cells, NonZeroUsize::new(2), 2, Some(4096));
        assert_eq!(admission.jobs, 2);
        assert!(admission.notice.unwrap().contains("fewer than 2 of the largest"));
    }

    /// Bug: too little memory for one guest makes the run wait for ever with no guest admitted.
    #[test]
    fn one_guest_always_runs() {
        assert_eq!(admit(&[testing::cell()], None, 4, Some(100)).jobs, 1);
        assert_eq!(admit(&[], None, 0, None).jobs, 1);
        assert!(has_room(1 << 20, Taken::default(), Some(1)));
    }

    /// Bug: what running guests have not touched yet is given away a second time; or what they have touched counts twice, so that the
    /// second place stays empty on a host that has room.
    #[test]
    fn a_guest_starts_beside_what_the_others_may_still_take() {
        let large = Taken { guests: 1, promised_mib: 3000, used_mib: 0 };
        assert!(!has_room(1000, large, Some(5023)));
        assert!(has_room(1000, large, Some(5024)));
        let grown = Taken { used_mib: 3000, ..large };
        assert!(has_room(1000, grown, Some(2024)) && !has_room(1000, grown, Some(2023)));
        let beyond = Taken { used_mib: 9000, ..large };
        assert!(has_room(1000, beyond, Some(2024)), "more than was promised is no less than nothing");
        assert!(has_room(1000, large, None), "a host that does not tell");
    }

    /// Bug: a guest's size stays the guess although many like it were measured; or the one that was measured last counts, and not the
    /// largest; or a small guest's size is taken for a large one's.
    #[test]
    fn what_was_measured_counts() {
        let (small, large) = (of_memory(4096), of_memory(64 << 10));
        let mut sizes = Sizes::default();
        assert_eq!((sizes.of(&small), sizes.of(&large)), (1024, 384 + 512 + 2048));
        sizes.measured(&small, 400);
        sizes.measured(&small, 320);
        assert_eq!((sizes.of(&small), sizes.of(&large)), (500, 384 + 512 + 2048));
    }
}
