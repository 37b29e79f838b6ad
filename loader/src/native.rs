//! Whether a 32-bit program can make the system calls of 64-bit ones, by what a try in a child process came to.
//!
//! An x86_64 kernel tells a process's calls apart by the instruction, not by the process: `int $0x80` is a compat call, and
//! `syscall` out of 64-bit code is a native one (arch/x86/entry). The 64-bit user code segment is there for every process. So a 32-bit
//! program that jumps into it can make the kexec_load call whose addresses have 64 bits. What may stand against it: a filter of
//! seccomp, which judges native calls apart from compat calls (a filter of the usual kind kills at the first of another
//! architecture); a hypervisor that has other selectors, or a kernel that will close this way. Only a try can tell.

use crate::addr::PhysAddr;
use crate::rule::{Arch, Reach};
use core::fmt;

/// How far the addresses go of the call that this program makes, for a region with this last byte. The try is made where it decides
/// something: nobody's seccomp filter shall kill a child for nothing.
pub fn reach(
    userspace: Arch,
    running: Arch,
    compat_call: bool,
    region_last: PhysAddr,
    try_it: impl FnOnce() -> Result<(), NoNativeCall>,
) -> Reach {
    match (userspace, running) {
        (Arch::X86_64, _) => Reach::Bits64,
        (Arch::I386, Arch::X86_64) if !compat_call && region_last > PhysAddr::LAST_32BIT => match try_it() {
            Ok(()) => Reach::Bits64,
            Err(why) => Reach::Bits32(Some(why)),
        },
        (Arch::I386, _) => Reach::Bits32(None),
    }
}

/// Why the native call cannot be made: what became of the child that tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoNativeCall {
    /// There was no child.
    NoChild {
        /// errno of fork(2) or wait4(2).
        errno: i32,
    },
    /// It was killed.
    Killed {
        /// The signal.
        signal: u8,
    },
    /// The call was made and did not do what it does.
    WrongAnswer,
}

/// Status with which the child ends when the native call did what it does.
pub const WORKS: u8 = 0;

/// What the child's wait status (wait(2), include/uapi/linux/wait.h) says.
pub const fn judge(wait_status: u32) -> Result<(), NoNativeCall> {
    /// The low seven bits are the signal that killed the process, zero if none did, and the second byte is its exit status.
    const SIGNAL: u32 = 0x7f;
    match (wait_status & SIGNAL, wait_status >> 8 & 0xff) {
        (0, status) if status == WORKS as u32 => Ok(()),
        (0, _) => Err(NoNativeCall::WrongAnswer),
        (signal, _) => Err(NoNativeCall::Killed { signal: signal as u8 }),
    }
}

impl fmt::Display for NoNativeCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Bad system call, asm-generic/signal.h: what seccomp kills with.
        const SIGSYS: u8 = 31;
        match self {
            Self::NoChild { errno } => write!(f, "no child could try it (errno {errno})"),
            Self::Killed { signal: SIGSYS } => f.write_str("a seccomp filter killed the child that tried it"),
            Self::Killed { signal } => write!(f, "signal {signal} killed the child that tried it"),
            Self::WrongAnswer => {
                f.write_str("it was answered wrongly (a seccomp filter, or a hypervisor of its own kind?)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a try that is made where it is not needed, or not wanted, or on a kernel that has no 64-bit code; and its answer turned round.
    #[test]
    fn the_native_call_is_tried_where_it_is_needed() {
        use Arch::{I386, X86_64};
        let (low, high) = (PhysAddr(0xffff_ffff), PhysAddr(0x1_0000_0000));
        let never = || panic!("tried");
        assert_eq!(reach(X86_64, X86_64, false, high, never), Reach::Bits64);
        assert_eq!(reach(I386, X86_64, false, low, never), Reach::Bits32(None));
        assert_eq!(reach(I386, X86_64, true, high, never), Reach::Bits32(None));
        assert_eq!(reach(I386, I386, false, high, never), Reach::Bits32(None));
        assert_eq!(reach(I386, X86_64, false, high, || Ok(())), Reach::Bits64);
        let killed = NoNativeCall::Killed { signal: 31 };
        assert_eq!(reach(I386, X86_64, false, high, || Err(killed)), Reach::Bits32(Some(killed)));
    }

    /// Catches a killed child that counts as one that ended well, and a core dump's bit in the signal's number.
    #[test]
    fn only_a_child_that_ended_well_proves_anything() {
        assert_eq!(judge(0), Ok(()));
        assert_eq!(judge(1 << 8), Err(NoNativeCall::WrongAnswer));
        assert_eq!(judge(11), Err(NoNativeCall::Killed { signal: 11 }));
        assert_eq!(judge(0x80 | 31), Err(NoNativeCall::Killed { signal: 31 }));
        assert!(NoNativeCall::Killed { signal: 31 }.to_string().contains("seccomp"));
    }
}
