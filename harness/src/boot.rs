//! Which trials can start from one boot: their first kernels are the same guest up to *ready*. Pure.
//!
//! At *ready* nothing is loaded or planted (see [`guest_protocol`]), so the state of a guest that has got there is saved once,
//! and every trial of the group goes on from it as from a boot of its own.

use crate::cell::{Cell, Kernel, Platform};
use crate::cmdline::first_cmdline;
use guest_protocol::Arch;
use std::collections::BTreeMap;
use std::time::Duration;

/// All that a first kernel's boot depends on, but for what lies in its initramfs for the loaders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootKey {
    first: Kernel,
    userspace: Arch,
    platform: Platform,
    cmdline: String,
}

impl BootKey {
    /// The boot that this cell needs.
    pub fn of(cell: &Cell) -> Self {
        Self {
            first: cell.first.clone(),
            userspace: cell.userspace,
            platform: cell.platform.clone(),
            cmdline: first_cmdline(cell),
        }
    }
}

/// Groups what needs the same boot. Groups, and what is in each, keep the order in which they came.
pub fn grouped<T>(items: impl IntoIterator<Item = T>, cell: impl Fn(&T) -> &Cell) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    let mut places: BTreeMap<BootKey, usize> = BTreeMap::new();
    for item in items {
        let place = *places.entry(BootKey::of(cell(&item))).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}

/// What a boot up to *ready* costs at the least under TCG, by the faster way (measured: 3.3 s by PVH, 7 s from a bzImage).
const BOOT: Duration = Duration::from_secs(3);
/// What saving and one restore cost beside starting a QEMU, whatever the guest's size: its RAM is not copied (measured: 10 ms and 50 ms
/// on an idle host, and some of a busy one's).
const SAVE: Duration = Duration::from_millis(100);
const RESTORE: Duration = Duration::from_millis(100);

/// Whether saving one boot for `trials` trials takes less time than so many boots.
pub fn worth_saving(trials: usize) -> bool {
    let trials = u32::try_from(trials).unwrap_or(u32::MAX);
    BOOT + SAVE + RESTORE * trials < BOOT * trials
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Loader, Reservation};
    use crate::testing;

    /// Bug: two cells that differ in what boots share a state, and one of them tests what the other asked for.
    #[test]
    fn what_boots_differently_is_kept_apart() {
        let cell = testing::cell;
        let size = testing::mib(256);
        let mut larger = cell();
        larger.platform.memory = testing::mib(8192);
        let mut kernel = cell();
        kernel.first.name = "6.1-amd64".into();
        let different = [
            Cell { reservation: Reservation::At { size, offset_mib: 512 }, ..cell() },
            Cell { first_cmdline: vec!["loglevel=7".into()], ..cell() },
            Cell { userspace: Arch::X86_64, ..cell() },
            larger,
            kernel,
        ];
        let same = [
            Cell { loader: Loader::KexecTools("2.0.25".into()), ..cell() },
            Cell { loader_args: vec!["--entry-32bit".into()], ..cell() },
            Cell { capture_cmdline: vec!["nokaslr".into()], ..cell() },
        ];
        let all: Vec<Cell> = [cell()].into_iter().chain(different).chain(same).collect();
        let groups = grouped(all.iter(), |cell| cell);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [4, 1, 1, 1, 1, 1]);
        assert_eq!(groups[0][1], &all[6], "in the order in which they came");
    }

    /// Bug: a single cell pays for a state that nobody else uses.
    #[test]
    fn saving_must_pay() {
        assert!(!worth_saving(1));
        assert!(worth_saving(2));
    }
}
