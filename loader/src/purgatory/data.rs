//! The data of the purgatory, behind its code: one table of offsets, which the code has as constants too.
//!
//! ```text
//! code | fixed fields | list of checks | texts | digests | (zeros:) stack | page tables
//! ```
//!
//! The digests come last, so that one of them can cover everything before: code, fields, list and texts. So the purgatory verifies itself, as
//! far as anything can: a changed digest shows as a mismatch of what it belongs to, and changed exit code, GDT, addresses or list as one of
//! the purgatory, which is verified before anything else of the list is believed. What changed code of the verification does, or a changed
//! stack or GDT before it, is anybody's guess, as it is everywhere.

use super::Handover;
use crate::addr::{PhysAddr, Span};
use crate::digest::Digest;
use crate::options::OnMismatch;
use crate::rule::Entry;
use crate::segment::SegmentKind;
use crate::verification::{Check, Verification};
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU16;

/// `__BOOT_CS` of the boot protocol.
pub(super) const CODE_SELECTOR: u16 = 0x10;
/// `__BOOT_DS`.
pub(super) const DATA_SELECTOR: u16 = 0x18;

/// The 64-bit code that an i386 kernel's purgatory climbs to.
pub(super) const CLIMB_SELECTOR: u16 = 0x20;

/// Five entries of 8 bytes: two empty, the exit's code, data, 64-bit code.
const GDT_ENTRIES: usize = 5;
/// For `lgdt`: limit, 2 bytes; address, 8 bytes, of which 32-bit code reads 4.
pub(super) const GDT_POINTER: usize = 8 * GDT_ENTRIES;
/// Physical address, 8 bytes.
pub(super) const BOOT_PARAMS: usize = 56;
/// Physical address, 8 bytes.
pub(super) const KERNEL_ENTRY: usize = 64;
/// Physical address of the stack's end, 8 bytes.
pub(super) const STACK: usize = 72;
/// Physical address of room for page tables, 8 bytes.
pub(super) const TABLES: usize = 80;
/// Physical address, 8 bytes.
pub(super) const BACKUP_FROM: usize = 88;
/// Physical address, 8 bytes.
pub(super) const BACKUP_TO: usize = 96;
/// In bytes, 8 bytes; 0: there is nothing to copy.
pub(super) const BACKUP_SIZE: usize = 104;
/// 32 or 64, 4 bytes.
pub(super) const EXIT_BITS: usize = 112;
/// I/O port, 4 bytes; 0: it does not speak.
pub(super) const SERIAL_PORT: usize = 116;
/// 4 bytes; 0: the speed stays.
pub(super) const SERIAL_DIVISOR: usize = 120;
/// 4 bytes: [`RESET`], or anything else to halt.
pub(super) const ON_MISMATCH: usize = 124;
/// Size of the list of checks in bytes, 4 bytes.
pub(super) const CHECKS_SIZE: usize = 128;
/// What is said if all is well: a text, empty to say nothing.
pub(super) const GREETING: usize = 132;
const GREETING_MOST: usize = 60;
/// The list of checks.
pub(super) const CHECKS: usize = GREETING + GREETING_MOST;

// A check.
/// Physical address, 8 bytes.
pub(super) const CHECK_ADDRESS: usize = 0;
/// In bytes, 8 bytes.
pub(super) const CHECK_LENGTH: usize = 8;
/// Where the text for a mismatch lies, from the data's start, 4 bytes.
pub(super) const CHECK_TEXT: usize = 16;
/// Where the digest lies, from the data's start, 4 bytes.
pub(super) const CHECK_DIGEST: usize = 20;
/// Bytes of a check.
pub(super) const CHECK_SIZE: usize = 24;

/// To reset, at [`ON_MISMATCH`].
pub(super) const RESET: u32 = 1;

/// Checks there can be: one for each segment.
const MOST_CHECKS: usize = SegmentKind::ALL.len();
/// No text is longer, in bytes with its end: see the test of it.
const LONGEST_TEXT: usize = 168;
const DIGEST_SIZE: usize = 32;
/// The data is never larger, in bytes.
pub(super) const MOST: usize = CHECKS + MOST_CHECKS * (CHECK_SIZE + LONGEST_TEXT + DIGEST_SIZE);
/// The bits that an offset of a text or a digest may have.
pub(super) const OFFSET_MASK: usize = MOST.next_power_of_two() - 1;

/// Flat code of 64 bits: present, ring 0, readable, accessed, long (AMD64 manual volume 2, 4.8.1).
pub(super) const CODE_64: u64 = 0x00af_9b00_0000_ffff;
/// Flat code of 32 bits, 4 GiB.
pub(super) const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
/// Flat data, 4 GiB, writable.
const DATA: u64 = 0x00cf_9300_0000_ffff;

/// The 64-bit entry lies this far behind the load address (boot.rst, "64-bit Boot Protocol").
const ENTRY_64_OFFSET: u64 = 0x200;

