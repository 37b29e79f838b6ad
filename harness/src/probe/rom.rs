//! The probe's guest as the content of a ROM, for QEMU's `-bios`.
//!
//! A ROM, and not a kernel image: QEMU starts it at the reset vector, so neither firmware nor one of QEMU's kernel loaders has a
//! part in what is timed or in whether it starts, and `-bios` has been the same for as long as there is QEMU.

use std::sync::LazyLock;

/// Size of the ROM: the smallest that QEMU's pc machine takes, which wants multiples of 64 KiB (hw/i386/x86.c,
/// `x86_bios_rom_init`).
const SIZE: usize = 64 << 10;
/// Where it lies: QEMU puts its end at 4 GiB.
const ROM: u32 = 0xffff_0000;
/// Where the CPU begins: 16 bytes before 4 GiB (Intel SDM volume 3A, 11.1.4), with CS based at the last 64 KiB.
const RESET_VECTOR: usize = SIZE - 16;
/// `jmp` with a 16-bit distance, from the reset vector to the ROM's first byte: 0xfff3 + 0xd wraps to 0.
const JUMP_TO_BEGIN: [u8; 3] = [0xe9, 0x0d, 0x00];
/// What lies between code and reset vector: `hlt`.
const FILL: u8 = 0xf4;

/// Where the guest copies itself to. Below 1 MiB, as real kernels begin, and where no A20 gate is in the way.
const IMAGE: u32 = 0x1_0000;
/// Its page tables: PML4, PDPT, PD of the first GiB, PD of the window, and the window's page table, a page each.
const PML4: u32 = 0x2_0000;
/// The window's page table.
const WINDOW_PT: u32 = PML4 + 0x4000;
/// Linear address of the window: the second GiB.
const WINDOW: u32 = 1 << 30;
/// Frames behind the window's 512 pages: 2 MiB.
const FRAMES: u32 = 8 << 20;
/// Where text is decompressed to, cleared and copied: twice [`BULK`], or 3 bytes a symbol.
const BUFFER: u32 = 4 << 20;
/// Bytes that a round clears, and bytes that it copies.
const BULK: u32 = 256 << 10;
/// Where code that runs once is written to.
const CODE: u32 = 2 << 20;
/// RAM that the guest must have, in MiB: the window's frames are the last that it touches.
pub(super) const MEMORY_MIB: u32 = 16;

/// How often the whole work is done: so often that it takes half a second under TCG on the reference host, long enough to be
/// told from the rig's own delays and short enough to be done at the start of every run.
const ROUNDS: u32 = 130;
// The shares below make a round of what a boot consists of, by time under TCG: two fifths translating code that runs once, two
// fifths decompression, the rest memory and page tables. A working KVM does all of it about ten times as fast, also one in a
// virtual machine, where leaving the guest costs twenty microseconds: what leaves it is the least.
/// Decompressor's steps in a round.
const SYMBOLS: u32 = 300_000;
/// Pieces of code in a round that are written, run once and overwritten: 41 bytes each.
const COPIES: u32 = 40;
/// Page faults in a round, each in a page of its own; at most the window's 512.
const FAULTS: u32 = 128;
/// Groups of privileged instructions in a round: each a CR3 switch, two CPUID, three MSR accesses, two port accesses and two traps.
/// All but traps and CR3 leave the guest under KVM, the ports as far as QEMU.
const PRIVILEGED: u32 = 8;

/// Exceptions that a guest has taken at its end when all went as it must.
pub(super) const EXCEPTIONS: u32 = ROUNDS * (FAULTS + 2 * PRIVILEGED);
/// The line that it says when it begins.
pub(super) const SAYS_BEGIN: &str = "kdump-rig probe: begin";
/// What the line that it says at its end begins with; the number of exceptions follows, in hexadecimal.
pub(super) const SAYS_END: &str = "kdump-rig probe: end ";

