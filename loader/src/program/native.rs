//! The system calls of 64-bit programs, from whichever this one is.
//!
//! The i386 build jumps far into 64-bit user code (selector 0x33), makes the call with `syscall`, and jumps far back (0x23): see
//! `kexec_load::native` for why a kernel takes that. Both selectors have been the same in every kernel since x86_64 began
//! (arch/x86/include/asm/segment.h, __USER_CS and __USER32_CS). What else is known of this way:
//!
//! - The calls are judged by seccomp as x86_64's. The usual filter kills at the first call of an architecture that it does not name, and one
//!   that systemd makes for `SystemCallArchitectures=x86` is of that kind. Hence the try in a child (`possible`).
//! - A kernel that was booted with `ia32_emulation=0` never started this program.
//! - A 64-bit far *return* back to 32-bit code faulted under QEMU's `-cpu max`; far jumps through memory work wherever tried.

#[cfg(target_arch = "x86")]
pub(crate) use far::{call, possible};
#[cfg(target_arch = "x86_64")]
pub(crate) use own::{call, possible};

/// The calls that are made this way, with the numbers and names of arch/x86/entry/syscalls/syscall_64.tbl.
#[derive(Clone, Copy)]
pub(crate) enum Number {
    #[cfg(target_arch = "x86")]
    Getpid = 39,
    KexecLoad = 246,
    KexecFileLoad = 320,
}

#[cfg(target_arch = "x86_64")]
mod own {
    use super::Number;
    use kexec_load::native::NoNativeCall;
    use syscalls::{Errno, Sysno, syscall5};

    /// Makes a call with five arguments.
    ///
    /// # Safety
    /// The arguments must be what the call takes; whatever it reads or writes must be there for it.
    pub(crate) unsafe fn call(number: Number, arguments: [u64; 5]) -> Result<u64, Errno> {
        let number = match number {
            Number::KexecLoad => Sysno::kexec_load,
            Number::KexecFileLoad => Sysno::kexec_file_load,
        };
        // A word has 64 bits here.
        let [a, b, c, d, e] = arguments.map(|word| word as usize);
        // SAFETY: as the caller promises.
        unsafe { syscall5(number, a, b, c, d, e) }.map(|answer| answer as u64)
    }

    /// A 64-bit program's calls are its own.
    pub(crate) fn possible() -> Result<(), NoNativeCall> {
        Ok(())
    }
}

#[cfg(target_arch = "x86")]
mod far {
    use super::Number;
    use core::arch::global_asm;
    use core::mem::offset_of;
    use kexec_load::native::{self, NoNativeCall};
    use syscalls::{Errno, Sysno, syscall};

    /// What the 64-bit code is given and gives back. It knows no address but this one's.
    #[repr(C)]
    struct Block {
        /// rax: the call's number, then its answer.
        rax: u64,
        /// rdi, rsi, rdx, r10, r8.
        arguments: [u64; 5],
        /// A far pointer: where it jumps back to.
        back: u32,
        back_selector: u16,
    }

    /// The 32-bit user code segment, __USER32_CS.
    const USER32_CS: u16 = 0x23;
    /// The 64-bit user code segment, __USER_CS.
    const USER_CS: u16 = 0x33;

    global_asm!(
        ".globl kexec_load_far_call",
        ".hidden kexec_load_far_call",
        // The C calling convention: the block's address is on the stack; ebp, ebx, esi and edi are the caller's.
        "kexec_load_far_call:",
        "pushl %ebp",
        "pushl %ebx",
        "pushl %esi",
        "pushl %edi",
        "movl 20(%esp), %ebx",
        "movl $3f, {back}(%ebx)",
        "ljmpl ${user_cs}, $2f",
        ".code64",
        // The upper halves of registers are undefined after the switch (Intel SDM volume 1, 3.4.1.1).
        "2: movl %ebx, %ebx",
        "movq {rax}(%rbx), %rax",
        "movq {arguments}(%rbx), %rdi",
        "movq {arguments}+8(%rbx), %rsi",
        "movq {arguments}+16(%rbx), %rdx",
        "movq {arguments}+24(%rbx), %r10",
        "movq {arguments}+32(%rbx), %r8",
        "syscall",
        "movq %rax, {rax}(%rbx)",
        "ljmpl *{back}(%rbx)",
        ".code32",
        // AMD's sysret leaves SS with the attributes that it had in the kernel, which 64-bit code ignores and 32-bit code does not.
        "3: movl %ds, %eax",
        "movl %eax, %ss",
        "popl %edi",
        "popl %esi",
        "popl %ebx",
        "popl %ebp",
        "ret",
        back = const offset_of!(Block, back),
        rax = const offset_of!(Block, rax),
        arguments = const offset_of!(Block, arguments),
        user_cs = const USER_CS,
        options(att_syntax)
    );

    unsafe extern "C" {
        fn kexec_load_far_call(block: *mut Block);
    }

    /// Makes a call with five arguments.
    ///
    /// # Safety
    /// The arguments must be what the call takes; whatever it reads or writes must be there for it. `possible` must have said yes,
    /// or this is the child that finds out.
    pub(crate) unsafe fn call(number: Number, arguments: [u64; 5]) -> Result<u64, Errno> {
        let mut block = Block { rax: number as u64, arguments, back: 0, back_selector: USER32_CS };
        // SAFETY: the block lives until the call returns, and nothing else is touched but by the system call itself.
        unsafe { kexec_load_far_call(&raw mut block) };
        /// The highest errno that an answer can be (include/linux/err.h, MAX_ERRNO).
        const MAX_ERRNO: u64 = 4095;
        match block.rax.wrapping_neg() {
            errno @ 1..=MAX_ERRNO => Err(Errno::new(errno as i32)),
            _ => Ok(block.rax),
        }
    }

    /// Whether this kernel, this CPU and whatever watches over this process let the call through: a child makes the most harmless one.
    pub(crate) fn possible() -> Result<(), NoNativeCall> {
        /// No flags and no signal at the end: as fork(2), but the child is waited for even if SIGCHLD is ignored.
        const NO_FLAGS: usize = 0;
        /// Children without SIGCHLD are waited for too (include/uapi/linux/wait.h).
        const WALL: usize = 0x4000_0000;
        let no_child = |errno: Errno| NoNativeCall::NoChild { errno: errno.into_raw() };
        // SAFETY: without flags the child has a copy of all memory, and goes on behind the call on its own stack.
        let child = unsafe { syscall!(Sysno::clone, NO_FLAGS, 0, 0, 0, 0) }.map_err(no_child)?;
        if child == 0 {
            try_it();
        }
        let mut status = 0u32;
        loop {
            // SAFETY: the kernel writes the status alone.
            match unsafe { syscall!(Sysno::wait4, child, &raw mut status, WALL, 0) } {
                Ok(_) => return native::judge(status),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(no_child(errno)),
            }
        }
    }

    /// The child's part.
    fn try_it() -> ! {
        /// include/uapi/linux/prctl.h.
        const PR_SET_DUMPABLE: usize = 4;
        // If it is killed, no core file is left.
        // SAFETY: both calls take numbers and touch no memory.
        let (_, own) =
            unsafe { (syscall!(Sysno::prctl, PR_SET_DUMPABLE, 0, 0, 0, 0), syscall!(Sysno::getpid)) };
        // SAFETY: getpid takes nothing and touches no memory.
        let same = match (own, unsafe { call(Number::Getpid, [0; 5]) }) {
            (Ok(own), Ok(native)) => own as u64 == native,
            _ => false,
        };
        static_start::exit(if same { native::WORKS } else { native::WORKS + 1 })
    }
}
