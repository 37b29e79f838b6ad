//! The purgatory: the code between the crashed kernel's jump and the capture kernel's entry.
//!
//! It is one position-independent blob with two entries and two exits:
//!
//! ```text
//! x86_64 kernel -> entry64 (long mode, identity map) --+-> verify, save --+--> 64-bit exit: CS 0x10 64-bit, rsi = boot_params,
//!                            climb to long mode -------+                  |    jump to +0x200
//! i386 kernel   -> entry32 --+                                            +--> mode drop --+
//!   (protected mode,         +--> verify, save in 32-bit mode -----------------------------+--> 32-bit exit: CS 0x10 32-bit,
//!    no paging)                                                                DS 0x18, esi = boot_params, jump to +0
//! ```
//!
//! An i386 kernel on a CPU with long mode is left for that mode too: the digests take a third of the time there, and the way down is the
//! same as an x86_64 kernel's to an i386 one.
//!
//! It verifies the SHA-256 of what was loaded (`verification` decides of what), and stops the machine rather than start a capture kernel that was
//! damaged: one that writes a dump over the wrong partition is worse than none. Then it copies low memory into the backup segment, if there is one,
//! and hands over.
//!
//! States at the exits: boot.rst, "32-bit Boot Protocol" and "64-bit Boot Protocol". It uses no SSE (CR4.OSFXSR is clear at
//! the jump), no interrupts (there is no IDT), and reads nothing from the stack that it is given (undefined since Linux 6.14).
//!
//! The code lies in `.text`, so that this program can also call it: the digests of a load are computed by the very code that verifies
//! them at the panic.

mod data;

use crate::addr::{PAGE, PhysAddr};
use crate::backup::Saved;
use crate::rule::{Arch, Entry};
use crate::verification::Verification;
use alloc::vec::Vec;
use core::arch::global_asm;

global_asm!(
    ".pushsection .text.kexec_load_purgatory, \"ax\", @progbits",
    ".balign 64",
    include_str!("purgatory/jump.s"),
    include_str!("purgatory/stop.s"),
    include_str!("purgatory/verify.s"),
    include_str!("purgatory/sha256_64.s"),
    include_str!("purgatory/sha256_32.s"),
    include_str!("purgatory/constants.s"),
    ".balign 16",
    "kexec_load_purgatory_data:",
    ".Ldata:",
    ".popsection",
    gdt_pointer = const data::GDT_POINTER,
    boot_params = const data::BOOT_PARAMS,
    kernel_entry = const data::KERNEL_ENTRY,
    stack = const data::STACK,
    tables = const data::TABLES,
    backup_from = const data::BACKUP_FROM,
    backup_to = const data::BACKUP_TO,
    backup_size = const data::BACKUP_SIZE,
    exit_bits = const data::EXIT_BITS,
    serial_port = const data::SERIAL_PORT,
    serial_divisor = const data::SERIAL_DIVISOR,
    on_mismatch = const data::ON_MISMATCH,
    reset = const data::RESET,
    checks_size = const data::CHECKS_SIZE,
    greeting = const data::GREETING,
    checks = const data::CHECKS,
    check_address = const data::CHECK_ADDRESS,
    check_length = const data::CHECK_LENGTH,
    check_text = const data::CHECK_TEXT,
    check_digest = const data::CHECK_DIGEST,
    check_size = const data::CHECK_SIZE,
    most = const data::MOST,
    offset_mask = const data::OFFSET_MASK,
    code_selector = const data::CODE_SELECTOR,
    data_selector = const data::DATA_SELECTOR,
    climb_selector = const data::CLIMB_SELECTOR,
    options(att_syntax),
);

#[cfg(target_arch = "x86")]
global_asm!(
    ".pushsection .text.kexec_load_sha256_any, \"ax\", @progbits",
    include_str!("purgatory/far.s"),
    ".popsection",
    options(att_syntax),
);