// What lies where does not overlap, or this does not compile.
const _: () = {
    assert!(WINDOW_PT + 4096 < CODE && CODE + COPIES * 64 < BUFFER - 4096);
    assert!(2 * BULK <= FRAMES - BUFFER && 3 * SYMBOLS + 8 <= FRAMES - BUFFER);
    assert!(FAULTS <= 512 && FRAMES + 512 * 4096 <= MEMORY_MIB << 20);
};

// The guest's code, in a section of its own of this program: never run here, only copied. The toolchain that builds the rig
// assembles it, so no other assembler is needed and no binary lies in the tree.
std::arch::global_asm!(
    include_str!("guest.s"),
    ROM = const ROM,
    IMAGE = const IMAGE,
    PML4 = const PML4,
    WINDOW_PT = const WINDOW_PT,
    WINDOW = const WINDOW,
    FRAMES = const FRAMES,
    BUFFER = const BUFFER,
    BULK = const BULK,
    CODE = const CODE,
    ROUNDS = const ROUNDS,
    SYMBOLS = const SYMBOLS,
    COPIES = const COPIES,
    FAULTS = const FAULTS,
    PRIVILEGED = const PRIVILEGED,
    options(att_syntax)
);

unsafe extern "C" {
    // Declared as bytes: only their addresses are used.
    static kdump_rig_probe_begin: u8;
    static kdump_rig_probe_end: u8;
}

/// The guest's code and data.
fn image() -> &'static [u8] {
    let (begin, end) = (&raw const kdump_rig_probe_begin, &raw const kdump_rig_probe_end);
    // SAFETY: guest.s defines both labels in one read-only section, the first before the second, with initialised bytes between
    // them that nothing writes to.
    unsafe { std::slice::from_raw_parts(begin, end.addr() - begin.addr()) }
}

/// The ROM's bytes.
pub(super) fn rom() -> &'static [u8] {
    static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut rom = vec![FILL; SIZE];
        let image = image();
        rom[..image.len()].copy_from_slice(image);
        rom[RESET_VECTOR..][..JUMP_TO_BEGIN.len()].copy_from_slice(&JUMP_TO_BEGIN);
        rom
    });
    &WHOLE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: the image grows over the reset vector, or into its own page tables, and the guest is a machine that resets for ever.
    #[test]
    fn the_image_has_its_place() {
        assert!(image().len() < RESET_VECTOR && image().len() < (PML4 - IMAGE) as usize, "{}", image().len());
        assert_eq!(image().len() % 4, 0, "it is copied in words of 4 bytes");
    }

    /// Bug: an address that the assembler left to the linker; or a descriptor that the CPU would have to mark as accessed, which a
    /// table in ROM cannot be: a KVM that emulates the far jump then never gets beyond it, working or not.
    #[test]
    fn the_first_steps_stay_in_rom() {
        // lgdtl %cs:disp16, and ljmpl $0x08, $address.
        let after =
            |code: &[u8]| image().windows(code.len()).position(|bytes| bytes == code).unwrap() + code.len();
        let word = |at: usize| usize::from(u16::from_le_bytes(image()[at..][..2].try_into().unwrap()));
        let in_rom = |at: usize| (u32::from_le_bytes(image()[at..][..4].try_into().unwrap()) - ROM) as usize;
        let pointer = word(after(&[0x2e, 0x66, 0x0f, 0x01, 0x16]));
        let (size, table) = (word(pointer) + 1, in_rom(pointer + 2));
        let descriptors = image()[table..][..size].chunks(8).skip(1);
        assert_eq!(descriptors.len(), 3);
        descriptors.for_each(|descriptor| assert_eq!(descriptor[5] & 1, 1, "{descriptor:02x?}"));
        let jump = after(&[0x66, 0xea]);
        assert!(in_rom(jump) < image().len() && word(jump + 4) == 0x08);
    }

    /// Bug: the texts that the rig waits for are not those that the guest says, so that every probe is a miss.
    #[test]
    fn the_guest_says_what_is_awaited() {
        let says = |text: &str| image().windows(text.len()).any(|bytes| bytes == text.as_bytes());
        assert!(says(&format!("{SAYS_BEGIN}\n\0")) && says(&format!("{SAYS_END}\0")));
    }
}
