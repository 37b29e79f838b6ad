//! Runs the purgatory's code of either mode in a test: in memory below 4 GiB, where it is copied to as it is for a load.
//!
//! 32-bit code runs in compatibility mode, which is what an i386 program runs in too, by a far return to the segment that Linux keeps for
//! those (__USER32_CS; it is there whether or not the kernel runs i386 programs). That needs no i386 target, no second program and
//! no emulator, so that it is always tested, on the machine's own idea of these instructions.

use core::arch::global_asm;
use rustix::mm::{MapFlags, ProtFlags};
use std::sync::{Mutex, MutexGuard};

global_asm!(
    r#"
    .pushsection .text.kexec_load_far_call, "ax", @progbits
    /* uint64_t call(uint32_t function, uint32_t stack), System V ABI: to 32-bit code, on a stack that holds its arguments. In the upper half of
   what it gives, bits of registers that the function should have left as they were. */
kexec_load_far_call:
    pushq   %rbx
    pushq   %rbp
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    movq    %rsp, 3f(%rip)
    movl    %edi, %eax
    movl    %esi, %esp
    pushq   $0x23                       /* __USER32_CS */
    leaq    1f(%rip), %rcx
    pushq   %rcx
    lretq
    .code32
1:  movl    $0x2b, %ecx                 /* __USER_DS; 64-bit programs have none */
    movl    %ecx, %ds
    movl    %ecx, %es
    movl    $0x11111111, %ebx
    movl    $0x22222222, %ebp
    movl    $0x44444444, %esi
    movl    $0x88888888, %edi
    calll   *%eax
    xorl    $0x11111111, %ebx
    xorl    $0x22222222, %ebp
    xorl    $0x44444444, %esi
    xorl    $0x88888888, %edi
    orl     %ebp, %ebx
    orl     %esi, %ebx
    orl     %edi, %ebx
    xorl    %ecx, %ecx
    movl    %ecx, %ds
    movl    %ecx, %es
    pushl   $0x33                       /* __USER_CS */
    calll   2f
2:  addl    $(4f-2b), (%esp)
    lretl
    .balign 8
3:  .quad   0
    .code64
4:  movq    3b(%rip), %rsp
    shlq    $32, %rbx
    movl    %eax, %eax
    orq     %rbx, %rax
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbp
    popq    %rbx
    ret
kexec_load_far_call_end:

/* uint64_t call(uint64_t function, const uint64_t arguments[3], uint64_t *changed), System V ABI: calls the function; bits of registers that
   it should have left as they were. */
kexec_load_near_call:
    pushq   %rbx
    pushq   %rbp
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    pushq   %rdx
    movq    %rdi, %rax
    movq    16(%rsi), %rdx
    movq    (%rsi), %rdi
    movq    8(%rsi), %rsi
    movq    $1, %rbx
    movq    $2, %rbp
    movq    $4, %r12
    movq    $8, %r13
    movq    $16, %r14
    movq    $32, %r15
    call    *%rax
    xorq    $1, %rbx
    xorq    $2, %rbp
    xorq    $4, %r12
    xorq    $8, %r13
    xorq    $16, %r14
    xorq    $32, %r15
    orq     %rbp, %rbx
    orq     %r12, %rbx
    orq     %r13, %rbx
    orq     %r14, %rbx
    orq     %r15, %rbx
    popq    %rdx
    movq    %rbx, (%rdx)
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbp
    popq    %rbx
    ret
    .popsection
    "#,
    options(att_syntax),
);

unsafe extern "C" {
    static kexec_load_far_call: [u8; 0];
    static kexec_load_far_call_end: [u8; 0];
    fn kexec_load_near_call(function: u64, arguments: *const [u64; 3], changed: *mut u64) -> u64;
}

/// A mode of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Bits32,
    Bits64,
}

/// Where it lies: low enough for 32 bits, and where neither programs nor the kernel put anything by themselves.
const START: usize = 0x4000_0000;
const SIZE: usize = 16 << 20;
/// The far call's code takes the first page; the stack ends at the second one's end.
const STACK_END: usize = START + 0x1_0000;
const FREE: usize = STACK_END;

/// Memory that can be written and run.
pub(super) struct Arena {
    _alone: MutexGuard<'static, ()>,
}

impl Arena {
    /// The only one there is at a time.
    pub(super) fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        // A test that failed meanwhile leaves nothing behind that another would mind.
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let all = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
        // SAFETY: the mapping replaces none, and is taken away again by `drop`.
        let mapped = unsafe { rustix::mm::mmap_anonymous(START as *mut _, SIZE, all, flags) };
        assert_eq!(mapped.expect("memory at 1 GiB") as usize, START);
        let start = (&raw const kexec_load_far_call).cast::<u8>();
        let size = &raw const kexec_load_far_call_end as usize - start as usize;
        let mut arena = Self { _alone: alone };
        // SAFETY: start and end are labels of one section, in this order, defined above.
        arena.put(START, unsafe { core::slice::from_raw_parts(start, size) });
        arena
    }

    /// The address of the byte so far behind the arena's own needs.
    pub(super) fn address(&self, offset: usize) -> usize {
        FREE + offset
    }

    /// Writes bytes to an address in it.
    pub(super) fn put(&mut self, address: usize, bytes: &[u8]) {
        self.bytes_at(address, bytes.len()).copy_from_slice(bytes);
    }

    /// Bytes at an address in it.
    pub(super) fn bytes_at(&mut self, address: usize, length: usize) -> &mut [u8] {
        assert!(START <= address && address + length <= START + SIZE, "{address:#x}, {length:#x}");
        // SAFETY: the memory is mapped as long as the arena lives, and borrowed with it.
        unsafe { core::slice::from_raw_parts_mut(address as *mut u8, length) }
    }

    /// Calls a C function in the arena which takes words. Panics if it changes a register that its caller wants back.
    ///
    /// # Safety
    /// There is such a function, of that mode, and it writes nothing outside of the arena.
    pub(super) unsafe fn call(&mut self, mode: Mode, function: usize, arguments: [usize; 3]) -> usize {
        match mode {
            Mode::Bits64 => {
                let mut changed = 0;
                let arguments = arguments.map(|word| word as u64);
                // SAFETY: the caller's; the words live until it returns.
                let answer =
                    unsafe { kexec_load_near_call(function as u64, &raw const arguments, &raw mut changed) };
                assert_eq!(changed, 0, "registers of the caller's");
                answer as usize
            }
            Mode::Bits32 => {
                let stack = STACK_END - 64;
                for (index, argument) in arguments.into_iter().enumerate() {
                    self.put(stack + 4 * index, &u32::try_from(argument).unwrap().to_le_bytes());
                }
                // SAFETY: the caller's, and the far call's own code, put there by `new`.
                let call: extern "sysv64" fn(u32, u32) -> u64 = unsafe { core::mem::transmute(START) };
                let answer = call(u32::try_from(function).unwrap(), stack as u32);
                assert_eq!(answer >> 32, 0, "registers of the caller's");
                answer as usize
            }
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; nothing borrows from it any more.
        unsafe { rustix::mm::munmap(START as *mut _, SIZE) }.unwrap();
    }
}