// The assembler goes on in this program's own mode.
#[cfg(target_arch = "x86_64")]
global_asm!(".code64");
#[cfg(target_arch = "x86")]
global_asm!(".code32");

unsafe extern "C" {
    static kexec_load_purgatory_start: [u8; 0];
    static kexec_load_purgatory_entry32: [u8; 0];
    static kexec_load_purgatory_data: [u8; 0];

    #[cfg(target_arch = "x86_64")]
    #[link_name = "kexec_load_sha256_64"]
    fn kexec_load_sha256(digest: *mut [u32; 8], message: *const u8, length: usize);
    #[cfg(target_arch = "x86")]
    #[link_name = "kexec_load_sha256_any"]
    fn kexec_load_sha256(digest: *mut [u32; 8], message: *const u8, length: usize);
}

/// Room for the frames of the deepest calls, in bytes: the digest's in 32-bit mode takes 720, and up to 511 for its alignment.
const STACK_SIZE: usize = 4096;
// Whatever the code makes of a changed offset lies in the purgatory, with the text or the digest that begins there.
const _: () = assert!(data::OFFSET_MASK + 256 <= data::MOST + STACK_SIZE);

/// What the purgatory is to hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Architecture of the kernel that jumps to it.
    pub running: Arch,
    /// The capture kernel's entry to use.
    pub entry: Entry,
    /// Where the capture kernel is loaded.
    pub kernel: PhysAddr,
    /// Where boot_params lies.
    pub boot_params: PhysAddr,
    /// What is copied before.
    pub backup: Option<Saved>,
}

/// Page tables that map 4 GiB in pages of 2 MiB, in bytes: one of each upper level, four of the lowest.
const TABLES_SIZE: usize = 6 * PAGE as usize;

/// The most memory that a purgatory takes, in bytes. Only its first part is loaded; stack and page tables, which an i386 kernel's
/// alone needs, are among the zeros that the kernel fills a segment up with.
pub fn size(running: Arch) -> usize {
    match running {
        Arch::I386 => stack_end() + TABLES_SIZE,
        Arch::X86_64 => stack_end(),
    }
}

/// Where the stack ends, in bytes from the start.
fn stack_end() -> usize {
    (code().len() + data::MOST + STACK_SIZE).next_multiple_of(PAGE as usize)
}

/// The purgatory for the address of a page, and the address that the kernel must jump to. None if an address wraps.
pub fn build(
    address: PhysAddr,
    handover: &Handover,
    verification: &Verification,
) -> Option<(Vec<u8>, PhysAddr)> {
    let mut bytes = code().to_vec();
    let end = address.checked_add(stack_end() as u64)?;
    data::append(&mut bytes, address, end, handover, verification)?;
    let start = match handover.running {
        Arch::X86_64 => 0,
        Arch::I386 => offset_of_label(&raw const kexec_load_purgatory_entry32) as u64,
    };
    Some((bytes, address.checked_add(start)?))
}

/// SHA-256 of the message.
pub(crate) fn sha256(message: &[u8]) -> [u32; 8] {
    let mut digest = [0; 8];
    // SAFETY: the function reads the message and writes the eight words of the digest. Its 32-bit form walks its stack pointer up its
    // frame; this program handles no signals, which would overwrite what lies below.
    unsafe { kexec_load_sha256(&raw mut digest, message.as_ptr(), message.len()) };
    digest
}

/// The code as it was assembled, to which nothing is linked.
fn code() -> &'static [u8] {
    let start = (&raw const kexec_load_purgatory_start).cast::<u8>();
    // SAFETY: start and data are labels of one section, in this order, defined above.
    unsafe { core::slice::from_raw_parts(start, offset_of_label(&raw const kexec_load_purgatory_data)) }
}

fn offset_of_label(label: *const [u8; 0]) -> usize {
    label as usize - (&raw const kexec_load_purgatory_start) as usize
}

#[cfg(test)]
mod arena;
#[cfg(test)]
#[path = "purgatory/tests.rs"]
mod tests;
