//! The purgatory: the code between the crashed kernel's jump and the capture kernel's entry.
//!
//! It is one position-independent blob with two entries and two exits:
//!
//! ```text
//! x86_64 kernel -> entry64 (long mode, identity map) --+--> 64-bit exit: CS 0x10 64-bit, rsi = boot_params, jump to +0x200
//!                                                      +--> mode drop --+
//! i386 kernel   -> entry32 (protected mode, no paging) -----------------+--> 32-bit exit: CS 0x10 32-bit, DS 0x18,
//!                                                                            esi = boot_params, jump to +0
//! ```
//!
//! States at the exits: boot.rst, "32-bit Boot Protocol" and "64-bit Boot Protocol". It uses no SSE (CR4.OSFXSR is clear at
//! the jump), no interrupts (there is no IDT), and reads nothing from the stack that it is given (undefined since Linux 6.14).

use crate::addr::PhysAddr;
use crate::rule::{Arch, Entry};
use alloc::vec::Vec;
use core::arch::global_asm;

global_asm!(
    r#"
    .pushsection .rodata.kexec_load_purgatory, "a", @progbits
    .balign 16
    .globl kexec_load_purgatory_start, kexec_load_purgatory_entry32
    .globl kexec_load_purgatory_parameters, kexec_load_purgatory_end
    .hidden kexec_load_purgatory_start, kexec_load_purgatory_entry32
    .hidden kexec_load_purgatory_parameters, kexec_load_purgatory_end

kexec_load_purgatory_start:
    .code64
    cli
    cld
    lgdt    (70f + {gdt_pointer})(%rip)
    movl    ${data_selector}, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %fs
    movl    %eax, %gs
    movl    %eax, %ss
    leaq    80f(%rip), %rsp
    leaq    kexec_load_purgatory_start(%rip), %rbx

    /* The segments are not verified. A digest over them belongs here: there is a stack, and nothing is given up yet. */

    cmpl    $64, (70f + {exit_bits})(%rip)
    jne     20f

    /* 64-bit exit. The far return loads CS from the new table. */
    pushq   ${code_selector}
    leaq    10f(%rip), %rax
    pushq   %rax
    lretq
10: movq    (70f + {boot_params})(%rip), %rsi
    movq    (70f + {kernel_entry})(%rip), %rax
    xorl    %ebx, %ebx
    xorl    %ecx, %ecx
    xorl    %edx, %edx
    xorl    %edi, %edi
    xorl    %ebp, %ebp
    jmpq    *%rax

    /* Mode drop. CS becomes a 32-bit segment (compatibility mode), then paging and long mode go. */
20: pushq   ${code_selector}
    leaq    30f(%rip), %rax
    pushq   %rax
    lretq
    .code32
30: movl    %cr0, %eax
    andl    $0x7fffffff, %eax           /* CR0.PG */
    movl    %eax, %cr0
    movl    $0xc0000080, %ecx           /* EFER */
    rdmsr
    andl    $~0x100, %eax               /* EFER.LME */
    wrmsr
    xorl    %eax, %eax
    movl    %eax, %cr4                  /* PAE and LA57 */
    jmp     50f

kexec_load_purgatory_entry32:
    cli
    cld
    call    40f
40: popl    %ebx
    subl    $(40b - kexec_load_purgatory_start), %ebx
    lgdt    (70f + {gdt_pointer} - kexec_load_purgatory_start)(%ebx)
    movl    ${data_selector}, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %fs
    movl    %eax, %gs
    movl    %eax, %ss
    leal    (80f - kexec_load_purgatory_start)(%ebx), %esp

    /* The same place for an i386 kernel. */

    pushl   ${code_selector}
    leal    (50f - kexec_load_purgatory_start)(%ebx), %eax
    pushl   %eax
    lretl

    /* 32-bit exit. EBX still holds the blob's address. */
50: leal    (80f - kexec_load_purgatory_start)(%ebx), %esp
    movl    (70f + {boot_params} - kexec_load_purgatory_start)(%ebx), %esi
    movl    (70f + {kernel_entry} - kexec_load_purgatory_start)(%ebx), %eax
    xorl    %ebx, %ebx
    xorl    %ecx, %ecx
    xorl    %edx, %edx
    xorl    %edi, %edi
    xorl    %ebp, %ebp
    jmpl    *%eax

    .balign 8
kexec_load_purgatory_parameters:
70: .skip   {parameters_size}
    .balign 16
    .skip   {stack_size}
80:
kexec_load_purgatory_end:
    .popsection
    "#,
    gdt_pointer = const GDT_POINTER,
    boot_params = const BOOT_PARAMS,
    kernel_entry = const KERNEL_ENTRY,
    exit_bits = const EXIT_BITS,
    parameters_size = const PARAMETERS_SIZE,
    stack_size = const STACK_SIZE,
    code_selector = const CODE_SELECTOR,
    data_selector = const DATA_SELECTOR,
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
    static kexec_load_purgatory_parameters: [u8; 0];
    static kexec_load_purgatory_end: [u8; 0];
}

/// `__BOOT_CS` of the boot protocol.
const CODE_SELECTOR: u16 = 0x10;
/// `__BOOT_DS`.
const DATA_SELECTOR: u16 = 0x18;
/// The stack for the mode changes, with room for a digest over the segments, in bytes.
const STACK_SIZE: usize = 4096;

// The parameters: the GDT (four entries of 8 bytes), the pointer for `lgdt` (limit, 2 bytes; address, 8 bytes, of which
// 32-bit code reads 4), and the values below.
const GDT_ENTRIES: usize = 4;
const GDT_POINTER: usize = 8 * GDT_ENTRIES;
const BOOT_PARAMS: usize = 48;
const KERNEL_ENTRY: usize = 56;
const EXIT_BITS: usize = 64;
const PARAMETERS_SIZE: usize = 72;