/// Appends the data to the code. `address` is where the code lies, `end` the page where the stack behind it all ends and the page tables begin.
/// None if an address wraps.
pub(super) fn append(
    bytes: &mut Vec<u8>,
    address: PhysAddr,
    end: PhysAddr,
    handover: &Handover,
    verification: &Verification,
) -> Option<()> {
    let start = bytes.len();
    bytes.resize(start + CHECKS, 0);
    let (code, exit_bits, entry_offset): (u64, u32, u64) = match handover.entry {
        Entry::Bits64 => (CODE_64, 64, ENTRY_64_OFFSET),
        Entry::Bits32 => (CODE_32, 32, 0),
    };
    let mut put = |offset: usize, value: &[u8]| {
        bytes[start + offset..start + offset + value.len()].copy_from_slice(value);
    };
    for (index, descriptor) in [0, 0, code, DATA, CODE_64].into_iter().enumerate() {
        put(8 * index, &u64::to_le_bytes(descriptor));
    }
    put(GDT_POINTER, &((8 * GDT_ENTRIES - 1) as u16).to_le_bytes());
    put(GDT_POINTER + 2, &address.checked_add(start as u64)?.0.to_le_bytes());
    put(BOOT_PARAMS, &handover.boot_params.0.to_le_bytes());
    put(KERNEL_ENTRY, &handover.kernel.checked_add(entry_offset)?.0.to_le_bytes());
    put(STACK, &end.0.to_le_bytes());
    put(TABLES, &end.0.to_le_bytes());
    put(EXIT_BITS, &exit_bits.to_le_bytes());
    if let Some(backup) = handover.backup {
        put(BACKUP_FROM, &backup.source.start().0.to_le_bytes());
        put(BACKUP_TO, &backup.target.0.to_le_bytes());
        put(BACKUP_SIZE, &backup.source.size().to_le_bytes());
    }
    if let Some(serial) = verification.serial {
        put(SERIAL_PORT, &u32::from(serial.port.get()).to_le_bytes());
        put(SERIAL_DIVISOR, &u32::from(serial.divisor.map_or(0, NonZeroU16::get)).to_le_bytes());
    }
    if verification.on_mismatch == OnMismatch::Reset {
        put(ON_MISMATCH, &RESET.to_le_bytes());
    }
    let Some(checks) = &verification.checks else { return Some(()) };
    if verification.greets {
        let verified = checks.iter().map(|check| check.memory.size()).sum();
        put(GREETING, greeting(verified).as_bytes());
    }
    put(CHECKS_SIZE, &((1 + checks.len()) * CHECK_SIZE).to_le_bytes()[..4]);
    append_checks(bytes, start, address, checks)
}

/// Appends the list of checks, their texts and digests to the code and the fields, which are complete.
fn append_checks(bytes: &mut Vec<u8>, start: usize, address: PhysAddr, checks: &[Check]) -> Option<()> {
    let count = 1 + checks.len();
    let texts = CHECKS + count * CHECK_SIZE;
    let digests = texts + count * LONGEST_TEXT;
    // The purgatory comes first, for it says where the others are.
    let own = Span::sized(address, (start + digests) as u64)?;
    let spans: Vec<(SegmentKind, Span)> = [(SegmentKind::Purgatory, own)]
        .into_iter()
        .chain(checks.iter().map(|check| (check.segment, check.memory)))
        .collect();
    for (index, (_, memory)) in spans.iter().enumerate() {
        bytes.extend_from_slice(&memory.start().0.to_le_bytes());
        bytes.extend_from_slice(&memory.size().to_le_bytes());
        bytes.extend_from_slice(&((texts + index * LONGEST_TEXT) as u32).to_le_bytes());
        bytes.extend_from_slice(&((digests + index * DIGEST_SIZE) as u32).to_le_bytes());
    }
    for (index, &(segment, memory)) in spans.iter().enumerate() {
        bytes.extend_from_slice(mismatch(segment, memory).as_bytes());
        bytes.resize(start + texts + (index + 1) * LONGEST_TEXT, 0);
    }
    let own = Digest::of(bytes);
    for digest in [own].into_iter().chain(checks.iter().map(|check| check.digest)) {
        digest.0.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    }
    Some(())
}

/// The text for a mismatch. A line end, as terminals want it, stands before it too: the crashed kernel may have been in the middle of a line.
fn mismatch(segment: SegmentKind, memory: Span) -> String {
    alloc::format!(
        "\r\nkexec-load: SHA-256 of the {segment} at {memory} does not match what was loaded: the capture kernel is not started\r\n"
    )
}

/// The text if all is well.
fn greeting(verified: u64) -> String {
    alloc::format!("\r\nkexec-load: verified {verified} bytes\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a text that runs into the next one, or past the data's room in the segment.
    #[test]
    fn every_text_fits_its_place_with_a_zero_behind() {
        let everywhere = Span::new(PhysAddr(u64::MAX - 1), PhysAddr(u64::MAX)).unwrap();
        for segment in SegmentKind::ALL {
            assert!(mismatch(segment, everywhere).len() < LONGEST_TEXT);
        }
        assert!(greeting(u64::MAX).len() < GREETING_MOST);
    }
}
