//! The nonces of a cell, in memory and in the log: drawn new for every guest, so that what the capture kernel finds can be of no
//! other.

use guest_protocol::{HexBytes, PhysRange, Place, Plant};
use rustix::rand::{GetRandomFlags, getrandom};

/// Length of a nonce in memory: no accident makes 64 equal bytes.
pub const NONCE_BYTES: usize = 64;
/// Random bytes in the line for the log, two digits each.
const LOG_NONCE_BYTES: usize = 16;
/// 4 GiB.
const FOUR_GIB: u64 = 1 << 32;
/// Less RAM than this above 4 GiB may be taken entirely by the crash region and the kernel's own tables.
const ENOUGH_ABOVE_4G: u64 = 128 << 20;

/// Which plants suit a first kernel with this memory. Pure but for the bytes, which `fill` draws.
///
/// Below 4 GiB nothing is asked for: where RAM lies above, Linux gives pages from there first, and forcing one from below
/// would make the guest touch all that is above. Nonces in such guests test the upper memory, `OSRELEASE` the lower.
pub(super) fn plants(
    system_ram: &[PhysRange],
    crash_regions: &[PhysRange],
    mut fill: impl FnMut(&mut [u8]),
) -> Vec<Plant> {
    let mut places = vec![Place::Anywhere, Place::Anywhere, Place::Anywhere];
    if usable_above_4g(system_ram, crash_regions) >= ENOUGH_ABOVE_4G {
        places.push(Place::Above4G);
    }
    let plant = |(id, place)| {
        let mut bytes = vec![0; NONCE_BYTES];
        fill(&mut bytes);
        Plant { id, bytes: HexBytes(bytes), place }
    };
    (0..).zip(places).map(plant).collect()
}

/// A line for the first kernel's log that no other guest's has. It says what it is, for people who read the console.
pub(super) fn log_line(fill: impl FnOnce(&mut [u8])) -> String {
    let mut bytes = vec![0; LOG_NONCE_BYTES];
    fill(&mut bytes);
    format!("kdump-rig: the log of this cell has {}", HexBytes(bytes))
}

/// Bytes of RAM above 4 GiB outside of the crash regions.
fn usable_above_4g(system_ram: &[PhysRange], crash_regions: &[PhysRange]) -> u64 {
    let above = |range: &PhysRange| match range.end.checked_sub(range.start.max(FOUR_GIB)) {
        Some(length) => length.saturating_add(1),
        None => 0,
    };
    let ram: u64 = system_ram.iter().map(above).fold(0, u64::saturating_add);
    crash_regions.iter().map(above).fold(ram, u64::saturating_sub)
}

/// Draws bytes from the kernel.
pub(super) fn draw(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        // It fails for an interrupting signal only, which is no reason to give up: no flags, no bad address.
        if let Ok(length) = getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            filled += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange { start, end }
    }

    fn places(ram: &[PhysRange], crash: &[PhysRange]) -> Vec<Place> {
        plants(ram, crash, draw).into_iter().map(|plant| plant.place).collect()
    }

    /// Bug: a guest without RAM above 4 GiB is asked for a page there, and its cells are all rig errors.
    #[test]
    fn above_4g_only_where_there_is_ram() {
        let low = range(0x10_0000, 0xbfff_ffff);
        assert!(!places(&[low], &[]).contains(&Place::Above4G));
        assert!(places(&[low, range(FOUR_GIB, FOUR_GIB + (1 << 30) - 1)], &[]).contains(&Place::Above4G));
    }

    /// Bug: RAM that the crash region takes counts as usable.
    #[test]
    fn the_crash_region_is_not_usable() {
        let ram = range(FOUR_GIB, FOUR_GIB + (256 << 20) - 1);
        let crash = range(FOUR_GIB, FOUR_GIB + (192 << 20) - 1);
        assert!(!places(&[ram], &[crash]).contains(&Place::Above4G));
    }

    /// Bug: a constant nonce, or the same one in all places, which old memory of another guest could hold as well.
    #[test]
    fn every_nonce_is_new() {
        let mut all: Vec<_> =
            (0..4).flat_map(|_| plants(&[], &[], draw)).map(|plant| plant.bytes.0).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 4 * 3);
        assert_ne!(log_line(draw), log_line(draw));
    }

    /// Bug: a line that the agent refuses, or that the kernel cuts.
    #[test]
    fn the_line_for_the_log_is_one_that_the_agent_takes() {
        let line = log_line(|bytes| bytes.fill(0xff));
        assert!(
            line.len() <= guest_protocol::MAX_LOG_LINE
                && line.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        );
    }
}