/// Flat code of 64 bits: present, ring 0, readable, accessed, long (AMD64 manual volume 2, 4.8.1).
const CODE_64: u64 = 0x00af_9b00_0000_ffff;
/// Flat code of 32 bits, 4 GiB.
const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
/// Flat data, 4 GiB, writable.
const DATA: u64 = 0x00cf_9300_0000_ffff;

/// The 64-bit entry lies this far behind the load address (boot.rst, "64-bit Boot Protocol").
const ENTRY_64_OFFSET: u64 = 0x200;

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
}

/// The size of the purgatory in bytes.
pub fn size() -> usize {
    blob().len()
}

/// The purgatory for an address, and the address that the kernel must jump to. None if an address wraps.
pub fn build(address: PhysAddr, handover: &Handover) -> Option<(Vec<u8>, PhysAddr)> {
    let mut bytes = blob().to_vec();
    let parameters = parameters_offset();
    let (code, exit_bits, entry_offset): (u64, u32, u64) = match handover.entry {
        Entry::Bits64 => (CODE_64, 64, ENTRY_64_OFFSET),
        Entry::Bits32 => (CODE_32, 32, 0),
    };
    let mut put = |offset: usize, value: &[u8]| {
        bytes[parameters + offset..parameters + offset + value.len()].copy_from_slice(value);
    };
    for (index, descriptor) in [0, 0, code, DATA].into_iter().enumerate() {
        put(8 * index, &u64::to_le_bytes(descriptor));
    }
    put(GDT_POINTER, &((8 * GDT_ENTRIES - 1) as u16).to_le_bytes());
    put(GDT_POINTER + 2, &address.checked_add(parameters as u64)?.0.to_le_bytes());
    put(BOOT_PARAMS, &handover.boot_params.0.to_le_bytes());
    put(KERNEL_ENTRY, &handover.kernel.checked_add(entry_offset)?.0.to_le_bytes());
    put(EXIT_BITS, &exit_bits.to_le_bytes());
    let start = match handover.running {
        Arch::X86_64 => 0,
        Arch::I386 => entry32_offset() as u64,
    };
    Some((bytes, address.checked_add(start)?))
}

/// The blob as it was assembled, parameters empty.
fn blob() -> &'static [u8] {
    let start = (&raw const kexec_load_purgatory_start).cast::<u8>();
    // SAFETY: start and end are labels of one section of read-only data, in this order, defined above.
    unsafe { core::slice::from_raw_parts(start, offset_of_label(&raw const kexec_load_purgatory_end)) }
}

fn entry32_offset() -> usize {
    offset_of_label(&raw const kexec_load_purgatory_entry32)
}

fn parameters_offset() -> usize {
    offset_of_label(&raw const kexec_load_purgatory_parameters)
}

fn offset_of_label(label: *const [u8; 0]) -> usize {
    label as usize - (&raw const kexec_load_purgatory_start) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{u16_at, u32_at, u64_at};

    const AT: PhysAddr = PhysAddr(0x8aff_d000);

    fn handover(running: Arch, entry: Entry) -> Handover {
        Handover { running, entry, kernel: PhysAddr(0x7b00_0000), boot_params: PhysAddr(0x8aff_9000) }
    }

    /// Catches an entry of the wrong mode, a code segment that does not fit the exit, and an exit at the wrong offset.
    #[test]
    fn every_pair_gets_its_entry_and_exit() {
        use Entry::{Bits32, Bits64};
        let cases = [
            (Arch::X86_64, Bits64, 0, CODE_64, 0x7b00_0200, 64),
            (Arch::X86_64, Bits32, 0, CODE_32, 0x7b00_0000, 32),
            (Arch::I386, Bits32, entry32_offset(), CODE_32, 0x7b00_0000, 32),
        ];
        for (running, entry, start, code, jump, bits) in cases {
            let (bytes, begin) = build(AT, &handover(running, entry)).unwrap();
            let at = parameters_offset();
            assert_eq!(begin.0, AT.0 + start as u64);
            assert_eq!(u64_at(&bytes, at + 16), Some(code));
            assert_eq!(u64_at(&bytes, at + KERNEL_ENTRY), Some(jump));
            assert_eq!(u64_at(&bytes, at + BOOT_PARAMS), Some(0x8aff_9000));
            assert_eq!(u32_at(&bytes, at + EXIT_BITS), Some(bits));
            assert_eq!(u16_at(&bytes, at + GDT_POINTER), Some(31));
            assert_eq!(u64_at(&bytes, at + GDT_POINTER + 2), Some(AT.0 + at as u64));
        }
    }

    /// The blob holds code for both modes and its parameters, whatever this program was built for.
    #[test]
    fn the_blob_is_whole() {
        let bytes = blob();
        assert_eq!(bytes[..2], [0xfa, 0xfc], "cli, cld");
        assert_eq!(bytes[entry32_offset()..][..2], [0xfa, 0xfc], "cli, cld");
        assert!(parameters_offset() + PARAMETERS_SIZE + STACK_SIZE <= bytes.len());
        assert!(
            bytes[parameters_offset()..].iter().all(|&byte| byte == 0),
            "nothing is patched by the linker"
        );
    }

    #[test]
    fn an_address_that_wraps_gives_none() {
        assert_eq!(build(PhysAddr(u64::MAX - 10), &handover(Arch::X86_64, Entry::Bits64)), None);
    }
}
