//! Bounds that a process takes on for itself before it becomes the loader.

use alloc::format;
use guest_agent::circumstances::Bound;
use guest_agent::failure::Failure;
use syscalls::{Errno, Sysno, syscall};

/// PER_LINUX32 (include/uapi/linux/personality.h). It outlives execve, as setarch(8) relies on.
const PER_LINUX32: usize = 8;
/// PR_CAPBSET_DROP and PR_SET_SECCOMP (include/uapi/linux/prctl.h).
const PR_CAPBSET_DROP: usize = 24;
const PR_SET_SECCOMP: usize = 22;
/// CAP_SYS_BOOT (include/uapi/linux/capability.h). A program that root starts gets what the bounding set has (capabilities(7)).
const CAP_SYS_BOOT: usize = 22;
/// SECCOMP_MODE_FILTER (include/uapi/linux/seccomp.h).
const SECCOMP_MODE_FILTER: usize = 2;

/// An instruction of classic BPF: `struct sock_filter` (include/uapi/linux/filter.h).
#[repr(C)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

/// `struct sock_fprog` (include/uapi/linux/filter.h).
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// AUDIT_ARCH_X86_64 (include/uapi/linux/audit.h).
const X86_64: u32 = 0xc000_003e;

const fn instruction(code: u16, if_false: u8, k: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false, k }
}

/// Kills the process at a system call of x86_64, and allows every other.
const NO_NATIVE_CALLS: [Instruction; 4] = [
    // BPF_LD | BPF_W | BPF_ABS: the architecture, at offset 4 of `struct seccomp_data`.
    instruction(0x20, 0, 4),
    // BPF_JMP | BPF_JEQ | BPF_K: else over the next.
    instruction(0x15, 1, X86_64),
    // BPF_RET | BPF_K: SECCOMP_RET_KILL_PROCESS.
    instruction(0x06, 0, 0x8000_0000),
    // SECCOMP_RET_ALLOW.
    instruction(0x06, 0, 0x7fff_0000),
];

/// Takes on the bound, for this process and all that it becomes.
pub(super) fn take_on(bound: Bound) -> Result<(), Errno> {
    let program = Program { length: NO_NATIVE_CALLS.len() as u16, instructions: NO_NATIVE_CALLS.as_ptr() };
    // SAFETY: the first two take numbers. The filter is read while it lives, and holds no more instructions than it says.
    unsafe {
        match bound {
            Bound::PerLinux32 => syscall!(Sysno::personality, PER_LINUX32),
            Bound::NoCapSysBoot => syscall!(Sysno::prctl, PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0),
            Bound::NoNativeCalls => {
                syscall!(Sysno::prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program, 0, 0)
            }
        }
    }
    .map(drop)
}

/// No such system call (include/uapi/asm-generic/errno.h).
const ENOSYS: i32 = 38;

/// Whether the kernel has kexec_load(2). Flags that no kernel knows are refused before anything is done (kernel/kexec_core.c and
/// kernel/kexec.c, `kexec_load_check`), by another error than that of a call that is not there.
pub(crate) fn has_kexec_load() -> bool {
    const UNKNOWN_FLAGS: usize = 0x0000_8000;
    // SAFETY: no segments are passed, so no memory of ours is touched.
    let answer = unsafe { syscall!(Sysno::kexec_load, 0, 0, 0, UNKNOWN_FLAGS) };
    answer.err().map(|error| error.into_raw()) != Some(ENOSYS)
}

/// CPUs that the mask below has room for.
const MASK_BITS: usize = usize::BITS as usize;

/// Binds this process to one CPU: it runs there when this returns.
pub(crate) fn to_cpu(cpu: u32) -> Result<(), Failure> {
    let failed = |error| Failure::errno(format!("run on CPU {cpu}"), error);
    let number = usize::try_from(cpu).unwrap_or(usize::MAX);
    if number >= MASK_BITS {
        return Err(Failure::new(format!("CPU {cpu} is beyond the {MASK_BITS} that can be named")));
    }
    let mask = 1_usize << number;
    // SAFETY: sched_setaffinity(2) reads as many bytes as the mask has, and it lives until the call returns; 0 is the caller.
    unsafe { syscall!(Sysno::sched_setaffinity, 0, size_of::<usize>(), core::ptr::from_ref(&mask)) }
        .map(drop)
        .map_err(|error| failed(guest_agent::failure::Errno(error.into_raw())))
}
